//! Forwarding between a real client connection and an upstream that sends exact bytes.

mod support;

mod abandoned;
mod bodies;
mod connections;
mod duplex;
mod health;
mod http2;
mod members;
mod reading;
mod requests;
mod responses;
mod tls;
mod tunnels;
