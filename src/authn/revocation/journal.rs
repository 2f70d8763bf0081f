//! The file that revocations survive a restart in: one line for each, and one for each that was taken back.
//!
//! Several processes may use one directory, as two do while one takes over from the other. Whoever writes holds the
//! lock file, reads first what others have written, and appends; catching up reads it without writing. A file
//! that has grown stale is written anew beside and renamed, which the others notice by its inode.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::state::{self, PRIVATE};

/// The first line. Another one is another format, or none.
const HEADER: &[u8] = b"{\"torwart\":\"revocations\",\"version\":1}\n";

/// Stale lines that a file may have, however few are not.
const STALE: u64 = 1000;

/// Why revocations cannot be read or kept.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file system refuses.
    #[error("`{path}`: {source}", path = path.display())]
    File {
        /// What was to be read or written.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It is not a file of revocations, or it is damaged.
    #[error("`{path}`, line {line}: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1; in what was read at once when the file has grown.
        line: u64,
        /// What was expected there.
        what: &'static str,
    },
}

/// What a line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    Jti,
    JtiDigest,
    Token,
    Subject,
    Client,
    IssuedBefore,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line<'l> {
    /// The issuer's URL: names may change, and another issuer may get one.
    #[serde(borrow)]
    pub(super) issuer: Cow<'l, str>,
    pub(super) kind: Word,
    #[serde(borrow)]
    pub(super) value: Cow<'l, str>,
    pub(super) at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<i64>,
    /// It was taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) removed: bool,
}

impl Line<'_> {
    /// The line as it is written.
    pub(super) fn text(&self) -> Vec<u8> {
        // Serialising our own structure to memory does not fail.
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

/// Who is told of every line read.
pub(super) trait Sink {
    /// One line of the file. `false`: it makes no sense.
    fn line(&mut self, line: &Line<'_>) -> bool;

    /// All that there is for the moment has been read.
    fn end(&mut self);
}

/// One directory's file.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    /// Open for reading and appending.
    file: File,
    /// Bytes of whole lines that have been read or written.
    read: u64,
    lines: u64,
    /// Lines that could not be written yet.
    owed: Vec<u8>,
}

impl Journal {
    /// Opens the directory's file, which is made if there is none, and reads it. A last line that was not written to its
    /// end was never promised to anybody; it is cut off.
    pub(super) fn open(directory: &Path, sink: &mut dyn Sink) -> Result<Self, JournalError> {
        fs::create_dir_all(directory).map_err(|source| failed(directory, source))?;
        let _lock = lock(directory)?;
        let path = file_of(directory);
        if !path.try_exists().map_err(|source| failed(&path, source))? {
            write_whole(directory, &mut |_| Ok(()))?;
        }
        let mut journal =
            Self { directory: directory.to_owned(), file: open(&path)?, read: 0, lines: 0, owed: Vec::new() };
        journal.read_on(sink)?;
        Ok(journal)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether something is to be done: others have written, or something could not be.
    pub(super) fn is_behind(&self) -> bool {
        let unchanged =
            fs::metadata(file_of(&self.directory)).is_ok_and(|found| found.len() == self.read && self.is_file(&found));
        !unchanged || !self.owed.is_empty()
    }

    /// Reads what others have written and writes what is owed.
    pub(super) fn catch_up(&mut self, sink: &mut dyn Sink) -> Result<Found, JournalError> {
        let _lock = lock(&self.directory)?;
        let found = self.follow(sink)?;
        self.write_owed()?;
        Ok(found)
    }

    /// Appends these lines; they are on the disk when this returns. What cannot be written is owed.
    pub(super) fn append(&mut self, lines: &[u8], sink: &mut dyn Sink) -> Result<Found, JournalError> {
        self.owed.extend_from_slice(lines);
        self.catch_up(sink)
    }

    /// Takes back what the last [`Journal::append`] could not write.
    pub(super) fn owe_less(&mut self, lines: &[u8]) {
        if self.owed.ends_with(lines) {
            self.owed.truncate(self.owed.len() - lines.len());
        }
    }

    /// Whether so many entries in force would fill less than half of the file.
    pub(super) fn is_stale(&self, entries: u64) -> bool {
        self.lines > entries.saturating_mul(2).saturating_add(STALE)
    }

    /// Writes the file anew, with the lines that this writes and nothing else. What others have written has been read.
    pub(super) fn rewrite(&mut self, sink: &mut dyn Sink, lines: &mut Lines<'_>) -> Result<(), JournalError> {
        let _lock = lock(&self.directory)?;
        self.follow(sink)?;
        write_whole(&self.directory, lines)?;
        self.file = open(&file_of(&self.directory))?;
        (self.read, self.lines) = (0, 0);
        self.owed.clear();
        self.read_on(sink)
    }

    /// Reads on, in the file that has this name at the moment. To be called under the lock.
    fn follow(&mut self, sink: &mut dyn Sink) -> Result<Found, JournalError> {
        let path = file_of(&self.directory);
        let mut found = Found::Same;
        match fs::metadata(&path) {
            Ok(named) if self.is_file(&named) && named.len() >= self.read => {}
            // Somebody cut it short: what was there is missing.
            Ok(named) if self.is_file(&named) => {
                (self.read, self.lines) = (0, 0);
                found = Found::Gone;
            }
            // Somebody wrote it anew; all of it is read again, which changes nothing where nothing changed.
            Ok(_) => {
                self.file = open(&path)?;
                (self.read, self.lines) = (0, 0);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.directory).map_err(|source| failed(&self.directory, source))?;
                write_whole(&self.directory, &mut |_| Ok(()))?;
                self.file = open(&path)?;
                (self.read, self.lines) = (0, 0);
                found = Found::Gone;
            }
            Err(source) => return Err(failed(&path, source)),
        }
        self.read_on(sink)?;
        Ok(found)
    }

    fn is_file(&self, named: &fs::Metadata) -> bool {
        self.file.metadata().is_ok_and(|own| own.ino() == named.ino() && own.dev() == named.dev())
    }

    fn write_owed(&mut self) -> Result<(), JournalError> {
        if self.owed.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.owed).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // Half a line would spoil the next one. If this fails too, the next writer does it.
            let _ = self.file.set_len(self.read);
            return Err(self.failed(source));
        }
        self.read += self.owed.len() as u64;
        self.lines += memchr::memchr_iter(b'\n', &self.owed).count() as u64;
        self.owed.clear();
        Ok(())
    }

    /// Tells the sink every line from where reading ended. To be called under the lock.
    fn read_on(&mut self, sink: &mut dyn Sink) -> Result<(), JournalError> {
        let mut reader = BufReader::with_capacity(256 * 1024, &self.file);
        let failed = |source| failed(&file_of(&self.directory), source);
        reader.seek(SeekFrom::Start(self.read)).map_err(failed)?;
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line).map_err(failed)?;
            if length == 0 {
                break;
            }
            number += 1;
            if !line.ends_with(b"\n") || (line.contains(&0) && reader.fill_buf().map_err(failed)?.is_empty()) {
                tracing::warn!(file = %file_of(&self.directory).display(), "the last line was not written to its end");
                self.file.set_len(self.read).and_then(|()| self.file.sync_data()).map_err(failed)?;
                break;
            }
            let sound = if self.read == 0 { line == HEADER } else { told(&line, sink) };
            if !sound {
                let what = if self.read == 0 { "this is not a file of revocations" } else { "this is no revocation" };
                return Err(JournalError::Damaged { path: file_of(&self.directory), line: number, what });
            }
            self.lines += u64::from(self.read > 0);
            self.read += length as u64;
        }
        sink.end();
        if self.read == 0 {
            let what = "this is not a file of revocations";
            return Err(JournalError::Damaged { path: file_of(&self.directory), line: 1, what });
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> JournalError {
        failed(&file_of(&self.directory), source)
    }
}

/// What was found where the file should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The file, with what others have added.
    Same,
    /// Less than there was: somebody has removed it or cut it short.
    Gone,
}

fn told(line: &[u8], sink: &mut dyn Sink) -> bool {
    serde_json::from_slice::<Line<'_>>(line).is_ok_and(|line| sink.line(&line))
}

fn file_of(directory: &Path) -> PathBuf {
    directory.join("revocations.log")
}

fn failed(path: &Path, source: io::Error) -> JournalError {
    JournalError::File { path: path.to_owned(), source }
}

/// Waits until no other process reads or writes. Held until it is dropped.
fn lock(directory: &Path) -> Result<File, JournalError> {
    let path = directory.join("revocations.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(PRIVATE).open(&path);
    let file = file.map_err(|source| failed(&path, source))?;
    file.lock().map_err(|source| failed(&path, source))?;
    Ok(file)
}

/// Opens the file for reading and appending. Who is revoked is nobody else's business.
fn open(path: &Path) -> Result<File, JournalError> {
    let file = OpenOptions::new().read(true).append(true).open(path).map_err(|source| failed(path, source))?;
    let mode = file.metadata().map_err(|source| failed(path, source))?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(PRIVATE)).map_err(|source| failed(path, source))?;
    }
    Ok(file)
}

/// What writes the lines of a whole file.
pub(super) type Lines<'l> = dyn FnMut(&mut dyn Write) -> io::Result<()> + 'l;

/// Writes the whole file, or leaves it as it was.
fn write_whole(directory: &Path, lines: &mut Lines<'_>) -> Result<(), JournalError> {
    let path = file_of(directory);
    let mut put = |writer: &mut dyn Write| writer.write_all(HEADER).and_then(|()| lines(writer));
    state::write_with(&path, PRIVATE, &mut put).map_err(|source| failed(&path, source))
}
