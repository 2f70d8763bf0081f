use super::*;

/// What comes of a body that arrives in pieces of this many bytes: its data, its trailers, what is left behind it; or why there
/// is none. `None`: more would have to come.
fn read(body: &str, at_once: usize) -> Result<Option<(String, HeaderMap, String)>, String> {
    let (mut chunks, mut received) = (Chunks::default(), BytesMut::new());
    let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
    let mut arriving = body.as_bytes().chunks(at_once);
    loop {
        match chunks.next(&mut received).map_err(|fault| fault.to_string())? {
            Some(Piece::Data(piece)) => {
                assert!(!piece.is_empty());
                data.extend_from_slice(&piece);
            }
            Some(Piece::Trailers(found)) => {
                assert!(!found.is_empty());
                trailers = found;
            }
            None if chunks == Chunks::End => {
                let rest = [&received[..], &arriving.collect::<Vec<_>>().concat()].concat();
                let text = |bytes| String::from_utf8(bytes).unwrap();
                return Ok(Some((text(data), trailers, text(rest))));
            }
            None => match arriving.next() {
                Some(more) => received.extend_from_slice(more),
                None => return Ok(None),
            },
        }
    }
}

/// The same however it arrives.
fn whole(body: &str) -> Result<Option<(String, HeaderMap, String)>, String> {
    let outcome = read(body, usize::MAX);
    for at_once in [1, 2, 3, 5, 7] {
        assert_eq!(read(body, at_once), outcome, "{body:?} by {at_once}");
    }
    outcome
}

fn data_of(body: &str) -> String {
    let (data, trailers, rest) = whole(body).unwrap().expect(body);
    assert!(trailers.is_empty() && rest.is_empty(), "{body:?}");
    data
}

#[test]
fn chunks_are_put_together_rfc_9112_section_7_1() {
    assert_eq!(data_of("0\r\n\r\n"), "");
    assert_eq!(data_of("5\r\nhello\r\n0\r\n\r\n"), "hello");
    assert_eq!(data_of("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), "hello world");
    assert_eq!(data_of("00a\r\n0123456789\r\n000\r\n\r\n"), "0123456789");
    assert_eq!(data_of("A\r\n0123456789\r\n0\r\n\r\n"), "0123456789");
    assert_eq!(data_of("4\r\n\r\n\r\n\r\n0\r\n\r\n"), "\r\n\r\n", "line ends inside a chunk are data");
}

#[test]
fn extensions_are_passed_over_rfc_9112_section_7_1_1() {
    for extension in [";a", ";a=b", "; a = \"b\"", " ;a", "\t;a", ";", ";a;b=c", " ", "\t"] {
        assert_eq!(data_of(&format!("2{extension}\r\nok\r\n0{extension}\r\n\r\n")), "ok", "{extension:?}");
    }
    assert!(whole(&format!("2;{}\r\nok\r\n0\r\n\r\n", "x".repeat(LONGEST_LINE))).is_err());
    assert!(whole(&"0".repeat(LONGEST_LINE + 2)).is_err(), "no line end in time");
}

#[test]
fn what_could_be_read_in_two_ways_is_no_chunk() {
    for line in [
        "",
        " 2",
        "+2",
        "-2",
        "0x2",
        "2 2",
        "2x",
        "2,",
        "g",
        "2\0",
        "2;a\0",
        "2;a\rb",
        "2\r",
        "2;\x7f",
        "ffffffffffffffff0",
        "10000000000000000",
        "\u{ff12}",
        "2 x",
        "2 ;a\u{b}",
    ] {
        assert!(whole(&format!("{line}\r\nok\r\n0\r\n\r\n")).is_err(), "{line:?}");
    }
    for body in [
        "2\nok\r\n0\r\n\r\n",
        "2\r\nok\n0\r\n\r\n",
        "2\r\nok0\r\n\r\n",
        "2\r\nokk\r\n0\r\n\r\n",
        "2\r\nok\r\r0\r\n\r\n",
    ] {
        assert!(whole(body).is_err(), "{body:?}");
    }
    assert_eq!(whole("ffffffffffffffff\r\nok"), Ok(None), "the largest size is one");
}

#[test]
fn a_body_that_is_cut_off_is_never_whole() {
    let body = "2\r\nok\r\n1;x=y\r\n!\r\n0\r\nA: b\r\n\r\n";
    for end in 0..body.len() {
        assert_eq!(whole(body.get(..end).unwrap()), Ok(None), "{end}");
    }
    let (data, trailers, rest) = whole(body).unwrap().unwrap();
    assert_eq!((data.as_str(), trailers["a"].as_bytes(), rest.as_str()), ("ok!", &b"b"[..], ""));
}

#[test]
fn what_follows_is_left_alone() {
    let (data, trailers, rest) = whole("2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n").unwrap().unwrap();
    assert_eq!((data.as_str(), trailers.len(), rest.as_str()), ("ok", 0, "HTTP/1.1 200 OK\r\n\r\n"));
}

#[test]
fn trailers_are_fields_rfc_9112_section_7_1_2() {
    let (_, trailers, _) = whole("0\r\nX-A: 1\r\nx-a: 2\r\nB:\r\n\r\n").unwrap().unwrap();
    assert_eq!(trailers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(trailers["b"], "");
    for section in [
        "A b\r\n",
        "A : b\r\n",
        " a: b\r\n",
        ": b\r\n",
        "A: b\r\n c\r\n",
        "A: \0\r\n",
        "A\0: b\r\n",
        "A: b\n",
        "A: b\r\n\n",
    ] {
        assert!(whole(&format!("0\r\n{section}\r\n")).is_err(), "{section:?}");
    }
    assert!(whole(&format!("0\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS))).is_ok());
    assert!(whole(&format!("0\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1))).is_err());
    assert!(read(&format!("0\r\nA: {}\r\n\r\n", "x".repeat(LONGEST_TRAILERS)), usize::MAX).is_err());
    assert!(read(&format!("0\r\nA: {}", "x".repeat(LONGEST_TRAILERS)), usize::MAX).is_err(), "before its end");
}

/// So that a connection whose answer is over goes back to its pool before anybody asks for the next piece.
#[test]
fn the_last_piece_leaves_nothing_to_ask_for() {
    let mut received = BytesMut::from("2\r\nok\r\n0\r\n\r\n");
    let mut chunks = Chunks::default();
    assert_eq!(chunks.next(&mut received).unwrap(), Some(Piece::Data(Bytes::from_static(b"ok"))));
    assert_eq!((chunks, received.len()), (Chunks::End, 0));
}
