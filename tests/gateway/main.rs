//! The gateway from outside: raw bytes in on real sockets, and what an upstream saw of them.
//!
//! Each test gives a world (gateway, recording upstream, issuer, certificates, all made on the spot), sends bytes, and
//! says what must have arrived, above all what must not.

mod admission;
mod http1;
mod http2;
mod invariants;
mod life;
mod refusals;
mod support;
mod tls;
mod tunnels;
mod upstreams;
