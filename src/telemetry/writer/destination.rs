//! Where lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::telemetry) enum Destination {
    /// Standard output.
    Stdout,
    /// Standard error, where the program's log goes too.
    Stderr,
    /// Appended to this file, which is made if it is not there, readable by its owner and group.
    File(PathBuf),
}

impl Destination {
    /// Opens it for appending.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn open(&self) -> io::Result<Open> {
        let file = match self {
            Self::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            Self::Stderr => File::from(io::stderr().as_fd().try_clone_to_owned()?),
            Self::File(path) => OpenOptions::new().append(true).create(true).mode(0o640).open(path)?,
        };
        Ok(Open { file, logged_to: *self == Self::Stderr })
    }
}

/// A destination that was opened.
#[derive(Debug)]
pub(super) struct Open {
    file: File,
    /// The program's log goes there too.
    logged_to: bool,
}

impl Open {
    /// Writes until all is written or something fails; how much was. A line of the program's log comes before or after.
    pub(super) fn write(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let _alone = self.logged_to.then(|| io::stderr().lock());
        write_counted(&mut self.file, bytes)
    }
}

/// Writes until all is written or something fails; how much was.
pub(super) fn write_counted(out: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match out.write(rest) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}
