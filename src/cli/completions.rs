//! `torwart completions SHELL`.

use std::io::Write as _;

use super::Exit;

/// Arguments of `torwart completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell.
    shell: clap_complete::Shell,
}

pub(super) fn run(args: &Args, command: &mut clap::Command) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "torwart", &mut script);
    let _ = std::io::stdout().write_all(&script);
    Exit::Yes
}
