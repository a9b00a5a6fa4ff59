//! Runs of packets of one flow become one super-packet before they are written to tun, which the
//! kernel then carries through its stack once instead of once per packet.
//!
//! The order within a flow is never changed: a packet joins the flow's one pending item or replaces
//! it, and a packet of unknown flow drives out all that is pending before it is written. Packets of
//! *different* flows may overtake one another until the next flush. Nothing joins a super-packet
//! whose checksums were not verified, because the kernel computes those of a super-packet anew and
//! would make a corrupt packet a valid one.

use super::headers::{
    ACK, ECE, IP4_DF, IP4_FRAGMENT, IP4_ID, IP4_TOTAL_LEN, IP6_PAYLOAD_LEN, Layout, PSH, TCP,
    TCP_FLAGS, TCP_SEQ, UDP, UDP_LEN, get16, get32, put16,
};
use super::virtio::{Gso, HEADER_LEN, PartialChecksum, VirtioHeader};

/// Flows that are collected at the same time.
const FLOWS: usize = 8;
/// Longest super-packet: what the length field of IPv4 can say.
const MAX_LEN: usize = 65_535;
/// `UDP_MAX_SEGMENTS` of the kernels before 6.9; more is refused by them.
const MAX_UDP_SEGMENTS: usize = 64;

/// What the coalescer wants written to tun.
pub enum Write<'a> {
    /// A packet as it came.
    Packet(&'a [u8]),
    /// A virtio header and the super-packet behind it, in one buffer.
    Super(&'a mut [u8]),
}

/// Which protocols are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merge {
    /// TCP segments.
    pub tcp: bool,
    /// UDP datagrams of equal size.
    pub udp: bool,
}

/// Collects packets into super-packets.
#[derive(Debug, Default)]
pub struct Coalescer {
    merge: Merge,
    pending: Vec<Item>,
    /// Buffers for items to come.
    spare: Vec<Vec<u8>>,
}

impl Coalescer {
    /// A coalescer for a device that takes super-packets of these protocols.
    #[must_use]
    pub fn new(merge: Merge) -> Self {
        Self { merge, ..Self::default() }
    }

    /// Changes what is merged from now on.
    pub fn set_merge(&mut self, merge: Merge) {
        self.merge = merge;
    }

    /// What is merged.
    #[must_use]
    pub fn merge(&self) -> Merge {
        self.merge
    }

    /// Takes one IP packet; `write` is called for whatever this drives out.
    pub fn push(&mut self, packet: &[u8], write: &mut dyn FnMut(Write<'_>)) {
        let Some(layout) = Layout::parse(packet) else {
            self.flush(write);
            return write(Write::Packet(packet));
        };
        let of_flow = self.pending.iter().position(|item| item.is_same_flow(packet, layout));
        if !self.is_eligible(packet, layout) {
            self.drive_out(of_flow, write);
            return write(Write::Packet(packet));
        }
        if let Some(at) = of_flow {
            if self.pending[at].try_append(packet) {
                return;
            }
            self.drive_out(of_flow, write);
        } else if self.pending.len() == FLOWS {
            self.drive_out(Some(0), write);
        }
        let buffer = self.spare.pop().unwrap_or_default();
        self.pending.push(Item::new(packet, layout, buffer));
    }

    /// Hands out everything that is pending, the oldest first.
    pub fn flush(&mut self, write: &mut dyn FnMut(Write<'_>)) {
        for item in self.pending.drain(..) {
            self.spare.push(item.finish(write));
        }
    }

    fn drive_out(&mut self, at: Option<usize>, write: &mut dyn FnMut(Write<'_>)) {
        if let Some(at) = at {
            let buffer = self.pending.remove(at).finish(write);
            self.spare.push(buffer);
        }
    }

    fn is_eligible(&self, packet: &[u8], layout: Layout) -> bool {
        let is_wanted = if layout.protocol == TCP { self.merge.tcp } else { self.merge.udp };
        is_wanted && is_mergeable(packet, layout) && layout.has_valid_checksums(packet)
    }
}

/// A super-packet in the making, behind room for its virtio header.
#[derive(Debug)]
struct Item {
    buffer: Vec<u8>,
    layout: Layout,
    /// Payload bytes of every packet but the last.
    segment: usize,
    count: usize,
    next_seq: u32,
    /// A short packet or a push ended the run.
    is_closed: bool,
}

impl Item {
    fn new(packet: &[u8], layout: Layout, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.extend_from_slice(&[0; HEADER_LEN]);
        buffer.extend_from_slice(packet);
        let segment = packet.len() - layout.payload;
        let is_closed = is_pushed(packet, layout);
        let first_seq = if layout.protocol == TCP { seq(packet, layout) } else { 0 };
        let next_seq = first_seq.wrapping_add(segment as u32);
        Self { buffer, layout, segment, count: 1, next_seq, is_closed }
    }

    fn packet(&self) -> &[u8] {
        &self.buffer[HEADER_LEN..]
    }

    fn is_same_flow(&self, packet: &[u8], layout: Layout) -> bool {
        let mine = self.packet();
        let (addresses, other_addresses) = (ip_addresses(mine), ip_addresses(packet));
        let (at, other_at) = (self.layout.transport, layout.transport);
        self.layout.protocol == layout.protocol
            && addresses == other_addresses
            && mine[at..at + 4] == packet[other_at..other_at + 4]
    }

    /// Appends the payload of an eligible packet of the same flow if the kernel's segmentation
    /// would give the packet back as it is.
    fn try_append(&mut self, packet: &[u8]) -> bool {
        let payload = &packet[self.layout.payload.min(packet.len())..];
        let len = self.packet().len() + payload.len();
        let fits = len <= MAX_LEN
            && payload.len() <= self.segment
            && (self.layout.protocol == TCP || self.count < MAX_UDP_SEGMENTS);
        if self.is_closed || !fits || !self.is_continued_by(packet) {
            return false;
        }
        self.is_closed = payload.len() < self.segment || is_pushed(packet, self.layout);
        self.next_seq = self.next_seq.wrapping_add(payload.len() as u32);
        self.count += 1;
        self.buffer.extend_from_slice(payload);
        if is_pushed(packet, self.layout) {
            self.buffer[HEADER_LEN + self.layout.transport + TCP_FLAGS] |= PSH;
        }
        true
    }

    /// Whether all fields agree that segmentation copies, and those that it counts up continue.
    fn is_continued_by(&self, packet: &[u8]) -> bool {
        let (mine, at) = (self.packet(), self.layout.transport);
        // Both are free of IP options and extension headers, so the same version is the same layout
        // up to the transport header.
        if !self.is_same_ip_header(packet) {
            return false;
        }
        if self.layout.protocol == UDP {
            return true;
        }
        // Acknowledgement to flags, window, urgent pointer and options; not the checksum. All in
        // the run so far had no push, else the item would be closed.
        mine[at + 8..at + TCP_FLAGS] == packet[at + 8..at + TCP_FLAGS]
            && mine[at + TCP_FLAGS] == packet[at + TCP_FLAGS] & !PSH
            && mine[at + 14..at + 16] == packet[at + 14..at + 16]
            && mine[at + 18..self.layout.payload] == packet[at + 18..self.layout.payload]
            && seq(packet, self.layout) == self.next_seq
    }

    fn is_same_ip_header(&self, packet: &[u8]) -> bool {
        let mine = self.packet();
        if self.layout.is_v6 {
            // Version, class and flow label; hop limit.
            return mine[0..4] == packet[0..4] && mine[7] == packet[7];
        }
        let fragment = get16(mine, IP4_FRAGMENT);
        // The identification of a packet that may not be fragmented means nothing (RFC 6864
        // section 4.1); segmentation counts it up.
        let expected_id = get16(mine, IP4_ID).wrapping_add(self.count as u16);
        mine[1] == packet[1]
            && mine[8] == packet[8]
            && fragment == get16(packet, IP4_FRAGMENT)
            && (fragment & IP4_DF != 0 || expected_id == get16(packet, IP4_ID))
    }

    /// Hands the item out and returns its buffer.
    fn finish(mut self, write: &mut dyn FnMut(Write<'_>)) -> Vec<u8> {
        if self.count == 1 {
            write(Write::Packet(self.packet()));
            return self.buffer;
        }
        let layout = self.layout;
        let packet = &mut self.buffer[HEADER_LEN..];
        layout.set_lengths(packet);
        let partial = layout.pseudo_header(packet, packet.len() - layout.transport).fold();
        put16(packet, layout.checksum(), partial);
        let kind = match (layout.protocol, layout.is_v6) {
            (UDP, _) => Gso::Udp,
            (_, false) => Gso::Tcp4,
            (_, true) => Gso::Tcp6,
        };
        let header = VirtioHeader {
            checksum: Some(PartialChecksum {
                start: layout.transport as u16,
                offset: layout.checksum_offset() as u16,
            }),
            gso: Some((kind, self.segment as u16)),
        };
        self.buffer[..HEADER_LEN].copy_from_slice(&header.encode(layout.payload as u16));
        write(Write::Super(&mut self.buffer));
        self.buffer
    }
}

/// Whether a packet has only what segmentation can reproduce: no IP options, exact lengths, some
/// payload, and of the TCP flags only those that are the same on every segment, or a push.
fn is_mergeable(packet: &[u8], layout: Layout) -> bool {
    let has_plain_header = match layout.is_v6 {
        false => {
            layout.transport == 20 && usize::from(get16(packet, IP4_TOTAL_LEN)) == packet.len()
        }
        true => {
            layout.transport == 40
                && usize::from(get16(packet, IP6_PAYLOAD_LEN)) == packet.len() - 40
        }
    };
    // The reserved bit of the IPv4 fragment word is copied nowhere.
    let is_unreserved = layout.is_v6 || get16(packet, IP4_FRAGMENT) & !IP4_DF == 0;
    let transport = &packet[layout.transport..];
    let is_plain_transport = if layout.protocol == TCP {
        let flags = transport[TCP_FLAGS];
        flags & ACK != 0 && flags & !(ACK | PSH | ECE) == 0
    } else {
        usize::from(get16(transport, UDP_LEN)) == transport.len()
    };
    has_plain_header
        && is_unreserved
        && is_plain_transport
        && packet.len() > layout.payload
        && packet.len() <= MAX_LEN
}

fn is_pushed(packet: &[u8], layout: Layout) -> bool {
    layout.protocol == TCP && packet[layout.transport + TCP_FLAGS] & PSH != 0
}

fn seq(packet: &[u8], layout: Layout) -> u32 {
    get32(packet, layout.transport + TCP_SEQ)
}

/// Both addresses; their length also tells the version.
fn ip_addresses(packet: &[u8]) -> &[u8] {
    if packet[0] >> 4 == 6 { &packet[8..40] } else { &packet[12..20] }
}
