//! The authorization endpoint: who wants a token for whom, and the page on which somebody chooses a persona.
//!
//! The choice is a link back to the same address with `persona=NAME` added. A link needs no script and no form, works
//! by keyboard, and can be followed by `curl` as well.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::form::{Form, with_parameters};
use super::grants::Grant;
use super::token::words;
use super::{Context, answer, is_loopback, page};

/// A request that may be answered by a redirect: client and redirect URI are known to fit.
struct Asked<'f> {
    form: &'f Form,
    client: &'f str,
    redirect_uri: &'f str,
}

/// What is wrong with it, told to the client (RFC 6749 section 4.1.2.1).
struct Fault(&'static str, &'static str);

impl Context<'_> {
    /// Answers with the page, a code, or what is wrong.
    pub(super) fn authorize(&self, query: &str) -> Response<Bytes> {
        let form = match Form::parse(query) {
            Ok(form) => form,
            Err(error) => return page::refusal(&error.to_string()),
        };
        // Until these two are known to fit, nobody is redirected anywhere (RFC 6749 section 4.1.2.1).
        let asked = match self.asked(&form) {
            Ok(asked) => asked,
            Err(problem) => return page::refusal(&problem),
        };
        if let Err(Fault(code, description)) = check(&form) {
            return self.redirect(&asked, &[("error", code), ("error_description", description)]);
        }
        match form.get("persona") {
            None if form.get("prompt") == Some("none") => {
                self.redirect(&asked, &[("error", "login_required"), ("error_description", "nobody has been chosen")])
            }
            None => page::chooser(self.realm, asked.client, query),
            Some(name) => self.chosen(&asked, name),
        }
    }

    fn asked<'f>(&self, form: &'f Form) -> Result<Asked<'f>, String> {
        let client = form.get("client_id").ok_or("the parameter `client_id` is missing")?;
        let redirect_uri = form.get("redirect_uri").ok_or("the parameter `redirect_uri` is missing")?;
        if !self.realm.knows_client(client) {
            return Err(format!("no persona has the client `{client}`; clients: {}", self.known_clients()));
        }
        if !is_local_uri(redirect_uri) {
            return Err(format!("`{redirect_uri}` is no http address of this machine without a fragment"));
        }
        Ok(Asked { form, client, redirect_uri })
    }

    fn chosen(&self, asked: &Asked<'_>, name: &str) -> Response<Bytes> {
        let Some(persona) = self.realm.users_of(asked.client).find(|persona| persona.name == name) else {
            return page::refusal(&format!("nobody called `{name}` logs in through `{}`", asked.client));
        };
        let code = self.grants.issue(Grant {
            issuer: self.realm.issuer.name.to_string(),
            client: asked.client.to_owned(),
            redirect_uri: asked.redirect_uri.to_owned(),
            challenge: asked.form.get("code_challenge").unwrap_or_default().to_owned(),
            scopes: asked.form.get("scope").map(words),
            persona: persona.name.clone(),
            nonce: asked.form.get("nonce").map(str::to_owned),
            chosen_at: self.now,
        });
        match code {
            Some(code) => self.redirect(asked, &[("code", &code)]),
            None => answer::plain(StatusCode::SERVICE_UNAVAILABLE, "too many codes wait to be exchanged"),
        }
    }

    /// Back to the client, with its `state`, and with `iss` so that it can tell issuers apart (RFC 9207).
    fn redirect(&self, asked: &Asked<'_>, parameters: &[(&str, &str)]) -> Response<Bytes> {
        let mut all = parameters.to_vec();
        all.extend(asked.form.get("state").map(|state| ("state", state)));
        all.push(("iss", &self.realm.issuer.issuer));
        answer::see_other(&with_parameters(asked.redirect_uri, &all))
    }
}

fn check(form: &Form) -> Result<(), Fault> {
    if form.get("response_type") != Some("code") {
        return Err(Fault("unsupported_response_type", "response_type must be `code`"));
    }
    if form.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(Fault("invalid_request", "response_mode must be `query`"));
    }
    if form.get("request").is_some() {
        return Err(Fault("request_not_supported", "request objects are not supported"));
    }
    if form.get("request_uri").is_some() {
        return Err(Fault("request_uri_not_supported", "request objects are not supported"));
    }
    // A SHA-256 digest in base64url: 43 characters (RFC 7636 section 4.2).
    let challenge = form.get("code_challenge").unwrap_or_default();
    let formed = challenge.len() == 43
        && challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if !formed || form.get("code_challenge_method") != Some("S256") {
        return Err(Fault("invalid_request", "PKCE is required: code_challenge with code_challenge_method `S256`"));
    }
    Ok(())
}

/// An absolute http or https URI of this machine, without userinfo and fragment.
fn is_local_uri(text: &str) -> bool {
    let uri: Result<http::Uri, _> = text.parse();
    uri.is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(is_loopback)
            && !uri.authority().is_some_and(|authority| authority.as_str().contains('@'))
            && !text.contains('#')
    })
}
