//! Step 5 of the data path: a bearer token becomes a [`Principal`], or the request ends.
//!
//! What a token must be is pure and lives in the modules below; keys come from issuers in the background. Remembered
//! tokens are answered without waiting and without allocating.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Timestamp;
use crate::config::Config;
use crate::diagnostic::Diagnostics;
use crate::json;
use crate::panics;
use crate::principal::{ClientCertificate, IssuerIdentity, IssuerSet, Principal};

pub mod bearer;
pub mod claims;
pub mod discovery;
pub mod endpoint;
pub mod failure;
pub mod fetch;
pub mod flow;
pub mod inspect;
mod introspection;
pub mod jose;
pub mod jwk;
pub mod keeper;
pub mod keyset;
mod load;
pub mod lookup;
pub mod memory;
pub mod revocation;
pub mod roca;
pub mod rules;
pub mod schedule;
pub mod signature;
pub mod state;
pub mod userinfo;

pub use failure::{Failure, Fault, InvalidToken, Wanted};

use introspection::Introspector;
use jose::{Header, Parts};
use keeper::{Keeper, Renewal};
use keyset::Verdict;
use memory::{Hit, Memory};
use revocation::{Register, Revocations};
use rules::{Rules, check_in_force};
use userinfo::Userinfo;

/// How often keys are looked for because of one token: the fetch that was under way, one of its own, and one more for a
/// fetch that ended in between.
const MOST_LOOKS: usize = 4;

/// Seconds after which a client may ask again when an issuer gives no answer about its token.
const SOON: u32 = 2;

/// The configured issuers of one configuration generation: their rules, their keys, the tokens already verified.
#[derive(Debug)]
pub struct Issuers {
    list: Vec<Issued>,
    identities: Vec<Arc<IssuerIdentity>>,
    memory: Arc<Memory>,
    register: Arc<Register>,
    longest: usize,
    stop: CancellationToken,
    /// Ends [`Issuers::run`] when these issuers are dropped.
    _stop: DropGuard,
}

/// One issuer: what its tokens must be, its keys, and what it says of tokens that only it can read.
#[derive(Debug)]
struct Issued {
    rules: Arc<Rules>,
    keeper: Arc<Keeper>,
    setup: Option<load::Setup>,
    userinfo: Option<Arc<Userinfo>>,
    introspector: Option<Arc<Introspector>>,
}

impl Issuers {
    /// Builds the issuers of a configuration. Unchanged issuers keep keys and remembered tokens of `previous`; key sets
    /// in `state.directory` are taken over. Nothing is fetched here: keys arrive once [`Issuers::run`] runs.
    ///
    /// # Errors
    /// Files (`jwks_file`, `secret_file`, `tls.ca`) that are unreadable or hold no usable key, URLs that may not be
    /// asked, an issuer of dev mode elsewhere.
    pub fn load(config: &Config, previous: Option<&Self>) -> Result<Self, Diagnostics> {
        load::issuers(config, previous)
    }

    fn of(list: Vec<Issued>, memory: Arc<Memory>, revocations: Arc<Revocations>, longest: usize) -> Self {
        let register = Register::new(revocations, list.iter().map(|issued| issued.rules.issuer().issuer.as_str()));
        let identities = list.iter().map(|issued| Arc::clone(issued.rules.identity())).collect();
        let stop = CancellationToken::new();
        Self { list, identities, memory, register: Arc::new(register), longest, _stop: stop.clone().drop_guard(), stop }
    }

    /// Keeps the key sets fresh until these issuers are dropped. To be spawned on the control runtime, once. Keys that
    /// two configurations share are fetched for both by whichever came first.
    pub fn run(&self) -> impl Future<Output = ()> + Send + 'static {
        let keepers: Vec<_> = self.list.iter().map(|issued| Arc::clone(&issued.keeper)).collect();
        let introspectors: Vec<_> = self.list.iter().filter_map(|issued| issued.introspector.clone()).collect();
        let (stop, revocations) = (self.stop.clone(), Arc::clone(self.register.revocations()));
        let userinfo: Vec<_> = self.list.iter().filter_map(|issued| issued.userinfo.clone()).collect();
        async move {
            for userinfo in userinfo {
                userinfo.settle(Handle::current());
            }
            for introspector in introspectors {
                introspector.settle(Handle::current());
            }
            let mut drivers = JoinSet::new();
            let stopped = stop.clone();
            let follow = move || Arc::clone(&revocations).follow(stopped.clone());
            drivers.spawn(panics::kept("reading revocations", follow));
            for keeper in keepers {
                let stopped = stop.clone();
                let drive = move || Arc::clone(&keeper).drive(stopped.clone());
                drivers.spawn(panics::kept("refreshing the keys of an issuer", drive));
            }
            while drivers.join_next().await.is_some() {}
        }
    }

    /// Fetches every issuer's keys now, one after the other, and waits for them: for command lines that do not [`run`].
    ///
    /// [`run`]: Issuers::run
    pub async fn refresh(&self) {
        for issued in &self.list {
            issued.keeper.refresh().await;
        }
    }

    /// The principal of the bearer token in `headers`; `Ok(None)` when there is no bearer token at all. A remembered
    /// token is answered without waiting; another one waits for keys at most as long as one fetch takes, or as long for
    /// what its issuer says of it.
    ///
    /// # Errors
    /// [`Failure`], never [`Failure::Missing`].
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        accepted: &IssuerSet,
        certificate: Option<&ClientCertificate>,
        now: Timestamp,
    ) -> Result<Option<Arc<Principal>>, Failure> {
        let Some(token) = bearer::token(headers)? else { return Ok(None) };
        self.verify(token, accepted, certificate, now).await.map(Some)
    }

    /// The principal of a token, wherever it came from.
    ///
    /// # Errors
    /// [`Failure::Invalid`] and [`Failure::Unavailable`].
    pub async fn verify(
        &self,
        token: &str,
        accepted: &IssuerSet,
        certificate: Option<&ClientCertificate>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Failure> {
        let principal = self.established(token, accepted, certificate, now).await?;
        // Asked last: others may have been waited for, and only who holds a good token may learn that it is revoked.
        self.register.check(&principal, now).map_err(|fault| refused(&principal, fault))?;
        Ok(principal)
    }

    /// The same but for revocation. Every request waits for this one, so what takes more than a look into the memory is a
    /// future of its own, made where it is needed.
    async fn established(
        &self,
        token: &str,
        accepted: &IssuerSet,
        certificate: Option<&ClientCertificate>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Failure> {
        if let Some(outcome) = self.remembered(token, accepted, certificate, now) {
            self.memory.count(Hit::Found);
            let principal = outcome?;
            return match self.confirming(&principal) {
                None => Ok(principal),
                Some(_) => Box::pin(self.confirmed(principal, token, certificate, now)).await,
            };
        }
        Box::pin(self.established_anew(token, accepted, certificate, now)).await
    }

    /// The same for a token that nothing is remembered of.
    async fn established_anew(
        &self,
        token: &str,
        accepted: &IssuerSet,
        certificate: Option<&ClientCertificate>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Failure> {
        if let Some(introspector) = self.introspecting(token, accepted) {
            return self.introspected(introspector, token, certificate, now).await;
        }
        self.memory.count(Hit::Missed);
        let claimed = self.read(token, accepted)?;
        check_in_force(&claimed.principal, certificate, now).map_err(|fault| refused(&claimed.principal, fault))?;
        let generation = self.check_signature(&claimed, now).await?;
        let principal = self.memory.insert(token, claimed.principal, generation);
        self.confirmed(principal, token, certificate, now).await
    }

    /// The principal of the bearer token in `headers` with everything that its issuer's userinfo endpoint knows. What is
    /// remembered is answered without waiting.
    ///
    /// # Errors
    /// [`Failure::Invalid`] where the endpoint refuses the token or speaks of somebody else, [`Failure::Unavailable`] where
    /// it does not answer.
    pub async fn complete(
        &self,
        headers: &HeaderMap,
        principal: &Arc<Principal>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Failure> {
        let issued = self.list.get(usize::from(principal.issuer.id.0));
        let userinfo = issued.and_then(|issued| issued.userinfo.as_ref());
        let unavailable = || Failure::Unavailable {
            issuer: Arc::clone(&principal.issuer.name),
            wanted: Wanted::Userinfo,
            retry_after: SOON,
        };
        let (Some(userinfo), Some(token)) = (userinfo, bearer::token(headers)?) else { return Err(unavailable()) };
        userinfo.complete(token, principal, now).await.map_err(|incomplete| match incomplete.fault() {
            Some(fault) => refused(principal, fault),
            None => unavailable(),
        })
    }

    /// What the memory has on a token; `None`: it has to be verified. Rules, keys, issuer, times and binding are asked
    /// every time.
    fn remembered(
        &self,
        token: &str,
        accepted: &IssuerSet,
        certificate: Option<&ClientCertificate>,
        now: Timestamp,
    ) -> Option<Result<Arc<Principal>, Failure>> {
        let entry = self.memory.find(token)?;
        entry.principal.prefetch();
        let id = entry.principal.issuer.id;
        let current = self.list.get(usize::from(id.0))?;
        // Every set of rules makes an identity of its own.
        let same_rules = Arc::ptr_eq(&entry.principal.issuer, current.rules.identity());
        if !same_rules || current.keeper.generation(now) != Some(entry.generation) {
            self.memory.forget(token);
            return None;
        }
        let fault = if accepted.contains(id) {
            check_in_force(&entry.principal, certificate, now).err()
        } else {
            Some(Fault::IssuerNotAccepted)
        };
        if fault == Some(Fault::Expired) {
            self.memory.forget(token);
        }
        Some(match fault {
            None => Ok(entry.principal),
            Some(fault) => Err(refused(&entry.principal, fault)),
        })
    }

    /// Everything about a token but its times, its binding and its signature.
    fn read<'a>(&'a self, token: &'a str, accepted: &IssuerSet) -> Result<Claimed<'a>, Failure> {
        if token.len() > self.longest {
            return Err(Fault::TooLong.into());
        }
        let parts = Parts::split(token)?;
        let token_digest = signed_digest(&parts);
        let invalid =
            |fault, issuer| Failure::Invalid(InvalidToken { fault, issuer, token_digest: Some(token_digest) });
        let header = Header::read(&parts.header).map_err(|fault| invalid(fault, None))?;
        let claims = json::object(&parts.payload).map_err(|_| invalid(Fault::Payload, None))?;
        let claimed = claims.get("iss").and_then(serde_json::Value::as_str);
        let issued = self.list.iter().find(|issued| Some(issued.rules.issuer().issuer.as_str()) == claimed);
        let issued = issued.ok_or_else(|| invalid(Fault::Issuer, None))?;
        let identity = issued.rules.identity();
        let of_issuer = |fault| invalid(fault, Some(Arc::clone(&identity.name)));
        if !accepted.contains(identity.id) {
            return Err(of_issuer(Fault::IssuerNotAccepted));
        }
        issued.rules.check_header(&header).map_err(of_issuer)?;
        let principal = issued.rules.verified_claims(claims, token_digest).map_err(of_issuer)?;
        Ok(Claimed { issued, parts, header, principal })
    }

    /// The generation of the keys that vouch for the token.
    async fn check_signature(&self, claimed: &Claimed<'_>, now: Timestamp) -> Result<u64, Failure> {
        let keeper = &claimed.issued.keeper;
        for _ in 0..MOST_LOOKS {
            match claimed.verdict(now) {
                None if keeper.first().await => {}
                None => return Err(claimed.unavailable()),
                Some((Verdict::Valid, generation)) => return Ok(generation),
                Some((Verdict::Invalid(fault), _)) => return Err(refused(&claimed.principal, fault)),
                Some((Verdict::UnknownKey, _)) => match keeper.renew(now).await {
                    Renewal::Finished => {}
                    Renewal::Braked => break,
                    // Whether the key exists is not known, so neither is whether the token is bad.
                    Renewal::Pending => return Err(claimed.unavailable()),
                },
            }
        }
        let fault = if claimed.header.key_id.is_some() { Fault::UnknownKey } else { Fault::Signature };
        Err(refused(&claimed.principal, fault))
    }

    /// Asks every issuer that can be asked about a token that none of them has issued: whether it can be reached, and
    /// knows the gateway.
    pub async fn probe(&self) -> Vec<(Arc<str>, Result<(), String>)> {
        let mut outcomes = Vec::new();
        for issued in &self.list {
            if let Some(introspector) = &issued.introspector {
                outcomes.push((Arc::clone(&issued.rules.identity().name), introspector.probe().await));
            }
        }
        outcomes
    }

    /// How each issuer's keys are at `now`, for readiness, metrics and the admin surface.
    pub fn states(&self, now: Timestamp) -> Vec<IssuerState> {
        self.list.iter().map(|issued| issued.state(now)).collect()
    }

    /// What has been revoked, as these issuers are asked about it.
    pub fn register(&self) -> &Arc<Register> {
        &self.register
    }

    /// What the token memory holds and how often it helped, for metrics.
    pub fn memory(&self) -> MemoryState {
        self.memory.state()
    }
}

/// A token whose signature nobody has looked at.
struct Claimed<'a> {
    issued: &'a Issued,
    parts: Parts<'a>,
    header: Header,
    principal: Principal,
}

impl Claimed<'_> {
    /// What the keys in force say of the signature, and their generation; `None` when there are none.
    fn verdict(&self, now: Timestamp) -> Option<(Verdict, u64)> {
        let held = self.issued.keeper.at(now)?;
        let set = &held.as_ref()?.set;
        Some((set.verify(&self.header, self.parts.signed, self.parts.signature), set.generation()))
    }

    fn unavailable(&self) -> Failure {
        let issuer = Arc::clone(&self.principal.issuer.name);
        Failure::Unavailable { issuer, wanted: Wanted::Keys, retry_after: self.issued.keeper.retry_after() }
    }
}

impl Issued {
    fn state(&self, now: Timestamp) -> IssuerState {
        let held = self.keeper.last_good();
        let ids = held.iter().flat_map(|held| held.set.ids());
        let report = self.keeper.report();
        IssuerState {
            name: Arc::clone(&self.rules.identity().name),
            issuer: self.rules.issuer().issuer.clone(),
            ready: self.keeper.at(now).is_some(),
            key_ids: ids.map(|id| id.unwrap_or_default().to_owned()).collect(),
            fetched_at: held.as_ref().map(|held| held.fetched_at),
            last_error: report.last_error,
            refreshes: report.refreshes,
            failures: report.failures,
            userinfo: self.userinfo.as_ref().map(|userinfo| userinfo.tally()),
            introspection: self.introspector.as_ref().map(|introspector| introspector.tally()),
        }
    }
}

fn refused(principal: &Principal, fault: Fault) -> Failure {
    let issuer = Some(Arc::clone(&principal.issuer.name));
    Failure::Invalid(InvalidToken { fault, issuer, token_digest: Some(principal.token_digest) })
}

fn signed_digest(parts: &Parts<'_>) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, parts.signed.as_bytes()).as_ref());
    bytes
}

/// How an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerState {
    /// Its configured name.
    pub name: Arc<str>,
    /// Its `iss`.
    pub issuer: String,
    /// There are keys, not older than `keys.max_stale`.
    pub ready: bool,
    /// `kid` of every usable key; empty text for a key without.
    pub key_ids: Vec<String>,
    /// When the keys were last fetched or read.
    pub fetched_at: Option<Timestamp>,
    /// What went wrong last, if the last attempt failed.
    pub last_error: Option<String>,
    /// Successful fetches since start.
    pub refreshes: u64,
    /// Failed fetches since start.
    pub failures: u64,
    /// How its userinfo endpoint did, if it has one.
    pub userinfo: Option<lookup::Tally>,
    /// How its introspection endpoint did, if it has one.
    pub introspection: Option<lookup::Tally>,
}

/// What the token memory holds and how often it helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryState {
    /// Tokens remembered.
    pub entries: u64,
    /// Bytes they are weighed with.
    pub bytes: u64,
    /// Look-ups that found a token still in force.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Tokens forgotten to make room for others.
    pub evictions: u64,
}

#[cfg(test)]
mod tests;
