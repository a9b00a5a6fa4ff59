//! The memories of BBR's model.

use mlvpn_proto::time::Instant;
use std::collections::VecDeque;

/// Rounds that each of the two halves of the memory of bunches covers.
const BUNCH_ROUNDS: u32 = 5;
/// No more segments of one bunch are counted.
const LARGEST_BUNCH: f64 = 1_048_575.0;
/// The window makes up for bunches that are this many seconds long at most.
const LONGEST_BUNCH: f64 = 0.1;

/// The maximum of the values of the last rounds.
#[derive(Clone, Debug)]
pub(super) struct WindowedMax {
    rounds: u64,
    /// Falling values with the rounds in which they came.
    values: VecDeque<(u64, f64)>,
}

impl WindowedMax {
    /// Remembers for `rounds` rounds.
    pub(super) fn new(rounds: u64) -> Self {
        Self { rounds, values: VecDeque::new() }
    }

    pub(super) fn add(&mut self, round: u64, value: f64) {
        while self.values.back().is_some_and(|&(_, smaller)| smaller <= value) {
            self.values.pop_back();
        }
        self.values.push_back((round, value));
        while self.values.front().is_some_and(|&(old, _)| round - old > self.rounds) {
            self.values.pop_front();
        }
    }

    /// Zero before the first value.
    pub(super) fn value(&self) -> f64 {
        self.values.front().map_or(0.0, |&(_, value)| value)
    }
}

/// By how much more than the bandwidth explains is acknowledged at once, lately.
#[derive(Clone, Debug, Default)]
pub(super) struct BunchFilter {
    since: Instant,
    acked: f64,
    /// The largest excess of this and of the former [`BUNCH_ROUNDS`].
    largest: [f64; 2],
    rounds: u32,
}

impl BunchFilter {
    /// Begins to count anew.
    pub(super) fn restart(&mut self, now: Instant) {
        (self.since, self.acked) = (now, 0.0);
    }

    /// `newly` segments were acknowledged; the excess is `window` at most.
    pub(super) fn on_ack(
        &mut self,
        newly: u64,
        bandwidth: f64,
        window: f64,
        is_round_start: bool,
        now: Instant,
    ) {
        if is_round_start {
            self.rounds += 1;
            if self.rounds >= BUNCH_ROUNDS {
                self.rounds = 0;
                self.largest = [0.0, self.largest[0]];
            }
        }
        let newly = newly as f64;
        let expected = |since: Instant| bandwidth * now.saturating_since(since).as_secs_f64();
        if self.acked <= expected(self.since) || self.acked + newly > LARGEST_BUNCH {
            self.restart(now);
        }
        self.acked += newly;
        let excess = (self.acked - expected(self.since)).min(window);
        self.largest[0] = self.largest[0].max(excess);
    }

    /// Segments by which the window is to be larger.
    pub(super) fn extra(&self, bandwidth: f64) -> f64 {
        self.largest[0].max(self.largest[1]).min(bandwidth * LONGEST_BUNCH).floor()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maximum_is_forgotten_after_its_rounds() {
        let mut max = WindowedMax::new(10);
        assert_eq!(max.value(), 0.0);
        max.add(1, 5.0);
        max.add(4, 3.0);
        max.add(11, 1.0);
        assert_eq!(max.value(), 5.0);
        max.add(12, 1.0);
        assert_eq!(max.value(), 3.0);
        max.add(13, 9.0);
        assert_eq!(max.value(), 9.0);
    }

    #[test]
    fn bunches_are_what_the_bandwidth_does_not_explain() {
        let mut bunches = BunchFilter::default();
        // A thousand a second: one each millisecond is no bunch, beyond the one itself.
        for ms in 0..100 {
            bunches.on_ack(1, 1_000.0, 100.0, false, Instant::from_millis(ms));
        }
        assert_eq!(bunches.extra(1_000.0), 1.0);
        for _ in 0..20 {
            bunches.on_ack(1, 1_000.0, 100.0, false, Instant::from_millis(120));
        }
        assert_eq!(bunches.extra(1_000.0), 20.0);
        for round in 0..10 {
            bunches.on_ack(1, 1_000.0, 100.0, true, Instant::from_millis(200 + 50 * round));
        }
        assert_eq!(bunches.extra(1_000.0), 1.0, "forgotten");
    }
}
