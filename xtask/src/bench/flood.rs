//! `cargo xtask bench flood`: what a flood of handshakes does to a session.

mod measure;
mod table;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use mlvpn_lab::{Interrupt, Lab};

use super::bond::credentials::Credentials;
use super::build::Program;
use super::machine::Machine;
use measure::{Bench, KINDS};
use table::Table;

/// The link between both ends.
const LINK: &str = "direct";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// How often everything is measured, every second time with the flood before the transfer without
    /// it; the table has the medians
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each transfer takes, alone and beside the flood
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Datagrams per second
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..1_000_000))]
    rate: u64,
    /// By what both ends know each other
    #[arg(long, value_enum, default_value_t = Credentials::Password)]
    credentials: Credentials,
    #[command(flatten)]
    program: Program,
}

/// Measures and prints.
///
/// # Errors
/// When something cannot be built, set up or measured, or a signal said to stop.
pub(super) fn run(options: &Options, root: &Path, arguments: &[&str]) -> Result<()> {
    let mlvpn = options.program.find(root, arguments)?;
    let interrupt = Interrupt::watch()?;
    let lab = Lab::builder().direct_link(LINK).build()?;
    let stranger = lab.stranger()?;
    let bench = Bench {
        program: &mlvpn,
        lab: &lab,
        stranger: &stranger,
        credentials: options.credentials,
        insider: options.credentials.forger(),
        duration: Duration::from_secs(options.seconds),
        rate: options.rate,
        interrupt: &interrupt,
    };
    let machine = Machine::describe(root, &mlvpn, None)?;
    let (seconds, rounds) = (options.seconds, options.rounds);
    let &Options { rate, credentials, .. } = options;
    let mut table = Table { machine, rounds, seconds, rate, credentials, runs: Vec::new() };
    for round in 0..options.rounds {
        for kind in KINDS {
            let run = bench.measure(kind, round)?;
            eprintln!("round {round}: {run}");
            table.runs.push(run);
        }
    }
    println!("{table}");
    Ok(())
}
