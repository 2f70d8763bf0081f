//! Identity headers: what the protected API is told about the principal (http.md, "Towards the upstream").

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;

use crate::policy::surroundings::IdentityFacts;
use crate::principal::{Alike, Derivation, IdentityField, Principal, Texts, sample};

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

/// A principal's identity headers, rendered. A hundred thousand of them are kept, so what many principals have alike is there
/// once, and the rest of each in one buffer.
#[derive(Debug)]
pub struct IdentityValues {
    /// These are only good under the same `identity`.
    encoding: Encoding,
    max_bytes: usize,
    subject: Rendered,
    client: Rendered,
    organizations: Rendered,
    common: Arc<Common>,
    /// At least one of them is [`Rendered::TooLarge`].
    pub(in crate::policy) too_large: bool,
}

/// Those that are the same for many principals.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Common {
    issuer: Rendered,
    flow: Rendered,
    scopes: Rendered,
    permissions: Rendered,
    global: Rendered,
}

/// Values that were rendered before, for whoever has the same.
#[derive(Debug, Clone, Default)]
pub struct RenderedBefore(Arc<Alike<Common>>);

impl PartialEq for RenderedBefore {
    /// It says nothing: what is rendered is the same without it.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for RenderedBefore {}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Rendered {
    /// The principal has no value for it.
    Absent,
    /// This.
    Value(HeaderValue),
    /// Longer than `identity.max_bytes`.
    TooLarge,
}

impl IdentityValues {
    /// The headers of a principal, rendered once for all its requests.
    pub(in crate::policy) fn of(principal: &Principal, facts: &IdentityFacts) -> Arc<Self> {
        match principal.derived.or_init(|| Self::render(principal, facts)) {
            Some(kept) if kept.encoding == facts.encoding && kept.max_bytes == facts.max_bytes => kept,
            _ => Arc::new(Self::render(principal, facts)),
        }
    }

    fn render(principal: &Principal, facts: &IdentityFacts) -> Self {
        let (encoding, max_bytes) = (facts.encoding, facts.max_bytes);
        let subject = principal.customer().map(|subject| encoding.text(subject));
        let organizations =
            (!principal.is_global()).then(|| encoding.organizations(principal.organizations.iter().flatten()));
        let client = principal.client.as_deref().map(|client| encoding.text(client));
        let [subject, client, organizations] = facts.rendered_together([subject, client, organizations]);
        let common = Common::render(principal, facts);
        let mut values = Self {
            encoding,
            max_bytes,
            subject,
            client,
            organizations,
            common: facts.before.0.one(common.into()),
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
            IdentityField::Issuer => &self.common.issuer,
            IdentityField::Flow => &self.common.flow,
            IdentityField::Scopes => &self.common.scopes,
            IdentityField::Permissions => &self.common.permissions,
            IdentityField::Global => &self.common.global,
            IdentityField::Organizations => &self.organizations,
            IdentityField::Policy | IdentityField::Route => &Rendered::Absent,
        }
    }
}

impl Derivation for IdentityValues {
    fn sample(&self) -> u8 {
        let own = [&self.subject, &self.client, &self.organizations];
        own.map(Rendered::sample).into_iter().fold(u8::from(self.too_large), |read, one| read ^ one)
    }
}

impl Rendered {
    fn sample(&self) -> u8 {
        if let Self::Value(value) = self { sample(value) } else { 0 }
    }
}

impl Common {
    fn render(principal: &Principal, facts: &IdentityFacts) -> Self {
        let list = |items: &Texts, separator: &str| facts.encoding.list(items, separator);
        let [issuer, flow, scopes, permissions, global] = facts.rendered_together([
            Some(facts.encoding.text(&principal.issuer.name)),
            Some(principal.flow.as_str().into()),
            (!principal.scopes.is_empty()).then(|| list(&principal.scopes, " ")),
            principal.permissions.as_ref().map(|items| list(items, ",")),
            Some(if principal.is_global() { "true" } else { "false" }.into()),
        ]);
        Self { issuer, flow, scopes, permissions, global }
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

    /// The same of several in one allocation.
    fn rendered_together<const N: usize>(&self, encoded: [Option<Vec<u8>>; N]) -> [Rendered; N] {
        let fitting = encoded.map(|one| one.map(|bytes| Some(bytes).filter(|bytes| bytes.len() <= self.max_bytes)));
        let mut buffer =
            Bytes::from(fitting.iter().flatten().flatten().map(Vec::as_slice).collect::<Vec<_>>().concat());
        fitting.map(|one| match one {
            None => Rendered::Absent,
            Some(None) => Rendered::TooLarge,
            Some(Some(bytes)) => {
                let own = buffer.split_to(bytes.len());
                HeaderValue::from_maybe_shared(own).map_or(Rendered::TooLarge, Rendered::Value)
            }
        })
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
        let alike = Principal { subject: Some("bob".to_owned()), ..principal.clone() };
        let (own, others) = (&values.common, &IdentityValues::of(&alike, &first).common);
        assert!(Arc::ptr_eq(own, others), "what they have alike is there once");
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
