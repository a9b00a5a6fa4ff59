//! From single measurements to a table.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::machine::Machine;
use super::measure::{FLOWS, Figures, Run};

/// The carrier that others are compared with.
const REFERENCE: &str = "boringtun";
/// Above this share of the processors, others disturb a measurement.
const QUIET: f64 = 0.1;
/// Around the table in the documentation.
const DOCS_BEGIN: &str = "<!-- begin: cargo xtask bench tunnel --write-docs -->\n";
const DOCS_END: &str = "<!-- end -->\n";

/// All that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    machine: Machine,
    rounds: u32,
    seconds: u64,
    /// Median share of all processors that others used: 0 to 1.
    other_load: f64,
    rows: Vec<Row>,
    runs: Vec<Run>,
}

/// One carrier; each array has an entry per number of flows.
#[derive(Debug, Serialize)]
struct Row {
    carrier: &'static str,
    mtu: u32,
    mbit: [Spread; FLOWS.len()],
    /// To the reference in the same round.
    ratio: Option<[Spread; FLOWS.len()]>,
    tunnel_cpu_per_gb: [Spread; FLOWS.len()],
    workload_cpu_per_gb: [Spread; FLOWS.len()],
}

/// A figure over all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    lowest: f64,
    highest: f64,
}

/// The share of all processors that others used: 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load(pub(super) f64);

impl Table {
    /// Sums up `runs`.
    pub(super) fn new(machine: Machine, rounds: u32, seconds: u64, runs: Vec<Run>) -> Self {
        let mut carriers: Vec<_> = runs.iter().filter(|run| run.round == 0).collect();
        carriers.dedup_by_key(|run| run.carrier);
        let rows = carriers.iter().map(|run| Row::new(run, &runs)).collect();
        let other_load = Spread::of(runs.iter().map(|run| run.other_load)).median;
        Self { machine, rounds, seconds, other_load, rows, runs }
    }
}

impl Row {
    fn new(first: &Run, all: &[Run]) -> Self {
        let of_carrier = |name| all.iter().filter(move |run: &&Run| run.carrier == name);
        let over_rounds = |figure: fn(&Figures) -> f64| {
            std::array::from_fn(|flows| {
                Spread::of(of_carrier(first.carrier).map(|run| figure(&run.transfers[flows])))
            })
        };
        let has_reference = of_carrier(REFERENCE).next().is_some();
        let ratio = std::array::from_fn(|flows| {
            Spread::of(of_carrier(first.carrier).filter_map(|run| {
                let reference = of_carrier(REFERENCE).find(|other| other.round == run.round)?;
                Some(run.transfers[flows].mbit / reference.transfers[flows].mbit)
            }))
        });
        Self {
            carrier: first.carrier,
            mtu: first.mtu,
            mbit: over_rounds(|figures| figures.mbit),
            ratio: has_reference.then_some(ratio),
            tunnel_cpu_per_gb: over_rounds(|figures| figures.tunnel_cpu_per_gb),
            workload_cpu_per_gb: over_rounds(|figures| figures.workload_cpu_per_gb),
        }
    }
}

impl Spread {
    /// Of nothing it is zero.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (Some(&lowest), Some(&highest)) = (values.first(), values.last()) else {
            return Self { median: 0.0, lowest: 0.0, highest: 0.0 };
        };
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Self { median, lowest, highest }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.machine)?;
        writeln!(f, "- {} rounds of {} s per transfer", self.rounds, self.seconds)?;
        writeln!(f, "- {}\n", Load(self.other_load))?;
        writeln!(
            f,
            "| through | MTU | Mbit/s, 1 flow | Mbit/s, 8 flows | to boringtun, 1 / 8 | CPU s/GB, 1 / 8 | workload, 1 / 8 |"
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|")?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let judgement = if self.0 > QUIET {
            "**measured beside other load**, preliminary"
        } else {
            "a quiet machine"
        };
        write!(f, "other programs used {:.0} % of the processors: {judgement}", self.0 * 100.0)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} | {} |", self.carrier, self.mtu)?;
        for Spread { median, lowest, highest } in &self.mbit {
            write!(f, " {median:.0} ({lowest:.0}–{highest:.0}) |")?;
        }
        match &self.ratio {
            Some([one, many]) => write!(f, " {:.2} / {:.2} |", one.median, many.median)?,
            None => write!(f, " – |")?,
        }
        for [one, many] in [&self.tunnel_cpu_per_gb, &self.workload_cpu_per_gb] {
            write!(f, " {:.2} / {:.2} |", one.median, many.median)?;
        }
        Ok(())
    }
}

/// Replaces the table in a file.
///
/// # Errors
/// When the file has no place for it.
pub(super) fn write_docs(file: &Path, table: &Table) -> Result<()> {
    let name = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let text = replaced(&text, &table.to_string())
        .with_context(|| format!("{name} has no lines `{DOCS_BEGIN}` and `{DOCS_END}`"))?;
    fs::write(file, text).with_context(|| format!("cannot write {name}"))
}

fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(DOCS_BEGIN)?;
    let (_, after) = rest.split_once(DOCS_END)?;
    Some(format!("{before}{DOCS_BEGIN}\n{table}\n{DOCS_END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(carrier: &'static str, round: u32, mbit: [f64; 2]) -> Run {
        let transfers = mbit.map(|mbit| Figures { mbit, ..Figures::default() });
        Run { carrier, round, mtu: 1420, other_load: 0.0, transfers }
    }

    #[test]
    fn a_spread_is_the_median_and_both_ends() {
        let spread = |values: &[f64]| {
            let spread = Spread::of(values.iter().copied());
            (spread.median, spread.lowest, spread.highest)
        };
        assert_eq!(spread(&[3.0, 9.0, 1.0]), (3.0, 1.0, 9.0));
        assert_eq!(spread(&[1.0, 2.0, 4.0, 8.0]), (3.0, 1.0, 8.0));
        assert_eq!(spread(&[]), (0.0, 0.0, 0.0));
    }

    #[test]
    fn a_ratio_compares_within_a_round() {
        // The machine is ten times slower in the second round, and the last round was quiet.
        let all = [
            run("mlvpn", 0, [200.0, 300.0]),
            run(REFERENCE, 0, [100.0, 100.0]),
            run(REFERENCE, 1, [10.0, 10.0]),
            run("mlvpn", 1, [20.0, 30.0]),
            run("mlvpn", 2, [1000.0, 1500.0]),
            run(REFERENCE, 2, [500.0, 500.0]),
        ];
        let row = Row::new(&all[0], &all);
        let ratio = row.ratio.unwrap();
        assert_eq!((ratio[0].lowest, ratio[0].highest), (2.0, 2.0));
        assert_eq!((ratio[1].lowest, ratio[1].highest), (3.0, 3.0));
        assert_eq!(row.mbit[0].median, 200.0);
        assert!(Row::new(&all[0], &all[..1]).ratio.is_none());
    }

    #[test]
    fn only_the_table_is_replaced() {
        let text = format!("before\n{DOCS_BEGIN}old\n{DOCS_END}after\n");
        let expected = format!("before\n{DOCS_BEGIN}\nnew\n\n{DOCS_END}after\n");
        assert_eq!(replaced(&text, "new\n").unwrap(), expected);
        assert_eq!(replaced(&expected, "new\n").unwrap(), expected);
        assert_eq!(replaced("no place", "new"), None);
    }
}
