//! What the gateway answers itself: load balancers, `OPTIONS *`, redirects to `https`.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;

use super::answer::Content;
use super::authority;
use super::exchange::Exchange;
use crate::policy::Published;
use crate::response::{self, Refusal};

/// Where load balancers ask. Answered before routing, whatever the host.
const PING: &str = "/.torwart/ping";
/// The gateway's own paths; no policy is asked about them.
const RESERVED: &str = "/.torwart";

/// The gateway's own answer, if the request is one for it.
pub(crate) fn answer(head: &Parts) -> Option<Response<Bytes>> {
    match head.uri.path() {
        "*" => Some(response::options()),
        PING if head.method == Method::GET || head.method == Method::HEAD => Some(response::ping()),
        _ => None,
    }
}

/// What a request for metadata of a protected resource gets: those at this position, or the answer to `OPTIONS`.
///
/// # Errors
/// Nothing is published there, or they are asked for by another method.
pub(crate) fn published(found: Published, method: &Method) -> Result<Option<usize>, Refusal> {
    match found {
        Published::Nothing => Err(Refusal::Reserved),
        Published::Resource(position) if *method == Method::GET || *method == Method::HEAD => Ok(Some(position)),
        Published::Resource(_) if *method == Method::OPTIONS => Ok(None),
        Published::Resource(_) => Err(Refusal::ReadOnly),
    }
}

/// Whether a canonical path is below the gateway's own.
pub(crate) fn is_reserved(canonical: &str) -> bool {
    canonical.strip_prefix(RESERVED).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The answer of a listener that only redirects: the same URL under `https`, on the port that `https` has.
pub(super) fn redirect(exchange: &mut Exchange, request: Request<Incoming>) -> Result<Response<Content>, Refusal> {
    let (head, _) = request.into_parts();
    exchange.check_regular()?;
    super::framing::check(&head, &exchange.snapshot.config.limits)?;
    let form = authority::form(&head, &exchange.connection, exchange.trusted)?;
    let authority = authority::authority(&head, &exchange.connection)?;
    if let Some(own) = answer(&head) {
        return Ok(exchange.answered_by_the_gateway(own));
    }
    debug_assert_eq!(form, authority::Form::Path, "the other form was answered");
    let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let location = format!("https://{}{target}", authority.host());
    let location = HeaderValue::try_from(location).map_err(|_| Refusal::TargetForm)?;
    Ok(exchange.answered_by_the_gateway(response::redirect(location)))
}
