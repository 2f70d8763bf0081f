//! From configuration to issuers: files are read, key sets of the previous configuration and of the last run taken over.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::discovery::{self, Origin};
use super::endpoint::Endpoint;
use super::fetch::{Client, Plain};
use super::introspection::Introspector;
use super::keeper::{Held, Keeper, Published, Source};
use super::keyset::KeySet;
use super::memory::Memory;
use super::revocation::Revocations;
use super::rules::Rules;
use super::state::{self, Saved};
use super::userinfo::Userinfo;
use super::{Issued, Issuers};
use crate::clock::Timestamp;
use crate::config::{self, Config, KeySource};
use crate::diagnostic::Diagnostics;
use crate::principal::IssuerId;

/// Builds the issuers of a configuration.
pub(super) fn issuers(config: &Config, previous: Option<&Issuers>) -> Result<Issuers, Diagnostics> {
    let mut problems = Diagnostics::new();
    let mut list = Vec::with_capacity(config.issuers.len());
    for (position, issuer) in config.issuers.iter().enumerate() {
        let Ok(id) = u16::try_from(position) else {
            problems.general("more than 65535 issuers");
            break;
        };
        if config.issuers.iter().take(position).any(|earlier| earlier.issuer == issuer.issuer) {
            problems.general(format!("two issuers have the URL `{}`", issuer.issuer));
        }
        match issued(config, issuer, IssuerId(id), previous) {
            Ok(issued) => list.push(issued),
            Err(problem) => {
                problems.general(format!("issuer `{}`: {problem}", issuer.name));
            }
        }
    }
    if problems.has_errors() {
        return Err(problems);
    }
    let memory = previous
        .map(|previous| Arc::clone(&previous.memory))
        .filter(|memory| memory.capacity() == config.limits.token_memory as u64)
        .unwrap_or_else(|| Arc::new(Memory::new(config.limits.token_memory)));
    let revocations = previous.map(|previous| Arc::clone(previous.register.revocations()));
    Ok(Issuers::of(list, memory, revocations.unwrap_or_else(Revocations::new), config.limits.token))
}

/// How an issuer in the network is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Access {
    plain: Plain,
    ca: Option<Vec<u8>>,
}

impl Access {
    fn of(config: &Config, issuer: &config::Issuer) -> Result<Self, String> {
        let ca = issuer
            .tls_ca
            .as_ref()
            .map(|path| std::fs::read(path).map_err(|error| format!("`{}` cannot be read: {error}", path.display())));
        let plain = if issuer.integration || config.dev { Plain::Loopback } else { Plain::Refused };
        Ok(Self { plain, ca: ca.transpose()? })
    }

    /// A client that reaches it.
    ///
    /// # Errors
    /// A text for the person who configured `tls.ca`.
    pub(super) fn client(&self) -> Result<Client, String> {
        Client::new(self.ca.as_deref(), self.plain).map_err(|error| format!("`tls.ca`: {error}"))
    }
}

/// How an issuer's keys are fetched. Equal setups share one keeper over reloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setup {
    issuer: String,
    origin: Origin,
    access: Access,
    max_stale: Duration,
    file: Option<PathBuf>,
}

fn issued(
    config: &Config,
    issuer: &config::Issuer,
    id: IssuerId,
    previous: Option<&Issuers>,
) -> Result<Issued, String> {
    let earlier =
        previous.and_then(|previous| previous.list.iter().find(|old| old.rules.issuer().issuer == issuer.issuer));
    let unchanged = |old: &&Issued| old.rules.issuer() == issuer && old.rules.identity().id == id;
    let rules = earlier.filter(unchanged).map(|old| Arc::clone(&old.rules));
    let rules = rules.unwrap_or_else(|| Arc::new(Rules::new(issuer, id)));
    let introspector = match &issuer.introspection {
        Some(_) => {
            let before = earlier.and_then(|old| old.introspector.as_ref());
            Introspector::load(&rules, Access::of(config, issuer)?, config, before)?
        }
        None => None,
    };
    let read = match &issuer.keys {
        KeySource::File(path) => Some(keys_of_file(path, KeySet::public)?),
        KeySource::Secret(path) => Some(keys_of_file(path, KeySet::secret)?),
        KeySource::Discovery | KeySource::Url(_) => None,
    };
    if let Some(set) = read {
        let last = earlier.and_then(|old| old.keeper.last_good());
        let set = set.following(last.as_ref().map(|held| &held.set));
        let keeper = Arc::new(Keeper::fixed(Arc::clone(&issuer.name), set, Timestamp::now()));
        let userinfo = userinfo(config, &rules, &keeper, earlier)?;
        return Ok(Issued { rules, keeper, setup: None, userinfo, introspector });
    }
    let setup = setup(config, issuer)?;
    let keeper = match earlier.filter(|old| old.setup.as_ref() == Some(&setup)) {
        Some(old) => Arc::clone(&old.keeper),
        None => Arc::new(fetching(issuer, &setup, earlier)?),
    };
    let userinfo = userinfo(config, &rules, &keeper, earlier)?;
    Ok(Issued { rules, keeper, setup: Some(setup), userinfo, introspector })
}

/// The userinfo endpoint. What it has said counts as long as neither rules nor keys are replaced.
fn userinfo(
    config: &Config,
    rules: &Arc<Rules>,
    keeper: &Arc<Keeper>,
    earlier: Option<&Issued>,
) -> Result<Option<Arc<Userinfo>>, String> {
    let issuer = rules.issuer();
    let Some(wanted) = &issuer.userinfo else { return Ok(None) };
    let kept = earlier.and_then(|old| old.userinfo.as_ref()).filter(|old| old.belongs_to(rules, keeper));
    if let Some(kept) = kept {
        return Ok(Some(Arc::clone(kept)));
    }
    let client = Access::of(config, issuer)?.client()?;
    let endpoint = Endpoint::new(wanted.endpoint.as_deref(), issuer, "userinfo_endpoint", config);
    endpoint.check(&client).map_err(|error| error.to_string())?;
    // Answers are asked for by far fewer routes than tokens are checked for.
    let bytes = config.limits.token_memory / 4;
    Ok(Some(Arc::new(Userinfo::new(rules, keeper, client, endpoint, bytes))))
}

fn keys_of_file<E: std::fmt::Display>(path: &Path, parse: fn(&[u8]) -> Result<KeySet, E>) -> Result<KeySet, String> {
    let text = std::fs::read(path).map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
    parse(&text).map_err(|error| format!("`{}` cannot be used: {error}", path.display()))
}

fn setup(config: &Config, issuer: &config::Issuer) -> Result<Setup, String> {
    let origin = match &issuer.keys {
        KeySource::Url(url) => Origin::Url(url.clone()),
        _ => Origin::Discovery { issuer: issuer.issuer.clone(), dev: config.dev },
    };
    Ok(Setup {
        issuer: issuer.issuer.clone(),
        access: Access::of(config, issuer)?,
        max_stale: issuer.keys_max_stale,
        file: config.state_directory.as_ref().map(|state| state::file(state, &issuer.issuer, &described(&origin))),
        origin,
    })
}

/// The origin as it is written beside a saved key set.
fn described(origin: &Origin) -> String {
    match origin {
        Origin::Discovery { .. } => "discovery".to_owned(),
        Origin::Url(url) => url.clone(),
    }
}

fn fetching(issuer: &config::Issuer, setup: &Setup, earlier: Option<&Issued>) -> Result<Keeper, String> {
    let client = setup.access.client()?;
    match &setup.origin {
        Origin::Url(url) => client.check(url),
        Origin::Discovery { issuer, .. } => client.check(issuer),
    }
    .map_err(|error| error.to_string())?;
    let same_origin = |old: &&Issued| old.setup.as_ref().is_some_and(|old| old.origin == setup.origin);
    let last_good = earlier.filter(same_origin).and_then(|old| old.keeper.last_good()).or_else(|| saved_keys(setup));
    let source = Remote { client, setup: setup.clone() };
    Ok(Keeper::fetching(Arc::clone(&issuer.name), Arc::new(source), setup.max_stale, last_good))
}

/// The key set of the last run. One that claims to have been fetched in the future is not believed.
fn saved_keys(setup: &Setup) -> Option<Arc<Held>> {
    let saved = state::load(setup.file.as_ref()?, &setup.issuer, &described(&setup.origin))?;
    let set = KeySet::public(saved.keys.as_bytes()).ok()?;
    (saved.time() <= Timestamp::now()).then(|| Arc::new(Held { set, fetched_at: saved.time() }))
}

/// An issuer in the network.
#[derive(Debug)]
struct Remote {
    client: Client,
    setup: Setup,
}

impl Source for Remote {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Published, String>> + Send + '_>> {
        Box::pin(async {
            let fetched =
                discovery::key_set(&self.client, &self.setup.origin).await.map_err(|error| error.to_string())?;
            Ok(Published { text: fetched.body, max_age: fetched.max_age })
        })
    }

    fn keep(&self, published: Published, now: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let Some(file) = self.setup.file.clone() else { return };
            let Ok(keys) = String::from_utf8(published.text.to_vec()) else { return };
            let origin = described(&self.setup.origin);
            let saved = Saved { issuer: self.setup.issuer.clone(), origin, fetched_at: now.0, keys };
            let written = tokio::task::spawn_blocking(move || state::save(&file, &saved)).await;
            if let Ok(Err(error)) = written {
                tracing::warn!(issuer = %self.setup.issuer, %error, "the key set could not be saved");
            }
        })
    }
}
