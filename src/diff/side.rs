//! One side of a comparison: what its argument names, loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::DiffError;
use super::git::{self, Object};
use crate::config::{self, Config};
use crate::diagnostic::{Diagnostics, Source};
use crate::document::Environment;
use crate::trial::{Loaded, sketched};

/// Documents and tests.
type Sources = (Vec<Arc<Source>>, Vec<Arc<Source>>);

/// Loads a side. What is on disk comes before a revision of the same spelling.
pub(super) fn load(named: &str, current: Option<&Path>, environment: &dyn Environment) -> Result<Loaded, DiffError> {
    let path = Path::new(named);
    let verdict = if path.is_dir() {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        match current {
            Some(config) => Loaded::with_policies(config, &whole, environment),
            None => Loaded::directory(&whole),
        }
    } else if path.exists() {
        Loaded::configuration(path, environment)
    } else {
        match Object::named(named) {
            Some(object) => of_revision(&object.map_err(|why| unreadable(named, &why))?, current, environment)
                .map_err(|fault| fault.named(named))?,
            None => return Err(unreadable(named, "there is no such file or directory")),
        }
    };
    verdict.map(|(loaded, _)| loaded).map_err(|problems| DiffError::Invalid(named.to_owned(), problems))
}

fn unreadable(named: &str, why: &str) -> DiffError {
    DiffError::Unreadable(format!("cannot read `{named}`: {why}"))
}

/// Why a revision cannot be loaded.
enum Trouble {
    Git(String),
    Invalid(Diagnostics),
}

impl Trouble {
    fn named(self, named: &str) -> DiffError {
        match self {
            Self::Git(why) => unreadable(named, &why),
            Self::Invalid(problems) => DiffError::Invalid(named.to_owned(), problems),
        }
    }
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Git(why)
    }
}

fn of_revision(
    object: &Object,
    current: Option<&Path>,
    environment: &dyn Environment,
) -> Result<Result<(Loaded, Diagnostics), Diagnostics>, Trouble> {
    if object.is_directory {
        let (documents, tests) = sources(object)?;
        let config = match current {
            Some(path) => valid(config::load(path, environment))?,
            None => sketched(Config::empty(PathBuf::new()), &documents, &tests),
        };
        return Ok(Loaded::of(config, &documents, &tests));
    }
    let source = Arc::new(Source { path: object.to_string().into(), text: object.text()? });
    let place = object.on_disk()?;
    let base = place.parent().unwrap_or(Path::new("/"));
    let config = valid(config::read(&source, base, environment))?;
    // Policies outside of the repository have no revision: they are what they are.
    let (documents, tests) = match git::inside(&config.policies) {
        Some(path) => sources(&object.sibling(&path)?)?,
        None => {
            return Err(Trouble::Git(format!(
                "its policies are outside of the repository, in `{}`",
                config.policies.display()
            )));
        }
    };
    Ok(Loaded::of(config, &documents, &tests))
}

fn valid((config, problems): (Option<Config>, Diagnostics)) -> Result<Config, Trouble> {
    config.ok_or(Trouble::Invalid(problems))
}

/// Policies and tests of a directory in a revision, as they are told apart on disk.
fn sources(directory: &Object) -> Result<Sources, Trouble> {
    let (mut documents, mut tests) = (Vec::new(), Vec::new());
    for (name, file) in directory.files()? {
        let hidden = name.iter().any(|part| part.to_str().is_some_and(|part| part.starts_with('.')));
        let Some(kind) = name.file_name().and_then(|name| config::Documents::of(name.to_str()?)) else { continue };
        if hidden {
            continue;
        }
        let source = Arc::new(Source { path: file.to_string().into(), text: file.text()? });
        match kind {
            config::Documents::Policies => documents.push(source),
            config::Documents::Tests => tests.push(source),
        }
    }
    Ok((documents, tests))
}
