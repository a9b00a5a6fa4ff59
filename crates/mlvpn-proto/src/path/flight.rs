//! What is on its way on a path: the sender's half of feedback.

use std::collections::VecDeque;

use super::receipt::Report;
use crate::id::PacketNumber;
use crate::time::{Duration, Instant};

/// Packets that are remembered; what is older counts as lost. More than as many full ones as may be on their way.
pub(crate) const MAX_PACKETS: usize = 1 << 16;
/// A packet is lost when this many later ones were received (RFC 9002 section 6.1.1).
pub(super) const PACKET_THRESHOLD: u64 = 3;
/// The least time threshold (RFC 9002 section 6.1.2, with its granularity).
const GRANULARITY: Duration = Duration::from_millis(1);
/// A longer round trip tells of a host that slept, not of the path.
const LONGEST_RTT: Duration = Duration::from_secs(10);

/// The packets of a path that were sent and whose fate is not known, each with what its sender
/// wants back when it is: `T`.
#[derive(Clone, Debug)]
pub struct Flight<T> {
    /// Packets from number `first` on.
    packets: VecDeque<Sent<T>>,
    first: u64,
    bytes: u64,
    largest_acked: Option<LargestAcked>,
    last_counts: Option<Counts>,
}

#[derive(Clone, Debug)]
struct Sent<T> {
    len: u16,
    at: Instant,
    /// Whether the receiver tells that it came: what is not told of is not waited for.
    is_eliciting: bool,
    is_settled: bool,
    content: Option<T>,
}

#[derive(Clone, Copy, Debug)]
struct LargestAcked {
    number: u64,
    sent_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    bytes: u64,
    packets: u64,
    at_micros: u64,
}

/// A packet whose fate is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled<T> {
    /// Its number.
    pub number: PacketNumber,
    /// Bytes on the wire, IP and UDP headers included.
    pub len: u16,
    /// When it was sent.
    pub sent_at: Instant,
    /// What its sender gave along.
    pub content: Option<T>,
}

/// What a report says about the packets in flight.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<T> {
    /// Packets that have arrived.
    pub acked: Vec<Settled<T>>,
    /// Packets that were lost.
    pub lost: Vec<Settled<T>>,
    /// A round trip of at most ten seconds, when the report tells of a larger number than any before.
    pub rtt: Option<Duration>,
    /// What arrived since the report before.
    pub delivery: Option<Delivery>,
    /// When the largest packet that has arrived was sent.
    pub largest_sent_at: Option<Instant>,
}

impl<T> Default for Outcome<T> {
    fn default() -> Self {
        Self {
            acked: Vec::new(),
            lost: Vec::new(),
            rtt: None,
            delivery: None,
            largest_sent_at: None,
        }
    }
}

/// Bytes that arrived in a time of the receiver's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Bytes on the wire, IP and UDP headers included.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// In this time.
    pub time: Duration,
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self {
            packets: VecDeque::new(),
            first: 0,
            bytes: 0,
            largest_acked: None,
            last_counts: None,
        }
    }
}

impl<T> Flight<T> {
    /// The packet with the next number, of `len` bytes, was sent.
    ///
    /// # Panics
    /// When `number` is not the one after the last: a path's numbers have no gaps.
    pub fn on_sent(
        &mut self,
        number: PacketNumber,
        len: u16,
        is_eliciting: bool,
        content: Option<T>,
        now: Instant,
    ) {
        assert_eq!(number.0, self.first + self.packets.len() as u64, "numbers have no gaps");
        if self.packets.len() == MAX_PACKETS {
            self.settle(self.first);
            self.forget_settled();
        }
        let sent = Sent { len, at: now, is_eliciting, is_settled: false, content };
        self.bytes += if is_eliciting { u64::from(len) } else { 0 };
        self.packets.push_back(sent);
    }

    /// How many packets are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.packets.len()
    }

    /// Bytes that are on their way and will be told of.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing is on its way that will be told of.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// When the oldest packet that is on its way and will be told of was sent.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        let is_waited_for = |sent: &&Sent<T>| sent.is_eliciting && !sent.is_settled;
        self.packets.iter().find(is_waited_for).map(|sent| sent.at)
    }

    /// Its size on the wire, in bytes.
    #[must_use]
    pub fn oldest_len(&self) -> Option<u16> {
        let is_waited_for = |sent: &&Sent<T>| sent.is_eliciting && !sent.is_settled;
        self.packets.iter().find(is_waited_for).map(|sent| sent.len)
    }

    /// Takes back the contents of all packets on their way, the oldest first. They remain on their
    /// way: some may have arrived.
    pub fn take_contents(&mut self) -> impl Iterator<Item = T> + '_ {
        self.packets.iter_mut().filter_map(|sent| sent.content.take())
    }

    /// Takes back the contents that `may_go`, the oldest first, of what is on its way behind so many bytes.
    /// They remain on their way as well.
    pub fn take_contents_behind(
        &mut self,
        bytes: u64,
        may_go: impl Fn(&T) -> bool,
    ) -> impl Iterator<Item = T> {
        let mut before = 0;
        self.packets.iter_mut().filter(|sent| sent.is_eliciting && !sent.is_settled).filter_map(
            move |sent| {
                before += u64::from(sent.len);
                sent.content.take_if(|content| before > bytes && may_go(content))
            },
        )
    }

    /// The path leads elsewhere now: what was on its way is not waited for any more.
    pub fn abandon(&mut self) {
        self.first += self.packets.len() as u64;
        self.packets.clear();
        self.bytes = 0;
    }

    /// Takes the receiver's report into account. `rtt` is the smoothed round trip so far.
    pub fn on_report(
        &mut self,
        report: &Report,
        rtt: Option<Duration>,
        now: Instant,
    ) -> Outcome<T> {
        let mut outcome = Outcome::default();
        if report.largest.0 >= self.first + self.packets.len() as u64 {
            return outcome;
        }
        let is_news = self.largest_acked.is_none_or(|acked| report.largest.0 > acked.number);
        if is_news && let Some(sent) = self.sent(report.largest.0) {
            let passed = now.saturating_since(sent.at);
            let sent_at = sent.at;
            let rtt = report.delay.map(|delay| passed.saturating_sub(delay));
            outcome.rtt = rtt.filter(|&rtt| rtt <= LONGEST_RTT);
            self.largest_acked = Some(LargestAcked { number: report.largest.0, sent_at });
        }
        outcome.largest_sent_at = self.largest_acked.map(|acked| acked.sent_at);
        self.settle_acked(report, &mut outcome);
        self.settle_lost(rtt, &mut outcome);
        outcome.delivery = self.delivery(report);
        self.forget_settled();
        outcome
    }

    fn settle_acked(&mut self, report: &Report, outcome: &mut Outcome<T>) {
        for (start, end) in report.received.runs(report.largest) {
            if end.0 < self.first {
                break;
            }
            for number in start.0.max(self.first)..=end.0 {
                outcome.acked.extend(self.settle(number));
            }
        }
    }

    fn settle_lost(&mut self, rtt: Option<Duration>, outcome: &mut Outcome<T>) {
        let Some(largest) = self.largest_acked else { return };
        let patience = rtt.map_or(Duration::MAX, |rtt| (rtt * 9 / 8).max(GRANULARITY));
        for number in self.first..largest.number {
            let Some(sent) = self.sent(number).filter(|sent| !sent.is_settled) else { continue };
            let is_passed = number + PACKET_THRESHOLD <= largest.number;
            let is_late = largest.sent_at.saturating_since(sent.at) >= patience;
            if !(is_passed || is_late) {
                // Later ones have been passed by fewer packets, and for a shorter time.
                break;
            }
            outcome.lost.extend(self.settle(number));
        }
    }

    fn delivery(&mut self, report: &Report) -> Option<Delivery> {
        let counts = Counts {
            bytes: report.bytes,
            packets: report.packets,
            at_micros: report.largest_at_micros,
        };
        let last = self.last_counts.replace(counts)?;
        let micros = counts.at_micros.saturating_sub(last.at_micros);
        let is_later = counts.bytes > last.bytes && micros > 0;
        is_later.then(|| Delivery {
            bytes: counts.bytes - last.bytes,
            packets: counts.packets.saturating_sub(last.packets),
            time: Duration::from_micros(micros),
        })
    }

    fn sent(&self, number: u64) -> Option<&Sent<T>> {
        self.packets.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The packet's fate is known from now on; returns it if it was not.
    fn settle(&mut self, number: u64) -> Option<Settled<T>> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let sent = self.packets.get_mut(at).filter(|sent| !sent.is_settled)?;
        sent.is_settled = true;
        self.bytes -= if sent.is_eliciting { u64::from(sent.len) } else { 0 };
        Some(Settled {
            number: PacketNumber(number),
            len: sent.len,
            sent_at: sent.at,
            content: sent.content.take(),
        })
    }

    fn forget_settled(&mut self) {
        while self.packets.front().is_some_and(|sent| sent.is_settled) {
            self.packets.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v2::ReceivedRuns;

    const RTT: Option<Duration> = Some(Duration::from_millis(20));

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    /// A flight of packets 0.. of 100 bytes, one a millisecond.
    fn flight(count: u64) -> Flight<u64> {
        let mut flight = Flight::default();
        for number in 0..count {
            flight.on_sent(PacketNumber(number), 100, true, Some(number), at(number));
        }
        flight
    }

    /// The report of `largest` and, below it, of runs `(missing, received)`.
    fn report(largest: u64, first: u64, gaps: &[(u64, u64)]) -> Report {
        let mut received = ReceivedRuns::new(first);
        for (missing, run) in gaps {
            received.push(*missing, *run);
        }
        Report {
            largest: PacketNumber(largest),
            largest_at_micros: 1_000 * (largest + 10),
            delay: Some(Duration::from_millis(2)),
            received,
            packets: largest + 1,
            bytes: (largest + 1) * 100,
            congestion_marks: 0,
            lowest_transit: None,
        }
    }

    fn numbers(packets: &[Settled<u64>]) -> Vec<u64> {
        packets.iter().map(|packet| packet.number.0).collect()
    }

    #[test]
    fn what_arrived_is_settled_once() {
        let mut flight = flight(10);
        let outcome = flight.on_report(&report(4, 5, &[]), RTT, at(24));
        assert_eq!(numbers(&outcome.acked), [0, 1, 2, 3, 4]);
        assert_eq!(outcome.rtt, Some(Duration::from_millis(18)), "less the receiver's delay");
        assert_eq!(flight.bytes(), 500);
        let again = flight.on_report(&report(4, 5, &[]), RTT, at(25));
        assert_eq!((again.acked, again.lost, again.rtt), (vec![], vec![], None));
        assert_eq!(flight.oldest(), Some(at(5)));
    }

    #[test]
    fn what_comes_late_is_given_out_once_and_stays_on_its_way() {
        let mut flight = flight(10);
        let behind = |flight: &mut Flight<u64>| {
            flight.take_contents_behind(350, |&content| content != 7).collect::<Vec<_>>()
        };
        assert_eq!(behind(&mut flight), [3, 4, 5, 6, 8, 9]);
        assert_eq!(behind(&mut flight), []);
        assert_eq!(flight.bytes(), 1_000);
        let contents: Vec<_> = flight.take_contents().collect();
        assert_eq!(contents, [0, 1, 2, 7]);
    }

    #[test]
    fn a_host_that_slept_measures_no_round_trip() {
        let mut flight = flight(10);
        let late = flight.on_report(&report(4, 5, &[]), RTT, at(4) + LONGEST_RTT * 2);
        assert_eq!((late.acked.len(), late.rtt), (5, None));
    }

    #[test]
    fn a_packet_is_lost_when_three_later_ones_arrived() {
        let mut flight = flight(10);
        let two_later = flight.on_report(&report(4, 2, &[(1, 2)]), RTT, at(20));
        assert_eq!(numbers(&two_later.lost), []);
        let three_later = flight.on_report(&report(5, 3, &[(1, 2)]), RTT, at(21));
        assert_eq!(numbers(&three_later.lost), [2]);
        assert_eq!(three_later.lost[0].content, Some(2), "to be sent again");
        assert_eq!(flight.bytes(), 400);
    }

    #[test]
    fn a_packet_is_lost_when_one_sent_much_later_arrived() {
        let mut flight = Flight::default();
        flight.on_sent(PacketNumber(0), 100, true, Some(0), at(0));
        flight.on_sent(PacketNumber(1), 100, true, Some(1), at(23));
        let outcome = flight.on_report(&report(1, 1, &[]), RTT, at(40));
        assert_eq!(numbers(&outcome.lost), [0]);
    }

    #[test]
    fn what_is_not_told_of_is_not_waited_for() {
        let mut flight = flight(1);
        flight.on_sent(PacketNumber(1), 60, false, None, at(1));
        assert_eq!(flight.bytes(), 100);
        flight.on_report(&report(0, 1, &[]), RTT, at(20));
        assert!(flight.is_empty());
        assert_eq!(flight.oldest(), None);
    }

    #[test]
    fn contents_can_be_taken_back_before_the_fate_is_known() {
        let mut flight = flight(3);
        assert_eq!(flight.take_contents().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(flight.bytes(), 300);
        let outcome = flight.on_report(&report(2, 3, &[]), RTT, at(20));
        assert!(outcome.acked.iter().all(|packet| packet.content.is_none()));
    }

    #[test]
    fn what_was_abandoned_is_neither_lost_nor_received() {
        let mut flight = flight(3);
        flight.abandon();
        assert!(flight.is_empty());
        flight.on_sent(PacketNumber(3), 100, true, Some(3), at(5));
        let outcome = flight.on_report(&report(3, 1, &[(1, 2)]), RTT, at(25));
        assert_eq!((numbers(&outcome.acked), numbers(&outcome.lost)), (vec![3], vec![]));
        assert!(flight.is_empty());
    }

    #[test]
    fn a_report_of_what_was_never_sent_is_ignored() {
        let mut flight = flight(3);
        assert_eq!(flight.on_report(&report(3, 4, &[]), RTT, at(9)), Outcome::default());
        assert_eq!(flight.bytes(), 300);
    }

    #[test]
    fn delivery_is_measured_on_the_receivers_clock() {
        let mut flight = flight(100);
        flight.on_report(&report(9, 10, &[]), RTT, at(30));
        let outcome = flight.on_report(&report(59, 60, &[]), RTT, at(31));
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
