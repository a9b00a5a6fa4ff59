//! The mlvpn binary; everything is in the library beside it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    mlvpn::daemon::run_if_worker().unwrap_or_else(mlvpn::cli::main)
}
