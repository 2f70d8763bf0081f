//! Finding one record in audit files of any size: a scan from the end, because what is asked about is mostly recent.
//!
//! There is no index: it would have to be kept beside a file that others rename and delete, and a scan reads as fast as
//! the disk does.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use memchr::memmem::FinderRev;
use memchr::memrchr;

use super::lines::ReadError;
use super::record::{Record, RecordError};

/// Bytes that are read at once.
const BLOCK: u64 = 4 * 1024 * 1024;

/// The last line of a file that is the record of this request.
///
/// # Errors
/// The file cannot be read.
pub fn last(path: &Path, request_id: &str) -> Result<Option<Vec<u8>>, ReadError> {
    let failed = |source| ReadError { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    search(&mut file, request_id).map_err(failed)
}

fn search(file: &mut File, request_id: &str) -> io::Result<Option<Vec<u8>>> {
    // As the writer writes it: ids are visible ASCII. Inside of a string the first quote would be escaped.
    let needle = format!("\"request_id\":{}", serde_json::Value::from(request_id));
    let finder = FinderRev::new(&needle);
    let overlap = u64::try_from(needle.len()).unwrap_or(u64::MAX) - 1;
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        // What begins in this block and ends in the one behind it is found, too.
        let upto = (end + overlap).min(length);
        read(file, start, upto, &mut block)?;
        let mut rest = block.as_slice();
        while let Some(at) = finder.rfind(rest) {
            let line = line(file, start + u64::try_from(at).unwrap_or(0))?;
            match Record::read(&line) {
                Ok(record) if record.request_id.as_str() == request_id => return Ok(Some(line)),
                Ok(_) | Err(RecordError::Form(_) | RecordError::OtherKind) => {}
            }
            rest = rest.get(..at).unwrap_or_default();
        }
        end = start;
    }
    Ok(None)
}

fn read(file: &mut File, start: u64, end: u64, block: &mut Vec<u8>) -> io::Result<()> {
    block.clear();
    file.seek(SeekFrom::Start(start))?;
    file.take(end - start).read_to_end(block).map(|_| ())
}

/// The line around a byte.
fn line(file: &mut File, at: u64) -> io::Result<Vec<u8>> {
    let mut begin = at;
    let mut block = Vec::new();
    while begin > 0 {
        let start = begin.saturating_sub(64 * 1024);
        read(file, start, begin, &mut block)?;
        match memrchr(b'\n', &block) {
            Some(found) => {
                begin = start + u64::try_from(found).unwrap_or(0) + 1;
                break;
            }
            None => begin = start,
        }
    }
    file.seek(SeekFrom::Start(begin))?;
    let mut line = Vec::new();
    BufReader::new(file).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(line)
}
