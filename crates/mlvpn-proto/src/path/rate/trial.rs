//! Whose queue it is: what we drain by sending less is ours, what stays is somebody else's.

use crate::power::exp2;
use crate::time::{Duration, Instant};
use core::f64::consts::LOG2_E;

/// So many control rounds after sending less had its first effect a queue of ours is visibly
/// shorter; when only a little less is sent, after twice as many.
const ROUNDS: u32 = 4;
/// A queue stays when it is above this share of the most that it was, and does not grow when it is
/// below this multiple of what it was at the first effect.
const STAYS: f64 = 0.6;
const GROWS: f64 = 1.3;
/// The estimate falls to no less than this share of itself in the first round, and to no less than
/// this share of what arrived in that round later on. What arrives then depends on how much we
/// leave to others, and who follows it down ends at nothing.
const LEAST_AT_FIRST: f64 = 0.25;
const LEAST_LATER: f64 = 0.85;
/// A rival is forgotten in about this time.
const RIVALRY_FADES: Duration = Duration::from_secs(20);
/// What is found once may be a new route or radio.
const FOUND_BY_CHANCE: f64 = 1.6;
/// More queue that is tolerated each further time that some is found not to be ours.
const TOLERANCE_STEP: Duration = Duration::from_millis(20);
const MOST_TOLERANCE: Duration = Duration::from_millis(100);
/// What is left of the rivalry when a full queue drops.
const AFTER_DROPS: f64 = 0.7;

/// An experiment: less is sent, and the queue watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct DrainTrial {
    since: Instant,
    /// Most queue above the target until now.
    most: Duration,
    /// When sending less had its first effect, and the queue above the target then.
    settled: Option<(Instant, Duration)>,
    /// Bytes per second that arrived at the beginning.
    pub(super) delivered: f64,
    /// What the estimate may fall to.
    pub(super) least: f64,
}

impl DrainTrial {
    /// Begins with `excess` of queue above the target and `delivered` bytes per second arriving.
    pub(super) fn new(excess: Duration, delivered: f64, estimate: f64, now: Instant) -> Self {
        let least = estimate * LEAST_AT_FIRST;
        Self { since: now, most: excess, settled: None, delivered, least }
    }

    /// Takes a report into account: `excess` of queue stands above the target and `delivered` bytes
    /// per second arrive. The first effect is seen after a `round` and the time in the queue.
    pub(super) fn on_report(
        &mut self,
        excess: Duration,
        delivered: f64,
        round: Duration,
        now: Instant,
    ) {
        self.most = self.most.max(excess);
        if self.settled.is_none() && now >= self.since + round + self.most {
            self.least = delivered * LEAST_LATER;
            self.settled = Some((now, excess));
        }
    }

    /// Whether the `excess` of queue is somebody else's; none while that is open.
    pub(super) fn verdict(
        &self,
        excess: Duration,
        is_draining: bool,
        round: Duration,
        now: Instant,
    ) -> Option<bool> {
        let (settled_at, settled) = self.settled?;
        let rounds = if is_draining { ROUNDS } else { ROUNDS * 2 };
        let stays = excess > self.most.mul_f64(STAYS);
        let grows = excess > settled.mul_f64(GROWS);
        (now >= settled_at + round * rounds).then_some(stays && !grows)
    }
}

/// Somebody who fills the same buffer whatever we do. Yielding to him would leave us nothing, so
/// that the more often a queue is found to be his, the more queue is tolerated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rivalry {
    found: f64,
    found_at: Instant,
    tolerance: Duration,
}

impl Rivalry {
    /// A queue was found not to be ours.
    pub(super) fn on_foreign_queue(&mut self, now: Instant) {
        let age = now.saturating_since(self.found_at).as_secs_f64();
        self.found = self.found * exp2(-age / RIVALRY_FADES.as_secs_f64() * LOG2_E) + 1.0;
        self.found_at = now;
        let further = (self.found - FOUND_BY_CHANCE).max(0.0);
        self.tolerance = TOLERANCE_STEP.mul_f64(further).min(MOST_TOLERANCE);
    }

    /// The buffer is full and drops.
    pub(super) fn on_drops(&mut self) {
        let most = FOUND_BY_CHANCE + MOST_TOLERANCE.as_secs_f64() / TOLERANCE_STEP.as_secs_f64();
        self.found = self.found.min(most) * AFTER_DROPS;
        self.tolerance = self.tolerance.mul_f64(AFTER_DROPS);
    }

    /// The queue that is tolerated because of him.
    pub(super) fn tolerance(&self) -> Duration {
        self.tolerance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The verdict on queues reported every 50 ms, which is also the round.
    fn verdict(excesses: &[u32]) -> Option<bool> {
        let mut trial = DrainTrial::new(MS * excesses[0], 1_000.0, 1_000.0, Instant::ZERO);
        let at = |n: u64| Instant::from_millis(n * 50);
        (0..).zip(excesses).find_map(|(n, &excess)| {
            trial.on_report(MS * excess, 1_000.0, MS * 50, at(n));
            trial.verdict(MS * excess, true, MS * 50, at(n))
        })
    }

    #[test]
    fn a_queue_that_stays_is_foreign() {
        assert_eq!(verdict(&[20; 7]), Some(true));
        assert_eq!(verdict(&[20; 6]), None, "too early");
        assert_eq!(verdict(&[20, 20, 20, 15, 12, 10, 8]), Some(false), "drained");
        assert_eq!(verdict(&[20, 20, 20, 25, 30, 35, 40]), Some(false), "something else goes on");
        assert_eq!(verdict(&[20, 60, 100, 140, 120, 90, 60, 40, 20]), Some(false), "over its peak");
    }

    #[test]
    fn the_estimate_does_not_follow_what_our_own_yielding_leaves() {
        let mut trial = DrainTrial::new(MS * 20, 1_000.0, 1_000.0, Instant::ZERO);
        assert_eq!(trial.least, 250.0);
        trial.on_report(MS * 20, 600.0, MS * 50, Instant::from_millis(80));
        trial.on_report(MS * 20, 100.0, MS * 50, Instant::from_millis(130));
        assert_eq!(trial.least, 510.0);
    }

    #[test]
    fn one_finding_is_tolerated_by_nobody_and_drops_make_modest() {
        let mut rivalry = Rivalry::default();
        rivalry.on_foreign_queue(Instant::from_secs(100));
        assert_eq!(rivalry.tolerance(), Duration::ZERO);
        for second in 101..120 {
            rivalry.on_foreign_queue(Instant::from_secs(second));
        }
        assert_eq!(rivalry.tolerance(), MS * 100);
        rivalry.on_drops();
        assert_eq!(rivalry.tolerance(), MS * 70);
        rivalry.on_foreign_queue(Instant::from_secs(1_000));
        assert_eq!(rivalry.tolerance(), Duration::ZERO, "long ago");
    }
}
