//! A request of the past: what was decided then, and what is decided now.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use thiserror::Error;

use super::{Explained, explain};
use crate::authn::Fault;
use crate::replay::record::{Record, Token};
use crate::replay::{Judge, Judgement, ReadError, search};
use crate::trial::{Bearer, Loaded};

/// A recorded request explained.
#[derive(Debug)]
pub struct Past {
    /// The record, as it is in the file.
    pub record: Value,
    /// What was decided then.
    pub then: String,
    /// What deciding again says about it.
    pub judgement: Judgement,
    /// The request now; `None`: it was refused before any policy was asked.
    pub now: Option<Explained>,
}

/// Why there is no record.
#[derive(Debug, Error)]
pub enum PastError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No file has it.
    #[error("no audit record of a request `{0}`")]
    Unknown(String),
    /// It is there and cannot be understood.
    #[error("the audit record of request `{0}` cannot be read")]
    Malformed(String),
}

/// The record of a request and what becomes of it now. Of several files the first that has it counts.
///
/// # Errors
/// [`PastError`].
pub fn find(loaded: &Loaded, files: &[PathBuf], request_id: &str) -> Result<Past, PastError> {
    let mut line = None;
    for file in files {
        line = search::last(file, request_id)?;
        if line.is_some() {
            break;
        }
    }
    let line = line.ok_or_else(|| PastError::Unknown(request_id.to_owned()))?;
    let malformed = || PastError::Malformed(request_id.to_owned());
    let record = Record::read(&line).map_err(|_| malformed())?;
    let now = record.request().map(|request| explain(loaded, &request, &bearer(&record, loaded)));
    Ok(Past {
        record: serde_json::from_slice(&line).map_err(|_| malformed())?,
        then: record.decided().outcome().to_string(),
        judgement: Judge::new(loaded).judge(&record),
        now,
    })
}

fn bearer(record: &Record<'_>, loaded: &Loaded) -> Bearer {
    match record.token(loaded) {
        Token::Accepted(principal) => Bearer::Principal(principal),
        Token::Refused(..) | Token::Stranger(_) => Bearer::Refused(Fault::Signature),
        Token::Missing | Token::Unread => Bearer::Nobody,
    }
}

impl Past {
    /// Whether the request is refused now.
    pub fn is_denied(&self) -> bool {
        self.now.as_ref().is_none_or(|now| now.decision == "deny")
    }

    /// For people.
    pub fn text(&self, base: Option<&std::path::Path>) -> String {
        let word = |name: &str| self.record.get(name).and_then(Value::as_str).unwrap_or("none");
        let mut text = format!("then     {} at {}\n", self.then, word("time"));
        let _ = writeln!(text, "         policy {}, route {}", word("policy"), word("route"));
        if let Some(condition) = self.record.get("condition").filter(|condition| !condition.is_null()) {
            let part = |name: &str| condition.get(name).cloned().unwrap_or_default();
            let (asked, file) = (part("text"), part("file"));
            let (asked, file) = (asked.as_str().unwrap_or_default(), file.as_str().unwrap_or_default());
            let _ = writeln!(text, "         {asked}  {file}:{}:{}", part("line"), part("column"));
        }
        let _ = match &self.judgement {
            Judgement::Same => writeln!(text, "now      the same"),
            Judgement::Changed(now) => writeln!(text, "now      {now}"),
            Judgement::Unknown(why) => writeln!(text, "now      not certain: {why}"),
        };
        match &self.now {
            Some(now) => {
                text.push('\n');
                text.push_str(&now.text(base));
            }
            None => text.push_str("the record has no canonical path: there is nothing to explain\n"),
        }
        text
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let (judgement, detail) = match &self.judgement {
            Judgement::Same => ("same", None),
            Judgement::Changed(now) => ("changed", Some(now.to_string())),
            Judgement::Unknown(why) => ("unknown", Some(why.to_string())),
        };
        json!({
            "then": self.then,
            "judgement": judgement,
            "detail": detail,
            "record": self.record,
            "now": self.now.as_ref().map(Explained::to_json),
        })
    }
}
