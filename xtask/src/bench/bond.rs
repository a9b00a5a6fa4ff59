//! `cargo xtask bench bond`: what bonding makes of links that somebody might have.

pub(super) mod credentials;
pub(super) mod measure;
mod scenario;
mod table;
pub(super) mod trace;
pub(super) mod tunnel;
mod weather;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;
use mlvpn_lab::{Interrupt, Lab};

use super::build::Program;
use super::machine::Machine;
use super::measure::other_load;
use measure::{Bench, DIRECTIONS};
use scenario::{SCENARIOS, Scenario};
use table::{Measurement, Table, noun};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// What to measure [default: all]
    #[arg(value_name = "SCENARIO", value_parser = names())]
    scenarios: Vec<String>,
    /// How often everything is measured; the table has the medians
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// One flow takes 20 s instead of 60 s
    #[arg(long)]
    quick: bool,
    /// Congestion control of the hosts inside the tunnel
    #[arg(long, default_value = "cubic", value_parser = ["cubic", "bbr"])]
    congestion: String,
    #[command(flatten)]
    program: Program,
}

/// Measures and prints. A scenario that fails leaves the others alone.
///
/// # Errors
/// When something cannot be built or set up, a scenario failed, or a signal said to stop.
pub(super) fn run(options: &Options, root: &Path, arguments: &[&str]) -> Result<()> {
    let mlvpn = options.program.find(root, arguments)?;
    let chosen = options.chosen();
    let mut table = Table {
        machine: Machine::describe(root, &mlvpn, None)?,
        congestion: options.congestion.clone(),
        seconds: options.long().as_secs(),
        other_loads: Vec::new(),
        scenarios: chosen.iter().map(|scenario| (scenario.name, scenario.describe())).collect(),
        measurements: Vec::new(),
    };
    let interrupt = Interrupt::watch()?;
    let mut failures = 0;
    for scenario in (0..options.runs).flat_map(|_| chosen.iter().copied()) {
        if let Err(error) = measure(options, &mlvpn, scenario, &interrupt, &mut table) {
            failures += 1;
            eprintln!("{}: {error:#}", scenario.name);
        }
        if interrupt.is_raised() {
            break;
        }
    }
    println!("{table}");
    interrupt.check()?;
    ensure!(failures == 0, "{failures} measurements failed");
    Ok(())
}

impl Options {
    fn chosen(&self) -> Vec<&'static Scenario> {
        let is_chosen = |scenario: &&Scenario| {
            self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == scenario.name)
        };
        SCENARIOS.iter().filter(is_chosen).collect()
    }

    fn long(&self) -> Duration {
        Duration::from_secs(if self.quick { 20 } else { 60 })
    }
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(SCENARIOS.iter().map(|scenario| scenario.name))
}

/// One run of one scenario. What was measured before an error stays in the table.
fn measure(
    options: &Options,
    program: &Path,
    scenario: &'static Scenario,
    interrupt: &Interrupt,
    table: &mut Table,
) -> Result<()> {
    table.other_loads.push(other_load()?);
    let links = scenario.links()?;
    let add = |lab: mlvpn_lab::LabBuilder, link: &scenario::Link| {
        lab.link(&link.name, link.line.link.clone())
    };
    let lab = links.iter().fold(Lab::builder(), add).build()?;
    let (congestion, long) = (options.congestion.as_str(), options.long());
    let bench = Bench { program, lab: &lab, links: &links, congestion, long, interrupt };
    eprintln!("{}: each link alone", scenario.name);
    let alone = bench.alone()?;
    for direction in DIRECTIONS {
        eprintln!("{}: {}", scenario.name, noun(direction));
        let figures = bench.together(direction, &alone)?;
        table.measurements.push(Measurement { scenario: scenario.name, direction, figures });
    }
    Ok(())
}
