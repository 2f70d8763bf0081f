//! `torwart check`: loads everything and prints what is wrong.

use super::{Common, Exit, Format, NO_CONFIGURATION, ProcessEnvironment};
use crate::config;
use crate::diagnostic::{Diagnostics, Severity};

/// Arguments of `torwart check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let Some(path) = common.config_path() else {
        common.note(NO_CONFIGURATION);
        return Exit::NoAnswer;
    };
    if let Err(fault) = std::fs::File::open(&path) {
        common.note(&format!("cannot read `{}`: {fault}", path.display()));
        return Exit::NoAnswer;
    }
    let (config, mut problems) = config::load(&path, &ProcessEnvironment);
    if let Some(config) = &config {
        problems.append(config.obstacles());
    }
    print(args.format, common, &problems);
    if problems.has_errors() { Exit::No } else { Exit::Yes }
}

fn print(format: Format, common: &Common, problems: &Diagnostics) {
    let count = |severity| problems.iter().filter(|found| found.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    match format {
        Format::Text => {
            common.print(&problems.render_in(common.result_style()));
            common.print(&format!("{errors} errors, {warnings} warnings\n"));
        }
        Format::Json => common.print_json(&serde_json::json!({
            "valid": errors == 0,
            "errors": errors,
            "warnings": warnings,
            "diagnostics": problems.to_json(),
        })),
    }
}
