//! The mlvpn program as a library, so that its parts can be tested; `main.rs` only calls it.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod console;
pub mod control;
pub mod daemon;
pub mod demo;
pub mod doctor;
pub mod hook;
pub mod logging;
pub mod network;
mod private_file;
pub mod setup;
pub mod status;
