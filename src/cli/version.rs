//! `torwart version`.

use super::{Common, Exit, Format};

/// Arguments of `torwart version`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let version = env!("CARGO_PKG_VERSION");
    match args.format {
        Format::Text => common.print(&format!("torwart {version}\n")),
        Format::Json => common.print_json(&serde_json::json!({"name": "torwart", "version": version})),
    }
    Exit::Yes
}
