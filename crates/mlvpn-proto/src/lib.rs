//! The mlvpn protocol as a sans-IO state machine.
#![forbid(unsafe_code)]

pub mod ip;
pub mod time;

pub use time::{Duration, Instant};
