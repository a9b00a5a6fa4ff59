//! BBR version 1 (draft-cardwell-iccrg-bbr-congestion-control-00), with the details of Linux.
//!
//! The sender keeps a model of the path, its bandwidth and its round trip without a queue, and paces at
//! that bandwidth. Unlike the draft and like Linux, the window makes up for acknowledgements that come in
//! bunches. Not modelled: Linux's long-term bandwidth of policed paths, and the bunches in which its
//! segmentation offload sends.

mod filter;

use core::time::Duration;

use mlvpn_proto::time::Instant;

use super::delivery_rate::Sample;
use filter::{BunchFilter, WindowedMax};

/// 2 / ln 2: the least gain that doubles the rate each round.
const HIGH_GAIN: f64 = 2.885;
/// Empties in a round what STARTUP filled in one.
const DRAIN_GAIN: f64 = 1.0 / HIGH_GAIN;
/// The window in rounds trips' worth of data while the bandwidth is known.
const WINDOW_GAIN: f64 = 2.0;
/// PROBE_BW: a round trip with more, one with less, six with what there is.
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
/// Paced by this much slower than the model says, so that no queue stays.
const PACING_MARGIN: f64 = 0.99;
/// Segments in flight in PROBE_RTT, and the smallest window.
const MIN_WINDOW: f64 = 4.0;
const INITIAL_WINDOW: f64 = 10.0;
/// Rounds over which the bandwidth is the maximum.
const BANDWIDTH_ROUNDS: u64 = 10;
/// Time over which the round trip is the minimum.
const MIN_RTT_WINDOW: Duration = Duration::from_secs(10);
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);
/// STARTUP ends after this many rounds without this much growth.
const FULL_ROUNDS: u32 = 3;
const FULL_GROWTH: f64 = 1.25;
/// Before the first round trip is measured.
const ASSUMED_RTT: Duration = Duration::from_millis(1);
/// Segments added to the window for the granularity of sending, three bunches of the smallest size.
const WINDOW_EXTRA: f64 = 6.0;

/// What the sender does with the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    /// Doubles the rate each round.
    Startup,
    /// Empties the queue that STARTUP made.
    Drain,
    /// Cycles through [`CYCLE`]; the phase since when.
    ProbeBandwidth { phase: usize, since: Instant },
    /// Empties the network to see its round trip.
    ProbeRtt(Probe),
}

/// Progress of PROBE_RTT.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Probe {
    /// When it may end; `None` until little enough is in flight.
    ends_at: Option<Instant>,
    has_round_passed: bool,
}

/// Whether lost segments are being repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Repair {
    /// No.
    None,
    /// After a fast retransmission.
    Fast,
    /// After a timeout.
    Timeout,
}

/// The model, and what follows from it. Windows are in segments, rates in segments a second.
#[derive(Clone, Debug)]
pub(super) struct Bbr {
    pub(super) window: f64,
    pacing_rate: f64,
    mode: Mode,
    bandwidth: WindowedMax,
    min_rtt: Option<(Duration, Instant)>,
    rounds: Rounds,
    pipe: Pipe,
    bunches: BunchFilter,
    recovery: Conservation,
    /// The window before PROBE_RTT or a recovery.
    prior_window: f64,
    is_restarting: bool,
    has_rtt: bool,
    /// Where PROBE_BW begins its cycle, 0 to 6; drawn anew each time.
    dice: u64,
}

/// Rounds: a round ends when something sent after its beginning is delivered.
#[derive(Clone, Debug, Default)]
struct Rounds {
    count: u64,
    next_delivered: u64,
    is_start: bool,
}

/// Whether the pipe is full: the bandwidth stopped growing.
#[derive(Clone, Debug, Default)]
struct Pipe {
    bandwidth: f64,
    rounds_without_growth: u32,
    is_full: bool,
}

/// Conservation of packets in the first round of a recovery.
#[derive(Clone, Debug)]
struct Conservation {
    repair: Repair,
    is_conserving: bool,
}

impl Bbr {
    /// A connection whose cycles begin as `seed` decides.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            window: INITIAL_WINDOW,
            pacing_rate: HIGH_GAIN * INITIAL_WINDOW / ASSUMED_RTT.as_secs_f64(),
            mode: Mode::Startup,
            bandwidth: WindowedMax::new(BANDWIDTH_ROUNDS),
            min_rtt: None,
            rounds: Rounds::default(),
            pipe: Pipe::default(),
            bunches: BunchFilter::default(),
            recovery: Conservation { repair: Repair::None, is_conserving: false },
            prior_window: 0.0,
            is_restarting: false,
            has_rtt: false,
            dice: seed,
        }
    }

    /// Segments a second.
    pub(super) fn pacing_rate(&self) -> f64 {
        self.pacing_rate
    }

    #[cfg(test)]
    fn mode(&self) -> Mode {
        self.mode
    }

    /// Takes an acknowledgement, with `delivered` segments delivered in all and `smoothed_rtt`.
    /// Returns whether what is sent now is limited on purpose, as if by the application.
    pub(super) fn on_ack(
        &mut self,
        sample: &Sample,
        delivered: u64,
        smoothed_rtt: Option<Duration>,
        repair: Repair,
        now: Instant,
    ) -> bool {
        self.update_bandwidth(sample, delivered);
        if sample.rate.is_some() && sample.newly > 0 {
            let bandwidth = self.bandwidth.value();
            self.bunches.on_ack(sample.newly, bandwidth, self.window, self.rounds.is_start, now);
        }
        self.advance_cycle(sample, now);
        self.look_whether_full(sample);
        self.look_whether_drained(sample, now);
        let is_limited = self.update_min_rtt(sample, delivered, now);
        self.set_pacing_rate(smoothed_rtt);
        self.set_window(sample, delivered, repair);
        is_limited
    }

    /// Sending begins again after nothing was in flight for want of data.
    pub(super) fn on_restart(&mut self, now: Instant) {
        self.is_restarting = true;
        self.bunches.restart(now);
        match self.mode {
            Mode::ProbeBandwidth { .. } => self.pace(1.0),
            Mode::ProbeRtt(probe) => self.leave_probe_rtt(probe, now),
            Mode::Startup | Mode::Drain => {}
        }
    }

    /// A loss is about to be repaired.
    pub(super) fn on_congestion(&mut self) {
        self.save_window();
    }

    /// Nothing was heard for a retransmission timeout.
    pub(super) fn on_timeout(&mut self) {
        self.window = 1.0;
        self.recovery.repair = Repair::Timeout;
        self.forget_growth();
        self.rounds.is_start = true;
    }

    /// A repair turned out to have been unnecessary.
    pub(super) fn on_undo(&mut self) {
        self.forget_growth();
    }

    fn forget_growth(&mut self) {
        self.pipe.bandwidth = 0.0;
        self.pipe.rounds_without_growth = 0;
    }

    fn save_window(&mut self) {
        let is_normal =
            self.recovery.repair == Repair::None && !matches!(self.mode, Mode::ProbeRtt(_));
        self.prior_window =
            if is_normal { self.window } else { self.prior_window.max(self.window) };
    }
}

/// The model.
impl Bbr {
    fn update_bandwidth(&mut self, sample: &Sample, delivered: u64) {
        self.rounds.is_start = false;
        let (Some(prior), Some(rate)) = (sample.prior_delivered, sample.rate) else { return };
        if prior >= self.rounds.next_delivered {
            self.rounds.next_delivered = delivered;
            self.rounds.count += 1;
            self.rounds.is_start = true;
            self.recovery.is_conserving = false;
        }
        if !sample.is_app_limited || rate >= self.bandwidth.value() {
            self.bandwidth.add(self.rounds.count, rate);
        }
    }

    /// Returns whether the sender limits itself.
    fn update_min_rtt(&mut self, sample: &Sample, delivered: u64, now: Instant) -> bool {
        let is_old = self.min_rtt.is_some_and(|(_, at)| now > at + MIN_RTT_WINDOW);
        if let Some(rtt) = sample.rtt
            && (is_old || self.min_rtt.is_none_or(|(lowest, _)| rtt < lowest))
        {
            self.min_rtt = Some((rtt, now));
        }
        if is_old && !self.is_restarting && !matches!(self.mode, Mode::ProbeRtt(_)) {
            self.save_window();
            self.mode = Mode::ProbeRtt(Probe::default());
        }
        let is_probing = matches!(self.mode, Mode::ProbeRtt(_));
        if let Mode::ProbeRtt(probe) = self.mode {
            self.probe_rtt(probe, sample, delivered, now);
        }
        if sample.newly > 0 {
            self.is_restarting = false;
        }
        is_probing
    }

    fn probe_rtt(&mut self, mut probe: Probe, sample: &Sample, delivered: u64, now: Instant) {
        if probe.ends_at.is_some() {
            probe.has_round_passed |= self.rounds.is_start;
        } else if sample.in_flight as f64 <= MIN_WINDOW {
            probe.ends_at = Some(now + PROBE_RTT_TIME);
            self.rounds.next_delivered = delivered;
        }
        self.mode = Mode::ProbeRtt(probe);
        if probe.has_round_passed {
            self.leave_probe_rtt(probe, now);
        }
    }

    fn leave_probe_rtt(&mut self, probe: Probe, now: Instant) {
        if probe.ends_at.is_none_or(|at| now <= at) {
            return;
        }
        self.min_rtt = self.min_rtt.map(|(rtt, _)| (rtt, now));
        self.window = self.window.max(self.prior_window);
        if self.pipe.is_full {
            self.begin_cycle(now);
        } else {
            self.mode = Mode::Startup;
        }
    }

    fn look_whether_full(&mut self, sample: &Sample) {
        if self.pipe.is_full || !self.rounds.is_start || sample.is_app_limited {
            return;
        }
        let bandwidth = self.bandwidth.value();
        if bandwidth >= self.pipe.bandwidth * FULL_GROWTH {
            self.pipe.bandwidth = bandwidth;
            self.pipe.rounds_without_growth = 0;
            return;
        }
        self.pipe.rounds_without_growth += 1;
        self.pipe.is_full = self.pipe.rounds_without_growth >= FULL_ROUNDS;
    }

    fn look_whether_drained(&mut self, sample: &Sample, now: Instant) {
        if self.mode == Mode::Startup && self.pipe.is_full {
            self.mode = Mode::Drain;
        }
        if self.mode == Mode::Drain && sample.in_flight as f64 <= self.in_flight_for(1.0) {
            self.begin_cycle(now);
        }
    }

    /// Anywhere in the cycle but at the phase that drains.
    fn begin_cycle(&mut self, now: Instant) {
        // Knuth's generator of 64 bits; the upper ones are good.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let turn = ((self.dice >> 33) % 7) as usize;
        let phase = (CYCLE.len() - turn) % CYCLE.len();
        self.mode = Mode::ProbeBandwidth { phase, since: now };
    }

    fn advance_cycle(&mut self, sample: &Sample, now: Instant) {
        let Mode::ProbeBandwidth { phase, since } = self.mode else { return };
        let min_rtt = self.min_rtt.map_or(Duration::ZERO, |(rtt, _)| rtt);
        let is_long = now.saturating_since(since) > min_rtt;
        let in_flight = sample.prior_in_flight as f64;
        let gain = CYCLE[phase];
        let is_over = if gain > 1.0 {
            is_long && (sample.lost > 0 || in_flight >= self.in_flight_for(gain))
        } else if gain < 1.0 {
            is_long || in_flight <= self.in_flight_for(1.0)
        } else {
            is_long
        };
        if is_over {
            let phase = (phase + 1) % CYCLE.len();
            self.mode = Mode::ProbeBandwidth { phase, since: now };
        }
    }
}

/// What follows from the model.
impl Bbr {
    fn gains(&self) -> (f64, f64) {
        match self.mode {
            Mode::Startup => (HIGH_GAIN, HIGH_GAIN),
            Mode::Drain => (DRAIN_GAIN, HIGH_GAIN),
            Mode::ProbeBandwidth { phase, .. } => (CYCLE[phase], WINDOW_GAIN),
            Mode::ProbeRtt(_) => (1.0, 1.0),
        }
    }

    fn set_pacing_rate(&mut self, smoothed_rtt: Option<Duration>) {
        if !self.has_rtt
            && let Some(rtt) = smoothed_rtt.filter(|rtt| !rtt.is_zero())
        {
            self.has_rtt = true;
            self.pacing_rate = HIGH_GAIN * INITIAL_WINDOW / rtt.as_secs_f64() * PACING_MARGIN;
        }
        self.pace(self.gains().0);
    }

    /// Never slower in STARTUP.
    fn pace(&mut self, gain: f64) {
        let rate = self.bandwidth.value() * gain * PACING_MARGIN;
        if rate > 0.0 && (self.pipe.is_full || rate > self.pacing_rate) {
            self.pacing_rate = rate;
        }
    }

    /// Segments that keep the path busy, times `gain`.
    fn in_flight_for(&self, gain: f64) -> f64 {
        let Some((rtt, _)) = self.min_rtt else { return INITIAL_WINDOW };
        let product = (self.bandwidth.value() * rtt.as_secs_f64() * gain).ceil();
        let even = ((product + WINDOW_EXTRA) / 2.0).ceil() * 2.0;
        let is_probing = matches!(self.mode, Mode::ProbeBandwidth { phase: 0, .. });
        even + if is_probing { 2.0 } else { 0.0 }
    }

    fn set_window(&mut self, sample: &Sample, delivered: u64, repair: Repair) {
        let newly = sample.newly as f64;
        if newly > 0.0 && !self.recover(sample, delivered, repair) {
            let mut target = self.in_flight_for(self.gains().1);
            if self.pipe.is_full {
                target += self.bunches.extra(self.bandwidth.value());
                self.window = (self.window + newly).min(target);
            } else if self.window < target || delivered < INITIAL_WINDOW as u64 {
                self.window += newly;
            }
            self.window = self.window.max(MIN_WINDOW);
        }
        if matches!(self.mode, Mode::ProbeRtt(_)) {
            self.window = self.window.min(MIN_WINDOW);
        }
    }

    /// Lets the window follow a recovery. Returns whether packets are conserved.
    fn recover(&mut self, sample: &Sample, delivered: u64, repair: Repair) -> bool {
        if sample.lost > 0 {
            self.window = (self.window - sample.lost as f64).max(1.0);
        }
        let left = sample.in_flight as f64 + sample.newly as f64;
        let before = core::mem::replace(&mut self.recovery.repair, repair);
        if repair == Repair::Fast && before != Repair::Fast {
            self.recovery.is_conserving = true;
            self.rounds.next_delivered = delivered;
            self.window = left;
        } else if before != Repair::None && repair == Repair::None {
            self.window = self.window.max(self.prior_window);
            self.recovery.is_conserving = false;
        }
        if self.recovery.is_conserving {
            self.window = self.window.max(left);
        }
        self.recovery.is_conserving
    }
}

#[cfg(test)]
mod tests;
