//! The forms of text that `torwart.yaml` uses, each with what to write instead.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use http::Uri;

use super::{AdminAddress, Algorithm, Endpoint, Preset};
use crate::document::Format;

/// Names of presets, in the order of [`Preset::ALL`].
pub(super) static PRESETS: [&str; Preset::ALL.len()] = {
    let mut names = [""; Preset::ALL.len()];
    let mut rest: &[(&str, Preset)] = &Preset::ALL;
    let mut free: &mut [&str] = &mut names;
    while let ([(name, _), others @ ..], [slot, more @ ..]) = (rest, free) {
        *slot = name;
        rest = others;
        free = more;
    }
    names
};

/// JOSE names of signature algorithms.
pub(super) static ALGORITHMS: [&str; 12] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384", "HS512"];

/// Values of `quirks.server`.
pub(super) static SERVERS: [&str; 6] = ["iis", "tomcat", "php", "wsgi", "node", "go"];

/// A name that policies, headers and metrics can carry.
pub(super) static NAME: Format = Format {
    what: "a name",
    pattern: Some("^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"),
    check: |text| {
        let fits = text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.len() <= 63
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        fits.then_some(()).ok_or_else(|| "names are up to 63 letters, digits, `.`, `_` and `-`".to_owned())
    },
};

/// A listener's address.
pub(super) static ADDRESS: Format = Format {
    what: "an address with a port",
    pattern: Some(":[0-9]{1,5}$"),
    check: |text| socket_address(text).map(|_| ()),
};

/// The admin listener's address.
pub(super) static ADMIN_ADDRESS: Format = Format {
    what: "an address with a port, or a Unix socket",
    pattern: Some("^unix:/|:[0-9]{1,5}$"),
    check: |text| admin_address(text).map(|_| ()),
};

/// `any` as audience.
pub(super) static ANY_AUDIENCE: Format = Format {
    what: "`any`",
    pattern: Some("^any$"),
    check: |text| if text == "any" { Ok(()) } else { Err(format!("write a list: `[{text}]`")) },
};

/// An absolute URL that names a place.
pub(super) static URL: Format =
    Format { what: "a URL", pattern: Some("^https?://[^/?#]+"), check: |text| url(text).map(|_| ()) };

/// An upstream's address.
pub(super) static ENDPOINT: Format = Format {
    what: "an endpoint",
    pattern: Some("^(https?://[^/?#]+/?|unix:/.+)$"),
    check: |text| endpoint(text).map(|_| ()),
};

/// What an upstream gets as Host.
pub(super) static HOST: Format = Format {
    what: "`original`, `endpoint` or a host name",
    pattern: None,
    check: |text| {
        let plain = text.parse::<http::uri::Authority>().is_ok_and(|authority| !authority.as_str().contains('@'));
        plain.then_some(()).ok_or_else(|| "write a host name, with a port if needed, such as `crm.internal`".to_owned())
    },
};

/// A path for a health check.
pub(super) static REQUEST_PATH: Format = Format {
    what: "a path",
    pattern: Some("^/"),
    check: |text| {
        let fits = text.starts_with('/')
            && !text.contains('#')
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && text.parse::<http::uri::PathAndQuery>().is_ok();
        fits.then_some(()).ok_or_else(|| "write a path that begins with a slash, such as `/health`".to_owned())
    },
};

/// A header name.
pub(super) static HEADER: Format = Format {
    what: "a header name",
    pattern: Some("^[A-Za-z0-9-]+$"),
    check: |text| {
        let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        fits.then_some(()).ok_or_else(|| "write letters, digits and `-`, such as `X-Auth-Token`".to_owned())
    },
};

/// The prefix of identity headers.
pub(super) static PREFIX: Format = Format {
    what: "a prefix for header names",
    pattern: Some("^[A-Za-z0-9-]+-$"),
    check: |text| {
        (HEADER.check)(text).map_err(|_| "write letters, digits and `-`, such as `X-Auth-`".to_owned())?;
        if !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err("begin it with a letter, as in `X-Auth-`".to_owned());
        }
        if !text.ends_with('-') {
            return Err(format!("end it with `-`: `{text}-`"));
        }
        let covered = NEEDED.iter().find(|name| name.starts_with(&text.to_ascii_lowercase()));
        covered.map_or(Ok(()), |name| Err(format!("it covers `{name}`: write a longer one, such as `X-Auth-`")))
    },
};

/// Headers that a request cannot do without: no identity prefix may cover them.
static NEEDED: [&str; 14] = [
    "accept-",
    "access-control-",
    "cache-control",
    "content-length",
    "content-type",
    "if-match",
    "last-event-id",
    "sec-websocket-key",
    "set-cookie",
    "transfer-encoding",
    "user-agent",
    "www-authenticate",
    "x-forwarded-for",
    "x-request-id",
];

/// Reads a listener's address. IPv4-mapped IPv6 is IPv4.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(SocketAddr::new(super::unmapped(address.ip()), address.port()));
    }
    let port = |text: &str| text.parse::<u16>().is_ok();
    Err(match text.rsplit_once(':') {
        Some(("localhost", at)) if port(at) => format!("names are not resolved here: write `127.0.0.1:{at}`"),
        Some(("" | "*", at)) if port(at) => {
            format!("write `[::]:{at}` for all addresses, or `127.0.0.1:{at}` for this machine")
        }
        _ if text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) => format!("add a port: `[{text}]:8443`"),
        _ if text.parse::<IpAddr>().is_ok() => format!("add a port: `{text}:8443`"),
        _ if port(text) => format!("write `[::]:{text}` for all addresses, or `127.0.0.1:{text}` for this machine"),
        _ => "write an address and a port, such as `0.0.0.0:8443` or `[::]:8443`".to_owned(),
    })
}

/// Reads the admin listener's address.
pub(super) fn admin_address(text: &str) -> Result<AdminAddress, String> {
    match text.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') => Ok(AdminAddress::Unix(PathBuf::from(path))),
        Some(path) => Err(format!("the path of a socket is absolute: `unix:/run/{path}`")),
        None => socket_address(text).map(AdminAddress::Tcp),
    }
}

/// Reads a URL with scheme and host, without credentials and fragment.
pub(super) fn url(text: &str) -> Result<Uri, String> {
    let example = || "write an absolute URL, such as `https://auth.example.com`".to_owned();
    let uri: Uri = text.parse().map_err(|_| example())?;
    let authority = uri.authority().ok_or_else(example)?;
    if authority.as_str().contains('@') {
        return Err("credentials do not belong into a URL".to_owned());
    }
    if text.contains('#') {
        return Err("a fragment means nothing here".to_owned());
    }
    if !matches!(uri.scheme_str(), Some("https" | "http")) || authority.host().is_empty() || port_is_wrong(authority) {
        return Err(example());
    }
    Ok(uri)
}

/// Reads an upstream's address.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(path);
        if !path.starts_with('/') || path.len() == 1 {
            return Err("the path of a socket is absolute: `unix:/run/app.sock`".to_owned());
        }
        return Ok(Endpoint { tls: false, host: path.to_owned(), port: 0, unix: true });
    }
    if !text.contains("://") {
        return Err(format!("say the scheme: `http://{text}` or `https://{text}`"));
    }
    let uri = url(text).map_err(|_| "write `http://host:port`, `https://host:port` or `unix:/path`".to_owned())?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err("an endpoint has no path: `forward.add_prefix` of a policy sets one".to_owned());
    }
    let tls = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    if port == 0 {
        return Err("port 0 is no port".to_owned());
    }
    Ok(Endpoint { tls, host, port, unix: false })
}

/// Whether there is something behind the host's colon that is no port.
fn port_is_wrong(authority: &http::uri::Authority) -> bool {
    let behind = authority.as_str().get(authority.host().len()..).unwrap_or_default();
    !behind.is_empty() && authority.port_u16().is_none()
}

/// Whether a host is this machine by the names that `environment: integration` allows http for.
pub(super) fn is_local(uri: &Uri) -> bool {
    matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

impl Algorithm {
    /// The algorithm of this JOSE name (RFC 7518 section 3.1, RFC 8037). Names are case-sensitive; ES512 is not offered.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" => Self::EdDsa,
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            _ => return None,
        })
    }

    /// Its JOSE name.
    pub fn name(self) -> &'static str {
        ALGORITHMS.iter().find(|name| Self::named(name) == Some(self)).unwrap_or(&"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_a_scheme_and_no_path() {
        let plain = endpoint("http://127.0.0.1:9000").unwrap();
        assert_eq!((plain.tls, plain.host.as_str(), plain.port, plain.unix), (false, "127.0.0.1", 9000, false));
        let tls = endpoint("https://CRM.internal/").unwrap();
        assert_eq!((tls.tls, tls.host.as_str(), tls.port), (true, "crm.internal", 443));
        assert_eq!(endpoint("http://[::1]:80").unwrap().host, "::1");
        assert_eq!(endpoint("unix:/run/a.sock").unwrap().host, "/run/a.sock");
        assert_eq!(endpoint("unix:///run/a.sock").unwrap().host, "/run/a.sock");
        for wrong in [
            "",
            "crm:80",
            "ftp://a",
            "http://",
            "http://a/b",
            "http://a?b",
            "http://u@a",
            "http://a:99999",
            "http://a:",
            "unix:a",
            "unix:",
            "unix:/",
            "http://a:0",
            "http://a#b",
        ] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_server_and_preset_is_known_by_the_name_declared() {
        assert_eq!(SERVERS, crate::target::quirks::Server::ALL.map(|(name, _)| name));
        assert_eq!(PRESETS, Preset::ALL.map(|(name, _)| name));
        assert!(ALGORITHMS.iter().all(|name| Algorithm::named(name).is_some_and(|found| found.name() == *name)));
        assert_eq!(Algorithm::named("rs256"), None);
    }

    #[test]
    fn addresses_are_not_resolved() {
        assert_eq!(socket_address("[::]:8443").unwrap().port(), 8443);
        assert_eq!(socket_address("[::ffff:127.0.0.1]:1").unwrap().to_string(), "127.0.0.1:1");
        for wrong in ["", ":80", "80", "localhost:80", "127.0.0.1", "::1", "0.0.0.0:99999", "a:b"] {
            assert!(socket_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_prefix_covers_nothing_that_requests_need() {
        for wrong in ["", "X-", "x-forwarded-", "Content-", "X_Auth_", "X-Auth", "X-Request-", "Sec-", "-"] {
            assert!((PREFIX.check)(wrong).is_err(), "{wrong}");
        }
        for right in ["X-Auth-", "Remote-", "X-Forwarded-User-"] {
            assert!((PREFIX.check)(right).is_ok(), "{right}");
        }
    }

    #[test]
    fn urls_have_no_credentials_and_no_fragment() {
        assert!(url("https://auth.example.com/").is_ok());
        assert!(url("http://[::1]:9000/realms/x").is_ok());
        for wrong in
            ["", "auth.example.com", "https://", "https://u:p@a", "https://a#b", "mailto:a", "https://a:x", "/a"]
        {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
