//! Step 3, first half: which host the request is for, and in which form its target is written.

use http::request::Parts;
use http::{Method, Version};

use hyper::ext::Protocol;

use super::connection::Connection;
use super::framing::only_host;
use crate::policy::PlaceError;
use crate::response::Refusal;
use crate::target::Authority;

/// What the first line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A path (RFC 9112 sections 3.2.1 and 3.2.2).
    Path,
    /// `OPTIONS *` (section 3.2.4).
    Asterisk,
}

/// The form of the target.
///
/// # Errors
/// `CONNECT` other than RFC 8441's, the authority form, `*` with another method than `OPTIONS`, another scheme than the
/// connection's.
pub(super) fn form(head: &Parts, connection: &Connection, trusted: bool) -> Result<Form, Refusal> {
    if head.method == Method::CONNECT && head.extensions.get::<Protocol>().is_none() {
        return Err(Refusal::Place(PlaceError::MethodRefused));
    }
    let Some(target) = head.uri.path_and_query() else { return Err(Refusal::TargetForm) };
    if let Some(scheme) = head.uri.scheme_str() {
        // A trusted proxy that has taken TLS off may go on saying `https`.
        let fits = scheme == connection.scheme().as_str() || (trusted && matches!(scheme, "http" | "https"));
        if !fits {
            return Err(Refusal::TargetForm);
        }
    }
    match target.as_str() {
        "*" if head.method == Method::OPTIONS => Ok(Form::Asterisk),
        path if path.starts_with('/') => Ok(Form::Path),
        _ => Err(Refusal::TargetForm),
    }
}

/// The one authority of the request: `Host` or `:authority`, and where there are two they name the same.
///
/// # Errors
/// None, several, two that differ, or one that is not valid (RFC 9112 section 3.2, RFC 9113 section 8.3.1).
pub(super) fn authority(head: &Parts, connection: &Connection) -> Result<Authority, Refusal> {
    let scheme = connection.scheme().into();
    let parse = |text: &str| Authority::parse(text, scheme).map_err(Refusal::Authority);
    let host = only_host(&head.headers)?.map(parse).transpose()?;
    let target = head.uri.authority().map(|authority| parse(authority.as_str())).transpose()?;
    match (host, target) {
        (Some(host), Some(target)) if host == target => Ok(host),
        (Some(_), Some(_)) => Err(Refusal::Host("the target and the host name different authorities")),
        (Some(host), None) if head.version != Version::HTTP_2 => Ok(host),
        // RFC 9113 section 8.3.1 lets a request without `:authority` be: one made from HTTP/1.
        (Some(host), None) => Ok(host),
        (None, Some(target)) if head.version == Version::HTTP_2 => Ok(target),
        (None, _) => Err(Refusal::Host("there is no host")),
    }
}
