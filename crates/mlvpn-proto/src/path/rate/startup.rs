//! When a path that is sent on faster and faster is full.

use crate::time::{Duration, Instant};

/// Rounds without [`FULL_GROWTH`] after which nothing more is expected.
const FLAT_ROUNDS: u32 = 3;
/// Growth of what arrives in a round that shows that there is room.
const FULL_GROWTH: f64 = 1.25;
/// Reports with a queue after which the path is full, unless one tells of twice the queue.
const REPORTS_OVER: u32 = 2;
/// With this much jitter a queue may be an illusion. If it is none, less than this share of what is sent
/// arrives: a path that is sent on twice as fast as it carries delivers a half. A delay that rises once
/// looks the same for the round over which that is measured, and no longer.
pub(super) const NOTABLE_JITTER: Duration = Duration::from_millis(1);
const ARRIVES_WHOLE: f64 = 0.75;
/// So many times the jitter no illusion is: the delay is the lowest of all at one time and high at the other.
pub(super) const MOST_JITTERS: u32 = 8;

/// The end of STARTUP: a queue, or what arrives does not grow any more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Startup {
    /// Most bytes per second that arrived.
    best: f64,
    flat_rounds: u32,
    reports_over: u32,
    /// When all that was sent arrived last.
    whole_at: Instant,
    round_ends: Instant,
}

impl Startup {
    /// The queue that stands for certain, given the one in the latest report, the jitter and what that may be
    /// (`jitters`, none where it is not known since little is sent). With jitter it may be an illusion, and then
    /// all that is sent arrives: `share` of it did in the last `round`.
    pub(super) fn certain_queue(
        &mut self,
        queue: Duration,
        jitters: Option<(Duration, Duration)>,
        share: Option<f64>,
        round: Duration,
        now: Instant,
    ) -> Duration {
        if share.is_none_or(|share| share > ARRIVES_WHOLE) {
            self.whole_at = now;
        }
        let is_possible = jitters
            .is_none_or(|(jitter, most)| jitter >= NOTABLE_JITTER && queue < most * MOST_JITTERS);
        let is_illusion = is_possible && now < self.whole_at + round * 3 / 2;
        if is_illusion { Duration::ZERO } else { queue }
    }

    /// Whether the path is full, given what arrives, the queue in the latest report, the queue that
    /// is too much, and how long it takes until more sent is more arrived.
    pub(super) fn is_full(
        &mut self,
        delivered: Option<f64>,
        (queue, threshold): (Duration, Duration),
        round: Duration,
        now: Instant,
    ) -> bool {
        if let Some(delivered) = delivered
            && now >= self.round_ends
        {
            self.round_ends = now + round;
            let is_flat = delivered < self.best * FULL_GROWTH;
            self.flat_rounds = if is_flat { self.flat_rounds + 1 } else { 0 };
            self.best = self.best.max(delivered);
        }
        self.has_queue(queue, threshold) || self.flat_rounds >= FLAT_ROUNDS
    }

    /// Whether the queue tells that the path is full, which it does even when it was not given all that it
    /// might have taken.
    pub(super) fn has_queue(&mut self, queue: Duration, threshold: Duration) -> bool {
        self.reports_over = if queue > threshold { self.reports_over + 1 } else { 0 };
        self.reports_over >= REPORTS_OVER || queue > threshold * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_path_is_full_when_a_queue_stands() {
        let mut startup = Startup::default();
        let mut is_full =
            |queue| startup.is_full(None, (MS * queue, MS * 10), MS * 50, Instant::ZERO);
        assert!(!is_full(11));
        assert!(!is_full(3), "a single report may be jitter");
        assert!(!is_full(11));
        assert!(is_full(11));
        assert!(is_full(21));
    }

    #[test]
    fn jitter_is_not_a_queue_while_all_arrives() {
        let mut startup = Startup::default();
        let mut queue = |ms: u64, share| {
            let at = Instant::from_millis(100 + ms);
            startup.certain_queue(MS * 23, Some((MS * 2, MS * 3)), Some(share), MS * 50, at)
        };
        let seen = [(0, 1.0), (10, 0.7), (20, 0.8), (30, 0.6), (94, 0.6), (95, 0.6)];
        let certain = seen.map(|(ms, share)| queue(ms, share) > Duration::ZERO);
        assert_eq!(certain, [false, false, false, false, false, true]);
        let far = startup.certain_queue(
            MS * 24,
            Some((MS * 2, MS * 3)),
            Some(1.0),
            MS * 50,
            Instant::ZERO,
        );
        assert_eq!(far, MS * 24, "more than it varies by");
        let calm = startup.certain_queue(
            MS * 25,
            Some((Duration::ZERO, MS * 5)),
            Some(1.0),
            MS * 50,
            Instant::ZERO,
        );
        assert_eq!(calm, MS * 25);
        let unknown = startup.certain_queue(MS * 25, None, Some(1.0), MS * 50, Instant::ZERO);
        assert_eq!(unknown, Duration::ZERO, "a pause of somebody on the way");
    }

    #[test]
    fn a_path_is_full_when_three_rounds_bring_no_more() {
        let mut startup = Startup::default();
        let mut is_full = |ms, delivered| {
            startup.is_full(Some(delivered), (MS, MS * 10), MS * 50, Instant::from_millis(ms))
        };
        let rates = [100.0, 150.0, 190.0, 200.0, 200.0, 210.0];
        let full: Vec<_> = (1..).zip(rates).map(|(n, rate)| is_full(n * 50, rate)).collect();
        assert_eq!(full, [false, false, false, false, false, true]);
    }
}
