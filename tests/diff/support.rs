//! Policies in a small world, and what `compare` says of two of them.

use std::sync::Arc;

use torwart::diagnostic::Source;
use torwart::policy::analysis::{Difference, Side, Tokens, Wanted, Which, compare};
use torwart::policy::{Ability, IdentityFacts, IssuerFacts, Policies, Surroundings, UpstreamFacts};
use torwart::principal::{IssuerId, IssuerIdentity, Principal};
use torwart::target::quirks::Quirks;

/// Compiled policies with the issuers `one` and `two` and the upstreams `u` and `v`.
pub(crate) struct World {
    pub(crate) policies: Policies,
    pub(crate) issuers: Vec<Arc<IssuerIdentity>>,
    pub(crate) upstreams: Vec<Arc<str>>,
}

impl World {
    pub(crate) fn new(document: &str) -> Self {
        Self::of(&[document], Quirks::default())
    }

    /// Several documents, and how both upstreams read paths.
    pub(crate) fn of(documents: &[&str], quirks: Quirks) -> Self {
        let source = |text: &&str| Arc::new(Source { path: "p.yaml".into(), text: (*text).to_owned() });
        let sources: Vec<_> = documents.iter().map(source).collect();
        let names = [Arc::<str>::from("one"), Arc::from("two")];
        let issuers = names.iter().zip(0..).map(|(name, id)| IssuerFacts {
            id: IssuerId(id),
            name: Arc::clone(name),
            ability: Ability::EVERYTHING,
            permission_scope: None,
            introspects: false,
        });
        let upstreams = [Arc::<str>::from("u"), Arc::from("v")];
        let facts = upstreams.iter().map(|name| UpstreamFacts { name: Arc::clone(name), quirks });
        let surroundings = Surroundings {
            issuers: issuers.collect(),
            upstreams: facts.collect(),
            identity: IdentityFacts::default(),
            target_bytes: 8192,
            files: &|_| Ok(String::new()),
        };
        let (policies, problems) = Policies::compile(&sources, &surroundings);
        let Some(policies) = policies else { panic!("{documents:?}\n{}", problems.render()) };
        let identity = |(name, id)| Arc::new(IssuerIdentity::named(IssuerId(id), Arc::clone(name)));
        let issuers = names.iter().zip(0..).map(identity);
        Self { policies, issuers: issuers.collect(), upstreams: upstreams.to_vec() }
    }

    pub(crate) fn side(&self) -> Side<'_> {
        Side { policies: &self.policies, issuers: &self.issuers, upstreams: &self.upstreams }
    }
}

/// Tokens that say whatever is wanted.
pub(crate) struct Any<'w>(pub(crate) &'w World);

impl Tokens for Any<'_> {
    fn principal(&self, _: Which, wanted: &Wanted) -> Option<Arc<Principal>> {
        let issuer = self.0.issuers.iter().find(|issuer| issuer.name == wanted.issuer)?;
        Some(Arc::new(wanted.principal(issuer)))
    }

    fn subject_forms(&self) -> Vec<String> {
        Vec::new()
    }
}

pub(crate) fn differences(old: &str, new: &str) -> Vec<Difference> {
    let (old, new) = (World::new(old), World::new(new));
    compare(&old.side(), &new.side(), &Any(&old))
}

/// The first difference, which there must be.
pub(crate) fn difference(old: &str, new: &str) -> Difference {
    let mut found = differences(old, new);
    assert!(!found.is_empty(), "there is a difference between\n{old}and\n{new}");
    found.remove(0)
}
