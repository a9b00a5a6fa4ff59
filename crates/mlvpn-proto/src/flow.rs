//! The flows in the tunnel: into which lane a packet belongs, and whether it can be told of congestion
//! without being lost.
//!
//! Everything here takes arbitrary bytes. What cannot be read has a lane all the same, and is never marked.

use std::net::IpAddr;

use siphasher::sip::SipHasher13;

use crate::ip::ethernet::Frame;
use crate::ip::{Packet, PacketKind, ip_within, protocol, updated_checksum};
use crate::wire::v2::Lane;

/// Spreads the flows in the tunnel over the lanes.
///
/// The hash is SipHash-1-3 under a secret key: who does not know the key cannot choose flows that fall into
/// one lane, nor tell from a lane which flow is in it.
#[derive(Clone)]
pub struct LaneMap {
    hasher: SipHasher13,
}

impl LaneMap {
    /// The map of a secret key, which is drawn at random for each session.
    #[must_use]
    pub fn new(key: &[u8; 16]) -> Self {
        Self { hasher: SipHasher13::new_with_key(key) }
    }

    /// The lane of a packet.
    ///
    /// A flow is: addresses, protocol and ports, where the protocol has them; of ICMP echo, the identifier
    /// instead; of all fragments, the first one too, addresses and identification, so that they share a
    /// lane; of a frame with anything but IP in it, hardware addresses and ethertype. All packets that
    /// cannot be read share a lane.
    #[must_use]
    pub fn lane_of(&self, packet: &[u8], kind: PacketKind) -> Lane {
        let text = match (ip_packet(packet, kind), kind) {
            (Some(ip), _) => FlowText::of_packet(&ip),
            (None, PacketKind::Ethernet) => FlowText::of_frame(packet),
            (None, PacketKind::Ip) => FlowText::new(FlowText::UNREADABLE),
        };
        Lane::of_hash(self.hasher.hash(text.as_bytes()))
    }
}

impl std::fmt::Debug for LaneMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LaneMap(secret)")
    }
}

/// The ECN field of an IP header (RFC 3168 section 5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ecn {
    /// The transport does not understand marks, or the packet is not IP.
    NotEct,
    /// ECN-capable transport, ECT(1): a sender with scalable congestion control (RFC 9331).
    Ect1,
    /// ECN-capable transport, ECT(0).
    Ect0,
    /// Congestion experienced: a queue has marked the packet already.
    Ce,
}

impl Ecn {
    /// The field of a packet from the tunnel's device.
    #[must_use]
    pub fn of_packet(packet: &[u8], kind: PacketKind) -> Self {
        ip_packet(packet, kind).as_ref().map_or(Self::NotEct, Self::of)
    }

    /// Whether the packet may be marked instead of being dropped.
    #[must_use]
    pub const fn is_capable(self) -> bool {
        !matches!(self, Self::NotEct)
    }

    fn of(ip: &Packet<'_>) -> Self {
        let bytes = ip.bytes();
        // The two low bits of IPv4's second byte; in IPv6, the traffic class begins 4 bits later.
        let field = if ip.is_ipv4() { bytes[1] } else { bytes[1] >> 4 };
        match field & CE {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }
}

/// The ECN codepoint CE, which has all bits of the field set.
const CE: u8 = 0b11;

/// Sets "congestion experienced" in a packet that may bear it, and keeps the IPv4 header's checksum correct.
///
/// Returns whether the packet now says so: `false`, with the bytes untouched, where the transport does
/// not understand marks or the packet cannot be read.
pub fn mark_ce(packet: &mut [u8], kind: PacketKind) -> bool {
    let Some((start, ip)) = ip_within(packet, kind) else { return false };
    if !Ecn::of(&ip).is_capable() {
        return false;
    }
    let (is_ipv4, header_len) = (ip.is_ipv4(), ip.payload_offset());
    let header = &mut packet[start..start + header_len];
    if is_ipv4 {
        let before = u16::from_be_bytes([header[0], header[1]]);
        header[1] |= CE;
        let after = u16::from_be_bytes([header[0], header[1]]);
        let sum = u16::from_be_bytes([header[10], header[11]]);
        header[10..12].copy_from_slice(&updated_checksum(sum, before, after).to_be_bytes());
    } else {
        header[1] |= CE << 4;
    }
    true
}

/// The IP packet that is, or is in, what the tunnel's device gave.
fn ip_packet(packet: &[u8], kind: PacketKind) -> Option<Packet<'_>> {
    ip_within(packet, kind).map(|(_, ip)| ip)
}

/// The identifier of an ICMP echo request or reply, which takes the place of ports.
fn echo_id(ip: &Packet<'_>) -> Option<[u8; 2]> {
    let is_echo = match (ip.protocol(), ip.payload().first()?) {
        // RFC 792: reply and request.
        (protocol::ICMP, 0 | 8) => true,
        // RFC 4443 section 4: request and reply.
        (protocol::ICMPV6, 128 | 129) => true,
        _ => false,
    };
    if !is_echo {
        return None;
    }
    ip.payload().get(4..)?.first_chunk().copied()
}

/// What is hashed: the fields that make a flow, in front of them what they are.
struct FlowText {
    bytes: [u8; Self::CAPACITY],
    len: usize,
}

impl FlowText {
    /// Two IPv6 addresses, the byte in front, a protocol and two ports.
    const CAPACITY: usize = 1 + 2 * 16 + 1 + 4;
    const UNREADABLE: u8 = 0;
    const FRAME: u8 = 1;
    const FLOW: u8 = 2;
    const FRAGMENT: u8 = 3;

    fn new(what: u8) -> Self {
        let mut text = Self { bytes: [0; Self::CAPACITY], len: 0 };
        text.push(&[what]);
        text
    }

    fn of_packet(ip: &Packet<'_>) -> Self {
        if let Some(fragment) = ip.fragment() {
            let mut text = Self::new(Self::FRAGMENT);
            text.push_addresses(ip);
            // Not the protocol: in IPv6 only the first fragment may tell it.
            text.push(&fragment.id.to_be_bytes());
            return text;
        }
        let mut text = Self::new(Self::FLOW);
        text.push_addresses(ip);
        text.push(&[ip.protocol()]);
        if let Some((source, destination)) = ip.ports() {
            text.push(&source.to_be_bytes());
            text.push(&destination.to_be_bytes());
        } else if let Some(id) = echo_id(ip) {
            text.push(&id);
        }
        text
    }

    fn of_frame(frame: &[u8]) -> Self {
        let Ok(frame) = Frame::parse(frame) else { return Self::new(Self::UNREADABLE) };
        let mut text = Self::new(Self::FRAME);
        text.push(&frame.destination());
        text.push(&frame.source());
        text.push(&frame.ethertype().to_be_bytes());
        text
    }

    fn push_addresses(&mut self, ip: &Packet<'_>) {
        for address in [ip.source(), ip.destination()] {
            match address {
                IpAddr::V4(address) => self.push(&address.octets()),
                IpAddr::V6(address) => self.push(&address.octets()),
            }
        }
    }

    fn push(&mut self, field: &[u8]) {
        self.bytes[self.len..self.len + field.len()].copy_from_slice(field);
        self.len += field.len();
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests;
