//! When slow start has found what the path carries, before it overflows it: HyStart as Linux has it
//! (S. Ha and I. Rhee, "Taming the elephants: new TCP slow start", Computer Networks 55, 2011).

use core::time::Duration;

use mlvpn_proto::time::Instant;

/// No slow start ends below this window, in segments.
const LOW_WINDOW: f64 = 16.0;
/// Round trips of a round that are looked at before its lowest counts.
const MIN_SAMPLES: u32 = 8;
/// The growth of the round trip that ends slow start: an eighth of the lowest, within these bounds.
const DELAY_MARGIN: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(16));
/// Acknowledgements no further apart are one train.
const TRAIN_GAP: Duration = Duration::from_millis(2);
/// What Linux allows for acknowledgements that are late, below 2 Gbit/s.
const ACK_DELAY: Duration = Duration::from_millis(1);

/// Looks at trains of acknowledgements and at their delay, over rounds of one RTT.
///
/// A train of acknowledgements that lasts for half of the shortest round trip means that half of the
/// window fills the path for as long. Senders that pace would have to be given a whole round trip; those
/// here do not.
#[derive(Clone, Debug, Default)]
pub(super) struct HyStart {
    min_rtt: Option<Duration>,
    round_end: u64,
    round_start: Instant,
    last_ack: Instant,
    samples: u32,
    round_min: Option<Duration>,
    is_found: bool,
}

impl HyStart {
    /// A round trip was measured.
    pub(super) fn on_min_rtt(&mut self, rtt: Duration) {
        self.min_rtt = Some(self.min_rtt.map_or(rtt, |lowest| lowest.min(rtt)));
    }

    /// Whether slow start with `window` is to end now, as it does once until a timeout.
    pub(super) fn ends_slow_start(
        &mut self,
        rtt: Duration,
        window: f64,
        una: u64,
        next: u64,
        now: Instant,
    ) -> bool {
        let Some(min_rtt) = self.min_rtt.filter(|_| !self.is_found) else { return false };
        if una > self.round_end {
            self.begin_round(next, now);
        }
        if window < LOW_WINDOW {
            return false;
        }
        self.is_found = self.is_train_long(min_rtt, now) | self.has_delay_grown(rtt, min_rtt);
        self.is_found
    }

    fn begin_round(&mut self, next: u64, now: Instant) {
        self.round_end = next;
        (self.round_start, self.last_ack) = (now, now);
        (self.samples, self.round_min) = (0, None);
    }

    fn is_train_long(&mut self, min_rtt: Duration, now: Instant) -> bool {
        if now.saturating_since(self.last_ack) > TRAIN_GAP {
            return false;
        }
        self.last_ack = now;
        now.saturating_since(self.round_start) > (min_rtt + ACK_DELAY) / 2
    }

    fn has_delay_grown(&mut self, rtt: Duration, min_rtt: Duration) -> bool {
        let lowest = self.round_min.map_or(rtt, |lowest| lowest.min(rtt));
        self.round_min = Some(lowest);
        if self.samples < MIN_SAMPLES {
            self.samples += 1;
            return false;
        }
        lowest > min_rtt + (min_rtt / 8).clamp(DELAY_MARGIN.0, DELAY_MARGIN.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(40);

    /// When a train of acknowledgements `gap_us` apart ends slow start.
    fn ends_after(gap_us: u64, window: f64) -> Option<Duration> {
        let mut hystart = HyStart::default();
        hystart.on_min_rtt(RTT);
        let start = Instant::from_secs(1);
        let mut acks = (0..100_000 / gap_us).map(|i| Duration::from_micros(i * gap_us));
        acks.find(|&after| hystart.ends_slow_start(RTT, window, 1, 1_000, start + after))
    }

    #[test]
    fn a_train_of_half_a_round_trip_ends_slow_start() {
        let after = ends_after(500, 100.0).unwrap();
        assert_eq!(after, Duration::from_micros(21_000));
        assert_eq!(ends_after(500, 15.0), None, "the window is too small");
        assert_eq!(ends_after(2_500, 100.0), None, "no train");
    }

    #[test]
    fn it_ends_once() {
        let mut hystart = HyStart::default();
        hystart.on_min_rtt(RTT);
        let long = RTT * 2;
        let found = |hystart: &mut HyStart, una: u64| {
            (0..20)
                .filter(|i| {
                    let now = Instant::from_millis(una * 100 + 3 * i);
                    hystart.ends_slow_start(long, 100.0, una, una + 1, now)
                })
                .count()
        };
        assert_eq!(found(&mut hystart, 1), 1);
        assert_eq!(found(&mut hystart, 3), 0);
    }
}
