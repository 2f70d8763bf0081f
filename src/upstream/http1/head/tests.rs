use http::header::CONTENT_TYPE;

use super::*;

/// The head that comes of these bytes in pieces of this many, and what is left behind it.
fn read(text: &[u8], at_once: usize) -> Result<Option<(response::Parts, Vec<u8>)>, String> {
    let (mut finder, mut received) = (Finder::default(), BytesMut::new());
    let mut pieces = text.chunks(at_once);
    while let Some(piece) = pieces.next() {
        received.extend_from_slice(piece);
        if let Some(head) = finder.next(&mut received).map_err(|fault| fault.to_string())? {
            return Ok(Some((head, [&received[..], &pieces.collect::<Vec<_>>().concat()].concat())));
        }
    }
    Ok(None)
}

fn shown(text: &[u8], at_once: usize) -> String {
    match read(text, at_once) {
        Ok(Some((head, rest))) => format!(
            "{:?} {} {:?} {:?} + {}",
            head.version,
            head.status,
            head.extensions.get::<ReasonPhrase>(),
            head.headers,
            rest.escape_ascii()
        ),
        Ok(None) => "nothing yet".to_owned(),
        Err(fault) => fault,
    }
}

/// The same however it arrives.
fn whole(text: impl AsRef<[u8]>) -> Option<(response::Parts, Vec<u8>)> {
    let text = text.as_ref();
    let outcome = shown(text, usize::MAX);
    for at_once in [1, 2, 3, 5, 7] {
        let other = shown(text, at_once);
        // What is wrong may be seen before the end, or only there.
        assert!(
            other == outcome || (other == "nothing yet" && outcome.starts_with("it is no head")),
            "{other} {outcome} by {at_once}"
        );
    }
    read(text, usize::MAX).ok().flatten()
}

#[test]
fn a_head_is_read_rfc_9112_section_4() {
    let (head, rest) =
        whole("HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nX-A:1\r\nx-a: \t2 \r\nEmpty:\r\n\r\nbody").unwrap();
    assert_eq!((head.version, head.status, rest.as_slice()), (Version::HTTP_11, StatusCode::OK, &b"body"[..]));
    assert_eq!(head.headers[CONTENT_TYPE], "a/b");
    assert_eq!(head.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(head.headers["empty"], "");
    assert!(head.extensions.get::<ReasonPhrase>().is_none(), "the usual one needs no words");
    let (head, _) = whole("HTTP/1.0 299 Well, well\r\n\r\n").unwrap();
    assert_eq!((head.version, head.status.as_u16()), (Version::HTTP_10, 299));
    assert_eq!(head.extensions.get::<ReasonPhrase>().unwrap().as_bytes(), b"Well, well");
    assert!(whole("HTTP/1.1 200\r\n\r\n").is_some(), "a reason may be missing");
    assert!(whole("HTTP/1.1 200 OK\nA: b\n\n").is_some(), "RFC 9112 section 2.2: a line may end so");
}

#[test]
fn bytes_above_ascii_are_kept() {
    let (head, _) = whole(b"HTTP/1.1 200 OK\r\nX: \xe9\xff\r\n\r\n").unwrap();
    assert_eq!(head.headers["x"].as_bytes(), b"\xe9\xff");
}

#[test]
fn what_could_be_read_in_two_ways_is_no_head() {
    for wrong in [
        "HTTP/1.1 200 OK\r\nA b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        " HTTP/1.1 200 OK\r\n\r\n",
    ] {
        assert!(whole(wrong).is_none(), "{wrong:?}");
    }
}

#[test]
fn a_head_that_is_cut_off_is_none() {
    let text = b"HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n";
    for end in 0..text.len() {
        assert_eq!(shown(&text[..end], usize::MAX), "nothing yet", "{end}");
        assert_eq!(shown(&text[..end], 1), "nothing yet", "{end}");
    }
    assert!(whole(text).is_some());
}

#[test]
fn a_head_has_its_limits() {
    let fields = |number| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(number));
    assert!(whole(fields(MAX_FIELDS)).is_some());
    assert!(whole(fields(MAX_FIELDS + 1)).is_none());
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(BUFFER));
    assert!(read(endless.as_bytes(), 1000).is_err());
    // Every piece looked at anew from the beginning would be a billion steps.
    let slow = format!("{}\r\n\r\n", endless.get(..BUFFER - 100).unwrap());
    assert!(read(slow.as_bytes(), 1).unwrap().is_some());
}

#[test]
fn heads_follow_each_other() {
    let mut received = BytesMut::from("HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n");
    let mut finder = Finder::default();
    assert_eq!(finder.next(&mut received).unwrap().unwrap().status.as_u16(), 103);
    assert!(finder.next(&mut received).unwrap().is_none());
    received.extend_from_slice(b"\r\n");
    assert_eq!(finder.next(&mut received).unwrap().unwrap().status, StatusCode::OK);
    assert!(received.is_empty());
}

#[test]
fn a_connection_goes_on_where_both_say_so_rfc_9112_section_9_3() {
    let keeps = |text: &str| keeps_alive(&whole(format!("HTTP/{text}\r\n\r\n")).unwrap().0);
    assert!(keeps("1.1 200 OK"));
    assert!(keeps("1.1 200 OK\r\nConnection: x"));
    assert!(keeps("1.0 200 OK\r\nConnection: Keep-Alive"));
    assert!(!keeps("1.0 200 OK"));
    assert!(!keeps("1.1 200 OK\r\nConnection: x, CLOSE"));
    assert!(!keeps("1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close"));
    assert!(!keeps("1.0 200 OK\r\nConnection: close, keep-alive"));
}
