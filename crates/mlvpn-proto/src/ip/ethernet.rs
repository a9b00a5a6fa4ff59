//! Ethernet frames, as a tap device reads and writes them.

use super::{Malformed, Packet, u16_at};

/// The length of a frame's header without tags, in bytes.
pub const HEADER_LEN: usize = 14;
/// The ethertype of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// The ethertype of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// The ethertype of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// The tag protocol identifier of a customer VLAN tag (IEEE 802.1Q).
const TAG_CUSTOMER: u16 = 0x8100;
/// The tag protocol identifier of a service VLAN tag (IEEE 802.1ad).
const TAG_SERVICE: u16 = 0x88a8;
/// The length of a VLAN tag, in bytes.
const TAG_LEN: usize = 4;
/// How many stacked tags are walked; IEEE 802.1ad has two.
const MAX_TAGS: usize = 2;

/// A hardware address.
pub type MacAddress = [u8; 6];

/// A validated Ethernet frame header, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    bytes: &'a [u8],
    ethertype: u16,
    payload_offset: usize,
}

impl<'a> Frame<'a> {
    /// Reads the frame header, with up to two VLAN tags.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if the bytes end before the ethertype does.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut payload_offset = HEADER_LEN;
        for _ in 0..MAX_TAGS {
            let ethertype = u16_at(bytes, payload_offset - 2).ok_or(Malformed::Truncated)?;
            if !is_tag(ethertype) {
                return Ok(Self { bytes, ethertype, payload_offset });
            }
            payload_offset += TAG_LEN;
        }
        let ethertype = u16_at(bytes, payload_offset - 2).ok_or(Malformed::Truncated)?;
        Ok(Self { bytes, ethertype, payload_offset })
    }

    /// The hardware address that the frame goes to.
    #[must_use]
    pub fn destination(&self) -> MacAddress {
        *self.bytes.first_chunk().expect("parse checked the header's length")
    }

    /// The hardware address that the frame comes from.
    #[must_use]
    pub fn source(&self) -> MacAddress {
        *self.bytes[6..].first_chunk().expect("parse checked the header's length")
    }

    /// The VLAN identifier (0 to 4095) of the outermost tag, if there is a tag.
    #[must_use]
    pub fn vlan(&self) -> Option<u16> {
        if self.payload_offset == HEADER_LEN {
            return None;
        }
        u16_at(self.bytes, HEADER_LEN).map(|tag| tag & 0x0fff)
    }

    /// What the payload is, after the tags.
    #[must_use]
    pub fn ethertype(&self) -> u16 {
        self.ethertype
    }

    /// Everything up to the payload: addresses, tags and ethertype.
    #[must_use]
    pub fn header(&self) -> &'a [u8] {
        &self.bytes[..self.payload_offset]
    }

    /// What follows the ethertype, with any padding.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_offset..]
    }

    /// The IP packet in the frame.
    ///
    /// # Errors
    /// [`Malformed::EtherType`] if the frame carries something else, [`Malformed::Version`] if the packet
    /// belongs to the other version of IP than the ethertype says, or what [`Packet::parse`] objects to.
    pub fn ip_packet(&self) -> Result<Packet<'a>, Malformed> {
        let version = match self.ethertype {
            ETHERTYPE_IPV4 => 4,
            ETHERTYPE_IPV6 => 6,
            other => return Err(Malformed::EtherType(other)),
        };
        let packet = Packet::parse(self.payload())?;
        if packet.version() != version {
            return Err(Malformed::Version(packet.version()));
        }
        Ok(packet)
    }

    /// Appends this frame's header with the two hardware addresses swapped to `out`: the start of an answer.
    pub fn append_reply_header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.source());
        out.extend_from_slice(&self.destination());
        out.extend_from_slice(&self.header()[12..]);
    }
}

fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, TAG_CUSTOMER | TAG_SERVICE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 02:00:00:00:00:01 from 02:00:00:00:00:02.
    const ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

    fn frame(rest: &[u8]) -> Vec<u8> {
        [&ADDRESSES[..], rest].concat()
    }

    #[test]
    fn an_untagged_frame_gives_its_addresses_and_type() {
        let bytes = frame(&[0x08, 0x06, 1, 2, 3]);
        let parsed = Frame::parse(&bytes).unwrap();
        assert_eq!(parsed.destination(), [2, 0, 0, 0, 0, 1]);
        assert_eq!(parsed.source(), [2, 0, 0, 0, 0, 2]);
        assert_eq!(parsed.ethertype(), ETHERTYPE_ARP);
        assert_eq!(parsed.vlan(), None);
        assert_eq!(parsed.payload(), [1, 2, 3]);
        assert_eq!(parsed.ip_packet().unwrap_err(), Malformed::EtherType(ETHERTYPE_ARP));
    }

    #[test]
    fn up_to_two_tags_are_walked() {
        let bytes = frame(&[0x88, 0xa8, 0x20, 0x05, 0x81, 0x00, 0x00, 0x07, 0x86, 0xdd, 9]);
        let parsed = Frame::parse(&bytes).unwrap();
        assert_eq!(parsed.vlan(), Some(5));
        assert_eq!(parsed.ethertype(), ETHERTYPE_IPV6);
        assert_eq!(parsed.payload(), [9]);
        assert_eq!(parsed.header().len(), HEADER_LEN + 2 * TAG_LEN);
    }

    #[test]
    fn a_frame_that_ends_in_its_header_is_truncated() {
        for bytes in [frame(&[0x08]), frame(&[0x81, 0, 0, 5, 8]), vec![]] {
            assert_eq!(Frame::parse(&bytes).unwrap_err(), Malformed::Truncated);
        }
    }

    #[test]
    fn the_ip_version_must_agree_with_the_ethertype() {
        let mut packet = [0u8; 20];
        packet[0] = 0x45;
        packet[3] = 20;
        let right = frame(&[&[0x08, 0x00], &packet[..]].concat());
        assert_eq!(Frame::parse(&right).unwrap().ip_packet().unwrap().version(), 4);
        let wrong = frame(&[&[0x86, 0xdd], &packet[..]].concat());
        assert_eq!(Frame::parse(&wrong).unwrap().ip_packet().unwrap_err(), Malformed::Version(4));
    }

    #[test]
    fn a_reply_header_swaps_the_addresses_and_keeps_the_tags() {
        let bytes = frame(&[0x81, 0x00, 0x00, 0x07, 0x08, 0x00, 1, 2]);
        let mut out = Vec::new();
        Frame::parse(&bytes).unwrap().append_reply_header(&mut out);
        assert_eq!(out, [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0x00, 0x00, 0x07, 0x08, 0x00]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(parsed) = Frame::parse(&bytes) {
                prop_assert_eq!(parsed.header().len() + parsed.payload().len(), bytes.len());
                let _ = (parsed.vlan(), parsed.source(), parsed.destination(), parsed.ip_packet());
            }
        }
    }
}
