//! Signed assertions (`forward.assertion`): an upstream that verifies one knows that the request came through this
//! gateway, whoever else can reach it.
//!
//! Policy says that one is wanted and what it says ([`Statement`]); the [`Signer`] keeps the keys and signs; the upstream's
//! side sends it. Nothing is remembered: every request has an assertion of its own, with a `jti` of its own.

mod key;
mod ring;
mod store;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use serde_json::{Value, json};
use uuid::Uuid;

pub use self::key::{KeyFault, SigningKey};
use self::ring::{Entry, Ring};
use self::store::Store;
pub use self::store::StoreFault;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::diagnostic::Diagnostics;
use crate::principal::{Statement, assertion_header};

/// Seconds for which whoever fetches the key set may keep it. Keys are published for much longer before they sign.
pub const MAX_AGE: u32 = 300;

/// How often keys and file are looked after. A gateway that shares its directory learns of a key within that time, long
/// before anybody signs with it.
const PERIOD: Duration = Duration::from_mins(1);

/// What signs, and publishes what verifies.
#[derive(Debug)]
pub struct Signer {
    ring: ArcSwap<Published>,
    store: Option<Store>,
    /// Why the keys could not be looked after the last time.
    fault: Mutex<Option<String>>,
}

/// Keys, and what follows from them.
#[derive(Debug)]
struct Published {
    ring: Ring,
    /// Headers of the JWTs of every key, in the order of the ring.
    headers: Vec<String>,
    key_set: Arc<str>,
}

/// A published key, for whoever looks after the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// Its thumbprint.
    pub id: String,
    /// What it is for.
    pub role: Role,
    /// From when it signs or signed.
    pub from: Timestamp,
}

/// What a key is for at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It has signed, and verifies what it has signed.
    Retired,
    /// It signs.
    Signing,
    /// It is going to sign.
    Next,
}

impl Role {
    /// The role's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retired => "retired",
            Self::Signing => "signing",
            Self::Next => "next",
        }
    }
}

/// What `check` and a start say about the keys although they can be used.
pub fn inspect(config: &Config) -> Diagnostics {
    let mut problems = Diagnostics::new();
    if config.assertion_issuer.is_some() && config.state_directory.is_none() && !config.dev {
        problems
            .warn("the keys of `assertion` are made anew at every start: upstreams refuse what they sign until they fetch the key set again")
            .help("set `state: {directory: ...}`, and let gateways that stand in for each other share it");
    }
    problems
}

impl Signer {
    /// The signer of a configuration, `None` where it has none; the one in force where nothing about it has changed. Keys
    /// in force stay in force, wherever they are kept from then on.
    ///
    /// # Errors
    /// The state directory cannot be used.
    pub fn load(
        config: &Config,
        previous: Option<&Arc<Self>>,
        now: Timestamp,
    ) -> Result<Option<Arc<Self>>, StoreFault> {
        if config.assertion_issuer.is_none() {
            return Ok(None);
        }
        let store = config.state_directory.as_deref().map(Store::new);
        if let Some(previous) = previous.filter(|previous| previous.store == store) {
            return Ok(Some(Arc::clone(previous)));
        }
        let known = previous.map(|previous| previous.ring.load_full());
        let ring = advanced(store.as_ref(), known.as_deref().map(|known| &known.ring), now)?;
        let ring = ArcSwap::from_pointee(Published::new(ring));
        Ok(Some(Arc::new(Self { ring, store, fault: Mutex::new(None) })))
    }

    /// The value of the header that says it.
    ///
    /// # Errors
    /// The system's random numbers fail.
    pub fn sign(&self, statement: &Statement, now: Timestamp) -> Result<HeaderValue, KeyFault> {
        let published = self.ring.load();
        let signing = published.ring.signing(now).key.id();
        let keys = published.ring.entries().zip(&published.headers);
        let (entry, header) = keys.into_iter().find(|(entry, _)| entry.key.id() == signing).ok_or(KeyFault)?;
        let mut buffer = Uuid::encode_buffer();
        let id = Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
        let assertion = entry.key.sign(header, &statement.payload(now, id))?;
        let mut value = HeaderValue::try_from(assertion).map_err(|_| KeyFault)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The public halves of all keys (RFC 7517 section 5).
    pub fn key_set(&self) -> Arc<str> {
        Arc::clone(&self.ring.load().key_set)
    }

    /// Every published key, in the order in which they sign.
    pub fn states(&self, now: Timestamp) -> Vec<KeyState> {
        let published = self.ring.load();
        let signing = published.ring.signing(now);
        let states = published.ring.entries().map(|entry| KeyState {
            id: entry.key.id().to_owned(),
            role: role(entry, signing),
            from: entry.from,
        });
        states.collect()
    }

    /// Why the keys could not be looked after the last time, if so. The key in use goes on signing meanwhile.
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes, publishes and forgets keys as it is time. A key that could not be kept is not used: other gateways and the
    /// next start would not know it.
    pub fn tend(&self, now: Timestamp) {
        let before = self.ring.load_full();
        let advanced = advanced(self.store.as_ref(), Some(&before.ring), now);
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match advanced {
            Ok(ring) => {
                if !ring.same(&before.ring) {
                    tracing::info!(keys = ring.entries().count(), "the published keys of assertions have changed");
                    self.ring.store(Arc::new(Published::new(ring)));
                }
                *fault = None;
            }
            Err(error) => {
                let told = error.to_string();
                if fault.as_ref() != Some(&told) {
                    tracing::warn!(%error, "the keys of assertions are not rotated");
                }
                *fault = Some(told);
            }
        }
    }

    /// Looks after the keys until the signer is dropped. To be spawned on the control runtime, once.
    pub fn run(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let signer = Arc::downgrade(self);
        async move {
            loop {
                tokio::time::sleep(PERIOD).await;
                let Some(signer) = signer.upgrade() else { return };
                let tended = tokio::task::spawn_blocking(move || signer.tend(Timestamp::now())).await;
                if tended.is_err() {
                    tracing::error!("looking after the keys of assertions ended in a panic");
                }
            }
        }
    }
}

impl Published {
    fn new(ring: Ring) -> Self {
        let keys: Vec<Value> = ring.entries().map(|entry| entry.key.public()).collect();
        Self {
            headers: ring.entries().map(|entry| assertion_header(entry.key.id())).collect(),
            key_set: json!({"keys": keys}).to_string().into(),
            ring,
        }
    }
}

fn advanced(store: Option<&Store>, known: Option<&Ring>, now: Timestamp) -> Result<Ring, StoreFault> {
    match (store, known) {
        (Some(store), known) => store.advance(known, now),
        (None, Some(known)) => Ok(known.advanced(now)?),
        (None, None) => Ok(Ring::begin(now)?),
    }
}

fn role(entry: &Entry, signing: &Entry) -> Role {
    if entry.key.id() == signing.key.id() {
        Role::Signing
    } else if entry.from <= signing.from {
        Role::Retired
    } else {
        Role::Next
    }
}

#[cfg(test)]
mod tests;
