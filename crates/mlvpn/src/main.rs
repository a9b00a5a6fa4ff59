//! The mlvpn program.
#![forbid(unsafe_code)]

fn main() {}
