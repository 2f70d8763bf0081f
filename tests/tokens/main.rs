//! Tokens against the whole of authentication: real keys, real signatures, real issuers.

mod minting;
mod rows;
