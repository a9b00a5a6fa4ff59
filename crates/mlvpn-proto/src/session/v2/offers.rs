//! Which initiations of the peer may be for a session that exists.

use crate::time::{Duration, Instant};

/// Between two initiations for one session `[H25]`, as WireGuard has it: each takes an index for minutes.
const PAUSE: Duration = Duration::from_millis(20);

/// What was accepted before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offers {
    /// The latest time that one named, in microseconds since 1970 on the peer's clock `[H11]`.
    latest_time: Option<u64>,
    /// When the latest with a time came, and the latest without.
    timed_at: Option<Instant>,
    untimed_at: Option<Instant>,
}

impl Offers {
    /// Whether an initiation of that time may be for this session: it is no replay, or does not say `[H11]`, and the
    /// one before is not of the same moment `[H25]`. One without a time may be a replay, which shall keep nobody out.
    pub(super) fn accepts(&self, time_micros: Option<u64>, now: Instant) -> bool {
        let is_later = time_micros.is_none() || time_micros > self.latest_time;
        let before = if time_micros.is_some() { self.timed_at } else { self.untimed_at };
        is_later && before.is_none_or(|at| now.saturating_since(at) >= PAUSE)
    }

    /// An initiation of that time was accepted.
    pub(super) fn note(&mut self, time_micros: Option<u64>, now: Instant) {
        self.latest_time = self.latest_time.max(time_micros);
        let at = if time_micros.is_some() { &mut self.timed_at } else { &mut self.untimed_at };
        *at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(10_000 + ms)
    }

    #[test]
    fn an_initiation_is_refused_as_a_replay_only_by_a_time_that_it_names() {
        let mut offers = Offers::default();
        offers.note(Some(5), at(0));
        offers.note(Some(3), at(0));
        offers.note(None, at(0));
        assert!(offers.accepts(Some(6), at(1_000)));
        assert!(!offers.accepts(Some(5), at(1_000)));
        assert!(offers.accepts(None, at(1_000)));
    }

    #[test]
    fn a_peer_gets_no_more_than_fifty_epochs_a_second_with_a_time_and_as_many_without() {
        for [one, next] in [[Some(5), Some(6)], [None, None]] {
            let mut offers = Offers::default();
            assert!(offers.accepts(one, at(0)));
            offers.note(one, at(0));
            assert!(!offers.accepts(next, at(19)));
            assert!(offers.accepts(next, at(20)));
        }
    }

    #[test]
    fn one_without_a_time_keeps_none_out_that_has_one() {
        let mut offers = Offers::default();
        offers.note(None, at(0));
        assert!(offers.accepts(Some(5), at(0)));
        offers.note(Some(5), at(0));
        assert!(offers.accepts(None, at(20)));
    }
}
