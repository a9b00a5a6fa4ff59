//! A deterministic network to run the protocol in.
#![forbid(unsafe_code)]
