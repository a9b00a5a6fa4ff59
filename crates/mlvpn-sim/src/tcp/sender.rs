//! The sending end of a connection.

use core::time::Duration;

use mlvpn_proto::time::Instant;

use super::bbr::Repair;
use super::congestion::{Congestion, CongestionControl};
use super::delivery_rate::{DeliveryRate, Sample};
use super::pacing::Pacing;
use super::rack::Rack;
use super::recovery::Recovery;
use super::rtt::RttEstimator;
use super::scoreboard::{Delivery, Scoreboard, Sent};
use super::wire::{DATA_OVERHEAD, Segment};
use crate::packet::{FlowAddress, PacketMaker, TCP};
use crate::rng::fnv1a;

/// Added to a tail probe's two round trips while a single segment is in flight, whose
/// acknowledgement may be delayed (Linux's `TCP_RTO_MIN`).
const PROBE_DELAY_SINGLE: Duration = Duration::from_millis(200);
/// The same otherwise, Linux's `TCP_TIMEOUT_MIN`.
const PROBE_DELAY: Duration = Duration::from_millis(2);

/// Sends a stream of bytes: see the [module](super) for what is modelled.
#[derive(Clone, Debug)]
pub struct TcpSender {
    maker: PacketMaker,
    segment: u64,
    /// Bytes that the application has supplied in all.
    supplied: u64,
    una: u64,
    next: u64,
    window_end: u64,
    board: Scoreboard,
    delivery_rate: DeliveryRate,
    rtt: RttEstimator,
    rack: Rack,
    congestion: Congestion,
    pacing: Pacing,
    phase: Phase,
    /// The present episode of loss, or the last one while it may still be undone.
    episode: Option<Recovery>,
    timers: Timers,
    is_window_used: bool,
    stats: TcpStats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    FastRecovery,
    TimeoutRecovery,
}

impl Phase {
    fn repair(self) -> Repair {
        match self {
            Self::Open => Repair::None,
            Self::FastRecovery => Repair::Fast,
            Self::TimeoutRecovery => Repair::Timeout,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Timers {
    retransmission: Option<Instant>,
    reordering: Option<Instant>,
    probe: Option<Instant>,
    pacing: Option<Instant>,
    is_probe_due: bool,
    last_sent: Option<Instant>,
}

/// What a sender has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpStats {
    /// Segments sent, also again.
    pub segments: u64,
    /// Segments sent again.
    pub retransmissions: u64,
    /// Fast recoveries begun.
    pub recoveries: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// Reductions taken back as unnecessary.
    pub undone: u64,
}

impl TcpSender {
    /// A sender along `address`, with CUBIC, whose packets have at most `mtu` bytes (more than the
    /// [headers](DATA_OVERHEAD)), with nothing to send yet.
    #[must_use]
    pub fn new(address: FlowAddress, mtu: usize) -> Self {
        assert!(mtu > DATA_OVERHEAD, "a packet must have room for data");
        Self {
            maker: PacketMaker::new(address, TCP),
            segment: (mtu - DATA_OVERHEAD) as u64,
            supplied: 0,
            una: 0,
            next: 0,
            window_end: 65_535,
            board: Scoreboard::default(),
            delivery_rate: DeliveryRate::default(),
            rtt: RttEstimator::new(),
            rack: Rack::new(),
            congestion: Congestion::new(CongestionControl::Cubic, 0),
            pacing: Pacing::default(),
            phase: Phase::Open,
            episode: None,
            timers: Timers::default(),
            is_window_used: false,
            stats: TcpStats::default(),
        }
    }

    /// Lets `control` decide what is in flight, before anything is sent.
    pub fn use_control(&mut self, control: CongestionControl) {
        let port = self.maker.address().source.port() ^ self.maker.address().destination.port();
        self.congestion = Congestion::new(control, fnv1a(&port.to_be_bytes()));
    }

    /// Supplies `bytes` more to send; [`u64::MAX`] is endless.
    pub fn write(&mut self, bytes: u64) {
        self.supplied = self.supplied.saturating_add(bytes);
    }

    /// Bytes acknowledged in order.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.una
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> TcpStats {
        self.stats
    }

    /// The smoothed round-trip time, once measured.
    #[must_use]
    pub fn smoothed_rtt(&self) -> Option<Duration> {
        self.rtt.smoothed()
    }

    /// The congestion window in segments.
    #[must_use]
    pub fn congestion_window(&self) -> f64 {
        self.congestion.window()
    }

    /// Takes a packet of the connection.
    pub fn handle_packet(&mut self, packet: &[u8], now: Instant) {
        let Some(segment) = Segment::read(packet, 0, self.una) else { return };
        if segment.ack > self.next {
            return;
        }
        self.window_end = self.window_end.max(segment.ack + segment.window);
        let (prior_in_flight, lost_before) = (self.board.in_flight(), self.board.lost());
        let found_before = self.board.found_lost();
        let (delivery, is_duplicate) = self.take_acknowledgement(&segment);
        let mut sample = self.sample(&delivery, now);
        let highest = self.board.highest_sacked();
        self.rack.on_delivery(&delivery, highest, self.segment, &self.rtt, now);
        self.rack.on_duplicates(is_duplicate, &delivery, self.delivery_rate.delivered());
        let has_advanced = segment.ack > self.una;
        self.una = self.una.max(segment.ack);
        self.detect_losses(now);
        self.leave_phase(&segment, has_advanced, now);
        if self.phase == Phase::Open && self.board.lost() > 0 {
            self.enter_fast_recovery();
        }
        let in_good_order = has_advanced && self.board.lost() <= lost_before;
        sample.lost = self.board.found_lost() - found_before;
        sample.prior_in_flight = prior_in_flight as u64;
        self.adapt_window(&sample, in_good_order, now);
        if delivery.segments > 0 || has_advanced {
            self.arm_timers(now);
        }
    }

    /// To be called at [`Self::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |timer: Option<Instant>| timer.is_some_and(|at| at <= now);
        if is_due(self.timers.reordering) {
            self.detect_losses(now);
            if self.phase == Phase::Open && self.board.lost() > 0 {
                self.enter_fast_recovery();
                self.reduce_window(0, false);
            }
        }
        if is_due(self.timers.pacing) {
            self.timers.pacing = None;
        }
        if is_due(self.timers.probe) {
            self.timers.probe = None;
            self.timers.is_probe_due = true;
            self.timers.retransmission = Some(now + self.rtt.timeout());
        }
        if is_due(self.timers.retransmission) {
            self.on_retransmission_timeout(now);
        }
    }

    /// A packet was refused: what is larger than `mtu` is cut up and sent again at once. That is no sign of
    /// congestion, so that the window stays (Linux's `tcp_simple_retransmit`).
    pub fn handle_refusal(&mut self, mtu: usize, now: Instant) {
        let segment = mtu.saturating_sub(DATA_OVERHEAD) as u64;
        if segment == 0 || segment >= self.segment {
            return;
        }
        self.segment = segment;
        if !self.board.cut_up(segment) {
            return;
        }
        if self.phase != Phase::TimeoutRecovery {
            let saved = self.congestion.saved();
            let episode = Recovery::new(saved, self.congestion.window(), self.una, self.next);
            self.episode = Some(episode);
            self.phase = Phase::TimeoutRecovery;
        }
        self.timers = Timers { last_sent: self.timers.last_sent, ..Timers::default() };
        self.timers.retransmission = Some(now + self.rtt.timeout());
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let Timers { retransmission, reordering, probe, pacing, .. } = self.timers;
        [retransmission, reordering, probe, pacing].into_iter().flatten().min()
    }

    /// The next packet to send.
    pub fn poll_packet(&mut self, now: Instant) -> Option<Vec<u8>> {
        let has_room = (self.board.in_flight() as f64) < self.congestion.window().floor();
        let is_probing = core::mem::take(&mut self.timers.is_probe_due);
        if has_room && !is_probing && self.is_held_by_pacing(now) {
            return None;
        }
        if has_room && let Some(index) = self.board.next_lost() {
            return Some(self.send_again(index, now));
        }
        if (has_room || is_probing)
            && let Some(packet) = self.send_new(now)
        {
            return Some(packet);
        }
        self.is_window_used = !has_room;
        if has_room && self.next == self.supplied {
            self.delivery_rate.on_app_limited(self.board.in_flight());
        }
        if is_probing && let Some(last) = self.board.last() {
            return Some(self.send_again(last, now));
        }
        None
    }
}

/// Sending.
impl TcpSender {
    /// Whether it is too early to send what there is; sets the timer for it.
    fn is_held_by_pacing(&mut self, now: Instant) -> bool {
        self.timers.pacing = None;
        let has_something = self.next < self.supplied || self.board.lost() > 0;
        if has_something && self.congestion.pacing_rate().is_some() {
            self.timers.pacing = self.pacing.wait_until(now);
        }
        self.timers.pacing.is_some()
    }

    fn send_new(&mut self, now: Instant) -> Option<Vec<u8>> {
        let start = self.next;
        let end = (start + self.segment).min(self.supplied);
        if start == end || end > self.window_end {
            return None;
        }
        let was_idle = self.board.is_empty();
        if was_idle {
            let timeout = self.rtt.timeout();
            let is_long = self.timers.last_sent.is_some_and(|at| at + timeout < now);
            self.congestion.on_restart(is_long, self.delivery_rate.is_app_limited(), now);
        }
        let stamp = self.delivery_rate.stamp(was_idle, now);
        self.board.push(start, end, stamp, now);
        self.next = end;
        if was_idle {
            self.arm_timers(now);
        }
        Some(self.packet(start, end, now))
    }

    fn send_again(&mut self, index: usize, now: Instant) -> Vec<u8> {
        let stamp = self.delivery_rate.stamp(false, now);
        let Sent { start, end, .. } = self.board.retransmit(index, stamp, now);
        self.stats.retransmissions += 1;
        if let Some(episode) = &mut self.episode {
            episode.on_retransmit(now.as_millis() as u32);
        }
        self.packet(start, end, now)
    }

    fn packet(&mut self, start: u64, end: u64, now: Instant) -> Vec<u8> {
        self.stats.segments += 1;
        self.timers.last_sent = Some(now);
        if let Some(rate) = self.congestion.pacing_rate() {
            self.pacing.on_sent(rate, now);
        }
        if let Some(episode) = &mut self.episode {
            episode.on_sent();
        }
        let timestamp = now.as_millis() as u32;
        let payload = (end - start) as usize;
        Segment { seq: start, timestamp, payload, ..Segment::default() }.write(&mut self.maker)
    }
}

/// Acknowledgements.
impl TcpSender {
    fn sample(&mut self, delivery: &Delivery, now: Instant) -> Sample {
        if let Some(sent_at) = delivery.rtt_from {
            let rtt = now.saturating_since(sent_at);
            self.rtt.on_sample(rtt);
            self.congestion.on_rtt(rtt, self.una, self.next, now);
        }
        self.delivery_rate.on_delivery(delivery, self.rtt.min(), now)
    }

    /// Marks what is acknowledged, and tells whether a duplicate is reported.
    fn take_acknowledgement(&mut self, segment: &Segment) -> (Delivery, bool) {
        let mut delivery = Delivery::default();
        let highest = self.board.highest_sacked();
        let is_duplicate = match segment.sacks[..] {
            [(_, end), ..] if end <= segment.ack => true,
            [(start, end), (outer_start, outer_end), ..] => {
                start >= outer_start && end <= outer_end
            }
            _ => false,
        };
        if is_duplicate && let Some(episode) = &mut self.episode {
            episode.on_duplicate(segment.sacks[0].1);
        }
        for &(start, end) in segment.sacks.iter().skip(usize::from(is_duplicate)) {
            self.board.select(start, end, highest, &mut delivery);
        }
        self.board.acknowledge(segment.ack, highest, &mut delivery);
        (delivery, is_duplicate)
    }

    fn detect_losses(&mut self, now: Instant) {
        self.timers.reordering = None;
        let Some((newest, rtt)) = self.rack.newest() else { return };
        let in_recovery = self.phase != Phase::Open;
        let window = self.rack.reorder_window(in_recovery, self.board.sacked(), &self.rtt);
        self.timers.reordering = self.board.mark_lost(newest, rtt, window, now);
    }

    /// Ends the present phase when its losses are repaired or were none.
    fn leave_phase(&mut self, segment: &Segment, has_advanced: bool, now: Instant) {
        let Some(episode) = &self.episode else { return };
        let is_over = self.una >= episode.high;
        // Like Linux, a partial acknowledgement of an original does not end fast recovery while
        // retransmissions are on their way.
        let may_end = match self.phase {
            Phase::Open => false,
            Phase::FastRecovery => is_over || self.board.retransmitting() == 0,
            Phase::TimeoutRecovery => true,
        };
        let is_original = has_advanced && may_end && episode.is_answer_to_original(segment.echo);
        let is_unnecessary = is_original || episode.are_all_duplicates();
        if is_unnecessary {
            self.undo(now);
        } else if is_over && self.phase == Phase::FastRecovery {
            self.congestion.on_recovered();
            self.rack.on_recovery_end();
            self.phase = Phase::Open;
        } else if is_over {
            self.phase = Phase::Open;
        }
    }

    fn undo(&mut self, now: Instant) {
        let Some(episode) = self.episode.take() else { return };
        self.congestion.undo(episode.saved);
        self.stats.undone += 1;
        if self.phase != Phase::Open {
            self.phase = Phase::Open;
            self.rack.on_recovery_end();
            self.board.unmark_lost();
            self.detect_losses(now);
        }
    }

    fn enter_fast_recovery(&mut self) {
        self.stats.recoveries += 1;
        let window = self.congestion.window();
        let saved = self.congestion.on_congestion();
        self.episode = Some(Recovery::new(saved, window, self.una, self.next));
        self.phase = Phase::FastRecovery;
    }

    fn adapt_window(&mut self, sample: &Sample, in_good_order: bool, now: Instant) {
        if self.phase == Phase::FastRecovery {
            self.reduce_window(sample.newly, in_good_order);
        }
        let smoothed = self.rtt.smoothed();
        let is_used = self.is_window_used;
        match &mut self.congestion {
            Congestion::Cubic(cubic) => {
                let is_used = is_used
                    || (cubic.is_in_slow_start() && cubic.window < 2.0 * (self.board.len() as f64));
                if self.phase != Phase::FastRecovery && is_used && sample.newly > 0 {
                    cubic.on_ack(sample.newly, smoothed.unwrap_or_default(), now);
                }
            }
            Congestion::Bbr(bbr) => {
                let in_flight = self.board.in_flight();
                let sample = Sample { in_flight: in_flight as u64, ..*sample };
                let delivered = self.delivery_rate.delivered();
                if bbr.on_ack(&sample, delivered, smoothed, self.phase.repair(), now) {
                    self.delivery_rate.on_app_limited(in_flight);
                }
            }
        }
    }

    /// Lets CUBIC's window fall in proportion to what is delivered.
    fn reduce_window(&mut self, newly: u64, in_good_order: bool) {
        if let (Congestion::Cubic(cubic), Some(episode)) = (&mut self.congestion, &mut self.episode)
        {
            let (in_flight, threshold) = (self.board.in_flight(), cubic.slow_start_threshold);
            cubic.window = episode.window(newly, in_flight, threshold, in_good_order);
        }
    }

    fn on_retransmission_timeout(&mut self, now: Instant) {
        if self.board.is_empty() {
            self.timers.retransmission = None;
            return;
        }
        self.stats.timeouts += 1;
        if self.phase == Phase::Open {
            let window = self.congestion.window();
            let saved = self.congestion.on_congestion();
            self.episode = Some(Recovery::new(saved, window, self.una, self.next));
        }
        if let Some(episode) = &mut self.episode {
            episode.high = self.next;
        }
        self.phase = Phase::TimeoutRecovery;
        self.congestion.on_timeout();
        self.board.mark_all_lost();
        self.rtt.on_timeout();
        let at = now + self.rtt.timeout();
        self.timers = Timers {
            retransmission: Some(at),
            last_sent: self.timers.last_sent,
            ..Timers::default()
        };
    }

    fn arm_timers(&mut self, now: Instant) {
        self.timers.is_probe_due = false;
        if self.board.is_empty() {
            self.timers = Timers { last_sent: self.timers.last_sent, ..Timers::default() };
            return;
        }
        let timeout = self.rtt.timeout();
        self.timers.retransmission = Some(now + timeout);
        self.timers.probe = self
            .rtt
            .smoothed()
            .filter(|_| self.phase == Phase::Open && self.board.sacked() == 0)
            .map(|rtt| {
                let single = self.board.len() == 1;
                rtt * 2 + if single { PROBE_DELAY_SINGLE } else { PROBE_DELAY }
            })
            .filter(|&delay| delay < timeout)
            .map(|delay| now + delay);
    }
}

#[cfg(test)]
mod tests;
