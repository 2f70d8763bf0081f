//! The fuzz targets. Their bodies are also run by `tests/fuzz_bounded.rs` on stable Rust.

pub mod bodies;
