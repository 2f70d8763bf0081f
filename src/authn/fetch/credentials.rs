//! What the gateway shows at an issuer's own endpoints: its client secret, or the token it asks about (RFC 6749 section
//! 2.3.1, RFC 6750 section 2.1). Pure.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use zeroize::Zeroizing;

/// The gateway as a client of an issuer. `Debug` prints the name alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCredentials {
    id: String,
    secret: Zeroizing<String>,
}

impl ClientCredentials {
    /// The credentials of this client.
    pub fn new(id: &str, secret: Zeroizing<String>) -> Self {
        Self { id: id.to_owned(), secret }
    }

    /// `client_secret_basic`: both halves are encoded like a form before they are joined and written in base64, so that
    /// neither a colon nor a letter beyond ASCII changes their meaning.
    pub(super) fn authorization(&self) -> Authorization {
        let joined = Zeroizing::new(format!("{}:{}", encoded(&self.id), encoded(&self.secret)));
        Authorization(Zeroizing::new(format!("Basic {}", STANDARD.encode(joined.as_bytes()))))
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The value of an `Authorization` header, which no log prints.
pub(super) struct Authorization(Zeroizing<String>);

impl TryFrom<Authorization> for HeaderValue {
    type Error = InvalidHeaderValue;

    fn try_from(authorization: Authorization) -> Result<Self, InvalidHeaderValue> {
        let mut value = Self::from_str(&authorization.0)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The header that shows a token.
pub(super) fn bearer(token: &str) -> Authorization {
    Authorization(Zeroizing::new(format!("Bearer {token}")))
}

/// A form of these fields.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| format!("{}={}", encoded(name), encoded(value));
    fields.iter().map(field).collect::<Vec<_>>().join("&")
}

/// Text in `application/x-www-form-urlencoded` (URL Standard section 5.2).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => out.extend(['%', hex(byte >> 4), hex(byte & 15)]),
        }
    }
    out
}

/// A digit in upper case.
fn hex(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(id: &str, secret: &str) -> ClientCredentials {
        ClientCredentials::new(id, Zeroizing::new(secret.to_owned()))
    }

    fn shown(id: &str, secret: &str) -> String {
        let header = credentials(id, secret).authorization().0;
        let text = header.strip_prefix("Basic ").unwrap().to_owned();
        String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
    }

    #[test]
    fn id_and_secret_are_encoded_like_a_form_before_they_are_joined_rfc_6749_2_3_1() {
        assert_eq!(shown("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw"), "s6BhdRkqt3:7Fjfp0ZBr1KtDRbnfVdmIw");
        assert_eq!(shown("a:b", "p%s w+d/=ä"), "a%3Ab:p%25s+w%2Bd%2F%3D%C3%A4");
        assert_eq!(shown("https://gate.example/", ""), "https%3A%2F%2Fgate.example%2F:");
    }

    #[test]
    fn a_form_keeps_every_character_of_a_b64token() {
        assert_eq!(form(&[("token", "aZ0-._~+/=="), ("hint", "x")]), "token=aZ0-._%7E%2B%2F%3D%3D&hint=x");
    }

    #[test]
    fn neither_debug_nor_headers_print_a_secret() {
        let credentials = credentials("torwart", "hush");
        let basic = HeaderValue::try_from(credentials.authorization()).unwrap();
        let bearer = HeaderValue::try_from(bearer("hush")).unwrap();
        for text in [format!("{credentials:?}"), format!("{basic:?}"), format!("{bearer:?}")] {
            assert!(!text.contains("hush") && !text.contains(&STANDARD.encode("torwart:hush")), "{text}");
        }
    }
}
