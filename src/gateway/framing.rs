//! Step 2: what hyper and h2 let pass although it is not framed, sized or written the way it should be
//! (building-blocks.md sections 1 and 2).

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use crate::config::Limits;
use crate::response::Refusal;
use crate::target::fold::{folds_to_any, is_token};

/// The longest single field, name and value together.
const LONGEST_FIELD: usize = 24 * 1024;
/// What a field costs on the wire beside name and value: colon, space, line end.
const FIELD_OVERHEAD: usize = 4;

/// Checks the head of a request as far as it needs no meaning.
///
/// # Errors
/// 400 for odd framing and malformed fields, 414, 417 and 431 for what is too long or asks for too much.
pub(crate) fn check(head: &Parts, limits: &Limits) -> Result<(), Refusal> {
    check_sizes(head, limits)?;
    let mut frames = false;
    for (name, value) in &head.headers {
        check_field(name, value, head.version)?;
        frames |= [TRANSFER_ENCODING, CONTENT_LENGTH, EXPECT].contains(name);
    }
    if frames {
        check_transfer_encoding(&head.headers)?;
        check_content_length(&head.headers)?;
        check_expectation(&head.headers)?;
    }
    Ok(())
}

fn check_sizes(head: &Parts, limits: &Limits) -> Result<(), Refusal> {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let authority = head.uri.authority().map_or(0, |authority| authority.as_str().len());
    // On HTTP/2 the authority is a field of its own and counts as one.
    if target + if head.version == Version::HTTP_2 { 0 } else { authority } > limits.target_bytes {
        return Err(Refusal::TargetTooLong);
    }
    if head.headers.len() > limits.headers {
        return Err(Refusal::Fields);
    }
    let mut total = if head.version == Version::HTTP_2 { authority } else { 0 };
    for (name, value) in &head.headers {
        let length = name.as_str().len() + value.len();
        if length > LONGEST_FIELD {
            return Err(Refusal::Fields);
        }
        total += length + FIELD_OVERHEAD;
    }
    if total > limits.header_bytes { Err(Refusal::Fields) } else { Ok(()) }
}

/// RFC 9110 section 5.5, RFC 9113 section 8.2.1. On HTTP/1 the parser has already cut the white space around a value.
fn check_field(name: &HeaderName, value: &HeaderValue, version: Version) -> Result<(), Refusal> {
    let bytes = value.as_bytes();
    if memchr::memchr3(0, b'\r', b'\n', bytes).is_some() {
        return Err(Refusal::Framing("a header field holds a control character"));
    }
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if version == Version::HTTP_2 && (blank(bytes.first()) || blank(bytes.last())) {
        return Err(Refusal::Framing("a header field begins or ends with white space"));
    }
    let odd = name.as_str().bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-');
    if odd && !is_token(name.as_str()) {
        return Err(Refusal::Framing("the name of a header field holds a character that names cannot have"));
    }
    // Servers that read `Transfer_Encoding` as `Transfer-Encoding` would frame the message in a way of their own.
    let framing = ["transfer-encoding", "content-length", "host", "connection"];
    if odd && folds_to_any(name.as_str(), &framing) {
        return Err(Refusal::Framing("a header field is spelt almost like one that frames the message"));
    }
    Ok(())
}

/// RFC 9112 section 6.1: exactly one coding, exactly `chunked`.
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).into_iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding == "chunked" && !headers.contains_key(CONTENT_LENGTH) => Ok(()),
        _ => Err(Refusal::Framing("`Transfer-Encoding` is not exactly `chunked`")),
    }
}

/// RFC 9112 section 6.3: one decimal number, written the one way everybody reads alike.
fn check_content_length(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).into_iter();
    let plain = |length: &HeaderValue| {
        let digits = length.as_bytes();
        let zero_padded = digits.len() > 1 && digits.first() == Some(&b'0');
        !digits.is_empty() && !zero_padded && digits.iter().all(u8::is_ascii_digit)
    };
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(()),
        (Some(length), None) if plain(length) => Ok(()),
        _ => Err(Refusal::Framing("`Content-Length` is not one plain number")),
    }
}

/// RFC 9110 section 10.1.1. hyper answers `100-continue` when the body is first asked for, which is after the decision.
fn check_expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut expectations = headers.get_all(EXPECT).into_iter();
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        _ => Err(Refusal::Expectation),
    }
}

/// Joins the `cookie` fields that HTTP/2 may split (RFC 9113 section 8.2.3), so that policy and upstream read one.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let name = http::header::COOKIE;
    if headers.get_all(&name).into_iter().nth(1).is_none() {
        return;
    }
    let pieces: Vec<_> = headers.get_all(&name).into_iter().map(HeaderValue::as_bytes).collect();
    if let Ok(mut joined) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        joined.set_sensitive(true);
        headers.insert(name, joined);
    }
}

/// The only `Host`, if there is exactly one; `Ok(None)` if there is none.
///
/// # Errors
/// Several, or one that is not visible ASCII.
pub(crate) fn only_host(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut hosts = headers.get_all(HOST).into_iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => Ok(None),
        (Some(host), None) => host.to_str().map(Some).map_err(|_| Refusal::Host("the host is not valid")),
        _ => Err(Refusal::Host("there is more than one host")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use http::Request;

    pub(crate) fn limits() -> Limits {
        Limits {
            connections: 1,
            connections_per_address: 1,
            requests_per_connection: 1,
            concurrent_streams: 1,
            header_bytes: 32 * 1024,
            headers: 100,
            target_bytes: 8 * 1024,
            token: 1,
            token_memory: 1,
            body: 1,
            inspected_body: 1,
            inspected_total: 1,
            stream_follows_token: true,
            header_timeout: std::time::Duration::ZERO,
            body_idle_timeout: std::time::Duration::ZERO,
            idle_timeout: std::time::Duration::ZERO,
            tls_handshake_timeout: std::time::Duration::ZERO,
            drain: std::time::Duration::ZERO,
        }
    }

    fn status(version: Version, target: &str, fields: &[(&str, &[u8])]) -> u16 {
        let mut head = Request::builder().version(version).uri(target).body(()).unwrap().into_parts().0;
        for (name, value) in fields {
            // As HTTP/2 reads names, which lets more pass than HTTP/1.1 can write.
            let name = HeaderName::from_lowercase(name.as_bytes()).unwrap();
            head.headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        check(&head, &limits()).err().map_or(200, |refusal| refusal.status().as_u16())
    }

    fn http1(fields: &[(&str, &[u8])]) -> u16 {
        status(Version::HTTP_11, "/", fields)
    }

    #[test]
    fn only_exactly_one_chunked_is_a_transfer_coding_rfc_9112_section_6_1() {
        let te = "transfer-encoding";
        assert_eq!(http1(&[(te, b"chunked")]), 200);
        assert_eq!(http1(&[(te, b"chunked"), (te, b"chunked")]), 400);
        for odd in ["chunked, chunked", "gzip, chunked", ",chunked", "CHUNKED", "chunked,", "identity", ""] {
            assert_eq!(http1(&[(te, odd.as_bytes())]), 400, "{odd}");
        }
        assert_eq!(http1(&[(te, b"chunked"), ("content-length", b"5")]), 400);
        assert_eq!(http1(&[("transfer_encoding", b"chunked")]), 400);
        assert_eq!(http1(&[("transfer.encoding", b"x")]), 400);
    }

    #[test]
    fn a_length_is_one_plain_number_rfc_9112_section_6_3() {
        let cl = "content-length";
        assert_eq!(http1(&[(cl, b"0")]), 200);
        assert_eq!(http1(&[(cl, b"10")]), 200);
        for odd in ["002", "00", "+2", "2, 2", "0x2", "", "-1", "2 "] {
            assert_eq!(http1(&[(cl, odd.as_bytes())]), 400, "{odd}");
        }
        assert_eq!(http1(&[(cl, b"2"), (cl, b"2")]), 400);
        assert_eq!(http1(&[("content_length", b"2")]), 400);
    }

    #[test]
    fn the_only_expectation_is_100_continue_rfc_9110_section_10_1_1() {
        assert_eq!(http1(&[("expect", b"100-Continue")]), 200);
        for odd in ["y 100-continue", "100-continue, 100-continue", "200-ok", ""] {
            assert_eq!(http1(&[("expect", odd.as_bytes())]), 417, "{odd}");
        }
        assert_eq!(http1(&[("expect", b"100-continue"), ("expect", b"100-continue")]), 417);
    }

    #[test]
    fn white_space_around_a_value_is_malformed_on_http2_rfc_9113_section_8_2_1() {
        for odd in [&b" a"[..], b"a ", b"\ta", b"a\t", b" "] {
            assert_eq!(status(Version::HTTP_2, "https://a/", &[("x-a", odd)]), 400, "{odd:?}");
        }
        assert_eq!(status(Version::HTTP_2, "https://a/", &[("x-a", b"a b")]), 200);
        assert_eq!(status(Version::HTTP_2, "https://a/", &[("x-a", b"")]), 200);
    }

    #[test]
    fn the_name_of_a_field_is_a_token_rfc_9110_section_5_6_2() {
        assert_eq!(status(Version::HTTP_2, "https://a/", &[("x\"y", b"z")]), 400);
        assert_eq!(status(Version::HTTP_2, "https://a/", &[("!#$%&'*+-.^_`|~", b"z")]), 200);
    }

    #[test]
    fn every_size_has_its_limit() {
        let long = vec![b'a'; LONGEST_FIELD];
        assert_eq!(http1(&[("x", &long)]), 431);
        assert_eq!(http1(&[("x", &long[1..])]), 200);
        assert_eq!(http1(&[("x", &long[..20_000]), ("y", &long[..20_000])]), 431);
        let many: Vec<(&str, &[u8])> = (0..101).map(|_| ("x", &b"a"[..])).collect();
        assert_eq!(http1(&many), 431);
        assert_eq!(http1(&many[..100]), 200);
        assert_eq!(status(Version::HTTP_11, &format!("/{}", "a".repeat(8 * 1024)), &[]), 414);
        assert_eq!(status(Version::HTTP_11, &format!("/{}", "a".repeat(8 * 1024 - 1)), &[]), 200);
    }

    #[test]
    fn cookies_are_joined_in_order_rfc_9113_section_8_2_3() {
        let mut headers = HeaderMap::new();
        for piece in ["a=1", "b=2", "c=3"] {
            headers.append("cookie", HeaderValue::from_static(piece));
        }
        join_cookies(&mut headers);
        assert_eq!(headers.get_all("cookie").into_iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }
}
