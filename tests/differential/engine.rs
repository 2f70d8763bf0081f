//! The engine's answer to a case, in the words of the reference.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use torwart::clock::Timestamp;
use torwart::diagnostic::{Diagnostic, Severity, Source};
use torwart::policy::{
    Ability, AuthorizationHeader, Caller, Decision, Denial, Exceeded, Head, IdentityFacts, IssuerFacts, Needs, Per,
    Permit, PlaceError, Placed, Policies, Reason, RouteId, Surroundings, Unread, UpstreamFacts,
};
use torwart::principal::{ClaimPath, ClientCertificate, Flow, IssuerId, IssuerIdentity, IssuerSet, Principal};
use torwart::rate::{self, Counters};
use torwart::target::{Authority, Scheme};

use super::world::{self, Answer, Fields, Forwarded, ISSUERS, NOW, Outcome, Person, Refusal, Request, Sender, World};

/// Compiles a configuration.
fn compile(world: &World) -> Result<Policies, String> {
    let sources: Vec<_> = world
        .documents
        .iter()
        .enumerate()
        .map(|(number, document)| {
            let path = format!("policy-{number}.yaml").into();
            Arc::new(Source { path, text: serde_json::to_string_pretty(document).unwrap() })
        })
        .collect();
    let issuers = ISSUERS.iter().zip(0..).map(|(issuer, id)| IssuerFacts {
        id: IssuerId(id),
        name: issuer.name.into(),
        // What the generator asks need not be answerable: that is refused when policies load.
        ability: Ability::EVERYTHING,
        permission_scope: None,
        introspects: false,
    });
    let upstreams =
        world.upstreams.iter().map(|(name, quirks)| UpstreamFacts { name: (*name).into(), quirks: *quirks });
    let surroundings = Surroundings {
        issuers: issuers.collect(),
        upstreams: upstreams.collect(),
        identity: IdentityFacts { encoding: world.encoding, max_bytes: world.max_bytes, ..IdentityFacts::default() },
        target_bytes: 8192,
        files: &|_| Ok("s3cret".to_owned()),
    };
    let (policies, problems) = Policies::compile(&sources, &surroundings);
    let errors = problems.iter().filter(|found| found.severity == Severity::Error);
    policies.ok_or_else(|| errors.map(Diagnostic::render).collect())
}

/// The engine with what it counts.
pub(crate) struct Gateway<'w> {
    world: &'w World,
    policies: Policies,
    counters: Counters,
    started: Instant,
}

/// A request on its way.
struct Exchange<'e> {
    gateway: &'e Gateway<'e>,
    placed: &'e Placed<'e>,
    request: &'e Request,
    sender: &'e Sender,
    /// The body was asked for.
    reads: Cell<bool>,
}

impl<'w> Gateway<'w> {
    /// A gateway that has just been started, where the configuration loads.
    pub(crate) fn start(world: &'w World) -> Result<Self, String> {
        let policies = compile(world)?;
        let counters = Counters::load(policies.routes(), None);
        Ok(Self { world, policies, counters, started: Instant::now() })
    }

    /// Asks the engine as the gateway does: place, count addresses, authenticate, decide, read, count.
    pub(crate) fn answer(&self, request: &Request, sender: &Sender) -> Answer {
        let refused = |status, reason: &str| Answer {
            outcome: Outcome::Refused(Refusal { status, reason: reason.to_owned(), ..Refusal::default() }),
            reads: false,
            grant: None,
        };
        let authority = Authority::parse(&request.host, Scheme::Https).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let head = Head::new(&request.method, &authority, &request.target, &headers);
        let placed = match self.policies.place(&Head { has_body: request.body.is_some(), ..head }) {
            Ok(placed) => placed,
            Err(PlaceError::UnknownHost) => return refused(421, "host"),
            Err(PlaceError::Target(_)) => return refused(400, "target"),
            Err(PlaceError::MethodOverride) => return refused(400, "method-override"),
            Err(PlaceError::MethodRefused) => return refused(405, "method-refused"),
        };
        if let Some(answer) = placed.preflight() {
            return Answer { outcome: Outcome::Preflight(fields(answer.fields())), reads: false, grant: None };
        }
        let exchange = Exchange { gateway: self, placed: &placed, request, sender, reads: Cell::new(false) };
        let grant = placed.grant().map(|grant| fields(grant.fields()));
        Answer { outcome: exchange.outcome(), reads: exchange.reads.get(), grant }
    }
}

impl Exchange<'_> {
    fn count(&self, route: RouteId, principal: Option<&Principal>) -> Option<Exceeded> {
        let sender = rate::Sender { principal, address: self.sender.address };
        let now = self.gateway.started + Duration::from_nanos(self.request.at);
        self.gateway.counters.count(route, &sender, now).err()
    }

    fn outcome(&self) -> Outcome {
        let placed = self.placed;
        let first = placed.limit().filter(|(_, limit)| limit.per() == Per::Address);
        let flood = first.and_then(|(route, _)| self.count(route, None));
        if let Some(exceeded) = flood.filter(|_| !placed.observes()) {
            return Outcome::Refused(refusal(&placed.limited(exceeded).unwrap(), Some(exceeded)));
        }
        let principal = self.sender.person.as_ref().map(principal);
        let certificate = self.sender.certificate.as_ref().map(|shown| ClientCertificate {
            dns: shown.dns.clone(),
            uri: shown.uri.clone(),
            email: shown.email.clone(),
            subject: shown.subject.clone(),
            thumbprint: [0; 32],
        });
        let (address, certificate) = (self.sender.address, certificate.as_ref());
        let nobody = Caller { principal: None, address, certificate, now: Timestamp(NOW) };
        let caller = Caller { principal: principal.as_ref(), ..nobody };
        let accepted = |issuers: &IssuerSet| principal.as_ref().is_some_and(|one| issuers.contains(one.issuer.id));
        match placed.needs() {
            Needs::Nothing => self.decided(&nobody, flood),
            Needs::Token(issuers) | Needs::TokenToTell(issuers) if accepted(issuers) => self.decided(&caller, flood),
            Needs::Token(_) | Needs::TokenToTell(_) => self.unauthenticated(&nobody, flood),
        }
    }

    fn unauthenticated(&self, nobody: &Caller<'_>, flood: Option<Exceeded>) -> Outcome {
        let placed = self.placed;
        // Whoever forgot to authenticate would be refused all the same.
        assert!(!matches!(placed.decide(nobody), Decision::Allow(_)), "allowed without a token");
        let body = self.request.body.as_deref().unwrap_or_default();
        assert!(!matches!(placed.decide_with_body(nobody, body), Decision::Allow(_)), "allowed without a token");
        let refusal = |status: StatusCode| match flood.and_then(|exceeded| placed.limited(exceeded)) {
            Some(denial) => refusal(&denial, flood),
            None => Refusal {
                status: status.as_u16(),
                reason: if status == StatusCode::UNAUTHORIZED { "token" } else { "ambiguous-path" }.to_owned(),
                route: placed.route().map(|route| route.name().to_owned()),
                exceeded: None,
            },
        };
        match placed.unauthenticated(StatusCode::UNAUTHORIZED, None) {
            None => Outcome::Refused(refusal(StatusCode::UNAUTHORIZED)),
            Some((permit, would)) => forwarded(&permit, Some(refusal(would)), self.gateway.world),
        }
    }

    fn decided(&self, caller: &Caller<'_>, flood: Option<Exceeded>) -> Outcome {
        let decision = self.decision(caller);
        let counted = match &decision {
            Decision::Allow(permit) => permit
                .limit()
                .filter(|limit| limit.per() != Per::Address)
                .and_then(|_| self.count(permit.route_id()?, caller.principal)),
            _ => None,
        };
        let exceeded = flood.or(counted);
        let decision = match exceeded {
            Some(exceeded) => decision.limited(exceeded),
            None => decision,
        };
        let world = self.gateway.world;
        match decision {
            Decision::Allow(permit) => forwarded(&permit, None, world),
            Decision::Deny(denial) => Outcome::Refused(refusal(&denial, exceeded)),
            Decision::Observed(permit, denial) => forwarded(&permit, Some(refusal(&denial, exceeded)), world),
            Decision::Answered(_) => panic!("a preflight is answered before it is decided"),
            Decision::NeedsBody => panic!("the body was read"),
            Decision::NeedsClaims => panic!("nothing is pending of anybody"),
        }
    }

    /// The decision, with the body where it is asked for, and otherwise the same with it.
    fn decision(&self, caller: &Caller<'_>) -> Decision {
        let placed = self.placed;
        let body = self.request.body.as_deref().unwrap_or_default();
        let head = placed.decide(caller);
        self.reads.set(matches!(head, Decision::NeedsBody));
        let (decision, explanation) = match head {
            Decision::NeedsBody if body.len() > self.gateway.world.inspected_body => {
                return placed.decide_unread(caller, Unread::TooLarge);
            }
            Decision::NeedsBody if self.request.crowded => return placed.decide_unread(caller, Unread::Exhausted),
            Decision::NeedsBody => {
                assert!(self.request.body.is_some(), "a body is asked for that is not there");
                (placed.decide_with_body(caller, body), placed.explain_with_body(caller, body))
            }
            decision => {
                let with_body = placed.decide_with_body(caller, body);
                assert_eq!(reason(&decision), reason(&with_body), "the body changes what did not need it");
                (decision, placed.explain(caller))
            }
        };
        // An explanation holds what was decided.
        let fulfilled = explanation.conditions.iter().all(|condition| condition.truth == "true");
        let by_condition = |denial: &Denial| denial.condition().is_some();
        match &decision {
            // Preflights are passed on whatever the conditions say.
            Decision::Allow(_) if self.request.method != "OPTIONS" => assert!(fulfilled, "{explanation}"),
            Decision::Deny(denial) | Decision::Observed(_, denial) if by_condition(denial) => {
                assert!(!fulfilled, "{explanation}");
            }
            _ => {}
        }
        decision
    }
}

fn reason(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allow(_) => "allowed",
        Decision::Deny(denial) | Decision::Observed(_, denial) => denial.reason().as_str(),
        Decision::Answered(_) => "answered",
        Decision::NeedsBody | Decision::NeedsClaims => "not decided",
    }
}

fn refusal(denial: &Denial, exceeded: Option<Exceeded>) -> Refusal {
    let told = |one: Exceeded| world::Exceeded {
        per: one.per.as_str().to_owned(),
        quota: u64::from(one.quota),
        window: one.window,
        retry_after: one.retry_after,
    };
    Refusal {
        status: denial.status().as_u16(),
        reason: denial.reason().as_str().to_owned(),
        route: denial.route().map(str::to_owned),
        exceeded: exceeded.filter(|_| denial.reason() == Reason::Limit).map(told),
    }
}

fn fields(fields: impl Iterator<Item = (HeaderName, HeaderValue)>) -> Fields {
    let mut fields: Vec<_> =
        fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    fields.sort();
    fields
}

fn forwarded(permit: &Permit, would: Option<Refusal>, world: &World) -> Outcome {
    let text = |value: &HeaderValue| value.as_bytes().iter().copied().map(char::from).collect::<String>();
    let mut headers: Vec<_> = permit.headers().map(|(name, value)| (name.to_string(), text(value))).collect();
    headers.sort();
    let mut removes: Vec<_> = permit.removes().iter().map(ToString::to_string).collect();
    removes.sort();
    removes.dedup();
    let mut lifted: Vec<_> = permit.lifted().iter().map(|lifted| lifted.kind.as_str().to_owned()).collect();
    lifted.sort();
    Outcome::Forwarded(Box::new(Forwarded {
        would,
        policy: permit.policy().to_owned(),
        route: permit.route().map(str::to_owned),
        upstream: world.upstreams[permit.upstream()].0.to_owned(),
        target: permit.path_and_query().to_string(),
        headers,
        removes,
        authorization: match permit.authorization() {
            AuthorizationHeader::Strip => "strip",
            AuthorizationHeader::StripTokens => "strip tokens",
            AuthorizationHeader::Keep => "keep",
        },
        lifted,
    }))
}

fn principal(person: &Person) -> Principal {
    let issuer = ISSUERS[person.issuer];
    let folding =
        [ClaimPath::top("sub"), ClaimPath::top("c"), ClaimPath(["broker".to_owned(), "id".to_owned()].into())];
    let identity = IssuerIdentity {
        case_insensitive: if issuer.folds { folding.to_vec() } else { Vec::new() },
        subject_folds: issuer.folds,
        client_folds: issuer.folds,
        organizations_fold: issuer.folds,
        permissions_fold: issuer.folds,
        ..IssuerIdentity::named(IssuerId(u16::try_from(person.issuer).unwrap()), issuer.name)
    };
    Principal {
        subject: person.subject.clone(),
        client: person.client.clone(),
        scopes: person.scopes.clone().into(),
        permissions: person.permissions.clone().map(Into::into),
        organizations: person.organizations.clone().map(Into::into),
        global: person.global,
        flow: match person.flow {
            "user" => Flow::User,
            "client_credentials" => Flow::ClientCredentials,
            _ => Flow::Unknown,
        },
        claims: person.claims.clone().into(),
        expires_at: Timestamp(NOW + 300),
        authenticated_at: person.authenticated.map(|ago| Timestamp(NOW - ago)),
        acr: person.acr.clone(),
        leeway: 30,
        ..Principal::of(Arc::new(identity))
    }
}
