//! `torwart schema config|policy|test`.

use clap::ValueEnum;

use super::{Common, Exit};
use crate::{cases, config, policy};

/// Arguments of `torwart schema`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file format.
    format: FileFormat,
}

/// A file format that editors can be told of.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum FileFormat {
    /// `torwart.yaml`.
    Config,
    /// The documents of the policy directory.
    Policy,
    /// `*.test.yaml` beside the policies.
    Test,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let schema = match args.format {
        FileFormat::Config => config::schema(),
        FileFormat::Policy => policy::schema(),
        FileFormat::Test => cases::schema(),
    };
    common.print_json(&schema);
    Exit::Yes
}
