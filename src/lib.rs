//! Torwart, an authorization gateway: this is the map of the house.
//!
//! # One request's way
//! [`gateway`] is the straight line; its order never varies, and every step can end the request.
//!
//! 1. [`server`] accepts the connection within its limits and opens TLS.
//! 2. hyper parses HTTP; [`gateway`] refuses what hyper lets pass although it is not framed the way it should be.
//! 3. [`target`] makes one canonical authority and one canonical path of what was sent, or refuses it.
//! 4. [`policy`] finds at most one route, in every way in which the upstream might read the path.
//! 5. [`authn`] turns a bearer token into a [`principal::Principal`].
//! 6. [`policy`] decides. An allowed request has a [`policy::Permit`]; a body that the route reads is read before.
//! 7. [`rate`] counts what came under a limit.
//! 8. [`upstream`] takes the permit by value, strips, injects, forwards and streams; [`assertion`] signs what the upstream
//!    is to believe whoever else can reach it.
//! 9. [`telemetry`] records: one record for every request, whatever became of it.
//!
//! [`response`] is where every refusal becomes an answer. [`snapshot`] is what one request holds from start to end:
//! [`config`], policies, keys, certificates, swapped whole.
//!
//! # Beside the way
//! [`document`] and [`diagnostic`] read files and tell what is wrong with them. [`json`] and [`soap`] read hostile text.
//! [`check`], [`suite`], [`explain`], [`mod@diff`], [`replay`] and [`routes`] ask the same policies offline, with requests
//! made by [`trial`]; [`cases`] are decisions as data. [`dev`] is the gateway for a laptop, [`admin`] its side for
//! operators, [`cli`] the verbs, [`clock`] the time, [`state`] what outlives the process, [`panics`] what a mistake in all of
//! this may end.
//!
//! # What always holds
//! - No permit, no forwarding: only [`policy`] makes one, and forwarding uses it up.
//! - What was decided on is what is forwarded: one canonical target, one body, one principal.
//! - [`policy`], [`target`], [`json`] and [`soap`] do no input or output and know no clock: the time is part of the question.
//! - What the gateway asserts in a header it first removes, under every name that a server might fold to it.
//! - Doubt never grants: what is missing, of the wrong type or unreachable ends in a refusal.
//!
//! # What is absent on purpose
//! - Middleware: the order of the steps is the security property, so it is written down in one function.
//! - Remembered decisions: identities are remembered, decisions never.
//! - Redirects followed towards issuers, tokens read from queries, bodies or cookies, `unsafe` code, feature flags.
//!
//! Who may import whom is checked by `tests/tidy.rs`.

pub mod admin;
pub mod assertion;
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
pub mod explain;
pub mod gateway;
pub mod json;
pub mod panics;
pub mod policy;
pub mod principal;
pub mod rate;
pub mod replay;
pub mod response;
pub mod routes;
pub mod server;
pub mod snapshot;
pub mod soap;
pub mod state;
pub mod suite;
pub mod target;
pub mod telemetry;
pub mod trial;
pub mod upstream;
