//! Keeps a repeated warning from flooding the log.

use mlvpn_proto::{Duration, Instant};

/// Lets some events pass in each interval and counts the rest, for one kind of warning.
#[derive(Clone, Debug)]
pub struct Throttle {
    burst: u32,
    interval: Duration,
    since: Option<Instant>,
    passed: u32,
    suppressed: u64,
}

impl Throttle {
    /// `burst` events pass in each `interval`, which begins with its first event.
    #[must_use]
    pub fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval, since: None, passed: 0, suppressed: 0 }
    }

    /// An event happens at `now`: none when it is to be kept silent; otherwise how many were
    /// since the last that passed.
    pub fn on_event(&mut self, now: Instant) -> Option<u64> {
        let is_new = self.since.is_none_or(|since| now.saturating_since(since) >= self.interval);
        if is_new {
            self.since = Some(now);
            self.passed = 0;
        }
        if self.passed >= self.burst {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_next_interval_tells_how_many_did_not() {
        let mut throttle = Throttle::new(2, Duration::from_secs(10));
        let mut at = |millis| throttle.on_event(Instant::from_millis(millis));
        assert_eq!(at(5_000), Some(0));
        assert_eq!(at(5_001), Some(0));
        assert_eq!(at(5_002), None);
        assert_eq!(at(14_999), None);
        assert_eq!(at(15_000), Some(2));
        assert_eq!(at(15_000), Some(0));
        assert_eq!(at(15_000), None);
        assert_eq!(at(99_000), Some(1));
    }

    #[test]
    fn a_burst_of_none_keeps_everything_silent() {
        let mut throttle = Throttle::new(0, Duration::from_secs(1));
        assert_eq!(throttle.on_event(Instant::ZERO), None);
        assert_eq!(throttle.on_event(Instant::from_secs(100)), None);
    }
}
