//! RACK's view of reordering (RFC 8985), with the details of Linux.

use core::time::Duration;

use mlvpn_proto::time::Instant;

use super::rtt::RttEstimator;
use super::scoreboard::Delivery;

/// RFC 5681: this many segments delivered out of order are a loss, before any reordering was seen.
const DUPLICATE_THRESHOLD: usize = 3;
/// Recoveries without a duplicate report after which the window shrinks again (RFC 8985 section 6.2).
const PERSISTENCE: u32 = 16;
/// Linux `net.ipv4.tcp_max_reordering`.
const MAX_REORDERING: u64 = 300;

#[derive(Clone, Debug)]
pub(super) struct Rack {
    /// When the most recently sent of the delivered segments was sent, and its end.
    newest: Option<(Instant, u64)>,
    rtt: Duration,
    reordering: usize,
    is_reordering_seen: bool,
    window_steps: u32,
    recoveries_left: u32,
    /// A duplicate was reported and the window has not grown for it.
    is_growth_pending: bool,
    /// Segments delivered when the window last grew.
    grown_at: u64,
}

impl Rack {
    pub(super) fn new() -> Self {
        Self {
            newest: None,
            rtt: Duration::ZERO,
            reordering: DUPLICATE_THRESHOLD,
            is_reordering_seen: false,
            window_steps: 1,
            recoveries_left: 0,
            is_growth_pending: false,
            grown_at: 0,
        }
    }

    /// When the newest delivered segment was sent and its end, and its RTT.
    pub(super) fn newest(&self) -> Option<((Instant, u64), Duration)> {
        self.newest.map(|newest| (newest, self.rtt))
    }

    /// Takes note of what was delivered. `highest` is the highest byte selectively acknowledged.
    pub(super) fn on_delivery(
        &mut self,
        delivery: &Delivery,
        highest: u64,
        segment: u64,
        rtt: &RttEstimator,
        now: Instant,
    ) {
        if let Some(start) = delivery.overtaken.filter(|&start| start < highest) {
            self.is_reordering_seen = true;
            let distance = (highest - start).div_ceil(segment).min(MAX_REORDERING) as usize;
            self.reordering = self.reordering.max(distance);
        }
        let Some(sent) = delivery.newest else { return };
        let sample = now.saturating_since(sent.at);
        // Too early to be the retransmission's: the original's acknowledgement.
        if sent.is_retransmitted && sample < rtt.min() {
            return;
        }
        self.rtt = sample;
        self.newest = self.newest.max(Some((sent.at, sent.end)));
    }

    /// Adapts the window: one step more per round trip in which duplicates are reported.
    pub(super) fn on_duplicates(&mut self, reported: bool, delivery: &Delivery, delivered: u64) {
        self.is_growth_pending |= reported;
        let Some(sent) = delivery.newest else { return };
        if sent.stamp.delivered < self.grown_at {
            self.is_growth_pending = false;
        }
        if self.is_growth_pending {
            self.window_steps = (self.window_steps + 1).min(255);
            self.is_growth_pending = false;
            self.grown_at = delivered;
            self.recoveries_left = PERSISTENCE;
        } else if self.recoveries_left == 0 {
            self.window_steps = 1;
        }
    }

    pub(super) fn on_recovery_end(&mut self) {
        self.recoveries_left = self.recoveries_left.saturating_sub(1);
    }

    /// How much later than expected a segment may come before it counts as lost.
    pub(super) fn reorder_window(
        &self,
        in_recovery: bool,
        sacked: usize,
        rtt: &RttEstimator,
    ) -> Duration {
        if !self.is_reordering_seen && (in_recovery || sacked >= self.reordering) {
            return Duration::ZERO;
        }
        (rtt.min() / 4 * self.window_steps).min(rtt.smoothed().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::delivery_rate::Stamp;
    use crate::tcp::scoreboard::Sent;

    fn delivered(delivered: u64) -> Delivery {
        let newest = Sent {
            start: 0,
            end: 100,
            at: Instant::ZERO,
            stamp: Stamp { delivered, ..Stamp::default() },
            is_sacked: false,
            is_lost: false,
            is_retransmitted: false,
            is_retransmitting: false,
        };
        Delivery { segments: 1, newest: Some(newest), ..Delivery::default() }
    }

    #[test]
    fn the_window_is_zero_at_three_until_reordering_is_seen() {
        let mut rtt = RttEstimator::new();
        rtt.on_sample(Duration::from_millis(40));
        let mut rack = Rack::new();
        let quarter = Duration::from_millis(10);
        assert_eq!(rack.reorder_window(false, 2, &rtt), quarter);
        assert_eq!(rack.reorder_window(false, 3, &rtt), Duration::ZERO);
        let overtaken = Delivery { overtaken: Some(100), ..delivered(0) };
        rack.on_delivery(&overtaken, 900, 100, &rtt, Instant::from_millis(40));
        assert_eq!(rack.reorder_window(true, 100, &rtt), quarter);
    }

    #[test]
    fn duplicates_widen_the_window_once_per_round_trip_up_to_the_rtt() {
        let mut rtt = RttEstimator::new();
        rtt.on_sample(Duration::from_millis(40));
        let mut rack = Rack::new();
        rack.on_duplicates(true, &delivered(0), 50);
        rack.on_duplicates(true, &delivered(10), 60);
        assert_eq!(rack.reorder_window(false, 0, &rtt), Duration::from_millis(20));
        for round in 1..9 {
            rack.on_duplicates(true, &delivered(round * 100), round * 100 + 50);
        }
        assert_eq!(rack.reorder_window(false, 0, &rtt), Duration::from_millis(40));
        for _ in 0..16 {
            rack.on_recovery_end();
        }
        rack.on_duplicates(false, &delivered(2_000), 2_050);
        assert_eq!(rack.reorder_window(false, 0, &rtt), Duration::from_millis(10));
    }
}
