//! A reduction of the congestion window, until it proves necessary or not.

use super::cubic::Saved;

/// One episode of loss: proportional rate reduction (RFC 6937) and what is needed to take the
/// reduction back when the segments turn out not to have been lost (RFC 3522, RFC 3708).
#[derive(Clone, Debug)]
pub(super) struct Recovery {
    /// The episode ends when everything below is acknowledged.
    pub(super) high: u64,
    pub(super) saved: Saved,
    start: u64,
    /// Retransmissions not reported as duplicates; `None` before the first.
    unproven: Option<u32>,
    /// Timestamp of the first retransmission.
    first_retransmission: Option<u32>,
    window: f64,
    delivered: f64,
    sent: f64,
}

impl Recovery {
    /// An episode that begins with `window` segments, `una..next` being in flight.
    pub(super) fn new(saved: Saved, window: f64, una: u64, next: u64) -> Self {
        Self {
            high: next,
            saved,
            start: una,
            unproven: None,
            first_retransmission: None,
            window,
            delivered: 0.0,
            sent: 0.0,
        }
    }

    /// A segment is sent again, with this timestamp in milliseconds.
    pub(super) fn on_retransmit(&mut self, timestamp: u32) {
        self.unproven = Some(self.unproven.unwrap_or(0) + 1);
        self.first_retransmission.get_or_insert(timestamp);
    }

    /// Any segment is sent.
    pub(super) fn on_sent(&mut self) {
        self.sent += 1.0;
    }

    /// The peer received data that ends at `end` twice.
    pub(super) fn on_duplicate(&mut self, end: u64) {
        if end > self.start {
            self.unproven = self.unproven.map(|count| count.saturating_sub(1));
        }
    }

    /// All retransmissions were reported as duplicates.
    pub(super) fn are_all_duplicates(&self) -> bool {
        self.unproven == Some(0)
    }

    /// An acknowledgement with the timestamp `echo` advanced although nothing that was sent again
    /// can have arrived: the originals did (Eifel detection, RFC 3522).
    pub(super) fn is_answer_to_original(&self, echo: u32) -> bool {
        self.first_retransmission.is_some_and(|first| (echo.wrapping_sub(first) as i32) < 0)
    }

    /// The congestion window after `delivered` more segments with `in_flight` left (RFC 6937
    /// section 3, with the reduction bound of Linux).
    pub(super) fn window(
        &mut self,
        delivered: u64,
        in_flight: usize,
        threshold: f64,
        in_good_order: bool,
    ) -> f64 {
        let (newly, in_flight) = (delivered as f64, in_flight as f64);
        self.delivered += newly;
        let room = threshold - in_flight;
        let send = if room < 0.0 {
            (threshold * self.delivered / self.window).ceil() - self.sent
        } else {
            let send = (self.delivered - self.sent).max(newly);
            (send + f64::from(u8::from(in_good_order))).min(room)
        };
        let first = if self.sent == 0.0 { 1.0 } else { 0.0 };
        in_flight + send.max(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::cubic::Cubic;

    fn recovery() -> Recovery {
        Recovery::new(Cubic::new().on_congestion(), 100.0, 0, 10_000)
    }

    #[test]
    fn the_rate_falls_in_proportion_to_what_is_delivered() {
        let mut recovery = recovery();
        let mut in_flight = 97;
        for _ in 0..90 {
            let window = recovery.window(1, in_flight, 70.0, false);
            while (in_flight as f64) + 1.0 <= window {
                recovery.on_sent();
                in_flight += 1;
            }
            in_flight -= 1;
        }
        assert!((67..=71).contains(&in_flight), "{in_flight}");
    }

    #[test]
    fn duplicates_and_early_echoes_prove_a_reduction_unnecessary() {
        let mut recovery = recovery();
        assert!(!recovery.are_all_duplicates() && !recovery.is_answer_to_original(0));
        recovery.on_retransmit(500);
        recovery.on_retransmit(501);
        assert!(recovery.is_answer_to_original(499) && !recovery.is_answer_to_original(500));
        recovery.on_duplicate(100);
        assert!(!recovery.are_all_duplicates());
        recovery.on_duplicate(200);
        assert!(recovery.are_all_duplicates());
    }
}
