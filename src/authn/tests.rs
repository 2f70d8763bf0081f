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
