//! The provider's pages: the persona chooser, the list of issuers, and what went wrong.
//!
//! One style sheet inside the page and nothing else: no script, no form, no font, no image. The content security
//! policy allows exactly that style, by its digest.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{Response, StatusCode};

use super::answer;
use super::form::encode;
use crate::dev::key::sha256;
use crate::dev::persona::{self, Persona, Realm};
use crate::principal::Flow;
use crate::response::escaped;

/// Colours have a contrast of at least 7 to 1 in both schemes.
const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --line: #767676; --accent: #0b4f9e; --note: #fff3cd; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #f2f2f2; --paper: #16181c; --line: #8c8c8c; --accent: #a8ccff; --note: #3a3005; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 40rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.25; }
.note { background: var(--note); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .75rem; }
ul { list-style: none; padding: 0; display: grid; gap: .75rem; }
a { color: var(--accent); }
li a { display: block; padding: .75rem 1rem; border: 1px solid var(--line); border-radius: .5rem; text-decoration: none; }
li a:hover { border-color: var(--accent); }
a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.name { font-weight: 600; text-decoration: underline; }
.about { display: block; color: var(--ink); overflow-wrap: anywhere; }
code { overflow-wrap: anywhere; }
";

/// The page on which somebody chooses who to be. `query` is the request's own.
pub(super) fn chooser(realm: &Realm, client: &str, query: &str) -> Response<Bytes> {
    let mut body = format!(
        "<h1>Who do you want to be?</h1>\n<p><code>{}</code> asks for a token of the issuer <code>{}</code>.</p>\n",
        escaped(client),
        escaped(&realm.issuer.name)
    );
    let mut people = realm.users_of(client).peekable();
    if people.peek().is_none() {
        body.push_str("<p>Nobody logs in through this client: all of its personas are programs.</p>\n");
    } else {
        body.push_str("<ul>\n");
        for persona in people {
            let link = format!("?{query}&persona={}", encode(&persona.name));
            let _ = writeln!(
                body,
                "<li><a href=\"{}\"><span class=\"name\">Continue as {}</span>{}</a></li>",
                escaped(&link),
                escaped(&persona.name),
                about(persona)
            );
        }
        body.push_str("</ul>\n");
    }
    page(StatusCode::OK, "Choose a persona", &body)
}

/// The page that names every issuer and everybody there.
pub(super) fn issuers(realms: &[Realm]) -> Response<Bytes> {
    let mut body = "<h1>Torwart dev provider</h1>\n".to_owned();
    for realm in realms {
        let url = escaped(&realm.issuer.issuer);
        let separator = if realm.issuer.issuer.ends_with('/') { "" } else { "/" };
        let _ = writeln!(
            body,
            "<h2>{}</h2>\n<p>Issuer: <code>{url}</code><br>\n\
             <a href=\"{url}{separator}.well-known/openid-configuration\">Discovery document</a></p>\n<dl>",
            escaped(&realm.issuer.name)
        );
        for persona in &realm.personas {
            let kind = if persona.flow == Flow::ClientCredentials { "program" } else { "person" };
            let _ = writeln!(body, "<dt>{} ({kind})</dt><dd>{}</dd>", escaped(&persona.name), about(persona));
        }
        body.push_str("</dl>\n");
    }
    page(StatusCode::OK, "Torwart dev provider", &body)
}

/// The page that says why nobody can choose anything.
pub(super) fn refusal(problem: &str) -> Response<Bytes> {
    let body = format!("<h1>This request cannot be answered</h1>\n<p>{}</p>\n", escaped(problem));
    page(StatusCode::BAD_REQUEST, "Request refused", &body)
}

/// What a persona is known by: subject and scopes.
fn about(persona: &Persona) -> String {
    let mut out = String::new();
    if let Some(subject) = persona.claims.get("sub").and_then(serde_json::Value::as_str) {
        let _ = write!(out, "<span class=\"about\">Subject: {}</span>", escaped(subject));
    }
    let scopes = persona::scopes(&persona.claims);
    if !scopes.is_empty() {
        let _ = write!(out, "<span class=\"about\">Scopes: {}</span>", escaped(&scopes.join(" ")));
    }
    out
}

fn page(status: StatusCode, title: &str, body: &str) -> Response<Bytes> {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{} - Torwart dev mode</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\
         <p class=\"note\">Development only: anybody can be anybody here, and these tokens are worth nothing \
         elsewhere.</p>\n</main>\n</body>\n</html>\n",
        escaped(title)
    );
    let digest = BASE64.encode(sha256(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    answer::html(status, html, &policy)
}
