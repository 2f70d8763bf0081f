use std::pin::Pin;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keeper::{Held, Published, Source};
use keyset::KeySet;
use serde_json::json;

use super::*;
use crate::config::{Audiences, Issuer};
use crate::principal::IssuerId;

const NOW: Timestamp = Timestamp(1_800_000_000);

/// An issuer that takes its time and then fails.
#[derive(Debug)]
struct Slow(Duration);

impl Source for Slow {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Published, String>> + Send + '_>> {
        Box::pin(async {
            tokio::time::sleep(self.0).await;
            Err("down".to_owned())
        })
    }
}

/// Issuers of one slow issuer that had one key once.
fn issuers(delay: Duration, last_good: Option<Arc<Held>>) -> Issuers {
    let mut issuer = Issuer::new("shoen", "https://i", None);
    issuer.audiences = Audiences::Any;
    let keeper = Keeper::fetching("shoen".into(), Arc::new(Slow(delay)), Duration::from_hours(24), last_good);
    let rules = Arc::new(Rules::new(&issuer, IssuerId(0)));
    let keeper = Arc::new(keeper.with_clock(|| NOW));
    let issued = Issued { rules, keeper, setup: None, userinfo: None, introspector: None };
    Issuers::of(vec![issued], Arc::new(Memory::new(0)), Revocations::new(), 16 * 1024)
}

/// RFC 8037 appendix A.2.
fn one_key() -> Arc<Held> {
    let key =
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "known", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let set = KeySet::public(json!({"keys": [key]}).to_string().as_bytes()).unwrap();
    Arc::new(Held { set, fetched_at: NOW })
}

async fn failure(issuers: &Issuers, kid: &str) -> Failure {
    let header = json!({"alg": "EdDSA", "kid": kid}).to_string();
    let claims = json!({"iss": "https://i", "sub": "s", "exp": NOW.0 + 60}).to_string();
    let encoded = [header.as_str(), &claims, "signature"].map(|part| URL_SAFE_NO_PAD.encode(part));
    let everyone = IssuerSet::new([IssuerId(0)]);
    issuers.verify(&encoded.join("."), &everyone, None, NOW).await.unwrap_err()
}

fn fault(failure: Failure) -> Fault {
    let Failure::Invalid(invalid) = failure else { panic!("{failure}") };
    invalid.fault
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kid_is_503_while_nobody_can_tell_whether_it_exists() {
    let issuers = issuers(Duration::from_hours(1), Some(one_key()));
    tokio::spawn(issuers.run());
    assert!(matches!(failure(&issuers, "new").await, Failure::Unavailable { .. }));
    assert_eq!(fault(failure(&issuers, "known").await), Fault::Signature, "a known key needs no fetch");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kid_is_401_when_the_issuer_has_been_asked() {
    let issuers = issuers(Duration::from_secs(1), Some(one_key()));
    tokio::spawn(issuers.run());
    assert_eq!(fault(failure(&issuers, "new").await), Fault::UnknownKey);
    assert_eq!(fault(failure(&issuers, "newer").await), Fault::UnknownKey);
}

#[tokio::test(start_paused = true)]
async fn without_keys_and_without_anybody_fetching_them_a_token_is_503() {
    let issuers = issuers(Duration::from_secs(1), None);
    assert!(matches!(failure(&issuers, "known").await, Failure::Unavailable { retry_after: 1.., .. }));
}

#[test]
fn about_tokens_is_asked_where_the_issuers_run_and_nowhere_else() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "s3cret").unwrap();
    let mut issuer = Issuer::new("shoen", "https://i", None);
    // Nobody listens there: a call that is made fails at once, and is counted.
    issuer.introspection = Some(crate::config::Introspection {
        endpoint: Some("https://127.0.0.1:1/introspect".to_owned()),
        client_id: "gateway".to_owned(),
        client_secret_file: secret,
        cache: Duration::ZERO,
        always: false,
    });
    issuer.userinfo = Some(crate::config::Userinfo {
        endpoint: Some("https://127.0.0.1:1/userinfo".to_owned()),
        claims: vec!["permissions".to_owned()],
        cache: Duration::ZERO,
    });
    let mut config = crate::config::Config::empty("torwart.yaml".into());
    config.issuers = vec![issuer];
    let failures = |home: Option<tokio::runtime::Runtime>| {
        let issuers = Issuers::load(&config, None).unwrap();
        if let Some(home) = home {
            let running = async { tokio::time::timeout(Duration::ZERO, issuers.run()).await };
            assert!(home.block_on(running).is_err(), "it runs on and on");
        }
        let issued = &issuers.list[0];
        let (introspector, userinfo) = (issued.introspector.as_ref().unwrap(), issued.userinfo.as_ref().unwrap());
        let claims = json!({"sub": "s"}).as_object().unwrap().clone();
        let principal = Arc::new(issued.rules.claims_to_principal(claims).unwrap());
        let everyone = IssuerSet::new([IssuerId(0)]);
        runtime().block_on(async {
            assert!(issuers.verify("opaque", &everyone, None, NOW).await.is_err());
            assert!(userinfo.complete("opaque", &principal, NOW).await.is_err());
        });
        (introspector.tally().failures, userinfo.tally().failures)
    };
    assert_eq!(failures(None), (1, 1), "without a home whoever asks makes the call");
    assert_eq!(failures(Some(runtime())), (0, 0), "the home is gone, and nobody else makes the call");
}
