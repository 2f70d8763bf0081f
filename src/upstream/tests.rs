//! Forwarding between a real client connection and an upstream that sends exact bytes.

mod support;

mod bodies;
mod connections;
mod requests;
mod responses;
