//! The `torwart` process: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    torwart::cli::main()
}
