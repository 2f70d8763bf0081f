//! A refusal as a page for people: the same content as the problem document, readable without style or script, with
//! any contrast setting and by a screen reader.

use std::fmt::Write as _;

use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};

use super::Circumstances;
use super::wording::Wording;

/// The page's bytes. Everything that is not ours is escaped.
pub(super) fn render(wording: &Wording, circumstances: &Circumstances<'_>) -> String {
    let status = wording.status.as_u16();
    let title = wording.title;
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{status} {title}</title>\n</head>\n<body>\n<main>\n<h1>{status} {title}</h1>\n"
    );
    let _ = writeln!(page, "<p>{}.</p>", escaped(&capitalised(wording.detail)));
    if let Some(explanation) = circumstances.explanation {
        let _ = writeln!(page, "<h2>Explanation</h2>\n<pre>{}</pre>", escaped(explanation));
    }
    let _ = writeln!(page, "<p>Request: <code>{}</code></p>", escaped(circumstances.request_id));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// Nothing on the page may load or run anything.
pub(super) fn harden(headers: &mut HeaderMap) {
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// Text as HTML shows it, in content and in quoted attributes.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
