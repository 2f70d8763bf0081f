//! What `Content-Type` says of a body (RFC 9110 section 8.3).

use std::borrow::Cow;

use http::{HeaderMap, header};

use super::BodyError;
use crate::target::fold::is_token;

/// A media type with the parameters that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MediaType {
    /// Type and subtype, in lower case.
    essence: String,
    charset: Option<String>,
    action: Option<String>,
}

impl MediaType {
    /// The only media type of a message.
    ///
    /// # Errors
    /// None, several, or something that is no media type: servers differ in what they make of it.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, BodyError> {
        let mut fields = headers.get_all(header::CONTENT_TYPE).into_iter();
        match (fields.next(), fields.next()) {
            (Some(only), None) => only.to_str().ok().and_then(Self::parse).ok_or(BodyError::NoType),
            _ => Err(BodyError::NoType),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (essence, mut rest) = text.split_at_checked(text.find(';').unwrap_or(text.len()))?;
        let essence = essence.trim_matches([' ', '\t']).to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let (mut charset, mut action) = (None, None);
        loop {
            rest = rest.trim_start_matches([' ', '\t']);
            let Some(behind) = rest.strip_prefix(';') else { break };
            rest = behind.trim_start_matches([' ', '\t']);
            if rest.is_empty() || rest.starts_with(';') {
                continue;
            }
            let (name, behind) = rest.split_once('=')?;
            let (value, behind) = value(behind)?;
            rest = behind;
            let slot = match name.to_ascii_lowercase().as_str() {
                "charset" => &mut charset,
                "action" => &mut action,
                name if is_token(name) => continue,
                _ => return None,
            };
            if slot.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        rest.is_empty().then_some(Self { essence, charset, action })
    }

    /// `application/json` and whatever ends in `+json` (RFC 6839 section 3.1).
    pub(super) fn is_json(&self) -> bool {
        self.essence == "application/json" || self.essence.ends_with("+json")
    }

    /// What HTML forms send.
    pub(super) fn is_form(&self) -> bool {
        self.essence == "application/x-www-form-urlencoded"
    }

    /// Types that SOAP messages have: SOAP 1.1 section 6, RFC 3902.
    pub(super) fn is_soap(&self) -> bool {
        ["text/xml", "application/xml", "application/soap+xml"].contains(&self.essence.as_str())
    }

    /// Types that some servers take parameters from: every `multipart`, and what is almost the type of forms.
    pub(super) fn may_hold_parameters(&self) -> bool {
        self.essence.starts_with("multipart/") || self.essence.contains("form-urlencoded")
    }

    /// Whether no other character set than UTF-8 is named.
    pub(super) fn is_utf8(&self) -> bool {
        let utf8 = |charset: &str| charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8");
        self.charset.as_deref().is_none_or(utf8)
    }

    /// The action that RFC 3902 section 4 gives to SOAP 1.2.
    pub(super) fn action(&self) -> Option<&str> {
        self.action.as_deref()
    }
}

/// A parameter's value, and what follows it (RFC 9110 sections 5.6.2 and 5.6.4).
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        let (value, behind) = text.split_at_checked(end)?;
        return is_token(value).then_some((Cow::Borrowed(value), behind));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((Cow::Owned(value), quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(String, Option<String>, Option<String>)> {
        MediaType::parse(text).map(|found| (found.essence, found.charset, found.action))
    }

    #[test]
    fn media_types_are_read_with_their_parameters() {
        let plain = |essence: &str| Some((essence.to_owned(), None, None));
        assert_eq!(parse("application/json"), plain("application/json"));
        assert_eq!(parse("Application/Vnd.X+JSON ; v=1;"), plain("application/vnd.x+json"));
        let text = "text/xml;charset=UTF-8 ;; action=\"urn:a\\\"b;c\"; x=y";
        assert_eq!(parse(text), Some(("text/xml".into(), Some("UTF-8".into()), Some("urn:a\"b;c".into()))));
    }

    #[test]
    fn what_servers_read_differently_is_no_media_type() {
        for text in [
            "",
            "json",
            "a/",
            "/b",
            "a/b, c/d",
            "a/b c",
            "a/b/c",
            "a/b; charset",
            "a/b; charset=",
            "a/b; charset=\"utf-8",
            "a/b; charset=utf-8; Charset=latin1",
            "a/b; charset =utf-8",
            "a/b; charset=utf-8 latin1",
            "a/b; charset=\"utf-8\"x",
            "a/b; =x",
            "a/b, application/x-www-form-urlencoded",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn kinds_are_told_apart() {
        let kinds = |text: &str| {
            let found = MediaType::parse(text).unwrap();
            [found.is_json(), found.is_form(), found.is_soap(), found.may_hold_parameters(), found.is_utf8()]
        };
        assert_eq!(kinds("application/problem+json; charset=\"UTF-8\""), [true, false, false, false, true]);
        assert_eq!(kinds("application/x-www-form-urlencoded"), [false, true, false, true, true]);
        assert_eq!(kinds("application/soap+xml; charset=utf-16"), [false, false, true, false, false]);
        assert_eq!(kinds("multipart/form-data; boundary=x"), [false, false, false, true, true]);
        assert_eq!(kinds("text/json"), [false, false, false, false, true]);
        assert_eq!(kinds("image/svg+xml"), [false, false, false, false, true]);
    }
}
