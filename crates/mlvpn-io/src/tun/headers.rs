//! Where the headers of an IP packet are, and the fields that segmentation touches.

use crate::checksum::Sum;

/// IP protocol numbers.
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// Offsets from the start of the IP header.
pub(super) const IP4_TOTAL_LEN: usize = 2;
pub(super) const IP4_ID: usize = 4;
pub(super) const IP4_FRAGMENT: usize = 6;
pub(super) const IP4_CHECKSUM: usize = 10;
pub(super) const IP6_PAYLOAD_LEN: usize = 4;
pub(super) const IP6_HEADER_LEN: usize = 40;

/// Offsets from the start of the TCP or UDP header.
pub(super) const TCP_SEQ: usize = 4;
pub(super) const TCP_FLAGS: usize = 13;
pub(super) const TCP_CHECKSUM: usize = 16;
pub(super) const UDP_LEN: usize = 4;
pub(super) const UDP_CHECKSUM: usize = 6;
pub(super) const UDP_HEADER_LEN: usize = 8;

pub(super) const FIN: u8 = 0x01;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
pub(super) const ECE: u8 = 0x40;
pub(super) const CWR: u8 = 0x80;

/// Don't fragment, in the fragment word of IPv4.
pub(super) const IP4_DF: u16 = 0x4000;
/// More fragments, or a fragment offset.
pub(super) const IP4_IS_FRAGMENT: u16 = 0x3fff;

/// The layout of an unfragmented TCP or UDP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) is_v6: bool,
    /// [`TCP`] or [`UDP`].
    pub(super) protocol: u8,
    /// Offset of the TCP or UDP header.
    pub(super) transport: usize,
    /// Offset of what follows it.
    pub(super) payload: usize,
}

impl Layout {
    /// Finds the headers; lengths inside the packet are not looked at. `None` if the packet is
    /// neither TCP nor UDP, is a fragment or ends within its headers.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let (is_v6, protocol, transport) = match packet.first()? >> 4 {
            4 => ip4(packet)?,
            6 => ip6(packet)?,
            _ => return None,
        };
        let payload = match protocol {
            TCP => {
                let header_len = usize::from(packet.get(transport + 12)? >> 4) * 4;
                (header_len >= 20).then_some(transport + header_len)?
            }
            UDP => transport + UDP_HEADER_LEN,
            _ => return None,
        };
        (payload <= packet.len()).then_some(Self { is_v6, protocol, transport, payload })
    }

    /// Offset of the transport checksum in the packet.
    pub(super) fn checksum(&self) -> usize {
        self.transport + self.checksum_offset()
    }

    /// Offset of the transport checksum in its header.
    pub(super) fn checksum_offset(&self) -> usize {
        if self.protocol == TCP { TCP_CHECKSUM } else { UDP_CHECKSUM }
    }

    /// The sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1) for a transport
    /// header and payload of `len` bytes.
    pub(super) fn pseudo_header(&self, packet: &[u8], len: usize) -> Sum {
        let addresses = if self.is_v6 { &packet[8..40] } else { &packet[12..20] };
        // The length of one packet, and of a super-packet, is below 64 KiB.
        Sum::new().add_bytes(addresses).add_word(u16::from(self.protocol)).add_word(len as u16)
    }

    /// Writes the length fields and, for IPv4, the header checksum for a packet that is as long as
    /// the slice. The transport checksum is left alone.
    pub(super) fn set_lengths(&self, packet: &mut [u8]) {
        let len = packet.len();
        if self.is_v6 {
            put16(packet, IP6_PAYLOAD_LEN, (len - IP6_HEADER_LEN) as u16);
        } else {
            put16(packet, IP4_TOTAL_LEN, len as u16);
            put16(packet, IP4_CHECKSUM, 0);
            let sum = Sum::new().add_bytes(&packet[..ip4_header_len(packet)]).finish();
            put16(packet, IP4_CHECKSUM, sum);
        }
        if self.protocol == UDP {
            put16(packet, self.transport + UDP_LEN, (len - self.transport) as u16);
        }
    }

    /// Computes and writes the transport checksum of the packet that the slice holds.
    pub(super) fn set_checksum(&self, packet: &mut [u8]) {
        let at = self.checksum();
        put16(packet, at, 0);
        let pseudo = self.pseudo_header(packet, packet.len() - self.transport);
        let checksum = pseudo.add_bytes(&packet[self.transport..]).finish();
        put16(packet, at, if self.protocol == UDP { never_zero(checksum) } else { checksum });
    }

    /// Whether the IPv4 header checksum and the transport checksum are there and right.
    pub(super) fn has_valid_checksums(&self, packet: &[u8]) -> bool {
        if self.protocol == UDP && get16(packet, self.checksum()) == 0 {
            return false;
        }
        let ip_ok =
            self.is_v6 || Sum::new().add_bytes(&packet[..ip4_header_len(packet)]).fold() == 0xffff;
        let pseudo = self.pseudo_header(packet, packet.len() - self.transport);
        ip_ok && pseudo.add_bytes(&packet[self.transport..]).fold() == 0xffff
    }
}

/// A UDP checksum of zero means "none" (RFC 768); its other representation is all ones.
pub(super) fn never_zero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

pub(super) fn get16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

pub(super) fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(super) fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

fn ip4_header_len(packet: &[u8]) -> usize {
    usize::from(packet[0] & 0x0f) * 4
}

fn ip4(packet: &[u8]) -> Option<(bool, u8, usize)> {
    if packet.len() < 20 || get16(packet, IP4_FRAGMENT) & IP4_IS_FRAGMENT != 0 {
        return None;
    }
    let header_len = ip4_header_len(packet);
    (header_len >= 20 && header_len <= packet.len()).then_some((false, packet[9], header_len))
}

/// Walks over the extension headers that every segment repeats: hop-by-hop and destination options
/// (RFC 8200 section 4). A routing header would change the pseudo header; it is refused.
fn ip6(packet: &[u8]) -> Option<(bool, u8, usize)> {
    let mut next = *packet.get(6)?;
    let mut at = IP6_HEADER_LEN;
    while matches!(next, 0 | 60) {
        let len = 8 + 8 * usize::from(*packet.get(at + 1)?);
        next = packet[at];
        at += len;
    }
    (at <= packet.len()).then_some((true, next, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extension_headers_are_walked_and_fragments_refused() {
        let mut packet = vec![0; 40 + 8 + 16 + 20];
        packet[0] = 0x60;
        packet[6] = 0; // hop-by-hop, 8 bytes
        packet[40] = 60; // destination options, 16 bytes
        packet[49] = 1;
        packet[48] = TCP;
        packet[64 + 12] = 0x50;
        let layout = Layout::parse(&packet).unwrap();
        assert_eq!((layout.transport, layout.payload), (64, 84));
        packet[48] = 44; // a fragment header
        assert_eq!(Layout::parse(&packet), None);
    }

    #[test]
    fn a_checksum_that_was_set_is_valid_and_any_flipped_bit_is_noticed() {
        let mut packet = vec![0; 20 + 8 + 5];
        packet[0] = 0x45;
        packet[9] = UDP;
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet[28..].copy_from_slice(b"hello");
        let layout = Layout::parse(&packet).unwrap();
        layout.set_lengths(&mut packet);
        layout.set_checksum(&mut packet);
        assert!(layout.has_valid_checksums(&packet));
        for bit in 0..packet.len() * 8 {
            // Flips in the version, header length and protocol change the layout, not the sum.
            if bit < 8 || bit / 8 == 9 {
                continue;
            }
            packet[bit / 8] ^= 1 << (bit % 8);
            assert!(!layout.has_valid_checksums(&packet), "bit {bit}");
            packet[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
