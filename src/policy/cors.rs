//! Which origins' pages may call (the Fetch standard's CORS protocol; policy.md, "Limits and cross-origin").
//!
//! Pure: what answers carry, as header fields. A page that may not read an answer is stopped by its browser; what may be
//! asked for is decided as for everybody else.

use std::fmt;
use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::policy::Head;
use crate::policy::forward::Effects;
use crate::target::fold::only_field;

/// `cors` of a route.
#[derive(Debug, Clone)]
pub(in crate::policy) enum CrossOrigin {
    /// The gateway answers preflights and says who may read answers.
    Gateway(Arc<Cors>),
    /// The upstream does. Preflights go there with these effects: nothing of anybody's identity.
    Upstream(Arc<Effects>),
}

/// What pages may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct Cors {
    pub(in crate::policy) origins: Origins,
    /// Methods that pages may use; absent: every one that the path has.
    pub(in crate::policy) methods: Option<Box<[Box<str>]>>,
    /// Headers that they may send, beside those that every page may.
    pub(in crate::policy) headers: Box<[Box<str>]>,
    /// Whether cookies and the like may be sent along.
    pub(in crate::policy) credentials: bool,
    /// Seconds for which a preflight's answer is kept.
    pub(in crate::policy) max_age: Option<u64>,
}

/// Whose pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) enum Origins {
    /// Everybody's.
    Any,
    /// Those of these origins, as browsers write them.
    These(Box<[Box<str>]>),
}

/// What every answer on a route says about who may read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    origin: Option<HeaderValue>,
    credentials: bool,
}

/// The answer to a preflight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    grant: Grant,
    method: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    max_age: Option<u64>,
}

/// The method that a preflight asks about: `OPTIONS` with one `Origin` and one `Access-Control-Request-Method`.
pub(in crate::policy) fn requested_method<'r>(head: &Head<'r>) -> Option<&'r str> {
    if head.method != "OPTIONS" {
        return None;
    }
    only_field(head.headers, &ORIGIN)?;
    only_field(head.headers, &ACCESS_CONTROL_REQUEST_METHOD)?.to_str().ok().filter(|method| !method.is_empty())
}

impl Cors {
    /// What an answer to this request carries.
    pub(in crate::policy) fn grant(&self, headers: &HeaderMap) -> Grant {
        let Some(origin) = only_field(headers, &ORIGIN) else { return Grant::default() };
        let origin = match &self.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::These(origins) => {
                origins.iter().any(|known| known.as_bytes() == origin.as_bytes()).then(|| origin.clone())
            }
        };
        Grant { credentials: self.credentials && origin.is_some(), origin }
    }

    /// The answer to a preflight for a method. Only that method is granted: browsers keep what they are told for the
    /// whole URL, and other methods are other routes' to grant.
    pub(in crate::policy) fn preflight(&self, method: &str, headers: &HeaderMap) -> Preflight {
        let nothing = Preflight { grant: Grant::default(), method: None, headers: None, max_age: None };
        let listed = self.methods.as_ref().is_none_or(|methods| methods.iter().any(|known| **known == *method));
        let grant = self.grant(headers);
        if !listed || grant.origin.is_none() {
            return nothing;
        }
        let names = (!self.headers.is_empty()).then(|| HeaderValue::from_str(&self.headers.join(", ")).ok()).flatten();
        Preflight { grant, method: HeaderValue::from_str(method).ok(), headers: names, max_age: self.max_age }
    }
}

impl fmt::Display for CrossOrigin {
    /// What it says, as a policy would say it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Gateway(cors) = self else { return f.write_str("upstream") };
        let origins = match &cors.origins {
            Origins::Any => "*".to_owned(),
            Origins::These(origins) => origins.join(", "),
        };
        write!(f, "origins: [{origins}]")?;
        if let Some(methods) = &cors.methods {
            write!(f, ", methods: [{}]", methods.join(", "))?;
        }
        if !cors.headers.is_empty() {
            write!(f, ", headers: [{}]", cors.headers.join(", "))?;
        }
        if cors.credentials {
            f.write_str(", credentials: true")?;
        }
        cors.max_age.map_or(Ok(()), |seconds| write!(f, ", max_age: {seconds}s"))
    }
}

impl Grant {
    /// Any page may read the answer, and sends nothing of the user's along.
    pub fn everyone() -> Self {
        Self { origin: Some(HeaderValue::from_static("*")), credentials: false }
    }

    /// The fields, without `Vary`.
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let origin = self.origin.clone().map(|origin| (ACCESS_CONTROL_ALLOW_ORIGIN, origin));
        let credentials =
            self.credentials.then_some((ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        origin.into_iter().chain(credentials)
    }
}

impl Preflight {
    /// The fields, without `Vary`; none where the origin or the method is not allowed.
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let method = self.method.clone().map(|method| (ACCESS_CONTROL_ALLOW_METHODS, method));
        let headers = self.headers.clone().map(|headers| (ACCESS_CONTROL_ALLOW_HEADERS, headers));
        let max_age = self.max_age.map(|seconds| (ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds)));
        self.grant.fields().chain(method).chain(headers).chain(max_age)
    }
}

/// Whether the text is an origin as browsers write it (RFC 6454 section 6.2).
///
/// # Errors
/// What to write instead.
pub(in crate::policy) fn check_origin(text: &str) -> Result<(), String> {
    if text == "*" {
        return Ok(());
    }
    if text == "null" {
        return Err("every page that hides where it comes from is `null`: name origins".to_owned());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("write scheme and host: `https://{}`", text.trim_matches('/')));
    };
    let lower = text.to_ascii_lowercase();
    if lower != text {
        return Err(format!("browsers write small letters: `{lower}`"));
    }
    let (host, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |end| rest.split_at(end));
    if !path.is_empty() {
        return Err(format!("an origin has no path: `{scheme}://{host}`"));
    }
    if host.contains('*') {
        return Err("name every origin; there are no patterns".to_owned());
    }
    let letters = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let visible = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte));
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let number = port.is_none_or(|port| !port.starts_with('0') && port.parse::<u16>().is_ok());
    if !letters || !visible || scheme.is_empty() || name.is_empty() || !number {
        return Err("write an origin such as `https://app.example.com` or `http://localhost:3000`".to_owned());
    }
    if matches!((scheme, port), ("https", Some("443")) | ("http", Some("80"))) {
        return Err(format!("browsers leave out the usual port: `{scheme}://{name}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for origin in [
            "*",
            "https://app.example.com",
            "http://localhost:3000",
            "https://[2001:db8::1]",
            "https://[2001:db8::1]:8443",
            "capacitor://localhost",
            "https://xn--mller-kva.example",
        ] {
            assert_eq!(check_origin(origin), Ok(()), "{origin}");
        }
        for (wrong, help) in [
            ("app.example.com", "write scheme and host: `https://app.example.com`"),
            ("https://app.example.com/", "an origin has no path: `https://app.example.com`"),
            ("https://app.example.com/a?b", "an origin has no path: `https://app.example.com`"),
            ("https://App.example.com", "browsers write small letters: `https://app.example.com`"),
            ("https://*.example.com", "name every origin; there are no patterns"),
            ("https://app.example.com:443", "browsers leave out the usual port: `https://app.example.com`"),
            ("http://localhost:80", "browsers leave out the usual port: `http://localhost`"),
            ("null", "every page that hides where it comes from is `null`: name origins"),
        ] {
            assert_eq!(check_origin(wrong), Err(help.to_owned()));
        }
        for wrong in
            ["https://", "://a", "https://a:", "https://a:0", "https://a:99999", "https://u@a", "https://mü.de"]
        {
            assert!(check_origin(wrong).is_err(), "{wrong}");
        }
    }
}
