//! When the queue is drained for a moment, so that the delay without it is not forgotten.

use crate::time::{Duration, Instant};

/// How long without a sight of the empty network until one is made.
const EVERY: Duration = Duration::from_secs(4);
/// The first comes soon after STARTUP: what was learned before was learned without load, and radio
/// and switches delay a busy path more.
const FIRST: Duration = Duration::from_millis(500);
/// An estimate below this share of what it was makes a look due, and sooner by so much.
const FALLEN: f64 = 0.93;
const SOONER: Duration = Duration::from_millis(3_000);
/// How much more than the queue is drained.
const DEEPER: Duration = Duration::from_millis(2);
/// Most queue that is drained for it.
const MOST: Duration = Duration::from_millis(100);
/// The share of the rate that is sent meanwhile.
pub(super) const GAIN: f64 = 0.6;

/// Looks at the empty network (RE-BASE).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    due: Option<Instant>,
    /// Until when what arrives belongs to the look.
    until: Option<Instant>,
    /// Seconds of sending that are still to be left out.
    to_skip: f64,
    was_one: bool,
    /// The next one is to tell whether what was taken for somebody else's queue is ours after all.
    is_to_verify: bool,
    /// The highest estimate since the last one.
    highest: f64,
}

impl Look {
    /// The network is empty anyway, or no look is wanted.
    pub(super) fn postpone(&mut self) {
        self.due = None;
    }

    /// That the estimate falls has a reason.
    pub(super) fn expect_fall(&mut self) {
        self.highest = 0.0;
    }

    /// A queue was found not to be ours, which a path that gets slower just then looks like.
    pub(super) fn verify(&mut self, now: Instant) {
        self.due = Some(now + FIRST);
        self.is_to_verify = true;
    }

    /// Whether the next one is to see below what was found not to be ours.
    pub(super) fn is_to_verify(&self) -> bool {
        self.is_to_verify
    }

    /// Nobody sends enough for a queue.
    pub(super) fn cancel(&mut self) {
        *self = Self { was_one: self.was_one, ..Self::default() };
    }

    /// Whether one is to begin. A fall of the `estimate` makes it due sooner: what lowers it may be
    /// a delay that only looks like a queue.
    pub(super) fn is_due(&mut self, estimate: f64, now: Instant) -> bool {
        let pause = if self.was_one { EVERY } else { FIRST };
        let due = *self.due.get_or_insert(now + pause);
        self.highest = self.highest.max(estimate);
        let has_fallen = estimate < self.highest * FALLEN && self.was_one;
        now >= if has_fallen { due - SOONER } else { due }
    }

    /// One begins: `queue` is drained; its effect is over after `time`.
    pub(super) fn begin(
        &mut self,
        queue: Duration,
        packet: Duration,
        time: Duration,
        now: Instant,
    ) {
        self.to_skip = (queue.min(MOST) + DEEPER + packet).as_secs_f64();
        self.until = Some(now + time);
        self.due = Some(now + EVERY);
        self.highest = 0.0;
        self.was_one = true;
        self.is_to_verify = false;
    }

    /// Less was sent for `step`.
    pub(super) fn advance(&mut self, step: Duration) {
        if self.is_draining() {
            self.to_skip -= step.as_secs_f64() * (1.0 - GAIN);
        }
    }

    /// Whether less is to be sent.
    pub(super) fn is_draining(&self) -> bool {
        self.to_skip > 0.0
    }

    /// Whether a missing queue is our doing.
    pub(super) fn is_on(&self) -> bool {
        self.until.is_some()
    }

    /// Whether one just ended.
    pub(super) fn take_end(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| now >= *until).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_skips_the_queue_and_a_little_more() {
        let ms = Duration::from_millis;
        let mut look = Look::default();
        assert!(!look.is_due(1.0, Instant::ZERO));
        assert!(look.is_due(1.0, Instant::from_millis(500)));
        look.begin(ms(3), ms(1), ms(60), Instant::from_millis(500));
        let steps = (0..100).take_while(|_| {
            look.advance(ms(1));
            look.is_draining()
        });
        assert_eq!(steps.count(), 14, "6 ms at 40 % less");
        assert!(!look.take_end(Instant::from_millis(559)));
        assert!(look.take_end(Instant::from_millis(560)));
        assert!(!look.is_on());
        assert!(!look.is_due(1.0, Instant::from_millis(4_499)));
        assert!(look.is_due(1.0, Instant::from_millis(4_500)));
        assert!(look.is_due(0.9, Instant::from_millis(1_500)), "the estimate fell");
        assert!(!look.is_due(0.9, Instant::from_millis(1_499)));
    }
}
