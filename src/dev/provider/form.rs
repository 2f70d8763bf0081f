//! `application/x-www-form-urlencoded`: parameters of queries and bodies.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The parameters of one request, each at most once (RFC 6749 section 3.1: a repeated one is an error).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Form(BTreeMap<String, String>);

/// Why text is no form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    /// RFC 6749 section 3.1.
    #[error("the parameter `{0}` is there more than once")]
    Repeated(String),
    /// A `%` without two hex digits, or bytes that are no text.
    #[error("the parameters are not valid `application/x-www-form-urlencoded`")]
    Malformed,
}

impl Form {
    /// Parses a query or a body.
    pub(super) fn parse(text: &str) -> Result<Self, FormError> {
        let mut parameters = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = decode(name).zip(decode(value)).ok_or(FormError::Malformed)?;
            if parameters.insert(name.clone(), value).is_some() {
                return Err(FormError::Repeated(name));
            }
        }
        Ok(Self(parameters))
    }

    /// A parameter; sent without a value counts as not sent (RFC 6749 section 3.1).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Decodes one name or value; `None` when it is malformed.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let value = digit(rest.next())? * 16 + digit(rest.next())?;
                u8::try_from(value).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Percent-encodes everything but unreserved characters (RFC 3986 section 2.3).
pub(in crate::dev) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `uri` with these parameters added to its query.
pub(super) fn with_parameters(uri: &str, parameters: &[(&str, &str)]) -> String {
    let mut out = uri.to_owned();
    for (name, value) in parameters {
        out.push(if out.contains('?') { '&' } else { '?' });
        out.push_str(&encode(name));
        out.push('=');
        out.push_str(&encode(value));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let form = Form::parse("a=b+c%2F&%64=%c3%a9&e&=x").unwrap();
        assert_eq!(form.get("a"), Some("b c/"));
        assert_eq!(form.get("d"), Some("\u{e9}"));
        assert_eq!(form.get("e"), None);
    }

    #[test]
    fn a_repeated_parameter_is_an_error_rfc6749_3_1() {
        assert_eq!(Form::parse("a=1&%61=2"), Err(FormError::Repeated("a".to_owned())));
    }

    #[test]
    fn a_broken_encoding_is_an_error() {
        for text in ["a=%", "a=%2", "a=%zz", "a=%ff", "a=%+1"] {
            assert_eq!(Form::parse(text), Err(FormError::Malformed), "{text}");
        }
    }

    #[test]
    fn what_was_encoded_decodes_to_itself() {
        for text in ["", "a b+c&d=e#f?g/%", "\u{e9}\u{1f600}\n", "-._~"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn parameters_join_a_query_that_is_there() {
        assert_eq!(with_parameters("http://a/b", &[("c", "d e"), ("f", "g")]), "http://a/b?c=d%20e&f=g");
        assert_eq!(with_parameters("http://a/b?x=1", &[("c", "d")]), "http://a/b?x=1&c=d");
    }
}
