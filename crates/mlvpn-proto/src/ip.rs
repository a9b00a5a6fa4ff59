//! Checked views over the packets that the tunnel carries: IP packets (tun) and Ethernet frames (tap).
//!
//! [`Packet::parse`] validates the headers once and borrows the bytes. It never panics and never allocates,
//! so it may be called on anything that arrives from a device or from the peer.

pub mod acknowledgement;
pub mod ethernet;
pub mod fragment;
pub mod mss;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IP protocol numbers (IANA "Assigned Internet Protocol Numbers") that the crate looks into.
pub mod protocol {
    /// IPv6 hop-by-hop options, an extension header (RFC 8200 section 4.3).
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP for IPv4 (RFC 792).
    pub const ICMP: u8 = 1;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
    /// DCCP (RFC 4340).
    pub const DCCP: u8 = 33;
    /// IPv6 routing header, an extension header (RFC 8200 section 4.4).
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header, an extension header (RFC 8200 section 4.5).
    pub const FRAGMENT: u8 = 44;
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options, an extension header (RFC 8200 section 4.6).
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// SCTP (RFC 9260).
    pub const SCTP: u8 = 132;
    /// UDP-Lite (RFC 3828).
    pub const UDP_LITE: u8 = 136;
}

/// The length of an IPv4 header without options, in bytes.
pub const IPV4_HEADER_LEN: usize = 20;
/// The length of the fixed IPv6 header, in bytes.
pub const IPV6_HEADER_LEN: usize = 40;
/// How many IPv6 extension headers are walked before a packet is called malformed. RFC 8200 section 4.1
/// knows six places for one, in its recommended order.
const MAX_EXTENSION_HEADERS: usize = 8;

/// What the bytes from the tunnel's device are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketKind {
    /// An IPv4 or IPv6 packet without any link layer (tun).
    Ip,
    /// An Ethernet frame without preamble and frame check sequence (tap).
    Ethernet,
}

impl PacketKind {
    /// Bytes before the IP packet, without VLAN tags.
    #[must_use]
    pub const fn header_len(self) -> u16 {
        match self {
            Self::Ip => 0,
            Self::Ethernet => ethernet::HEADER_LEN as u16,
        }
    }
}

/// Why some bytes are not an IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside a header that must be complete.
    #[error("the packet ends inside a header")]
    Truncated,
    /// The version field is neither 4 nor 6.
    #[error("IP version {0} is neither 4 nor 6")]
    Version(u8),
    /// The IPv4 header length is below 20 bytes or exceeds the total length.
    #[error("the IPv4 header length is impossible")]
    HeaderLength,
    /// The packet claims to be longer than the bytes at hand.
    #[error("the packet is shorter than its length field says")]
    TotalLength,
    /// There are more IPv6 extension headers than are walked.
    #[error("too many IPv6 extension headers")]
    TooManyExtensionHeaders,
    /// An Ethernet frame carries something other than IPv4 or IPv6.
    #[error("ethertype {0:#06x} is not IP")]
    EtherType(u16),
}

/// Where a fragment lies in the packet that it was cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// The fragment's first byte within the original payload, in bytes; a multiple of 8, at most 65,528.
    pub offset: u16,
    /// Whether further fragments follow this one (the MF or M flag).
    pub more: bool,
    /// The identification that all fragments of a packet share: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
}

/// A validated IPv4 or IPv6 packet, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    payload_offset: usize,
    fragment: Option<Fragment>,
    dont_fragment: bool,
}

impl<'a> Packet<'a> {
    /// Validates the IP headers at the start of `bytes`; what follows the packet's total length is ignored.
    ///
    /// The transport header is not validated: a packet whose TCP header is cut off parses, but has no ports.
    ///
    /// # Errors
    /// [`Malformed`] says which header field contradicts the bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match bytes.first().ok_or(Malformed::Truncated)? >> 4 {
            4 => parse_ipv4(bytes),
            6 => parse_ipv6(bytes),
            version => Err(Malformed::Version(version)),
        }
    }

    /// The whole packet, from the IP header to the end that the length field names.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// 4 or 6.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.bytes[0] >> 4
    }

    /// Whether this is an IPv4 packet; otherwise it is IPv6.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.source.is_ipv4()
    }

    /// The source address.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// The destination address.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        self.destination
    }

    /// The upper-layer protocol, after the IPv6 hop-by-hop, routing, fragment and destination headers.
    ///
    /// In a fragment other than the first it is what the fragment header names.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Where the payload (the transport header, or a fragment's piece of it) starts, in bytes from the packet's start.
    #[must_use]
    pub fn payload_offset(&self) -> usize {
        self.payload_offset
    }

    /// The payload: the transport header and what follows it, or a fragment's piece of that.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_offset..]
    }

    /// The position in the original packet, if this is a fragment.
    #[must_use]
    pub fn fragment(&self) -> Option<Fragment> {
        self.fragment
    }

    /// Whether the payload starts with the transport header: the packet is whole or a first fragment.
    #[must_use]
    pub fn is_first_fragment(&self) -> bool {
        self.fragment.is_none_or(|f| f.offset == 0)
    }

    /// Whether a router may not fragment the packet: the DF bit in IPv4, always so in IPv6.
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        self.dont_fragment
    }

    /// Source and destination port of TCP, UDP, SCTP, DCCP or UDP-Lite, if the header is there.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        let has_ports = matches!(
            self.protocol,
            protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP | protocol::UDP_LITE
        );
        if !has_ports || !self.is_first_fragment() {
            return None;
        }
        let payload = self.payload();
        Some((u16_at(payload, 0)?, u16_at(payload, 2)?))
    }

    /// The TCP flags byte (CWR ECE URG ACK PSH RST SYN FIN, from the highest bit), if the header is there.
    #[must_use]
    pub fn tcp_flags(&self) -> Option<u8> {
        if self.protocol != protocol::TCP || !self.is_first_fragment() {
            return None;
        }
        self.payload().get(13).copied()
    }
}

/// Adds up the Internet checksum of `parts` (RFC 1071), as if they stood one after the other.
///
/// Every part but the last must have an even length. The result is the value for the checksum field, if that
/// field was zero while summing; over a block with a correct checksum in place it is 0.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The Internet checksum `sum` after one of the summed words has changed (RFC 1624, equation 3).
#[must_use]
pub fn updated_checksum(sum: u16, before: u16, after: u16) -> u16 {
    let mut total = u32::from(!sum) + u32::from(!before) + u32::from(after);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

fn parse_ipv4(bytes: &[u8]) -> Result<Packet<'_>, Malformed> {
    let header = bytes.get(..IPV4_HEADER_LEN).ok_or(Malformed::Truncated)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_len < IPV4_HEADER_LEN || header_len > total_len {
        return Err(Malformed::HeaderLength);
    }
    let bytes = bytes.get(..total_len).ok_or(Malformed::TotalLength)?;
    let flags_and_offset = u16::from_be_bytes([header[6], header[7]]);
    let fragment = Fragment {
        offset: (flags_and_offset & 0x1fff) << 3,
        more: flags_and_offset & 0x2000 != 0,
        id: u32::from(u16::from_be_bytes([header[4], header[5]])),
    };
    Ok(Packet {
        bytes,
        source: ipv4_address(header, 12),
        destination: ipv4_address(header, 16),
        protocol: header[9],
        payload_offset: header_len,
        fragment: (fragment.more || fragment.offset > 0).then_some(fragment),
        dont_fragment: flags_and_offset & 0x4000 != 0,
    })
}

fn parse_ipv6(bytes: &[u8]) -> Result<Packet<'_>, Malformed> {
    let header = bytes.get(..IPV6_HEADER_LEN).ok_or(Malformed::Truncated)?;
    let total_len = IPV6_HEADER_LEN + usize::from(u16::from_be_bytes([header[4], header[5]]));
    let bytes = bytes.get(..total_len).ok_or(Malformed::TotalLength)?;
    let chain = walk_extension_headers(bytes)?;
    Ok(Packet {
        bytes,
        source: ipv6_address(header, 8),
        destination: ipv6_address(header, 24),
        protocol: chain.protocol,
        payload_offset: chain.payload_offset,
        fragment: chain.fragment,
        dont_fragment: true,
    })
}

/// Where a chain of IPv6 extension headers ends, and what it said on the way.
struct HeaderChain {
    protocol: u8,
    payload_offset: usize,
    fragment: Option<Fragment>,
}

/// Walks the extension headers of an IPv6 packet (RFC 8200 section 4) up to the upper-layer header or, in a
/// fragment other than the first, to the end of the fragment header.
fn walk_extension_headers(bytes: &[u8]) -> Result<HeaderChain, Malformed> {
    let mut chain =
        HeaderChain { protocol: bytes[6], payload_offset: IPV6_HEADER_LEN, fragment: None };
    for _ in 0..=MAX_EXTENSION_HEADERS {
        let is_options = matches!(
            chain.protocol,
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS
        );
        if !is_options && chain.protocol != protocol::FRAGMENT {
            return Ok(chain);
        }
        let rest = &bytes[chain.payload_offset..];
        let header: &[u8; 8] = rest.first_chunk().ok_or(Malformed::Truncated)?;
        let header_len = if is_options { 8 + usize::from(header[1]) * 8 } else { 8 };
        if rest.len() < header_len {
            return Err(Malformed::Truncated);
        }
        chain.protocol = header[0];
        chain.payload_offset += header_len;
        if !is_options {
            let field = u16::from_be_bytes([header[2], header[3]]);
            let id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            let fragment = Fragment { offset: field & 0xfff8, more: field & 1 != 0, id };
            // An "atomic fragment" (RFC 6946) is a whole packet, whatever its header is called.
            if fragment.offset > 0 || fragment.more {
                chain.fragment = Some(fragment);
            }
            if fragment.offset > 0 {
                return Ok(chain);
            }
        }
    }
    Err(Malformed::TooManyExtensionHeaders)
}

/// The big-endian 16 bits at `offset`, if they are there.
fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let field = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_be_bytes(*field))
}

fn ipv4_address(header: &[u8], offset: usize) -> IpAddr {
    let octets: [u8; 4] =
        *header[offset..].first_chunk().expect("the caller checked the header's length");
    Ipv4Addr::from(octets).into()
}

fn ipv6_address(header: &[u8], offset: usize) -> IpAddr {
    let octets: [u8; 16] =
        *header[offset..].first_chunk().expect("the caller checked the header's length");
    Ipv6Addr::from(octets).into()
}

/// Source and destination of a packet that [`is_whole`].
pub(crate) fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match packet.first()? >> 4 {
        4 => {
            let at = |at: usize| packet.get(at..)?.first_chunk::<4>().copied().map(IpAddr::from);
            Some((at(12)?, at(16)?))
        }
        6 => {
            let at = |at: usize| packet.get(at..)?.first_chunk::<16>().copied().map(IpAddr::from);
            Some((at(8)?, at(24)?))
        }
        _ => None,
    }
}

/// The IP packet that is, or is in, what the tunnel's device gave, and where it begins.
pub(crate) fn ip_within(packet: &[u8], kind: PacketKind) -> Option<(usize, Packet<'_>)> {
    match kind {
        PacketKind::Ip => Some((0, Packet::parse(packet).ok()?)),
        PacketKind::Ethernet => {
            let frame = ethernet::Frame::parse(packet).ok()?;
            // Most frames without IP are ARP: not worth an error value.
            if !matches!(frame.ethertype(), ethernet::ETHERTYPE_IPV4 | ethernet::ETHERTYPE_IPV6) {
                return None;
            }
            Some((frame.header().len(), frame.ip_packet().ok()?))
        }
    }
}

/// Whether there is at least the header of an IP packet or a frame. An attacker who changes the
/// unauthenticated type of a control packet turns its few bytes of payload into data.
pub(crate) fn is_whole(packet: &[u8], kind: PacketKind) -> bool {
    match kind {
        PacketKind::Ethernet => packet.len() >= ethernet::HEADER_LEN,
        PacketKind::Ip => match packet.first().map(|byte| byte >> 4) {
            Some(4) => packet.len() >= IPV4_HEADER_LEN,
            Some(6) => packet.len() >= IPV6_HEADER_LEN,
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests;
