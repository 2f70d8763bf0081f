//! Which policies and tests a command means.

use std::path::{Path, PathBuf};

use crate::document::Environment;
use crate::trial::{Loaded, Verdict};

/// What to load, and which tests of it to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// `torwart.yaml`.
    config: Option<PathBuf>,
    /// The policy directory, if not the configuration's.
    directory: Option<PathBuf>,
    /// The only test file to run.
    pub file: Option<PathBuf>,
}

/// A policy directory or a test file if one is named, else the configuration's policies, else `policies`. `None`: there
/// is neither a configuration nor a directory.
pub fn choose(named: Option<&Path>, config: Option<PathBuf>) -> Option<Choice> {
    match named {
        Some(file) if file.is_file() => {
            Some(Choice { config, directory: Some(directory_of(file)), file: Some(file.to_owned()) })
        }
        Some(directory) => Some(Choice { config, directory: Some(directory.to_owned()), file: None }),
        None if config.is_some() => Some(Choice { config, directory: None, file: None }),
        None => {
            let usual = Path::new("policies");
            usual.is_dir().then(|| Choice { config: None, directory: Some(usual.to_owned()), file: None })
        }
    }
}

/// The directory whose policies a test file is about: the nearest above it that is called `policies`, else its own.
fn directory_of(file: &Path) -> PathBuf {
    let own = file.parent().filter(|own| !own.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let above = own.ancestors().find(|directory| directory.file_name().is_some_and(|name| name == "policies"));
    above.unwrap_or(own).to_owned()
}

impl Choice {
    /// Loads it.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(&self, environment: &dyn Environment) -> Verdict {
        match (&self.config, &self.directory) {
            (Some(config), None) => Loaded::configuration(config, environment),
            // A part of the configuration's own policies is about all of them.
            (Some(config), Some(directory)) => Loaded::configuration_for(config, directory, environment),
            (None, Some(directory)) => Loaded::directory(directory),
            (None, None) => Loaded::directory(Path::new("policies")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_file_is_about_the_policies_around_it() {
        for (file, directory) in [
            ("policies/crm/a.test.yaml", "policies"),
            ("/etc/policies/a.test.yaml", "/etc/policies"),
            ("crm/a.test.yaml", "crm"),
            ("a.test.yaml", "."),
        ] {
            assert_eq!(directory_of(Path::new(file)), Path::new(directory), "{file}");
        }
    }

    #[test]
    fn without_a_configuration_the_directory_stands_alone() {
        let found = choose(Some(Path::new("elsewhere")), None).unwrap();
        assert_eq!(found, Choice { config: None, directory: Some("elsewhere".into()), file: None });
        let found = choose(None, Some("torwart.yaml".into())).unwrap();
        assert_eq!(found, Choice { config: Some("torwart.yaml".into()), directory: None, file: None });
    }
}
