//! What a policy directory needs around it, made up: every issuer name served by the embedded provider, every upstream
//! name leading to one endpoint (cli.md, "Dev mode"). Verbs that judge policies without a `torwart.yaml` stand them in
//! the same surroundings.

use std::path::Path;
use std::sync::Arc;

use super::persona::{Persona, Realm};
use super::provider;
use super::sketch::{PersonaSketch, Sketch};
use crate::authn::rules::Rules;
use crate::cases;
use crate::config::{self, Algorithm, Audiences, Config, Documents, Endpoint, Issuer, KeySource, Preset, Upstream};
use crate::diagnostic::{Diagnostics, Source};
use crate::document::{self, Environment, Node};
use crate::principal::{Flow, IssuerId};

/// The provider's port where nobody says otherwise: next to the gateway's 8443.
pub const PROVIDER_PORT: u16 = 8444;

/// The name of the one issuer of policies that name none.
pub const ONLY_ISSUER: &str = "dev";

/// A policy directory as it was read, and what `torwart.yaml` says about the names in it.
#[derive(Debug)]
pub struct Ground {
    /// Policy documents.
    pub documents: Vec<Arc<Source>>,
    /// What they and their tests speak of.
    pub sketch: Sketch,
    /// `torwart.yaml`, if there is one that can be used: its issuers and upstreams lend their settings.
    pub written: Written,
}

/// What is taken over from `torwart.yaml`.
#[derive(Debug, Default)]
pub struct Written {
    /// Its issuers. When the file has errors, only names and presets are right.
    pub issuers: Vec<Issuer>,
    /// Its upstreams.
    pub upstreams: Vec<Upstream>,
    /// The file has errors, so nothing but names and presets of issuers was taken over.
    pub in_part: bool,
}

impl Ground {
    /// Reads a policy directory, and the `torwart.yaml` beside it if there is one.
    ///
    /// # Errors
    /// The directory cannot be read, or a persona is wrong.
    pub fn read(policies: &Path, written: Option<&Path>, environment: &dyn Environment) -> Result<Self, Diagnostics> {
        let mut problems = Diagnostics::new();
        let documents = config::documents(policies, Documents::Policies, None, &mut problems);
        let tests = config::documents(policies, Documents::Tests, None, &mut problems);
        problems.append(cases::inspect(&tests));
        let sketch = Sketch::of(&documents, &tests, &mut problems);
        if problems.has_errors() {
            problems.sort();
            return Err(problems);
        }
        let written = written.map(|path| Written::read(path, environment)).unwrap_or_default();
        Ok(Self { documents, sketch, written })
    }

    /// Every issuer that policies, personas or `torwart.yaml` name, at the provider whose origin is given, with the
    /// dev key as its only key.
    pub fn issuers(&self, origin: &str, key_set: &Path) -> Vec<Issuer> {
        let written = self.written.issuers.iter();
        let mut issuers: Vec<Issuer> = written.map(|issuer| stand_in(issuer.clone(), origin, key_set)).collect();
        let mut names: Vec<&str> = self.sketch.issuers.iter().map(String::as_str).collect();
        if names.is_empty() && issuers.is_empty() {
            names.push(ONLY_ISSUER);
        }
        for name in names {
            if issuers.iter().all(|issuer| &*issuer.name != name) {
                issuers.push(stand_in(Issuer::assumed(name, ""), origin, key_set));
            }
        }
        issuers
    }

    /// Every upstream that policies name, behind one endpoint. How its server reads requests and what it wants as Host
    /// is taken over.
    pub fn upstreams(&self, endpoint: &Endpoint) -> Vec<Upstream> {
        let names = self.sketch.upstreams.iter();
        names
            .map(|name| {
                let mut upstream = Upstream::new(name, vec![endpoint.clone()]);
                if let Some(written) = self.written.upstreams.iter().find(|written| *written.name == **name) {
                    upstream.quirks = written.quirks;
                    upstream.host = written.host.clone();
                    upstream.rewrite_location = written.rewrite_location;
                }
                upstream
            })
            .collect()
    }

    /// The issuers with everybody who has an account there, and what is to be said about personas that have none.
    pub fn realms(&self, issuers: Vec<Issuer>) -> (Vec<Realm>, Vec<String>) {
        let mut notes = Vec::new();
        let only = issuers.len() == 1;
        let realms = issuers.into_iter().map(|issuer| {
            let rules = Rules::new(&issuer, IssuerId(0));
            let belongs = |persona: &&PersonaSketch| match &persona.issuer {
                Some(name) => **name == *issuer.name,
                None => only,
            };
            let personas = self.sketch.personas.iter().filter(belongs);
            let personas = personas.map(|sketch| persona(sketch, &rules, &mut notes)).collect();
            Realm { issuer, personas }
        });
        let realms = realms.collect();
        let homeless = self.sketch.personas.iter().filter(|persona| persona.issuer.is_none() && !only);
        notes.extend(homeless.map(|persona| {
            format!("{}: `{}` does not say its `issuer`, and there are several", persona.place, persona.name)
        }));
        (realms, notes)
    }
}

impl Written {
    fn read(path: &Path, environment: &dyn Environment) -> Self {
        let (config, _) = config::load(path, environment);
        if let Some(Config { issuers, upstreams, .. }) = config {
            return Self { issuers, upstreams, in_part: false };
        }
        let mut ignored = Diagnostics::new();
        let node =
            document::read_file(path, None, &mut ignored).and_then(|source| document::parse(&source, &mut ignored));
        let issuers = node.as_ref().and_then(Node::map).map(|map| map.list("issuers")).unwrap_or_default();
        let issuers = issuers.iter().filter_map(Node::map).filter_map(|issuer| {
            let preset = issuer.text("preset").and_then(Preset::named);
            Some(Issuer { assumed: true, ..Issuer::new(issuer.text("name")?, "", preset) })
        });
        Self { issuers: issuers.collect(), upstreams: Vec::new(), in_part: true }
    }
}

/// Gives an issuer without audiences, which no token fits, one that tokens can name.
pub fn admit_audience(issuer: &mut Issuer) {
    if issuer.audiences == Audiences::OneOf(Vec::new()) {
        // Audiences of Auth0's organisations are bare host names.
        let bare = issuer.preset == Some(Preset::Auth0Organizations);
        issuer.audiences = Audiences::OneOf(vec![if bare { "localhost" } else { "https://localhost" }.to_owned()]);
    }
}

/// The issuer as it is on a laptop: same name, same claims, same rules, another URL, another key, and nothing that
/// would have to be asked over the network.
fn stand_in(mut issuer: Issuer, origin: &str, key_set: &Path) -> Issuer {
    issuer.issuer = provider::issuer_url(origin, &issuer.name);
    if issuer.preset == Some(Preset::Auth0Organizations) {
        issuer.issuer.push('/');
    }
    admit_audience(&mut issuer);
    issuer.integration = true;
    issuer.algorithms = vec![Algorithm::Es256];
    issuer.keys = KeySource::File(key_set.to_owned());
    issuer.tls_ca = None;
    issuer.introspection = None;
    // Tokens of the provider here are shown to nobody else.
    if let Some(userinfo) = &mut issuer.userinfo {
        userinfo.endpoint = None;
    }
    issuer.sender_constraint_required = false;
    issuer
}

fn persona(sketch: &PersonaSketch, rules: &Rules, notes: &mut Vec<String>) -> Persona {
    let (client, flow) = match rules.claims_to_principal(sketch.claims.clone()) {
        Ok(principal) => (principal.client, principal.flow),
        Err(fault) => {
            notes.push(format!("{}: no token of `{}` will be accepted: {fault}", sketch.place, sketch.name));
            (None, Flow::Unknown)
        }
    };
    Persona { name: sketch.name.clone(), claims: sketch.claims.clone(), client, flow }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "hosts: [x]\nupstream: crm\nissuers: [shoen, kusy, auth0-organizations]\n";
    const PERSONAS: &str = "version: 1\npersonas:\n  alice: {issuer: kusy, sub: a-1, client_id: app}\n  batch: {issuer: kusy, sub: batch, client_id: batch}\n  wrong: {issuer: kusy, sub: w, scope: 5}\n";

    fn none(_: &str) -> Option<String> {
        None
    }

    fn ground(files: &[(&str, &str)]) -> Ground {
        let directory = tempfile::tempdir().unwrap();
        let policies = directory.path().join("policies");
        std::fs::create_dir(&policies).unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let written = directory.path().join("torwart.yaml");
        Ground::read(&policies, written.exists().then_some(&*written), &none).unwrap()
    }

    fn issuer<'i>(issuers: &'i [Issuer], name: &str) -> &'i Issuer {
        issuers.iter().find(|issuer| &*issuer.name == name).unwrap()
    }

    #[test]
    fn every_issuer_name_is_served_with_the_preset_of_its_name_or_rfc9068() {
        let issuers = ground(&[("policies/a.yaml", POLICY)]).issuers("http://localhost:1", Path::new("keys.json"));
        assert_eq!(issuers.len(), 3);
        assert_eq!(issuer(&issuers, "kusy").preset, Some(Preset::Kusy));
        assert_eq!(issuer(&issuers, "shoen").preset, Some(Preset::Rfc9068));
        assert_eq!(issuer(&issuers, "shoen").issuer, "http://localhost:1/.torwart-dev/shoen");
        let auth0 = issuer(&issuers, "auth0-organizations");
        assert_eq!(auth0.issuer, "http://localhost:1/.torwart-dev/auth0-organizations/");
        assert_eq!(auth0.audiences, Audiences::OneOf(vec!["localhost".to_owned()]));
    }

    #[test]
    fn torwart_yaml_lends_its_settings_but_never_its_urls_and_keys() {
        let written = r#"
version: 1
issuers:
  - name: shoen
    preset: kusy
    issuer: https://auth.example.com
    audiences: [https://api.example.com]
    algorithms: [RS256]
    claims: {permissions: roles}
upstreams:
  crm: {endpoints: ["https://crm.internal"], quirks: {server: tomcat}, host: endpoint}
"#;
        let ground = ground(&[("policies/a.yaml", POLICY), ("torwart.yaml", written)]);
        assert!(!ground.written.in_part);
        let issuers = ground.issuers("http://localhost:1", Path::new("keys.json"));
        let shoen = issuer(&issuers, "shoen");
        assert_eq!((shoen.preset, shoen.claims.permissions.len()), (Some(Preset::Kusy), 1));
        assert_eq!(shoen.audiences, Audiences::OneOf(vec!["https://api.example.com".to_owned()]));
        assert_eq!(shoen.issuer, "http://localhost:1/.torwart-dev/shoen");
        assert_eq!((&shoen.keys, &*shoen.algorithms), (&KeySource::File("keys.json".into()), &[Algorithm::Es256][..]));
        let echo = Endpoint { tls: false, host: "127.0.0.1".to_owned(), port: 1, unix: false };
        let upstream = &ground.upstreams(&echo)[0];
        assert_eq!((&*upstream.name, &*upstream.endpoints), ("crm", &[echo][..]));
        assert_eq!(
            (upstream.quirks, &upstream.host),
            (ground.written.upstreams[0].quirks, &config::UpstreamHost::Endpoint)
        );
    }

    #[test]
    fn a_torwart_yaml_with_errors_still_lends_its_presets() {
        let written = "version: 1\nissuers: [{name: shoen, preset: kusy, issuer: \"${UNSET}\"}]\n";
        let ground = ground(&[("policies/a.yaml", POLICY), ("torwart.yaml", written)]);
        assert!(ground.written.in_part);
        let issuers = ground.issuers("http://localhost:1", Path::new("keys.json"));
        assert_eq!(issuer(&issuers, "shoen").preset, Some(Preset::Kusy));
    }

    #[test]
    fn policies_that_name_no_issuer_have_one() {
        let ground = ground(&[
            ("policies/a.yaml", "hosts: [x]\n"),
            ("policies/a.test.yaml", "version: 1\npersonas: {a: {sub: s}}"),
        ]);
        let issuers = ground.issuers("http://localhost:1", Path::new("keys.json"));
        let (realms, notes) = ground.realms(issuers);
        assert_eq!((realms.len(), realms[0].personas.len(), notes.len()), (1, 1, 0));
    }

    #[test]
    fn personas_are_read_the_way_their_issuers_tokens_are() {
        let ground = ground(&[("policies/a.yaml", POLICY), ("policies/a.test.yaml", PERSONAS)]);
        let (realms, notes) = ground.realms(ground.issuers("http://localhost:1", Path::new("keys.json")));
        let kusy = realms.iter().find(|realm| &*realm.issuer.name == "kusy").unwrap();
        let flow = |name: &str| kusy.persona(name).unwrap().flow;
        assert_eq!((flow("alice"), flow("batch")), (Flow::User, Flow::ClientCredentials));
        assert_eq!(kusy.client_persona("batch").unwrap().name, "batch");
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("a.test.yaml:5:3: no token of `wrong` will be accepted: "), "{notes:?}");
    }
}
