//! `torwart routes`: the compiled route table.

use super::{Common, Exit, Format};
use crate::routes::{self, Filter};

/// Arguments of `torwart routes`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only the routes of this policy.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Only the table of this host pattern, or of the pattern that covers this host.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only routes whose path or name contains this.
    #[arg(long, value_name = "TEXT")]
    path: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let Some(loaded) = common.load_policies() else { return Exit::NoAnswer };
    let filter = Filter { policy: args.policy.clone(), host: args.host.clone(), path: args.path.clone() };
    let entries = routes::entries(&loaded.policies, &filter);
    match args.format {
        Format::Json => common.print_json(&routes::to_json(&loaded.config, &entries)),
        Format::Text => common.print(&routes::text(&loaded.config, &entries, std::env::current_dir().ok().as_deref())),
    }
    if entries.is_empty() {
        common.note("no route fits");
    }
    Exit::Yes
}
