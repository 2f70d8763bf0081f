//! Loading: configuration and policies from files, as a start would read them, but for what only serving needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Loaded;
use crate::authn::rules::Rules;
use crate::cases;
use crate::config::{self, Config, Documents, FileKind, Issuer, Upstream};
use crate::dev::setup::{ONLY_ISSUER, admit_audience};
use crate::dev::sketch::{PersonaSketch, Sketch};
use crate::diagnostic::{Diagnostics, Source, nearest};
use crate::document::{Environment, Node};
use crate::policy::Policies;
use crate::principal::IssuerId;
use crate::snapshot::surroundings;

/// What loading comes to: warnings beside what was loaded, or everything that is wrong.
pub type Verdict = Result<(Loaded, Diagnostics), Diagnostics>;

impl Loaded {
    /// The configuration at `path` and what it names.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn configuration(path: &Path, environment: &dyn Environment) -> Verdict {
        let (config, problems) = config::load(path, environment);
        let Some(config) = config else { return Err(problems) };
        Self::read(config, problems)
    }

    /// The configuration at `path` with the policies and tests of another directory.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn with_policies(path: &Path, directory: &Path, environment: &dyn Environment) -> Verdict {
        let (config, problems) = config::load(path, environment);
        let Some(mut config) = config else { return Err(problems) };
        directory.clone_into(&mut config.policies);
        config.files.retain(|file| file.kind != FileKind::Policies);
        Self::read(config, problems)
    }

    /// The configuration at `path` for one directory: with all its own policies if the directory is one of theirs, else
    /// with the policies of that directory.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn configuration_for(path: &Path, directory: &Path, environment: &dyn Environment) -> Verdict {
        let whole = |path: &Path| path.canonicalize().ok();
        let own = config::load(path, environment).0.and_then(|config| whole(&config.policies));
        match (own, whole(directory)) {
            (Some(own), Some(asked)) if asked.starts_with(&own) => Self::configuration(path, environment),
            _ => Self::with_policies(path, directory, environment),
        }
    }

    /// A policy directory alone: issuers and upstreams are what its documents name, as in dev mode.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn directory(path: &Path) -> Verdict {
        let mut problems = Diagnostics::new();
        let (documents, tests) = sources(path, None, &mut problems);
        if problems.has_errors() {
            return Err(problems);
        }
        let mut config = Config::empty(PathBuf::new());
        path.clone_into(&mut config.policies);
        let config = sketched(config, &documents, &tests);
        finish(Self::of(config, &documents, &tests), problems)
    }

    /// A configuration with policies and tests whose texts come from anywhere.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn of(config: Config, documents: &[Arc<Source>], tests: &[Arc<Source>]) -> Verdict {
        let mut problems = cases::inspect(tests);
        let sketch = Sketch::of(&[], tests, &mut problems);
        let rules = rules(&config);
        for persona in &sketch.personas {
            check_issuer(persona, &rules, &mut problems);
        }
        let (policies, found) = Policies::compile(documents, &surroundings(&config, &|path| Ok(stand_in(path))));
        problems.append(found);
        problems.sort();
        match policies.filter(|_| !problems.has_errors()) {
            Some(policies) => {
                let (documents, tests) = (documents.to_vec(), tests.to_vec());
                Ok((Self { config, policies, rules, personas: sketch.personas, documents, tests }, problems))
            }
            None => Err(problems),
        }
    }

    /// Other documents compiled in the same surroundings; `None` beside an error.
    pub fn compiled(&self, documents: &[(&Arc<Source>, &Node)]) -> Option<Policies> {
        Policies::compile_parsed(documents, &surroundings(&self.config, &|path| Ok(stand_in(path)))).0
    }

    /// The same configuration with other documents, nobody's personas and no tests; `None` beside an error.
    #[must_use]
    pub fn with_documents(&self, documents: &[(&Arc<Source>, &Node)]) -> Option<Self> {
        Some(Self {
            policies: self.compiled(documents)?,
            rules: rules(&self.config),
            config: self.config.clone(),
            personas: Vec::new(),
            documents: documents.iter().map(|(source, _)| Arc::clone(source)).collect(),
            tests: Vec::new(),
        })
    }

    fn read(config: Config, mut problems: Diagnostics) -> Verdict {
        let (documents, tests) = sources(&config.policies, Some(&config), &mut problems);
        if problems.has_errors() {
            return Err(problems);
        }
        finish(Self::of(config, &documents, &tests), problems)
    }
}

/// What a secret file holds decides nothing, and whoever tries requests need not be able to read it.
fn stand_in(path: &Path) -> String {
    format!("content of {}", path.display())
}

/// The configuration with every issuer and upstream that the policies name: those that it does not have as in dev mode.
pub fn sketched(mut config: Config, documents: &[Arc<Source>], tests: &[Arc<Source>]) -> Config {
    let mut sketch = Sketch::of(documents, tests, &mut Diagnostics::new());
    if sketch.issuers.is_empty() && config.issuers.is_empty() {
        sketch.issuers.push(ONLY_ISSUER.to_owned());
    }
    for name in sketch.issuers {
        if !config.issuers.iter().any(|issuer| *issuer.name == *name) {
            let mut issuer = Issuer::assumed(&name, &format!("https://{name}.invalid"));
            admit_audience(&mut issuer);
            config.issuers.push(issuer);
        }
    }
    for name in sketch.upstreams {
        if !config.upstreams.iter().any(|upstream| *upstream.name == *name) {
            config.upstreams.push(Upstream::new(&name, Vec::new()));
        }
    }
    config.assertion_issuer.get_or_insert_with(|| "https://gateway.invalid".to_owned());
    config
}

fn finish(verdict: Verdict, mut before: Diagnostics) -> Verdict {
    match verdict {
        Ok((loaded, found)) => {
            before.append(found);
            Ok((loaded, before))
        }
        Err(found) => {
            before.append(found);
            Err(before)
        }
    }
}

/// Policies and tests of a directory. `config`: what names it.
fn sources(
    directory: &Path,
    config: Option<&Config>,
    problems: &mut Diagnostics,
) -> (Vec<Arc<Source>>, Vec<Arc<Source>>) {
    let files = config.into_iter().flat_map(|config| &config.files);
    let at = files.into_iter().find(|file| file.kind == FileKind::Policies).map(|file| &file.place);
    let documents = config::documents(directory, Documents::Policies, at, problems);
    let before = problems.has_errors();
    let mut found = Diagnostics::new();
    let tests = config::documents(directory, Documents::Tests, at, &mut found);
    if !before {
        problems.append(found);
    }
    (documents, tests)
}

fn rules(config: &Config) -> Vec<Rules> {
    config.issuers.iter().zip(0..).map(|(issuer, position)| Rules::new(issuer, IssuerId(position))).collect()
}

/// A persona without an issuer has the only one.
fn check_issuer(persona: &PersonaSketch, rules: &[Rules], problems: &mut Diagnostics) {
    let names = || rules.iter().map(|rules| &*rules.identity().name);
    let (message, help) = match &persona.issuer {
        None if rules.len() == 1 => return,
        None => (format!("`{}` does not say whose tokens it has", persona.name), "add `issuer`, the name".to_owned()),
        Some(name) if names().any(|known| known == name) => return,
        Some(name) => {
            let help = nearest(name, names())
                .map_or_else(|| "configure it under `issuers`".to_owned(), |near| format!("did you mean `{near}`?"));
            (format!("there is no issuer `{name}`"), help)
        }
    };
    problems.error(persona.place.clone(), message).help(help);
}
