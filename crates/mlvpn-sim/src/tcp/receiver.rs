//! The receiving end of a connection.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use mlvpn_proto::time::Instant;

use super::wire::{MAX_SACKS, Segment};
use crate::packet::{FlowAddress, PacketMaker, TCP};

/// Linux's `TCP_DELACK_MIN`: how long an acknowledgement waits for a second segment.
const ACK_DELAY: Duration = Duration::from_millis(40);
/// Segments acknowledged at once at the start of a connection, Linux's quick acknowledgements.
const QUICK_ACKS: u32 = 16;

/// Receives a stream and acknowledges it: each second segment or after 40 ms, at once when data is
/// missing or fills a gap (RFC 5681 section 4.2), with selective acknowledgements (RFC 2018),
/// reports of duplicates (RFC 2883) and timestamps (RFC 7323). The application reads at once.
#[derive(Clone, Debug)]
pub struct TcpReceiver {
    maker: PacketMaker,
    buffer: u64,
    next: u64,
    /// Received beyond a gap: start to end, disjoint and not adjacent.
    islands: BTreeMap<u64, u64>,
    /// Starts of islands, most recently changed first.
    recent: VecDeque<u64>,
    duplicate: Option<(u64, u64)>,
    unacknowledged: u32,
    received: u32,
    ack_at: Option<Instant>,
    /// Stream position and timestamp for the echo (RFC 7323 section 4.3).
    last_ack: u64,
    echo: u32,
    is_ack_due: bool,
}

impl TcpReceiver {
    /// A receiver whose acknowledgements go along `address` (from receiver to sender), with a
    /// receive buffer of `buffer` bytes.
    #[must_use]
    pub fn new(address: FlowAddress, buffer: u64) -> Self {
        Self {
            maker: PacketMaker::new(address, TCP),
            buffer,
            next: 0,
            islands: BTreeMap::new(),
            recent: VecDeque::new(),
            duplicate: None,
            unacknowledged: 0,
            received: 0,
            ack_at: None,
            last_ack: 0,
            echo: 0,
            is_ack_due: false,
        }
    }

    /// Bytes received in order: what the application has.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.next
    }

    /// Takes a packet of the connection.
    pub fn handle_packet(&mut self, packet: &[u8], now: Instant) {
        let Some(segment) = Segment::read(packet, self.next, 0) else { return };
        if segment.payload == 0 {
            return;
        }
        self.received = self.received.saturating_add(1);
        if segment.seq <= self.last_ack {
            self.echo = segment.timestamp;
        }
        let (start, end) = (segment.seq, segment.seq + segment.payload as u64);
        let had_gap = !self.islands.is_empty();
        if end <= self.next || self.is_held(start, end) {
            self.duplicate = Some((start, end));
            self.is_ack_due = true;
        } else if start <= self.next {
            self.next = end;
            self.absorb_islands();
        } else if end <= self.next + self.buffer {
            self.hold(start, end);
        }
        self.unacknowledged += 1;
        let is_quick = self.received <= QUICK_ACKS;
        if had_gap || !self.islands.is_empty() || self.unacknowledged >= 2 || is_quick {
            self.is_ack_due = true;
        }
        if !self.is_ack_due {
            self.ack_at.get_or_insert(now + ACK_DELAY);
        }
    }

    /// To be called at [`Self::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ack_at.is_some_and(|at| at <= now) {
            self.is_ack_due = true;
        }
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ack_at
    }

    /// The next packet to send.
    pub fn poll_packet(&mut self, now: Instant) -> Option<Vec<u8>> {
        if !core::mem::take(&mut self.is_ack_due) {
            return None;
        }
        self.ack_at = None;
        self.unacknowledged = 0;
        self.last_ack = self.next;
        let recent = self.recent.iter().filter_map(|start| self.islands.get_key_value(start));
        let sacks = self.duplicate.take().into_iter();
        let sacks = sacks.chain(recent.map(|(&start, &end)| (start, end))).take(MAX_SACKS);
        let ack = Segment {
            ack: self.next,
            window: self.buffer,
            timestamp: now.as_millis() as u32,
            echo: self.echo,
            sacks: sacks.collect(),
            ..Segment::default()
        };
        Some(ack.write(&mut self.maker))
    }

    fn is_held(&self, start: u64, end: u64) -> bool {
        self.islands.range(..=start).next_back().is_some_and(|(_, &island_end)| end <= island_end)
    }

    fn hold(&mut self, start: u64, end: u64) {
        let (mut start, mut end) = (start, end);
        while let Some((&other, &other_end)) = self.islands.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.islands.remove(&other);
            self.recent.retain(|&island| island != other);
            (start, end) = (start.min(other), end.max(other_end));
        }
        self.islands.insert(start, end);
        self.recent.push_front(start);
    }

    fn absorb_islands(&mut self) {
        while let Some((&start, &end)) = self.islands.first_key_value() {
            if start > self.next {
                break;
            }
            self.islands.pop_first();
            self.recent.retain(|&island| island != start);
            self.next = self.next.max(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rig {
        receiver: TcpReceiver,
        maker: PacketMaker,
    }

    impl Rig {
        fn new() -> Self {
            let address = FlowAddress {
                source: "10.0.0.1:5000".parse().unwrap(),
                destination: "10.0.0.2:80".parse().unwrap(),
            };
            Self {
                receiver: TcpReceiver::new(address.reversed(), 1 << 20),
                maker: PacketMaker::new(address, TCP),
            }
        }

        /// Sends segment `index` of 100 bytes and returns the acknowledgement.
        fn send(&mut self, index: u64) -> Option<Segment> {
            let segment = Segment { seq: index * 100, payload: 100, ..Segment::default() };
            let packet = segment.write(&mut self.maker);
            self.receiver.handle_packet(&packet, Instant::ZERO);
            let ack = self.receiver.poll_packet(Instant::ZERO)?;
            Segment::read(&ack, 0, 0)
        }
    }

    #[test]
    fn gaps_are_reported_and_filled() {
        let mut rig = Rig::new();
        assert_eq!(rig.send(0).unwrap().ack, 100);
        assert_eq!(rig.send(2).unwrap().sacks, [(200, 300)]);
        assert_eq!(rig.send(5).unwrap().sacks, [(500, 600), (200, 300)]);
        assert_eq!(rig.send(3).unwrap().sacks, [(200, 400), (500, 600)]);
        let filled = rig.send(1).unwrap();
        assert_eq!((filled.ack, filled.sacks), (400, vec![(500, 600)]));
        assert_eq!(rig.send(4).unwrap().ack, 600);
        assert_eq!(rig.receiver.delivered(), 600);
    }

    #[test]
    fn duplicates_are_reported_first() {
        let mut rig = Rig::new();
        rig.send(0);
        rig.send(2);
        assert_eq!(rig.send(0).unwrap().sacks, [(0, 100), (200, 300)]);
        assert_eq!(rig.send(2).unwrap().sacks, [(200, 300), (200, 300)]);
        assert_eq!(rig.receiver.delivered(), 100);
    }

    #[test]
    fn later_every_second_segment_is_acknowledged_or_after_the_delay() {
        let mut rig = Rig::new();
        for index in 0..u64::from(QUICK_ACKS) {
            assert!(rig.send(index).is_some());
        }
        assert_eq!(rig.send(16), None);
        assert_eq!(rig.send(17).unwrap().ack, 1_800);
        assert_eq!(rig.send(18), None);
        let due = rig.receiver.poll_timeout().unwrap();
        assert_eq!(due, Instant::ZERO + ACK_DELAY);
        rig.receiver.handle_timeout(due);
        assert!(rig.receiver.poll_packet(due).is_some());
    }
}
