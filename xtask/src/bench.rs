//! `cargo xtask bench`: figures with the machine, the commit and the command beside them.
//!
//! `bench tunnel` measures TCP through this workspace's release build, through no tunnel and through
//! another userspace tunnel, alternating in one run on one machine: only ratios within a run mean
//! something on a machine that others use, too. `bench bond` measures what bonding makes of emulated
//! links, `bench flood` what a flood of handshakes does to a session.

mod bond;
mod boringtun;
mod build;
mod flood;
mod machine;
mod measure;
mod table;
mod tunnel;
mod usage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};

use build::Program;
use machine::Machine;
use table::Table;
use tunnel::Carrier;

/// What is to be measured.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// TCP throughput over one link without limits: no tunnel, mlvpn, and boringtun
    ///
    /// Needs root. Builds the release profile, makes two network namespaces joined by a veth pair, and
    /// removes them afterwards.
    Tunnel(TunnelOptions),
    /// TCP over two bonded links: throughput, delay, and the loss of a link
    ///
    /// Needs root. Builds the release profile, and runs both ends with their default configuration
    /// between two network namespaces, which are removed afterwards. A scenario takes four minutes.
    Bond(bond::Options),
    /// One flow over two bonded links, as it goes: the sender's window beside the state of each link
    ///
    /// Needs root and `ss`. Builds the release profile.
    Trace(bond::trace::Options),
    /// A session beside a flood of handshakes that are worth nothing
    ///
    /// Needs root. Builds the release profile, and runs both ends with their default configuration
    /// between two network namespaces joined by a veth pair; a third one floods the server.
    Flood(flood::Options),
}

#[derive(Debug, Args)]
struct TunnelOptions {
    /// How often everything is measured, in alternating order; the table has the medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each transfer takes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    #[command(flatten)]
    program: Program,
    /// Compare with this program [default: boringtun-cli in PATH, if it is there]
    #[arg(long, value_name = "PATH")]
    boringtun: Option<PathBuf>,
    /// Print JSON, with every single measurement
    #[arg(long)]
    json: bool,
    /// Also replace the table in docs/performance.md
    #[arg(long)]
    write_docs: bool,
}

/// Does what `arguments` say, those that come after the word `bench`, with the workspace at `root`.
///
/// # Errors
/// When something cannot be built, set up or measured.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    match Cli::parse_from(std::iter::once(&"bench").chain(arguments)).subject {
        Subject::Tunnel(options) => run_tunnel(&options, root, arguments),
        Subject::Bond(options) => bond::run(&options, root, arguments),
        Subject::Trace(options) => bond::trace::run(&options, root, arguments),
        Subject::Flood(options) => flood::run(&options, root, arguments),
    }
}

fn run_tunnel(options: &TunnelOptions, root: &Path, arguments: &[&str]) -> Result<()> {
    let mlvpn = options.program.find(root, arguments)?;
    let boringtun = match &options.boringtun {
        Some(path) => Some(absolute(path)?),
        None => build::find_in_path("boringtun-cli"),
    };
    if boringtun.is_none() {
        eprintln!(
            "no boringtun-cli in PATH: `cargo install boringtun-cli`, or give --boringtun PATH"
        );
    }
    let machine = Machine::describe(root, &mlvpn, boringtun.as_deref())?;
    let carriers = Carrier::all(&mlvpn, boringtun.as_deref());
    let duration = Duration::from_secs(options.seconds);
    let runs = measure::run_rounds(&carriers, options.rounds, duration)?;
    let table = Table::new(machine, options.rounds, options.seconds, runs);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&table)?);
    } else {
        println!("{table}");
    }
    if options.write_docs {
        table::write_docs(&root.join("docs/performance.md"), &table)?;
    }
    Ok(())
}

/// Programs are started in a directory of their own.
fn absolute(path: &Path) -> Result<PathBuf> {
    let found = path.canonicalize().with_context(|| format!("no program {}", path.display()))?;
    ensure!(found.is_file(), "{} is no program", path.display());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn no_rounds_or_no_time_make_no_sense() {
        for wrong in [["bench", "tunnel", "--rounds=0"], ["bench", "tunnel", "--seconds=0"]] {
            assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn scenarios_have_names() {
        for (name, is_known) in [("equal", true), ("fibre-lte", true), ("other", false)] {
            let parsed = Cli::try_parse_from(["bench", "bond", name, "--quick"]);
            assert_eq!(parsed.is_ok(), is_known, "{name}");
        }
    }
}
