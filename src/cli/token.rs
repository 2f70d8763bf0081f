//! `torwart token`: making and reading tokens.

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
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    match &args.verb {
        Verb::Mint(args) => mint::run(args, common),
    }
}
