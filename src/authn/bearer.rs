//! The `Authorization` header: RFC 9110 section 11.6.2 and RFC 6750 section 2.1. Pure.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::{Failure, Fault};

/// The bearer token of a request; `None` when there is no such header, or when it has another scheme.
///
/// # Errors
/// [`Failure::ManyHeaders`] for a second line, whatever the lines hold; [`Fault::Credentials`] when `Bearer` is
/// followed by anything but exactly one b64token.
pub fn token(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Failure::ManyHeaders);
    }
    credentials(line.as_bytes()).map_err(Failure::from)
}

/// Takes the credentials apart. The scheme ends at the first byte that a token (RFC 9110 section 5.6.2) cannot hold,
/// so that `Bearer,x` and `Bearer<TAB>x` are broken bearer credentials and not a scheme of their own.
fn credentials(line: &[u8]) -> Result<Option<&str>, Fault> {
    let end = line.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(line.len());
    let (scheme, rest) = line.split_at(end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(None);
    }
    let start = rest.iter().position(|byte| *byte != b' ').unwrap_or(rest.len());
    let (spaces, token) = rest.split_at(start);
    if spaces.is_empty() || !is_b64token(token) {
        return Err(Fault::Credentials);
    }
    std::str::from_utf8(token).map(Some).map_err(|_| Fault::Credentials)
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
fn is_b64token(text: &[u8]) -> bool {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |at| at + 1);
    let (body, _) = text.split_at(end);
    // How far each byte is from the nearest that fits: without a branch and a way out before the end, so that the compiler
    // looks at many bytes at once. Tokens are a thousand bytes long.
    let off = body.iter().fold(0, |off: u8, byte| {
        let marks = byte.wrapping_sub(b'-').saturating_sub(b'9' - b'-');
        let letters = (byte | 0x20).wrapping_sub(b'a').saturating_sub(b'z' - b'a');
        off | marks.min(letters).min(byte ^ b'_').min(byte ^ b'~').min(byte ^ b'+')
    });
    off == 0 && !body.is_empty()
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(lines: &[&[u8]]) -> Result<Option<String>, Failure> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(line).unwrap());
        }
        token(&headers).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn the_scheme_is_compared_without_case_rfc_9110_11_1() {
        for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
            assert_eq!(of(&[format!("{scheme} a.b-c_d~e+f/g==").as_bytes()]), Ok(Some("a.b-c_d~e+f/g==".to_owned())));
        }
    }

    #[test]
    fn several_spaces_may_separate_scheme_and_token_rfc_9110_11_4() {
        assert_eq!(of(&[b"Bearer   abc"]), Ok(Some("abc".to_owned())));
    }

    #[test]
    fn no_header_and_other_schemes_are_no_token() {
        assert_eq!(of(&[]), Ok(None));
        for line in ["Basic dXNlcjpwYXNz", "DPoP abc", "Bearerer abc", "Bear er abc", "", "=Bearer abc", "Negotiate"] {
            assert_eq!(of(&[line.as_bytes()]), Ok(None), "{line}");
        }
    }

    #[test]
    fn bearer_with_anything_but_one_b64token_is_an_invalid_token() {
        let lines: [&[u8]; 14] = [
            b"Bearer",
            b"Bearer ",
            b"Bearer   ",
            b"Bearer\tabc",
            b"Bearer,abc",
            b"Bearer=abc",
            b"Bearer abc def",
            b"Bearer abc, Basic x",
            b"Bearer \"abc\"",
            b"Bearer ==",
            b"Bearer ab=c",
            b"Bearer abc ",
            b"Bearer abc\xe9",
            b"Bearer realm=\"x\"",
        ];
        for line in lines {
            let shown = String::from_utf8_lossy(line);
            assert_eq!(of(&[line]), Err(Failure::from(Fault::Credentials)), "{shown}");
        }
    }

    #[test]
    fn two_lines_are_an_invalid_request_whatever_they_hold_rfc_6750_3_1() {
        assert_eq!(of(&[b"Bearer abc", b"Bearer abc"]), Err(Failure::ManyHeaders));
        assert_eq!(of(&[b"Basic abc", b"Bearer abc"]), Err(Failure::ManyHeaders));
        assert_eq!(of(&[b"Basic abc", b"Basic abc"]), Err(Failure::ManyHeaders));
    }

    #[test]
    fn each_byte_belongs_to_the_alphabet_or_not_rfc_6750_2_1() {
        for byte in 0..=u8::MAX {
            let fits = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_b64token(&[byte]), fits, "{byte:#x}");
            assert_eq!(
                is_b64token(&[[b'a'; 40].as_slice(), &[byte], &[b'z'; 40]].concat()),
                fits,
                "{byte:#x} among others"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_as_token_is_a_b64token(line in proptest::collection::vec(any::<u8>(), 0..40), bearer: bool) {
            let line = if bearer { [b"Bearer ".as_slice(), &line].concat() } else { line };
            if let Ok(Some(token)) = credentials(&line) {
                prop_assert!(line.ends_with(token.as_bytes()));
                prop_assert!(token.trim_end_matches('=').bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b)));
                prop_assert!(!token.trim_end_matches('=').is_empty());
            }
        }
    }
}
