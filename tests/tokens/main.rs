//! Tokens against the whole of authentication: real keys, real signatures, real issuers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::needless_pass_by_value,
    reason = "a test that cannot go on fails, in its helpers too, and `json!` makes values"
)]

mod asking;
mod introspection;
#[path = "../support/issuer.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod issuer;
mod keys;
mod keysets;
mod memory;
mod minting;
mod properties;
mod rows;
mod userinfo;
