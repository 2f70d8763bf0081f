//! The directory that dev mode keeps its keys and certificates in: private files readable by their owner only,
//! every file written whole or not at all, nothing of it ever committed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::state;

/// A file of the directory could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} `{}`: {source}", path.display())]
pub struct FileError {
    /// What was tried.
    pub verb: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl FileError {
    fn new(verb: &'static str, path: &Path, source: io::Error) -> Self {
        Self { verb, path: path.to_owned(), source }
    }
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its owner only: mode 0600.
    Owner,
    /// Everybody who may read the directory: mode 0644.
    All,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => state::PRIVATE,
            Self::All => 0o644,
        }
    }
}

/// Makes the directory and, unless there is one, a `.gitignore` in it that names every file.
///
/// # Errors
/// The directory cannot be made or written.
pub fn prepare(directory: &Path) -> Result<(), FileError> {
    fs::create_dir_all(directory).map_err(|error| FileError::new("create", directory, error))?;
    let ignore = directory.join(".gitignore");
    if !ignore.exists() {
        write(&ignore, "# Keys and certificates made by `torwart dev`: never commit them.\n*\n", Readers::All)?;
    }
    Ok(())
}

/// Writes the whole file under another name first, so that a reader sees the old text or the new one.
///
/// # Errors
/// The directory cannot be written.
pub fn write(path: &Path, text: &str, readers: Readers) -> Result<(), FileError> {
    state::write(path, text.as_bytes(), readers.mode()).map_err(|error| FileError::new("write", path, error))
}

/// The file's text; `None` when there is none. A private file that others could read is closed to them first.
///
/// # Errors
/// The file is there but cannot be read, or its mode cannot be set.
pub fn read(path: &Path, readers: Readers) -> Result<Option<String>, FileError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::new("read", path, error)),
    };
    if readers == Readers::Owner {
        tighten(path).map_err(|error| FileError::new("set the mode of", path, error))?;
    }
    Ok(Some(text))
}

#[cfg(unix)]
fn tighten(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let permissions = fs::metadata(path)?.permissions();
    let others = 0o077;
    if permissions.mode() & others == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(Readers::Owner.mode()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_private_file_is_readable_by_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        write(&path, "secret", Readers::Owner).unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_private_file_that_others_could_read_is_closed_to_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        write(&path, "secret", Readers::All).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        assert_eq!(read(&path, Readers::Owner).unwrap().as_deref(), Some("secret"));
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn nothing_in_the_directory_is_committed_by_accident() {
        let directory = tempfile::tempdir().unwrap();
        let certs = directory.path().join("certs");
        prepare(&certs).unwrap();
        assert!(fs::read_to_string(certs.join(".gitignore")).unwrap().lines().any(|line| line == "*"));
    }

    #[test]
    fn an_ignore_file_of_the_author_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".gitignore"), "*.key\n").unwrap();
        prepare(directory.path()).unwrap();
        assert_eq!(fs::read_to_string(directory.path().join(".gitignore")).unwrap(), "*.key\n");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named_in_the_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = prepare(&file.join("certs")).unwrap_err().to_string();
        assert!(error.contains("cannot create `") && error.contains("/file/certs`"), "{error}");
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("occupied");
        fs::create_dir(&target).unwrap();
        assert!(write(&target, "text", Readers::All).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
