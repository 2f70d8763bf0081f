//! What the tests share.

pub(crate) mod authority;
pub(crate) mod client;
pub(crate) mod http2;
pub(crate) mod message;
pub(crate) mod process;
pub(crate) mod tokens;
pub(crate) mod upstream;
pub(crate) mod world;

pub(crate) use client::Client;
pub(crate) use upstream::After;
pub(crate) use world::World;
