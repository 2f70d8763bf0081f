//! Which files there are: where `torwart.yaml` is found, and which documents a policy directory holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Diagnostics, Place, Source};
use crate::document::{Environment, read_file};

/// How deep policy directories may nest: deeper is a loop of links.
const DEPTH: usize = 16;

/// The configuration file: what the command line says, else `TORWART_CONFIG`, else `./torwart.yaml`, else
/// `/etc/torwart/torwart.yaml`. A file that was named is used even when it does not exist; the others must.
pub fn locate(named: Option<&Path>, environment: &dyn Environment) -> Option<PathBuf> {
    if let Some(path) = named {
        return Some(path.to_owned());
    }
    if let Some(path) = environment.variable("TORWART_CONFIG").filter(|path| !path.is_empty()) {
        return Some(PathBuf::from(path));
    }
    ["torwart.yaml", "/etc/torwart/torwart.yaml"].map(PathBuf::from).into_iter().find(|path| path.exists())
}

/// What a policy directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Documents {
    /// `*.yaml` and `*.yml` that are no tests.
    Policies,
    /// `*.test.yaml` and `*.test.yml`.
    Tests,
}

impl Documents {
    /// What a file of this name is, if it is anything.
    pub fn of(name: &str) -> Option<Self> {
        kind(name)
    }
}

/// Reads the documents of a policy directory and its sub-directories, in the order of their paths. Names that begin
/// with a dot are skipped: mounted `ConfigMap`s hold every file twice. `at`: the place that names the directory.
pub fn documents(
    directory: &Path,
    wanted: Documents,
    at: Option<&Place>,
    problems: &mut Diagnostics,
) -> Vec<Arc<Source>> {
    let mut paths = Vec::new();
    if let Err(fault) = collect(directory, wanted, DEPTH, &mut paths) {
        let message = match fault.kind() {
            std::io::ErrorKind::NotFound => format!("the policy directory `{}` does not exist", directory.display()),
            _ => format!("the policy directory `{}` cannot be read: {fault}", directory.display()),
        };
        match at {
            Some(place) => problems.error(place.clone(), message),
            None => problems.general(message),
        };
        return Vec::new();
    }
    paths.sort();
    paths.iter().filter_map(|path| read_file(path, None, problems)).collect()
}

fn collect(directory: &Path, wanted: Documents, depth: usize, paths: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if depth == 0 {
        return Err(std::io::Error::other("directories nest too deep"));
    }
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(std::io::Error::other(format!("the name of `{}` is not UTF-8", entry.path().display())));
        };
        if name.starts_with('.') {
            continue;
        }
        if entry.path().is_dir() {
            collect(&entry.path(), wanted, depth - 1, paths)?;
        } else if kind(name) == Some(wanted) {
            paths.push(entry.path());
        }
    }
    Ok(())
}

fn kind(name: &str) -> Option<Documents> {
    let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"))?;
    Some(if stem.strip_suffix(".test").is_some() { Documents::Tests } else { Documents::Policies })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_comes_before_the_environment() {
        let environment = |name: &str| (name == "TORWART_CONFIG").then(|| "from-env.yaml".to_owned());
        assert_eq!(locate(Some(Path::new("named.yaml")), &environment), Some("named.yaml".into()));
        assert_eq!(locate(None, &environment), Some("from-env.yaml".into()));
    }

    #[test]
    fn hidden_names_and_tests_are_no_policies() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::create_dir_all(root.join("..data")).unwrap();
        for name in ["b.yaml", "a.yml", "a.test.yaml", "sub/c.yaml", "..data/b.yaml", ".hidden.yaml", "notes.txt"] {
            std::fs::write(root.join(name), "version: 1\n").unwrap();
        }
        let names = |wanted| {
            let mut problems = Diagnostics::new();
            let found = documents(root, wanted, None, &mut problems);
            assert!(problems.is_empty());
            found.iter().map(|source| source.path.strip_prefix(root).unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(Documents::Policies), [Path::new("a.yml"), Path::new("b.yaml"), Path::new("sub/c.yaml")]);
        assert_eq!(names(Documents::Tests), [Path::new("a.test.yaml")]);
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let mut problems = Diagnostics::new();
        assert!(documents(Path::new("/nowhere/at/all"), Documents::Policies, None, &mut problems).is_empty());
        assert!(problems.render().contains("does not exist"));
    }
}
