//! The times at which segments are sent.

use core::time::Duration;

use mlvpn_proto::time::Instant;

/// Spaces segments at a rate. Like Linux's, it makes up for being late by up to half of a segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Pacing {
    next_ns: u64,
}

impl Pacing {
    /// When the next segment may be sent, unless at once.
    pub(super) fn wait_until(&self, now: Instant) -> Option<Instant> {
        let at = Instant::from_micros(self.next_ns.div_ceil(1_000));
        (at > now).then_some(at)
    }

    /// A segment is sent at `rate` segments a second.
    pub(super) fn on_sent(&mut self, rate: f64, now: Instant) {
        let now_ns = now.as_micros() * 1_000;
        // Saturates at the rate of zero.
        let spacing = Duration::from_secs_f64((1.0 / rate).min(1.0)).as_nanos() as u64;
        let late = now_ns.saturating_sub(self.next_ns);
        self.next_ns = self.next_ns.max(now_ns) + spacing - late.min(spacing / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_though_the_clock_is_coarse() {
        let mut pacing = Pacing::default();
        let mut now = Instant::from_secs(1);
        for _ in 0..70_000 {
            now = pacing.wait_until(now).unwrap_or(now);
            pacing.on_sent(7_000.0, now);
        }
        let took = now.saturating_since(Instant::from_secs(1));
        assert!(took.abs_diff(Duration::from_secs(10)) < Duration::from_millis(1), "{took:?}");
    }

    #[test]
    fn a_pause_gives_half_a_segment_of_credit() {
        let mut pacing = Pacing::default();
        let now = Instant::from_secs(5);
        pacing.on_sent(1_000.0, now);
        assert_eq!(pacing.wait_until(now), Some(now + Duration::from_micros(500)));
    }
}
