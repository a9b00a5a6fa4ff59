//! Packets from the tunnel interface that are larger than its MTU.
//!
//! The kernel keeps to the interface's MTU; larger packets come when the MTU was lowered a moment
//! ago, or when somebody else raised it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::icmp;
use crate::ip::PacketKind;
use crate::ip::ethernet::Frame;
use crate::ip::fragment::fragment_ipv4;
use crate::time::Instant;

/// ICMP errors per second at the most, and as many at once (RFC 4443 section 2.4 f asks for a
/// limit; 100 is enough for every flow on a host to learn the MTU at once).
const ERRORS_PER_SEC: u64 = 100;
/// Bytes of an Ethernet header with one VLAN tag.
const TAGGED_HEADER_LEN: usize = 18;

/// What a tunnel carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) kind: PacketKind,
    /// The largest IP packet.
    pub(crate) mtu: u16,
    /// Where ICMP errors come from.
    pub(crate) local_ip4: Option<Ipv4Addr>,
    pub(crate) local_ip6: Option<Ipv6Addr>,
}

/// What becomes of a packet that is too big.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Its sender allows it to be sent in these pieces.
    Fragments(Vec<Vec<u8>>),
    /// It is dropped, and its sender is told by this packet, unless it was told often enough.
    Refusal(Option<Vec<u8>>),
}

/// Deals with packets that are too big; limits how many errors are sent: a token bucket.
#[derive(Debug)]
pub(crate) struct Oversize {
    /// Microseconds of credit; an error costs a second's worth divided by the rate.
    credit: u64,
    last: Instant,
}

impl Default for Oversize {
    fn default() -> Self {
        Self { credit: Self::FULL, last: Instant::ZERO }
    }
}

impl Oversize {
    const FULL: u64 = 1_000_000;
    const COST: u64 = Self::FULL / ERRORS_PER_SEC;

    fn take(&mut self, now: Instant) -> bool {
        let earned = now.saturating_since(self.last).as_micros().min(u128::from(Self::FULL));
        self.credit = (self.credit + earned as u64).min(Self::FULL);
        self.last = now;
        let has_credit = self.credit >= Self::COST;
        if has_credit {
            self.credit -= Self::COST;
        }
        has_credit
    }

    /// What is to be done with `packet`, which is above the limits.
    pub(crate) fn remedy(&mut self, packet: &[u8], limits: &Limits, now: Instant) -> Remedy {
        if limits.kind == PacketKind::Ip {
            let mut fragments = Vec::new();
            let mtu = usize::from(limits.mtu);
            if fragment_ipv4(packet, mtu, &mut |piece| fragments.push(piece.to_vec())) {
                return Remedy::Fragments(fragments);
            }
        }
        Remedy::Refusal(self.refusal(packet, limits, now))
    }

    /// What the sender of `packet` is told, unless that was done often enough.
    pub(crate) fn refusal(
        &mut self,
        packet: &[u8],
        limits: &Limits,
        now: Instant,
    ) -> Option<Vec<u8>> {
        self.take(now).then(|| limits.refusal(packet)).flatten()
    }
}

impl Limits {
    /// Whether `packet` is larger than the tunnel's MTU.
    pub(crate) fn is_above(&self, packet: &[u8]) -> bool {
        let mtu = usize::from(self.mtu);
        match self.kind {
            PacketKind::Ip => packet.len() > mtu,
            PacketKind::Ethernet => packet.len() > mtu + frame_header_len(packet),
        }
    }

    /// "Packet too big" for the sender of `packet`, if ICMP has an answer to it.
    fn refusal(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let Self { kind, mtu, local_ip4, local_ip6 } = *self;
        let mut reply = Vec::new();
        let is_answered = match kind {
            PacketKind::Ip => icmp::packet_too_big(packet, mtu, local_ip4, local_ip6, &mut reply),
            PacketKind::Ethernet => {
                icmp::packet_too_big_frame(packet, mtu, local_ip4, local_ip6, &mut reply)
            }
        };
        is_answered.then_some(reply)
    }
}

/// A VLAN tag does not count against the MTU.
fn frame_header_len(packet: &[u8]) -> usize {
    let header = Frame::parse(packet).map_or(0, |frame| frame.header().len());
    header.min(TAGGED_HEADER_LEN)
}
