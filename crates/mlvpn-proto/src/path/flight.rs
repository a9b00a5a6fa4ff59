//! What is on its way on a path: the sender's half of feedback.

use std::collections::VecDeque;

use super::receipt::Report;
use crate::id::PacketNumber;
use crate::time::{Duration, Instant};

/// Packets that are remembered; what is older counts as lost. Two seconds at 1 Gbit/s.
const MAX_PACKETS: usize = 1 << 18;
/// A packet is lost when this many later ones were received (RFC 9002 section 6.1.1).
const PACKET_THRESHOLD: u64 = 3;
/// The least time threshold (RFC 9002 section 6.1.2, with its granularity).
const GRANULARITY: Duration = Duration::from_millis(1);
/// Numbers that a report can tell apart: its largest and the bitmap before it.
const REPORTED: u64 = 65;

/// The packets of a path that were sent and whose fate is not known.
#[derive(Clone, Debug, Default)]
pub struct Flight {
    /// Packets from number `first` on.
    packets: VecDeque<Sent>,
    first: u64,
    bytes: u64,
    largest_acked: Option<(PacketNumber, Instant)>,
    last_counts: Option<(u64, u64, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    len: u16,
    at: Instant,
    is_settled: bool,
}

/// What a report says about the packets in flight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Packets that have arrived, with their sizes.
    pub acked: Vec<(PacketNumber, u16)>,
    /// Packets that were lost, with their sizes.
    pub lost: Vec<(PacketNumber, u16)>,
    /// A round trip, when the report tells of a larger number than any before.
    pub rtt: Option<Duration>,
    /// What arrived since the report before.
    pub delivery: Option<Delivery>,
}

/// Bytes that arrived in a time of the receiver's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Bytes of UDP payload.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// In this time.
    pub time: Duration,
}

impl Flight {
    /// The packet with the next number, of `len` bytes, was sent.
    ///
    /// # Panics
    /// When `number` is not the one after the last: a path's numbers have no gaps.
    pub fn on_sent(&mut self, number: PacketNumber, len: u16, now: Instant) {
        assert_eq!(number.0, self.first + self.packets.len() as u64, "numbers have no gaps");
        if self.packets.len() == MAX_PACKETS {
            self.forget_first();
        }
        self.packets.push_back(Sent { len, at: now, is_settled: false });
        self.bytes += u64::from(len);
    }

    /// Bytes that are on their way.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing is on its way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// When the oldest packet that is on its way was sent.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.packets.iter().find(|sent| !sent.is_settled).map(|sent| sent.at)
    }

    /// Takes the receiver's report into account. `rtt` is the smoothed round trip so far.
    pub fn on_report(&mut self, report: &Report, rtt: Option<Duration>, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        if report.largest.0 >= self.first + self.packets.len() as u64 {
            return outcome;
        }
        let is_news = self.largest_acked.is_none_or(|(largest, _)| report.largest > largest);
        if is_news && let Some(sent) = self.sent(report.largest.0) {
            outcome.rtt = Some(now.saturating_since(sent.at).saturating_sub(report.delay));
            self.largest_acked = Some((report.largest, sent.at));
        }
        self.settle_acked(report, &mut outcome);
        self.settle_lost(rtt, &mut outcome);
        outcome.delivery = self.delivery(report);
        while self.packets.front().is_some_and(|sent| sent.is_settled) {
            self.packets.pop_front();
            self.first += 1;
        }
        outcome
    }

    fn settle_acked(&mut self, report: &Report, outcome: &mut Outcome) {
        let oldest = report.largest.0.saturating_sub(REPORTED - 1).max(self.first);
        for number in oldest..=report.largest.0 {
            let age = report.largest.0 - number;
            if age > 0 && report.before & (1 << (age - 1)) == 0 {
                continue;
            }
            if let Some(len) = self.settle(number) {
                outcome.acked.push((PacketNumber(number), len));
            }
        }
    }

    fn settle_lost(&mut self, rtt: Option<Duration>, outcome: &mut Outcome) {
        let Some((largest, largest_sent)) = self.largest_acked else { return };
        let patience = rtt.map_or(Duration::MAX, |rtt| (rtt * 9 / 8).max(GRANULARITY));
        for number in self.first..largest.0 {
            let Some(sent) = self.sent(number).filter(|sent| !sent.is_settled) else { continue };
            let is_passed = number + PACKET_THRESHOLD <= largest.0;
            let is_late = largest_sent.saturating_since(sent.at) >= patience;
            if !(is_passed || is_late) {
                // Later ones have been passed by fewer packets, and for a shorter time.
                break;
            }
            if let Some(len) = self.settle(number) {
                outcome.lost.push((PacketNumber(number), len));
            }
        }
    }

    fn delivery(&mut self, report: &Report) -> Option<Delivery> {
        let counts = (report.bytes, report.packets, report.largest_at);
        let (bytes, packets, at) = self.last_counts.replace(counts)?;
        let time = report.largest_at.saturating_since(at);
        let is_later = report.bytes > bytes && !time.is_zero();
        is_later.then(|| Delivery {
            bytes: report.bytes - bytes,
            packets: report.packets.saturating_sub(packets),
            time,
        })
    }

    fn sent(&self, number: u64) -> Option<&Sent> {
        self.packets.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The packet's fate is known from now on; returns its size if it was not.
    fn settle(&mut self, number: u64) -> Option<u16> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let sent = self.packets.get_mut(at).filter(|sent| !sent.is_settled)?;
        sent.is_settled = true;
        self.bytes -= u64::from(sent.len);
        Some(sent.len)
    }

    fn forget_first(&mut self) {
        self.settle(self.first);
        self.packets.pop_front();
        self.first += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Option<Duration> = Some(Duration::from_millis(20));

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    /// A flight of packets 0.. of 100 bytes, one a millisecond.
    fn flight(count: u64) -> Flight {
        let mut flight = Flight::default();
        for number in 0..count {
            flight.on_sent(PacketNumber(number), 100, at(number));
        }
        flight
    }

    fn report(largest: u64, before: u64) -> Report {
        Report {
            largest: PacketNumber(largest),
            largest_at: at(largest + 10),
            delay: Duration::from_millis(2),
            before,
            packets: largest + 1,
            bytes: (largest + 1) * 100,
            congestion_marks: 0,
            lowest_transit: 0,
        }
    }

    fn numbers(packets: &[(PacketNumber, u16)]) -> Vec<u64> {
        packets.iter().map(|(number, _)| number.0).collect()
    }

    #[test]
    fn what_arrived_is_settled_once() {
        let mut flight = flight(10);
        let outcome = flight.on_report(&report(4, u64::MAX), RTT, at(24));
        assert_eq!(numbers(&outcome.acked), [0, 1, 2, 3, 4]);
        assert_eq!(outcome.rtt, Some(Duration::from_millis(18)), "less the receiver's delay");
        assert_eq!(flight.bytes(), 500);
        let again = flight.on_report(&report(4, u64::MAX), RTT, at(25));
        assert_eq!(again, Outcome::default());
        assert_eq!(flight.oldest(), Some(at(5)));
    }

    #[test]
    fn a_packet_is_lost_when_three_later_ones_arrived() {
        let mut flight = flight(10);
        // 2 is missing.
        let two_later = flight.on_report(&report(4, 0b1101), RTT, at(20));
        assert_eq!(numbers(&two_later.lost), []);
        let three_later = flight.on_report(&report(5, 0b1_1011), RTT, at(21));
        assert_eq!(numbers(&three_later.lost), [2]);
        assert_eq!(flight.bytes(), 400);
    }

    #[test]
    fn a_packet_is_lost_when_one_sent_much_later_arrived() {
        let mut flight = Flight::default();
        flight.on_sent(PacketNumber(0), 100, at(0));
        flight.on_sent(PacketNumber(1), 100, at(23));
        let outcome = flight.on_report(&report(1, 0), RTT, at(40));
        assert_eq!(numbers(&outcome.lost), [0]);
    }

    #[test]
    fn a_report_of_what_was_never_sent_is_ignored() {
        let mut flight = flight(3);
        assert_eq!(flight.on_report(&report(3, u64::MAX), RTT, at(9)), Outcome::default());
        assert_eq!(flight.bytes(), 300);
    }

    #[test]
    fn delivery_is_measured_on_the_receivers_clock() {
        let mut flight = flight(100);
        flight.on_report(&report(9, u64::MAX), RTT, at(30));
        let outcome = flight.on_report(&report(59, u64::MAX), RTT, at(31));
        let expected = Delivery { bytes: 5_000, packets: 50, time: Duration::from_millis(50) };
        assert_eq!(outcome.delivery, Some(expected));
    }

    #[test]
    fn memory_is_bounded_when_nothing_is_ever_reported() {
        let flight = flight(MAX_PACKETS as u64 + 10);
        assert_eq!(flight.packets.len(), MAX_PACKETS);
        assert_eq!(flight.bytes(), MAX_PACKETS as u64 * 100);
    }
}
