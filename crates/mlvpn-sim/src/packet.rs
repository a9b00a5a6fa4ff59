//! Synthetic IPv4 packets with headers that classify like real ones.
//!
//! Addresses, ports, protocol, lengths and identification are right; checksums are zero.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Bytes of the IPv4 header.
pub const IPV4_HEADER: usize = 20;
/// Bytes of the UDP header.
pub const UDP_HEADER: usize = 8;
/// Bytes of the TCP header without options.
pub const TCP_HEADER: usize = 20;
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

/// An end of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The subscriber's end, towards which links go down.
    Client,
    /// The other end.
    Server,
}

impl Side {
    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// The address of the host behind this side, inside the tunnel.
    #[must_use]
    pub fn host(self) -> Ipv4Addr {
        match self {
            Self::Client => Ipv4Addr::new(10, 0, 0, 1),
            Self::Server => Ipv4Addr::new(10, 0, 0, 2),
        }
    }
}

/// The ends of a flow, seen from one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowAddress {
    /// Who sends.
    pub source: SocketAddrV4,
    /// Who receives.
    pub destination: SocketAddrV4,
}

impl FlowAddress {
    /// The same flow seen from its other end.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { source: self.destination, destination: self.source }
    }
}

/// The packets of one sender on one flow: each gets the next identification (RFC 791).
#[derive(Clone, Debug)]
pub struct PacketMaker {
    address: FlowAddress,
    protocol: u8,
    identification: u16,
}

impl PacketMaker {
    /// A maker of packets of IP protocol [`TCP`] or [`UDP`].
    #[must_use]
    pub fn new(address: FlowAddress, protocol: u8) -> Self {
        Self { address, protocol, identification: 0 }
    }

    /// The ends of the flow.
    #[must_use]
    pub fn address(&self) -> FlowAddress {
        self.address
    }

    /// A packet of `len` bytes (at most 65,535) with IPv4 header and ports, otherwise zero.
    pub fn make(&mut self, len: usize) -> Vec<u8> {
        let mut packet = vec![0; len];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        packet[4..6].copy_from_slice(&self.identification.to_be_bytes());
        // Don't fragment.
        packet[6] = 0x40;
        packet[8] = 64;
        packet[9] = self.protocol;
        let FlowAddress { source, destination } = self.address;
        packet[12..16].copy_from_slice(&source.ip().octets());
        packet[16..20].copy_from_slice(&destination.ip().octets());
        packet[20..22].copy_from_slice(&source.port().to_be_bytes());
        packet[22..24].copy_from_slice(&destination.port().to_be_bytes());
        if self.protocol == UDP {
            packet[24..26].copy_from_slice(&((len - IPV4_HEADER) as u16).to_be_bytes());
        }
        self.identification = self.identification.wrapping_add(1);
        packet
    }
}

/// The flow and protocol of a packet made by a [`PacketMaker`]; `None` for anything else.
#[must_use]
pub fn classify(packet: &[u8]) -> Option<(FlowAddress, u8)> {
    if packet.len() < IPV4_HEADER + UDP_HEADER || packet[0] != 0x45 {
        return None;
    }
    let protocol = packet[9];
    let end = |ip: usize, port: usize| {
        let octets = [packet[ip], packet[ip + 1], packet[ip + 2], packet[ip + 3]];
        SocketAddrV4::new(Ipv4Addr::from(octets), be16(packet, port))
    };
    let address = FlowAddress { source: end(12, 20), destination: end(16, 22) };
    matches!(protocol, TCP | UDP).then_some((address, protocol))
}

/// What an ICMP error says that the host gets since it sent a packet that is too big (RFC 1191): the
/// flow of that packet, and the largest that would have passed, in bytes. `None` for anything else.
#[must_use]
pub fn too_big(packet: &[u8]) -> Option<(FlowAddress, usize)> {
    const ICMP: u8 = 1;
    let error = packet.get(IPV4_HEADER..).filter(|_| packet[0] == 0x45 && packet[9] == ICMP)?;
    // Destination unreachable, fragmentation needed.
    let quoted = error.get(8..).filter(|_| error[..2] == [3, 4])?;
    let (address, _) = classify(quoted)?;
    Some((address, usize::from(be16(error, 6))))
}

/// The big-endian number at `at`.
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The big-endian number at `at`.
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_classify_as_what_they_were_made() {
        let address = FlowAddress {
            source: "10.0.0.1:5000".parse().unwrap(),
            destination: "10.0.0.2:80".parse().unwrap(),
        };
        let mut maker = PacketMaker::new(address, UDP);
        let (first, second) = (maker.make(100), maker.make(100));
        assert_eq!(classify(&first), Some((address, UDP)));
        assert_eq!((be16(&first, 2), be16(&first, 24)), (100, 80));
        assert_ne!(first, second, "identification");
        assert_eq!(classify(&first[..27]), None);
        assert_eq!(address.reversed().reversed(), address);
    }

    #[test]
    fn a_refusal_names_the_flow_and_the_size() {
        let address = FlowAddress {
            source: "10.0.0.1:5000".parse().unwrap(),
            destination: "10.0.0.2:80".parse().unwrap(),
        };
        let refused = PacketMaker::new(address, TCP).make(1_440);
        let mut error = Vec::new();
        assert!(mlvpn_proto::icmp::packet_too_big(&refused, 1_340, None, None, &mut error));
        assert_eq!(too_big(&error), Some((address, 1_340)));
        assert_eq!(too_big(&refused), None);
        assert_eq!(too_big(&error[..40]), None);
    }
}
