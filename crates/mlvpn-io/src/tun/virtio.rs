//! The header that `IFF_VNET_HDR` puts in front of every packet (`struct virtio_net_hdr` of
//! linux/virtio_net.h, in native byte order as legacy virtio has it).

/// Its length in bytes.
pub const HEADER_LEN: usize = 10;

const FLAG_NEEDS_CSUM: u8 = 1;
/// Set beside the type when the segments carry CWR; says nothing that the TCP header does not.
const GSO_ECN: u8 = 0x80;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;

/// How a super-packet is to be segmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gso {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over either (USO).
    Udp,
}

/// Where a checksum is still to be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Offset in the packet from which to sum.
    pub start: u16,
    /// Offset from `start` of the checksum, which holds the sum of the pseudo header.
    pub offset: u16,
}

/// The header as a value. Its `hdr_len` is not kept: on forwarded traffic it is often wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtioHeader {
    /// The checksum to complete, if one is.
    pub checksum: Option<PartialChecksum>,
    /// How to segment, and the payload bytes of each segment.
    pub gso: Option<(Gso, u16)>,
}

impl VirtioHeader {
    /// Reads a header; `None` for a segmentation that was never asked for.
    #[must_use]
    pub fn parse(bytes: [u8; HEADER_LEN]) -> Option<Self> {
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let checksum = (bytes[0] & FLAG_NEEDS_CSUM != 0)
            .then(|| PartialChecksum { start: word(6), offset: word(8) });
        let kind = match bytes[1] & !GSO_ECN {
            GSO_NONE => return Some(Self { checksum, gso: None }),
            GSO_TCPV4 => Gso::Tcp4,
            GSO_TCPV6 => Gso::Tcp6,
            GSO_UDP_L4 => Gso::Udp,
            _ => return None,
        };
        Some(Self { checksum, gso: Some((kind, word(4))) })
    }

    /// Writes the header; `header_len` is the length of all headers up to the payload, a hint to
    /// the kernel about what to copy first.
    #[must_use]
    pub fn encode(&self, header_len: u16) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        if let Some(checksum) = self.checksum {
            bytes[0] = FLAG_NEEDS_CSUM;
            bytes[6..8].copy_from_slice(&checksum.start.to_ne_bytes());
            bytes[8..10].copy_from_slice(&checksum.offset.to_ne_bytes());
        }
        if let Some((kind, segment)) = self.gso {
            bytes[1] = match kind {
                Gso::Tcp4 => GSO_TCPV4,
                Gso::Tcp6 => GSO_TCPV6,
                Gso::Udp => GSO_UDP_L4,
            };
            bytes[2..4].copy_from_slice(&header_len.to_ne_bytes());
            bytes[4..6].copy_from_slice(&segment.to_ne_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let checksum = Some(PartialChecksum { start: 40, offset: 16 });
        for kind in [Gso::Tcp4, Gso::Tcp6, Gso::Udp] {
            let header = VirtioHeader { checksum, gso: Some((kind, 1400)) };
            assert_eq!(VirtioHeader::parse(header.encode(60)), Some(header));
        }
        assert_eq!(VirtioHeader::parse([0; 10]), Some(VirtioHeader::default()));
    }

    #[test]
    fn the_ecn_flag_is_ignored_and_unknown_kinds_are_refused() {
        let mut bytes = VirtioHeader { checksum: None, gso: Some((Gso::Tcp4, 9)) }.encode(0);
        bytes[1] |= GSO_ECN;
        assert_eq!(VirtioHeader::parse(bytes).unwrap().gso, Some((Gso::Tcp4, 9)));
        bytes[1] = 3; // UDP fragmentation, which is never enabled
        assert_eq!(VirtioHeader::parse(bytes), None);
    }
}
