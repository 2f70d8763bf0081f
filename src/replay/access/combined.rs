//! The `combined` and `common` log formats of Apache and nginx, with or without a virtual host in front.

use super::Logged;
use crate::target::canonical::hex_byte;

/// Reads a line such as `192.0.2.1 - - [21/Nov/2026:22:00:00 +0000] "GET /a HTTP/1.1" 200 12 "-" "curl"`.
///
/// # Errors
/// What it lacks.
pub(super) fn read(line: &[u8]) -> Result<Logged, &'static str> {
    let line = String::from_utf8_lossy(line);
    let (before, rest) = line.split_once(" [").ok_or("there is no time in brackets")?;
    let (_, rest) = rest.split_once("] \"").ok_or("no request in quotes follows the time")?;
    let (request, after) = quoted(rest).ok_or("the request's quotes are not closed")?;
    let mut words = request.split(' ');
    let (method, target) = words.next().zip(words.next()).ok_or("the request is no method and target")?;
    if words.next().is_some_and(|version| !version.starts_with("HTTP/")) || words.next().is_some() {
        return Err("the request is no method, target and version");
    }
    // Address, identity and user; `vhost_combined` puts the server's name before them.
    let mut names: Vec<&str> = before.split(' ').collect();
    let host = (names.len() > 3).then(|| names.remove(0)).filter(|host| *host != "-").map(str::to_owned);
    Ok(Logged {
        method: method.to_owned(),
        host,
        target: target.to_owned(),
        address: names.first().and_then(|address| address.parse().ok()),
        status: after.split_ascii_whitespace().next().and_then(|status| status.parse().ok()),
    })
}

/// Text up to the closing quote, without escapes, and what follows. Bytes that are no text become U+FFFD: neither they nor
/// it are allowed in a target.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    let mut read = 0;
    while let Some((byte, after)) = rest.split_first() {
        let (value, length) = match (byte, after) {
            (b'"', _) => {
                return Some((String::from_utf8_lossy(&bytes).into_owned(), text.get(read + 1..).unwrap_or_default()));
            }
            (b'\\', [b'x', high, low, ..]) if hex_byte(*high, *low).is_some() => (hex_byte(*high, *low)?, 4),
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [escaped, ..]) => (*escaped, 2),
            (byte, _) => (*byte, 1),
        };
        bytes.push(value);
        read += length;
        rest = rest.get(length..).unwrap_or_default();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(line: &str) -> Result<Logged, &'static str> {
        read(line.as_bytes())
    }

    #[test]
    fn lines_of_apache_and_nginx_are_read() {
        let logged = read_text(
            r#"192.0.2.1 - alice [21/Nov/2026:22:00:00 +0000] "GET /a?b=\x22c\" HTTP/1.1" 200 12 "-" "curl/8""#,
        );
        let wanted = Logged {
            method: "GET".into(),
            host: None,
            target: "/a?b=\"c\"".into(),
            address: Some([192, 0, 2, 1].into()),
            status: Some(200),
        };
        assert_eq!(logged, Ok(wanted));
        let logged = read_text(r#"api.example.com:443 ::1 - - [t] "POST /x HTTP/2.0" 404 -"#).unwrap();
        assert_eq!((logged.host.as_deref(), logged.status), (Some("api.example.com:443"), Some(404)));
        assert_eq!(logged.address, "::1".parse().ok());
        assert_eq!(read_text(r#"gate.example.com - - [t] "GET /x" 200 1"#).unwrap().address, None);
    }

    #[test]
    fn what_is_no_request_is_said() {
        for (line, why) in [
            ("garbage", "there is no time in brackets"),
            (r#"a - - [t] "\x16\x03\x01" 400 0"#, "the request is no method and target"),
            (r#"a - - [t] "GET /x HTTP/1.1"#, "the request's quotes are not closed"),
            (r#"a - - [t] "GET /a b HTTP/1.1" 400 0"#, "the request is no method, target and version"),
            ("a - - [t] GET / 200", "no request in quotes follows the time"),
        ] {
            assert_eq!(read_text(line), Err(why), "{line}");
        }
    }
}
