//! Upstreams out of the configuration: names resolved to types, certificates read, every problem told at once. What a
//! reload has not changed is taken over with its connections and with all that is known of its endpoints.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::capacity::Capacity;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::members::Members;
use super::request_body::BodyLimits;
use super::request_headers::IdentityNames;
use super::resolve::Lookup;
use super::tls::Files;
use crate::config::{self, Balance, ClientAddressHeader, Config, HealthCheck, Protocol};
use crate::diagnostic::Diagnostics;
use crate::target::fold::fold_header;

/// What all upstreams have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) identity: Arc<IdentityNames>,
    pub(super) client_address_from: ClientAddressHeader,
    pub(super) body: BodyLimits,
    pub(super) stream_follows_token: bool,
}

/// An upstream with what serves it at the moment. Pools of members that no configuration names any more are closed.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) upstream: Arc<Upstream>,
    pub(super) members: Arc<Members>,
    origin: Origin,
    /// Ends what runs in the background for it.
    pub(super) stop: CancellationToken,
}

impl Drop for Configured {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What an upstream was made of. Nothing else tells whether another one is the same.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    config: config::Upstream,
    files: Vec<u8>,
}

/// One protected API.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) name: Arc<str>,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    pub(super) balance: Balance,
    pub(super) http2: bool,
    /// `rewrite_location`.
    pub(super) maps_back: bool,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) health: Option<HealthCheck>,
    pub(super) capacity: Capacity,
    pub(super) budget: Budget,
}

/// Reads what the configuration says and names. `previous`: what is in force.
pub(super) fn load(config: &Config, previous: &[Arc<Configured>]) -> (Vec<Arc<Configured>>, Shared, Diagnostics) {
    let mut problems = Diagnostics::new();
    let list = config.upstreams.iter().filter_map(|upstream| {
        let before = previous.iter().find(|before| before.upstream.name == upstream.name);
        Configured::load(upstream, before, &mut problems)
    });
    let list = list.collect();
    let shared = Shared {
        identity: Arc::new(identity(&config.identity, &mut problems)),
        client_address_from: config.client_address_from,
        body: BodyLimits { size: config.limits.body, idle: config.limits.body_idle_timeout },
        stream_follows_token: config.limits.stream_follows_token,
    };
    (list, shared, problems)
}

pub(super) fn identity(config: &config::Identity, problems: &mut Diagnostics) -> IdentityNames {
    let prefix = fold_header(&config.prefix);
    if prefix.is_empty() {
        problems.general("`identity.prefix` is empty: every header would be an identity header");
    }
    IdentityNames { prefix, pass: config.pass.iter().map(|name| name.to_ascii_lowercase()).collect() }
}

impl Configured {
    /// One upstream: the one before if nothing has changed. Its problems are added to those found so far.
    pub(super) fn load(
        config: &config::Upstream,
        before: Option<&Arc<Self>>,
        problems: &mut Diagnostics,
    ) -> Option<Arc<Self>> {
        let files = match Files::read(&config.tls) {
            Ok(files) => files,
            Err(reason) => {
                problems.general(format!("upstream `{}`: {reason}", config.name));
                return None;
            }
        };
        let origin = Origin { config: config.clone(), files: files.digest() };
        if let Some(before) = before.filter(|before| before.origin == origin) {
            return Some(Arc::clone(before));
        }
        let upstream = Arc::new(Upstream::load(config, &files, problems)?);
        let members = Arc::new(Members::new(&upstream.endpoints, Lookup::of_the_system()));
        Some(Arc::new(Self { upstream, members, origin, stop: CancellationToken::new() }))
    }
}

impl Upstream {
    /// There are members, and none of them is healthy.
    pub(super) fn nobody(&self) -> Failure {
        Failure::NoneHealthy(self.health.as_ref().map_or(Duration::ZERO, |health| health.interval))
    }

    fn load(config: &config::Upstream, files: &Files, problems: &mut Diagnostics) -> Option<Self> {
        let name = &config.name;
        if config.endpoints.is_empty() {
            problems.general(format!("upstream `{name}` has no endpoint"));
        }
        let tls = config.endpoints.iter().any(|endpoint| endpoint.tls);
        let tls = match tls.then(|| files.client_config(&config.tls, config.protocol)).transpose() {
            Ok(tls) => tls.map(Arc::new),
            Err(reason) => {
                problems.general(format!("upstream `{name}`: {reason}"));
                None
            }
        };
        let endpoints = config.endpoints.iter();
        let endpoints =
            endpoints.map(|endpoint| Endpoint::load(config, endpoint, tls.as_ref(), problems).map(Arc::new));
        // Every endpoint is looked at before one that is wrong ends it.
        let endpoints: Vec<_> = endpoints.collect();
        let endpoints: Vec<_> = endpoints.into_iter().collect::<Option<_>>()?;
        (!endpoints.is_empty()).then(|| Self {
            name: Arc::clone(name),
            endpoints,
            balance: config.balance,
            http2: config.protocol == Protocol::H2,
            maps_back: config.rewrite_location,
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            idle_timeout: config.idle_timeout,
            health: config.health.clone(),
            capacity: Capacity::new(config.max_connections),
            budget: Budget::default(),
        })
    }
}
