//! Trying one request: the steps of http.md in their order, through the functions of the data path.

use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri};

use super::{Bearer, Loaded, Request};
use crate::authn::bearer;
use crate::authn::rules::check_in_force;
use crate::authn::{self, Failure, Fault, InvalidToken};
use crate::gateway::{framing, own};
use crate::policy::analysis::coverage::Sighting;
use crate::policy::{Caller, Change, Decision, Explanation, Head, Needs, Permit, PlaceError, Placed, Policies, Unread};
use crate::principal::{IssuerSet, Principal};
use crate::response::{self, Refusal};
use crate::target::{Authority, Scheme};
use crate::upstream::{self, Facts};

/// The value of `Authorization` that stands for a persona's token. It is never looked into.
const TOKEN: HeaderValue = HeaderValue::from_static("Bearer trial");

/// One request and what becomes of it.
#[derive(Debug)]
pub struct Attempt<'l> {
    loaded: &'l Loaded,
    policies: &'l Policies,
    request: &'l Request,
    bearer: Bearer,
    /// What becomes of it.
    pub outcome: Outcome,
    /// The canonical path, once the request has one.
    pub path: Option<String>,
    /// Name of the policy that the request falls under.
    pub policy: Option<String>,
    /// Name of the matched route.
    pub route: Option<String>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It is forwarded.
    Allowed(Permit),
    /// It is forwarded because the route only observes.
    Observed(Permit, Would),
    /// It is refused.
    Refused(Refusal),
    /// The gateway answers it itself.
    Answered(StatusCode),
}

/// The refusal that an observing route only records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Would {
    /// The status.
    pub status: StatusCode,
    /// The reason's word.
    pub reason: &'static str,
}

impl Loaded {
    /// Tries a request. Whatever the gateway would answer before it speaks to an upstream, this answers.
    pub fn attempt<'l>(&'l self, request: &'l Request, bearer: &Bearer) -> Attempt<'l> {
        self.attempt_with(&self.policies, request, bearer)
    }

    /// The same against other policies of the same configuration.
    pub fn attempt_with<'l>(&'l self, policies: &'l Policies, request: &'l Request, bearer: &Bearer) -> Attempt<'l> {
        let mut attempt = Attempt {
            loaded: self,
            policies,
            request,
            bearer: bearer.clone(),
            outcome: Outcome::Answered(StatusCode::OK),
            path: None,
            policy: None,
            route: None,
        };
        attempt.outcome = attempt.made().unwrap_or_else(Outcome::Refused);
        attempt
    }
}

impl Attempt<'_> {
    /// Whether the request reaches an upstream.
    pub fn is_forwarded(&self) -> bool {
        self.permit().is_some()
    }

    /// The permit of a request that is forwarded.
    pub fn permit(&self) -> Option<&Permit> {
        match &self.outcome {
            Outcome::Allowed(permit) | Outcome::Observed(permit, _) => Some(permit),
            Outcome::Refused(_) | Outcome::Answered(_) => None,
        }
    }

    /// The status of the gateway's own answer; `None` when the upstream answers.
    pub fn status(&self) -> Option<StatusCode> {
        match &self.outcome {
            Outcome::Refused(refusal) => Some(refusal.status()),
            Outcome::Answered(status) => Some(*status),
            Outcome::Allowed(_) | Outcome::Observed(..) => None,
        }
    }

    /// Why it is refused, or would be, in the word of records.
    pub fn reason(&self) -> Option<&'static str> {
        match &self.outcome {
            Outcome::Refused(refusal) => Some(refusal.reason()),
            Outcome::Observed(_, would) => Some(would.reason),
            Outcome::Allowed(_) | Outcome::Answered(_) => None,
        }
    }

    /// Name of the upstream that it is forwarded to.
    pub fn upstream(&self) -> Option<&str> {
        let upstream = self.loaded.config.upstreams.get(self.permit()?.upstream())?;
        Some(&upstream.name)
    }

    /// The path that is sent.
    pub fn forwarded_path(&self) -> Option<&str> {
        self.permit().map(|permit| permit.path_and_query().path())
    }

    /// The query that is sent.
    pub fn forwarded_query(&self) -> Option<&str> {
        self.permit().and_then(|permit| permit.path_and_query().query())
    }

    /// The headers that the gateway sets, by name.
    pub fn headers_set(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let permit = self.permit();
        let signed =
            permit.and_then(Permit::assertion).map(|(name, _)| (name.as_str(), &b"(signed when it is sent)"[..]));
        let headers = permit.into_iter().flat_map(Permit::headers);
        headers.map(|(name, value)| (name.as_str(), value.as_bytes())).chain(signed)
    }

    /// Every header field that reaches the upstream, as an HTTP/1.1 request from [`Request::address`] would have them;
    /// `None` where none is forwarded. What is different every time has a fixed value here: request id and trace.
    pub fn headers_sent(&self) -> Option<HeaderMap> {
        let (permit, head) = (self.permit()?, self.head().ok()?);
        let scheme = match self.request.scheme {
            Scheme::Http => upstream::Scheme::Http,
            Scheme::Https => upstream::Scheme::Https,
        };
        let facts = Facts {
            authority: HeaderValue::from_str(self.request.authority.as_str()).ok()?,
            peer: self.request.address,
            peer_is_trusted: false,
            client: self.request.address,
            scheme,
            port: self.request.authority.port().unwrap_or(self.request.scheme.default_port()),
            request_id: HeaderValue::from_static("trial"),
            traceparent: HeaderValue::from_static("00-00000000000000000000000000000001-0000000000000001-00"),
            trace_continued: false,
            valid_until: None,
            tunnel: None,
        };
        Some(upstream::rehearse(head, self.request.body.len(), permit, &facts, &self.loaded.config))
    }

    /// What the request shows of the policies: the parts that its decision turns on.
    pub fn sightings(&self) -> Vec<Sighting> {
        let Ok(head) = self.head() else { return Vec::new() };
        let Ok(placed) = self.placed(&head) else { return Vec::new() };
        let principal = self.authenticated(&placed, &head).ok().flatten();
        let caller = self.caller(principal.as_deref());
        let body = matches!(placed.decide(&caller), Decision::NeedsBody) && self.is_readable();
        placed.sightings(&caller, body.then_some(&*self.request.body))
    }

    /// The issuers whose tokens are accepted, where one is read.
    pub fn accepted(&self) -> Option<IssuerSet> {
        let head = self.head().ok()?;
        let placed = self.placed(&head).ok()?;
        match placed.needs() {
            Needs::Nothing => None,
            Needs::Token(accepted) | Needs::TokenToTell(accepted) => Some(accepted.clone()),
        }
    }

    /// Whether the decision turns on the body.
    pub fn needs_body(&self) -> bool {
        let Ok(head) = self.head() else { return false };
        let Ok(placed) = self.placed(&head) else { return false };
        let principal = self.authenticated(&placed, &head).ok().flatten();
        matches!(placed.decide(&self.caller(principal.as_deref())), Decision::NeedsBody)
    }

    /// Whether the decision turns on what only userinfo knows. Never for somebody whose claims are complete.
    pub fn needs_claims(&self) -> bool {
        let Ok(head) = self.head() else { return false };
        let Ok(placed) = self.placed(&head) else { return false };
        let principal = self.authenticated(&placed, &head).ok().flatten();
        matches!(placed.decide(&self.caller(principal.as_deref())), Decision::NeedsClaims)
    }

    /// What would have to be otherwise, as far as policies know.
    pub fn remedies(&self) -> Vec<Change> {
        let Ok(head) = self.head() else { return Vec::new() };
        let Ok(placed) = self.placed(&head) else { return Vec::new() };
        let principal = self.authenticated(&placed, &head).ok().flatten();
        // A body that is too long is not looked into.
        let body = if self.is_readable() { &*self.request.body } else { &[] };
        placed.remedies(&self.caller(principal.as_deref()), body)
    }

    /// Why it is decided as it is, condition by condition; `None` where nothing was to be decided.
    pub fn explanation(&self) -> Option<Explanation> {
        let head = self.head().ok()?;
        let placed = self.placed(&head).ok()?;
        let principal = self.authenticated(&placed, &head).ok().flatten();
        let caller = self.caller(principal.as_deref());
        Some(match placed.decide(&caller) {
            Decision::NeedsBody if self.is_readable() => placed.explain_with_body(&caller, &self.request.body),
            _ => placed.explain(&caller),
        })
    }

    /// Steps 2 to 6.
    fn made(&mut self) -> Result<Outcome, Refusal> {
        let head = self.head()?;
        if let Some(answer) = own::answer(&head) {
            return Ok(Outcome::Answered(answer.status()));
        }
        let placed = self.placed(&head)?;
        if let Some(published) = placed.published() {
            self.path = Some(placed.canonical_path().to_owned());
            return own::published(published, &head.method).map(|_| Outcome::Answered(StatusCode::OK));
        }
        let (path, policy, route) = (
            placed.canonical_path().to_owned(),
            placed.policy().map(|document| document.name().to_owned()),
            placed.route().map(|route| route.name().to_owned()),
        );
        let outcome = self.decided(&placed, &head);
        (self.path, self.policy, self.route) = (Some(path), policy, route);
        outcome
    }

    fn decided(&self, placed: &Placed<'_>, head: &Parts) -> Result<Outcome, Refusal> {
        if own::is_reserved(placed.canonical_path()) {
            return Err(Refusal::Reserved);
        }
        let outcome = match self.authenticated(placed, head) {
            Ok(principal) => match self.decision(placed, &self.caller(principal.as_deref())) {
                Decision::NeedsClaims | Decision::NeedsBody => return Err(Refusal::Inconsistent),
                Decision::Allow(permit) => Outcome::Allowed(permit),
                Decision::Observed(permit, denial) => {
                    let would = Would { status: denial.status(), reason: denial.reason().as_str() };
                    Outcome::Observed(permit, would)
                }
                Decision::Answered(answer) => Outcome::Answered(response::preflight(&answer).status()),
                Decision::Deny(denial) => return Err(Refusal::Denied(Box::new(denial))),
            },
            Err(failure) => {
                let refusal = Refusal::Token(failure);
                let Some((permit, status)) = placed.unauthenticated(refusal.status(), None) else {
                    return Err(refusal);
                };
                Outcome::Observed(permit, Would { status, reason: refusal.reason() })
            }
        };
        if let Outcome::Allowed(permit) | Outcome::Observed(permit, _) = &outcome {
            self.check_length(permit, head)?;
        }
        Ok(outcome)
    }

    /// Step 6, with the body where policy asks about it.
    fn decision(&self, placed: &Placed<'_>, caller: &Caller<'_>) -> Decision {
        match placed.decide(caller) {
            Decision::NeedsBody if self.is_readable() => placed.decide_with_body(caller, &self.request.body),
            Decision::NeedsBody => placed.decide_unread(caller, Unread::TooLarge),
            decision => decision,
        }
    }

    fn is_readable(&self) -> bool {
        self.request.body.len() <= self.loaded.config.limits.inspected_body
    }

    /// The head as it would arrive with HTTP/1.1.
    fn head(&self) -> Result<Parts, Refusal> {
        let unreadable = || Refusal::Framing("the request cannot be parsed");
        let method = Method::from_bytes(self.request.method.as_bytes()).map_err(|_| unreadable())?;
        let target = PathAndQuery::try_from(self.request.target.as_str()).map_err(|_| unreadable())?;
        let (mut head, ()) = http::Request::new(()).into_parts();
        (head.method, head.uri, head.headers) = (method, Uri::from(target), self.request.headers.clone());
        self.put_host(&mut head)?;
        if !matches!(self.bearer, Bearer::Nobody) {
            head.headers.append(AUTHORIZATION, TOKEN);
        }
        let framed = head.headers.contains_key(CONTENT_LENGTH) || head.headers.contains_key(TRANSFER_ENCODING);
        if !framed && !self.request.body.is_empty() {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(self.request.body.len()));
        }
        framing::check(&head, &self.loaded.config.limits)?;
        framing::join_cookies(&mut head.headers);
        if head.method == Method::CONNECT {
            return Err(Refusal::Place(PlaceError::MethodRefused));
        }
        Ok(head)
    }

    /// One host, whichever way it is named.
    fn put_host(&self, head: &mut Parts) -> Result<(), Refusal> {
        let (authority, scheme) = (&self.request.authority, self.request.scheme);
        if let Some(host) = framing::only_host(&head.headers)? {
            let same = Authority::parse(host, scheme).map_err(Refusal::Authority)? == *authority;
            return if same {
                Ok(())
            } else {
                Err(Refusal::Host("the target and the host name different authorities"))
            };
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::Host("the host is not valid"))?;
        head.headers.insert(HOST, host);
        Ok(())
    }

    fn placed<'p>(&'p self, head: &'p Parts) -> Result<Placed<'p>, Refusal> {
        let question = Head {
            method: head.method.as_str(),
            authority: &self.request.authority,
            raw_target: head.uri.path_and_query().map_or("", PathAndQuery::as_str),
            headers: &head.headers,
            has_body: !self.request.body.is_empty(),
            arrived: head.uri.path_and_query(),
        };
        self.policies.place(&question).map_err(Refusal::Place)
    }

    fn caller<'c>(&'c self, principal: Option<&'c Principal>) -> Caller<'c> {
        let Request { address, certificate, now, .. } = self.request;
        Caller { principal, address: *address, certificate: certificate.as_ref(), now: *now }
    }

    /// Step 5. `Ok(None)` where no token is read.
    fn authenticated(&self, placed: &Placed<'_>, head: &Parts) -> Result<Option<Arc<Principal>>, Failure> {
        let accepted = match placed.needs() {
            Needs::Nothing => return Ok(None),
            Needs::Token(accepted) | Needs::TokenToTell(accepted) => accepted,
        };
        bearer::token(&head.headers)?.ok_or(authn::Failure::Missing)?;
        let invalid = |fault, principal: Option<&Principal>| {
            let issuer = principal.map(|principal| Arc::clone(&principal.issuer.name));
            Failure::Invalid(InvalidToken { fault, issuer, token_digest: None })
        };
        match &self.bearer {
            // A token that the request brings itself: nobody here can say that an issuer has signed it.
            Bearer::Nobody => Err(invalid(Fault::Signature, None)),
            Bearer::Refused(fault) => Err(invalid(*fault, None)),
            Bearer::Principal(principal) => {
                if !accepted.contains(principal.issuer.id) {
                    return Err(invalid(Fault::IssuerNotAccepted, Some(principal)));
                }
                let Request { certificate, now, .. } = self.request;
                check_in_force(principal, certificate.as_ref(), *now)
                    .map_err(|fault| invalid(fault, Some(principal)))?;
                Ok(Some(Arc::clone(principal)))
            }
        }
    }

    fn check_length(&self, permit: &Permit, head: &Parts) -> Result<(), Refusal> {
        let announced = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let length = announced.unwrap_or(u64::try_from(self.request.body.len()).unwrap_or(u64::MAX));
        let limit = permit.max_body().unwrap_or(self.loaded.config.limits.body);
        if length > limit { Err(Refusal::BodyTooLarge) } else { Ok(()) }
    }
}
