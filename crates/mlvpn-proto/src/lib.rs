//! The mlvpn protocol as a sans-IO state machine.
#![forbid(unsafe_code)]

pub mod time;

pub use time::{Duration, Instant};
