//! Files that outlive the process: read whole, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Mode of a file that its owner alone may read.
pub const PRIVATE: u32 = 0o600;

/// Writes the whole file under a name of its own first, then renames it: a reader sees the old text or the new one, also
/// when several processes write at once, and after a power failure. Directories that are missing are made.
///
/// # Errors
/// Whatever the file system says; nothing has changed then.
pub fn write(file: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_with(file, mode, &mut |writer| writer.write_all(bytes))
}

/// The same for what would rather not be in memory as a whole.
///
/// # Errors
/// Whatever the file system or `put` says; nothing has changed then.
pub fn write_with(file: &Path, mode: u32, put: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let directory = file.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(directory)?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", uuid::Uuid::new_v4().simple()));
    let beside = file.with_file_name(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .and_then(|beside| {
            let mut writer = BufWriter::new(beside);
            put(&mut writer)?;
            writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
        })
        .and_then(|()| fs::rename(&beside, file));
    if written.is_err() {
        // What cannot be written can perhaps not be removed either; the first reason is the one to tell.
        let _ = fs::remove_file(&beside);
        return written;
    }
    // The rename is in the directory. A file system that cannot flush one has done what it can.
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a/b/key");
        for (text, mode) in [("one", PRIVATE), ("two", PRIVATE), ("three", 0o640)] {
            write(&file, text.as_bytes(), mode).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, mode);
        }
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_leaves_everything_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let taken = directory.path().join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("in"), "the way").unwrap();
        assert!(write(&taken, b"x", PRIVATE).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(write(&taken.join("in/below"), b"x", PRIVATE).is_err());
    }
}
