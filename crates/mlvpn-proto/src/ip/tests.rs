//! Tests of the IP packet view.

use super::*;
use proptest::prelude::*;

/// 10.0.0.1:1000 to 10.0.0.2:80, TCP SYN, don't fragment, no options, no data.
fn tcp4() -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.extend_from_slice(&[
        0x03, 0xe8, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0,
    ]);
    packet
}

/// 2001:db8::1 to 2001:db8::2 with `payload`, of which the first header is `next`.
fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next, 64];
    for last in [1, 2] {
        packet.extend_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend_from_slice(payload);
    packet
}

/// UDP from port 53 to 4096, 8 bytes of header alone.
const UDP: [u8; 8] = [0, 53, 0x10, 0, 0, 8, 0, 0];

#[test]
fn an_ipv4_packet_is_read_to_its_transport_header() {
    let bytes = tcp4();
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.version(), 4);
    assert_eq!(packet.source(), Ipv4Addr::new(10, 0, 0, 1));
    assert_eq!(packet.destination(), Ipv4Addr::new(10, 0, 0, 2));
    assert_eq!(packet.protocol(), protocol::TCP);
    assert_eq!(packet.payload_offset(), 20);
    assert_eq!(packet.ports(), Some((1000, 80)));
    assert_eq!(packet.tcp_flags(), Some(0x02));
    assert_eq!(packet.fragment(), None);
    assert!(packet.dont_fragment());
}

#[test]
fn bytes_after_the_total_length_are_not_the_packet() {
    let mut bytes = tcp4();
    bytes.extend_from_slice(&[0; 6]);
    assert_eq!(Packet::parse(&bytes).unwrap().bytes().len(), 40);
}

#[test]
fn ipv4_options_move_the_payload() {
    let mut bytes = tcp4();
    bytes[0] = 0x46;
    bytes[3] = 44;
    bytes.splice(20..20, [1, 1, 1, 0]);
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.payload_offset(), 24);
    assert_eq!(packet.ports(), Some((1000, 80)));
}

#[test]
fn of_fragments_only_the_first_shows_ports() {
    let mut first = tcp4();
    first[6] = 0x20;
    let mut second = tcp4();
    second[6..8].copy_from_slice(&[0, 5]);
    let (first, second) = (Packet::parse(&first).unwrap(), Packet::parse(&second).unwrap());
    assert_eq!(first.fragment(), Some(Fragment { offset: 0, more: true, id: 1 }));
    assert_eq!(second.fragment(), Some(Fragment { offset: 40, more: false, id: 1 }));
    assert_eq!(first.ports(), Some((1000, 80)));
    assert_eq!(second.ports(), None);
    assert_eq!(second.tcp_flags(), None);
    assert!(!second.is_first_fragment());
}

#[test]
fn ipv6_extension_headers_are_walked() {
    // Hop-by-hop (8 bytes), destination options (16 bytes), routing (8 bytes), UDP.
    let mut payload = vec![60, 0, 1, 4, 0, 0, 0, 0];
    payload.extend_from_slice(&[43, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    payload.extend_from_slice(&[17, 0, 0, 0, 0, 0, 0, 0]);
    payload.extend_from_slice(&UDP);
    let bytes = ipv6(0, &payload);
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.protocol(), protocol::UDP);
    assert_eq!(packet.payload_offset(), 40 + 32);
    assert_eq!(packet.ports(), Some((53, 4096)));
    assert_eq!(packet.source(), "2001:db8::1".parse::<IpAddr>().unwrap());
    assert_eq!(packet.destination(), "2001:db8::2".parse::<IpAddr>().unwrap());
    assert!(packet.dont_fragment());
}

#[test]
fn ipv6_fragments_are_recognised() {
    let fragment = |offset_and_flag: [u8; 2]| {
        let [high, low] = offset_and_flag;
        ipv6(44, &[&[17, 0, high, low, 0, 0, 0, 1][..], &UDP].concat())
    };
    let (first, last, atomic) = (fragment([0, 1]), fragment([0x05, 0xa8]), fragment([0, 0]));
    let first = Packet::parse(&first).unwrap();
    assert_eq!(first.fragment(), Some(Fragment { offset: 0, more: true, id: 1 }));
    assert_eq!(first.ports(), Some((53, 4096)));
    let last = Packet::parse(&last).unwrap();
    assert_eq!(last.fragment(), Some(Fragment { offset: 0x05a8, more: false, id: 1 }));
    assert_eq!(last.ports(), None);
    assert_eq!(Packet::parse(&atomic).unwrap().fragment(), None);
}

#[test]
fn contradictions_are_named() {
    let change = |at: usize, value: u8| {
        let mut bytes = tcp4();
        bytes[at] = value;
        bytes
    };
    let error = |bytes: &[u8]| Packet::parse(bytes).unwrap_err();
    assert_eq!(error(&[]), Malformed::Truncated);
    assert_eq!(error(&tcp4()[..19]), Malformed::Truncated);
    assert_eq!(error(&change(0, 0x55)), Malformed::Version(5));
    assert_eq!(error(&change(0, 0x44)), Malformed::HeaderLength);
    assert_eq!(error(&change(3, 19)), Malformed::HeaderLength);
    assert_eq!(error(&change(3, 41)), Malformed::TotalLength);
    assert_eq!(error(&ipv6(17, &UDP)[..47]), Malformed::TotalLength);
    assert_eq!(error(&ipv6(0, &[17, 1, 0, 0, 0, 0, 0, 0])), Malformed::Truncated);
    assert_eq!(error(&ipv6(0, &[0; 8 * 9])), Malformed::TooManyExtensionHeaders);
    let eight_headers = [&[0; 8 * 7][..], &[17, 0, 0, 0, 0, 0, 0, 0], &UDP].concat();
    assert_eq!(Packet::parse(&ipv6(0, &eight_headers)).unwrap().ports(), Some((53, 4096)));
}

#[test]
fn a_cut_off_transport_header_has_no_ports() {
    let bytes = ipv6(17, &UDP[..3]);
    assert_eq!(Packet::parse(&bytes).unwrap().ports(), None);
    let bytes = ipv6(1, &UDP);
    assert_eq!(Packet::parse(&bytes).unwrap().ports(), None);
}

#[test]
fn the_checksum_is_that_of_rfc_1071() {
    // The example of RFC 1071 section 3: the sum is ddf2.
    let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(checksum(&[&example]), !0xddf2);
    assert_eq!(checksum(&[&example[..4], &example[4..]]), !0xddf2);
    assert_eq!(checksum(&[&[0xff, 0x00, 0x01]]), !0x0001);
}

#[test]
fn the_checksum_example_of_rfc_1624_holds() {
    // Section 4: the sum is 0xDD2F, a word changes from 0x5555 to 0x3285, and the new sum is 0x0000.
    assert_eq!(updated_checksum(0xdd2f, 0x5555, 0x3285), 0x0000);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        start in prop_oneof![Just(0x45u8), Just(0x46), Just(0x60), any::<u8>()],
        next in prop_oneof![Just(0u8), Just(43), Just(44), Just(60), any::<u8>()],
        mut bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(44), Just(60), any::<u8>()], 0..200),
    ) {
        // Most random lengths are beyond the slice, so the length fields are kept small.
        for (at, value) in [(0, start), (2, 0), (4, 0), (6, next)] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        if let Ok(packet) = Packet::parse(&bytes) {
            prop_assert!(packet.payload_offset() <= packet.bytes().len());
            prop_assert!(packet.bytes().len() <= bytes.len());
            let _ = (packet.ports(), packet.tcp_flags(), packet.payload());
        }
    }
}
