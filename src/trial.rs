//! Requests tried without a network: everything that decides is loaded from files, and a request goes the way that the
//! gateway's data path gives it, through the same functions. What `test`, `explain`, `diff` and `replay` stand on.
//!
//! What only a connection or a server can tell is left out: how the message is framed, keys and signatures, whether the
//! upstream answers.

mod attempt;
mod load;
mod request;
mod token;

use std::sync::Arc;

use crate::authn::Fault;
use crate::authn::rules::Rules;
use crate::config::Config;
use crate::dev::sketch::PersonaSketch;
use crate::diagnostic::Source;
use crate::policy::Policies;
use crate::principal::Principal;

pub use self::attempt::{Attempt, Outcome};
pub use self::load::{Verdict, sketched};
pub use self::request::{MOMENT, Request, RequestError};

/// Everything that decides, loaded and free of errors.
#[derive(Debug)]
pub struct Loaded {
    /// `torwart.yaml`, or what a policy directory needs in its place.
    pub config: Config,
    /// The compiled policies.
    pub policies: Policies,
    /// What the tokens of every issuer must be, in the order of the configuration.
    pub rules: Vec<Rules>,
    /// Who asks in policy tests. Each has an issuer of the configuration.
    pub personas: Vec<PersonaSketch>,
    /// The policy documents.
    pub documents: Vec<Arc<Source>>,
    /// The test files.
    pub tests: Vec<Arc<Source>>,
}

/// What stands behind a request's bearer token. Signatures are taken for granted.
#[derive(Debug, Clone)]
pub enum Bearer {
    /// There is no token.
    Nobody,
    /// A token of this principal. Whether it is in force and of an issuer that counts is asked with the request.
    Principal(Arc<Principal>),
    /// A token that is not accepted, wherever it is shown.
    Refused(Fault),
}

impl Loaded {
    /// The rules of the issuer of this name.
    pub fn issuer(&self, name: &str) -> Option<&Rules> {
        self.rules.iter().find(|rules| *rules.identity().name == *name)
    }

    /// The persona of this name.
    pub fn persona(&self, name: &str) -> Option<&PersonaSketch> {
        self.personas.iter().find(|persona| persona.name == name)
    }
}

#[cfg(test)]
mod tests;
