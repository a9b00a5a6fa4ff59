//! From single measurements to a table.

use std::collections::BTreeSet;
use std::fmt;

use super::measure::{KINDS, Kind, Run};
use crate::bench::bond::credentials::Credentials;
use crate::bench::machine::Machine;
use crate::bench::table::{Load, Spread};

const MIB: f64 = 1_048_576.0;

/// All that was measured.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) machine: Machine,
    pub(super) rounds: u32,
    /// How long a transfer took.
    pub(super) seconds: u64,
    /// Datagrams per second that were asked for.
    pub(super) rate: u64,
    pub(super) credentials: Credentials,
    pub(super) runs: Vec<Run>,
}

/// One line of the table: the same kind in all rounds.
struct Row<'a>(Vec<&'a Run>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.machine)?;
        let Self { rounds, seconds, rate, .. } = self;
        writeln!(f, "- {rounds} rounds of {seconds} s alone and {seconds} s beside the flood")?;
        writeln!(f, "- asked for: {rate} initiations of 1200 bytes per second")?;
        let known_by = match self.credentials {
            Credentials::Password => "a password",
            Credentials::Keys => "key pairs",
        };
        writeln!(f, "- the ends know each other by {known_by}")?;
        let load = Spread::of(self.runs.iter().map(|run| run.other_load)).median;
        writeln!(f, "- {}\n", Load(load))?;
        writeln!(
            f,
            "| flood | per second | Mbit/s, alone / beside | kept | ping p95, ms | pings lost | server CPU | µs each | server MiB | answered | dropped | no room | session |"
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|---|")?;
        let rows = KINDS.map(|kind| Row(self.runs.iter().filter(|r| r.kind == kind).collect()));
        rows.iter().filter(|row| !row.0.is_empty()).try_for_each(|row| writeln!(f, "{row}"))
    }
}

impl Row<'_> {
    fn median(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        Spread::of(self.0.iter().map(|run| figure(run))).median
    }

    /// Reasons and what share of the flood's datagrams was dropped for them; reasons of less than a
    /// thousandth are left out.
    fn drops(&self, kind: Kind) -> String {
        if kind == Kind::OtherPort {
            return "–".to_owned();
        }
        let names: BTreeSet<&String> = self.0.iter().flat_map(|run| run.drops.keys()).collect();
        let share = |name: &str| {
            self.median(|run| {
                run.drops.get(name).copied().unwrap_or(0) as f64 / run.flood.sent.max(1) as f64
            })
        };
        let shares = names.iter().map(|name| (name, share(name)));
        let told = shares.filter(|(_, share)| *share >= 0.001);
        let told: Vec<_> =
            told.map(|(name, share)| format!("`{name}` {:.1} %", 100.0 * share)).collect();
        if told.is_empty() { "nothing".to_owned() } else { told.join(", ") }
    }
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.0.first() else { return Ok(()) };
        write!(f, "| {} | {:.0} |", first.kind.name(), self.median(|run| run.flood.rate()))?;
        let alone = self.median(|run| run.alone.mbit);
        write!(f, " {alone:.0} / {:.0} |", self.median(|run| run.beside.mbit))?;
        write!(f, " {:.2} |", self.median(|run| run.beside.mbit / run.alone.mbit))?;
        let alone = self.median(|run| run.alone.ping_p95_ms);
        write!(f, " {alone:.1} / {:.1} |", self.median(|run| run.beside.ping_p95_ms))?;
        let alone = 100.0 * self.median(|run| run.alone.ping_loss);
        let beside = 100.0 * self.median(|run| run.beside.ping_loss);
        write!(f, " {alone:.1} % / {beside:.1} % |")?;
        let alone = 100.0 * self.median(|run| run.alone.server_cpu);
        let beside = 100.0 * self.median(|run| run.beside.server_cpu);
        write!(f, " {alone:.0} % / {beside:.0} % |")?;
        write!(f, " {:.1} |", self.median(|run| run.each_us))?;
        let before = self.median(|run| run.resident[0] as f64 / MIB);
        write!(f, " {before:.1} / {:.1} |", self.median(|run| run.resident[1] as f64 / MIB))?;
        let answered = |run: &Run| run.answered_bytes as f64 / run.flood_bytes.max(1) as f64;
        write!(f, " {:.2} % |", 100.0 * self.median(answered))?;
        write!(f, " {} |", self.drops(first.kind))?;
        write!(f, " {:.0} |", self.median(|run| run.overflow as f64))?;
        let broken = self.0.iter().filter(|run| !run.is_unbroken).count();
        let session = match broken {
            0 => "the same".to_owned(),
            count => format!("lost in {count} of {}", self.0.len()),
        };
        write!(f, " {session} |")
    }
}

impl fmt::Display for Run {
    /// For those who wait.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (alone, beside) = (self.alone.mbit, self.beside.mbit);
        let (name, rate) = (self.kind.name(), self.flood.rate());
        write!(f, "{name:32} {rate:6.0} a second, {alone:5.0} → {beside:5.0} Mbit/s")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mlvpn_lab::workload::FloodReport;

    use super::super::measure::Window;
    use super::*;

    #[test]
    fn a_row_has_medians_of_ratios_and_tells_of_every_lost_session() {
        let run = |alone: f64, beside: f64, is_unbroken| Run {
            kind: Kind::Random { is_spoofed: false },
            other_load: 0.0,
            alone: Window { mbit: alone, ping_p95_ms: 1.0, ping_loss: 0.0, server_cpu: 0.5 },
            beside: Window { mbit: beside, ping_p95_ms: 2.0, ping_loss: 0.25, server_cpu: 0.75 },
            flood: FloodReport { sent: 1_000, seconds: 2.0, ..FloodReport::default() },
            each_us: 4.0,
            answered_bytes: 5,
            flood_bytes: 1_000,
            resident: [1_048_576, 2_097_152],
            drops: BTreeMap::from([("handshake".to_owned(), 990), ("replayed".to_owned(), 0)]),
            overflow: 10,
            is_unbroken,
        };
        let all = [run(100.0, 90.0, true), run(200.0, 100.0, false), run(100.0, 80.0, true)];
        assert_eq!(
            Row(all.iter().collect()).to_string(),
            "| random | 500 | 100 / 90 | 0.80 | 1.0 / 2.0 | 0.0 % / 25.0 % | 50 % / 75 % | 4.0 | 1.0 / 2.0 \
             | 0.50 % | `handshake` 99.0 % | 10 | lost in 1 of 3 |"
        );
    }
}
