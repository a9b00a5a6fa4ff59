//! The 16-bit millisecond clocks in v1 headers: round trips and the peer's echo.

use crate::time::{Duration, Instant};
use crate::wire::v1::NO_TIMESTAMP;

/// A received timestamp is echoed only while it is younger than this.
const ECHO_MAX_AGE: Duration = Duration::from_millis(1_000);
/// Round trips of this length or more are not believed (the clock wraps every 65 s).
const RTT_LIMIT_MS: u16 = 5_000;

/// Reads and writes the `timestamp` and `timestamp_reply` fields of one path.
#[derive(Clone, Debug, Default)]
pub(crate) struct EchoClock {
    received: Option<(u16, Instant)>,
}

impl EchoClock {
    /// The value of `timestamp` for a packet sent at `now`.
    pub(crate) fn timestamp(now: Instant) -> u16 {
        match now.as_millis() as u16 {
            NO_TIMESTAMP => 0,
            ms => ms,
        }
    }

    /// The value of `timestamp_reply` for a packet sent at `now`. Each received timestamp is
    /// echoed once.
    pub(crate) fn take_reply(&mut self, now: Instant) -> u16 {
        let Some((timestamp, at)) = self.received.take() else { return NO_TIMESTAMP };
        let held = now.saturating_since(at);
        if held >= ECHO_MAX_AGE {
            return NO_TIMESTAMP;
        }
        // A sum that happens to be the mark for "none" is off by one millisecond instead.
        match timestamp.wrapping_add(held.as_millis() as u16) {
            NO_TIMESTAMP => 0,
            reply => reply,
        }
    }

    /// Takes the two fields of a received packet; returns the round trip that they show.
    pub(crate) fn on_received(
        &mut self,
        timestamp: u16,
        reply: u16,
        now: Instant,
    ) -> Option<Duration> {
        if timestamp != NO_TIMESTAMP {
            self.received = Some((timestamp, now));
        }
        if reply == NO_TIMESTAMP {
            return None;
        }
        let rtt = Self::timestamp(now).wrapping_sub(reply);
        (rtt < RTT_LIMIT_MS).then(|| Duration::from_millis(u64::from(rtt)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reply_adds_the_time_held_and_is_used_once() {
        let mut clock = EchoClock::default();
        clock.on_received(65_530, NO_TIMESTAMP, Instant::from_millis(10));
        assert_eq!(clock.take_reply(Instant::from_millis(30)), 14);
        assert_eq!(clock.take_reply(Instant::from_millis(31)), NO_TIMESTAMP);
        clock.on_received(1, NO_TIMESTAMP, Instant::from_millis(40));
        assert_eq!(clock.take_reply(Instant::from_millis(1_040)), NO_TIMESTAMP, "too old");
    }

    #[test]
    fn a_round_trip_survives_the_wrap_of_the_clock() {
        let sent = EchoClock::timestamp(Instant::from_millis(65_500));
        let mut clock = EchoClock::default();
        let rtt = clock.on_received(0, sent, Instant::from_millis(65_560));
        assert_eq!(rtt, Some(Duration::from_millis(60)));
        assert_eq!(clock.on_received(0, sent, Instant::from_millis(71_000)), None);
    }

    #[test]
    fn the_mark_for_none_is_never_used_as_a_time() {
        assert_eq!(EchoClock::timestamp(Instant::from_millis(65_535)), 0);
    }
}
