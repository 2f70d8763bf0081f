//! What remembered tokens take in memory (docs/performance.md, "Remembered tokens"): allocations are counted, in a process
//! where nothing else allocates.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails, in its helpers too")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use allocation_counter::measure;
use http::HeaderMap;
use serde_json::{Value, json};
use torwart::authn::memory::Memory;
use torwart::authn::rules::Rules;
use torwart::clock::Timestamp;
use torwart::config::Issuer;
use torwart::diagnostic::Source;
use torwart::policy::{
    Ability, Caller, Decision, Head, IdentityFacts, IssuerFacts, Policies, Surroundings, UpstreamFacts,
};
use torwart::principal::{ClaimPath, IssuerId, Principal};
use torwart::target::quirks::Quirks;
use torwart::target::{Authority, Scheme};

const POLICY: &str = r#"
version: 1
policy: orders
hosts: [api.example.com]
upstream: orders
routes:
  - {path: "/{*rest}", methods: [GET], unbound: [rest], require: authenticated}
"#;

/// What an allocation costs beside the bytes that were asked for: usual allocators put eight before it and round up to sixteen.
const OVERHEAD: u64 = 16;

fn policies() -> Policies {
    let source = Arc::new(Source { path: PathBuf::from("orders.yaml"), text: POLICY.to_owned() });
    let issuer = IssuerFacts {
        id: IssuerId(0),
        name: "main".into(),
        ability: Ability::EVERYTHING,
        permission_scope: None,
        introspects: false,
    };
    let surroundings = Surroundings {
        issuers: vec![issuer],
        upstreams: vec![UpstreamFacts { name: "orders".into(), quirks: Quirks::default() }],
        identity: IdentityFacts::default(),
        target_bytes: 8192,
        files: &|_: &Path| Err("there are no files".to_owned()),
    };
    let (policies, problems) = Policies::compile(&[source], &surroundings);
    policies.unwrap_or_else(|| unreachable!("{}", problems.render()))
}

fn rules() -> Rules {
    let mut issuer = Issuer::new("main", "https://issuer.example.com/realms/main", None);
    issuer.claims.organizations = vec![ClaimPath::top("org_uids")];
    issuer.claims.permissions = vec![ClaimPath::top("permissions")];
    Rules::new(&issuer, IssuerId(0))
}

fn uuid(kind: u32, number: u32) -> String {
    let scattered = number.wrapping_mul(2_654_435_761);
    format!("{scattered:08x}-{kind:04x}-4{kind:03x}-8{kind:03x}-{number:012x}")
}

/// The claims of a token that weighs 1 150 characters.
fn typical(number: u32) -> Value {
    json!({
        "iss": "https://issuer.example.com/realms/main", "aud": ["gateway", "account"], "sub": uuid(1, number),
        "client_id": "web-portal", "azp": "web-portal", "scope": "openid profile email orders:read orders:write",
        "org_uids": [uuid(2, number), uuid(3, number), uuid(4, number)],
        "permissions": ["ameise", "orders.view", "orders.edit", "invoices.view"],
        "name": format!("User Number {number}"), "email": format!("user{number}@example.com"), "jti": uuid(5, number),
        "iat": 1_800_000_000, "nbf": 1_800_000_000, "exp": 1_802_592_000,
    })
}

/// Remembers so many tokens that are all asked for once, and says how many bytes were allocated for each in the end.
fn cost(memory: &Memory, policies: &Policies, tokens: u32, claims: impl Fn(u32) -> Value) -> u64 {
    let rules = rules();
    let authority = Authority::parse("api.example.com", Scheme::Https).unwrap();
    let headers = HeaderMap::new();
    let remember = |number: u32| {
        let principal = rules.claims_to_principal(claims(number).as_object().unwrap().clone()).unwrap();
        let principal: Arc<Principal> = memory.insert(&format!("token {number}"), principal, 0);
        let placed = policies.place(&Head::new("GET", &authority, "/a", &headers)).unwrap();
        let caller =
            Caller { principal: Some(&principal), address: None, certificate: None, now: Timestamp(1_800_000_100) };
        let Decision::Allow(permit) = placed.decide(&caller) else { unreachable!("everybody may") };
        // As a request carries them to the upstream, which is when they come to be shared.
        let sent: HeaderMap = permit.headers().map(|(name, value)| (name.clone(), value.clone())).collect();
        assert!(sent.len() >= 4);
    };
    remember(0);
    let counted = measure(|| (1..tokens).for_each(remember));
    let allocated = u64::try_from(counted.bytes_current).unwrap();
    let overhead = OVERHEAD * u64::try_from(counted.count_current).unwrap();
    (allocated + overhead) / u64::from(tokens)
}

#[test]
fn ten_thousand_tokens_take_less_than_20_mib_and_a_hundred_thousand_less_than_150() {
    let policies = policies();
    for (tokens, most) in [(10_000, 20 * 1024 * 1024 / 10_000), (100_000, 150 * 1024 * 1024 / 100_000)] {
        let memory = Memory::new(150 * 1024 * 1024);
        let each = cost(&memory, &policies, tokens, typical);
        let state = memory.state();
        println!("{tokens} tokens: {each} bytes each, counted as {}", state.bytes / state.entries);
        assert!(each < most, "{each} bytes each");
        // The memory has a part for each few cores, and those fill unevenly.
        assert!(state.entries >= u64::from(tokens) / 100 * 99, "150 MiB hold them: {state:?}");
    }
}

#[test]
fn a_token_is_counted_as_what_it_takes_or_somewhat_more() {
    let policies = policies();
    let with = |number: u32, more: Value| {
        let mut claims = typical(number);
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    };
    let plain = |number: u32| json!({"sub": uuid(1, number), "client_id": "app", "scope": "crm"});
    let roles = |number: u32| {
        let roles: Vec<String> = (0..40).map(|role| format!("role {role} of {number}")).collect();
        with(number, json!({"realm_access": {"roles": roles}, "acr": "high"}))
    };
    let nested = |number: u32| {
        let lists: Vec<Value> = (0..40).map(|item| json!({"id": item, "of": [number, [true, null]]})).collect();
        with(number, json!({"lists": lists}))
    };
    let many = |number: u32| with(number, json!({"org_uids": (0..60).map(|of| uuid(of, number)).collect::<Vec<_>>()}));
    let own = |number: u32| with(number, json!({"client_id": uuid(6, number), "scope": format!("user:{number} crm")}));
    let odd = |number: u32| {
        with(number, json!({"org_uids": [format!("Größe {number}").repeat(20)], "note": "é".repeat(800)}))
    };
    let kinds: [(&str, &dyn Fn(u32) -> Value); 7] = [
        ("typical", &typical),
        ("plain", &plain),
        ("roles", &roles),
        ("nested", &nested),
        ("many organisations", &many),
        ("a client each", &own),
        ("letters that are encoded", &odd),
    ];
    for (kind, claims) in kinds {
        let memory = Memory::new(24 << 20);
        let each = cost(&memory, &policies, 1500, claims);
        let state = memory.state();
        assert_eq!(state.entries, 1500, "{kind}");
        let counted = state.bytes / state.entries;
        println!("{kind}: {each} bytes each, counted as {counted}");
        assert!(each <= counted && counted <= each * 3 / 2 + 256, "{kind}: {each} bytes each, counted as {counted}");
    }
}
