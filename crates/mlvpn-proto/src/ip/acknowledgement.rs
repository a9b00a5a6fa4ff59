//! Acknowledgements of TCP that carry nothing else, and which of them a later one makes needless.
//!
//! An acknowledgement tells of everything before a number (RFC 9293 section 3.4), so one that still waits when
//! the next one comes need not be sent (RFC 3449 section 5.2.1, "ACK filtering"). Where a line sends a tenth
//! of what it receives or less, that is what a download waits for.

use super::{Packet, PacketKind, ip_within, protocol, u16_at};

/// The length of a TCP header without options, in bytes.
const TCP_HEADER_LEN: usize = 20;
/// Flags of TCP (RFC 9293 section 3.1), all others being clear.
const ACK: u16 = 0x010;
/// All flags, those of congestion notification and the reserved bits included.
const ALL_FLAGS: u16 = 0xfff;
/// Kinds of TCP options (RFC 9293 section 3.2, RFC 7323 section 3.2).
const END_OF_OPTIONS: u8 = 0;
/// See [`END_OF_OPTIONS`].
const NO_OPERATION: u8 = 1;
/// See [`END_OF_OPTIONS`].
const TIMESTAMPS: u8 = 8;
/// More bytes than one has, with IPv6, timestamps, and a frame's header with tags: what is longer is not looked at.
const MAX_LEN: usize = 128;

/// Whether `older`, which waits behind nothing of its connection but before `newer`, need not be sent when
/// `newer` is: both are acknowledgements of one connection without data, flags, selective
/// acknowledgements or options other than timestamps, alike in all that the network looks at, and the newer
/// one acknowledges more.
#[must_use]
pub fn is_superseded(older: &[u8], newer: &[u8], kind: PacketKind) -> bool {
    let Some(older) = Acknowledgement::find(older, kind) else { return false };
    let Some(newer) = Acknowledgement::find(newer, kind) else { return false };
    older.outside == newer.outside
        && older.ip.source() == newer.ip.source()
        && older.ip.destination() == newer.ip.destination()
        && older.service() == newer.service()
        && older.ports_and_sequence() == newer.ports_and_sequence()
        && newer.number().wrapping_sub(older.number()).cast_signed() > 0
}

/// A packet that is nothing but an acknowledgement.
struct Acknowledgement<'a> {
    /// What is before the IP packet.
    outside: &'a [u8],
    ip: Packet<'a>,
    tcp: &'a [u8; TCP_HEADER_LEN],
}

impl<'a> Acknowledgement<'a> {
    fn find(packet: &'a [u8], kind: PacketKind) -> Option<Self> {
        if packet.len() > MAX_LEN {
            return None;
        }
        let (start, ip) = ip_within(packet, kind)?;
        if ip.protocol() != protocol::TCP || ip.fragment().is_some() {
            return None;
        }
        let segment = ip.payload();
        let (tcp, options) = segment.split_first_chunk::<TCP_HEADER_LEN>()?;
        let is_empty = usize::from(tcp[12] >> 4) * 4 == segment.len();
        let is_plain = u16_at(tcp, 12)? & ALL_FLAGS == ACK && has_timestamps_only(options);
        (is_empty && is_plain).then_some(Self { outside: &packet[..start], ip, tcp })
    }

    /// The class of service, congestion notification included, and with IPv6 the flow label.
    fn service(&self) -> &[u8] {
        let bytes = self.ip.bytes();
        if self.ip.is_ipv4() { &bytes[..2] } else { &bytes[..4] }
    }

    /// With another sequence number there was data in between.
    fn ports_and_sequence(&self) -> &[u8] {
        &self.tcp[..8]
    }

    fn number(&self) -> u32 {
        let [.., a, b, c, d] = *self.tcp.first_chunk::<12>().expect("a header has 20 bytes");
        u32::from_be_bytes([a, b, c, d])
    }
}

/// Whether these options say nothing that only one packet says.
fn has_timestamps_only(mut options: &[u8]) -> bool {
    loop {
        options = match options {
            [] | [END_OF_OPTIONS, ..] => return true,
            [NO_OPERATION, rest @ ..] => rest,
            [TIMESTAMPS, 10, _, _, _, _, _, _, _, _, rest @ ..] => rest,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETHERNET: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];

    /// What the tests change about an acknowledgement.
    #[derive(Clone)]
    struct Segment {
        is_ipv4: bool,
        service: u8,
        port: u16,
        sequence: u32,
        number: u32,
        flags: u8,
        options: Vec<u8>,
        data: &'static [u8],
    }

    impl Segment {
        fn acknowledging(number: u32) -> Self {
            let options = [&[1, 1, 8, 10][..], &number.to_be_bytes(), &[0, 0, 0, 9]].concat();
            let (sequence, flags) = (7, 0x10);
            Self { is_ipv4: true, service: 0, port: 5, sequence, number, flags, options, data: b"" }
        }

        fn packet(&self) -> Vec<u8> {
            let mut tcp = [&[0x13, 0x88][..], &self.port.to_be_bytes()].concat();
            tcp.extend_from_slice(&self.sequence.to_be_bytes());
            tcp.extend_from_slice(&self.number.to_be_bytes());
            let words = (TCP_HEADER_LEN + self.options.len()) / 4;
            tcp.extend_from_slice(&[(words as u8) << 4, self.flags, 1, 0, 0, 0, 0, 0]);
            tcp.extend_from_slice(&self.options);
            tcp.extend_from_slice(self.data);
            let mut packet = if self.is_ipv4 {
                let len = 20 + tcp.len() as u8;
                vec![
                    0x45,
                    self.service,
                    0,
                    len,
                    0,
                    1,
                    0x40,
                    0,
                    64,
                    6,
                    0,
                    0,
                    10,
                    0,
                    0,
                    1,
                    10,
                    0,
                    0,
                    2,
                ]
            } else {
                let service = self.service;
                let mut header = vec![0x60 | service >> 4, service << 4, 0, 0];
                header.extend_from_slice(&[0, tcp.len() as u8, 6, 64]);
                header.extend_from_slice(&[0x20; 32]);
                header
            };
            packet.extend_from_slice(&tcp);
            packet
        }
    }

    #[track_caller]
    fn check(expected: bool, older: &Segment, newer: &Segment) {
        for is_ipv4 in [true, false] {
            let packet = |of: &Segment| Segment { is_ipv4, ..of.clone() }.packet();
            let (older, newer) = (packet(older), packet(newer));
            assert_eq!(is_superseded(&older, &newer, PacketKind::Ip), expected, "IPv4: {is_ipv4}");
        }
    }

    #[test]
    fn a_later_acknowledgement_makes_one_before_needless() {
        check(true, &Segment::acknowledging(1_000), &Segment::acknowledging(2_000));
        check(true, &Segment::acknowledging(u32::MAX), &Segment::acknowledging(2_000));
    }

    #[test]
    fn what_acknowledges_no_more_makes_nothing_needless() {
        check(false, &Segment::acknowledging(1_000), &Segment::acknowledging(1_000));
        check(false, &Segment::acknowledging(2_000), &Segment::acknowledging(1_000));
        check(false, &Segment::acknowledging(2_000), &Segment::acknowledging(u32::MAX));
    }

    #[test]
    fn what_says_something_else_is_needed() {
        let plain = Segment::acknowledging(1_000);
        let others = [
            Segment { data: b"data", ..plain.clone() },
            // SYN, FIN, RST, PSH, and the two of congestion notification.
            Segment { flags: 0x12, ..plain.clone() },
            Segment { flags: 0x11, ..plain.clone() },
            Segment { flags: 0x14, ..plain.clone() },
            Segment { flags: 0x18, ..plain.clone() },
            Segment { flags: 0x50, ..plain.clone() },
            Segment { flags: 0x90, ..plain.clone() },
            // A selective acknowledgement, an option that is not known, one that is cut off.
            Segment { options: [&[1, 1, 5, 10][..], &[0; 8]].concat(), ..plain.clone() },
            Segment { options: vec![254, 4, 0, 0], ..plain.clone() },
            Segment { options: vec![1, 1, 8, 10], ..plain.clone() },
        ];
        for other in others {
            check(false, &other, &Segment::acknowledging(2_000));
            check(false, &Segment::acknowledging(500), &other);
        }
    }

    #[test]
    fn it_has_to_be_of_the_same_connection_and_alike() {
        let newer = Segment::acknowledging(2_000);
        let older = Segment::acknowledging(1_000);
        check(false, &older, &Segment { port: 6, ..newer.clone() });
        check(false, &older, &Segment { service: 0xb8, ..newer.clone() });
        check(false, &Segment { service: 0x03, ..older.clone() }, &newer);
        // There was data in between.
        check(false, &older, &Segment { sequence: 8, ..newer.clone() });
        let mut elsewhere = newer.packet();
        elsewhere[19] = 3;
        assert!(!is_superseded(&older.packet(), &elsewhere, PacketKind::Ip));
        let mut fragment = newer.packet();
        fragment[6] = 0x20;
        assert!(!is_superseded(&older.packet(), &fragment, PacketKind::Ip));
    }

    #[test]
    fn in_frames_it_is_the_same() {
        let frame = |number| [&ETHERNET[..], &Segment::acknowledging(number).packet()].concat();
        assert!(is_superseded(&frame(1), &frame(2), PacketKind::Ethernet));
        let mut other = frame(2);
        other[11] = 3;
        assert!(!is_superseded(&frame(1), &other, PacketKind::Ethernet));
        assert!(!is_superseded(&frame(1), &frame(2), PacketKind::Ip));
    }

    #[test]
    fn bytes_that_end_too_early_are_no_acknowledgement() {
        let (older, newer) =
            (Segment::acknowledging(1).packet(), Segment::acknowledging(2).packet());
        for len in 0..newer.len() {
            assert!(!is_superseded(&older, &newer[..len], PacketKind::Ip));
            assert!(!is_superseded(&older[..len], &newer, PacketKind::Ip));
        }
    }
}
