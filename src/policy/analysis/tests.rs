//! What the parts of the analysis answer, each by itself.

mod alike;
mod differences;
mod marks;
mod scenes;
mod texts;

use super::*;
use crate::diagnostic::Source;
use crate::policy::tests::surroundings;
use crate::policy::{IdentityFacts, IssuerFacts, Policies, Surroundings};
use crate::principal::{IssuerIdentity, Principal};
use crate::target::quirks::Quirks;
use std::path::Path;
use std::sync::Arc;

/// Compiled policies with the issuers `one` and `two` and the upstreams `u` and `v`.
pub(super) struct World {
    pub(super) policies: Policies,
    pub(super) issuers: Vec<Arc<IssuerIdentity>>,
    upstreams: Vec<Arc<str>>,
}

impl World {
    pub(super) fn new(document: &str) -> Self {
        Self::within(document, |_| {})
    }

    /// With other surroundings than usual.
    pub(super) fn within(document: &str, change: impl FnOnce(&mut Surroundings<'_>)) -> Self {
        let source = Arc::new(Source { path: "p.yaml".into(), text: document.to_owned() });
        let usual = surroundings(&["one", "two"], &[("u", Quirks::default()), ("v", Quirks::default())]);
        let identity = |facts: &IssuerFacts| Arc::new(IssuerIdentity::named(facts.id, Arc::clone(&facts.name)));
        let issuers = usual.issuers.iter().map(identity).collect();
        let upstreams = usual.upstreams.iter().map(|facts| Arc::clone(&facts.name)).collect();
        let mut surroundings = Surroundings {
            identity: IdentityFacts { assertion: Some("https://gate.test".into()), ..IdentityFacts::default() },
            files: &|_: &Path| Ok("secret".to_owned()),
            ..usual
        };
        change(&mut surroundings);
        let (policies, problems) = Policies::compile(&[source], &surroundings);
        let Some(policies) = policies else { panic!("{document}\n{}", problems.render()) };
        Self { policies, issuers, upstreams }
    }

    pub(super) fn side(&self) -> Side<'_> {
        Side { policies: &self.policies, issuers: &self.issuers, upstreams: &self.upstreams }
    }
}

/// Tokens that say whatever is wanted.
impl Tokens for World {
    fn principal(&self, _: Which, wanted: &Wanted) -> Option<Arc<Principal>> {
        let issuer = self.issuers.iter().find(|issuer| issuer.name == wanted.issuer)?;
        Some(Arc::new(wanted.principal(issuer)))
    }

    fn subject_forms(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Numbers without a pattern that anybody could see (xorshift64*).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % sides
    }
}

/// A document with these routes.
pub(super) fn document(routes: &str) -> String {
    format!("version: 1\npolicy: p\nhosts: [api.example.com]\nupstream: u\nissuers: [one]\nroutes:\n{routes}\n")
}

/// What is sent of a plain request.
pub(super) fn effect() -> Effect {
    Effect {
        upstream: "u".to_owned(),
        target: "/a".to_owned(),
        headers: vec![("x-a".to_owned(), "1".to_owned())],
        removed: vec!["x-b".to_owned()],
        authorization: "strip",
        strips_method_override: true,
        timeout: None,
        max_body: None,
        limit: None,
        cors: None,
    }
}
