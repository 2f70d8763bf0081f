//! Files of a Git revision, read by the program `git` in the current directory.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file or directory of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// The revision as it was named.
    pub(super) revision: String,
    /// The path as it was named.
    pub(super) path: String,
    /// Whether it is a directory.
    pub(super) is_directory: bool,
}

impl Object {
    /// What `REV:PATH` names. Nothing when the text has no such form.
    ///
    /// # Errors
    /// What `git` says.
    pub(super) fn named(text: &str) -> Option<Result<Self, String>> {
        let (revision, path) = text.split_once(':')?;
        if revision.is_empty() || revision.starts_with('-') {
            return None;
        }
        let path = path.trim_end_matches('/');
        let kind = git(&["cat-file", "-t", &format!("{revision}:{path}")]);
        Some(kind.map(|kind| Self {
            revision: revision.to_owned(),
            path: path.to_owned(),
            is_directory: String::from_utf8_lossy(&kind).trim() == "tree",
        }))
    }

    /// Another object of the same revision, by its path from the top of the repository.
    ///
    /// # Errors
    /// What `git` says.
    pub(super) fn sibling(&self, path: &str) -> Result<Self, String> {
        Self::named(&format!("{}:{path}", self.revision)).unwrap_or_else(|| Err(format!("there is no `{path}`")))
    }

    /// The text of a file.
    ///
    /// # Errors
    /// What `git` says, or that it is not UTF-8.
    pub(super) fn text(&self) -> Result<String, String> {
        let text = git(&["cat-file", "blob", &self.to_string()])?;
        String::from_utf8(text).map_err(|_| format!("`{self}` is not UTF-8"))
    }

    /// The files below a directory with their paths in it, in order.
    ///
    /// # Errors
    /// What `git` says.
    pub(super) fn files(&self) -> Result<Vec<(PathBuf, Self)>, String> {
        let listed = git(&["ls-tree", "-r", "-z", "--name-only", "--full-tree", &self.to_string()])?;
        let listed = String::from_utf8(listed).map_err(|_| format!("a name in `{self}` is not UTF-8"))?;
        let mut files: Vec<(PathBuf, Self)> = listed
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(|name| {
                let path = if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) };
                (PathBuf::from(name), Self { revision: self.revision.clone(), path, is_directory: false })
            })
            .collect();
        files.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(files)
    }

    /// Where a file of the repository stands on disk.
    ///
    /// # Errors
    /// What `git` says.
    pub(super) fn on_disk(&self) -> Result<PathBuf, String> {
        Ok(top()?.join(&self.path))
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.revision, self.path)
    }
}

/// A path of the disk as one from the top of the repository, if it is in there.
pub(super) fn inside(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(top().ok()?).ok()?;
    inside.to_str().map(str::to_owned)
}

fn top() -> Result<PathBuf, String> {
    let top = git(&["rev-parse", "--show-toplevel"])?;
    Ok(PathBuf::from(String::from_utf8_lossy(&top).trim_end_matches('\n')))
}

/// What `git` answers.
fn git(arguments: &[&str]) -> Result<Vec<u8>, String> {
    let answered =
        Command::new("git").args(arguments).output().map_err(|fault| format!("cannot run `git`: {fault}"))?;
    if answered.status.success() {
        return Ok(answered.stdout);
    }
    let said = String::from_utf8_lossy(&answered.stderr);
    Err(said.trim().trim_start_matches("fatal: ").to_owned())
}
