//! What has come on a path: the receiver's half of feedback.

use std::collections::VecDeque;

use super::flight::PACKET_THRESHOLD;
use crate::id::PacketNumber;
use crate::time::{Duration, Instant};
use crate::wire::v2::{ReceivedRuns, Transit};

/// Bounds of the time between two reports, and the share of a round trip that it aims at.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(50);
/// Runs that are remembered: as many as a report can tell of.
const MAX_RUNS: usize = ReceivedRuns::MAX_GAPS + 1;

/// Each number is told of for so long, in this many reports at least and that many at most.
const TOLD_FOR: Duration = Duration::from_millis(100);
const LEAST_TOLD: usize = 4;
const MAX_TOLD: usize = 32;

/// Counts the packets of one path, and says when the sender is to be told.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    /// Runs of numbers received, first and last, from the latest to the earliest.
    runs: VecDeque<(u64, u64)>,
    largest_at: Instant,
    packets: u64,
    bytes: u64,
    congestion_marks: u64,
    /// Lowest send-to-receive difference since the last report.
    lowest_transit: Option<Transit>,
    last_report: Option<Instant>,
    /// Whether something came since the last report that the sender wants to hear of.
    has_news: bool,
    gaps: NewGaps,
    told: Told,
}

/// Gaps that the sender takes for losses once it hears what has come by now.
#[derive(Clone, Copy, Debug, Default)]
struct NewGaps {
    /// The number with which the first of those that were not told of yet is a loss, and the last.
    first: Option<u64>,
    last: u64,
}

impl NewGaps {
    /// The numbers before `number` have not come, which is the largest.
    fn open(&mut self, number: u64) {
        self.last = number - 1 + PACKET_THRESHOLD;
        self.first.get_or_insert(self.last);
    }

    fn is_due(&self, largest: u64) -> bool {
        self.first.is_some_and(|first| first <= largest)
    }

    /// The sender is told of all up to `largest`.
    fn on_report(&mut self, largest: u64) {
        if self.is_due(largest) {
            self.first = (self.last > largest).then_some(self.last);
        }
    }
}

/// What was largest in the latest reports, and when they were made; and in the one before those. Of what is
/// older the sender has heard often enough.
#[derive(Clone, Debug, Default)]
struct Told {
    reports: VecDeque<(Instant, u64)>,
    before: u64,
}

impl Told {
    /// A report is made; returns the number from which on it is to tell what came.
    fn on_report(&mut self, largest: u64, now: Instant) -> u64 {
        self.reports.push_back((now, largest));
        while let Some(&(at, oldest)) = self.reports.front()
            && (self.reports.len() > MAX_TOLD
                || self.reports.len() > LEAST_TOLD && at + TOLD_FOR < now)
        {
            self.before = oldest;
            self.reports.pop_front();
        }
        self.before.saturating_sub(PACKET_THRESHOLD)
    }
}

/// What the sender of a path is told, apart from what it sent itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Largest packet number received.
    pub largest: PacketNumber,
    /// When that was, in µs of the receiver's clock.
    pub largest_at_micros: u64,
    /// How long ago that is; none when that is longer than can be said.
    pub delay: Option<Duration>,
    /// Which packets up to the largest were received.
    pub received: ReceivedRuns,
    /// Packets received on the path.
    pub packets: u64,
    /// Bytes received on the path, IP and UDP headers included.
    pub bytes: u64,
    /// Packets that came with ECN-CE.
    pub congestion_marks: u64,
    /// Lowest difference of send and receive time since the last report.
    pub lowest_transit: Option<Transit>,
}

/// A packet that was received and is authentic.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Its number.
    pub number: PacketNumber,
    /// Bytes on the wire, IP and UDP headers included.
    pub len: usize,
    /// Difference of send and receive time; none if it bears no time.
    pub transit: Option<Transit>,
    /// Whether it came with ECN-CE.
    pub is_marked: bool,
    /// Whether the sender is to be told that it came.
    pub is_eliciting: bool,
}

impl Receipt {
    /// Takes a packet into account.
    pub fn on_received(&mut self, packet: Received, now: Instant) {
        self.packets += 1;
        self.bytes += packet.len as u64;
        self.congestion_marks += u64::from(packet.is_marked);
        self.has_news |= packet.is_eliciting;
        if let Some(transit) = packet.transit {
            let is_lower = |lowest: Transit| transit.is_less_than(lowest);
            if self.lowest_transit.is_none_or(is_lower) {
                self.lowest_transit = Some(transit);
            }
        }
        if self.runs.front().is_none_or(|&(_, largest)| packet.number.0 > largest) {
            self.largest_at = now;
            if self.runs.front().is_some_and(|&(_, largest)| packet.number.0 > largest + 1) {
                self.gaps.open(packet.number.0);
            }
        }
        self.place(packet.number.0);
    }

    /// The largest number received.
    #[must_use]
    pub fn largest(&self) -> Option<PacketNumber> {
        self.runs.front().map(|&(_, largest)| PacketNumber(largest))
    }

    /// How many packets have come.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// How many bytes have come, IP and UDP headers included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether something was lost that the sender was not told of.
    #[must_use]
    pub fn has_loss(&self) -> bool {
        self.largest().is_some_and(|largest| self.gaps.is_due(largest.0))
    }

    /// When the sender is to be told, given the path's round trip: `clamp(rtt / 3, 5 ms, 50 ms)`
    /// after the last report, at once when a gap has become a loss, never while there is no news `[F8]`.
    #[must_use]
    pub fn poll_timeout(&self, rtt: Duration) -> Option<Instant> {
        if !self.has_news {
            return None;
        }
        if self.has_loss() {
            return Some(Instant::ZERO);
        }
        Some(self.last_report.map_or(Instant::ZERO, |last| last + report_interval(rtt)))
    }

    /// The report to send now; none when nothing ever came.
    pub fn report(&mut self, now: Instant) -> Option<Report> {
        let &(start, largest) = self.runs.front()?;
        self.last_report = Some(now);
        self.has_news = false;
        self.gaps.on_report(largest);
        let mut received = ReceivedRuns::new(largest - start + 1);
        let from = self.told.on_report(largest, now);
        let mut above = start;
        for &(start, end) in self.runs.iter().skip(1) {
            if above <= from || !received.push(above - end - 1, end - start + 1) {
                break;
            }
            above = start;
        }
        Some(Report {
            largest: PacketNumber(largest),
            largest_at_micros: self.largest_at.as_micros(),
            delay: Some(now.saturating_since(self.largest_at)),
            received,
            packets: self.packets,
            bytes: self.bytes,
            congestion_marks: self.congestion_marks,
            lowest_transit: self.lowest_transit.take(),
        })
    }

    /// Puts a number into its run; runs that meet become one.
    fn place(&mut self, number: u64) {
        let at =
            self.runs.iter().position(|&(start, _)| number >= start).unwrap_or(self.runs.len());
        if self.runs.get(at).is_some_and(|&(_, end)| number <= end) {
            return;
        }
        let joins_earlier = self.runs.get(at).is_some_and(|&(_, end)| end + 1 == number);
        let joins_later = at > 0 && self.runs[at - 1].0 == number + 1;
        match (joins_earlier, joins_later) {
            (true, true) => {
                self.runs[at - 1].0 = self.runs[at].0;
                self.runs.remove(at);
            }
            (true, false) => self.runs[at].1 = number,
            (false, true) => self.runs[at - 1].0 = number,
            (false, false) => {
                self.runs.insert(at, (number, number));
                self.runs.truncate(MAX_RUNS);
            }
        }
    }
}

/// Between two reports of a path with that round trip `[F8]`.
#[must_use]
pub fn report_interval(rtt: Duration) -> Duration {
    (rtt / 3).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn receive(receipt: &mut Receipt, number: u64, ms: u64) {
        let packet = Received {
            number: PacketNumber(number),
            len: 100,
            transit: Some(Transit(0)),
            is_marked: false,
            is_eliciting: true,
        };
        receipt.on_received(packet, Instant::from_millis(ms));
    }

    fn runs(report: &Report) -> Vec<(u64, u64)> {
        report.received.runs(report.largest).map(|(start, end)| (start.0, end.0)).collect()
    }

    #[test]
    fn a_loss_is_reported_at_once_and_news_after_a_third_of_a_round_trip() {
        let mut receipt = Receipt::default();
        let (rtt, at_once) = (Duration::from_millis(60), Some(Instant::ZERO));
        assert_eq!(receipt.poll_timeout(rtt), None);
        receive(&mut receipt, 0, 100);
        receipt.report(Instant::from_millis(100)).unwrap();
        assert_eq!(receipt.poll_timeout(rtt), None, "no news");
        let usual = Some(Instant::from_millis(120));
        receive(&mut receipt, 1, 101);
        assert_eq!(receipt.poll_timeout(rtt), usual);
        receive(&mut receipt, 3, 102);
        receive(&mut receipt, 4, 103);
        assert_eq!(receipt.poll_timeout(rtt), usual, "2 may be late");
        receive(&mut receipt, 5, 104);
        assert_eq!(receipt.poll_timeout(rtt), at_once);
        let report = receipt.report(Instant::from_millis(107)).unwrap();
        assert_eq!(runs(&report), [(3, 5), (0, 1)]);
        assert_eq!(report.delay, Some(Duration::from_millis(3)));
        assert_eq!((report.packets, report.bytes), (5, 500));
        receive(&mut receipt, 6, 108);
        assert_eq!(receipt.poll_timeout(rtt), Some(Instant::from_millis(127)), "once");
    }

    #[test]
    fn each_loss_is_reported_though_a_report_came_before_it_was_certain() {
        let mut receipt = Receipt::default();
        let (rtt, at_once) = (Duration::from_millis(60), Some(Instant::ZERO));
        receive(&mut receipt, 0, 100);
        receive(&mut receipt, 2, 100);
        receipt.report(Instant::from_millis(100)).unwrap();
        receive(&mut receipt, 3, 101);
        assert_ne!(receipt.poll_timeout(rtt), at_once);
        receive(&mut receipt, 5, 102);
        assert_eq!(receipt.poll_timeout(rtt), at_once, "1 is lost");
        receipt.report(Instant::from_millis(102)).unwrap();
        receive(&mut receipt, 6, 103);
        assert_ne!(receipt.poll_timeout(rtt), at_once);
        receive(&mut receipt, 7, 103);
        assert_eq!(receipt.poll_timeout(rtt), at_once, "4 is lost");
        receipt.report(Instant::from_millis(103)).unwrap();
        receive(&mut receipt, 8, 104);
        assert_ne!(receipt.poll_timeout(rtt), at_once);
    }

    #[test]
    fn what_asks_for_no_answer_gets_none() {
        let mut receipt = Receipt::default();
        let packet = Received {
            number: PacketNumber(0),
            len: 60,
            transit: None,
            is_marked: false,
            is_eliciting: false,
        };
        receipt.on_received(packet, Instant::ZERO);
        assert_eq!(receipt.poll_timeout(Duration::ZERO), None);
        assert_eq!(receipt.report(Instant::ZERO).unwrap().packets, 1, "but counts in the next");
    }

    #[test]
    fn the_lowest_transit_is_found_across_the_wrap() {
        let mut receipt = Receipt::default();
        for transit in [5, 65_530, 10] {
            let packet = Received {
                number: PacketNumber(u64::from(transit)),
                len: 1,
                transit: Some(Transit(transit)),
                is_marked: true,
                is_eliciting: true,
            };
            receipt.on_received(packet, Instant::ZERO);
        }
        let report = receipt.report(Instant::ZERO).unwrap();
        assert_eq!((report.lowest_transit, report.congestion_marks), (Some(Transit(65_530)), 3));
    }

    #[test]
    fn a_gap_is_told_of_in_four_reports_and_for_a_tenth_of_a_second() {
        for (spacing, reports) in [(200, LEAST_TOLD), (10, 11)] {
            let mut receipt = Receipt::default();
            receive(&mut receipt, 0, 0);
            receive(&mut receipt, 2, 0);
            let told = (1..50).take_while(|n| {
                receive(&mut receipt, 10 + n, 100 + n * spacing);
                let report = receipt.report(Instant::from_millis(100 + n * spacing)).unwrap();
                runs(&report).contains(&(0, 0))
            });
            let told = told.count();
            assert_eq!(told, reports, "{spacing}");
        }
    }

    proptest! {
        #[test]
        fn the_runs_agree_with_a_set(numbers in proptest::collection::vec(0u64..300, 1..400)) {
            let mut receipt = Receipt::default();
            let mut seen = BTreeSet::new();
            for number in numbers {
                receive(&mut receipt, number, 0);
                seen.insert(number);
            }
            let report = receipt.report(Instant::ZERO).unwrap();
            prop_assert_eq!(report.largest.0, *seen.last().unwrap());
            let runs = runs(&report);
            let lowest = runs.last().unwrap().0;
            for number in lowest..=report.largest.0 {
                let is_told = runs.iter().any(|(start, end)| (start..=end).contains(&&number));
                // A run that was forgotten and came back is told of less than was received.
                prop_assert!(!is_told || seen.contains(&number), "{}", number);
                if seen.len() < MAX_RUNS {
                    prop_assert_eq!(is_told, seen.contains(&number), "{}", number);
                }
            }
        }
    }
}
