//! Tests of the lanes of flows, and of their marks.

use super::*;
use crate::ip::checksum;
use proptest::prelude::*;

/// An IPv4 packet from 10.0.0.1 to 10.0.0.2 with a correct checksum.
fn ipv4(protocol: u8, tos: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u8;
    let mut packet =
        vec![0x45, tos, 0, len, 0x12, 0x34, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    seal_header(&mut packet);
    packet.extend_from_slice(payload);
    packet
}

fn seal_header(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum = checksum(&[&packet[..20]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// An IPv6 packet from 2001:db8::1 to 2001:db8::2.
fn ipv6(next: u8, traffic_class: u8, payload: &[u8]) -> Vec<u8> {
    let class = [0x60 | traffic_class >> 4, traffic_class << 4];
    let mut packet = vec![class[0], class[1], 0, 0, 0, payload.len() as u8, next, 64];
    for last in [1, 2] {
        packet.extend_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend_from_slice(payload);
    packet
}

/// Source and destination port and what makes eight bytes of them.
fn udp(source: u16) -> [u8; 8] {
    let [high, low] = source.to_be_bytes();
    [high, low, 0, 53, 0, 8, 0, 0]
}

/// A TCP header of 20 bytes with these flags, and `data_len` bytes behind it.
fn tcp(flags: u8, data_len: usize) -> Vec<u8> {
    let mut segment = vec![3, 0xe8, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 1, 0, 0, 0, 0, 0];
    segment.resize(20 + data_len, 7);
    segment
}

fn frame(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let addresses = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    [&addresses[..], &ethertype.to_be_bytes(), payload].concat()
}

fn lane(packet: &[u8]) -> Lane {
    LaneMap::new(&[7; 16]).lane_of(packet, PacketKind::Ip)
}

#[test]
fn ports_tell_flows_apart_and_content_does_not() {
    let lanes: std::collections::BTreeSet<_> =
        (0..200).map(|port| lane(&ipv4(17, 0, &udp(port)))).collect();
    // 200 balls in 1,024 bins leave about 18 shared.
    assert!(lanes.len() > 160, "{}", lanes.len());
    assert_eq!(lane(&ipv4(6, 0, &tcp(0x10, 0))), lane(&ipv4(6, 3, &tcp(0x18, 90))));
    assert_ne!(lane(&ipv4(6, 0, &tcp(0x10, 0))), lane(&ipv4(17, 0, &tcp(0x10, 0))));
}

#[test]
fn the_key_decides_over_the_lane() {
    let packet = ipv4(17, 0, &udp(1000));
    let lanes: std::collections::BTreeSet<_> =
        (0..50).map(|key| LaneMap::new(&[key; 16]).lane_of(&packet, PacketKind::Ip)).collect();
    assert!(lanes.len() > 40);
}

#[test]
fn echoes_go_by_their_identifier_and_other_icmp_by_addresses() {
    let icmp = |kind: u8, id: u8, seq: u8| lane(&ipv4(1, 0, &[kind, 0, 0, 0, 0, id, 0, seq]));
    assert_eq!(icmp(8, 1, 1), icmp(8, 1, 2));
    assert_ne!(icmp(8, 1, 1), icmp(8, 2, 1));
    assert_eq!(icmp(3, 1, 1), icmp(3, 2, 1));
    let icmpv6 = |kind: u8, id: u8| lane(&ipv6(58, 0, &[kind, 0, 0, 0, 0, id, 0, 0]));
    assert_ne!(icmpv6(128, 1), icmpv6(128, 2));
    assert_eq!(icmpv6(135, 1), icmpv6(135, 2));
}

#[test]
fn all_fragments_of_a_packet_share_a_lane() {
    let fragment = |id: u8, flags: [u8; 2], payload: &[u8]| {
        let mut packet = ipv4(17, 0, payload);
        packet[5] = id;
        packet[6..8].copy_from_slice(&flags);
        lane(&packet)
    };
    assert_eq!(fragment(1, [0x20, 0], &udp(1000)), fragment(1, [0, 9], &[1; 30]));
    assert_ne!(fragment(1, [0x20, 0], &udp(1000)), fragment(2, [0x20, 0], &udp(1000)));
}

#[test]
fn ipv6_fragments_share_a_lane_wherever_their_other_headers_stand() {
    // In the first one destination options follow the fragment header; the second cannot show them.
    let first = [&[60, 0, 0, 1, 0, 0, 0, 9][..], &[17, 0, 1, 4, 0, 0, 0, 0], &udp(1000)].concat();
    let second = [&[60, 0, 0, 16, 0, 0, 0, 9][..], &[1; 24]].concat();
    assert_eq!(lane(&ipv6(44, 0, &first)), lane(&ipv6(44, 0, &second)));
    let options = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp(1000)].concat();
    assert_eq!(lane(&ipv6(60, 0, &options)), lane(&ipv6(17, 0, &udp(1000))));
}

#[test]
fn a_frame_goes_by_the_ip_packet_in_it_or_else_by_its_addresses() {
    let map = LaneMap::new(&[7; 16]);
    let packet = ipv4(17, 0, &udp(1000));
    let of = |bytes: &[u8]| map.lane_of(bytes, PacketKind::Ethernet);
    assert_eq!(of(&frame(0x0800, &packet)), lane(&packet));
    let padded = [&packet[..], &[0; 18]].concat();
    assert_eq!(of(&frame(0x0800, &padded)), lane(&packet));
    assert_eq!(of(&frame(0x0806, &[1])), of(&frame(0x0806, &[2])));
    assert_ne!(of(&frame(0x0806, &[1])), of(&frame(0x0800, &packet[..9])));
}

#[test]
fn capable_packets_are_marked_and_others_left_alone() {
    let fields = [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0, Ecn::Ce];
    for (bits, expected) in (0..).zip(fields) {
        for mut packet in [ipv4(6, 0xb8 | bits, &tcp(0, 5)), ipv6(6, 0xb8 | bits, &tcp(0, 5))] {
            let before = packet.clone();
            assert_eq!(Ecn::of_packet(&packet, PacketKind::Ip), expected);
            assert_eq!(mark_ce(&mut packet, PacketKind::Ip), bits > 0);
            let marked = if bits > 0 { Ecn::Ce } else { Ecn::NotEct };
            assert_eq!(Ecn::of_packet(&packet, PacketKind::Ip), marked);
            if bits == 0 || bits == 3 {
                assert_eq!(packet, before);
            }
            if packet[0] == 0x45 {
                assert_eq!(checksum(&[&packet[..20]]), 0);
                assert_eq!(packet[1] & 0xfc, 0xb8);
            } else {
                assert_eq!([packet[0], packet[1] & 0xcf], [0x6b, 0x80]);
            }
        }
    }
}

#[test]
fn a_mark_reaches_the_packet_in_a_tagged_frame() {
    let packet = ipv4(6, 2, &tcp(0, 5));
    let mut bytes = frame(0x8100, &[&[0, 5, 0x08, 0x00][..], &packet].concat());
    assert!(mark_ce(&mut bytes, PacketKind::Ethernet));
    let mut expected = packet;
    mark_ce(&mut expected, PacketKind::Ip);
    assert_eq!(bytes[18..], expected);
    assert!(!mark_ce(&mut frame(0x0806, &[0xff; 28]), PacketKind::Ethernet));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
        version in prop_oneof![Just(0x45u8), Just(0x60), any::<u8>()],
        is_sized: bool,
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        if is_sized && bytes.len() > 40 {
            let len = bytes.len() as u8;
            bytes[2..4].copy_from_slice(&[0, len]);
            bytes[4..6].copy_from_slice(&[0, len - 40]);
        }
        let map = LaneMap::new(&[1; 16]);
        for mut packet in [bytes.clone(), frame(0x0800, &bytes), frame(0x86dd, &bytes)] {
            for kind in [PacketKind::Ip, PacketKind::Ethernet] {
                let (lane, ecn) = (map.lane_of(&packet, kind), Ecn::of_packet(&packet, kind));
                let is_marked = mark_ce(&mut packet, kind);
                prop_assert_eq!(is_marked, ecn.is_capable());
                prop_assert_eq!(map.lane_of(&packet, kind), lane);
                prop_assert_eq!(Ecn::of_packet(&packet, kind) == Ecn::Ce, is_marked);
            }
        }
    }

    #[test]
    fn a_mark_keeps_a_correct_checksum_correct(mut header: [u8; 20]) {
        header[0] = 0x45;
        header[2..4].copy_from_slice(&[0, 20]);
        seal_header(&mut header);
        mark_ce(&mut header, PacketKind::Ip);
        prop_assert_eq!(checksum(&[&header]), 0);
    }
}
