//! Runs `decisions/*.yaml`: policies, principals and requests, each with the decision that the language gives them.
//! The files are meant to be read; their format is described in `decisions/README.md`.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use torwart::clock::Timestamp;
use torwart::diagnostic::{Diagnostics, Severity, Source};
use torwart::document;
use torwart::policy::{
    Ability, Caller, Decision, Denial, Encoding, Head, IdentityFacts, IssuerFacts, Needs, Permit, PlaceError, Placed,
    Policies, Surroundings, UpstreamFacts,
};
use torwart::principal::{
    ClaimPath, ClientCertificate, Flow, IssuerId, IssuerIdentity, IssuerSet, Pending, Principal, Texts,
};
use torwart::target::quirks::{Charset, EmptySegments, FormParameters, MethodOverride, Quirks, Reading};
use torwart::target::{Authority, Scheme};

/// The moment of every request that names no other.
const NOW: i64 = 1_700_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    about: Option<String>,
    #[serde(default)]
    issuers: Option<Vec<IssuerLine>>,
    #[serde(default)]
    upstreams: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    identity: IdentityLine,
    #[serde(default)]
    target_bytes: Option<usize>,
    /// Contents of files that documents name.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Texts of documents.
    #[serde(default)]
    policies: Vec<String>,
    /// Documents of the repository.
    #[serde(default)]
    policy_files: Vec<String>,
    #[serde(default)]
    principals: BTreeMap<String, PrincipalLine>,
    #[serde(default)]
    warnings: Vec<Finding>,
    #[serde(default)]
    cases: Vec<Case>,
    /// Documents that are refused, with what is said about them.
    #[serde(default)]
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerLine {
    name: String,
    /// `client_credentials_when` is there and not `never`.
    #[serde(default)]
    tells_flow: bool,
    #[serde(default)]
    permission_scope: Option<String>,
    #[serde(default)]
    insensitive: Vec<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct IdentityLine {
    prefix: Option<String>,
    encoding: Option<String>,
    max_bytes: Option<usize>,
    /// `assertion.issuer` of torwart.yaml.
    assertion: Option<String>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct PrincipalLine {
    #[serde(default)]
    issuer: Option<String>,
    subject: Option<String>,
    client: Option<String>,
    #[serde(default)]
    scopes: String,
    permissions: Option<Vec<String>>,
    organizations: Option<Vec<String>>,
    global: Option<bool>,
    #[serde(default)]
    flow: Option<String>,
    #[serde(default)]
    claims: serde_json::Map<String, Value>,
    /// What only userinfo knows and nobody has asked there: `permissions`, `organizations`, `global` and names of claims.
    #[serde(default)]
    userinfo: Vec<String>,
    acr: Option<String>,
    /// Seconds before the request.
    authenticated: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(rename = "as", default)]
    who: Option<String>,
    request: String,
    #[serde(default)]
    headers: BTreeMap<String, OneOrMany>,
    /// The body, read only where the decision needs it.
    body: Option<String>,
    address: Option<String>,
    certificate: Option<CertificateLine>,
    expect: Expect,
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct CertificateLine {
    dns: Vec<String>,
    uri: Vec<String>,
    email: Vec<String>,
    subject: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expect {
    Word(String),
    Details(Box<Details>),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Details {
    /// Reason of the refusal.
    deny: Option<String>,
    /// Status of the refusal.
    status: Option<u16>,
    /// Status that an observing route would have refused with.
    would: Option<u16>,
    /// `scope` of the challenge.
    scopes: Option<String>,
    acr_values: Option<String>,
    max_age: Option<u64>,
    allow: Option<String>,
    /// Line of the first document on which the failed condition stands.
    line: Option<usize>,
    route: Option<String>,
    path: Option<String>,
    /// Headers that are set; `null` for those that must not be.
    headers: Option<BTreeMap<String, Option<String>>>,
    /// What a signed assertion says beside its times and identifier; `none`: there is none.
    assertion: Option<Value>,
    removes: Option<Vec<String>>,
    authorization: Option<String>,
    lifted: Option<Vec<String>>,
    values: Option<serde_json::Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    name: String,
    #[serde(default)]
    policy: String,
    #[serde(default)]
    policies: Vec<String>,
    #[serde(default)]
    issuers: Option<Vec<IssuerLine>>,
    says: Vec<Finding>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Finding {
    line: usize,
    says: String,
    #[serde(default)]
    help: Option<String>,
}

#[test]
fn every_decision_is_the_one_that_the_file_expects() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decisions");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    let mut failures = String::new();
    let mut count = 0;
    for path in &paths {
        let file = read(path);
        count += file.cases.len() + file.refused.len();
        let name = path.file_name().unwrap().to_string_lossy();
        for failure in run(&file) {
            let _ = writeln!(failures, "{name}: {failure}");
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(count >= 120, "only {count} cases were found in {}", directory.display());
}

fn read(path: &Path) -> File {
    let source = source(path.to_path_buf(), std::fs::read_to_string(path).unwrap());
    let mut problems = Diagnostics::new();
    let node = document::parse(&source, &mut problems);
    assert!(problems.is_empty(), "{}", problems.render());
    let json = node.unwrap().to_json().unwrap();
    serde_json::from_value(json).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn source(path: PathBuf, text: String) -> Arc<Source> {
    Arc::new(Source { path, text })
}

fn run(file: &File) -> Vec<String> {
    let mut failures = Vec::new();
    let _ = &file.about;
    let mut sources: Vec<_> = file.policies.iter().enumerate().map(document_source).collect();
    for path in &file.policy_files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        sources.push(source(path.clone(), std::fs::read_to_string(&path).unwrap()));
    }
    let issuers = identities(file.issuers.as_deref());
    for refused in &file.refused {
        failures.extend(check_refused(refused, file));
    }
    if file.cases.is_empty() {
        return failures;
    }
    let (policies, problems) = compile(&sources, file, file.issuers.as_deref());
    let Some(policies) = policies else {
        failures.push(format!("does not load:\n{}", problems.render()));
        return failures;
    };
    let warnings: Vec<_> = problems.iter().filter(|found| found.severity == Severity::Warning).collect();
    failures.extend(compare_findings("warnings", &file.warnings, &warnings));
    for case in &file.cases {
        if let Err(difference) = decide(case, file, &policies, &issuers) {
            failures.push(format!("{}: {difference}", case.name));
        }
    }
    failures
}

fn document_source((number, text): (usize, &String)) -> Arc<Source> {
    source(PathBuf::from(format!("policy-{}.yaml", number + 1)), text.clone())
}

fn compile(sources: &[Arc<Source>], file: &File, issuers: Option<&[IssuerLine]>) -> (Option<Policies>, Diagnostics) {
    let files = |path: &Path| -> Result<String, String> {
        file.files.get(path.to_str().unwrap_or_default()).cloned().ok_or_else(|| "no such file".to_owned())
    };
    let default = [IssuerLine { name: "shoen".into(), tells_flow: true, permission_scope: None, insensitive: vec![] }];
    let issuers = issuers.unwrap_or(&default);
    let facts = issuers.iter().enumerate().map(|(number, line)| IssuerFacts {
        id: IssuerId(u16::try_from(number).unwrap()),
        name: line.name.as_str().into(),
        ability: Ability { client_credentials: line.tells_flow, ..Ability::EVERYTHING },
        permission_scope: line.permission_scope.clone(),
        introspects: false,
    });
    let mut upstreams: Vec<_> = file
        .upstreams
        .iter()
        .map(|(name, quirks)| UpstreamFacts { name: name.as_str().into(), quirks: read_quirks(quirks) })
        .collect();
    if upstreams.is_empty() {
        upstreams.push(UpstreamFacts { name: "crm".into(), quirks: Quirks::default() });
    }
    let identity = IdentityFacts {
        prefix: file.identity.prefix.clone().unwrap_or_else(|| "X-Auth-".to_owned()),
        pass: Vec::new(),
        encoding: match file.identity.encoding.as_deref() {
            None | Some("percent") => Encoding::Percent,
            Some("latin1") => Encoding::Latin1,
            Some("base64") => Encoding::Base64,
            Some(other) => panic!("no encoding `{other}`"),
        },
        max_bytes: file.identity.max_bytes.unwrap_or(4096),
        assertion: file.identity.assertion.as_deref().map(Into::into),
        ..IdentityFacts::default()
    };
    let target_bytes = file.target_bytes.unwrap_or(8192);
    let surroundings = Surroundings { issuers: facts.collect(), upstreams, identity, target_bytes, files: &files };
    Policies::compile(sources, &surroundings)
}

fn read_quirks(written: &BTreeMap<String, String>) -> Quirks {
    let mut quirks = Quirks::default();
    for (key, value) in written {
        let reading = match value.as_str() {
            "always" => Reading::Always,
            "never" => Reading::Never,
            _ => Reading::Unknown,
        };
        match (key.as_str(), value.as_str()) {
            ("case", _) => quirks.case = reading,
            ("path_parameters", _) => quirks.path_parameters = reading,
            ("trailing_dot", _) => quirks.trailing_dot = reading,
            ("trailing_slash", _) => quirks.trailing_slash = reading,
            ("encoded_slash", _) => quirks.encoded_slash = reading,
            ("double_decoding", _) => quirks.double_decoding = reading,
            ("method_override", "ignore") => quirks.method_override = MethodOverride::Ignore,
            ("method_override", "honour") => quirks.method_override = MethodOverride::Honour,
            ("empty_segments", "refuse") => quirks.empty_segments = EmptySegments::Refuse,
            ("form_parameters", "separate") => quirks.form_parameters = FormParameters::Separate,
            ("charset", "latin1") => quirks.charset = Charset::Latin1,
            other => panic!("no quirk {other:?}"),
        }
    }
    quirks
}

fn identities(lines: Option<&[IssuerLine]>) -> Vec<Arc<IssuerIdentity>> {
    let identity = |number: usize, name: &str, insensitive: &[Vec<String>]| {
        let paths: Vec<_> = insensitive.iter().map(|keys| ClaimPath(keys.clone().into())).collect();
        let folds = |claim: &str| paths.contains(&ClaimPath::top(claim));
        Arc::new(IssuerIdentity {
            id: IssuerId(u16::try_from(number).unwrap()),
            name: name.into(),
            subject_folds: folds("sub"),
            client_folds: folds("client_id"),
            organizations_fold: folds("org_uids"),
            permissions_fold: folds("permissions"),
            case_insensitive: paths,
        })
    };
    match lines {
        None => vec![identity(0, "shoen", &[])],
        Some(lines) => lines.iter().enumerate().map(|(at, line)| identity(at, &line.name, &line.insensitive)).collect(),
    }
}

fn principal(line: &PrincipalLine, issuers: &[Arc<IssuerIdentity>]) -> Principal {
    let issuer = match &line.issuer {
        None => &issuers[0],
        Some(name) => {
            issuers.iter().find(|issuer| *issuer.name == **name).unwrap_or_else(|| panic!("no issuer {name}"))
        }
    };
    Principal {
        subject: line.subject.clone(),
        client: line.client.clone(),
        scopes: line.scopes.split_whitespace().collect(),
        permissions: line.permissions.clone().map(Into::into),
        organizations: line.organizations.clone().map(Into::into),
        global: line.global,
        flow: match line.flow.as_deref() {
            None | Some("user") => Flow::User,
            Some("client_credentials") => Flow::ClientCredentials,
            Some("unknown") => Flow::Unknown,
            Some(other) => panic!("no flow `{other}`"),
        },
        claims: (&line.claims).into(),
        expires_at: Timestamp(NOW + 300),
        authenticated_at: line.authenticated.map(|ago| Timestamp(NOW - ago)),
        acr: line.acr.clone(),
        leeway: 30,
        pending: pending(&line.userinfo),
        ..Principal::of(Arc::clone(issuer))
    }
}

fn pending(names: &[String]) -> Pending {
    let named = |word: &str| names.iter().any(|name| name == word);
    Pending {
        claims: names.into(),
        permissions: named("permissions"),
        organizations: named("organizations"),
        global: named("global"),
    }
}

fn check_refused(refused: &Refused, file: &File) -> Vec<String> {
    let mut sources: Vec<_> = refused.policies.iter().enumerate().map(document_source).collect();
    if !refused.policy.is_empty() {
        sources.push(document_source((0, &refused.policy)));
    }
    let issuers = refused.issuers.as_deref().or(file.issuers.as_deref());
    let (policies, problems) = compile(&sources, file, issuers);
    if policies.is_some() {
        return vec![format!("{}: was loaded", refused.name)];
    }
    let errors: Vec<_> = problems.iter().filter(|found| found.severity == Severity::Error).collect();
    compare_findings(&refused.name, &refused.says, &errors)
}

fn compare_findings(name: &str, wanted: &[Finding], found: &[&torwart::diagnostic::Diagnostic]) -> Vec<String> {
    let matches = |wanted: &Finding, found: &torwart::diagnostic::Diagnostic| {
        let line = found.place.as_ref().map_or(0, |place| place.line_column().0);
        let help = wanted.help.as_ref().is_none_or(|help| found.help.as_deref() == Some(help));
        line == wanted.line && found.message == wanted.says && help
    };
    let same = wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| matches(wanted, found));
    if same {
        return Vec::new();
    }
    let found: String = found.iter().map(|found| found.render()).collect();
    vec![format!("{name}: expected {wanted:#?}, found\n{found}")]
}

fn decide(case: &Case, file: &File, policies: &Policies, issuers: &[Arc<IssuerIdentity>]) -> Result<(), String> {
    let (method, url) = case.request.split_once(' ').unwrap();
    let (host, target) = match url.strip_prefix("https://") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("api.example.com", url),
    };
    let authority = Authority::parse(host, Scheme::Https).unwrap();
    let headers = headers(case);
    let body = case.body.as_deref().map(str::as_bytes);
    let head = Head { has_body: body.is_some(), ..Head::new(method, &authority, target, &headers) };
    let placed = match policies.place(&head) {
        Ok(placed) => placed,
        Err(error) => return compare_place_error(&error, &case.expect),
    };
    let who = case.who.as_ref().map(|name| principal(&file.principals[name], issuers));
    let certificate = case.certificate.as_ref().map(certificate);
    let caller = Caller {
        principal: who.as_ref(),
        address: case.address.as_ref().map(|address| address.parse::<IpAddr>().unwrap()),
        certificate: certificate.as_ref(),
        now: Timestamp(NOW),
    };
    if let Some(who) = &who {
        check_completions(who, &placed, &caller, body)?;
    }
    compare(answer(&placed, &caller, body), &placed, &caller, body, &case.expect)
}

/// What is decided without asking userinfo is what would be decided whatever it said; and where it is asked, what it says
/// makes a difference.
fn check_completions(
    who: &Principal,
    placed: &Placed<'_>,
    caller: &Caller<'_>,
    body: Option<&[u8]>,
) -> Result<(), String> {
    if who.pending.is_empty() {
        return Ok(());
    }
    let seen = |who: &Principal| match answer(placed, &Caller { principal: Some(who), ..*caller }, body) {
        Answer::Decision(Decision::Allow(permit)) => {
            let signed = permit.assertion().map(|(_, statement)| statement.payload(Timestamp(NOW), "id"));
            format!("{} {:?} {signed:?}", permit.path_and_query(), set(&permit))
        }
        Answer::Decision(decision) => outcome(&decision).0.to_owned(),
        Answer::Unauthenticated(_) => "unauthenticated".to_owned(),
    };
    let now = seen(who);
    let complete: Vec<_> = completions(who).iter().map(seen).collect();
    if now == outcome(&Decision::NeedsClaims).0 {
        let differ = complete.iter().any(|one| *one != complete[0]);
        return if differ { Ok(()) } else { Err(format!("userinfo is asked for nothing: always {}", complete[0])) };
    }
    match complete.iter().find(|one| **one != now) {
        Some(other) => Err(format!("decided without userinfo: {now}, which could have said what makes it {other}")),
        None => Ok(()),
    }
}

fn set(permit: &Permit) -> Vec<(&str, &[u8])> {
    permit.headers().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// Everything that userinfo could say, as far as the cases tell it apart.
fn completions(who: &Principal) -> Vec<Principal> {
    let list = |words: &[&str]| Some(words.iter().collect::<Texts>());
    let mut all = vec![Principal { pending: Pending::default(), ..who.clone() }];
    let mut vary = |pending: bool, change: &dyn Fn(&Principal) -> Vec<Principal>| {
        if pending {
            all = all.iter().flat_map(|one| std::iter::once(one.clone()).chain(change(one))).collect();
        }
    };
    vary(who.pending.permissions, &|one| {
        let said = [list(&[]), list(&["edit"]), list(&["intern"])];
        said.map(|permissions| Principal { permissions, ..one.clone() }).into()
    });
    vary(who.pending.organizations, &|one| {
        let said = [list(&[]), list(&["o1"]), list(&["o1", "o2"])];
        said.map(|organizations| Principal { organizations, ..one.clone() }).into()
    });
    vary(who.pending.global, &|one| [Some(false), Some(true)].map(|global| Principal { global, ..one.clone() }).into());
    for (name, value) in [
        ("broker", serde_json::json!({"id": "B1"})),
        ("groups", serde_json::json!(["x", "g"])),
        ("tier", serde_json::json!("gold")),
    ] {
        vary(who.pending.claims.iter().any(|claim| claim == name), &|one| {
            let mut said = one.clone();
            let mut claims = said.claims.to_map();
            claims.insert(name.to_owned(), value.clone());
            said.claims = claims.into();
            vec![said]
        });
    }
    all
}

/// What the gateway does between placing and deciding: a token of an issuer that does not count is no token.
enum Answer {
    Decision(Decision),
    /// 401, or what an observing route makes of it.
    Unauthenticated(Option<Permit>),
}

fn answer(placed: &Placed<'_>, caller: &Caller<'_>, body: Option<&[u8]>) -> Answer {
    let accepted = |issuers: &IssuerSet| caller.principal.is_some_and(|one| issuers.contains(one.issuer.id));
    match placed.needs() {
        Needs::Nothing => Answer::Decision(decision(placed, &Caller { principal: None, ..*caller }, body)),
        Needs::Token(issuers) | Needs::TokenToTell(issuers) if accepted(issuers) => {
            Answer::Decision(decision(placed, caller, body))
        }
        Needs::Token(_) | Needs::TokenToTell(_) => {
            // Deciding without a principal has to come to the same answer.
            let nobody = placed.decide(&Caller { principal: None, ..*caller });
            assert!(!matches!(nobody, Decision::Allow(_)), "allowed without a token");
            let observed = placed.unauthenticated(http::StatusCode::UNAUTHORIZED, None);
            Answer::Unauthenticated(observed.map(|(permit, would)| {
                assert_eq!(would, http::StatusCode::UNAUTHORIZED);
                permit
            }))
        }
    }
}

/// Deciding as the gateway does: the body is read only where it is asked for, and then decides.
fn decision(placed: &Placed<'_>, caller: &Caller<'_>, body: Option<&[u8]>) -> Decision {
    let first = placed.decide(caller);
    let with_body = placed.decide_with_body(caller, body.unwrap_or_default());
    assert!(!matches!(with_body, Decision::NeedsBody));
    if matches!(first, Decision::NeedsClaims) {
        return first;
    }
    if matches!(first, Decision::NeedsBody) {
        assert!(body.is_some(), "a body is asked for that is not there");
        assert!(!matches!(with_body, Decision::NeedsClaims), "the body is read of somebody whose claims are not known");
        return with_body;
    }
    assert_eq!(outcome(&first), outcome(&with_body), "the body changes a decision that did not need it");
    first
}

fn outcome(decision: &Decision) -> (&'static str, Option<&'static str>) {
    match decision {
        Decision::Allow(_) => ("allow", None),
        Decision::Deny(denial) => ("deny", Some(denial.reason().as_str())),
        Decision::Observed(_, denial) => ("observed", Some(denial.reason().as_str())),
        Decision::Answered(_) => ("answered", None),
        Decision::NeedsClaims => ("needs userinfo", None),
        Decision::NeedsBody => ("needs the body", None),
    }
}

fn headers(case: &Case) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, values) in &case.headers {
        let values = match values {
            OneOrMany::One(value) => vec![value.clone()],
            OneOrMany::Many(values) => values.clone(),
        };
        for value in values {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
    }
    headers
}

fn certificate(line: &CertificateLine) -> ClientCertificate {
    ClientCertificate {
        dns: line.dns.clone(),
        uri: line.uri.clone(),
        email: line.email.clone(),
        subject: line.subject.clone(),
        thumbprint: [0; 32],
    }
}

fn compare_place_error(error: &PlaceError, expect: &Expect) -> Result<(), String> {
    let status = match error {
        PlaceError::UnknownHost => 421,
        PlaceError::Target(_) | PlaceError::MethodOverride => 400,
        PlaceError::MethodRefused => 405,
    };
    let Expect::Details(details) = expect else { return Err(format!("refused with {status}: {error}")) };
    equal("status", &details.status, &Some(status))?;
    equal("deny", &details.deny, &None)
}

fn compare(
    answer: Answer,
    placed: &Placed<'_>,
    caller: &Caller<'_>,
    body: Option<&[u8]>,
    expect: &Expect,
) -> Result<(), String> {
    let none = Details::default();
    let details = match expect {
        Expect::Details(details) => details,
        Expect::Word(_) => &none,
    };
    if let Some(values) = &details.values {
        // What there is none of is `null` in a record, and need not be written.
        let found = placed.values_with_body(caller, body.unwrap_or_default()).into_iter();
        let found: serde_json::Map<_, _> =
            found.filter(|(name, value)| !value.is_null() || values.contains_key(name)).collect();
        equal("values", values, &found)?;
    }
    let refusing = details.deny.is_some() || details.status.is_some();
    match answer {
        Answer::Decision(Decision::Allow(permit)) => {
            if refusing || details.would.is_some() || matches!(expect, Expect::Word(word) if word != "allow") {
                return Err("was allowed".to_owned());
            }
            compare_permit(&permit, details)
        }
        Answer::Decision(Decision::Deny(denial)) => {
            if details.would.is_some() || !refusing && !matches!(expect, Expect::Word(word) if word == "deny") {
                return Err(format!("was refused: {denial:?}"));
            }
            compare_denial(&denial, details)
        }
        Answer::Decision(Decision::Observed(permit, denial)) => {
            equal("would", &details.would, &Some(denial.status().as_u16()))?;
            compare_denial(&denial, &Details { deny: details.deny.clone(), ..Details::default() })?;
            compare_permit(&permit, details)
        }
        Answer::Decision(Decision::Answered(answer)) => {
            equal("status", &details.status, &Some(204))?;
            let found =
                answer.fields().map(|(name, value)| (name.to_string(), Some(value.to_str().unwrap().to_owned())));
            equal("headers", &details.headers.clone().unwrap_or_default(), &found.collect())
        }
        Answer::Decision(Decision::NeedsClaims) => match expect {
            Expect::Word(word) if word == "userinfo" => Ok(()),
            _ => Err("userinfo was to be asked".to_owned()),
        },
        Answer::Decision(Decision::NeedsBody) => Err("the body was not read".to_owned()),
        Answer::Unauthenticated(None) => equal("status", &details.status, &Some(401)),
        Answer::Unauthenticated(Some(permit)) => {
            equal("would", &details.would, &Some(401))?;
            compare_permit(&permit, details)
        }
    }
}

fn compare_denial(denial: &Denial, wanted: &Details) -> Result<(), String> {
    use torwart::policy::Cause;
    wanted.deny.as_deref().map_or(Ok(()), |reason| equal("reason", reason, denial.reason().as_str()))?;
    wanted.status.map_or(Ok(()), |status| equal("status", &status, &denial.status().as_u16()))?;
    wanted.route.as_deref().map_or(Ok(()), |route| equal("route", &Some(route), &denial.route()))?;
    let scopes = match denial.cause() {
        Cause::InsufficientScope { scopes, .. } => Some(scopes.clone()),
        Cause::StepUp(step_up) if !step_up.scopes.is_empty() => Some(step_up.scopes.clone()),
        _ => None,
    };
    equal(
        "scopes",
        &wanted.scopes,
        &scopes
            .filter(|_| wanted.scopes.is_some() || !matches!(wanted.deny.as_deref(), Some("scope" | "authentication"))),
    )?;
    if let Cause::StepUp(step_up) = denial.cause() {
        wanted.acr_values.as_ref().map_or(Ok(()), |values| equal("acr_values", values, &step_up.acr_values))?;
        wanted.max_age.map_or(Ok(()), |max_age| equal("max_age", &Some(max_age), &step_up.max_age))?;
    }
    if let Cause::MethodNotAllowed { allow } = denial.cause() {
        wanted.allow.as_deref().map_or(Ok(()), |methods| equal("allow", methods, allow.to_str().unwrap()))?;
    } else {
        equal("allow", &wanted.allow, &None)?;
    }
    let line = denial.place().map(|place| place.line_column().0);
    wanted.line.map_or(Ok(()), |wanted| equal("line", &Some(wanted), &line))
}

fn compare_permit(permit: &Permit, wanted: &Details) -> Result<(), String> {
    wanted.path.as_deref().map_or(Ok(()), |path| equal("path", path, permit.path_and_query().as_str()))?;
    wanted.route.as_deref().map_or(Ok(()), |route| equal("route", &Some(route), &permit.route()))?;
    if let Some(headers) = &wanted.headers {
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            let found: Vec<_> = permit.headers().filter(|(known, _)| known.as_str() == name).collect();
            let found = match found.as_slice() {
                [] => None,
                [(_, value)] => Some(value.as_bytes().iter().copied().map(char::from).collect::<String>()),
                _ => return Err(format!("header `{name}` is set twice")),
            };
            equal(&format!("header {name}"), value, &found)?;
        }
    }
    if let Some(wanted) = &wanted.assertion {
        let found = permit.assertion().map_or(Value::from("none"), |(_, statement)| {
            let mut payload: Value = serde_json::from_str(&statement.payload(Timestamp(NOW), "id")).unwrap();
            for made in ["iat", "exp", "jti"] {
                assert!(payload.as_object_mut().unwrap().remove(made).is_some(), "{made}");
            }
            payload
        });
        equal("assertion", wanted, &found)?;
    }
    if let Some(names) = &wanted.removes {
        let removes: Vec<_> = permit.removes().iter().map(ToString::to_string).collect();
        equal("removes", names, &removes)?;
    }
    wanted
        .authorization
        .as_deref()
        .map_or(Ok(()), |word| equal("authorization", word, &format!("{:?}", permit.authorization())))?;
    let lifted: Vec<_> = permit.lifted().iter().map(|lifted| lifted.kind.as_str().to_owned()).collect();
    equal("lifted", &wanted.lifted.clone().unwrap_or_default(), &lifted)
}

fn equal<T: PartialEq + std::fmt::Debug + ?Sized>(what: &str, wanted: &T, found: &T) -> Result<(), String> {
    if wanted == found { Ok(()) } else { Err(format!("{what}: expected {wanted:?}, found {found:?}")) }
}
