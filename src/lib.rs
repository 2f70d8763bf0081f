//! Torwart, an authorization gateway.

pub mod admin;
pub mod authn;
pub mod cases;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dev;
pub mod diagnostic;
pub mod diff;
pub mod document;
pub mod gateway;
pub mod json;
pub mod policy;
pub mod principal;
pub mod rate;
pub mod response;
pub mod server;
pub mod snapshot;
pub mod soap;
pub mod suite;
pub mod target;
pub mod telemetry;
pub mod trial;
pub mod upstream;
