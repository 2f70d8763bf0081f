//! Collecting what is wrong with documents, each thing once: what a document says for all its routes is compiled with
//! every one of them.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Source, Span, nearest};

/// The findings of one compilation.
#[derive(Debug, Default)]
pub(super) struct Report {
    found: Diagnostics,
    seen: HashSet<(PathBuf, usize, usize, String)>,
}

impl Report {
    /// An error at a place of a document. `None`: it was reported before.
    pub(super) fn error(&mut self, at: Place, message: impl Into<String>) -> Option<&mut Diagnostic> {
        let message = message.into();
        self.first(&at, &message).then(|| self.found.error(at, message))
    }

    /// An error with what to write instead.
    pub(super) fn wrong(&mut self, at: Place, message: impl Into<String>, help: impl Into<String>) {
        if let Some(found) = self.error(at, message) {
            found.help(help);
        }
    }

    /// An error about a name that nothing has, with the nearest that something has.
    pub(super) fn unknown<'n>(&mut self, at: Place, what: &str, name: &str, valid: impl IntoIterator<Item = &'n str>) {
        let valid: Vec<_> = valid.into_iter().collect();
        let help = match (nearest(name, valid.iter().copied()), valid.is_empty()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, true) => "there is none".to_owned(),
            (None, false) => {
                format!("there is {}", valid.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
            }
        };
        self.wrong(at, format!("there is no {what} `{name}`"), help);
    }

    /// Something that works and that somebody should look at.
    pub(super) fn warning(&mut self, at: Place, message: impl Into<String>, help: impl Into<String>) {
        let message = message.into();
        if self.first(&at, &message) {
            self.found.warning(at, message).help(help);
        }
    }

    /// A warning in which another place takes part.
    pub(super) fn warning_about(&mut self, at: Place, message: String, help: &str, other: Place) {
        if self.first(&at, &message) {
            self.found.warning(at, message).help(help).related(other, "the stricter route");
        }
    }

    /// Whether anything found forbids the use of the documents.
    pub(super) fn has_errors(&self) -> bool {
        self.found.has_errors()
    }

    /// Where parsing and checking of shapes report to.
    pub(super) fn diagnostics(&mut self) -> &mut Diagnostics {
        &mut self.found
    }

    /// Everything found, in the order of files and lines.
    pub(super) fn finish(mut self) -> Diagnostics {
        self.found.sort();
        self.found
    }

    fn first(&mut self, at: &Place, message: &str) -> bool {
        self.seen.insert((at.source.path.clone(), at.span.start, at.span.end, message.to_owned()))
    }
}

/// The place of a span in a document.
pub(super) fn at(source: &Arc<Source>, span: Span) -> Place {
    Place { source: Arc::clone(source), span }
}
