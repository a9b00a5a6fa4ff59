//! The result of the demo, as numbers; [`super::show`] puts it in words.

use mlvpn_lab::Series;
use serde::Serialize;

use super::lines::Packets;

/// Everything that was measured. Written as JSON it is the output of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    /// The version of mlvpn's protocol that was spoken.
    pub(super) protocol: &'static str,
    /// Of the TCP connections.
    pub(super) congestion_control: &'static str,
    pub(super) packets: Packets,
    /// Length of a download or upload.
    pub(super) transfer_s: f64,
    /// Where in it the measuring begins.
    pub(super) settled_after_s: f64,
    pub(super) lines: Vec<LineFacts>,
    /// One per line, in their order.
    pub(super) alone: Vec<Phase>,
    pub(super) bonded: Phase,
    pub(super) cut: Cut,
}

/// A line as it was given.
#[derive(Debug, Serialize)]
pub(super) struct LineFacts {
    pub(super) name: String,
    /// As `--link` takes it.
    pub(super) spec: String,
    /// In words.
    #[serde(skip)]
    pub(super) description: String,
    pub(super) down_mbit: f64,
    pub(super) up_mbit: f64,
}

/// What a set of lines achieved.
#[derive(Debug, Serialize)]
pub(super) struct Phase {
    pub(super) lines: Vec<String>,
    pub(super) down: Rate,
    pub(super) up: Rate,
    pub(super) ping_idle: PingTimes,
    /// Beside the download.
    pub(super) ping_loaded: PingTimes,
}

/// The rate of a transfer in its settled part.
#[derive(Debug, Serialize)]
pub(super) struct Rate {
    /// Payload of TCP at the receiver, in Mbit/s.
    pub(super) goodput_mbit: f64,
    /// What the headers leave of the sum of the lines' rates.
    pub(super) possible_mbit: f64,
    /// The former by the latter.
    pub(super) share: f64,
    /// IP packets that arrived on each line of the lab.
    pub(super) lines: Vec<LineRate>,
    /// Payload that was not what had been sent.
    pub(super) wrong_bytes: u64,
    /// The same over the whole time, for the plots.
    #[serde(skip)]
    pub(super) curves: Vec<Series>,
}

/// What one line carried.
#[derive(Debug, Serialize)]
pub(super) struct LineRate {
    pub(super) name: String,
    /// In the settled part.
    pub(super) mbit: f64,
    /// In the whole transfer.
    pub(super) bytes: u64,
}

/// Round trips through the tunnel, in ms; 0 when there was no answer.
#[derive(Debug, Serialize)]
pub(super) struct PingTimes {
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) sent: u32,
    pub(super) answered: usize,
}

/// What the cut of a line did to a transfer.
#[derive(Debug, Serialize)]
pub(super) struct Cut {
    /// The line that was cut.
    pub(super) line: String,
    /// "download" or "upload".
    pub(super) transfer: &'static str,
    /// Seconds from the start of the transfer.
    pub(super) at_s: f64,
    /// The longest time without any payload that ended after the cut.
    pub(super) longest_silence_ms: f64,
    /// From the settling to the cut.
    pub(super) before_mbit: f64,
    /// In the last two seconds.
    pub(super) after_mbit: f64,
    /// What the headers leave of the remaining lines.
    pub(super) possible_after_mbit: f64,
    pub(super) wrong_bytes: u64,
    #[serde(skip)]
    pub(super) curves: Vec<Series>,
}

impl PingTimes {
    /// Of round-trip times in any order.
    pub(super) fn of(sent: u32, rtts_ms: &[Option<f64>]) -> Self {
        let mut times: Vec<f64> = rtts_ms.iter().flatten().copied().collect();
        times.sort_by(f64::total_cmp);
        // Nearest rank.
        let percentile = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).copied().unwrap_or(0.0)
        };
        Self { p50_ms: percentile(50), p95_ms: percentile(95), sent, answered: times.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_answers_alone() {
        let mut rtts: Vec<Option<f64>> = (1..=20).rev().map(|ms| Some(f64::from(ms))).collect();
        rtts.push(None);
        let times = PingTimes::of(21, &rtts);
        assert_eq!((times.p50_ms, times.p95_ms), (10.0, 19.0));
        assert_eq!((times.sent, times.answered), (21, 20));
        let none = PingTimes::of(1, &[None]);
        assert_eq!((none.p50_ms, none.p95_ms, none.answered), (0.0, 0.0, 0));
    }
}
