//! From single measurements to a table.

use std::fmt;

use mlvpn_sim::link::Direction;

use super::measure::Figures;
use crate::bench::machine::Machine;
use crate::bench::table::{Load, Spread};

/// One direction of one scenario in one run.
#[derive(Debug, Clone)]
pub(super) struct Measurement {
    pub(super) scenario: &'static str,
    pub(super) direction: Direction,
    pub(super) figures: Figures,
}

/// All that was measured.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) machine: Machine,
    /// Of the senders inside the tunnel.
    pub(super) congestion: String,
    /// How long the one flow took.
    pub(super) seconds: u64,
    /// Share of all processors that others used, before each scenario.
    pub(super) other_loads: Vec<f64>,
    /// Name and links, in the order of the rows.
    pub(super) scenarios: Vec<(&'static str, String)>,
    pub(super) measurements: Vec<Measurement>,
}

/// One line of the table: the same direction of the same scenario in all runs.
struct Row<'a>(Vec<&'a Measurement>);

impl Table {
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let directions = [Direction::Down, Direction::Up];
        let keys = self.scenarios.iter().flat_map(move |(name, _)| directions.map(|d| (*name, d)));
        let row = |(name, direction)| {
            let all = self.measurements.iter();
            Row(all.filter(|m| (m.scenario, m.direction) == (name, direction)).collect())
        };
        keys.map(row).filter(|row| !row.0.is_empty())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.machine)?;
        writeln!(f, "- TCP: {}, one flow of {} s", self.congestion, self.seconds)?;
        for (name, links) in &self.scenarios {
            writeln!(f, "- {name}: {links}")?;
        }
        let load = Spread::of(self.other_loads.iter().copied()).median;
        writeln!(f, "- {}\n", Load(load))?;
        writeln!(
            f,
            "| scenario | direction | runs | Mbit/s, 1 flow, settled | share, settled | start to best link | share, 8 flows | ping, p50 / p95, ms | silence after cut, ms |"
        )?;
        writeln!(f, "|---|---|---:|---:|---:|---:|---:|---:|---:|")?;
        self.rows().try_for_each(|row| writeln!(f, "{row}"))
    }
}

impl Row<'_> {
    fn median(&self, figure: fn(&Figures) -> f64) -> f64 {
        Spread::of(self.0.iter().map(|measurement| figure(&measurement.figures))).median
    }
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.0.first() else { return Ok(()) };
        let (name, direction) = (first.scenario, noun(first.direction));
        write!(f, "| {name} | {direction} | {} |", self.0.len())?;
        write!(f, " {:.1} |", self.median(|figures| figures.settled_mbit))?;
        write!(f, " {:.1} % |", 100.0 * self.median(|figures| figures.settled))?;
        write!(f, " {:.2} |", self.median(|figures| figures.start))?;
        write!(f, " {:.1} % |", 100.0 * self.median(|figures| figures.many))?;
        let p50 = self.median(|figures| figures.ping_p50_ms);
        write!(f, " {p50:+.1} / {:+.1} |", self.median(|figures| figures.ping_p95_ms))?;
        write!(f, " {:.0} |", self.median(|figures| figures.silence_ms))
    }
}

/// In words.
pub(super) fn noun(direction: Direction) -> &'static str {
    match direction {
        Direction::Down => "download",
        Direction::Up => "upload",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_medians_of_its_runs() {
        let measurement = |settled| Measurement {
            scenario: "equal",
            direction: Direction::Up,
            figures: Figures {
                settled_mbit: 90.0 * settled,
                settled,
                start: 1.5,
                many: 0.9,
                ping_p50_ms: -1.0,
                ping_p95_ms: f64::INFINITY,
                silence_ms: 300.0,
            },
        };
        let all = [measurement(0.5), measurement(0.8), measurement(0.6)];
        assert_eq!(
            Row(all.iter().collect()).to_string(),
            "| equal | upload | 3 | 54.0 | 60.0 % | 1.50 | 90.0 % | -1.0 / +inf | 300 |"
        );
    }
}
