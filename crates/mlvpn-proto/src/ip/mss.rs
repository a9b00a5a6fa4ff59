//! The maximum segment size that TCP announces, held to what the tunnel carries.
//!
//! A host behind the tunnel's end knows the MTU of its own network only. Where the ICMP messages that would
//! tell it the tunnel's are filtered, its connections hang as soon as a full segment is sent; the size in
//! the SYN reaches it everywhere.

use super::{IPV4_HEADER_LEN, IPV6_HEADER_LEN, PacketKind, ip_within, updated_checksum};

/// The length of a TCP header without options, in bytes.
const TCP_HEADER_LEN: usize = 20;
/// Where the checksum is in a TCP header (RFC 9293 section 3.1).
const CHECKSUM_AT: usize = 16;
/// Flags of TCP (RFC 9293 section 3.1).
const SYN: u8 = 0x02;
/// Kinds of TCP options (RFC 9293 section 3.2).
const END_OF_OPTIONS: u8 = 0;
/// See [`END_OF_OPTIONS`].
const NO_OPERATION: u8 = 1;
/// See [`END_OF_OPTIONS`].
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
/// The length of the option with the size, kind and length included.
const OPTION_LEN: usize = 4;

/// A size in a SYN that is too large, and what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clamp {
    /// Where the TCP header begins.
    tcp_at: usize,
    /// Where the two bytes of the size are, from there.
    size_at: usize,
    size: u16,
}

impl Clamp {
    /// What is to be changed in `packet` so that no segment of its connection makes a packet above `mtu`
    /// bytes; none for anything but a SYN that announces more.
    ///
    /// The size is the MTU less the fixed headers of IP and TCP, as RFC 6691 section 2 has it. A SYN without
    /// the option stays without: it stands for 536 bytes, or 1,220 over IPv6 (RFC 9293 section 3.7.1).
    #[must_use]
    pub fn find(packet: &[u8], kind: PacketKind, mtu: u16) -> Option<Self> {
        let (start, ip) = ip_within(packet, kind)?;
        let is_syn = ip.tcp_flags().is_some_and(|flags| flags & SYN != 0);
        if !is_syn || ip.fragment().is_some() {
            return None;
        }
        let ip_len = if ip.is_ipv4() { IPV4_HEADER_LEN } else { IPV6_HEADER_LEN };
        let size = usize::from(mtu).saturating_sub(ip_len + TCP_HEADER_LEN).max(1) as u16;
        let (size_at, announced) = announced(ip.payload())?;
        (announced > size).then_some(Self { tcp_at: start + ip.payload_offset(), size_at, size })
    }

    /// Makes the change in the packet that it was found in, and keeps the checksum as right as it was.
    pub fn apply(&self, packet: &mut [u8]) {
        let tcp = &mut packet[self.tcp_at..];
        let mut before = u16::from_be_bytes([tcp[self.size_at], tcp[self.size_at + 1]]);
        let mut after = self.size;
        tcp[self.size_at..self.size_at + 2].copy_from_slice(&after.to_be_bytes());
        // Across two of the words that are summed, the bytes count the other way round (RFC 1071 section 2 B).
        if self.size_at % 2 == 1 {
            (before, after) = (before.swap_bytes(), after.swap_bytes());
        }
        let sum = u16::from_be_bytes([tcp[CHECKSUM_AT], tcp[CHECKSUM_AT + 1]]);
        let sum = updated_checksum(sum, before, after);
        tcp[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Where in a TCP segment the maximum segment size is announced, and how much it is.
fn announced(segment: &[u8]) -> Option<(usize, u16)> {
    let header_len = usize::from(segment.get(12)? >> 4) * 4;
    let header = segment.get(..header_len)?;
    let mut at = TCP_HEADER_LEN;
    loop {
        match *header.get(at)? {
            END_OF_OPTIONS => return None,
            NO_OPERATION => at += 1,
            kind => {
                let len = usize::from(*header.get(at + 1)?);
                if kind == MAXIMUM_SEGMENT_SIZE && len == OPTION_LEN {
                    let size = header.get(at + 2..)?.first_chunk()?;
                    return Some((at + 2, u16::from_be_bytes(*size)));
                }
                // Shorter than itself: what follows cannot be read.
                at += (len >= 2).then_some(len)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::checksum;
    use super::*;
    use proptest::prelude::*;

    /// A SYN with these options (a multiple of four bytes) and a correct checksum.
    fn syn(is_ipv4: bool, flags: u8, options: &[u8]) -> Vec<u8> {
        let len = (TCP_HEADER_LEN + options.len()) as u8;
        let mut packet = if is_ipv4 {
            vec![0x45, 0, 0, 20 + len, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
        } else {
            let mut header = vec![0x60, 0, 0, 0, 0, len, 6, 64];
            header.extend_from_slice(&[0x20; 32]);
            header
        };
        let ip_len = packet.len();
        packet.extend_from_slice(&[3, 0xe8, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0]);
        packet.extend_from_slice(&[(len / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend_from_slice(options);
        let sum = tcp_sum(&packet, ip_len);
        packet[ip_len + 16..ip_len + 18].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// The checksum over pseudo-header and segment (RFC 9293 section 3.1); 0 when that in place is right.
    fn tcp_sum(packet: &[u8], ip_len: usize) -> u16 {
        let addresses = &packet[ip_len - if ip_len == 20 { 8 } else { 32 }..ip_len];
        let segment = &packet[ip_len..];
        checksum(&[addresses, &[0, 6], &(segment.len() as u16).to_be_bytes(), segment])
    }

    fn clamped(packet: &[u8], kind: PacketKind, mtu: u16) -> Option<Vec<u8>> {
        let mut copy = packet.to_vec();
        Clamp::find(packet, kind, mtu)?.apply(&mut copy);
        Some(copy)
    }

    #[test]
    fn a_syn_announces_no_more_than_the_tunnel_carries() {
        for (is_ipv4, ip_len) in [(true, 20), (false, 40)] {
            // The second is at an odd place, as behind a single NOP.
            for (options, at) in
                [([2, 4, 5, 180, 1, 3, 3, 7], 22), ([1, 2, 4, 5, 180, 3, 3, 7], 23)]
            {
                let packet = syn(is_ipv4, 0x12, &options);
                let clamped = clamped(&packet, PacketKind::Ip, 1400).unwrap();
                let size = u16::from_be_bytes([clamped[ip_len + at], clamped[ip_len + at + 1]]);
                assert_eq!(usize::from(size), 1400 - ip_len - 20);
                assert_eq!(tcp_sum(&clamped, ip_len), 0);
                assert_eq!(clamped.len(), packet.len());
            }
        }
    }

    #[test]
    fn what_is_small_enough_is_not_touched() {
        let packet = syn(true, 2, &[2, 4, 5, 180]);
        assert_eq!(Clamp::find(&packet, PacketKind::Ip, 1500), None);
        assert!(Clamp::find(&packet, PacketKind::Ip, 1499).is_some());
    }

    #[test]
    fn only_the_begin_of_a_connection_is_touched() {
        let options = [2, 4, 5, 180];
        assert_eq!(Clamp::find(&syn(true, 0x10, &options), PacketKind::Ip, 1400), None);
        let mut udp = syn(true, 2, &options);
        udp[9] = 17;
        assert_eq!(Clamp::find(&udp, PacketKind::Ip, 1400), None);
        let mut fragment = syn(true, 2, &options);
        fragment[6] = 0x20;
        assert_eq!(Clamp::find(&fragment, PacketKind::Ip, 1400), None);
        assert_eq!(Clamp::find(&syn(true, 2, &[]), PacketKind::Ip, 1400), None);
    }

    #[test]
    fn options_that_cannot_be_read_end_the_search() {
        for options in [[0, 2, 4, 5, 180, 0, 0, 0], [8, 1, 2, 4, 5, 180, 1, 1]] {
            assert_eq!(Clamp::find(&syn(true, 2, &options), PacketKind::Ip, 1400), None);
        }
        // The header ends within the option.
        assert_eq!(Clamp::find(&syn(true, 2, &[1, 1, 2, 4]), PacketKind::Ip, 1400), None);
    }

    #[test]
    fn the_syn_in_a_frame_is_found_behind_its_tag() {
        let header = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 7, 8, 0];
        let packet = [&header[..], &syn(true, 2, &[2, 4, 5, 180])].concat();
        let clamped = clamped(&packet, PacketKind::Ethernet, 1400).unwrap();
        assert_eq!(clamped[..18], header);
        assert_eq!(clamped[18 + 42..18 + 44], 1360_u16.to_be_bytes());
        assert_eq!(tcp_sum(&clamped[18..], 20), 0);
    }

    proptest! {
        #[test]
        fn arbitrary_options_keep_their_checksum(
            words in prop::collection::vec(any::<[u8; 4]>(), 0..=10),
            is_ipv4: bool,
            mtu in 68u16..,
        ) {
            let packet = syn(is_ipv4, 2, &words.concat());
            if let Some(clamped) = clamped(&packet, PacketKind::Ip, mtu) {
                prop_assert_eq!(tcp_sum(&clamped, if is_ipv4 { 20 } else { 40 }), 0);
                prop_assert!(Clamp::find(&clamped, PacketKind::Ip, mtu).is_none());
            }
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(
            packet in prop::collection::vec(any::<u8>(), 0..120),
            is_frame: bool,
            mtu: u16,
        ) {
            let kind = if is_frame { PacketKind::Ethernet } else { PacketKind::Ip };
            clamped(&packet, kind, mtu);
        }
    }
}
