use proptest::prelude::*;

use super::*;

/// A header of version 2: command, family and transport, block.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    header.extend(block);
    header
}

fn block(source: IpAddr, port: u16) -> (u8, Vec<u8>) {
    let (family, mut block) = match source {
        IpAddr::V4(address) => (0x11, [address.octets(), [10, 0, 0, 1]].concat()),
        IpAddr::V6(address) => (0x21, [address.octets(), [1; 16]].concat()),
    };
    block.extend(port.to_be_bytes());
    block.extend(443_u16.to_be_bytes());
    (family, block)
}

fn line(source: IpAddr, port: u16) -> Vec<u8> {
    let (family, destination) = if source.is_ipv4() { ("TCP4", "10.0.0.1") } else { ("TCP6", "2001:db8::1") };
    format!("PROXY {family} {source} {destination} {port} 443\r\n").into_bytes()
}

fn announced(header: &[u8]) -> Result<Announced, Malformed> {
    match parse(header)? {
        Progress::Whole(length, announced) => {
            assert_eq!(length, header.len());
            Ok(announced)
        }
        part @ Progress::Part(_) => panic!("{part:?}"),
    }
}

fn some(address: &str) -> Announced {
    Announced::Client(address.parse().unwrap())
}

#[test]
fn version_1_names_the_client_section_2_1() {
    assert_eq!(announced(b"PROXY TCP4 198.51.100.7 10.0.0.1 56324 443\r\n"), Ok(some("198.51.100.7:56324")));
    assert_eq!(announced(b"PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n"), Ok(some("[2001:db8::7]:0")));
    assert_eq!(announced(b"PROXY TCP6 ::ffff:198.51.100.7 ::1 1 2\r\n"), Ok(some("198.51.100.7:1")));
    assert_eq!(announced(b"PROXY UNKNOWN\r\n"), Ok(Announced::Proxy));
    assert_eq!(announced(b"PROXY UNKNOWN ffff::1 ffff::2 65535 1\r\n"), Ok(Announced::Proxy));
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST_LINE - 16));
    assert_eq!((longest.len(), announced(longest.as_bytes())), (107, Ok(Announced::Proxy)));
}

#[test]
fn version_2_names_the_client_section_2_2() {
    let (family, client) = block("198.51.100.7".parse().unwrap(), 56324);
    assert_eq!(announced(&v2(0x21, family, &client)), Ok(some("198.51.100.7:56324")));
    let tlvs = [client.as_slice(), &[0x04, 0, 1, 0, 0x20, 0xff, 0xff]].concat();
    assert_eq!(announced(&v2(0x21, family, &tlvs)), Ok(some("198.51.100.7:56324")), "TLVs are skipped");
    let (family, client) = block("2001:db8::7".parse().unwrap(), 1);
    assert_eq!(announced(&v2(0x21, family, &client)), Ok(some("[2001:db8::7]:1")));
    assert_eq!(announced(&v2(0x20, family, &client)), Ok(Announced::Proxy), "LOCAL");
    assert_eq!(announced(&v2(0x20, 0x00, &[])), Ok(Announced::Proxy), "LOCAL of a health check");
    assert_eq!(announced(&v2(0x20, 0x99, &[1])), Ok(Announced::Proxy), "LOCAL says nothing of addresses");
    assert_eq!(announced(&v2(0x21, 0x00, &[1, 2])), Ok(Announced::Proxy), "UNSPEC");
    assert_eq!(announced(&v2(0x21, 0x31, &[b'/'; 216])), Ok(Announced::Proxy), "AF_UNIX");
}

#[test]
fn what_is_no_header_is_malformed() {
    let lines: [&[u8]; 23] = [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rX",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n",
        b"PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY UNKNOWN\tx\r\n",
        b"PROXY UNKNOWN a\nb\r\n",
        b"PROXY TCP4 1.2.3.4 \xff 1 2\r\n",
    ];
    for line in lines {
        assert_eq!(parse(line), Err(Malformed), "{}", line.escape_ascii());
    }
    let long = [&b"PROXY UNKNOWN "[..], &[b'f'; 200]].concat();
    assert_eq!(parse(&long), Err(Malformed), "no line end in time");
    assert_eq!(parse(&long[..106]), Err(Malformed), "and no room left for one");
    let (family, client) = block("198.51.100.7".parse().unwrap(), 1);
    for (command, family, block) in [
        (0x11, family, client.as_slice()),
        (0x22, family, &client),
        (0x01, family, &client),
        (0x21, family, &client[..11]),
        (0x21, 0x21, &client),
        (0x21, 0x31, &[0; 215]),
        (0x21, 0x12, &client),
        (0x21, 0x10, &client),
        (0x21, 0x01, &client),
        (0x21, 0x41, &client),
        (0x21, 0x00, &[0; LONGEST]),
    ] {
        let header = v2(command, family, block);
        assert_eq!(parse(&header), Err(Malformed), "{command:x} {family:x}");
        assert_eq!(parse(&header[..FIXED]), Err(Malformed), "it shows before the block: {command:x} {family:x}");
    }
    assert_eq!(parse(&v2(0x31, family, &client)[..13]), Err(Malformed), "a version that nobody knows");
}

#[tokio::test]
async fn not_one_byte_more_than_the_header_is_read() {
    let unknown = b"PROXY UNKNOWN\r\n".to_vec();
    for header in [line("198.51.100.7".parse().unwrap(), 9), unknown, v2(0x20, 0, &[]), v2(0x20, 0, &[7; 300])] {
        let sent = [header.as_slice(), b"the client's own"].concat();
        let mut stream = sent.as_slice();
        assert!(read(&mut stream, Duration::from_secs(1)).await.is_ok());
        assert_eq!(stream, b"the client's own");
        let mut short = &header[..header.len() - 1];
        assert!(matches!(read(&mut short, Duration::from_secs(1)).await, Err(Absent::Ended(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_trickles_in_is_given_up_as_a_whole() {
    let (mut here, mut there) = tokio::io::duplex(64);
    let trickle = tokio::spawn(async move {
        for byte in line("198.51.100.7".parse().unwrap(), 9) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if tokio::io::AsyncWriteExt::write_all(&mut there, &[byte]).await.is_err() {
                return;
            }
        }
    });
    assert!(matches!(read(&mut here, Duration::from_secs(1)).await, Err(Absent::TooSlow)));
    trickle.abort();
}

proptest! {
    #[test]
    fn every_header_is_read_back_and_no_beginning_of_it_is_taken_for_all(
        source in any::<IpAddr>(),
        port in any::<u16>(),
        tlvs in proptest::collection::vec(any::<u8>(), 0..600),
        behind in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let (family, mut client) = block(source, port);
        client.extend(&tlvs);
        let unknown = b"PROXY UNKNOWN\r\n".to_vec();
        for header in [line(source, port), v2(0x21, family, &client), v2(0x20, family, &client), unknown] {
            let whole = parse(&[header.as_slice(), &behind].concat());
            let Ok(Progress::Whole(length, announced)) = whole else { panic!("{whole:?}") };
            prop_assert_eq!(length, header.len());
            let local = header.get(12) == Some(&0x20) && header.starts_with(SIGNATURE) || header.len() == SHORTEST;
            let client = Announced::Client(SocketAddr::new(source.to_canonical(), port));
            prop_assert_eq!(announced, if local { Announced::Proxy } else { client });
            for end in 0..header.len() {
                let Ok(Progress::Part(least)) = parse(&header[..end]) else { panic!("{end}") };
                prop_assert!(least > 0 && end + least <= header.len(), "{} {}", end, least);
            }
        }
    }

    #[test]
    fn any_bytes_come_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..64), version in 0..3) {
        let mut bytes = match version {
            0 => bytes,
            1 => [&WORD[..], &bytes].concat(),
            _ => [&SIGNATURE[..], &bytes].concat(),
        };
        let mut asked = 0;
        while let Ok(Progress::Part(least)) = parse(&bytes) {
            prop_assert!(least > 0);
            bytes.resize(bytes.len() + least, 0);
            asked += 1;
            prop_assert!(bytes.len() <= LONGEST && asked < 100);
        }
    }
}
