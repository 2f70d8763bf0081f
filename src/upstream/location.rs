//! `rewrite_location`: where the upstream names its own addresses, the client gets the ones it knows. Pure.

use http::header::{CONTENT_LOCATION, HeaderMap, HeaderValue, LOCATION, SET_COOKIE};

/// The upstream's view of itself, and the client's. Prefixes have no slash at their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    /// Scheme of the endpoint.
    pub(super) scheme: &'static str,
    /// The endpoint's authority, without a default port.
    pub(super) endpoint: String,
    /// What the upstream got as Host.
    pub(super) host: String,
    /// Scheme that the client used.
    pub(super) client_scheme: &'static str,
    /// Authority that the client used.
    pub(super) client_authority: String,
    /// `forward.strip_prefix`.
    pub(super) stripped: String,
    /// `forward.add_prefix`.
    pub(super) added: String,
}

impl Mapping {
    /// Maps `Location`, `Content-Location` and cookies back.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in headers.iter_mut() {
            if name == LOCATION || name == CONTENT_LOCATION {
                replace(value, |text| self.reference(text));
            } else if name == SET_COOKIE {
                replace(value, |text| self.cookie(text));
            }
        }
    }

    /// A URI reference (RFC 3986 section 4.1). `None`: stays as it is.
    fn reference(&self, text: &str) -> Option<String> {
        if let Some((scheme, rest)) = text.split_once("://") {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at_checked(end)?;
            let own = self.is_own(&scheme.to_ascii_lowercase(), &authority.to_ascii_lowercase());
            return own.then(|| {
                format!("{}://{}{}", self.client_scheme, self.client_authority, self.path(path).unwrap_or(path.into()))
            });
        }
        // A network-path reference names another host.
        if text.starts_with("//") || !text.starts_with('/') {
            return None;
        }
        self.path(text)
    }

    fn is_own(&self, scheme: &str, authority: &str) -> bool {
        let bare = match scheme {
            "http" => authority.strip_suffix(":80"),
            "https" => authority.strip_suffix(":443"),
            _ => return false,
        };
        let authority = bare.unwrap_or(authority);
        (scheme == self.scheme && authority == self.endpoint) || authority == self.host
    }

    /// The path that the client has to ask for to reach this path of the upstream; `None`: this very one, or none.
    fn path(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix(self.added.as_str())?;
        if !(self.added.is_empty() || rest.is_empty() || rest.starts_with(['/', '?', '#'])) {
            return None;
        }
        let mapped = format!("{}{rest}", self.stripped);
        (mapped != path).then_some(if mapped.is_empty() { "/".to_owned() } else { mapped })
    }

    /// Path and Domain of a `Set-Cookie` (RFC 6265 section 4.1).
    fn cookie(&self, text: &str) -> Option<String> {
        let mut changed = false;
        let mut parts = text.split(';');
        let mut cookie = parts.next()?.to_owned();
        for part in parts {
            let mapped = part.split_once('=').and_then(|(name, value)| self.attribute(name.trim(), value.trim()));
            changed |= mapped.is_some();
            cookie.push(';');
            match mapped {
                Some(mapped) => {
                    cookie.push(' ');
                    cookie.push_str(&mapped);
                }
                None => cookie.push_str(part),
            }
        }
        changed.then_some(cookie)
    }

    fn attribute(&self, name: &str, value: &str) -> Option<String> {
        if name.eq_ignore_ascii_case("path") {
            let path = self.path(value)?;
            // `/crm` covers `/crm` and all below; `/crm/` would not cover `/crm`.
            let path = if value == "/" && !self.stripped.is_empty() { self.stripped.clone() } else { path };
            return Some(format!("Path={path}"));
        }
        let domain = value.strip_prefix('.').unwrap_or(value);
        let own = [&self.endpoint, &self.host].into_iter().any(|own| without_port(own).eq_ignore_ascii_case(domain));
        (name.eq_ignore_ascii_case("domain") && own).then(|| format!("Domain={}", without_port(&self.client_authority)))
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn replace(value: &mut HeaderValue, map: impl FnOnce(&str) -> Option<String>) {
    if let Some(Ok(mapped)) = value.to_str().ok().and_then(map).map(HeaderValue::try_from) {
        *value = mapped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(stripped: &str, added: &str) -> Mapping {
        Mapping {
            scheme: "http",
            endpoint: "10.0.0.5:9000".into(),
            host: "crm.internal".into(),
            client_scheme: "https",
            client_authority: "api.example.com:8443".into(),
            stripped: stripped.into(),
            added: added.into(),
        }
    }

    fn location(mapping: &Mapping, value: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static(value));
        mapping.apply(&mut headers);
        headers[LOCATION].to_str().unwrap().to_owned()
    }

    #[test]
    fn the_endpoints_own_origin_becomes_the_clients() {
        let mapping = mapping("", "");
        for (told, known) in [
            ("http://10.0.0.5:9000/a?b#c", "https://api.example.com:8443/a?b#c"),
            ("HTTP://10.0.0.5:9000", "https://api.example.com:8443"),
            ("http://crm.internal:80/a", "https://api.example.com:8443/a"),
            ("https://crm.internal/a", "https://api.example.com:8443/a"),
            ("https://10.0.0.5:9000/a", "https://10.0.0.5:9000/a"),
            ("http://10.0.0.5:9001/a", "http://10.0.0.5:9001/a"),
            ("http://crm.internal.evil/a", "http://crm.internal.evil/a"),
            ("http://user@crm.internal/a", "http://user@crm.internal/a"),
            ("ftp://crm.internal/a", "ftp://crm.internal/a"),
            ("//crm.internal/a", "//crm.internal/a"),
            ("/a", "/a"),
            ("a/b", "a/b"),
        ] {
            assert_eq!(location(&mapping, told), known);
        }
    }

    #[test]
    fn prefixes_are_put_back() {
        let both = mapping("/crm", "/v2");
        assert_eq!(location(&both, "/v2/a?b"), "/crm/a?b");
        assert_eq!(location(&both, "/v2"), "/crm");
        assert_eq!(location(&both, "/v2?b"), "/crm?b");
        assert_eq!(location(&both, "/v20/a"), "/v20/a");
        assert_eq!(location(&both, "http://crm.internal/v2/a"), "https://api.example.com:8443/crm/a");
        assert_eq!(location(&both, "http://crm.internal/other"), "https://api.example.com:8443/other");
        assert_eq!(location(&mapping("/crm", ""), "/a"), "/crm/a");
        assert_eq!(location(&mapping("", "/v2"), "/v2"), "/");
        assert_eq!(location(&mapping("", "/v2"), "/v2/a"), "/a");
    }

    #[test]
    fn cookies_follow() {
        let mut headers = HeaderMap::new();
        for cookie in [
            "a=1; Path=/; Domain=crm.internal; Secure",
            "b=2; path=/v2/x; domain=.10.0.0.5",
            "c=Path=/v2; HttpOnly; Domain=other.example",
        ] {
            headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
        }
        let mut stripped = headers.clone();
        mapping("/crm", "").apply(&mut stripped);
        let cookies = |headers: &HeaderMap| -> Vec<String> {
            headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(cookies(&stripped)[0], "a=1; Path=/crm; Domain=api.example.com; Secure");
        mapping("/crm", "/v2").apply(&mut headers);
        assert_eq!(cookies(&headers)[1], "b=2; Path=/crm/x; Domain=api.example.com");
        assert_eq!(cookies(&headers)[2], "c=Path=/v2; HttpOnly; Domain=other.example");
    }
}
