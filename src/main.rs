//! The `torwart` process: arguments in, exit code out.

fn main() {}
