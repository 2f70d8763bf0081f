//! The admin listener: health for load balancers, metrics for Prometheus, and an interface for operators.
//!
//! It is a server of its own on an address of its own; nothing here can be reached through the gateway's listeners.
//! It knows the gateway only as [`Gateway`].

mod access;
mod answer;
mod ask;
pub mod revocations;
mod serve;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use rustls::ServerConfig;
use serde::Serialize;

use self::revocations::{Made, Order, Page, Refusal, Revocation, Window};
use crate::telemetry::Metrics;

pub use self::access::Rules;
pub use self::ask::{AskError, ask};
pub use self::serve::{Given, Listener, serve};

/// What the admin listener asks of the gateway.
pub trait Gateway: Send + Sync + 'static {
    /// The state of the moment, for `/readyz` and `/api/v1/status`.
    fn state(&self) -> State;

    /// Brings counters that other rooms keep for themselves up to date, before `/metrics` is answered.
    fn measure(&self, metrics: &Metrics);

    /// Who is let in at the moment, and how. Asked for every connection and every request.
    fn terms(&self) -> Terms;

    /// The public keys that verify signed assertions, if the gateway signs any.
    fn assertion_keys(&self) -> Option<PublicKeys>;

    /// Loads the configuration again and swaps it in when it is good, as `SIGHUP` asks for.
    ///
    /// # Errors
    /// Everything that is wrong with it, rendered as `check` prints it; the old one stays in force.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;

    /// A part of the revocations.
    fn revocations(&self, window: Window) -> Pin<Box<dyn Future<Output = Page> + Send + '_>>;

    /// Revokes. In force when this returns, and on the disk where revocations are kept.
    ///
    /// # Errors
    /// The order makes no sense, or it is in force and cannot be kept.
    fn revoke(&self, order: Order) -> Pin<Box<dyn Future<Output = Result<Made, Refusal>> + Send + '_>>;

    /// Takes a revocation back.
    ///
    /// # Errors
    /// There is none of this name, or it cannot be kept that it was taken back; it stays in force then.
    fn take_back(&self, id: String) -> Pin<Box<dyn Future<Output = Result<Revocation, Refusal>> + Send + '_>>;
}

/// Who is let in, and how.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// TLS, where the listener has it. A connection that was made under another one is closed at its next request.
    pub tls: Option<Arc<ServerConfig>>,
    /// What requests have to keep.
    pub rules: Rules,
}

/// The gateway's state.
#[derive(Debug, Clone, Default, Serialize)]
pub struct State {
    /// The process that answers: beside it another one may serve the same addresses.
    pub pid: u32,
    /// Whether a configuration is in force and its listeners accept connections.
    pub serving: bool,
    /// Whether the process is about to end.
    pub draining: bool,
    /// Digest of the loaded configuration and policies, in hexadecimal.
    pub revision: String,
    /// How many configurations were in force in this process, this one included.
    pub generation: u64,
    /// When it was loaded, RFC 3339.
    pub loaded: String,
    /// What was wrong with the last configuration that could not be loaded, if none was loaded since.
    pub reload_error: Option<String>,
    /// Names of policies under `mode: observe`.
    pub observing: Vec<Arc<str>>,
    /// The configured issuers.
    pub issuers: Vec<IssuerState>,
    /// The configured upstreams.
    pub upstreams: Vec<UpstreamState>,
    /// The addresses that accept connections.
    pub listeners: Vec<String>,
    /// Who signs assertions, if anybody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assertion: Option<AssertionState>,
}

/// One upstream.
#[derive(Debug, Clone, Serialize)]
pub struct UpstreamState {
    /// Its name in `torwart.yaml`.
    pub name: Arc<str>,
    /// Connections that are open or being opened.
    pub connections: usize,
    /// As many as there may be.
    pub max_connections: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Every address of every endpoint, and every endpoint without one.
    pub endpoints: Vec<EndpointState>,
}

/// One address of an endpoint.
#[derive(Debug, Clone, Serialize)]
pub struct EndpointState {
    /// As configured.
    pub endpoint: Arc<str>,
    /// `None` while its name cannot be resolved.
    pub address: Option<Arc<str>>,
    /// Whether it gets requests.
    pub available: bool,
    /// `healthy`, `ejected`, `failing checks` or `unresolved`.
    pub state: &'static str,
    /// Requests under way.
    pub requests: usize,
    /// Open connections.
    pub connections: usize,
    /// Those of them that wait for a request.
    pub idle: usize,
    /// Connections opened so far, health checks apart.
    pub connects: u64,
    /// Attempts to open one that failed.
    pub connects_failed: u64,
    /// Requests that were answered whole.
    pub answers: u64,
    /// Requests without an answer, or with half of one.
    pub failures: u64,
    /// How often it was ejected.
    pub ejections: u64,
    /// Health checks that passed.
    pub checks_passed: u64,
    /// Health checks that failed.
    pub checks_failed: u64,
    /// Seconds until it comes back, while it is ejected.
    pub ejected_for: Option<u64>,
    /// What is wrong, as far as it is known.
    pub error: Option<String>,
}

/// A key set for everybody to fetch.
#[derive(Debug, Clone)]
pub struct PublicKeys {
    /// RFC 7517 section 5.
    pub key_set: Arc<str>,
    /// Seconds for which it may be kept.
    pub max_age: u32,
}

/// Who signs assertions.
#[derive(Debug, Clone, Serialize)]
pub struct AssertionState {
    /// Their `iss`.
    pub issuer: String,
    /// The published keys.
    pub keys: Vec<AssertionKey>,
    /// Why keys are not rotated, if they are not.
    pub error: Option<String>,
}

/// One of its keys.
#[derive(Debug, Clone, Serialize)]
pub struct AssertionKey {
    /// Its `kid`.
    pub id: String,
    /// `retired`, `signing` or `next`.
    pub role: &'static str,
    /// From when it signs or signed, RFC 3339.
    pub from: String,
    /// Seconds since then; negative before.
    pub age: i64,
}

/// Whether an issuer's tokens can be checked.
#[derive(Debug, Clone, Serialize)]
pub struct IssuerState {
    /// Its name in `torwart.yaml`.
    pub name: Arc<str>,
    /// Keys in force.
    pub keys: usize,
    /// Seconds since the issuer confirmed them.
    pub age: Option<u64>,
    /// What the last attempt to fetch them met, if it failed.
    pub error: Option<String>,
    /// Whether it is asked about tokens that are no JWT, and how that went; `None` when it is not.
    pub introspection: Option<Introspection>,
}

/// What became of asking an issuer about tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Introspection {
    /// Calls that were answered.
    pub answers: u64,
    /// Calls that failed.
    pub failures: u64,
    /// What went wrong, if the last call failed.
    pub error: Option<String>,
}

impl IssuerState {
    /// Whether none of its tokens can be checked, as far as is known: no keys, and nobody to ask.
    fn is_mute(&self) -> bool {
        self.keys == 0 && self.introspection.is_none()
    }
}

/// The answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether requests should be sent here.
    pub ready: bool,
    /// Why not; and, when ready, what an operator should know.
    pub reasons: Vec<String>,
    /// Names of policies under `mode: observe`.
    pub observing: Vec<Arc<str>>,
}

impl State {
    /// Ready is: the configuration is in force, the process is not about to end, and at least one of the configured
    /// issuers, if any is, has keys (cli.md, "Admin surface") or is asked about its tokens. Whether it answers shows only
    /// with a token, which must come here first.
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if !self.serving {
            reasons.push("no configuration is in force yet".to_owned());
        }
        if self.draining {
            reasons.push("the process is about to end".to_owned());
        }
        let keyless = self.issuers.iter().filter(|issuer| issuer.keys == 0);
        let all_mute = !self.issuers.is_empty() && self.issuers.iter().all(IssuerState::is_mute);
        let ready = self.serving && !self.draining && !all_mute;
        reasons.extend(keyless.map(|issuer| match &issuer.error {
            Some(error) => format!("issuer `{}` has no keys: {error}", issuer.name),
            None => format!("issuer `{}` has no keys", issuer.name),
        }));
        reasons.extend(self.issuers.iter().filter_map(|issuer| {
            let error = issuer.introspection.as_ref()?.error.as_ref()?;
            Some(format!("issuer `{}` does not say what its tokens are: {error}", issuer.name))
        }));
        let mute = self.upstreams.iter().filter(|upstream| !upstream.endpoints.iter().any(|one| one.available));
        reasons.extend(mute.map(|upstream| format!("upstream `{}` has no endpoint that answers", upstream.name)));
        if let Some(error) = &self.reload_error {
            reasons.push(format!("the last configuration was not loaded: {error}"));
        }
        Readiness { ready, reasons, observing: self.observing.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(name: &str, keys: usize) -> IssuerState {
        IssuerState { name: name.into(), keys, age: None, error: None, introspection: None }
    }

    fn serving(issuers: Vec<IssuerState>) -> State {
        State { serving: true, issuers, ..State::default() }
    }

    #[test]
    fn one_issuer_with_keys_is_enough_and_none_is_not() {
        assert!(serving(vec![]).readiness().ready);
        assert!(serving(vec![issuer("a", 0), issuer("b", 1)]).readiness().ready);
        let readiness = serving(vec![issuer("a", 0), issuer("b", 0)]).readiness();
        assert!(!readiness.ready);
        assert_eq!(readiness.reasons, ["issuer `a` has no keys", "issuer `b` has no keys"]);
    }

    #[test]
    fn an_issuer_that_is_asked_about_its_tokens_needs_no_keys() {
        let asked = |error: Option<&str>| {
            let introspection = Introspection { error: error.map(str::to_owned), ..Introspection::default() };
            IssuerState { introspection: Some(introspection), ..issuer("a", 0) }
        };
        assert!(serving(vec![asked(None)]).readiness().ready);
        let readiness = serving(vec![asked(Some("down"))]).readiness();
        assert!(readiness.ready, "what it says of the next token is not known");
        let told = ["issuer `a` has no keys", "issuer `a` does not say what its tokens are: down"];
        assert_eq!(readiness.reasons, told);
    }

    #[test]
    fn nothing_in_force_or_draining_is_not_ready() {
        assert!(!State::default().readiness().ready);
        let draining = State { draining: true, ..serving(vec![issuer("a", 1)]) };
        assert!(!draining.readiness().ready);
        assert_eq!(draining.readiness().reasons, ["the process is about to end"]);
    }

    #[test]
    fn a_failed_reload_is_told_and_leaves_the_gateway_ready() {
        let state = State { reload_error: Some("torwart.yaml:1:1: error".to_owned()), ..serving(vec![]) };
        let readiness = state.readiness();
        assert!(readiness.ready);
        assert_eq!(readiness.reasons, ["the last configuration was not loaded: torwart.yaml:1:1: error"]);
    }

    #[test]
    fn an_upstream_that_does_not_answer_is_told_and_leaves_the_gateway_ready() {
        let endpoint = |available| EndpointState {
            endpoint: "http://crm:80".into(),
            address: None,
            available,
            state: "unresolved",
            requests: 0,
            connections: 0,
            idle: 0,
            connects: 0,
            connects_failed: 0,
            answers: 0,
            failures: 0,
            ejections: 0,
            checks_passed: 0,
            checks_failed: 0,
            ejected_for: None,
            error: None,
        };
        let upstream = |name: &str, endpoints| UpstreamState {
            name: name.into(),
            connections: 0,
            max_connections: 1024,
            waiting: 0,
            endpoints,
        };
        let upstreams =
            vec![upstream("a", vec![endpoint(false), endpoint(true)]), upstream("b", vec![endpoint(false)])];
        let readiness = State { upstreams, ..serving(vec![]) }.readiness();
        assert!(readiness.ready, "others may still be served");
        assert_eq!(readiness.reasons, ["upstream `b` has no endpoint that answers"]);
    }

    #[test]
    fn observing_policies_are_named() {
        let state = State { observing: vec!["crm".into()], ..serving(vec![]) };
        assert_eq!(state.readiness().observing, ["crm".into()]);
    }
}
