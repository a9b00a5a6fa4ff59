//! What no observation tells is settled by an experiment: whose queue it is, how long the way is without any,
//! and whether the path carries more.

use super::look;
use super::measured::FeedbackSample;
use super::rise::Conditions;
use super::trial::{DrainTrial, Rivalry};
use super::{EMPTY, LEAST_TARGET, Overload, RateController, State, standing, startup};
use crate::time::{Duration, Instant};

/// Longer than any trial of a higher rate.
const TRIED: Duration = Duration::from_secs(2);

impl RateController {
    /// While a queue stands: it is ours if sending less makes it shorter.
    pub(super) fn try_whose_queue(&mut self, now: Instant) {
        let (round, target) = (self.round(), self.target());
        let excess = self.own_queue().saturating_sub(target);
        let delivered = self.delivered(Instant::ZERO).unwrap_or(self.estimate);
        let fresh = DrainTrial::new(excess, delivered, self.estimate, now);
        let trial = self.overload.trial.get_or_insert(fresh);
        trial.on_report(excess, delivered, round, now);
        let is_draining = self.state == State::Drain;
        let Some(is_foreign) = trial.verdict(excess, is_draining, round, now) else { return };
        let before = trial.delivered;
        self.overload.trial = Some(fresh);
        if is_foreign {
            self.measured.queue.accept(target / 2);
            self.look.verify(now);
            self.estimate = self.estimate.max(before);
            self.proven = self.proven.max(before);
            self.overload = Overload::default();
            self.state = State::Hold;
            if is_draining || self.queue_delay() > self.threshold() {
                self.rivalry.on_foreign_queue(now);
            }
        }
    }

    /// RE-BASE: what is sent less for a moment shows the delay without our queue.
    pub(super) fn look_at_empty_network(&mut self, step: Duration, now: Instant) {
        if self.startup.is_some() || self.queue_delay() < EMPTY {
            self.rivalry = Rivalry::default();
        }
        // That no queue is seen means little while the path is never empty: the lowest delay known may be one
        // with a queue. While the estimate grows that will show.
        let grows = self.state == State::Cruise && self.queue_delay() < EMPTY;
        if self.startup.is_some() || grows || !self.is_busy() {
            self.look.postpone();
        }
        if self.state == State::Drain || self.own_queue() > self.threshold() {
            self.look.expect_fall();
        }
        let is_free = self.state != State::Drain && !self.rise.is_on();
        if self.look.is_due(self.estimate, now) && is_free {
            let is_deep = self.look.is_to_verify();
            let queue = if is_deep { self.queue_delay() } else { self.own_queue() };
            let packet = self.packet_time();
            let (queue, mean) = if self.measured.queue.wanders() {
                (queue + self.measured.queue.wander() * 2, standing::MEAN_SPAN)
            } else {
                (queue, Duration::ZERO)
            };
            self.look.begin(queue, packet, self.round() * 2 + mean, now);
            self.measured.queue.begin_look();
        } else {
            self.look.advance(step);
        }
        if self.look.take_end(now) {
            let risen = self.measured.queue.end_look();
            if risen > LEAST_TARGET && self.queue_delay() > self.threshold() {
                self.rivalry.on_foreign_queue(now);
            }
        }
        if self.look.is_draining() {
            self.gain = look::GAIN;
            self.state = State::Rebase;
        }
    }

    /// While nothing else lets the rate grow: whether the path carries more all the same.
    pub(super) fn try_more(&mut self, sample: &FeedbackSample, now: Instant) {
        // Without jitter the queue is no illusion, and where delays vary by more the rate grows beside it.
        let jitter = self.measured.queue.jitter();
        let is_in_doubt = jitter >= startup::NOTABLE_JITTER && !self.is_noisy();
        let is_free = !self.look.is_on() && !self.measured.loss.is_limiting();
        if self.state == State::Hold && is_in_doubt && is_free {
            let conditions = Conditions {
                estimate: self.estimate,
                queue: self.own_queue(),
                jitter,
                packet_time: self.packet_time(),
                feedback_interval: self.measured.feedback_interval(),
                round: self.round(),
            };
            self.rise.begin_if_due(conditions, now);
        }
        if self.rise.is_overflowing(self.own_queue()) {
            self.rise.end(false, self.estimate, now);
        } else if let Some(since) = self.rise.on_report(sample.sent_at, sample.received_at, now) {
            let delivery = &self.measured.delivery;
            let share = delivery.share(TRIED, since, Duration::ZERO);
            let has_room = share.is_some_and(|share| self.rise.has_room(share));
            let arrived = delivery.rate(TRIED, since, Duration::ZERO);
            if let Some(arrived) = arrived.filter(|_| has_room) {
                self.estimate = self.estimate.max(self.measured.loss.before_usual(arrived));
            }
            self.rise.end(has_room, self.estimate, now);
        }
        if let Some(gain) = self.rise.gain(now) {
            self.gain = gain;
        }
    }
}
