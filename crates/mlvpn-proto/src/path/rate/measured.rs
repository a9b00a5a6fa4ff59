//! What the feedback tells of a path.

use super::delivery::DeliveryWindow;
use super::loss::{LossTrend, Verdict};
use super::standing::{MEAN_SPAN, Sent, StandingQueue};
use crate::time::{Duration, Instant};

/// The round trip that is assumed before one was measured.
pub(super) const ASSUMED_RTT: Duration = Duration::from_millis(50);
/// The time over which a rate is measured, at least, and the least that counts beside the time of
/// three packets.
const RATE_SPAN: Duration = Duration::from_millis(100);
const LEAST_RATE_SPAN: Duration = Duration::from_millis(25);
/// And this many times the jitter, which then makes a tenth of it.
const RATE_JITTERS: u32 = 12;
/// A rate is measured over at least the time of so many packets.
const SPAN_PACKETS: u32 = 8;
/// The control loop is not slower than this for the sake of seeing several packets.
const MOST_SEEING: Duration = Duration::from_millis(100);
/// In about this time the longest packet of the time before is forgotten.
const LONGEST_FOR: Duration = Duration::from_secs(1);
/// In this time a rate that was reached is forgotten.
const CARRIED_FOR: Duration = Duration::from_secs(10);
/// A pause between reports that is longer tells of an idle path.
const LONGEST_INTERVAL: Duration = Duration::from_millis(100);

/// What a feedback says about one path, with what the sender knows itself.
#[derive(Clone, Copy, Debug)]
pub struct FeedbackSample {
    /// Wire bytes that have arrived on the path, ever.
    pub received_bytes: u64,
    /// When the largest packet number arrived, on the receiver's clock.
    pub received_at: Instant,
    /// When that packet was sent, on ours, if it is known to have arrived.
    pub sent_at: Option<Instant>,
    /// The lowest receive less send time since the last feedback, in µs; none without data.
    pub lowest_transit: Option<i64>,
    /// The latest round trip, if this feedback brought one.
    pub rtt: Option<Duration>,
    /// The lowest round trip known.
    pub min_rtt: Option<Duration>,
    /// Packets that are known to have arrived since the last feedback.
    pub acked_packets: u64,
    /// How long ago the earliest of them was sent.
    pub oldest: Option<Duration>,
    /// The longest of them, in bytes on the wire; 0 without any.
    pub longest_packet: u64,
    /// Packets that are known to be lost since the last feedback.
    pub lost_packets: u64,
    /// Packets waited for this path throughout the time since the last feedback.
    pub is_limited: bool,
}

/// All that is measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) delivery: DeliveryWindow,
    pub(super) queue: StandingQueue,
    pub(super) loss: LossTrend,
    /// The round trip, smoothed, without the queue that stands.
    unloaded_rtt: Option<Duration>,
    min_rtt: Option<Duration>,
    /// Between two reports, smoothed.
    interval: Duration,
    /// The most bytes per second that have arrived lately, which the path carries at least.
    carried: f64,
    /// The longest packet that has arrived lately, in bytes on the wire.
    longest: Option<f64>,
}

impl Measured {
    /// A report came so long after the one before.
    pub(super) fn on_interval(&mut self, interval: Duration) {
        if interval <= LONGEST_INTERVAL {
            self.interval = (self.interval * 7 + interval) / 8;
        }
    }

    /// Takes a feedback into account that stands for the time `step`; a packet takes `packet_time`. Tells what the
    /// losses mean.
    pub(super) fn on_feedback(
        &mut self,
        sample: &FeedbackSample,
        (step, packet_time): (Duration, Duration),
        now: Instant,
    ) -> Verdict {
        self.delivery.on_report(sample.received_at, sample.sent_at, sample.received_bytes);
        let arrives = self.delivered(Instant::ZERO, packet_time).unwrap_or(0.0);
        let forgotten = step.as_secs_f64() / CARRIED_FOR.as_secs_f64();
        self.carried = (self.carried * (1.0 - forgotten)).max(arrives);
        if sample.longest_packet > 0 {
            let (longest, fading) =
                (sample.longest_packet as f64, step.div_duration_f64(LONGEST_FOR));
            let before = self.longest.unwrap_or(longest);
            self.longest = Some(longest.max(before + (longest - before) * fading.min(1.0)));
        }
        if let Some(transit) = sample.lowest_transit {
            let (bytes, arrived_at) = (sample.received_bytes, sample.received_at);
            let sent = sample.sent_at.map(|at| Sent { bytes, at, arrived_at });
            if sample.oldest.is_some_and(|age| self.queue.is_beyond(transit, age)) {
                self.queue = StandingQueue::default();
            }
            self.queue.on_report(transit, sent, (packet_time, self.carried), now);
        }
        let known = [self.min_rtt, sample.rtt].into_iter().flatten().min();
        self.min_rtt = sample.min_rtt.or(known);
        if let (Some(rtt), Some(lowest)) = (sample.rtt, self.min_rtt) {
            let unloaded = rtt.saturating_sub(self.queue.own().unwrap_or_default()).max(lowest);
            let before = self.unloaded_rtt.unwrap_or(unloaded);
            self.unloaded_rtt = Some((before * 7 + unloaded) / 8);
        }
        let round = self.round(packet_time);
        self.loss.on_report(sample.acked_packets, sample.lost_packets, round, now)
    }

    /// Bytes per second that arrive, lately or since `since` on the receiver's clock.
    pub(super) fn delivered(&self, since: Instant, packet_time: Duration) -> Option<f64> {
        self.delivered_over(self.rate_span(packet_time), since, packet_time)
    }

    /// What arrives as a share of what was sent to arrive meanwhile, lately or since `since` on the
    /// receiver's clock.
    pub(super) fn share(&self, since: Instant, packet_time: Duration) -> Option<f64> {
        self.share_over(self.rate_span(packet_time), since)
    }

    /// As [`Self::share`], over another span.
    pub(super) fn share_over(&self, span: Duration, since: Instant) -> Option<f64> {
        self.delivery.share(span, since, span / 2)
    }

    /// The time over which a rate is measured.
    pub(super) fn rate_span(&self, packet_time: Duration) -> Duration {
        let wandered = if self.queue.wanders() { MEAN_SPAN } else { Duration::ZERO };
        RATE_SPAN.max(self.unloaded_rtt()).max(packet_time * SPAN_PACKETS).max(wandered)
    }

    /// As [`Self::delivered`], over another span.
    pub(super) fn delivered_over(
        &self,
        span: Duration,
        since: Instant,
        packet_time: Duration,
    ) -> Option<f64> {
        // What wanders makes a rate of a short time a matter of chance.
        let wandered =
            if self.queue.wanders() { span / 2 } else { self.queue.jitter() * RATE_JITTERS };
        let least = LEAST_RATE_SPAN.max(packet_time * 3).max(wandered).min(span);
        self.delivery.rate(span, since, least)
    }

    /// The most bytes per second that have arrived lately, which the path carries at least.
    pub(super) fn carried(&self) -> f64 {
        self.carried
    }

    /// The round trip without the queue that stands.
    pub(super) fn unloaded_rtt(&self) -> Duration {
        self.unloaded_rtt.unwrap_or(ASSUMED_RTT)
    }

    /// The longest packet that has arrived lately, in bytes on the wire.
    pub(super) fn longest_packet(&self) -> Option<f64> {
        self.longest
    }

    /// The lowest round trip known.
    pub(super) fn min_rtt(&self) -> Option<Duration> {
        self.min_rtt
    }

    /// How often the receiver tells, which is also how late it may do so.
    pub(super) fn feedback_interval(&self) -> Duration {
        let rtt = self.min_rtt.unwrap_or(ASSUMED_RTT);
        (rtt / 3).clamp(Duration::from_millis(5), Duration::from_millis(50)).max(self.interval)
    }

    /// The delay of the control loop: from a change of the rate until its effect is known.
    pub(super) fn round(&self, packet_time: Duration) -> Duration {
        let seeing = self.queue.recent_span(packet_time).min(MOST_SEEING);
        self.unloaded_rtt() + self.feedback_interval() + seeing
    }
}
