//! A deterministic network to run the protocol in.
#![forbid(unsafe_code)]

pub mod link;
pub mod preset;
pub mod rng;
