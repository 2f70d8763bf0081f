//! Tokens against the whole of authentication: real keys, real signatures, real issuers.

mod issuer;
mod keys;
mod keysets;
mod memory;
mod minting;
mod properties;
mod rows;
