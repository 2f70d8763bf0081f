//! The engine's answer to a case, in the words of the reference.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use torwart::clock::Timestamp;
use torwart::diagnostic::Source;
use torwart::policy::{
    Ability, AuthorizationHeader, Caller, Decision, Denial, Encoding, Head, IdentityFacts, IssuerFacts, Needs, Permit,
    PlaceError, Placed, Policies, Surroundings, UpstreamFacts,
};
use torwart::principal::{ClaimPath, ClientCertificate, Flow, IssuerId, IssuerIdentity, IssuerSet, Principal};
use torwart::target::{Authority, Scheme};

use super::world::{Answer, Forwarded, ISSUERS, NOW, Person, Refusal, Request, Sender, World};

/// Compiles a configuration.
pub(crate) fn compile(world: &World) -> Result<Policies, String> {
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
        identity: IdentityFacts { encoding: Encoding::Percent, max_bytes: world.max_bytes, ..IdentityFacts::default() },
        target_bytes: 8192,
        files: &|_| Ok("s3cret".to_owned()),
    };
    let (policies, problems) = Policies::compile(&sources, &surroundings);
    policies.ok_or_else(|| problems.render())
}

/// Asks the engine as the gateway does: place, authenticate, decide.
pub(crate) fn answer(policies: &Policies, world: &World, request: &Request, sender: &Sender) -> Answer {
    let refused = |status, reason: &str| Answer::Refused(Refusal { status, reason: reason.to_owned(), route: None });
    let authority = Authority::parse(&request.host, Scheme::Https).unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    let head = Head {
        method: &request.method,
        authority: &authority,
        raw_target: &request.target,
        headers: &headers,
        arrived: None,
        has_body: false,
    };
    let placed = match policies.place(&head) {
        Ok(placed) => placed,
        Err(PlaceError::UnknownHost) => return refused(421, "host"),
        Err(PlaceError::Target(_)) => return refused(400, "target"),
        Err(PlaceError::MethodOverride) => return refused(400, "method-override"),
        Err(PlaceError::MethodRefused) => return refused(405, "method-refused"),
    };
    let principal = sender.person.as_ref().map(principal);
    let certificate = sender.certificate.as_ref().map(|shown| ClientCertificate {
        dns: shown.dns.clone(),
        uri: shown.uri.clone(),
        email: shown.email.clone(),
        subject: shown.subject.clone(),
        thumbprint: [0; 32],
    });
    let caller = Caller {
        principal: principal.as_ref(),
        address: sender.address,
        certificate: certificate.as_ref(),
        now: Timestamp(NOW),
    };
    let nobody = Caller { principal: None, ..caller };
    let accepted = |issuers: &IssuerSet| principal.as_ref().is_some_and(|one| issuers.contains(one.issuer.id));
    match placed.needs() {
        Needs::Nothing => decided(&placed, &nobody, world),
        Needs::Token(issuers) | Needs::TokenToTell(issuers) if accepted(issuers) => decided(&placed, &caller, world),
        Needs::Token(_) | Needs::TokenToTell(_) => {
            // Whoever forgot to authenticate would be refused all the same.
            assert!(!matches!(placed.decide(&nobody), Decision::Allow(_)), "allowed without a token");
            let route = placed.route().map(|route| route.name().to_owned());
            let refusal = |status: StatusCode| Refusal {
                status: status.as_u16(),
                reason: if status == StatusCode::UNAUTHORIZED { "token" } else { "ambiguous-path" }.to_owned(),
                route: route.clone(),
            };
            match placed.unauthenticated(StatusCode::UNAUTHORIZED, None) {
                None => Answer::Refused(refusal(StatusCode::UNAUTHORIZED)),
                Some((permit, would)) => forwarded(&permit, Some(refusal(would)), world),
            }
        }
    }
}

fn decided(placed: &Placed<'_>, caller: &Caller<'_>, world: &World) -> Answer {
    let explanation = placed.explain(caller);
    let decision = placed.decide(caller);
    // An explanation holds what was decided.
    let fulfilled = explanation.conditions.iter().all(|condition| condition.truth == "true");
    let by_condition = |denial: &Denial| denial.condition().is_some();
    match &decision {
        Decision::Allow(_) => assert!(fulfilled, "{explanation}"),
        Decision::Deny(denial) | Decision::Observed(_, denial) if by_condition(denial) => {
            assert!(!fulfilled, "{explanation}");
        }
        Decision::Deny(_)
        | Decision::Observed(..)
        | Decision::Answered(_)
        | Decision::NeedsClaims
        | Decision::NeedsBody => {}
    }
    match decision {
        Decision::Allow(permit) => forwarded(&permit, None, world),
        Decision::Deny(denial) => Answer::Refused(refusal(&denial)),
        Decision::Observed(permit, denial) => forwarded(&permit, Some(refusal(&denial)), world),
        Decision::Answered(_) => panic!("no preflight is sent"),
        Decision::NeedsBody => panic!("no route reads a body"),
        Decision::NeedsClaims => panic!("nothing is pending of anybody"),
    }
}

fn refusal(denial: &Denial) -> Refusal {
    Refusal {
        status: denial.status().as_u16(),
        reason: denial.reason().as_str().to_owned(),
        route: denial.route().map(str::to_owned),
    }
}

fn forwarded(permit: &Permit, would: Option<Refusal>, world: &World) -> Answer {
    let text = |value: &HeaderValue| value.as_bytes().iter().copied().map(char::from).collect::<String>();
    let mut headers: Vec<_> = permit.headers().map(|(name, value)| (name.to_string(), text(value))).collect();
    headers.sort();
    let mut removes: Vec<_> = permit.removes().iter().map(ToString::to_string).collect();
    removes.sort();
    let mut lifted: Vec<_> = permit.lifted().iter().map(|lifted| lifted.kind.as_str().to_owned()).collect();
    lifted.sort();
    Answer::Forwarded(Box::new(Forwarded {
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
        scopes: person.scopes.clone(),
        permissions: person.permissions.clone(),
        organizations: person.organizations.clone(),
        global: person.global,
        flow: match person.flow {
            "user" => Flow::User,
            "client_credentials" => Flow::ClientCredentials,
            _ => Flow::Unknown,
        },
        claims: person.claims.clone(),
        expires_at: Timestamp(NOW + 300),
        authenticated_at: person.authenticated.map(|ago| Timestamp(NOW - ago)),
        acr: person.acr.clone(),
        leeway: 30,
        ..Principal::of(Arc::new(identity))
    }
}
