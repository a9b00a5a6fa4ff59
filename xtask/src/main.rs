//! What CI runs, runnable by anyone.
#![forbid(unsafe_code)]

fn main() {}
