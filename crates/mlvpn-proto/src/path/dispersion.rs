//! What a path carries at the most, by how far it pulls apart packets that were sent together.

use crate::time::Instant;

/// Gaps that are needed: one alone may be chance.
const LEAST_GAPS: u32 = 3;

/// The dispersion of packet trains (Dovrolis, Ramanathan and Moore, "What do packet dispersion techniques
/// measure?", INFOCOM 2001): at a bottleneck, packets that were sent at once leave one packet's time apart.
///
/// Jitter and other traffic widen gaps and narrow others. The narrowest tells: it is too narrow rather than too wide,
/// so that what it says the path carries is too much rather than too little, unless the way back is the narrower one.
///
/// A queue that is shorter than a train loses most of it. When no more trains come the gaps that there are tell, then,
/// and where there are none the path is taken to carry next to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dispersion {
    /// When the latest of them was sent, and when it came.
    last: Option<(Instant, Instant)>,
    gaps: u32,
    /// Bytes per second by the narrowest gap.
    rate: f64,
    /// Whether all have come that will.
    is_over: bool,
}

impl Dispersion {
    /// A packet that was sent at `sent` with others, `len` bytes on the link, is known to have come at `at`, give or take
    /// what is the same for all.
    pub fn on_arrival(&mut self, len: usize, sent: Instant, at: Instant) {
        let last = self.last.filter(|(sent_last, _)| *sent_last == sent);
        self.last = Some((sent, at));
        if let Some(gap) = last.map(|(_, last)| at.saturating_since(last)) {
            self.gaps = self.gaps.saturating_add(1);
            self.rate = self.rate.max(len as f64 / gap.as_secs_f64());
        }
    }

    /// No more is sent. What has not come is lost when nothing comes for as long as the latest took.
    pub fn on_all_sent(&mut self, now: Instant) {
        let is_lost =
            |(sent, at): (Instant, Instant)| now.saturating_since(at) >= at.saturating_since(sent);
        self.is_over |= self.last.is_some_and(is_lost);
    }

    /// Bytes per second that the path carries at the most, once enough packets have shown it, or all that will.
    #[must_use]
    pub fn most(&self) -> Option<f64> {
        (self.gaps >= LEAST_GAPS || self.is_over).then_some(self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After trains that arrive so.
    fn most_of(trains: &[&[u64]]) -> Option<f64> {
        let mut dispersion = Dispersion::default();
        for (sent, arrivals_ms) in (0..).map(Instant::from_millis).zip(trains) {
            for at in *arrivals_ms {
                dispersion.on_arrival(1_500, sent, Instant::from_millis(*at));
            }
        }
        dispersion.most()
    }

    fn most(arrivals_ms: &[u64]) -> Option<f64> {
        most_of(&[arrivals_ms])
    }

    #[test]
    fn a_train_is_pulled_apart_by_what_a_packet_takes() {
        assert_eq!(most(&[5, 17, 29, 41]), Some(125_000.0));
        assert_eq!(most(&[5, 17, 29]), None, "two gaps may be chance");
    }

    #[test]
    fn the_narrowest_gap_tells_and_none_at_all_tells_nothing() {
        assert_eq!(most(&[5, 17, 18, 41]), Some(1_500_000.0));
        assert_eq!(most(&[5, 5, 17, 29]), Some(f64::INFINITY));
    }

    #[test]
    fn where_most_of_a_train_is_lost_what_is_left_of_it_tells_when_nothing_else_comes() {
        let after = |arrivals_ms: &[u64], over_ms| {
            let mut dispersion = Dispersion::default();
            for at in arrivals_ms {
                dispersion.on_arrival(1_500, Instant::ZERO, Instant::from_millis(*at));
            }
            dispersion.on_all_sent(Instant::from_millis(over_ms));
            dispersion.most()
        };
        assert_eq!(after(&[10, 130], 259), None, "more may come");
        assert_eq!(after(&[10, 130], 260), Some(12_500.0));
        assert_eq!(after(&[10], 20), Some(0.0), "the queue held one alone");
        assert_eq!(after(&[10, 11], 30), Some(1_500_000.0), "it was chance");
        assert_eq!(after(&[], 1_000), None, "nothing tells nothing");
    }

    #[test]
    fn what_comes_after_all_counts() {
        let mut dispersion = Dispersion::default();
        dispersion.on_arrival(1_500, Instant::ZERO, Instant::from_millis(10));
        dispersion.on_all_sent(Instant::from_millis(20));
        dispersion.on_arrival(1_500, Instant::ZERO, Instant::from_millis(22));
        assert_eq!(dispersion.most(), Some(125_000.0));
    }

    #[test]
    fn packets_that_were_not_sent_together_are_not_one_train() {
        assert_eq!(most_of(&[&[5], &[17], &[29], &[41], &[53]]), None);
        assert_eq!(most_of(&[&[5, 17], &[20, 32, 44]]), Some(125_000.0));
    }
}
