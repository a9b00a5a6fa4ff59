//! How fast one path may be sent on in one direction, found from what arrives and how late.
//!
//! The controller keeps a small queue standing in the network, because only then is the rate of
//! arrival the capacity of the path. What arrives while a queue stands is adopted as the estimate;
//! while none stands the estimate grows; while more stands than wanted less is sent until it is
//! gone. Growth, correction and draining are in proportion to the distance from the target, so that
//! a stable link is left almost alone.
//!
//! Two signals can lie, and each is settled by an experiment. A delay may have risen for a reason
//! that is not our queue (a new route, radio, somebody else's download): when sending less does not
//! lower it, it is accepted. Loss may be radio or a policer: when sending less does not lower it,
//! it is accepted, else the rate stays below it.

mod delivery;
mod experiments;
mod jitter;
mod look;
mod loss;
mod measured;
mod proven;
mod rise;
mod standing;
mod startup;
mod trial;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use crate::power::exp2;
use crate::time::{Duration, Instant};
use core::f64::consts::LN_2;
use look::Look;
use loss::Verdict;
pub use measured::FeedbackSample;
use measured::{ASSUMED_RTT, Measured};
use proven::OVERLOADED;
use rise::Rise;
use startup::{Sight, Startup};
use trial::{DrainTrial, Rivalry};

/// Bytes of a full packet on the wire.
const FULL_PACKET: f64 = 1_500.0;
/// Packets per [`ASSUMED_RTT`] that a path begins with when nothing is known of it.
const FIRST_PACKETS: f64 = 10.0;
/// A round trip shorter than this makes the first rate no higher.
const LEAST_FIRST_RTT: Duration = Duration::from_millis(2);
/// Packets that may be on their way in addition to what the rate needs, and in any case.
const SPARE_PACKETS: f64 = 3.0;
const LEAST_PACKETS: f64 = 6.0;
/// Bounds of the estimate: 64 kbit/s to 100 Gbit/s.
const RATES: (f64, f64) = (8_000.0, 12.5e9);
/// Most bytes that may be on their way, whatever the peer tells of what arrives: what 5 Gbit/s have there at a
/// round trip of 100 ms.
pub(crate) const MOST_IN_FLIGHT: u64 = 64 * 1024 * 1024;
/// Feedback comes no sooner, in seconds: in a shorter round trip the rate does not double.
const LEAST_DOUBLING: f64 = 0.005;
/// The queue that is kept, at least.
const LEAST_TARGET: Duration = Duration::from_micros(2_500);
/// Most for jitter and wander, and most of a packet's time, that the target follows: with a collapsed
/// estimate a packet seems long.
const MOST_VARYING: Duration = Duration::from_millis(40);
const MOST_PACKET_TIME: Duration = Duration::from_millis(30);
/// Wander from which on the queue wanted is not told from none.
const FAR: Duration = Duration::from_micros(700);
/// The queue above which the path is overloaded: twice the target, at least the first of these
/// when the round trip is below [`SHORT_RTT`], else the second.
const LEAST_THRESHOLD: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(10));
const SHORT_RTT: Duration = Duration::from_millis(25);
/// In so many reports before it counts.
const REPORTS_OVER: u32 = 2;
/// A queue off the target is corrected within this many control rounds: three times the delay of
/// the loop, which does not oscillate.
const CORRECTION_ROUNDS: u32 = 3;
/// Bounds of the correction, as a share of the estimate.
const CORRECTION: (f64, f64) = (-0.3, 0.05);
/// In about this time the estimate becomes what arrives while the queue wanted stands.
const ADOPTION: Duration = Duration::from_millis(100);
/// The least share of the rate meant that counts as sent.
const AS_MEANT: f64 = 0.95;
/// Growth per control round: it begins at the first and doubles each round up to the second while
/// there is no queue, and every four rounds up to the third while less than the target stands.
const GROWTH: (f64, f64) = (0.01, 0.15);
const GROWTH_IN_HOLD: f64 = 0.04;
/// Most that the estimate is above what arrives while it grows, in CRUISE and in STARTUP.
const MOST_OVER_DELIVERY: f64 = 1.5;
const MOST_OVER_DELIVERY_STARTUP: f64 = 2.5;
/// What is sent on a path that loses by overload, as a share of what arrives: when nothing queues
/// (a policer), and when a full queue drops.
const BELOW_POLICER: f64 = 0.98;
const BELOW_FULL_QUEUE: f64 = 0.85;
/// As much arrives as ever when it is at least this share of the most that has arrived lately.
const AS_EVER: f64 = 0.9;
/// A path that brings at least this share of its estimate is busy.
const BUSY: f64 = 0.8;
/// A queue below this is a sight of the empty network.
const EMPTY: Duration = Duration::from_micros(700);
/// An estimate that was not tested for so long is stale, and this much of it is used.
const STALE_AFTER: Duration = Duration::from_secs(30);
const STALE_SHARE: f64 = 0.75;
/// Most time that one report stands for: after a silence the rate grows by no more.
const LONGEST_STEP: Duration = Duration::from_millis(100);

/// What the controller is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// A multiple of what arrives is sent, until the path is full.
    Startup,
    /// No queue stands: the rate grows.
    Cruise,
    /// The queue wanted stands: the rate follows what arrives.
    Hold,
    /// Too much queue stands: less is sent.
    Drain,
    /// There is too little to send for learning anything but a lower bound.
    NotLimited,
    /// The queue is drained to look at the empty network.
    Rebase,
}

/// The rate of one path in one direction. Rates are wire bytes per second.
#[derive(Clone, Debug)]
pub struct RateController {
    limit: f64,
    estimate: f64,
    /// What is sent, as a share of the estimate.
    gain: f64,
    state: State,
    startup: Option<Startup>,
    measured: Measured,
    growth: Growth,
    overload: Overload,
    look: Look,
    rise: Rise,
    rivalry: Rivalry,
    last_feedback: Option<Instant>,
    last_limited: Option<Instant>,
    /// The highest rate at which packets arrived lately.
    proven: f64,
    /// How long much less has arrived than was sent.
    overloaded_for: Duration,
    /// Since when packets wait for the path without a pause, on the receiver's clock.
    limited_since: Option<Instant>,
    /// The latest time at which none waited, on our clock, and whether what was sent since then was reported.
    unlimited_at: Instant,
    is_told: bool,
    /// The first round trip was measured.
    has_begun: bool,
}

#[derive(Clone, Copy, Debug)]
struct Growth {
    /// Share of the estimate that it grows by in a control round.
    per_round: f64,
    /// Since when there is no queue, on our clock.
    free_since: Option<Instant>,
}

impl Default for Growth {
    fn default() -> Self {
        Self { per_round: GROWTH.0, free_since: None }
    }
}

/// The queue that stands, and what is done about it.
#[derive(Clone, Copy, Debug, Default)]
struct Overload {
    /// Since when a queue stands, on the receiver's clock.
    standing_since: Option<Instant>,
    reports_over: u32,
    trial: Option<DrainTrial>,
    /// The estimate that was lowered because of loss.
    before_loss: f64,
}

impl RateController {
    /// A path that was never sent on. It begins at `start`, or at ten packets per 50 ms, and never
    /// exceeds `limit`; both in bytes per second.
    #[must_use]
    pub fn new(limit: Option<u64>, start: Option<u64>) -> Self {
        let limit = limit.map_or(RATES.1, |limit| limit as f64).clamp(RATES.0, RATES.1);
        let first = FIRST_PACKETS * FULL_PACKET / ASSUMED_RTT.as_secs_f64();
        let estimate = start.map_or(first, |start| start as f64).clamp(RATES.0, limit);
        Self {
            limit,
            estimate,
            gain: 1.0,
            state: State::Startup,
            startup: Some(Startup::default()),
            measured: Measured::default(),
            growth: Growth::default(),
            overload: Overload::default(),
            look: Look::default(),
            rise: Rise::default(),
            rivalry: Rivalry::default(),
            last_feedback: None,
            last_limited: None,
            proven: 0.0,
            overloaded_for: Duration::ZERO,
            limited_since: None,
            unlimited_at: Instant::ZERO,
            is_told: false,
            has_begun: start.is_some(),
        }
    }

    /// Changes what the path may be sent at most, in bytes per second.
    pub fn set_limit(&mut self, limit: Option<u64>) {
        self.limit = limit.map_or(RATES.1, |limit| limit as f64).clamp(RATES.0, RATES.1);
        self.estimate = self.estimate.min(self.limit);
    }

    /// Takes a feedback into account.
    pub fn on_feedback(&mut self, sample: &FeedbackSample, now: Instant) {
        let step = self.step(now);
        let verdict = self.measured.on_feedback(sample, (step, self.packet_time()), now);
        if let Some(rtt) = sample.rtt.filter(|_| self.startup.is_some() && !self.has_begun) {
            self.has_begun = true;
            self.begin(rtt);
        }
        if !sample.is_limited {
            self.limited_since = None;
            self.unlimited_at = now;
            self.start_up(false, now);
            self.on_not_limited(sample.received_at, step, now);
            return;
        }
        self.limited_since.get_or_insert(sample.received_at);
        self.is_told = sample.sent_at.map_or(self.is_told, |sent_at| sent_at >= self.unlimited_at);
        self.freshen(now);
        self.on_loss(verdict);
        self.note_queue(sample.received_at);
        self.start_up(true, now);
        if self.startup.is_none() {
            self.follow_queue(step, now);
        }
        self.look_at_empty_network(step, now);
        self.try_more(sample, now);
        self.estimate = self.estimate.clamp(RATES.0, self.limit);
    }

    /// What the path is to be paced at, in bytes per second.
    #[must_use]
    pub fn rate(&self) -> u64 {
        (self.estimate * self.gain).clamp(RATES.0, self.limit) as u64
    }

    /// What the path can carry, as far as is known, in bytes per second: the rate without what is
    /// left out or added to correct the queue.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.estimate as u64
    }

    /// What has arrived lately, in bytes per second, as far as the latest feedback tells.
    #[must_use]
    pub fn delivered_lately(&self) -> Option<u64> {
        self.delivered(Instant::ZERO).map(|rate| rate as u64)
    }

    /// What arrived, in bytes per second, in the latest `span` that feedback told of and up to one report more.
    #[must_use]
    pub fn delivery_rate(&self, span: Duration) -> Option<u64> {
        self.measured.delivery.rate(span, Instant::ZERO, Duration::ZERO).map(|rate| rate as u64)
    }

    /// What arrives, in bytes per second, over as short a time as tells anything: half a round trip, or a
    /// whole one with jitter.
    #[must_use]
    pub fn delivered_just_now(&self) -> Option<f64> {
        self.measured.delivered_over(self.short_span(), Instant::ZERO, self.packet_time())
    }

    fn short_span(&self) -> Duration {
        let rtt = self.measured.unloaded_rtt();
        if self.is_calm() { rtt / 2 } else { rtt }.max(self.packet_time() * 4)
    }

    fn is_calm(&self) -> bool {
        startup::is_calm(self.measured.queue.jitter())
    }

    /// What may be sent at most, in bytes per second.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit as u64
    }

    /// Most bytes that may be on their way: what is sent in the round trip without queue, in the
    /// time until feedback tells of it, and the queue that is tolerated. When a link gets slower at
    /// once this, not the rate, bounds the queue.
    #[must_use]
    pub fn in_flight_cap(&self) -> u64 {
        let rtt = self.measured.unloaded_rtt().as_secs_f64();
        let told = rtt + self.measured.feedback_interval().as_secs_f64();
        let time = match self.state {
            // What is sent in that time at a rate that doubles every round trip, but no sooner than is told.
            _ if self.startup.is_some() => {
                let doubling = rtt.max(LEAST_DOUBLING);
                (1.0 - exp2(-told / doubling)) / LN_2 * doubling
            }
            State::Drain => told + self.target().as_secs_f64(),
            _ => told + self.threshold().as_secs_f64(),
        };
        let time = if self.rise.is_on() { time * self.gain.max(1.0) } else { time };
        let packets = (self.estimate * time / FULL_PACKET + SPARE_PACKETS).max(LEAST_PACKETS);
        ((packets * FULL_PACKET) as u64).min(MOST_IN_FLIGHT)
    }

    /// The path works again after a time in which nothing arrived.
    pub fn on_outage_end(&mut self, now: Instant) {
        let delivered = self.delivered(Instant::ZERO).unwrap_or(0.0);
        self.estimate = (self.estimate / 2.0).max(delivered.min(self.estimate)).max(RATES.0);
        self.gain = 1.0;
        self.measured.delivery.clear();
        self.overload = Overload::default();
        self.rise.cancel();
        self.growth = Growth { per_round: GROWTH.1 / 4.0, free_since: None };
        self.last_feedback = Some(now);
    }

    /// The path leads elsewhere: everything is measured anew, from half of the rate if that was ever found.
    pub fn restart(&mut self, now: Instant) {
        let start = self.is_tested().then_some((self.estimate / 2.0) as u64);
        *self = Self::new(Some(self.limit as u64), start);
        self.last_feedback = Some(now);
    }

    /// Whether more stands in the network than is tolerated.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.own_queue() > self.threshold()
    }

    /// Whether it is certain that the path has become slower: more stands in the network than is tolerated, and
    /// much less arrives than was sent.
    #[must_use]
    pub fn is_overwhelmed(&self) -> bool {
        let share = || self.measured.share(Instant::ZERO, self.packet_time());
        self.is_tested() && self.is_over() && share().is_some_and(|share| share < OVERLOADED)
    }

    /// Whether it was ever found how much the path can carry.
    #[must_use]
    pub fn is_tested(&self) -> bool {
        self.startup.is_none()
    }

    /// What the controller is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The queue that stands in the network, whoever filled it.
    #[must_use]
    pub fn queue_delay(&self) -> Duration {
        self.measured.queue.total().unwrap_or_default()
    }

    /// What receive less send time usually is without a queue, and by how much it varies then, in µs: as it was in the 15 s
    /// before the latest report; none before one came.
    #[must_use]
    pub fn unloaded_transit(&self) -> Option<(f64, f64)> {
        let queue = &self.measured.queue;
        let varies = queue.jitter().max(queue.wander()).as_micros() as f64;
        queue.unloaded().map(|transit| (transit as f64, varies))
    }

    /// The lowest round trip known; none before one was measured.
    #[must_use]
    pub fn base_rtt(&self) -> Option<Duration> {
        self.measured.min_rtt()
    }

    /// The time that this feedback stands for. Over a silence no rate can be measured.
    fn step(&mut self, now: Instant) -> Duration {
        let last = self.last_feedback.replace(now).unwrap_or(now);
        let step = now.saturating_since(last);
        self.measured.on_interval(step);
        if step > LONGEST_STEP + self.measured.feedback_interval() * 3 + self.packet_time() {
            self.measured.delivery.clear();
            self.overload.standing_since = None;
        }
        step.min(LONGEST_STEP)
    }

    /// What arrives is a lower bound: what the application does not send says nothing.
    fn on_not_limited(&mut self, received_at: Instant, step: Duration, now: Instant) {
        // A path that nothing has filled yet stays ahead of a sender that doubles every round trip.
        let (delivered, lead) = if self.startup.is_some() {
            (self.carried_as_sent(self.short_span()), MOST_OVER_DELIVERY_STARTUP)
        } else {
            (self.carried_as_sent(self.measured.rate_span(self.packet_time())), 1.0)
        };
        if let Some(delivered) = delivered {
            self.estimate = self.estimate.max(delivered * lead).min(self.limit);
        }
        self.state = State::NotLimited;
        // What stands in the network is drained all the same.
        self.gain = if self.is_over() { self.correction(0.0) } else { 1.0 };
        if self.is_over() || !self.wanders_far() {
            self.growth.free_since = None;
        }
        self.overload = Overload { reports_over: 0, trial: None, ..self.overload };
        self.note_queue(received_at);
        // A burst that was sent at the rate meant and made a queue tells as much as if there were more to send.
        if self.is_tested() && self.own_queue() > self.target() && !self.is_noisy() {
            let before = self.estimate;
            self.adopt_delivery(step);
            self.estimate = self.estimate.min(before).max(RATES.0);
        }
        self.rise.cancel();
        // A sender that is just kept from waiting fills the path all the same, and whatever stands there
        // would be forgotten to be a queue.
        if self.is_busy() {
            self.look_at_empty_network(step, now);
        } else {
            self.look.cancel();
            self.measured.queue.cancel_look();
        }
    }

    /// Whether about as much arrives as the path is believed to carry.
    fn is_busy(&self) -> bool {
        self.delivered(Instant::ZERO).is_some_and(|delivered| delivered >= BUSY * self.estimate)
    }

    /// What arrives, and no more than was sent for it to arrive: delays that vary make the time of arrival
    /// shorter now and then, which would be taken for a higher rate each time. The lesser of both rates, as in the
    /// delivery rate samples of draft-ietf-ccwg-bbr.
    fn carried_as_sent(&self, span: Duration) -> Option<f64> {
        let delivered = self.measured.delivered_over(span, Instant::ZERO, self.packet_time())?;
        let share = self.measured.share_over(span, Instant::ZERO)?;
        Some(delivered / share.max(1.0))
    }

    /// The path is in demand, maybe for the first time in a while.
    fn freshen(&mut self, now: Instant) {
        if self.last_limited.is_some_and(|last| last + STALE_AFTER < now) {
            self.estimate *= STALE_SHARE;
            self.growth = Growth::default();
        }
        self.last_limited = Some(now);
    }

    fn on_loss(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Usual if self.measured.loss.is_limiting() => {}
            Verdict::Usual => self.overload.before_loss = 0.0,
            Verdict::Excess { .. } if self.queue_delay() > self.threshold() => self.on_full_queue(),
            // STARTUP sends twice what a policer lets through, which loses heavily.
            Verdict::Excess { is_heavy: false } if self.startup.is_some() => {
                self.measured.loss.learn();
            }
            Verdict::Excess { .. } => {
                self.overload.before_loss = self.overload.before_loss.max(self.estimate);
                if let Some(delivered) = self.delivered(Instant::ZERO) {
                    self.estimate = self.estimate.min(delivered * BELOW_POLICER);
                }
                self.startup = None;
                self.growth = Growth::default();
            }
            Verdict::NotOurs => {
                self.estimate = self.estimate.max(self.overload.before_loss);
                self.overload.before_loss = 0.0;
            }
        }
    }

    /// A full queue drops: yield as senders do that know nothing but loss.
    fn on_full_queue(&mut self) {
        self.measured.loss.dismiss();
        self.rivalry.on_drops();
        if let Some(delivered) = self.delivered(Instant::ZERO) {
            let kept = delivered.clamp(self.estimate / 2.0, self.estimate);
            self.estimate = kept * BELOW_FULL_QUEUE;
        }
        self.growth = Growth::default();
    }

    fn note_queue(&mut self, received_at: Instant) {
        let queue = self.own_queue();
        if queue < self.target() / 2 {
            self.overload.standing_since = None;
        } else {
            self.overload.standing_since.get_or_insert(received_at);
        }
        let is_over = queue > self.threshold();
        self.overload.reports_over = if is_over { self.overload.reports_over + 1 } else { 0 };
    }

    /// Before anything else is known of the path: as much in its first round trip as a sender in the
    /// tunnel sends at once (the initial window of RFC 6928).
    fn begin(&mut self, rtt: Duration) {
        let first = FIRST_PACKETS * FULL_PACKET / rtt.max(LEAST_FIRST_RTT).as_secs_f64();
        self.estimate = self.estimate.max(first).min(self.limit);
    }

    /// STARTUP, if it is not over: whether the path is full, and how fast it is sent on if not.
    fn start_up(&mut self, is_limited: bool, now: Instant) {
        let Some(mut startup) = self.startup else { return };
        self.state = State::Startup;
        self.gain = 1.0;
        let delivered = self.delivered_just_now();
        let round = self.measured.unloaded_rtt() + self.measured.feedback_interval();
        let queue = &self.measured.queue;
        let sight = Sight {
            delivered,
            share: self.measured.share_over(round, Instant::ZERO),
            queue: queue.own_latest().unwrap_or_default(),
            threshold: self.threshold(),
            jitters: (queue.jitter(), queue.most_jitter()),
            is_known: is_limited || delivered >= Some(self.measured.carried() * AS_EVER),
            is_limited,
            round,
            interval: self.measured.feedback_interval(),
        };
        let queue = startup.certain_queue(&sight, now);
        let is_full = startup.is_full(&sight, queue, now);
        let before = self.estimate;
        if is_full {
            // A pause of somebody on the way looks like a queue, and little arrives in it.
            let carried = delivered.map(|delivered| delivered.max(self.measured.carried()));
            self.estimate = carried.unwrap_or(self.estimate / 2.0).min(self.estimate);
        } else if let Some(delivered) = delivered.filter(|_| is_limited && queue <= self.target()) {
            self.estimate = self.estimate.max(delivered * MOST_OVER_DELIVERY_STARTUP);
        }
        startup.on_rate(before, self.estimate, now);
        self.startup = (!is_full).then_some(startup);
    }

    /// CRUISE, HOLD and DRAIN, by the queue that stands.
    fn follow_queue(&mut self, step: Duration, now: Instant) {
        let (queue, target) = (self.own_queue(), self.target());
        let is_draining = self.state == State::Drain && queue > target;
        let is_over = self.overload.reports_over >= REPORTS_OVER || is_draining;
        // A trial makes the queue that it is judged by.
        self.state = if is_over && !self.rise.is_on() {
            State::Drain
        } else if self.overload.standing_since.is_some() {
            State::Hold
        } else {
            State::Cruise
        };
        // Where delays vary a queue between target and threshold is as likely as none.
        let is_doubtful = self.is_noisy() && self.state != State::Drain;
        if queue < target || is_doubtful {
            self.grow(step, now);
        } else {
            self.adopt_delivery(step);
        }
        if queue > target * 3 / 2 && !self.rise.is_on() {
            self.try_whose_queue(now);
        } else {
            self.overload.trial = None;
        }
        self.keep_what_was_proven(step);
        let most = if self.measured.loss.is_limiting() { 0.0 } else { CORRECTION.1 };
        self.gain = self.correction(most);
    }

    /// The gain that brings the queue to its target in some rounds; at most 1 and `most`.
    fn correction(&self, most: f64) -> f64 {
        let off = self.target().as_secs_f64() - self.own_queue().as_secs_f64();
        let within = (self.round() * CORRECTION_ROUNDS).as_secs_f64();
        1.0 + (off / within).clamp(CORRECTION.0, most)
    }

    fn grow(&mut self, step: Duration, now: Instant) {
        // That there was no queue while less was wanted than the path carries says nothing of what it carries.
        if self.measured.loss.is_limiting() || self.look.is_on() || !self.is_told {
            return;
        }
        let round = self.round();
        let rounds = step.as_secs_f64() / round.as_secs_f64();
        if self.overload.standing_since.is_some() && !self.is_noisy() {
            let grown = self.growth.per_round * exp2(rounds / 4.0);
            self.growth = Growth { per_round: grown.min(GROWTH_IN_HOLD), free_since: None };
        } else if !self.is_noisy() && self.measured.queue.own_latest() >= Some(self.target()) {
            return;
        } else if now >= *self.growth.free_since.get_or_insert(now) + round {
            self.growth.per_round = (self.growth.per_round * exp2(rounds)).min(GROWTH.1);
        }
        let grown = self.estimate * (1.0 + self.growth.per_round * rounds);
        let delivered = self.delivered(Instant::ZERO).unwrap_or(self.estimate);
        let most = self.measured.loss.before_usual(delivered) * MOST_OVER_DELIVERY;
        self.estimate = grown.min(most).max(self.estimate);
    }

    /// Whether delays vary so much that a queue of some ms is not told from none.
    fn is_noisy(&self) -> bool {
        // Packets in each other's way vary it by a part of the time that one takes.
        let notable = startup::NOTABLE_JITTER.max(self.packet_time() / 2);
        self.wanders_far() || self.measured.queue.jitter() >= notable
    }

    /// Whether delays wander so far that the queue wanted is not told from none.
    fn wanders_far(&self) -> bool {
        self.measured.queue.wanders() && self.measured.queue.wander() >= FAR
    }

    /// While a queue stands, what arrives is what the path carries.
    fn adopt_delivery(&mut self, step: Duration) {
        self.growth = Growth::default();
        let since = self.overload.standing_since.unwrap_or_default();
        if self.state == State::Drain {
            // What arrived while less was wanted than the path carries says nothing of the path.
            let limited_since = self.limited_since.unwrap_or_default();
            let Some(delivered) = self.delivered(since.max(limited_since)) else { return };
            self.estimate = delivered.max(self.overload.trial.map_or(0.0, |trial| trial.least));
            return;
        }
        let Some(delivered) = self.delivered(since) else { return };
        if self.sent_as_meant(delivered, since) {
            let weight = (step.as_secs_f64() / ADOPTION.as_secs_f64()).min(1.0);
            let carried = self.measured.loss.before_usual(delivered);
            self.estimate += (carried - self.estimate) * weight;
        }
    }

    /// Whether as much was sent of late as was meant to be. Feedback that is lost or late holds it back,
    /// and then less arrives for no fault of the path.
    fn sent_as_meant(&self, delivered: f64, since: Instant) -> bool {
        let share = self.measured.share(since, self.packet_time()).unwrap_or(1.0);
        delivered >= share * AS_MEANT * self.estimate * self.gain
    }

    /// Bytes per second that arrive, lately or since `since` on the receiver's clock.
    fn delivered(&self, since: Instant) -> Option<f64> {
        self.measured.delivered(since, self.packet_time())
    }

    fn own_queue(&self) -> Duration {
        self.measured.queue.own().unwrap_or_default()
    }

    /// The queue that is kept: enough to be told from jitter and from the packet that is just being
    /// sent, so that the path never runs empty; more beside a rival.
    fn target(&self) -> Duration {
        let queue = &self.measured.queue;
        let varies = (queue.jitter() * 2).max(queue.wander() * 7 / 2);
        let least = LEAST_TARGET + varies.min(MOST_VARYING);
        let longest = self.measured.longest_packet().map_or(1.0, |longest| longest / FULL_PACKET);
        let packet_time = self.packet_time().mul_f64(longest.min(1.0));
        least.max(packet_time.min(MOST_PACKET_TIME)) + self.rivalry.tolerance()
    }

    fn threshold(&self) -> Duration {
        let is_short = self.measured.unloaded_rtt() < SHORT_RTT;
        let least = if is_short { LEAST_THRESHOLD.0 } else { LEAST_THRESHOLD.1 };
        let jitter = self.measured.queue.jitter();
        let noise = if self.is_noisy() { jitter * startup::MOST_JITTERS } else { Duration::ZERO };
        least.max(self.target() * 2).max(noise)
    }

    fn packet_time(&self) -> Duration {
        Duration::from_secs_f64(FULL_PACKET / self.estimate.max(self.proven).max(RATES.0))
    }

    /// The delay of the control loop: from a change of the rate until its effect is known.
    fn round(&self) -> Duration {
        self.measured.round(self.packet_time())
    }
}
