//! The clock: the one place of the workspace that reads the time.

use rustix::time::{ClockId, clock_gettime};

/// Runs on through a suspend, so that everything that timed out meanwhile is seen at once.
#[cfg(target_os = "linux")]
const MONOTONIC: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const MONOTONIC: ClockId = ClockId::Monotonic;

/// Ages above this are taken for a step of the wall clock, not for time spent in a socket buffer.
const MAX_AGE_NS: u64 = 10_000_000_000;

/// Two clocks are read together when no more time passes meanwhile, in µs; so often that is tried.
const TOGETHER_US: u64 = 20;
const SAMPLES: u32 = 4;

/// Monotonic microseconds since an origin. Copies share the origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin_ns: u64,
}

impl Clock {
    /// A clock whose origin is one second before now, so that no reading of it is near zero.
    #[must_use]
    pub fn new() -> Self {
        Self { origin_ns: monotonic_ns().saturating_sub(1_000_000_000) }
    }

    /// Microseconds since the origin.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        monotonic_ns().saturating_sub(self.origin_ns) / 1000
    }

    /// Reads this clock and the wall clock together, to convert wall clock timestamps with.
    #[must_use]
    pub fn sample(&self) -> ClockSample {
        let mut sample = self.sample_once();
        for _ in 1..SAMPLES {
            // In between another process may have had its turn.
            if self.now_us() <= sample.now_us + TOGETHER_US {
                break;
            }
            sample = self.sample_once();
        }
        sample
    }

    fn sample_once(&self) -> ClockSample {
        ClockSample { now_us: self.now_us(), realtime_ns: realtime_ns() }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// Time since 1970, for people and logs; it may jump.
#[must_use]
pub fn unix_time() -> std::time::Duration {
    std::time::Duration::from_nanos(realtime_ns())
}

/// One moment on both clocks. Kernel receive timestamps are wall clock time; the distance from the
/// sampled moment carries them over to the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct ClockSample {
    now_us: u64,
    realtime_ns: u64,
}

impl ClockSample {
    /// The sampled moment, in the clock's microseconds.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Converts nanoseconds since 1970 of a moment up to ten seconds before the sample.
    /// Anything else (the wall clock was stepped in between) becomes the sampled moment itself.
    #[must_use]
    pub fn from_realtime_ns(&self, timestamp_ns: u64) -> u64 {
        let age_ns = match self.realtime_ns.checked_sub(timestamp_ns) {
            Some(age) if age <= MAX_AGE_NS => age,
            _ => 0,
        };
        self.now_us.saturating_sub(age_ns / 1000)
    }
}

fn monotonic_ns() -> u64 {
    nanoseconds(MONOTONIC)
}

fn realtime_ns() -> u64 {
    nanoseconds(ClockId::Realtime)
}

fn nanoseconds(id: ClockId) -> u64 {
    let now = clock_gettime(id);
    // Neither clock is ever negative on a machine whose date is after 1970.
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_starts_at_one_second_and_never_goes_back() {
        let clock = Clock::new();
        let mut last = clock.now_us();
        assert!(last >= 1_000_000);
        for _ in 0..1000 {
            let now = clock.now_us();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_realtime_stamp_keeps_its_distance_from_now() {
        let sample = ClockSample { now_us: 50_000_000, realtime_ns: 1_700_000_000_000_000_000 };
        let table = [
            (0, 50_000_000),
            (1_500_000, 49_998_500),      // 1.5 ms old
            (-1, 50_000_000),             // stamped after the sample
            (11_000_000_000, 50_000_000), // older than any packet in a buffer
        ];
        for (age_ns, expected) in table {
            let stamp = (1_700_000_000_000_000_000_i64 - age_ns) as u64;
            assert_eq!(sample.from_realtime_ns(stamp), expected, "age {age_ns}");
        }
    }
}
