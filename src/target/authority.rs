//! The authority of a request: `Host` or `:authority` (RFC 9110 section 7.2, RFC 3986 section 3.2).

use std::fmt;
use std::net::Ipv6Addr;

/// The scheme of a request, which says what the default port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Default port 80.
    Http,
    /// Default port 443.
    Https,
}

impl Scheme {
    /// The port that need not be written.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A host and a port, lower-cased, without default port and without the root's trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    text: String,
    host_length: usize,
    port: Option<u16>,
}

/// Why an authority is refused; always 400 `invalid-host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// No host.
    #[error("the host is empty")]
    Empty,
    /// `user@host`.
    #[error("the host holds user information")]
    UserInformation,
    /// A character that a name may not hold.
    #[error("the host is not a name, an IPv4 address or an IPv6 address in brackets")]
    Host,
    /// A port that is no number below 65536.
    #[error("the port is not a number below 65536")]
    Port,
}

impl AuthorityError {
    /// The short code that the client gets.
    pub const fn slug(self) -> &'static str {
        "invalid-host"
    }
}

impl Authority {
    /// Reads `Host` or `:authority`: exactly a host and an optional port. `scheme` is that of the connection: its default
    /// port is removed.
    ///
    /// # Errors
    /// User information, an empty host, an empty label, a character beyond letters, digits, `-`, `_` and `.`, a malformed
    /// IPv6 address, a port that is no number.
    pub fn parse(text: &str, scheme: Scheme) -> Result<Self, AuthorityError> {
        if text.as_bytes().contains(&b'@') {
            return Err(AuthorityError::UserInformation);
        }
        let (host, port) = split_port(text)?;
        let port = port.map(parse_port).transpose()?.flatten().filter(|port| *port != scheme.default_port());
        let mut canonical = canonical_host(host)?;
        let host_length = canonical.len();
        if let Some(port) = port {
            canonical.push(':');
            canonical.push_str(&port.to_string());
        }
        Ok(Self { text: canonical, host_length, port })
    }

    /// The host: a lower-cased name or IPv4 address, or an IPv6 address in brackets in its shortest form.
    pub fn host(&self) -> &str {
        self.text.get(..self.host_length).unwrap_or_default()
    }

    /// The port, unless it is the scheme's default.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Host and port as they are forwarded.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), AuthorityError> {
    let name_end = if text.starts_with('[') { text.find(']').ok_or(AuthorityError::Host)? + 1 } else { 0 };
    let after = text.get(name_end..).unwrap_or_default();
    match after.split_once(':') {
        None if name_end == 0 || after.is_empty() => Ok((text, None)),
        Some((rest, port)) if name_end == 0 || rest.is_empty() => {
            Ok((text.get(..name_end + rest.len()).unwrap_or_default(), Some(port)))
        }
        _ => Err(AuthorityError::Host),
    }
}

/// RFC 3986 section 3.2.3 lets the digits be absent.
fn parse_port(digits: &str) -> Result<Option<u16>, AuthorityError> {
    if digits.is_empty() {
        return Ok(None);
    }
    if digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AuthorityError::Port);
    }
    digits.parse().map(Some).map_err(|_| AuthorityError::Port)
}

fn canonical_host(host: &str) -> Result<String, AuthorityError> {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').ok_or(AuthorityError::Host)?;
        let address: Ipv6Addr = address.parse().map_err(|_| AuthorityError::Host)?;
        return Ok(format!("[{address}]"));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.is_empty() {
        return Err(AuthorityError::Empty);
    }
    let label_is_valid = |label: &[u8]| {
        (1..=63).contains(&label.len())
            && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_')
    };
    if name.len() > 253 || !name.as_bytes().split(|byte| *byte == b'.').all(label_is_valid) {
        return Err(AuthorityError::Host);
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_lower_cased_and_loses_default_port_and_root_dot() {
        for (text, scheme, canonical) in [
            ("API.Example.com", Scheme::Https, "api.example.com"),
            ("api.example.com:443", Scheme::Https, "api.example.com"),
            ("api.example.com:443", Scheme::Http, "api.example.com:443"),
            ("api.example.com.:8443", Scheme::Https, "api.example.com:8443"),
            ("api.example.com.", Scheme::Https, "api.example.com"),
            ("api.example.com:", Scheme::Https, "api.example.com"),
            ("localhost:0443", Scheme::Https, "localhost"),
            ("127.0.0.1:80", Scheme::Http, "127.0.0.1"),
            ("[::0001]:8443", Scheme::Https, "[::1]:8443"),
            ("[2001:DB8::1]", Scheme::Https, "[2001:db8::1]"),
            ("my_service", Scheme::Http, "my_service"),
        ] {
            let authority = Authority::parse(text, scheme).unwrap();
            assert_eq!(authority.as_str(), canonical, "{text}");
            assert_eq!(Authority::parse(authority.as_str(), scheme).unwrap(), authority, "{text}");
        }
        let authority = Authority::parse("[::1]:8443", Scheme::Https).unwrap();
        assert_eq!((authority.host(), authority.port()), ("[::1]", Some(8443)));
    }

    #[test]
    fn what_is_no_host_is_refused_rfc_9112_section_3_2() {
        for (text, error) in [
            ("", AuthorityError::Empty),
            (".", AuthorityError::Empty),
            (":80", AuthorityError::Empty),
            ("a@b", AuthorityError::UserInformation),
            ("a/b@c", AuthorityError::UserInformation),
            ("a/b", AuthorityError::Host),
            ("a..b", AuthorityError::Host),
            ("a..", AuthorityError::Host),
            (".a", AuthorityError::Host),
            ("a b", AuthorityError::Host),
            (" a", AuthorityError::Host),
            ("a,b", AuthorityError::Host),
            ("a%2eb", AuthorityError::Host),
            ("b\u{fc}cher.de", AuthorityError::Host),
            ("[::1", AuthorityError::Host),
            ("[::1]x", AuthorityError::Host),
            ("[::1]x:80", AuthorityError::Host),
            ("[fe80::1%25eth0]", AuthorityError::Host),
            ("[127.0.0.1]", AuthorityError::Host),
            ("::1", AuthorityError::Port),
            ("a:b", AuthorityError::Port),
            ("a:+80", AuthorityError::Port),
            ("a:80:80", AuthorityError::Port),
            ("a:65536", AuthorityError::Port),
            ("a:000080", AuthorityError::Port),
        ] {
            let refused = Authority::parse(text, Scheme::Https).unwrap_err();
            // `::1` is an empty host with an odd port: either word is right.
            assert!(refused == error || text == "::1", "{text}: {refused:?}");
        }
    }
}
