//! JWS compact serialization and the JOSE header (RFC 7515 sections 3.1, 4 and 7.1). Pure.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Fault;
use crate::config::Algorithm;
use crate::json;

/// The longest `kid` that is looked up.
const LONGEST_KEY_ID: usize = 1024;

/// A token taken apart. Nothing in it has been checked beyond its encoding.
#[derive(Debug)]
pub struct Parts<'t> {
    /// What the signature is over: header, dot and payload as sent.
    pub signed: &'t str,
    /// The signature as sent.
    pub signature: &'t str,
    /// The decoded header.
    pub header: Vec<u8>,
    /// The decoded payload.
    pub payload: Vec<u8>,
}

impl<'t> Parts<'t> {
    /// Splits a token at its dots and decodes its parts.
    ///
    /// # Errors
    /// [`Fault::Opaque`] for another number of parts than three, [`Fault::Encoding`] for a part that is not base64url
    /// without padding, or not in the one form that its bytes have.
    pub fn split(token: &'t str) -> Result<Self, Fault> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Fault::Opaque)?;
        let (header, payload) = signed.split_once('.').ok_or(Fault::Opaque)?;
        if payload.contains('.') {
            return Err(Fault::Opaque);
        }
        decode(signature)?;
        Ok(Self { signed, signature, header: decode(header)?, payload: decode(payload)? })
    }
}

/// The engine refuses padding, foreign characters and trailing bits that are not zero.
fn decode(part: &str) -> Result<Vec<u8>, Fault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Fault::Encoding)
}

/// What the header says that matters. `jku`, `x5u`, `jwk`, `x5c` and their kin are never read (RFC 8725 section 3.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// `alg`.
    pub algorithm: Algorithm,
    /// `kid`.
    pub key_id: Option<String>,
    /// `typ`.
    pub kind: Option<String>,
}

impl Header {
    /// Reads a decoded header. An issuer writes the same one in front of all tokens that a key signs: the last that was read is
    /// not read again.
    ///
    /// # Errors
    /// [`Fault::Header`], [`Fault::Extension`], [`Fault::Algorithm`].
    pub fn read(text: &[u8]) -> Result<Self, Fault> {
        thread_local! {
            static LAST: RefCell<Option<(Vec<u8>, Header)>> = const { RefCell::new(None) };
        }
        LAST.with_borrow_mut(|last| {
            if let Some((_, header)) = last.as_ref().filter(|(known, _)| known == text) {
                return Ok(header.clone());
            }
            let header = Self::parse(text)?;
            *last = Some((text.to_vec(), header.clone()));
            Ok(header)
        })
    }

    fn parse(text: &[u8]) -> Result<Self, Fault> {
        let header = json::object(text).map_err(|_| Fault::Header)?;
        refuse_extensions(&header)?;
        let key_id = string(&header, "kid")?;
        if key_id.as_ref().is_some_and(|id| id.len() > LONGEST_KEY_ID) {
            return Err(Fault::Header);
        }
        let kind = string(&header, "typ")?;
        let name = string(&header, "alg")?.ok_or(Fault::Algorithm)?;
        let algorithm = Algorithm::named(&name).ok_or(Fault::Algorithm)?;
        Ok(Self { algorithm, key_id, kind })
    }
}

/// Nothing that changes what the token means is implemented, so nothing of the kind passes: `crit` in any form
/// (RFC 7515 section 4.1.11), an unencoded payload (RFC 7797), compression and encryption (draft-ietf-oauth-rfc8725bis).
fn refuse_extensions(header: &Map<String, Value>) -> Result<(), Fault> {
    let critical = header.contains_key("crit") || header.contains_key("zip") || header.contains_key("enc");
    let unencoded = header.get("b64").is_some_and(|value| *value != Value::Bool(true));
    if critical || unencoded { Err(Fault::Extension) } else { Ok(()) }
}

fn string(header: &Map<String, Value>, name: &str) -> Result<Option<String>, Fault> {
    match header.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Fault::Header),
    }
}

/// Whether the algorithm is one of a shared secret.
pub fn is_symmetric(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Result<Header, Fault> {
        Header::read(text.as_bytes())
    }

    #[test]
    fn what_was_read_last_is_not_taken_for_what_is_read_now() {
        let of = |kid: &str| header(&format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#)).unwrap().key_id;
        for kid in ["a", "a", "b", "a", "b", "b"] {
            assert_eq!(of(kid).as_deref(), Some(kid));
        }
        assert_eq!(header("{}"), Err(Fault::Algorithm));
        assert_eq!(of("b").as_deref(), Some("b"), "a header that was refused changes nothing");
    }

    #[test]
    fn a_token_has_exactly_three_parts() {
        for token in ["", "e30", "e30.e30", "e30.e30.e30.e30", "e30.e30.e30.e30.e30", "...."] {
            assert_eq!(Parts::split(token).unwrap_err(), Fault::Opaque, "{token}");
        }
        let parts = Parts::split("e30.e31.AA").unwrap_err();
        assert_eq!(parts, Fault::Encoding, "`e31` has trailing bits");
        let parts = Parts::split("e30.e30.AA").unwrap();
        assert_eq!((parts.signed, parts.signature), ("e30.e30", "AA"));
        assert_eq!((parts.header.as_slice(), parts.payload.as_slice()), (b"{}".as_slice(), b"{}".as_slice()));
    }

    #[test]
    fn base64url_is_unpadded_and_canonical_rfc_7515_2() {
        for token in
            ["e30=.e30.AA", "e30.e30=.AA", "e30.e30.AA==", "e30.e30.AB", "e30.e30.A", "e3 0.e30.AA", "e30.e30.A+"]
        {
            assert_eq!(Parts::split(token).unwrap_err(), Fault::Encoding, "{token}");
        }
    }

    #[test]
    fn crit_is_refused_in_every_form_rfc_7515_4_1_11() {
        for crit in ["[]", "[\"bork\"]", "null", "\"b64\"", "[\"b64\"],\"b64\":true", "[\"exp\"],\"exp\":1"] {
            let text = format!("{{\"alg\":\"RS256\",\"crit\":{crit}}}");
            assert_eq!(header(&text), Err(Fault::Extension), "{text}");
        }
    }

    #[test]
    fn unencoded_payloads_compression_and_encryption_are_refused() {
        for extension in ["\"b64\":false", "\"b64\":0", "\"zip\":\"DEF\"", "\"enc\":\"A128GCM\""] {
            assert_eq!(header(&format!("{{\"alg\":\"RS256\",{extension}}}")), Err(Fault::Extension), "{extension}");
        }
        assert!(header(r#"{"alg":"RS256","b64":true}"#).is_ok());
    }

    #[test]
    fn alg_is_required_known_and_case_sensitive() {
        for alg in [
            "{}",
            r#"{"alg":"none"}"#,
            r#"{"alg":"None"}"#,
            r#"{"alg":"rs256"}"#,
            r#"{"alg":"ES512"}"#,
            r#"{"alg":null}"#,
        ] {
            assert_eq!(header(alg), Err(Fault::Algorithm), "{alg}");
        }
        assert_eq!(header(r#"{"alg":["RS256"]}"#), Err(Fault::Header));
        assert_eq!(header(r#"{"alg":"RS256","alg":"RS256"}"#), Err(Fault::Header));
    }

    #[test]
    fn keys_in_the_header_are_not_read_rfc_8725_3_10() {
        let text = r#"{"alg":"RS256","jku":"https://evil","x5u":5,"jwk":{"kty":"oct","k":"AA"},"x5c":"x","kid":"../../dev/null"}"#;
        let read = header(text).unwrap();
        assert_eq!(read, Header { algorithm: Algorithm::Rs256, key_id: Some("../../dev/null".to_owned()), kind: None });
    }

    #[test]
    fn kid_and_typ_are_strings_and_null_is_absent() {
        assert_eq!(header(r#"{"alg":"RS256","kid":5}"#), Err(Fault::Header));
        assert_eq!(header(r#"{"alg":"RS256","typ":["JWT"]}"#), Err(Fault::Header));
        let read = header(r#"{"alg":"RS256","kid":null,"typ":null}"#).unwrap();
        assert_eq!((read.key_id, read.kind), (None, None));
        let of_length = |length| header(&format!("{{\"alg\":\"RS256\",\"kid\":\"{}\"}}", "k".repeat(length)));
        assert!(of_length(LONGEST_KEY_ID).is_ok());
        assert_eq!(of_length(LONGEST_KEY_ID + 1), Err(Fault::Header));
    }
}
