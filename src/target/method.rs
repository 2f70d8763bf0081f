//! Methods that are never served, and methods smuggled in headers and query (http.md, "Canonical request target").

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};

use super::fold::folds_to_any;
use super::query::{self, name_folds_to};
use super::scan;

/// The headers that override the method at servers that know them, folded.
pub const OVERRIDE_HEADERS: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// What the overriding headers and the query parameter `_method` say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Override<'a> {
    /// None of them is there.
    Absent,
    /// All name the request's own method; the headers are stripped.
    Same,
    /// All name this one other method, as it was sent (servers upper-case it or do not).
    Other(Cow<'a, str>),
    /// They differ, or one is no text.
    Conflicting,
}

/// Reads what a server might take for the method instead of `method`: three headers under folding, and every query
/// parameter, after `&` or `;`, whose name folds to `_method`.
pub fn overriding<'a>(method: &str, headers: &'a HeaderMap, query: Option<&'a str>) -> Override<'a> {
    let mut found: Option<Cow<'a, str>> = None;
    let mut agree = |value: Option<Cow<'a, str>>| match (value, &found) {
        (None, _) => false,
        (Some(value), Some(before)) => *before == value,
        (Some(value), None) => {
            found = Some(value);
            true
        }
    };
    let overrides = |name: &HeaderName| folds_to_any(name.as_str(), &OVERRIDE_HEADERS);
    for (_, value) in headers.iter().filter(|(name, _)| overrides(name)) {
        if !agree(value.to_str().ok().map(Cow::Borrowed)) {
            return Override::Conflicting;
        }
    }
    if let Some(query) = query.filter(|query| may_override(query))
        && !overriding_values(query).all(agree)
    {
        return Override::Conflicting;
    }
    match found {
        None => Override::Absent,
        Some(value) if value == method => Override::Same,
        Some(value) => Override::Other(value),
    }
}

/// Whether a piece of the query begins otherwise than with a letter or digit, which is never read as the `_` that `_method`
/// begins with.
fn may_override(query: &str) -> bool {
    let mut rest = query.as_bytes();
    loop {
        if rest.first().is_some_and(|first| !first.is_ascii_alphanumeric()) {
            return true;
        }
        let Some(separator) = scan::find_either(b'&', b';', rest) else { return false };
        rest = rest.get(separator + 1..).unwrap_or_default();
    }
}

/// Every reading of every `_method` in a query: the value of one after `&` ends at the next `&` or, for some servers, at the
/// next `;`.
fn overriding_values(query: &str) -> impl Iterator<Item = Option<Cow<'_, str>>> {
    query.split('&').flat_map(|whole| {
        let whole_value = whole.contains(';').then_some(whole).into_iter();
        whole.split(';').chain(whole_value).filter_map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            (is_overriding(name)).then(|| query::decode_text(value))
        })
    })
}

/// No name shorter than `_method` folds to it, which spares most names the work.
fn is_overriding(raw_name: &str) -> bool {
    raw_name.len() >= "_method".len() && name_folds_to(raw_name, "_method")
}

/// Whether the method is one that is always 405: `CONNECT` (WebSocket's extended CONNECT is told apart before), `TRACE`,
/// `TRACK`, in any case, because some servers compare methods without case.
pub fn is_never_served(method: &str) -> bool {
    ["CONNECT", "TRACE", "TRACK"].iter().any(|refused| method.eq_ignore_ascii_case(refused))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    #[test]
    fn every_spelling_of_an_overriding_header_is_found() {
        for name in ["X-HTTP-Method-Override", "X_HTTP_Method", "x.method.override"] {
            let headers = headers(&[(name, "DELETE")]);
            assert_eq!(overriding("POST", &headers, None), Override::Other("DELETE".into()), "{name}");
            assert_eq!(overriding("DELETE", &headers, None), Override::Same, "{name}");
        }
        assert_eq!(overriding("POST", &headers(&[("X-Method", "DELETE")]), Some("method=DELETE")), Override::Absent);
    }

    #[test]
    fn every_spelling_of_the_overriding_parameter_is_found() {
        let none = HeaderMap::new();
        for query in [
            "_method=DELETE",
            "a=1&_method=DELETE",
            "a=1;_method=DELETE",
            "_METHOD=DELETE",
            "%5fmethod=DELETE",
            ".method=DELETE",
            "+method=DELETE&[method=DELETE",
            "_method[]=DELETE",
            "_method=%44ELETE",
        ] {
            if query.starts_with('+') {
                // A leading space is trimmed before spaces are mapped, so only the second name counts.
                assert_eq!(query::fold_name("+method"), "method");
            }
            assert_eq!(overriding("POST", &none, Some(query)), Override::Other("DELETE".into()), "{query}");
        }
    }

    #[test]
    fn different_values_conflict_whichever_server_reads_them() {
        let none = HeaderMap::new();
        let twice = headers(&[("x-http-method", "PUT"), ("x-http-method-override", "DELETE")]);
        assert_eq!(overriding("PUT", &twice, None), Override::Conflicting);
        assert_eq!(overriding("PUT", &none, Some("_method=PUT&_method=GET")), Override::Conflicting);
        // One server reads `PUT`, the other `PUT;x`.
        assert_eq!(overriding("PUT", &none, Some("_method=PUT;x")), Override::Conflicting);
        assert_eq!(overriding("PUT", &none, Some("_method=%ff")), Override::Conflicting);
        assert_eq!(overriding("PUT", &headers(&[("x-http-method", "P\u{e4}")]), None), Override::Conflicting);
        assert_eq!(overriding("PUT", &none, Some("_method")), Override::Other("".into()));
    }

    #[test]
    fn some_methods_are_never_served() {
        assert!(is_never_served("TRACE") && is_never_served("track") && is_never_served("CONNECT"));
        assert!(!is_never_served("GET"));
    }
}
