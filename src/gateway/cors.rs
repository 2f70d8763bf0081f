//! What an answer says to pages of other origins: only what the route grants, whatever the upstream says.

use http::header::{HeaderName, HeaderValue, VARY};
use http::{Response, StatusCode};

use crate::policy::Grant;
use crate::target::fold::starts_folded;

/// Makes an answer, the upstream's or the gateway's own, say what is granted and nothing else.
pub(super) fn apply<B>(grant: &Grant, response: &mut Response<B>) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let headers = response.headers_mut();
    let own: Vec<HeaderName> =
        headers.keys().filter(|name| starts_folded(name.as_str(), "access-control-")).cloned().collect();
    for name in own {
        headers.remove(name);
    }
    headers.extend(grant.fields());
    let varies = headers.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let known = varies.map(<[u8]>::trim_ascii).any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"));
    if !known {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstreams_own_are_removed_under_every_spelling_and_vary_names_the_origin_once() {
        for (vary, wanted) in [
            (None, vec!["Origin"]),
            (Some("Accept-Encoding"), vec!["Accept-Encoding", "Origin"]),
            (Some("Accept, origin"), vec!["Accept, origin"]),
            (Some("*"), vec!["*"]),
        ] {
            let mut response = Response::new(());
            let headers = response.headers_mut();
            for name in ["access-control-allow-origin", "access_control_allow_origin", "access-control-expose-headers"]
            {
                headers.append(name, HeaderValue::from_static("*"));
            }
            headers.append("access-control-allow-origin", HeaderValue::from_static("https://evil.example"));
            headers.append("x-access-control-allow-origin", HeaderValue::from_static("stays"));
            if let Some(vary) = vary {
                headers.append(VARY, HeaderValue::from_static(vary));
            }
            apply(&Grant::default(), &mut response);
            let left: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
            assert_eq!(left.len(), 2, "{left:?}");
            assert_eq!(response.headers()["x-access-control-allow-origin"], "stays");
            assert_eq!(response.headers().get_all(VARY).iter().collect::<Vec<_>>(), wanted);
        }
    }
}
