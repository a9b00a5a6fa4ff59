//! Controlled delay (RFC 8289): tells the senders of a lane to slow down when its queue does not drain.

use crate::time::{Duration, Instant};

/// For this many intervals after its last signal, CoDel goes on with about the rate of signals that it had (RFC 8289
/// section 5.5).
const MEMORY_INTERVALS: u32 = 16;

/// What is tolerated in a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodelParams {
    /// How long a packet may wait at any time.
    pub target: Duration,
    /// For how long packets may wait longer than that: about the longest round trip of the flows.
    pub interval: Duration,
}

impl Default for CodelParams {
    /// 5 ms and 100 ms (RFC 8289 section 4).
    fn default() -> Self {
        Self { target: Duration::from_millis(5), interval: Duration::from_millis(100) }
    }
}

/// What CoDel knows of a lane. The names in the RFC's pseudocode are given in brackets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Codel {
    /// When the queue will have stood for an interval, if it stands (`first_above_time_`).
    standing_at: Option<Instant>,
    /// Whether signals are being given (`dropping_`).
    is_signalling: bool,
    /// When the next one is due, or would have been (`drop_next_`).
    next: Instant,
    /// How many were given since signalling began, with what is carried over from before (`count_`).
    count: u32,
    /// What `count` was when signalling began (`lastcount_`).
    initial_count: u32,
}

impl Codel {
    /// Whether the packet that is about to leave must tell its sender to slow down, by a mark or by being dropped.
    ///
    /// `sojourn` is how long it waited; `is_last`, that hardly more than a packet waits behind it, so that there
    /// is no queue to drain. To be asked for every packet at the head (RFC 8289 section 5.5, one step of
    /// its loop at a time).
    pub(super) fn must_signal(
        &mut self,
        params: CodelParams,
        sojourn: Duration,
        is_last: bool,
        now: Instant,
    ) -> bool {
        if !self.is_standing(params, sojourn, is_last, now) {
            self.is_signalling = false;
            return false;
        }
        // What a signal does to the sender shows at the head of the queue when all that waits now has gone.
        let loop_time = params.interval + sojourn;
        if !self.is_signalling {
            self.begin(loop_time, now);
            return true;
        }
        if now < self.next {
            return false;
        }
        self.count = self.count.saturating_add(1);
        self.next += spacing(loop_time, self.count);
        true
    }

    /// Whether packets have waited longer than the target for an interval.
    fn is_standing(
        &mut self,
        params: CodelParams,
        sojourn: Duration,
        is_last: bool,
        now: Instant,
    ) -> bool {
        if sojourn < params.target || is_last {
            self.standing_at = None;
            return false;
        }
        now >= *self.standing_at.get_or_insert(now + params.interval)
    }

    /// Gives the first of a series of signals: when the last series ended lately, near the rate that it had.
    fn begin(&mut self, loop_time: Duration, now: Instant) {
        let added = self.count - self.initial_count;
        let is_recent =
            now.saturating_since(self.next) < loop_time.saturating_mul(MEMORY_INTERVALS);
        self.is_signalling = true;
        self.count = if added > 1 && is_recent { added } else { 1 };
        self.initial_count = self.count;
        self.next = now + spacing(loop_time, self.count);
    }
}

/// The time from a signal to the next. It shrinks with the root of their number: as TCP's throughput goes with the
/// inverse root of its loss rate, it falls about linearly with time (RFC 8289 section 5.6).
fn spacing(loop_time: Duration, count: u32) -> Duration {
    let micros = loop_time.as_micros() as f64 / f64::from(count.max(1)).sqrt();
    Duration::from_micros(micros as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: CodelParams =
        CodelParams { target: Duration::from_millis(5), interval: Duration::from_millis(100) };

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The milliseconds at which a packet that waited for `sojourn` must signal, one leaving each millisecond.
    fn signals(codel: &mut Codel, millis: std::ops::Range<u64>, sojourn: Duration) -> Vec<u64> {
        millis
            .filter(|at| codel.must_signal(PARAMS, sojourn, false, Instant::from_millis(*at)))
            .collect()
    }

    #[test]
    fn signals_come_closer_with_the_root_of_their_number() {
        let mut codel = Codel::default();
        // 100, then 120 ms / sqrt(1, 2, 3, 4, ...) later each.
        let times = signals(&mut codel, 0..500, ms(20));
        assert_eq!(times, [100, 220, 305, 375, 435, 488]);
    }

    #[test]
    fn a_short_wait_or_a_short_queue_starts_the_interval_again() {
        let mut codel = Codel::default();
        assert!(signals(&mut codel, 0..100, ms(20)).is_empty());
        assert!(!codel.must_signal(
            PARAMS,
            Duration::from_micros(4_999),
            false,
            Instant::from_millis(100)
        ));
        assert!(signals(&mut codel, 101..201, ms(20)).is_empty());
        assert!(!codel.must_signal(PARAMS, ms(50), true, Instant::from_millis(201)));
        assert_eq!(signals(&mut codel, 202..303, ms(5)), [302]);
    }

    #[test]
    fn a_queue_that_stands_again_soon_is_signalled_at_the_former_rate() {
        let mut codel = Codel::default();
        assert_eq!(signals(&mut codel, 0..500, ms(20)).len(), 6);
        assert!(signals(&mut codel, 500..600, ms(1)).is_empty());
        // Five were added to the first one: the second follows 120 / sqrt(5) ms later.
        assert_eq!(signals(&mut codel, 600..760, ms(20)), [700, 754]);
        // 16 intervals after the last was due, nothing is remembered.
        assert!(signals(&mut codel, 760..3_000, ms(1)).is_empty());
        assert_eq!(signals(&mut codel, 3_000..3_250, ms(20)), [3_100, 3_220]);
    }
}
