//! Splitting and coalescing against one another: packets of random flows go in and come out.

use proptest::prelude::*;

use super::coalesce::{Coalescer, Merge, Write};
use super::headers::{ACK, CWR, ECE, FIN, IP4_ID, Layout, PSH, TCP, TCP_FLAGS, UDP, get16, get32};
use super::split::{Malformed, split};
use super::virtio::{Gso, HEADER_LEN, PartialChecksum, VirtioHeader};

/// A packet to be built; `seq` is a TCP sequence number or ignored.
#[derive(Clone, Copy, Debug)]
struct Spec {
    is_v6: bool,
    protocol: u8,
    port: u16,
    seq: u32,
    ack: u32,
    flags: u8,
    class: u8,
    hop_limit: u8,
    id: u16,
    may_fragment: bool,
    /// A TCP timestamp option.
    timestamp: Option<u32>,
    len: usize,
}

const BASE: Spec = Spec {
    is_v6: false,
    protocol: TCP,
    port: 443,
    seq: 0xffff_f000, // wraps on the way
    ack: 77,
    flags: ACK,
    class: 0,
    hop_limit: 64,
    id: 0xfffe,
    may_fragment: false,
    timestamp: Some(5),
    len: 1000,
};

impl Spec {
    fn build(&self) -> Vec<u8> {
        let mut packet = if self.is_v6 { self.ip6_header() } else { self.ip4_header() };
        packet.extend_from_slice(&self.port.to_be_bytes());
        packet.extend_from_slice(&5000_u16.to_be_bytes());
        if self.protocol == TCP {
            packet.extend_from_slice(&self.seq.to_be_bytes());
            packet.extend_from_slice(&self.ack.to_be_bytes());
            packet.push(if self.timestamp.is_some() { 0x80 } else { 0x50 });
            packet.extend_from_slice(&[self.flags, 1, 2, 0, 0, 0, 0]);
            if let Some(timestamp) = self.timestamp {
                packet.extend_from_slice(&[1, 1, 8, 10]);
                packet.extend_from_slice(&timestamp.to_be_bytes());
                packet.extend_from_slice(&[0; 4]);
            }
        } else {
            packet.extend_from_slice(&[0; 4]);
        }
        packet.extend((0..self.len).map(|at| (at * 7 + self.seq as usize) as u8));
        let layout = Layout::parse(&packet).unwrap();
        layout.set_lengths(&mut packet);
        layout.set_checksum(&mut packet);
        packet
    }

    fn ip4_header(&self) -> Vec<u8> {
        let mut header = vec![0x45, self.class, 0, 0];
        header.extend_from_slice(&self.id.to_be_bytes());
        header.extend_from_slice(&[if self.may_fragment { 0 } else { 0x40 }, 0, self.hop_limit]);
        header.extend_from_slice(&[self.protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        header
    }

    fn ip6_header(&self) -> Vec<u8> {
        let mut header = vec![0x60, self.class, 0, 9, 0, 0, self.protocol, self.hop_limit];
        header.extend_from_slice(&[0xfd; 32]);
        header
    }
}

/// A run of `count` packets of which each continues the one before.
fn run(first: Spec, count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| {
            let seq = first.seq.wrapping_add((n * first.len) as u32);
            Spec { seq, id: first.id.wrapping_add(n as u16), ..first }.build()
        })
        .collect()
}

/// Everything that the coalescer writes for `packets`, as virtio header and packet.
fn coalesce(packets: &[Vec<u8>], merge: Merge) -> Vec<(VirtioHeader, Vec<u8>)> {
    let mut written = Vec::new();
    let mut write = |item: Write<'_>| match item {
        Write::Packet(packet) => written.push((VirtioHeader::default(), packet.to_vec())),
        Write::Super(bytes) => {
            let (header, packet) = bytes.split_first_chunk::<HEADER_LEN>().unwrap();
            written.push((VirtioHeader::parse(*header).unwrap(), packet.to_vec()));
        }
    };
    let mut coalescer = Coalescer::new(merge);
    for packet in packets {
        coalescer.push(packet, &mut write);
    }
    coalescer.flush(&mut write);
    written
}

fn split_all(written: Vec<(VirtioHeader, Vec<u8>)>) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for (header, mut packet) in written {
        let count = split(header, &mut packet, &mut |one| packets.push(one.to_vec())).unwrap();
        assert!(count > 0);
    }
    packets
}

const BOTH: Merge = Merge { tcp: true, udp: true };

#[test]
fn a_run_becomes_one_super_packet_that_says_how_to_segment_it() {
    for (is_v6, protocol, kind) in [
        (false, TCP, Gso::Tcp4),
        (true, TCP, Gso::Tcp6),
        (false, UDP, Gso::Udp),
        (true, UDP, Gso::Udp),
    ] {
        let first = Spec { is_v6, protocol, ..BASE };
        let packets = run(first, 40);
        let written = coalesce(&packets, BOTH);
        assert_eq!(written.len(), 1);
        let (header, packet) = &written[0];
        let layout = Layout::parse(packet).unwrap();
        assert_eq!(packet.len(), layout.payload + 40_000);
        assert_eq!(header.gso, Some((kind, 1000)));
        let checksum = header.checksum.unwrap();
        assert_eq!(usize::from(checksum.start), if is_v6 { 40 } else { 20 });
        assert_eq!(usize::from(checksum.offset), if protocol == TCP { 16 } else { 6 });
        assert_eq!(split_all(written), packets);
    }
}

#[test]
fn no_super_packet_exceeds_64_kib_or_64_datagrams() {
    let tcp = coalesce(&run(Spec { len: 1400, ..BASE }, 100), BOTH);
    assert!(tcp.len() == 3 && tcp.iter().all(|(_, packet)| packet.len() <= 65_535));
    let udp = coalesce(&run(Spec { protocol: UDP, len: 10, ..BASE }, 100), BOTH);
    let lens: Vec<_> = udp.iter().map(|(_, packet)| packet.len() - 28).collect();
    assert_eq!(lens, [640, 360]);
}

#[test]
fn what_segmentation_would_not_give_back_is_not_merged() {
    let second = Spec { seq: BASE.seq.wrapping_add(1000), id: BASE.id.wrapping_add(1), ..BASE };
    let udp = |spec: Spec| Spec { protocol: UDP, ..spec };
    let fragmentable = |spec: Spec| Spec { may_fragment: true, ..spec };
    let table = [
        ("continues", BASE, second, true),
        ("is shorter", BASE, Spec { len: 10, ..second }, true),
        ("pushes", BASE, Spec { flags: ACK | PSH, ..second }, true),
        ("other id, but never fragmented", BASE, Spec { id: 5, ..second }, true),
        (
            "both say ECE",
            Spec { flags: ACK | ECE, ..BASE },
            Spec { flags: ACK | ECE, ..second },
            true,
        ),
        ("fragmentable, id continues", fragmentable(BASE), fragmentable(second), true),
        (
            "fragmentable, other id",
            fragmentable(BASE),
            fragmentable(Spec { id: 5, ..second }),
            false,
        ),
        ("follows a push", Spec { flags: ACK | PSH, ..BASE }, second, false),
        ("is longer", BASE, Spec { len: 1001, ..second }, false),
        ("leaves a gap", BASE, Spec { seq: second.seq.wrapping_add(1), ..second }, false),
        ("repeats", BASE, BASE, false),
        ("other acknowledgement", BASE, Spec { ack: 78, ..second }, false),
        ("other timestamp", BASE, Spec { timestamp: Some(6), ..second }, false),
        ("no timestamp", BASE, Spec { timestamp: None, ..second }, false),
        ("other class", BASE, Spec { class: 3, ..second }, false),
        ("other hop limit", BASE, Spec { hop_limit: 63, ..second }, false),
        ("other port", BASE, Spec { port: 80, ..second }, false),
        ("ECE begins", BASE, Spec { flags: ACK | ECE, ..second }, false),
        ("finishes", BASE, Spec { flags: ACK | FIN, ..second }, false),
        ("congestion window reduced", BASE, Spec { flags: ACK | CWR, ..second }, false),
        ("no payload", BASE, Spec { len: 0, ..second }, false),
        ("UDP of equal size", udp(BASE), udp(second), true),
        ("UDP, longer", udp(BASE), udp(Spec { len: 1001, ..second }), false),
    ];
    for (what, first, second, is_merged) in table {
        for is_v6 in [false, true] {
            if is_v6 && what.starts_with("fragmentable") {
                continue;
            }
            let packets = [Spec { is_v6, ..first }.build(), Spec { is_v6, ..second }.build()];
            let written = coalesce(&packets, BOTH);
            assert_eq!(written.len() == 1, is_merged, "{what}, IPv6 {is_v6}");
            let ids_of_first = Spec { id: BASE.id.wrapping_add(1), is_v6, ..second }.build();
            let expected = if is_merged { [packets[0].clone(), ids_of_first] } else { packets };
            assert_eq!(split_all(written), expected, "{what}, IPv6 {is_v6}");
        }
    }
}

#[test]
fn a_corrupt_packet_is_passed_on_as_it_is() {
    for spec in [BASE, Spec { is_v6: true, ..BASE }, Spec { protocol: UDP, ..BASE }] {
        let mut packets = run(spec, 3);
        *packets[1].last_mut().unwrap() ^= 0x10;
        let written = coalesce(&packets, BOTH);
        assert!(written.iter().all(|(header, _)| header.gso.is_none()));
        assert_eq!(split_all(written), packets);
    }
}

#[test]
fn a_udp_packet_without_checksum_gets_none() {
    let mut packets = run(Spec { protocol: UDP, ..BASE }, 2);
    for packet in &mut packets {
        packet[26..28].fill(0);
    }
    assert_eq!(split_all(coalesce(&packets, BOTH)), packets);
}

#[test]
fn only_what_the_device_takes_is_merged() {
    for protocol in [TCP, UDP] {
        let merge = Merge { tcp: protocol == UDP, udp: protocol == TCP };
        assert_eq!(coalesce(&run(Spec { protocol, ..BASE }, 5), merge).len(), 5);
    }
}

#[test]
fn interleaved_flows_are_merged_each_in_its_order() {
    let flows: Vec<_> = (0..4).map(|n| run(Spec { port: 1000 + n, ..BASE }, 10)).collect();
    let packets: Vec<_> =
        (0..10).flat_map(|at| flows.iter().map(move |flow| flow[at].clone())).collect();
    let written = coalesce(&packets, BOTH);
    assert_eq!(written.len(), 4);
    assert_eq!(split_all(written), flows.concat());
}

#[test]
fn what_has_no_flow_keeps_its_place() {
    let run = run(BASE, 2);
    let mut icmp = run[0].clone();
    icmp[9] = 1;
    let packets = [run[0].clone(), icmp, run[1].clone()];
    assert_eq!(split_all(coalesce(&packets, BOTH)), packets);
}

#[test]
fn flags_appear_where_they_belong() {
    let flags = ACK | PSH | FIN | CWR | ECE;
    let mut packet = Spec { flags, len: 2500, timestamp: None, ..BASE }.build();
    let header = VirtioHeader { checksum: None, gso: Some((Gso::Tcp4, 1000)) };
    let mut seen = Vec::new();
    let count = split(header, &mut packet, &mut |one| {
        assert!(Layout::parse(one).unwrap().has_valid_checksums(one));
        seen.push((get16(one, IP4_ID), get32(one, 24), one[20 + TCP_FLAGS], one.len()));
    });
    assert_eq!(count, Ok(3));
    let expected = [
        (0xfffe, 0xffff_f000, ACK | CWR | ECE, 1040),
        (0xffff, 0xffff_f3e8, ACK | ECE, 1040),
        (0x0000, 0xffff_f7d0, ACK | ECE | PSH | FIN, 540),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_partial_checksum_is_completed() {
    for spec in [BASE, Spec { protocol: UDP, is_v6: true, ..BASE }] {
        let complete = spec.build();
        let layout = Layout::parse(&complete).unwrap();
        let mut packet = complete.clone();
        let partial = layout.pseudo_header(&packet, packet.len() - layout.transport).fold();
        packet[layout.checksum()..][..2].copy_from_slice(&partial.to_be_bytes());
        let start = layout.transport as u16;
        let checksum = Some(PartialChecksum { start, offset: layout.checksum_offset() as u16 });
        let header = VirtioHeader { checksum, gso: None };
        assert_eq!(split(header, &mut packet, &mut |one| assert_eq!(one, complete)), Ok(1));

        let outside = Some(PartialChecksum { start, offset: packet.len() as u16 - start - 1 });
        let header = VirtioHeader { checksum: outside, gso: None };
        assert_eq!(split(header, &mut packet, &mut |_| ()), Err(Malformed::Checksum));
    }
}

#[test]
fn super_packets_that_make_no_sense_are_refused() {
    let table = [
        ("no segment size", (Gso::Tcp4, 0), BASE),
        ("not that version", (Gso::Tcp6, 100), BASE),
        ("not that protocol", (Gso::Udp, 100), BASE),
        ("TCP type on UDP", (Gso::Tcp4, 100), Spec { protocol: UDP, ..BASE }),
        ("segments beyond 64 KiB", (Gso::Tcp4, 65_535), BASE),
    ];
    for (what, gso, spec) in table {
        let header = VirtioHeader { checksum: None, gso: Some(gso) };
        let outcome = split(header, &mut spec.build(), &mut |_| panic!("{what}"));
        assert_eq!(outcome, Err(Malformed::Segmentation), "{what}");
    }
}

/// What happens in one of the flows of the random test.
#[derive(Clone, Copy, Debug)]
struct Step {
    flow: usize,
    len: usize,
    /// Which bit of the packet is flipped, if any.
    flip: Option<usize>,
    change: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![6 => Just(1200_usize), 1 => 0_usize..2000, 1 => Just(40_usize)];
    let flip = proptest::option::weighted(0.03, 0_usize..2000 * 8);
    let step = (0_usize..12, len, flip, prop_oneof![8 => Just(0_u8), 3 => 1_u8..10]);
    let step = step.prop_map(|(flow, len, flip, change)| Step { flow, len, flip, change });
    proptest::collection::vec(step, 0..120)
}

/// Twelve flows of all kinds, of which each continues from where it was.
fn play(steps: &[Step]) -> Vec<(usize, Vec<u8>)> {
    let mut flows: Vec<Spec> = (0..12_u16)
        .map(|n| Spec {
            is_v6: n & 1 != 0,
            protocol: if n & 2 != 0 { UDP } else { TCP },
            may_fragment: n & 4 != 0,
            port: n,
            ..BASE
        })
        .collect();
    let mut packets = Vec::new();
    for step in steps {
        let flow = &mut flows[step.flow];
        flow.len = step.len;
        match step.change {
            1 => flow.ack += 1,
            2 => flow.seq = flow.seq.wrapping_add(9),
            3 => flow.timestamp = flow.timestamp.map(|at| at + 1),
            4 => flow.class ^= 1,
            5 => flow.id = flow.id.wrapping_add(3),
            _ => {}
        }
        let flags = [(6, PSH), (7, FIN), (8, CWR), (9, ECE)]
            .iter()
            .find_map(|&(change, flag)| (change == step.change).then_some(ACK | flag));
        let mut packet = Spec { flags: flags.unwrap_or(ACK), ..*flow }.build();
        flow.seq = flow.seq.wrapping_add(step.len as u32);
        flow.id = flow.id.wrapping_add(1);
        if let Some(bit) = step.flip {
            let at = bit / 8 % packet.len();
            packet[at] ^= 1 << (bit % 8);
        }
        packets.push((step.flow, packet));
    }
    packets
}

/// Without what means nothing: the identification of a packet that is never fragmented.
fn normalized(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let is_unfragmented = packet[0] == 0x45 && packet[6] == 0x40;
    let layout = Layout::parse(&packet).filter(|_| is_unfragmented);
    // A broken header checksum must stay visible.
    if layout.is_some_and(|layout| layout.has_valid_checksums(&packet)) {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

/// Addresses, protocol and ports. A flipped bit in these, or in the header length that says where
/// the ports are, makes another flow; what cannot be parsed has none.
fn flow_of(packet: &[u8]) -> Option<(Vec<u8>, u8, Vec<u8>)> {
    let layout = Layout::parse(packet)?;
    let addresses = if layout.is_v6 { &packet[8..40] } else { &packet[12..20] };
    let ports = &packet[layout.transport..layout.transport + 4];
    Some((addresses.to_vec(), layout.protocol, ports.to_vec()))
}

proptest! {
    #[test]
    fn splitting_undoes_coalescing(steps in steps()) {
        let sent: Vec<_> = play(&steps).into_iter().map(|(_, packet)| packet).collect();
        let received = split_all(coalesce(&sent, BOTH));
        prop_assert_eq!(sent.len(), received.len());
        // The order within each flow.
        let mut by_flow = [std::collections::BTreeMap::new(), std::collections::BTreeMap::new()];
        for (packets, flows) in [&sent, &received].into_iter().zip(&mut by_flow) {
            for packet in packets {
                let flow: &mut Vec<_> = flows.entry(flow_of(packet)).or_default();
                flow.push(normalized(packet));
            }
        }
        prop_assert_eq!(&by_flow[0], &by_flow[1]);
    }

    #[test]
    fn one_flow_keeps_its_order_whatever_happens_in_it(steps in steps()) {
        let steps: Vec<_> =
            steps.into_iter().map(|step| Step { flow: step.flow % 4, flip: None, ..step }).collect();
        for flow in 0..4 {
            let only: Vec<_> = steps.iter().copied().filter(|step| step.flow == flow).collect();
            let sent: Vec<_> = play(&only).into_iter().map(|(_, packet)| packet).collect();
            let received = split_all(coalesce(&sent, BOTH));
            let sent: Vec<_> = sent.iter().map(|packet| normalized(packet)).collect();
            let received: Vec<_> = received.iter().map(|packet| normalized(packet)).collect();
            prop_assert_eq!(sent, received);
        }
    }

    #[test]
    fn hostile_reads_are_split_or_refused(
        header: [u8; HEADER_LEN],
        kind in prop_oneof![Just(0_u8), Just(1), Just(4), Just(5), any::<u8>()],
        start in proptest::collection::vec(any::<u8>(), 0..90),
        shape in prop_oneof![Just(0x45_u8), Just(0x46), Just(0x60), any::<u8>()],
        protocol in prop_oneof![Just(TCP), Just(UDP), any::<u8>()],
        is_len_right: bool,
        len in 0_usize..3000,
    ) {
        let mut header = header;
        header[1] = kind;
        let mut packet = start;
        packet.resize(packet.len().max(len), 0x5a);
        let total = packet.len();
        if total >= 60 {
            packet[0] = shape;
            packet[if shape >> 4 == 6 { 6 } else { 9 }] = protocol;
            if shape >> 4 == 4 {
                packet[6..8].fill(0);
            }
            if is_len_right {
                let (at, len) = if shape >> 4 == 6 { (4, total - 40) } else { (2, total) };
                packet[at..at + 2].copy_from_slice(&(len as u16).to_be_bytes());
            }
        }
        let Some(header) = VirtioHeader::parse(header) else { return Ok(()) };
        let (mut count, mut bytes) = (0, 0);
        let outcome = split(header, &mut packet, &mut |one| {
            count += 1;
            bytes += one.len();
            if header.gso.is_some() {
                assert!(Layout::parse(one).unwrap().has_valid_checksums(one));
            }
        });
        prop_assert_eq!(outcome.unwrap_or(0), count);
        prop_assert!(bytes >= total * usize::from(outcome.is_ok()));
    }

    #[test]
    fn any_bytes_can_be_written_and_come_out_as_they_are(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 0..20),
        shape in prop_oneof![Just(0x45_u8), Just(0x60)],
    ) {
        let mut packets = packets;
        for packet in &mut packets {
            if let Some(first) = packet.first_mut() {
                *first = shape;
            }
        }
        let written = coalesce(&packets, BOTH);
        let out: Vec<_> = written.into_iter().map(|(_, packet)| packet).collect();
        prop_assert_eq!(out, packets);
    }
}
