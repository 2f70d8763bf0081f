//! Audit files decided again, on every core.

use std::path::Path;

use super::judge::{Judge, Judgement};
use super::lines::{self, ReadError};
use super::record::{Record, RecordError};
use super::tally::{Change, Tally};
use crate::trial::Loaded;

/// Decides every record of a file with the policies that are loaded.
///
/// # Errors
/// The file cannot be read.
pub fn replay(loaded: &Loaded, path: &Path) -> Result<Tally, ReadError> {
    let judge = Judge::new(loaded);
    let tallies = lines::fold(path, Tally::default, |tally, line| count(&judge, tally, line))?;
    let mut whole = Tally::default();
    for tally in tallies {
        whole.append(tally);
    }
    Ok(whole)
}

fn count(judge: &Judge<'_>, tally: &mut Tally, line: &[u8]) {
    let record = match Record::read(line) {
        Ok(record) => record,
        Err(RecordError::OtherKind) => {
            tally.other += 1;
            return;
        }
        Err(error @ RecordError::Form(_)) => return tally.malformed(line, &error.to_string()),
    };
    let example = record.request_id.as_str();
    match judge.judge(&record) {
        Judgement::Same => {
            tally.records += 1;
            tally.same += 1;
        }
        Judgement::Unknown(what) => tally.lacking(what, example),
        Judgement::Changed(now) => {
            let text = |text: Option<&str>| text.unwrap_or_default().into();
            let change = Change {
                policy: text(record.policy.as_ref().map(super::record::Text::as_str)),
                route: text(record.route.as_ref().map(super::record::Text::as_str)),
                client: text(record.client()),
                then: record.decided().outcome(),
                now,
            };
            tally.changed(change, example);
        }
    }
}
