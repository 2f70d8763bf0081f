//! What the tests share.

pub mod authority;
pub mod client;
pub mod http2;
pub mod message;
pub mod tokens;
pub mod upstream;
pub mod world;

pub use client::Client;
pub use upstream::After;
pub use world::World;
