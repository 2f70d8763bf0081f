//! `torwart token`: making and reading tokens.

mod inspect;
mod mint;

use clap::Subcommand;

use super::{Common, Exit};

/// Arguments of `torwart token`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the dev token of a persona, no server needed. It is worth nothing outside of dev mode.
    Mint(mint::Args),
    /// Decode and verify any token, saying which check fails.
    Inspect(inspect::Args),
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    match &args.verb {
        Verb::Mint(args) => mint::run(args, common),
        Verb::Inspect(args) => inspect::run(args, common),
    }
}
