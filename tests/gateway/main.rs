//! The gateway from outside: raw bytes in on real sockets, and what an upstream saw of them.
//!
//! Each test gives a world (gateway, recording upstream, issuer, certificates, all made on the spot), sends bytes, and
//! says what must have arrived, above all what must not.

#[cfg(test)]
mod abuse;
#[cfg(test)]
mod admission;
#[cfg(test)]
mod assertion;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod bound_tokens;
#[cfg(test)]
mod cors;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod handover;
#[cfg(test)]
mod http1;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod introspection;
#[cfg(test)]
mod invariants;
#[cfg(test)]
#[path = "../support/issuer.rs"]
#[expect(dead_code, reason = "tests of tokens need more of it")]
mod issuer;
#[cfg(test)]
mod issuer_faults;
#[cfg(test)]
mod life;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod proxy_protocol;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod replaying;
#[cfg(test)]
mod resting;
#[cfg(test)]
mod revocation;
#[cfg(test)]
mod smuggling;
#[cfg(test)]
mod step_up;
#[cfg(test)]
#[expect(dead_code, reason = "tests/soaking.rs needs more of it")]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod tunnels;
#[cfg(test)]
mod upstreams;
#[cfg(test)]
mod userinfo;
