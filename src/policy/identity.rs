//! Identity headers: what the protected API is told about the principal (http.md, "Towards the upstream").

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::policy::surroundings::IdentityFacts;
use crate::principal::{IdentityField, Principal, Texts};

/// How bytes that a header cannot carry are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Percent-encoded UTF-8.
    Percent,
    /// The printable letters of ISO 8859-1 beyond ASCII as one byte each, everything else as under `Percent`.
    Latin1,
    /// Base64 of the UTF-8 text, of every item of a list for itself.
    Base64,
}

/// A principal's identity headers, rendered.
#[derive(Debug)]
pub struct IdentityValues {
    subject: Rendered,
    client: Rendered,
    issuer: Rendered,
    flow: Rendered,
    scopes: Rendered,
    permissions: Rendered,
    global: Rendered,
    organizations: Rendered,
    /// At least one of them is [`Rendered::TooLarge`].
    pub(in crate::policy) too_large: bool,
}

/// One of them.
#[derive(Debug, Clone)]
pub(in crate::policy) enum Rendered {
    /// The principal has no value for it.
    Absent,
    /// This.
    Value(HeaderValue),
    /// Longer than `identity.max_bytes`.
    TooLarge,
}

/// What a principal keeps of its rendering: only good under the same `identity`.
#[derive(Debug)]
struct Kept {
    encoding: Encoding,
    max_bytes: usize,
    values: Arc<IdentityValues>,
}

impl IdentityValues {
    /// The headers of a principal, rendered once for all its requests.
    pub(in crate::policy) fn of(principal: &Principal, facts: &IdentityFacts) -> Arc<Self> {
        let kept = principal.derived.or_init(|| Kept {
            encoding: facts.encoding,
            max_bytes: facts.max_bytes,
            values: Arc::new(Self::render(principal, facts)),
        });
        match kept {
            Some(kept) if kept.encoding == facts.encoding && kept.max_bytes == facts.max_bytes => {
                Arc::clone(&kept.values)
            }
            _ => Arc::new(Self::render(principal, facts)),
        }
    }

    fn render(principal: &Principal, facts: &IdentityFacts) -> Self {
        let text = |value: Option<&str>| match value {
            Some(value) => facts.rendered(&facts.encoding.text(value)),
            None => Rendered::Absent,
        };
        let list = |items: &Texts, separator: &str| facts.rendered(&facts.encoding.list(items, separator));
        let mut values = Self {
            subject: text(principal.customer()),
            client: text(principal.client.as_deref()),
            issuer: text(Some(&principal.issuer.name)),
            flow: facts.rendered(principal.flow.as_str().as_bytes()),
            scopes: if principal.scopes.is_empty() { Rendered::Absent } else { list(&principal.scopes, " ") },
            permissions: principal.permissions.as_ref().map_or(Rendered::Absent, |items| list(items, ",")),
            global: facts.rendered(if principal.is_global() { b"true" } else { b"false" }),
            organizations: match &principal.organizations {
                _ if principal.is_global() => Rendered::Absent,
                items => facts.rendered(&facts.encoding.organizations(items.iter().flatten())),
            },
            too_large: false,
        };
        let is_too_large = |field| matches!(values.field(field), Rendered::TooLarge);
        values.too_large = IdentityField::ALL.into_iter().any(|(field, _, _)| is_too_large(field));
        values
    }

    /// The value of a field. The two that name policy and route are no part of the principal.
    pub(in crate::policy) fn field(&self, field: IdentityField) -> &Rendered {
        match field {
            IdentityField::Subject => &self.subject,
            IdentityField::Client => &self.client,
            IdentityField::Issuer => &self.issuer,
            IdentityField::Flow => &self.flow,
            IdentityField::Scopes => &self.scopes,
            IdentityField::Permissions => &self.permissions,
            IdentityField::Global => &self.global,
            IdentityField::Organizations => &self.organizations,
            IdentityField::Policy | IdentityField::Route => &Rendered::Absent,
        }
    }
}

impl IdentityFacts {
    /// Encoded bytes as a header value, if they are few enough.
    pub(in crate::policy) fn rendered(&self, encoded: &[u8]) -> Rendered {
        if encoded.len() > self.max_bytes {
            return Rendered::TooLarge;
        }
        // Every encoding writes only what a header can carry; should one ever not, the request is refused.
        HeaderValue::from_bytes(encoded).map_or(Rendered::TooLarge, Rendered::Value)
    }
}

impl Encoding {
    /// One text.
    pub(in crate::policy) fn text(self, text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        self.write(text, None, &mut out);
        out
    }

    /// A list of texts.
    pub(in crate::policy) fn list<'t>(
        self,
        items: impl IntoIterator<Item = &'t (impl AsRef<str> + 't + ?Sized)>,
        separator: &str,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                out.extend_from_slice(separator.as_bytes());
            }
            self.write(item.as_ref(), Some(b','), &mut out);
        }
        out
    }

    /// A list of organisations: the word `none` for an empty one, so that "no filter" can never be read from it. An
    /// organisation of that name is written so that it does not read as an empty list.
    pub(in crate::policy) fn organizations<'t>(self, items: impl Iterator<Item = &'t str> + Clone) -> Vec<u8> {
        let mut some = items.clone();
        match (some.next(), some.next()) {
            (None, _) => b"none".to_vec(),
            (Some("none"), None) if self != Self::Base64 => b"%6Eone".to_vec(),
            _ => self.list(items, ","),
        }
    }

    /// Visible ASCII but `%` stays, and so does everything but the separator; the rest is encoded.
    fn write(self, text: &str, separator: Option<u8>, out: &mut Vec<u8>) {
        if self == Self::Base64 {
            out.extend_from_slice(STANDARD.encode(text).as_bytes());
            return;
        }
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%' && Some(byte) != separator;
        if text.bytes().all(is_plain) {
            out.extend_from_slice(text.as_bytes());
            return;
        }
        for letter in text.chars() {
            match u8::try_from(u32::from(letter)) {
                Ok(byte) if is_plain(byte) => out.push(byte),
                Ok(byte @ 0xa1..) if self == Self::Latin1 => out.push(byte),
                _ => {
                    for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                        percent(byte, out);
                    }
                }
            }
        }
    }
}

/// `%` and two upper-case hexadecimal digits.
pub(in crate::policy) fn percent(byte: u8, out: &mut Vec<u8>) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'A' + value - 10 };
    out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(encoding: Encoding, text: &str) -> Vec<u8> {
        encoding.text(text)
    }

    #[test]
    fn what_a_principal_keeps_is_good_under_one_configuration_only() {
        let principal = Principal {
            subject: Some("Müller".to_owned()),
            ..Principal::of(Arc::new(crate::principal::IssuerIdentity::named(crate::principal::IssuerId(0), "shoen")))
        };
        let first = IdentityFacts::default();
        let short = IdentityFacts { max_bytes: 3, ..first.clone() };
        let other = IdentityFacts { encoding: Encoding::Base64, ..first.clone() };
        let values = IdentityValues::of(&principal, &first);
        assert!(Arc::ptr_eq(&values, &IdentityValues::of(&principal, &first)), "rendered once");
        let subject = |facts| match IdentityValues::of(&principal, facts).field(IdentityField::Subject) {
            Rendered::Value(value) => value.as_bytes().to_vec(),
            Rendered::Absent | Rendered::TooLarge => Vec::new(),
        };
        assert_eq!(
            [&first, &short, &other].map(subject),
            [b"M%C3%BCller".to_vec(), Vec::new(), b"TcO8bGxlcg==".to_vec()]
        );
    }

    #[test]
    fn nothing_but_visible_ascii_is_written_plainly() {
        assert_eq!(text(Encoding::Percent, "a b%c\r\nX: é€\u{7f}"), b"a%20b%25c%0D%0AX:%20%C3%A9%E2%82%AC%7F");
        assert_eq!(text(Encoding::Percent, "a,b"), b"a,b", "one value is no list");
        assert_eq!(Encoding::Percent.list(["a,b", "c d"], ","), b"a%2Cb,c%20d");
    }

    #[test]
    fn latin1_letters_are_one_byte() {
        assert_eq!(text(Encoding::Latin1, "Müller 50%€\u{a0}\u{85}"), b"M\xfcller%2050%25%E2%82%AC%C2%A0%C2%85");
        assert_eq!(Encoding::Latin1.list(["ä,b"], ","), b"\xe4%2Cb");
    }

    #[test]
    fn an_empty_list_of_organisations_is_the_word_none_and_nothing_else_is() {
        assert_eq!(Encoding::Percent.organizations([].into_iter()), b"none");
        assert_eq!(Encoding::Percent.organizations(["none"].into_iter()), b"%6Eone");
        assert_eq!(Encoding::Percent.organizations(["a,b", "none"].into_iter()), b"a%2Cb,none");
        assert_eq!(Encoding::Base64.organizations(["none"].into_iter()), b"bm9uZQ==");
    }

    #[test]
    fn base64_is_of_every_item() {
        assert_eq!(text(Encoding::Base64, "Müller"), b"TcO8bGxlcg==");
        assert_eq!(Encoding::Base64.list(["a", "b,c"], ","), b"YQ==,Yixj");
    }
}
