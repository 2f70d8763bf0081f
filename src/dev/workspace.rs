//! Where dev mode finds and keeps its files: the policies, `torwart.yaml` if there is one, and `certs/`.

use std::path::{Path, PathBuf};

use super::examples;
use super::files::{self, FileError, Readers};
use super::key::{KeyError, SigningKey};
use super::persona::{Persona, Realm};
use super::setup::{Ground, PROVIDER_PORT};
use crate::clock::Timestamp;
use crate::config;
use crate::diagnostic::{Diagnostics, nearest};
use crate::document::Environment;

/// The directory of keys and certificates where nobody names another.
pub const CERTS: &str = "certs";
/// Where the provider was last served, so that `token mint` names the right issuer without a server.
const ORIGIN_FILE: &str = "dev-provider.origin";
/// The dev key's public half, from which the gateway knows it.
const KEY_SET_FILE: &str = "dev-jwks.json";
/// Where the built-in examples are written, so that they can be read and copied.
const EXAMPLES: &str = "dev-examples";

/// The files of one developer.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Policies and their tests.
    pub policies: PathBuf,
    /// The policies are the built-in examples: there is no directory of one's own.
    pub built_in: bool,
    /// Keys and certificates.
    pub certs: PathBuf,
    /// `torwart.yaml`, if there is one.
    pub written: Option<PathBuf>,
}

/// Why no token was minted.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The policies or their tests cannot be used.
    #[error("{}", .0.render())]
    Policies(Diagnostics),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Nobody has that name.
    #[error("no persona is called `{name}`{}; personas: {known}", hint(.nearest.as_deref()))]
    Nobody {
        /// The name asked for.
        name: String,
        /// What was probably meant.
        nearest: Option<String>,
        /// All names.
        known: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

impl Workspace {
    /// Finds the policies: the directory named, else the one that `torwart.yaml` names, else `policies/`; without any
    /// of them the built-in examples, written to `certs/dev-examples`.
    ///
    /// # Errors
    /// The examples cannot be written.
    pub fn open(
        named: Option<&Path>,
        written: Option<PathBuf>,
        certs: &Path,
        environment: &dyn Environment,
    ) -> Result<Self, FileError> {
        let configured = || {
            let config = config::load(written.as_deref()?, environment).0?;
            let directory = std::env::current_dir().unwrap_or_default();
            Some(config.policies.strip_prefix(&directory).map_or(config.policies.clone(), Path::to_owned))
        };
        let policies = named.map(Path::to_owned).or_else(configured).unwrap_or_else(|| PathBuf::from("policies"));
        if named.is_some() || policies.exists() {
            return Ok(Self { policies, built_in: false, certs: certs.to_owned(), written });
        }
        let policies = certs.join(EXAMPLES);
        files::prepare(certs)?;
        files::prepare(&policies)?;
        for (name, text) in examples::FILES {
            files::write(&policies.join(name), text, Readers::All)?;
        }
        Ok(Self { policies, built_in: true, certs: certs.to_owned(), written })
    }

    /// Reads the policies and what is around them.
    ///
    /// # Errors
    /// See [`Ground::read`].
    pub fn ground(&self, environment: &dyn Environment) -> Result<Ground, Diagnostics> {
        Ground::read(&self.policies, self.written.as_deref(), environment)
    }

    /// The file that the gateway reads the dev key's public half from.
    pub fn key_set(&self) -> PathBuf {
        self.certs.join(KEY_SET_FILE)
    }

    /// The signing key, with its public half where the gateway finds it.
    ///
    /// # Errors
    /// The directory cannot be written, or no key can be made.
    pub fn signing_key(&self) -> Result<SigningKey, KeyError> {
        let key = SigningKey::ensure(&self.certs)?;
        let text = format!("{:#}\n", key.key_set());
        if files::read(&self.key_set(), Readers::All)?.as_deref() != Some(text.as_str()) {
            files::write(&self.key_set(), &text, Readers::All)?;
        }
        Ok(key)
    }

    /// Remembers where the provider is served.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn remember_origin(&self, origin: &str) -> Result<(), FileError> {
        files::write(&self.certs.join(ORIGIN_FILE), &format!("{origin}\n"), Readers::All)
    }

    /// Where the provider was last served, or would be.
    ///
    /// # Errors
    /// The file is there but cannot be read.
    pub fn origin(&self) -> Result<String, FileError> {
        let remembered = files::read(&self.certs.join(ORIGIN_FILE), Readers::All)?;
        Ok(remembered.map_or_else(|| default_origin(PROVIDER_PORT), |text| text.trim().to_owned()))
    }

    /// The token that the provider would issue to a persona, valid for `seconds`.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn mint(
        &self,
        name: &str,
        seconds: i64,
        now: Timestamp,
        environment: &dyn Environment,
    ) -> Result<String, MintError> {
        let ground = self.ground(environment).map_err(MintError::Policies)?;
        let (realms, _) = ground.realms(ground.issuers(&self.origin()?, &self.key_set()));
        let Some((realm, persona)) = find(&realms, name) else {
            let known: Vec<&str> =
                realms.iter().flat_map(|realm| realm.personas.iter().map(|persona| persona.name.as_str())).collect();
            return Err(MintError::Nobody {
                name: name.to_owned(),
                nearest: nearest(name, known.iter().copied()).map(str::to_owned),
                known: if known.is_empty() { "none".to_owned() } else { format!("`{}`", known.join("`, `")) },
            });
        };
        let claims = realm.access_claims(persona, now, seconds);
        Ok(self.signing_key()?.sign(realm.token_type(), &claims)?)
    }
}

/// The provider's origin at a port.
pub fn default_origin(port: u16) -> String {
    format!("http://localhost:{port}")
}

fn find<'r>(realms: &'r [Realm], name: &str) -> Option<(&'r Realm, &'r Persona)> {
    realms.iter().find_map(|realm| Some((realm, realm.persona(name)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    fn workspace(directory: &Path) -> Workspace {
        std::fs::create_dir_all(directory.join("policies")).unwrap();
        let personas = "version: 1\npersonas: {alice: {issuer: kusy, sub: a-1, client_id: app}}\n";
        std::fs::write(directory.join("policies/a.test.yaml"), personas).unwrap();
        Workspace::open(Some(&directory.join("policies")), None, &directory.join("certs"), &none).unwrap()
    }

    #[test]
    fn a_token_is_minted_without_a_server() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = workspace(directory.path());
        let token = workspace.mint("alice", 60, Timestamp(1_790_000_000), &none).unwrap();
        let claims = workspace.signing_key().unwrap().open(&token).unwrap();
        assert_eq!(claims["iss"], "http://localhost:8444/.torwart-dev/kusy");
        assert_eq!((claims["sub"].as_str(), claims["exp"].as_i64()), (Some("a-1"), Some(1_790_000_060)));
    }

    #[test]
    fn the_issuer_is_the_one_that_was_last_served() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = workspace(directory.path());
        workspace.signing_key().unwrap();
        workspace.remember_origin("http://localhost:9001").unwrap();
        let token = workspace.mint("alice", 60, Timestamp(1_790_000_000), &none).unwrap();
        let claims = workspace.signing_key().unwrap().open(&token).unwrap();
        assert_eq!(claims["iss"], "http://localhost:9001/.torwart-dev/kusy");
    }

    #[test]
    fn a_misspelt_persona_is_told_who_was_meant() {
        let directory = tempfile::tempdir().unwrap();
        let error = workspace(directory.path()).mint("alcie", 60, Timestamp(0), &none).unwrap_err().to_string();
        assert_eq!(error, "no persona is called `alcie` (did you mean `alice`?); personas: `alice`");
    }

    #[test]
    fn without_policies_there_are_examples_to_read() {
        let directory = tempfile::tempdir().unwrap();
        let written = directory.path().join("torwart.yaml");
        std::fs::write(&written, "version: 1\npolicies: nowhere\n").unwrap();
        let workspace = Workspace::open(None, Some(written), &directory.path().join("certs"), &none).unwrap();
        assert!(workspace.built_in);
        let ground = workspace.ground(&none).unwrap();
        assert!(ground.documents.len() >= 3 && ground.sketch.personas.len() >= 3);
    }
}
