//! The rate that a path was seen to carry, which is kept to where delays tell little.

use super::{RateController, startup};
use crate::time::Duration;

/// How long a rate that was reached is remembered, and the share of it that is kept to.
const PROVEN_FOR: Duration = Duration::from_secs(10);
const KEPT_OF_PROVEN: f64 = 0.75;
/// When less than this share of what is sent arrives the path has become slower.
pub(super) const OVERLOADED: f64 = 0.75;
/// That is certain after this time, or beside a queue between these.
const CERTAIN_AFTER: Duration = Duration::from_millis(300);
const LEAST_CERTAIN: Duration = Duration::from_millis(30);
const MOST_CERTAIN: Duration = Duration::from_millis(50);

impl RateController {
    /// Where delays wander, what they say of a queue is not to be trusted far: a rate at which packets
    /// came through lately is kept to, and slowly exceeded, as long as what is sent arrives.
    pub(super) fn keep_what_was_proven(&mut self, step: Duration) {
        let since = self.limited_since.unwrap_or_default();
        let Some(delivered) = self.delivered(since) else { return };
        let forgotten = step.as_secs_f64() / PROVEN_FOR.as_secs_f64();
        self.proven = (self.proven * (1.0 - forgotten)).max(delivered);
        // A queue that is beyond what wanders leaves no doubt: what comes out of it is what the path carries.
        let is_certain = self.own_queue() > self.threshold().min(MOST_CERTAIN).max(LEAST_CERTAIN);
        let stands = self.overload.standing_since.map_or(since, |standing| standing.max(since));
        if is_certain && let Some(delivered) = self.delivered(stands) {
            self.proven = self.proven.min(delivered);
        }
        if !self.measured.queue.wanders() && self.measured.queue.jitter() < startup::NOTABLE_JITTER
        {
            return;
        }
        let share = self.measured.share(since, self.packet_time()).unwrap_or(1.0);
        self.overloaded_for =
            if share < OVERLOADED { self.overloaded_for + step } else { Duration::ZERO };
        if is_certain && share < OVERLOADED
            || self.overloaded_for >= CERTAIN_AFTER.max(self.round() * 2)
        {
            self.proven = delivered;
        }
        if !is_certain {
            self.estimate = self.estimate.max(self.proven * KEPT_OF_PROVEN);
        }
    }
}
