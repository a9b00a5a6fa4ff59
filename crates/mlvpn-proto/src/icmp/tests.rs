//! Tests of the ICMP errors.

use super::*;
use proptest::prelude::*;

/// 10.0.0.2:4096 to 192.0.2.7:53, UDP without data, don't fragment.
#[rustfmt::skip]
const UDP4: [u8; 28] = [
    0x45, 0, 0, 28, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 2, 192, 0, 2, 7,
    0x10, 0, 0, 0x35, 0, 8, 0, 0,
];

/// 2001:db8::1 to 2001:db8::2, the same UDP.
#[rustfmt::skip]
const UDP6: [u8; 48] = [
    0x60, 0, 0, 0, 0, 8, 17, 64,
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
    0x10, 0, 0, 0x35, 0, 8, 0, 0,
];

fn answer(offending: &[u8], mtu: u16) -> Option<Vec<u8>> {
    let mut out = vec![1, 2, 3];
    let is_answered = packet_too_big(offending, mtu, None, None, &mut out);
    assert_eq!(is_answered, !out.is_empty());
    is_answered.then_some(out)
}

/// `packet` with the byte at `at` changed.
fn with(packet: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut changed = packet.to_vec();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    changed
}

#[test]
fn the_icmpv4_error_is_that_computed_by_hand() {
    // Header: 45c0 + 0038 + 4000 + 4001 + c000 + 0008 + 0a00 + 0002 = 19003, folded 9004, complement 6ffb.
    // ICMP: 0304 + 0578 + the packet's words 1a174 = 1a9f0, folded a9f1, complement 560e.
    #[rustfmt::skip]
    let headers = [
        0x45, 0xc0, 0, 56, 0, 0, 0x40, 0, 64, 1, 0x6f, 0xfb, 192, 0, 0, 8, 10, 0, 0, 2,
        3, 4, 0x56, 0x0e, 0, 0, 0x05, 0x78,
    ];
    assert_eq!(answer(&UDP4, 1400).unwrap(), [&headers[..], &UDP4].concat());
}

#[test]
fn the_icmpv6_error_is_that_computed_by_hand() {
    // Pseudo-header: 2dbb + 2dba + 0038 + 003a = 5be7. ICMP: 0200 + 0500 = 0700. The packet's words: dcfa.
    // In all 13fe1, folded 3fe2, complement c01d.
    #[rustfmt::skip]
    let headers = [
        0x60, 0, 0, 0, 0, 56, 58, 64,
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        2, 0, 0xc0, 0x1d, 0, 0, 0x05, 0x00,
    ];
    assert_eq!(answer(&UDP6, 1280).unwrap(), [&headers[..], &UDP6].concat());
}

#[test]
fn the_local_address_is_the_source_if_there_is_one() {
    let (local4, local6) = (Ipv4Addr::new(10, 0, 0, 1), "fd00::1".parse().unwrap());
    let mut out = Vec::new();
    for (packet, expected) in [(&UDP4[..], IpAddr::V4(local4)), (&UDP6, IpAddr::V6(local6))] {
        assert!(packet_too_big(packet, 1300, Some(local4), Some(local6), &mut out));
        assert_eq!(Packet::parse(&out).unwrap().source(), expected);
    }
}

#[test]
fn long_packets_are_quoted_in_part() {
    let mut long4 = with(&UDP4, 2, &1500u16.to_be_bytes());
    long4.resize(1500, 7);
    let mut long6 = with(&UDP6, 4, &1460u16.to_be_bytes());
    long6.resize(1500, 7);
    let (answer4, answer6) = (answer(&long4, 1400).unwrap(), answer(&long6, 1400).unwrap());
    assert_eq!(answer4.len(), 576);
    assert_eq!(answer4[28..], long4[..548]);
    assert_eq!(answer6.len(), 1280);
    assert_eq!(answer6[48..], long6[..1232]);
}

#[test]
fn no_error_where_the_rules_forbid_it() {
    let icmp4 = |kind: u8| with(&with(&UDP4, 9, &[1]), 20, &[kind]);
    let icmp6 = |kind: u8| with(&with(&UDP6, 6, &[58]), 40, &[kind]);
    let loopback6 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    #[rustfmt::skip]
    let table = [
        ("may be fragmented", with(&UDP4, 6, &[0])),
        ("a later fragment", with(&UDP4, 6, &[0x40, 1])),
        ("unspecified source", with(&UDP4, 12, &[0, 0, 0, 0])),
        ("loopback source", with(&UDP4, 12, &[127, 0, 0, 1])),
        ("multicast source", with(&UDP4, 12, &[224, 0, 0, 1])),
        ("broadcast source", with(&UDP4, 12, &[255, 255, 255, 255])),
        ("class E source", with(&UDP4, 12, &[240, 0, 0, 1])),
        ("multicast destination", with(&UDP4, 16, &[239, 1, 2, 3])),
        ("broadcast destination", with(&UDP4, 16, &[255, 255, 255, 255])),
        ("ICMP unreachable", icmp4(3)),
        ("ICMP source quench", icmp4(4)),
        ("ICMP redirect", icmp4(5)),
        ("ICMP time exceeded", icmp4(11)),
        ("ICMP parameter problem", icmp4(12)),
        ("ICMP without a type", with(&with(&UDP4, 9, &[1]), 2, &[0, 20])),
        ("no IP packet", vec![0x55; 40]),
        ("shorter than it says", UDP4[..27].to_vec()),
        ("IPv6: unspecified source", with(&UDP6, 8, &[0; 16])),
        ("IPv6: loopback source", with(&UDP6, 8, &loopback6)),
        ("IPv6: multicast source", with(&UDP6, 8, &[0xff])),
        ("IPv6: multicast destination, no local address", with(&UDP6, 24, &[0xff])),
        ("IPv6: ICMPv6 too big", icmp6(2)),
        ("IPv6: ICMPv6 unknown error", icmp6(127)),
        ("IPv6: ICMPv6 redirect", icmp6(137)),
        ("IPv6: a later fragment", with(&with(&UDP6, 6, &[44]), 40, &[17, 0, 0, 8, 0, 0, 0, 0])),
    ];
    for (name, packet) in table {
        assert_eq!(answer(&packet, 1280), None, "{name}");
    }
    for packet in [icmp4(8), icmp4(0), icmp6(128), icmp6(135), with(&UDP4, 9, &[58])] {
        assert!(answer(&packet, 1280).is_some());
    }
}

#[test]
fn an_ipv6_multicast_packet_is_answered_from_the_local_address() {
    let mut out = Vec::new();
    let local = "fd00::1".parse().unwrap();
    assert!(packet_too_big(&with(&UDP6, 24, &[0xff]), 1300, None, Some(local), &mut out));
    assert_eq!(Packet::parse(&out).unwrap().source(), IpAddr::V6(local));
}

/// `packet` from 02:..:02 to 02:..:01, in VLAN 7.
fn frame(packet: &[u8], ethertype: [u8; 2]) -> Vec<u8> {
    let header = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 7];
    [&header[..], &ethertype, packet].concat()
}

#[test]
fn a_frame_is_answered_in_a_frame() {
    let mut out = vec![9];
    assert!(packet_too_big_frame(&frame(&UDP4, [8, 0]), 1400, None, None, &mut out));
    let header = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0, 7, 8, 0];
    assert_eq!(out, [&header[..], &answer(&UDP4, 1400).unwrap()].concat());
}

#[test]
fn a_frame_of_a_group_or_without_ip_is_not_answered() {
    let whole = frame(&UDP6, [0x86, 0xdd]);
    #[rustfmt::skip]
    let table = [
        with(&whole, 0, &[0x33, 0x33]), with(&whole, 6, &[3]), frame(&UDP6, [8, 6]), frame(&UDP6, [8, 0]),
        frame(&with(&UDP4, 6, &[0]), [8, 0]), whole[..17].to_vec(),
    ];
    for bytes in table {
        let mut out = vec![9];
        assert!(!packet_too_big_frame(&bytes, 1400, None, None, &mut out));
        assert_eq!(out, []);
    }
}

proptest! {
    #[test]
    fn every_error_is_a_valid_packet_with_valid_checksums(
        is_ipv4: bool,
        payload in proptest::collection::vec(any::<u8>(), 0..2000),
        mtu: u16,
    ) {
        let mut packet = if is_ipv4 { UDP4.to_vec() } else { UDP6.to_vec() };
        packet.extend_from_slice(&payload);
        let len = packet.len() as u16;
        if is_ipv4 {
            packet[2..4].copy_from_slice(&len.to_be_bytes());
        } else {
            packet[4..6].copy_from_slice(&(len - 40).to_be_bytes());
        }
        let out = answer(&packet, mtu).unwrap();
        let error = Packet::parse(&out).unwrap();
        prop_assert_eq!(error.bytes().len(), out.len());
        prop_assert_eq!(error.destination(), Packet::parse(&packet).unwrap().source());
        let sum = if is_ipv4 {
            prop_assert_eq!(checksum(&[&out[..20]]), 0);
            checksum(&[error.payload()])
        } else {
            let rest = [&out[4..6], &[0, 58]].concat();
            checksum(&[&out[8..40], &rest, error.payload()])
        };
        prop_assert_eq!(sum, 0);
        let longest = if is_ipv4 { 576 } else { 1280 };
        prop_assert!(out.len() <= longest);
        prop_assert!(answer(&out, mtu).is_none(), "an error answers no error");
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), mtu: u16) {
        let mut out = Vec::new();
        packet_too_big(&bytes, mtu, None, None, &mut out);
        packet_too_big_frame(&bytes, mtu, None, None, &mut out);
    }
}
