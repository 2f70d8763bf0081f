//! Lines of files too large for memory, on every core.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread;

use thiserror::Error;

/// Bytes that are read at once.
const BUFFER: usize = 1024 * 1024;
/// A file is not divided into parts smaller than this.
const LEAST: u64 = 4 * 1024 * 1024;
/// The longest line that is kept; what is longer is none of a server's.
const LONGEST: u64 = 16 * 1024 * 1024;

/// A file that cannot be read.
#[derive(Debug, Error)]
#[error("cannot read `{}`: {source}", path.display())]
pub struct ReadError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Part of a file that begins and ends with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    start: u64,
    end: u64,
}

/// Has every line of a file looked at, on as many threads as there are cores, each with a state of its own; the states
/// come back in the order of the file.
///
/// # Errors
/// The file cannot be read.
pub(super) fn fold<S: Send>(
    path: &Path,
    begin: impl Fn() -> S + Sync,
    look: impl Fn(&mut S, &[u8]) + Sync,
) -> Result<Vec<S>, ReadError> {
    let failed = |source| ReadError { path: path.to_owned(), source };
    let parts = parts(path, thread::available_parallelism().map_or(1, usize::from)).map_err(failed)?;
    let work = |part: Part| {
        let mut state = begin();
        each(path, part, |line| look(&mut state, line)).map(|()| state)
    };
    let work = &work;
    let states: io::Result<Vec<S>> = thread::scope(|scope| {
        let threads: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || work(part))).collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|state| state.unwrap_or_else(|_| Err(io::Error::other("a thread has panicked")))).collect()
    });
    states.map_err(failed)
}

/// The same on one thread, for files whose lines depend on those before.
///
/// # Errors
/// The file cannot be read.
pub(super) fn in_order(path: &Path, look: impl FnMut(&[u8])) -> Result<(), ReadError> {
    each(path, Part { start: 0, end: u64::MAX }, look).map_err(|source| ReadError { path: path.to_owned(), source })
}

/// Divides a file between lines.
fn parts(path: &Path, count: usize) -> io::Result<Vec<Part>> {
    let mut file = File::open(path)?;
    // What has no length, such as a pipe, is read in one piece.
    let length = file.metadata()?;
    if !length.is_file() {
        return Ok(vec![Part { start: 0, end: u64::MAX }]);
    }
    let length = length.len();
    let count = u64::try_from(count).unwrap_or(1).min(length / LEAST).max(1);
    let mut parts = Vec::new();
    let mut start = 0;
    for number in 1..=count {
        let end = if number == count { length } else { line_end(&mut file, length / count * number)? };
        if end > start {
            parts.push(Part { start, end });
            start = end;
        }
    }
    Ok(parts)
}

/// One behind the line that this byte is in.
fn line_end(file: &mut File, at: u64) -> io::Result<u64> {
    file.seek(SeekFrom::Start(at))?;
    let mut line = Vec::new();
    let length = BufReader::new(file.take(LONGEST)).read_until(b'\n', &mut line)?;
    Ok(at + u64::try_from(length).unwrap_or(0))
}

fn each(path: &Path, part: Part, mut look: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = File::open(path)?;
    if part.start > 0 {
        file.seek(SeekFrom::Start(part.start))?;
    }
    let mut reader = BufReader::with_capacity(BUFFER, file.take(part.end - part.start));
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader).take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if !text.is_empty() {
            look(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn every_line_is_looked_at_once_and_in_order_however_a_file_is_divided() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let lines: Vec<String> = (0..2000_u32).map(|number| format!("{number} {}", "x".repeat(5000))).collect();
        for line in &lines {
            write!(file, "{line}\r\n\n").unwrap();
        }
        write!(file, "last").unwrap();
        file.flush().unwrap();
        let divided = parts(file.path(), 2).unwrap();
        assert_eq!(divided.len(), 2);
        for count in [1, 2, 3] {
            let mut seen = Vec::new();
            for part in parts(file.path(), count).unwrap() {
                each(file.path(), part, |line| seen.push(String::from_utf8(line.to_vec()).unwrap())).unwrap();
            }
            assert_eq!(seen.len(), lines.len() + 1);
            assert!(seen.iter().zip(&lines).all(|(seen, line)| seen == line));
            assert_eq!(seen[lines.len()], "last");
        }
        let counted = fold(file.path(), || 0, |count, _| *count += 1).unwrap();
        assert_eq!(counted.iter().sum::<usize>(), lines.len() + 1);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = fold(Path::new("/nowhere/x"), || (), |(), _| ()).unwrap_err();
        assert!(error.to_string().starts_with("cannot read `/nowhere/x`: "));
    }
}
