//! How fast data is delivered, sample by sample (draft-cheng-iccrg-delivery-rate-estimation).

use core::time::Duration;

use mlvpn_proto::time::Instant;

use super::scoreboard::Delivery;

/// The state of the connection when a segment was sent, kept with the segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Segments delivered in all.
    pub(super) delivered: u64,
    /// When the last of them was reported.
    pub(super) delivered_at: Instant,
    /// When the segment whose delivery was reported last was sent.
    pub(super) first_sent_at: Instant,
    /// There was less to send than might have been sent.
    pub(super) is_app_limited: bool,
}

/// What an acknowledgement tells of the path.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// Segments delivered in all when the newest delivered segment was sent; `None` when nothing
    /// was delivered.
    pub(super) prior_delivered: Option<u64>,
    /// Segments a second, between sending and delivery of the newest delivered segment; `None` when
    /// nothing was delivered, or in less than the shortest round trip.
    pub(super) rate: Option<f64>,
    /// The application and not the network set the rate.
    pub(super) is_app_limited: bool,
    /// Segments that this acknowledgement delivered.
    pub(super) newly: u64,
    /// Segments that it showed to be lost.
    pub(super) lost: u64,
    /// Of the newest segment delivered that was sent only once.
    pub(super) rtt: Option<Duration>,
    /// Segments in flight before it.
    pub(super) prior_in_flight: u64,
    /// Segments in flight after it.
    pub(super) in_flight: u64,
}

/// Counts what is delivered, and makes the samples.
#[derive(Clone, Debug, Default)]
pub(super) struct DeliveryRate {
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// Samples are limited by the application until more than this is delivered.
    app_limited_until: Option<u64>,
}

impl DeliveryRate {
    /// Segments delivered in all.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(super) fn is_app_limited(&self) -> bool {
        self.app_limited_until.is_some()
    }

    /// A segment is about to be sent while nothing (`is_idle`) or something is in flight.
    pub(super) fn stamp(&mut self, is_idle: bool, now: Instant) -> Stamp {
        if is_idle {
            (self.delivered_at, self.first_sent_at) = (now, now);
        }
        Stamp {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            is_app_limited: self.app_limited_until.is_some(),
        }
    }

    /// There is room for more, and nothing to send. `in_flight` are segments.
    pub(super) fn on_app_limited(&mut self, in_flight: usize) {
        self.app_limited_until = Some((self.delivered + in_flight as u64).max(1));
    }

    /// Something was delivered. The sample lacks what only the sender knows: losses and what is in flight.
    pub(super) fn on_delivery(
        &mut self,
        delivery: &Delivery,
        min_rtt: Duration,
        now: Instant,
    ) -> Sample {
        self.delivered += delivery.segments;
        if self.app_limited_until.is_some_and(|until| self.delivered > until) {
            self.app_limited_until = None;
        }
        let rtt = delivery.rtt_from.map(|sent_at| now.saturating_since(sent_at));
        let Some(sent) = &delivery.newest else { return Sample { rtt, ..Sample::default() } };
        self.delivered_at = now;
        self.first_sent_at = sent.at;
        let sending = sent.at.saturating_since(sent.stamp.first_sent_at);
        let arriving = now.saturating_since(sent.stamp.delivered_at);
        let interval = sending.max(arriving);
        let delivered = self.delivered - sent.stamp.delivered;
        let is_valid = interval >= min_rtt && !interval.is_zero();
        Sample {
            prior_delivered: Some(sent.stamp.delivered),
            rate: is_valid.then(|| delivered as f64 / interval.as_secs_f64()),
            is_app_limited: sent.stamp.is_app_limited,
            newly: delivery.segments,
            rtt,
            ..Sample::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::scoreboard::Scoreboard;

    const MIN_RTT: Duration = Duration::from_millis(20);

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    /// Sends ten segments a millisecond apart and has each acknowledged `spacing` after the one before,
    /// the first after 20 ms. Returns the last sample.
    fn paced(spacing: u64, is_limited: bool) -> Sample {
        let mut rate = DeliveryRate::default();
        let mut board = Scoreboard::default();
        if is_limited {
            rate.on_app_limited(10);
        }
        for i in 0..10 {
            let stamp = rate.stamp(i == 0, ms(i));
            board.push(i, i + 1, stamp, ms(i));
        }
        let mut sample = Sample::default();
        for i in 0..10 {
            let mut delivery = Delivery::default();
            board.acknowledge(i + 1, 0, &mut delivery);
            sample = rate.on_delivery(&delivery, MIN_RTT, ms(20 + i * spacing));
        }
        sample
    }

    #[test]
    fn the_rate_is_that_of_delivery_and_never_above_that_of_sending() {
        // Ten segments within 38 ms of the first sending.
        assert_eq!(paced(2, false).rate, Some(10.0 / 0.038));
        // Compressed acknowledgements cannot make it more than ten within a round trip.
        assert_eq!(paced(0, false).rate, Some(10.0 / 0.020));
        assert_eq!(paced(2, false).prior_delivered, Some(0));
    }

    #[test]
    fn samples_of_a_sender_that_had_nothing_to_send_say_so_until_it_has() {
        assert!(paced(2, true).is_app_limited && !paced(2, false).is_app_limited);
        let mut rate = DeliveryRate::default();
        rate.on_app_limited(2);
        let mut board = Scoreboard::default();
        (0..4).for_each(|i| board.push(i, i + 1, rate.stamp(i == 0, ms(0)), ms(0)));
        let mut delivery = Delivery::default();
        board.acknowledge(3, 0, &mut delivery);
        assert!(rate.on_delivery(&delivery, MIN_RTT, ms(20)).is_app_limited);
        assert!(!rate.is_app_limited(), "three are more than the two that were in flight");
    }

    #[test]
    fn an_interval_below_the_shortest_round_trip_gives_no_rate() {
        let mut rate = DeliveryRate::default();
        let mut board = Scoreboard::default();
        board.push(0, 1, rate.stamp(true, ms(0)), ms(0));
        let mut delivery = Delivery::default();
        board.acknowledge(1, 0, &mut delivery);
        assert_eq!(rate.on_delivery(&delivery, MIN_RTT, ms(5)).rate, None);
    }
}
