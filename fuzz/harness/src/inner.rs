//! A packet out of the tunnel interface: viewed, put into a lane, marked, its announced segment size held to the MTU,
//! cut into fragments, answered with an ICMP error.

use mlvpn_proto::flow::{Ecn, LaneMap, mark_ce};
use mlvpn_proto::icmp;
use mlvpn_proto::ip::acknowledgement::is_superseded;
use mlvpn_proto::ip::ethernet::Frame;
use mlvpn_proto::ip::fragment::fragment_ipv4;
use mlvpn_proto::ip::mss::Clamp;
use mlvpn_proto::ip::{Packet, PacketKind, checksum};

use crate::input::Input;

/// Beginnings of packets and frames.
pub const WORDS: &[&[u8]] = &[
    &[0x45, 0, 0, 0x28, 0, 1, 0x40, 0, 64, 6],
    &[0x4f, 0, 0, 0x40, 0, 1, 0, 0, 64, 17],
    &[0x60, 0, 0, 0, 0, 20, 0, 64],
    &[0x60, 0, 0, 0, 0, 20, 44, 64],
    &[0x08, 0x00],
    &[0x86, 0xdd],
    &[0x81, 0x00],
    &[0x20, 0x00],
    &[0x94, 0x04, 0, 0],
    &[0x60, 0x02, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4],
];

/// Runs the target: two bytes of MTU, then the packet.
///
/// # Panics
/// When a view reaches beyond the packet, a mark or a smaller segment size change anything else or make a right
/// checksum wrong, fragments lose or invent bytes, or an ICMP error is no valid packet.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mtu = input.word();
    let packet = input.rest();
    if let Ok(view) = Packet::parse(packet) {
        look_at(&view);
    }
    cut(packet, usize::from(mtu));
    answer(packet, mtu);
    let (half, other) = packet.split_at(packet.len() / 2);
    for kind in [PacketKind::Ip, PacketKind::Ethernet] {
        sort_and_mark(packet, kind);
        clamp(packet, kind, mtu);
        assert!(!is_superseded(packet, packet, kind), "nothing says more than itself");
        let _ = is_superseded(half, other, kind);
    }
    if let Ok(frame) = Frame::parse(packet) {
        assert_eq!(frame.header().len() + frame.payload().len(), packet.len());
        if let Ok(view) = frame.ip_packet() {
            look_at(&view);
        }
    }
}

fn look_at(view: &Packet<'_>) {
    assert!(matches!(view.version(), 4 | 6));
    assert_eq!(view.is_ipv4(), view.version() == 4);
    assert_eq!(view.payload_offset() + view.payload().len(), view.bytes().len());
    assert_eq!(view.source().is_ipv4(), view.is_ipv4());
    assert_eq!(view.destination().is_ipv4(), view.is_ipv4());
    assert!(view.is_first_fragment() || view.ports().is_none());
    let _ = (view.tcp_flags(), view.dont_fragment(), view.fragment());
}

fn sort_and_mark(packet: &[u8], kind: PacketKind) {
    let lanes = LaneMap::new(&[7; 16]);
    let before = Ecn::of_packet(packet, kind);
    let mut marked = packet.to_vec();
    assert_eq!(mark_ce(&mut marked, kind), before.is_capable());
    if before.is_capable() {
        assert_eq!(Ecn::of_packet(&marked, kind), Ecn::Ce);
        assert_eq!(lanes.lane_of(&marked, kind), lanes.lane_of(packet, kind), "of one flow");
        assert!(changed(packet, &marked).len() <= 3, "the field and the checksum");
        let header = |bytes: &[u8]| ipv4_header(bytes, kind).map(|header| checksum(&[header]));
        assert!(header(packet) != Some(0) || header(&marked) == Some(0), "a right one stays so");
    } else {
        assert_eq!(marked, packet);
    }
}

/// The header of an IPv4 packet that has no hardware addresses before it.
fn ipv4_header(bytes: &[u8], kind: PacketKind) -> Option<&[u8]> {
    let view = Packet::parse(bytes).ok().filter(|view| view.is_ipv4() && kind == PacketKind::Ip)?;
    Some(&bytes[..view.payload_offset()])
}

fn clamp(packet: &[u8], kind: PacketKind, mtu: u16) {
    let Some(clamp) = Clamp::find(packet, kind, mtu) else { return };
    let mut clamped = packet.to_vec();
    clamp.apply(&mut clamped);
    assert!(Clamp::find(&clamped, kind, mtu).is_none(), "it is small enough now");
    let changed = changed(packet, &clamped);
    assert!(!changed.is_empty() && changed.len() <= 4, "the size and the checksum");
    if let (PacketKind::Ip, Ok(before), Ok(after)) =
        (kind, Packet::parse(packet), Packet::parse(&clamped))
    {
        // The sum over the whole segment, its checksum included, is what it was.
        assert_eq!(checksum(&[before.payload()]), checksum(&[after.payload()]));
    }
}

/// Where two packets of the same length differ.
fn changed(before: &[u8], after: &[u8]) -> Vec<usize> {
    assert_eq!(before.len(), after.len());
    (0..before.len()).filter(|&at| before[at] != after[at]).collect()
}

fn cut(packet: &[u8], mtu: usize) {
    let mut fragments = Vec::new();
    let is_cut = fragment_ipv4(packet, mtu, &mut |piece| fragments.push(piece.to_vec()));
    assert_eq!(is_cut, !fragments.is_empty());
    if fragments.len() < 2 {
        return;
    }
    let original = Packet::parse(packet).expect("what was cut is a packet");
    let first = original.fragment().map_or(0, |fragment| usize::from(fragment.offset));
    let mut payload = Vec::new();
    for (at, bytes) in fragments.iter().enumerate() {
        assert!(bytes.len() <= mtu, "a fragment of {} bytes for an MTU of {mtu}", bytes.len());
        let piece = Packet::parse(bytes).expect("a fragment is a packet");
        assert_eq!(checksum(&[&bytes[..piece.payload_offset()]]), 0, "of fragment {at}");
        let place = piece.fragment().expect("a fragment says so");
        assert_eq!(usize::from(place.offset), first + payload.len());
        let is_last = at + 1 == fragments.len() && original.fragment().is_none_or(|f| !f.more);
        assert_eq!(place.more, !is_last);
        payload.extend_from_slice(piece.payload());
    }
    assert_eq!(payload, original.payload());
}

fn answer(packet: &[u8], mtu: u16) {
    let mut reply = vec![0xaa];
    if icmp::packet_too_big(packet, mtu, None, None, &mut reply) {
        let view = Packet::parse(&reply).expect("an ICMP error is a packet");
        assert_eq!(view.bytes().len(), reply.len());
        assert!(reply.len() <= if view.is_ipv4() { 576 } else { 1280 });
        let original = Packet::parse(packet).expect("only packets are answered");
        assert_eq!(view.destination(), original.source());
        let mut again = Vec::new();
        assert!(!icmp::packet_too_big(&reply, mtu, None, None, &mut again), "errors beget errors");
    } else {
        assert!(reply.is_empty());
    }
    if icmp::packet_too_big_frame(packet, mtu, None, None, &mut reply) {
        let frame = Frame::parse(&reply).expect("the answer to a frame is a frame");
        frame.ip_packet().expect("with a packet in it");
    }
}
