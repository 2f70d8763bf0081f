//! The gateway for a laptop (cli.md, "Dev mode"): no configuration file, no network, nothing installed.
//!
//! Everything here serves one developer on one machine and listens on loopback only. Its tokens are worth nothing
//! elsewhere: `run` refuses a configuration whose issuer is a dev issuer.

pub mod beside;
pub mod ca;
pub mod echo;
pub mod files;
pub mod key;
pub mod persona;
pub mod provider;
pub mod serve;
pub mod sketch;
