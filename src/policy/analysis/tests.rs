//! What the parts of the analysis answer, each by itself.

mod alike;
mod differences;
mod marks;

mod scenes;
mod texts;

use super::*;
use crate::diagnostic::Source;
use crate::policy::{Ability, IdentityFacts, IssuerFacts, Policies, Surroundings, UpstreamFacts};
use crate::principal::{IssuerId, IssuerIdentity, Principal};
use crate::target::quirks::Quirks;
use std::path::Path;
use std::sync::Arc;

/// Compiled policies with the issuers `one` and `two` and the upstreams `u` and `v`.
struct World {
    policies: Policies,
    issuers: Vec<Arc<IssuerIdentity>>,
    upstreams: Vec<Arc<str>>,
}

impl World {
    fn new(document: &str) -> Self {
        Self::within(document, |_| {})
    }

    /// With other surroundings than usual.
    fn within(document: &str, change: impl FnOnce(&mut Surroundings<'_>)) -> Self {
        let source = Arc::new(Source { path: "p.yaml".into(), text: document.to_owned() });
        let names = [Arc::<str>::from("one"), Arc::from("two")];
        let issuers = names.iter().zip(0..).map(|(name, id)| IssuerFacts {
            id: IssuerId(id),
            name: Arc::clone(name),
            ability: Ability::EVERYTHING,
            permission_scope: None,
            introspects: false,
        });
        let upstreams = [Arc::<str>::from("u"), Arc::from("v")];
        let facts = upstreams.iter().map(|name| UpstreamFacts { name: Arc::clone(name), quirks: Quirks::default() });
        let mut surroundings = Surroundings {
            issuers: issuers.collect(),
            upstreams: facts.collect(),
            identity: IdentityFacts { assertion: Some("https://gate.test".into()), ..IdentityFacts::default() },
            target_bytes: 8192,
            files: &|_: &Path| Ok("secret".to_owned()),
        };
        change(&mut surroundings);
        let (policies, problems) = Policies::compile(&[source], &surroundings);
        let Some(policies) = policies else { panic!("{document}\n{}", problems.render()) };
        let identity = |(name, id)| Arc::new(IssuerIdentity::named(IssuerId(id), Arc::clone(name)));
        let issuers = names.iter().zip(0..).map(identity);
        Self { policies, issuers: issuers.collect(), upstreams: upstreams.to_vec() }
    }

    fn side(&self) -> Side<'_> {
        Side { policies: &self.policies, issuers: &self.issuers, upstreams: &self.upstreams }
    }
}

/// Tokens that say whatever is wanted.
impl Tokens for World {
    fn principal(&self, _: Which, wanted: &Wanted) -> Option<Arc<Principal>> {
        let issuer = self.issuers.iter().find(|issuer| issuer.name == wanted.issuer)?;
        Some(Arc::new(wanted.principal(issuer)))
    }
}

/// A document with these routes.
fn document(routes: &str) -> String {
    format!("version: 1\npolicy: p\nhosts: [api.example.com]\nupstream: u\nissuers: [one]\nroutes:\n{routes}\n")
}
