//! `torwart test`: policy tests, what they cover, and what they would not notice.

use std::path::PathBuf;

use clap::ValueEnum;

use super::{Common, Exit, NO_CONFIGURATION, ProcessEnvironment};
use crate::suite::{self, Choice, Examined, Questions, Suite};
use crate::trial::Loaded;

/// Arguments of `torwart test`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A policy directory, or one test file [default: what torwart.yaml says, else policies].
    path: Option<PathBuf>,
    /// Only tests whose names contain this text.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Print which routes and conditions no test decides.
    #[arg(long)]
    coverage: bool,
    /// Weaken the policies in every way there is, and print what no test notices. Exit code 1 if there is anything.
    #[arg(long)]
    mutate: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How the report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// XML for continuous integration.
    Junit,
    /// For programs.
    Json,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let Some(choice) = suite::choose(args.path.as_deref(), common.config_path()) else {
        common.note(NO_CONFIGURATION);
        return Exit::NoAnswer;
    };
    let (loaded, mut suite) = match load(&choice, common) {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    if let Some(part) = &args.filter {
        suite.keep_named(part);
    }
    if suite.cases.is_empty() {
        common.note("there is no such test");
        return Exit::NoAnswer;
    }
    let examined = suite.examine(&loaded, Questions { coverage: args.coverage, mutants: args.mutate });
    print(args.format, common, &examined);
    if examined.is_good() { Exit::Yes } else { Exit::No }
}

fn load(choice: &Choice, common: &Common) -> Result<(Loaded, Suite), Exit> {
    let wrong = |problems| {
        common.report(&problems);
        Exit::NoAnswer
    };
    let (loaded, _) = choice.load(&ProcessEnvironment).map_err(wrong)?;
    let mut suite = Suite::read(&loaded).map_err(wrong)?;
    if let Some(file) = &choice.file {
        suite.keep_file(file);
    }
    Ok((loaded, suite))
}

fn print(format: Format, common: &Common, examined: &Examined<'_>) {
    let here = std::env::current_dir().ok();
    let base = here.as_deref();
    match format {
        Format::Text => common.print(&examined.to_text(base)),
        Format::Json => common.print_json(&examined.to_json()),
        Format::Junit => {
            common.print(&suite::junit(&examined.report, base));
            let beside = examined.beside(base);
            if !beside.is_empty() {
                common.note(&format!("\n{beside}"));
            }
        }
    }
}
