//! Last good key sets on disk, so that they survive a restart while their issuer is down (`state.directory`).

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// A key set as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// The issuer's URL.
    pub issuer: String,
    /// What the configuration said about where its keys are.
    pub origin: String,
    /// When it was fetched.
    pub fetched_at: i64,
    /// The text of the key set.
    pub keys: String,
}

impl Saved {
    /// When it was fetched.
    pub fn time(&self) -> Timestamp {
        Timestamp(self.fetched_at)
    }
}

/// Where the key set of an issuer is saved.
pub fn file(directory: &Path, issuer: &str, origin: &str) -> PathBuf {
    let named = digest(&SHA256, format!("{issuer}\n{origin}").as_bytes());
    let name = named.as_ref().iter().take(16).fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    });
    directory.join("keys").join(format!("{name}.json"))
}

/// The key set saved in `file` for this issuer and origin; `None` when there is none or it is not readable as such.
pub fn load(file: &Path, issuer: &str, origin: &str) -> Option<Saved> {
    let text = fs::read(file).ok()?;
    let saved: Saved = serde_json::from_slice(&text).ok()?;
    (saved.issuer == issuer && saved.origin == origin).then_some(saved)
}

/// Saves a key set whole or not at all.
///
/// # Errors
/// Whatever the file system says.
pub fn save(file: &Path, saved: &Saved) -> io::Result<()> {
    crate::state::write(file, &serde_json::to_vec(saved)?, crate::state::PRIVATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        let text = r#"{"keys":[]}"#.to_owned();
        Saved { issuer: "https://i".to_owned(), origin: "discovery".to_owned(), fetched_at: 17, keys: text }
    }

    #[test]
    fn what_was_saved_is_loaded_for_the_same_issuer_and_origin_only() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(directory.path(), "https://i", "discovery");
        assert_eq!(load(&file, "https://i", "discovery"), None);
        save(&file, &saved()).unwrap();
        save(&file, &saved()).unwrap();
        assert_eq!(load(&file, "https://i", "discovery"), Some(saved()));
        assert_eq!(load(&file, "https://j", "discovery"), None);
        assert_eq!(load(&file, "https://i", "https://i/jwks"), None);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(directory.path(), "https://i", "discovery");
        save(&file, &saved()).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        for damaged in [text.get(..text.len() / 2).unwrap(), "", "[]", &text.replace("fetched_at", "fetched")] {
            fs::write(&file, damaged).unwrap();
            assert_eq!(load(&file, "https://i", "discovery"), None, "{damaged}");
        }
    }

    #[test]
    fn two_issuers_never_share_a_file() {
        let directory = Path::new("/state");
        assert_ne!(file(directory, "https://i", "discovery"), file(directory, "https://j", "discovery"));
        assert_ne!(file(directory, "https://i", "a"), file(directory, "https://i", "b"));
    }
}
