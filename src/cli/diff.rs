//! `torwart diff`: what two configurations decide differently, each difference with a request that shows it.

use super::{Common, Exit, Format, ProcessEnvironment};
use crate::diff::{self, DiffError};

/// Arguments of `torwart diff`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ends with 0 when there is no difference, 1 when there is one, 3 when some could neither be shown \
    nor ruled out, 2 when a side cannot be read or is not valid."
)]
pub(super) struct Args {
    /// Before: a torwart.yaml, a policy directory (read with the current torwart.yaml), or one of these in a Git
    /// revision, as in `main:policies`.
    old: String,
    /// After: likewise.
    new: String,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let current = common.config_path();
    let outcome = match diff::compare(&args.old, &args.new, current.as_deref(), &ProcessEnvironment) {
        Ok(outcome) => outcome,
        Err(fault) => {
            if let DiffError::Invalid(_, problems) = &fault {
                common.report(problems);
            }
            common.note(&fault.to_string());
            return Exit::NoAnswer;
        }
    };
    match args.format {
        Format::Text => common.print(&outcome.text(std::env::current_dir().ok().as_deref())),
        Format::Json => common.print_json(&outcome.to_json()),
    }
    match (outcome.is_empty(), outcome.differs()) {
        (true, _) => Exit::Yes,
        (false, true) => Exit::No,
        (false, false) => Exit::Undecided,
    }
}
