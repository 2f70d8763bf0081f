//! From files to [`Source`]s.

use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::{Diagnostics, Place, Source, Span};

/// Bytes of the largest file that is read.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Reads a file. What is wrong with it (missing, unreadable, no UTF-8) is reported with `at`, the place that names it.
pub fn read_file(path: &Path, at: Option<&Place>, problems: &mut Diagnostics) -> Option<Arc<Source>> {
    let shown = path.display();
    let bytes = match bytes(path) {
        Ok(bytes) => bytes,
        Err(fault) => {
            let message = match fault.kind() {
                ErrorKind::NotFound => format!("the file `{shown}` does not exist"),
                ErrorKind::PermissionDenied => format!("the file `{shown}` may not be read"),
                ErrorKind::IsADirectory => format!("`{shown}` is a directory, not a file"),
                ErrorKind::FileTooLarge => format!("the file `{shown}` is larger than 64MiB"),
                _ => format!("the file `{shown}` cannot be read: {fault}"),
            };
            match at {
                Some(place) => problems.error(place.clone(), message),
                None => problems.general(message),
            };
            return None;
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Some(Arc::new(Source { path: path.to_owned(), text })),
        Err(fault) => {
            let start = fault.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(fault.as_bytes()).into_owned();
            let end = start + char::REPLACEMENT_CHARACTER.len_utf8();
            let place = Place { source: Arc::new(Source { path: path.to_owned(), text }), span: Span { start, end } };
            problems.error(place, "the file is not UTF-8 from here on").help("save it as UTF-8");
            None
        }
    }
}

fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    let mut bytes = Vec::new();
    if file.take(LARGEST + 1).read_to_end(&mut bytes)? as u64 > LARGEST {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(path: &Path) -> String {
        let mut problems = Diagnostics::new();
        assert!(read_file(path, None, &mut problems).is_none());
        problems.render()
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let directory = tempfile::tempdir().unwrap();
        assert!(problem(&directory.path().join("none.yaml")).contains("does not exist"));
        assert!(problem(directory.path()).contains("is a directory"));
        let latin1 = directory.path().join("latin1.yaml");
        std::fs::write(&latin1, b"a: 1\nname: M\xfcller\n").unwrap();
        let text = problem(&latin1);
        assert!(text.contains("latin1.yaml:2:8: error: the file is not UTF-8 from here on"), "{text}");
    }
}
