//! A constant rate of numbered UDP packets.

use core::time::Duration;

use mlvpn_proto::time::Instant;

use crate::packet::{FlowAddress, IPV4_HEADER, PacketMaker, Side, UDP, UDP_HEADER};

/// Sequence number and time of sending, after the headers.
const NUMBER_AT: usize = IPV4_HEADER + UDP_HEADER;
const TIME_AT: usize = NUMBER_AT + 8;
/// The smallest packet.
const MIN_SIZE: usize = TIME_AT + 8;

/// A constant-rate flow, both its ends.
#[derive(Clone, Debug)]
pub struct UdpFlow {
    from: Side,
    maker: PacketMaker,
    size: usize,
    start: Instant,
    interval_ns: u64,
    sent: u64,
    stop: Option<Instant>,
    due: bool,
    /// By sequence number: how often it came.
    copies: Vec<u8>,
    highest: Option<u64>,
    reordered: u64,
    /// In microseconds, first copies only.
    delays: Vec<u64>,
    arrivals: Vec<Instant>,
}

/// What became of a constant-rate flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpReport {
    /// Packets sent.
    pub sent: u64,
    /// Different packets received.
    pub received: u64,
    /// Copies beyond the first.
    pub duplicates: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// One-way delay of half of the packets at most.
    pub delay_p50: Duration,
    /// One-way delay of 95 % at most.
    pub delay_p95: Duration,
    /// One-way delay of 99 % at most.
    pub delay_p99: Duration,
    /// The longest delay.
    pub delay_max: Duration,
    /// The longest time between arrivals, also from the first sending and since the last arrival.
    pub longest_silence: Duration,
}

impl UdpReport {
    /// Packets sent and not received (or not yet).
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sent - self.received
    }
}

impl UdpFlow {
    /// From `start`, sends IP packets of `size` bytes at `rate` bits per second of IP packets.
    ///
    /// # Panics
    /// When `size` is below 44 bytes or `rate` is 0.
    #[must_use]
    pub fn new(from: Side, address: FlowAddress, size: usize, rate: u64, start: Instant) -> Self {
        assert!(size >= MIN_SIZE && rate > 0, "{size} bytes at {rate} bit/s is no flow");
        Self {
            from,
            maker: PacketMaker::new(address, UDP),
            size,
            start,
            interval_ns: (size as u64 * 8_000_000_000) / rate,
            sent: 0,
            stop: None,
            due: false,
            copies: Vec::new(),
            highest: None,
            reordered: 0,
            delays: Vec::new(),
            arrivals: Vec::new(),
        }
    }

    /// Sends nothing any more at and after `at`.
    pub fn stop_at(&mut self, at: Instant) {
        self.stop = Some(at);
    }

    /// What became of the packets by `now`.
    #[must_use]
    pub fn report(&self, now: Instant) -> UdpReport {
        let mut delays = self.delays.clone();
        delays.sort_unstable();
        let percentile = |percent: usize| {
            let rank = (delays.len() * percent).div_ceil(100).saturating_sub(1);
            Duration::from_micros(delays.get(rank).copied().unwrap_or(0))
        };
        let received = self.delays.len() as u64;
        let copies: u64 = self.copies.iter().map(|&copies| u64::from(copies)).sum();
        UdpReport {
            sent: self.sent,
            received,
            duplicates: copies - received,
            reordered: self.reordered,
            delay_p50: percentile(50),
            delay_p95: percentile(95),
            delay_p99: percentile(99),
            delay_max: percentile(100),
            longest_silence: self.longest_silence(self.start, now),
        }
    }

    /// The longest time without an arrival between `from` and `to`.
    #[must_use]
    pub fn longest_silence(&self, from: Instant, to: Instant) -> Duration {
        let within = self.arrivals.iter().copied().filter(|&at| at >= from && at <= to);
        let mut longest = Duration::ZERO;
        let mut last = from;
        for at in within.chain([to]) {
            longest = longest.max(at.saturating_since(last));
            last = at;
        }
        longest
    }

    /// When the packets were sent that have not come.
    #[must_use]
    pub fn missing(&self) -> Vec<Instant> {
        let numbers = (0..).zip(&self.copies).filter(|&(_, &copies)| copies == 0);
        let sent_at = |(number, _): (u64, _)| {
            let offset = u128::from(number) * u128::from(self.interval_ns) / 1_000;
            self.start + Duration::from_micros(offset as u64)
        };
        numbers.map(sent_at).collect()
    }

    /// How many packets came from `from` to before `to`, also again.
    #[must_use]
    pub fn arrivals_within(&self, from: Instant, to: Instant) -> usize {
        self.arrivals.iter().filter(|&&at| at >= from && at < to).count()
    }

    pub(super) fn handle_packet(&mut self, side: Side, packet: &[u8], now: Instant) {
        let (Some(number), Some(sent_at)) = (read(packet, NUMBER_AT), read(packet, TIME_AT)) else {
            return;
        };
        if side == self.from || number >= self.sent {
            return;
        }
        self.arrivals.push(now);
        let copies = &mut self.copies[number as usize];
        *copies = copies.saturating_add(1);
        if *copies == 1 {
            self.reordered += u64::from(self.highest > Some(number));
            self.delays.push(now.as_micros().saturating_sub(sent_at));
        }
        self.highest = self.highest.max(Some(number));
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.due = self.poll_timeout().is_some_and(|at| at <= now);
    }

    pub(super) fn poll_packet(&mut self, now: Instant) -> Option<(Side, Vec<u8>)> {
        if !core::mem::take(&mut self.due) {
            return None;
        }
        let mut packet = self.maker.make(self.size);
        packet[NUMBER_AT..TIME_AT].copy_from_slice(&self.sent.to_be_bytes());
        packet[TIME_AT..MIN_SIZE].copy_from_slice(&now.as_micros().to_be_bytes());
        self.sent += 1;
        self.copies.push(0);
        Some((self.from, packet))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let offset = u128::from(self.sent) * u128::from(self.interval_ns) / 1_000;
        let at = self.start + Duration::from_micros(offset as u64);
        Some(at).filter(|&at| self.stop.is_none_or(|stop| at < stop))
    }
}

fn read(packet: &[u8], at: usize) -> Option<u64> {
    let bytes = packet.get(at..at + 8)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::FlowId;

    #[test]
    fn the_report_counts_what_happened_to_each_packet() {
        let ms = Instant::from_millis;
        let address = FlowId(0).address(Side::Client, 7);
        // 1,000 bytes at 8 Mbit/s: one per millisecond.
        let mut flow = UdpFlow::new(Side::Client, address, 1_000, 8_000_000, ms(0));
        flow.stop_at(ms(5));
        let mut packets = Vec::new();
        while let Some(at) = flow.poll_timeout() {
            flow.handle_timeout(at);
            packets.push(flow.poll_packet(at).unwrap().1);
            assert_eq!(flow.poll_packet(at), None);
        }
        assert_eq!(packets.len(), 5);
        for (index, at) in [(0, 10), (2, 12), (1, 13), (1, 14), (4, 34)] {
            flow.handle_packet(Side::Server, &packets[index], ms(at));
        }
        let report = flow.report(ms(40));
        assert_eq!((report.sent, report.received, report.lost()), (5, 4, 1));
        assert_eq!((report.duplicates, report.reordered), (1, 1));
        assert_eq!(report.delay_p50, Duration::from_millis(10));
        assert_eq!(report.delay_max, Duration::from_millis(30));
        assert_eq!(report.longest_silence, Duration::from_millis(20));
        assert_eq!(flow.arrivals_within(ms(12), ms(34)), 3);
        assert_eq!(flow.missing(), [ms(3)]);
    }
}
