//! The `torwart` process: arguments in, exit code out.

use std::process::ExitCode;

/// Faster than the system's where a request needs more than a kibibyte at once, and not larger without huge pages
/// (docs/performance.md, "The allocator").
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    torwart::cli::main()
}
