//! What has come on a path: the receiver's half of feedback.

use crate::id::PacketNumber;
use crate::time::{Duration, Instant};

/// Bounds of the time between two reports, and the share of a round trip that it aims at.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(50);

/// Counts the packets of one path, and says when the sender is to be told.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    largest: Option<PacketNumber>,
    largest_at: Instant,
    /// Bit n: the packet `largest - 1 - n` was received.
    before: u64,
    packets: u64,
    bytes: u64,
    congestion_marks: u64,
    /// Lowest send-to-receive difference since the last report, in 64 µs modulo 2^16.
    lowest_transit: Option<u16>,
    last_report: Option<Instant>,
    unreported: u64,
    has_new_gap: bool,
}

/// What the sender of a path is told, apart from what it sent itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Largest packet number received.
    pub largest: PacketNumber,
    /// When that was, on the receiver's clock.
    pub largest_at: Instant,
    /// How long ago that is.
    pub delay: Duration,
    /// Bit n: the packet `largest - 1 - n` was received.
    pub before: u64,
    /// Packets received on the path.
    pub packets: u64,
    /// Bytes of UDP payload received on the path.
    pub bytes: u64,
    /// Packets that came with ECN-CE.
    pub congestion_marks: u64,
    /// Lowest difference of send and receive time since the last report, in 64 µs modulo 2^16.
    pub lowest_transit: u16,
}

/// A packet that was received and is authentic.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Its number.
    pub number: PacketNumber,
    /// Bytes of UDP payload.
    pub len: usize,
    /// Difference of send and receive time, in 64 µs modulo 2^16; none if it bears no time.
    pub transit: Option<u16>,
    /// Whether it came with ECN-CE.
    pub is_marked: bool,
}

impl Receipt {
    /// Takes a packet into account.
    pub fn on_received(&mut self, packet: Received, now: Instant) {
        self.packets += 1;
        self.bytes += packet.len as u64;
        self.congestion_marks += u64::from(packet.is_marked);
        self.unreported += 1;
        if let Some(transit) = packet.transit {
            self.lowest_transit = Some(match self.lowest_transit {
                Some(lowest) if (transit.wrapping_sub(lowest) as i16) >= 0 => lowest,
                _ => transit,
            });
        }
        self.place(packet.number, now);
    }

    /// Bytes of UDP payload received.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the last packet came that was the largest then.
    #[must_use]
    pub fn last_progress(&self) -> Option<Instant> {
        self.largest.map(|_| self.largest_at)
    }

    /// When the sender is to be told, given the path's round trip: `clamp(rtt / 3, 5 ms, 50 ms)`
    /// after the last report, at once when a gap has opened, never while there is no news.
    #[must_use]
    pub fn poll_timeout(&self, rtt: Duration) -> Option<Instant> {
        if self.unreported == 0 {
            return None;
        }
        if self.has_new_gap {
            return Some(Instant::ZERO);
        }
        let interval = (rtt / 3).clamp(SHORTEST, LONGEST);
        Some(self.last_report.map_or(Instant::ZERO, |last| last + interval))
    }

    /// The report to send now; none when nothing ever came.
    pub fn report(&mut self, now: Instant) -> Option<Report> {
        let largest = self.largest?;
        self.last_report = Some(now);
        self.unreported = 0;
        self.has_new_gap = false;
        Some(Report {
            largest,
            largest_at: self.largest_at,
            delay: now.saturating_since(self.largest_at),
            before: self.before,
            packets: self.packets,
            bytes: self.bytes,
            congestion_marks: self.congestion_marks,
            lowest_transit: self.lowest_transit.take().unwrap_or_default(),
        })
    }

    fn place(&mut self, number: PacketNumber, now: Instant) {
        let Some(largest) = self.largest else {
            self.largest = Some(number);
            self.largest_at = now;
            // What came before the first packet is none of our business.
            self.before = u64::MAX;
            return;
        };
        if number <= largest {
            let age = largest.0 - number.0;
            if (1..=64).contains(&age) {
                self.before |= 1 << (age - 1);
            }
            return;
        }
        let step = number.0 - largest.0;
        self.has_new_gap |= step > 1;
        self.before = match step {
            1..64 => (self.before << step) | (1 << (step - 1)),
            64 => 1 << 63,
            _ => 0,
        };
        self.largest = Some(number);
        self.largest_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn receive(receipt: &mut Receipt, number: u64, ms: u64) {
        let packet =
            Received { number: PacketNumber(number), len: 100, transit: Some(0), is_marked: false };
        receipt.on_received(packet, Instant::from_millis(ms));
    }

    #[test]
    fn a_gap_is_reported_at_once_and_news_after_a_third_of_a_round_trip() {
        let mut receipt = Receipt::default();
        let rtt = Duration::from_millis(60);
        assert_eq!(receipt.poll_timeout(rtt), None);
        receive(&mut receipt, 0, 100);
        receipt.report(Instant::from_millis(100)).unwrap();
        assert_eq!(receipt.poll_timeout(rtt), None, "no news");
        receive(&mut receipt, 1, 101);
        assert_eq!(receipt.poll_timeout(rtt), Some(Instant::from_millis(120)));
        receive(&mut receipt, 3, 102);
        assert_eq!(receipt.poll_timeout(rtt), Some(Instant::ZERO));
        let report = receipt.report(Instant::from_millis(105)).unwrap();
        assert_eq!(report.before & 0b111, 0b110);
        assert_eq!(report.delay, Duration::from_millis(3));
        assert_eq!((report.packets, report.bytes), (3, 300));
    }

    #[test]
    fn the_lowest_transit_is_found_across_the_wrap() {
        let mut receipt = Receipt::default();
        for transit in [5, 65_530, 10] {
            let packet = Received {
                number: PacketNumber(u64::from(transit)),
                len: 1,
                transit: Some(transit),
                is_marked: true,
            };
            receipt.on_received(packet, Instant::ZERO);
        }
        let report = receipt.report(Instant::ZERO).unwrap();
        assert_eq!((report.lowest_transit, report.congestion_marks), (65_530, 3));
    }

    proptest! {
        #[test]
        fn the_bitmap_agrees_with_a_set(numbers in proptest::collection::vec(0u64..300, 1..200)) {
            let mut receipt = Receipt::default();
            let mut seen = BTreeSet::new();
            let first = numbers[0];
            for number in numbers {
                receive(&mut receipt, number, 0);
                seen.insert(number);
            }
            let report = receipt.report(Instant::ZERO).unwrap();
            let largest = *seen.last().unwrap();
            prop_assert_eq!(report.largest.0, largest);
            for n in 0..64 {
                let Some(number) = largest.checked_sub(n + 1) else { break };
                let is_set = report.before & (1 << n) != 0;
                // Before the first packet everything counts as received.
                prop_assert_eq!(is_set, seen.contains(&number) || number < first, "{}", number);
            }
        }
    }
}
