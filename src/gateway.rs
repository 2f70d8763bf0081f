//! The enforcement point. `handle` is the straight line that every request takes; its order is the one of http.md and
//! never varies. Each step can end the request with a [`Refusal`], and nothing reaches an upstream before all passed.

mod answer;
mod authority;
mod client_address;
mod connection;
mod cors;
mod exchange;
pub(crate) mod framing;
mod inspect;
pub(crate) mod own;
mod standing;

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use tokio_util::sync::CancellationToken;

pub use self::answer::Answer;
use self::answer::Content;
pub use self::connection::{Connection, Tls};
use self::exchange::Exchange;
pub(crate) use self::inspect::Budget;
use self::inspect::Inspected;
use crate::authn;
use crate::policy::{Caller, Decision, Exceeded, Head, Needs, Permit, Placed, Reason};
use crate::principal::Principal;
use crate::response::Refusal;
use crate::server::overload::{Load, NoRoom};
use crate::server::pulse::Pulse;
use crate::snapshot::Snapshots;
use crate::upstream::{self, ClientBody, Purpose};

/// What all requests of one worker thread share.
#[derive(Debug)]
pub struct Worker {
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) drain: CancellationToken,
    pub(crate) inspected: Arc<Budget>,
    pub(crate) load: Rc<Load>,
}

/// Answers one request, whatever it is. The request counts as begun when this returns, before the future is polled. It is boxed:
/// the room is that of a request, not of a connection, and whoever runs it moves a pointer.
pub(crate) fn answer(
    worker: &Rc<Worker>,
    connection: &Arc<Connection>,
    pulse: &Arc<Pulse>,
    request: Request<Incoming>,
) -> Pin<Box<impl Future<Output = Result<Response<Answer>, Infallible>> + use<>>> {
    let mut exchange = Exchange::begin(worker, connection, pulse, &request);
    Box::pin(async move {
        let outcome = if exchange.redirects() {
            own::redirect(&mut exchange, request)
        } else {
            handle(&mut exchange, request).await
        };
        Ok(exchange.conclude(outcome))
    })
}

/// The answer to a head that could not be parsed, as bytes. There is no request, yet there is one record.
pub(crate) fn unreadable(snapshots: &Arc<Snapshots>, connection: &Connection, status: StatusCode) -> Bytes {
    exchange::unreadable(snapshots, connection, status)
}

/// One request's way, in the numbered order of http.md. Every connection has room for this future, so it holds nothing twice, as
/// an `async fn` does with what it is given, and the steps that few requests take are boxed.
fn handle(
    exchange: &mut Exchange,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Content>, Refusal>> {
    let websocket = upstream::asks_for_websocket(&request);
    let purpose = if websocket { Purpose::WebSocket } else { Purpose::Exchange };
    let (mut head, body) = request.into_parts();
    async move {
        let snapshot = Arc::clone(&exchange.snapshot);
        // 2: what hyper let pass although it is not framed, sized or written the way it should be.
        exchange.check_regular()?;
        framing::check(&head, &snapshot.config.limits)?;
        framing::join_cookies(&mut head.headers);

        // 3: one authority, one form of the target.
        let authority = exchange.name(&head)?;
        if let Some(answer) = own::answer(&head) {
            return Ok(exchange.answered_by_the_gateway(answer));
        }
        exchange.busy.find_room(snapshot.config.limits.connections).map_err(|NoRoom| Refusal::Overloaded)?;
        exchange.check_covered(&authority)?;
        exchange.identify_client()?;

        // 3 and 4: one canonical target, at most one route.
        let question = Head {
            method: method(&head, purpose),
            authority: &authority,
            raw_target: head.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str),
            headers: &head.headers,
            has_body: !body.is_end_stream(),
            arrived: head.uri.path_and_query(),
        };
        let placed = snapshot.policies.place(&question).map_err(Refusal::Place)?;
        if let Some(answer) = exchange.place(&placed, &head.method)? {
            return Ok(exchange.answered_by_the_gateway(answer));
        }

        // 7, where addresses are counted: before anybody is authenticated, so that floods of bad tokens count.
        let flood = exchange.flood(&placed)?;

        // 5: who is asking.
        let authenticated = authenticate(exchange, &placed, &head.headers).await;

        // 6: what only the issuer can tell, whether this may pass, and 7: whether it is too much. From here on only a permit leads further.
        let authenticated = match authenticated {
            Ok(Some(principal)) if !principal.pending.is_empty() => {
                Box::pin(complete(exchange, &placed, &head.headers, principal)).await.map(Some)
            }
            authenticated => authenticated,
        };
        let (permit, body) = authorize(exchange, &placed, authenticated, flood, body).await?;
        let body = match body {
            ClientBody::Incoming(incoming) if inspect::is_empty_so_far(&incoming) => {
                Box::pin(confirm_empty(exchange, &placed, incoming)).await?
            }
            body => body,
        };
        drop(placed);
        exchange.check_length(&permit, body.length())?;
        exchange.reserve()?;

        // 8: forward, stream.
        let facts = exchange.facts(&authority, purpose)?;
        let call = exchange.call(&permit);
        let request = Request::from_parts(head, body);
        let answered = snapshot.upstreams.forward(permit, request, &facts).await;
        exchange.returned(call, answered)
        // 9 happens when the exchange is dropped, whatever became of it.
    }
}

/// The method that policy is asked about: opening a WebSocket is `GET`, whatever the version of HTTP calls it (RFC 8441
/// section 5).
fn method(head: &http::request::Parts, purpose: Purpose) -> &str {
    match purpose {
        Purpose::WebSocket => "GET",
        Purpose::Exchange => head.method.as_str(),
    }
}

/// Step 5. `Ok(None)` where no token is read.
async fn authenticate(
    exchange: &mut Exchange,
    placed: &Placed<'_>,
    headers: &http::HeaderMap,
) -> Result<Option<Arc<Principal>>, authn::Failure> {
    let accepted = match placed.needs() {
        Needs::Nothing => return Ok(None),
        Needs::Token(accepted) | Needs::TokenToTell(accepted) => accepted,
    };
    let certificate = exchange.certificate.as_deref();
    let begin = exchange.record.begin_step();
    let found = exchange.snapshot.issuers.authenticate(headers, accepted, certificate, exchange.now).await;
    exchange.record.authentication = exchange.record.end_step(begin);
    let principal = found.and_then(|found| found.ok_or(authn::Failure::Missing));
    exchange.identified(&principal);
    principal.map(Some)
}

/// The part of step 6 that has to ask the issuer, before a body is read: claims that only userinfo knows, where the decision turns on them.
/// Whoever is refused without them is refused without asking.
async fn complete(
    exchange: &mut Exchange,
    placed: &Placed<'_>,
    headers: &http::HeaderMap,
    principal: Arc<Principal>,
) -> Result<Arc<Principal>, authn::Failure> {
    let (address, certificate, now) = (exchange.record.address, exchange.certificate.as_deref(), exchange.now);
    let caller = Caller { principal: Some(&principal), address, certificate, now };
    if !matches!(placed.decide(&caller), Decision::NeedsClaims) {
        return Ok(principal);
    }
    let begin = exchange.record.begin_step();
    let completed = exchange.snapshot.issuers.complete(headers, &principal, exchange.now).await;
    exchange.record.userinfo = exchange.record.end_step(begin);
    let completed = completed.and_then(|whole| exchange.check_still_valid(&whole).map(|()| whole).map_err(Into::into));
    exchange.identified(&completed);
    completed
}

/// Step 6. Under `mode: observe` a refusal is recorded and the request passes all the same.
async fn authorize(
    exchange: &mut Exchange,
    placed: &Placed<'_>,
    authenticated: Result<Option<Arc<Principal>>, authn::Failure>,
    flood: Option<Exceeded>,
    body: Incoming,
) -> Result<(Permit, ClientBody), Refusal> {
    let certificate = exchange.certificate.clone();
    let (address, now) = (exchange.record.address, exchange.now);
    let nobody = Caller { principal: None, address, certificate: certificate.as_deref(), now };
    let principal = match authenticated {
        Ok(principal) => principal,
        Err(failure) => {
            let limited = flood.and_then(|exceeded| placed.limited(exceeded));
            let refusal = limited.map_or(Refusal::Token(failure), |denial| Refusal::Denied(Box::new(denial)));
            // A token may hold although nobody knows all about its holder.
            let known = exchange.record.principal.clone();
            let passed = placed.unauthenticated(refusal.status(), known.as_deref());
            if let Some((permit, would)) = &passed {
                exchange.observed(permit, *would, &refusal);
            }
            exchange.note(placed, &Caller { principal: known.as_deref(), ..nobody }, None);
            return passed.map(|(permit, _)| (permit, body.into())).ok_or(refusal);
        }
    };
    let caller = Caller { principal: principal.as_deref(), ..nobody };
    let begin = exchange.record.begin_step();
    let (decision, body, read) = match placed.decide(&caller) {
        Decision::NeedsBody => Box::pin(inspect(exchange, placed, &caller, body)).await?,
        decision => (decision, body.into(), None),
    };
    let decision = limit(exchange, decision, flood, &caller);
    exchange.record.decision = exchange.record.end_step(begin);
    exchange.decided(&decision);
    exchange.note(placed, &caller, read.as_deref());
    match decision {
        Decision::Allow(permit) | Decision::Observed(permit, _) => Ok((permit, body)),
        Decision::NeedsClaims | Decision::NeedsBody | Decision::Answered(_) => Err(Refusal::Inconsistent),
        // The conditions hold, so they do not say why.
        Decision::Deny(denial) if denial.reason() == Reason::Limit => Err(Refusal::Denied(Box::new(denial))),
        Decision::Deny(denial) => {
            exchange.explain(|| match &read {
                Some(read) => placed.explain_with_body(&caller, read).to_string(),
                None => placed.explain(&caller).to_string(),
            });
            Err(Refusal::Denied(Box::new(denial)))
        }
    }
}

/// Reads the body that a decision asked for, and decides. The bytes forwarded are the bytes that were decided on.
async fn inspect(
    exchange: &Exchange,
    placed: &Placed<'_>,
    caller: &Caller<'_>,
    body: Incoming,
) -> Result<(Decision, ClientBody, Option<Bytes>), Refusal> {
    let limits = &exchange.snapshot.config.limits;
    let inspected = inspect::read(body, limits, &exchange.worker.inspected).await?;
    if let Some(principal) = caller.principal.filter(|_| !placed.observes()) {
        exchange.check_still_valid(principal).map_err(|fault| Refusal::Token(fault.into()))?;
    }
    Ok(match inspected {
        Inspected::Whole(bytes, trailers) => {
            let decision = placed.decide_with_body(caller, &bytes);
            (decision, ClientBody::read(bytes.clone(), trailers), Some(bytes))
        }
        Inspected::Unread(why, body) => (placed.decide_unread(caller, why), body, None),
    })
}

/// Waits for the end of a body that is announced to be empty, so that data which follows all the same ends the request
/// before the upstream has seen it whole. The token must still hold then.
async fn confirm_empty(exchange: &Exchange, placed: &Placed<'_>, body: Incoming) -> Result<ClientBody, Refusal> {
    let limits = &exchange.snapshot.config.limits;
    let inspected = inspect::read(body, limits, &exchange.worker.inspected).await?;
    if let Some(principal) = exchange.record.principal.as_deref().filter(|_| !placed.observes()) {
        exchange.check_still_valid(principal).map_err(|fault| Refusal::Token(fault.into()))?;
    }
    Ok(match inspected {
        Inspected::Whole(bytes, trailers) => ClientBody::read(bytes, trailers),
        Inspected::Unread(_, body) => body,
    })
}

/// Step 7. What is refused anyway is not counted.
fn limit(exchange: &Exchange, decision: Decision, flood: Option<Exceeded>, caller: &Caller<'_>) -> Decision {
    let counted = match &decision {
        Decision::Allow(permit) => exchange.count(permit, caller.principal),
        Decision::Deny(_)
        | Decision::Observed(..)
        | Decision::Answered(_)
        | Decision::NeedsClaims
        | Decision::NeedsBody => None,
    };
    match flood.or(counted) {
        Some(exceeded) => decision.limited(exceeded),
        None => decision,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// hyper has room for this future in every connection, idle or not, and moves it when a request begins.
    #[test]
    fn the_future_of_a_request_is_small() {
        type Answering<'a, F> = fn(&'a Rc<Worker>, &'a Arc<Connection>, &'a Arc<Pulse>, Request<Incoming>) -> F;
        fn size_of_answer<F>(_: Answering<'_, F>) -> usize {
            size_of::<F>()
        }
        let size = size_of_answer(answer);
        assert!(size <= 4096, "{size} bytes");
    }
}
