//! Round-trip time and the retransmission timeout (RFC 6298).

use core::time::Duration;

/// Linux's lower bound; RFC 6298 (2.4) would have a second.
const MIN_RTO: Duration = Duration::from_millis(200);
/// Upper bound, RFC 6298 (2.5) and Linux.
const MAX_RTO: Duration = Duration::from_secs(120);
/// Before the first sample, RFC 6298 (2.1).
const INITIAL_RTO: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct RttEstimator {
    smoothed: Option<Duration>,
    variation: Duration,
    min: Duration,
    backoff: u32,
}

impl RttEstimator {
    pub(super) fn new() -> Self {
        Self { smoothed: None, variation: Duration::ZERO, min: Duration::MAX, backoff: 0 }
    }

    /// Takes a sample; ends the backoff.
    pub(super) fn on_sample(&mut self, rtt: Duration) {
        self.min = self.min.min(rtt);
        self.backoff = 0;
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(rtt);
            self.variation = rtt / 2;
            return;
        };
        self.variation = (self.variation * 3 + smoothed.abs_diff(rtt)) / 4;
        self.smoothed = Some((smoothed * 7 + rtt) / 8);
    }

    /// Doubles the timeout (RFC 6298 (5.5)).
    pub(super) fn on_timeout(&mut self) {
        self.backoff = (self.backoff + 1).min(10);
    }

    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The smallest sample so far; zero before the first.
    pub(super) fn min(&self) -> Duration {
        if self.smoothed.is_some() { self.min } else { Duration::ZERO }
    }

    /// Linux bounds the variation, not the sum, from below.
    pub(super) fn timeout(&self) -> Duration {
        let base = self.smoothed.map_or(INITIAL_RTO, |rtt| rtt + (self.variation * 4).max(MIN_RTO));
        (base * (1 << self.backoff)).min(MAX_RTO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_samples_and_backs_off() {
        let ms = Duration::from_millis;
        let mut rtt = RttEstimator::new();
        assert_eq!(rtt.timeout(), ms(1_000));
        rtt.on_sample(ms(100));
        assert_eq!(rtt.timeout(), ms(300));
        rtt.on_sample(ms(500));
        // Variation (3 * 50 + 400) / 4, smoothed (7 * 100 + 500) / 8.
        assert_eq!(rtt.timeout(), Duration::from_micros(150_000 + 550_000));
        rtt.on_timeout();
        rtt.on_timeout();
        assert_eq!(rtt.timeout(), ms(2_800));
        rtt.on_sample(ms(150));
        assert!(rtt.timeout() < ms(1_000));
        assert_eq!(rtt.min(), ms(100));
    }
}
