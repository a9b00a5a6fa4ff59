//! What is known of a path by its feedback: round trips, loss, one-way delay, and whether the path was
//! given as much as it could carry.

use crate::path::rtt::RttEstimator;
use crate::power::exp2;
use crate::session::v2::feedback::ReportedCounts;
use crate::time::{Duration, Instant};

/// The smallest round trip is that of this time: routes change.
const MIN_RTT_WINDOW: Duration = Duration::from_secs(30);

/// Round trips: smoothed, and the smallest of the last half minute.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RttTracker {
    pub(crate) estimator: RttEstimator,
    min: Option<(Duration, Instant)>,
    candidate: Option<(Duration, Instant)>,
}

impl RttTracker {
    /// A round trip was measured.
    pub(crate) fn on_sample(&mut self, rtt: Duration, now: Instant) {
        self.estimator.on_sample(rtt);
        let is_lower = |known: Option<(Duration, Instant)>| known.is_none_or(|(min, _)| rtt <= min);
        let is_old = |(_, at): (Duration, Instant)| now.saturating_since(at) > MIN_RTT_WINDOW;
        if is_lower(self.min) {
            self.min = Some((rtt, now));
            self.candidate = None;
        } else if is_lower(self.candidate) {
            self.candidate = Some((rtt, now));
        }
        if self.min.is_some_and(is_old) {
            self.min = self.candidate.take().or(Some((rtt, now)));
        }
    }

    /// The smallest round trip of the last half minute.
    pub(crate) fn min(&self) -> Option<Duration> {
        self.min.map(|(min, _)| min)
    }
}

/// Share of packets that were lost, smoothed over some hundred packets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LossShare {
    share: f64,
    at: Instant,
    /// Since when it has been more than [`HEAVY_LOSS`].
    heavy_since: Option<Instant>,
}

/// A path that loses more than this for so long is of little use. A queue that overflowed is over sooner.
const HEAVY_LOSS: f64 = 0.10;
const HEAVY_FOR: Duration = Duration::from_secs(1);
/// Half of what is known of a path that nothing is sent on is forgotten in this time: else it would never
/// be tried again.
const LOSS_HALVES_IN: Duration = Duration::from_secs(4);

impl LossShare {
    /// So many packets turned out to have arrived, and to be lost.
    pub(crate) fn on_packets(&mut self, arrived: usize, lost: usize, now: Instant) {
        const MEMORY: f64 = 200.0;
        let all = (arrived + lost) as f64;
        if all > 0.0 {
            let weight = all / (all + MEMORY);
            let before = self.share(now);
            self.share = before + (lost as f64 / all - before) * weight;
            self.at = now;
            let is_heavy = self.share > HEAVY_LOSS;
            self.heavy_since = is_heavy.then(|| self.heavy_since.unwrap_or(now));
        }
    }

    /// 0 to 1.
    pub(crate) fn share(&self, now: Instant) -> f64 {
        // Asked for every packet; most paths lose nothing.
        if self.share == 0.0 {
            return 0.0;
        }
        let idle = now.saturating_since(self.at).as_secs_f64();
        self.share * exp2(-idle / LOSS_HALVES_IN.as_secs_f64())
    }

    /// Whether so much has been lost for a while that nothing in order should go over the path.
    pub(crate) fn is_heavy(&self, now: Instant) -> bool {
        let lasts = |since| now.saturating_since(since) >= HEAVY_FOR;
        self.heavy_since.is_some_and(lasts) && self.share(now) > HEAVY_LOSS
    }
}

/// Share of the packets from the peer that were lost, by the gaps in their numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReceivedLoss {
    share: LossShare,
    /// Up to which number the packets are counted, and how many of them were missing.
    counted: u64,
    missing: u64,
}

impl ReceivedLoss {
    /// Numbers that are counted together: fewer than the share is smoothed over, and more than are
    /// usually overtaken.
    const STEP: u64 = 64;

    /// All in all so many `packets` have come, of which `largest` is the highest number. What comes late, after
    /// it was counted as missing, is taken off what is missing next.
    pub(crate) fn on_received(&mut self, largest: u64, packets: u64, now: Instant) {
        let sent = largest + 1;
        let step = sent.saturating_sub(self.counted);
        if step < Self::STEP {
            return;
        }
        let lost = sent.saturating_sub(packets).saturating_sub(self.missing).min(step);
        self.share.on_packets((step - lost) as usize, lost as usize, now);
        self.counted = sent;
        self.missing += lost;
    }

    /// 0 to 1.
    pub(crate) fn share(&self, now: Instant) -> f64 {
        self.share.share(now)
    }
}

/// Whether the path was given as much as it could carry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    /// When it could have sent and had nothing to, last.
    pub(crate) idle_at: Instant,
    /// When the largest packet of the report before was sent.
    pub(crate) reported_sent_at: Option<Instant>,
    /// The peer's counters as it told them last.
    pub(crate) reported: ReportedCounts,
    /// One-way delay, once the peer told of one.
    pub(crate) transit: Option<TransitEstimate>,
    /// Since when more stands in the network than is tolerated.
    over_since: Option<Instant>,
}

impl Demand {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            idle_at: now,
            reported_sent_at: None,
            reported: ReportedCounts::default(),
            transit: None,
            over_since: None,
        }
    }

    /// Whether too much has been standing in the network for longer than jitter makes it seem so;
    /// `is_over` is what the latest feedback says.
    pub(crate) fn is_over(&mut self, is_over: bool, rtt: Duration, now: Instant) -> bool {
        const LONGER_THAN_JITTER: Duration = Duration::from_millis(150);
        if !is_over {
            self.over_since = None;
            return false;
        }
        let since = *self.over_since.get_or_insert(now);
        now.saturating_since(since) >= LONGER_THAN_JITTER.max(rtt * 3 / 2)
    }

    /// The peer told of a one-way delay.
    pub(crate) fn on_transit(&mut self, micros: i64, now: Instant) {
        const GAIN: f64 = 1.0 / 8.0;
        let sample = micros as f64;
        self.transit = Some(match self.transit {
            None => TransitEstimate { mean: sample, deviation: 0.0, at: now },
            Some(TransitEstimate { mean, deviation, .. }) => TransitEstimate {
                mean: mean + (sample - mean) * GAIN,
                deviation: deviation + ((sample - mean).abs() - deviation) * GAIN,
                at: now,
            },
        });
    }
}

/// A path of whose delay nothing was told for so long carries no data.
const LEFT_AFTER: Duration = Duration::from_secs(1);
/// In this time half of the deviation of a path that nothing is sent on is forgotten.
const DEVIATION_HALVES_IN: Duration = Duration::from_secs(1);

/// One-way delay after an offset that all paths have in common, and its deviation, in µs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransitEstimate {
    mean: f64,
    deviation: f64,
    at: Instant,
}

impl TransitEstimate {
    /// Whether it was told of in the last second.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_since(self.at) < LEFT_AFTER
    }

    /// The delay now and its deviation, in µs; `unloaded` are those without a queue. A queue of which nothing was
    /// heard since has become shorter by that time: a path that was left because of it would else never be
    /// tried again. The mean lags behind `queue`, the latest that was heard of, so that what it is above the
    /// delay without a queue goes likewise on a path that is left, and so does the deviation.
    pub(crate) fn drained(
        &self,
        queue: Duration,
        unloaded: Option<(f64, f64)>,
        now: Instant,
    ) -> (f64, f64) {
        let (transit, varies) = unloaded.unwrap_or((self.mean, self.deviation));
        let since_heard = now.saturating_since(self.at);
        let left_for = since_heard.saturating_sub(LEFT_AFTER);
        let heard_of = queue.min(since_heard).as_micros() as f64;
        let above = (self.mean - transit).max(0.0).min(left_for.as_micros() as f64);
        let halvings = left_for.as_secs_f64() / DEVIATION_HALVES_IN.as_secs_f64();
        let deviation = (self.deviation * exp2(-halvings)).max(varies.min(self.deviation));
        (self.mean - above.max(heard_of), deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 40 ms without queue, 120 and more with it, and nothing was sent on it since the queue began to drain.
    #[test]
    fn what_a_path_was_left_because_of_goes() {
        let (ms, at) = (Duration::from_millis, Instant::from_millis);
        let mut demand = Demand::new(Instant::ZERO);
        for n in 0..60 {
            let jitter = if n % 2 == 0 { 0 } else { 40_000 };
            demand.on_transit(120_000 + jitter, at(n * 10));
        }
        demand.on_transit(45_000, at(600));
        let transit = demand.transit.unwrap();
        let at_millis = |millis| transit.drained(ms(5), Some((40_000.0, 2_000.0)), at(millis));
        let delay = |millis| at_millis(millis).0;
        assert!(transit.mean > 120_000.0, "it lags behind: {}", transit.mean);
        assert_eq!(at_millis(600), (transit.mean, transit.deviation));
        assert_eq!(delay(605), transit.mean - 5_000.0, "the queue that was heard of");
        assert_eq!(at_millis(1_600), (transit.mean - 5_000.0, transit.deviation));
        assert_eq!(delay(1_650), transit.mean - 50_000.0, "the rest once the path is left");
        assert_eq!(delay(2_500).round(), 40_000.0);
        assert_eq!(at_millis(3_600).1.round(), (transit.deviation / 4.0).round());
        let (delay, deviation) = at_millis(60_000);
        assert_eq!((delay.round(), deviation), (40_000.0, 2_000.0), "as it is without a queue");
        let unknown = transit.drained(ms(5), None, at(9_000));
        assert_eq!(unknown, (transit.mean - 5_000.0, transit.deviation));
    }

    /// The share after the numbers for which `comes` says so have come in order, but for `late`, a number
    /// that comes so many numbers later.
    fn share_of(numbers: u64, comes: impl Fn(u64) -> bool, late: Option<(u64, u64)>) -> f64 {
        let mut loss = ReceivedLoss::default();
        let (mut packets, mut largest) = (0, 0);
        for number in 0..numbers {
            if comes(number) && late.is_none_or(|(late, _)| late != number) {
                largest = number;
                packets += 1;
            }
            packets += u64::from(late.is_some_and(|(late, by)| number == late + by));
            loss.on_received(largest, packets, Instant::ZERO);
        }
        loss.share(Instant::ZERO)
    }

    #[test]
    fn a_tenth_missing_is_a_tenth_lost() {
        let share = share_of(4_000, |number| number % 10 != 3, None);
        assert!((0.09..0.11).contains(&share), "{share}");
        assert_eq!(share_of(4_000, |_| true, None), 0.0);
    }

    #[test]
    fn a_packet_that_comes_late_was_not_lost() {
        let comes = |number| number % 100 != 7;
        let (in_order, late) =
            (share_of(4_000, comes, None), share_of(4_000, comes, Some((3_700, 90))));
        assert!((late - in_order).abs() < 0.001, "{late} instead of {in_order}");
    }
}
