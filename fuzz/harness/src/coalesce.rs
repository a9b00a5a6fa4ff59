//! Packets to be written to a tun device: what the kernel makes of the super-packets is what went
//! in, flow by flow.

use std::collections::BTreeMap;

use mlvpn_io::checksum::Sum;
use mlvpn_io::tun::coalesce::{Coalescer, Merge, Write};
use mlvpn_io::tun::split::split;
use mlvpn_io::tun::virtio::{HEADER_LEN, VirtioHeader};

use crate::input::Input;

/// Most packets that one program makes.
const MAX_PACKETS: usize = 200;
/// Flows that the made packets belong to.
const FLOWS: usize = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Runs the target: each packet is made of a few bytes of the input, or is the input's own bytes.
///
/// # Panics
/// When a packet gets lost, is changed, or overtakes another one of its flow.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let merge = Merge { tcp: input.coin(), udp: input.coin() };
    let mut coalescer = Coalescer::new(merge);
    let mut next_seq = [0; FLOWS];
    let (mut given, mut written) = (Vec::new(), Vec::new());
    while !input.is_empty() && given.len() < MAX_PACKETS {
        let packet = match input.below(16) {
            0 => {
                coalescer.flush(&mut |item| take(item, &mut written));
                continue;
            }
            1 => {
                let len = input.below(80);
                input.bytes(len).to_vec()
            }
            _ => packet(&mut input, &mut next_seq),
        };
        coalescer.push(&packet, &mut |item| take(item, &mut written));
        given.push(packet);
    }
    coalescer.flush(&mut |item| take(item, &mut written));
    assert_eq!(by_flow(&written), by_flow(&given));
}

/// Does what the kernel does with a write.
fn take(item: Write<'_>, written: &mut Vec<Vec<u8>>) {
    match item {
        Write::Packet(packet) => written.push(packet.to_vec()),
        Write::Super(bytes) => {
            let (head, packet) = bytes.split_first_chunk_mut::<HEADER_LEN>().expect("a header");
            let header = VirtioHeader::parse(*head).expect("a header that the kernel knows");
            split(header, packet, &mut |one| written.push(one.to_vec()))
                .expect("a super-packet that the kernel takes");
        }
    }
}

/// The packets of each flow in their order, without what segmentation may change.
fn by_flow(packets: &[Vec<u8>]) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut flows = BTreeMap::<_, Vec<_>>::new();
    for packet in packets {
        flows.entry(flow_of(packet)).or_default().push(normal(packet));
    }
    flows
}

/// Protocol, addresses and ports of a packet without options; nothing for all others.
fn flow_of(packet: &[u8]) -> Vec<u8> {
    match packet {
        [0x45, ..] if packet.len() >= 28 => [&packet[9..10], &packet[12..24]].concat(),
        [first, ..] if first >> 4 == 6 && packet.len() >= 48 => {
            [&packet[6..7], &packet[8..44]].concat()
        }
        _ => Vec::new(),
    }
}

/// The identification of a packet that may not be fragmented means nothing, and the header's
/// checksum depends on it; all ones and zero are the same checksum.
fn normal(packet: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    let (protocol, transport) = match packet {
        [0x45, ..] if packet.len() >= 28 => {
            if bytes[6] & 0x40 != 0 {
                bytes[4..6].fill(0);
                bytes[10..12].fill(0);
            }
            (packet[9], 20)
        }
        [first, ..] if first >> 4 == 6 && packet.len() >= 48 => (packet[6], 40),
        _ => return bytes,
    };
    let at = transport + checksum_offset(protocol);
    if bytes.get(at..at + 2) == Some(&[0xff, 0xff]) {
        bytes[at..at + 2].fill(0);
    }
    bytes
}

fn checksum_offset(protocol: u8) -> usize {
    if protocol == TCP { 16 } else { 6 }
}

/// A packet of one of the [`FLOWS`]: the even ones are TCP, the upper half IPv6.
fn packet(input: &mut Input<'_>, next_seq: &mut [u32; FLOWS]) -> Vec<u8> {
    let flow = input.below(FLOWS);
    let oddities = input.byte();
    let len = if oddities & 0x03 == 0 { input.below(256) } else { 100 };
    let protocol = if flow.is_multiple_of(2) { TCP } else { UDP };
    let mut segment = Vec::from([0, 80, 0, flow as u8]);
    if protocol == TCP {
        let seq = next_seq[flow].wrapping_add(u32::from(oddities & 0x1c == 0x1c));
        next_seq[flow] = seq.wrapping_add(len as u32);
        segment.extend_from_slice(&seq.to_be_bytes());
        let flags = if oddities & 0x60 == 0x60 { input.byte() } else { 0x10 };
        segment.extend_from_slice(&[0, 0, 0, 9, 0x50, flags, 1, 0, 0, 0, 0, 0]);
    } else {
        segment.extend_from_slice(&((8 + len) as u16).to_be_bytes());
        segment.extend_from_slice(&[0, 0]);
    }
    segment.extend((0..len).map(|at| at as u8));
    let mut bytes = with_ip_header(input, flow >= FLOWS / 2, protocol, &segment);
    if oddities & 0x80 != 0 && input.coin() {
        let at = input.below(bytes.len());
        bytes[at] ^= input.byte();
    }
    bytes
}

/// The packet around a segment, with right checksums.
fn with_ip_header(input: &mut Input<'_>, is_v6: bool, protocol: u8, segment: &[u8]) -> Vec<u8> {
    let mut header = vec![0u8; if is_v6 { 40 } else { 20 }];
    let addresses = if is_v6 {
        header[0] = 0x60;
        header[4..6].copy_from_slice(&(segment.len() as u16).to_be_bytes());
        header[6..8].copy_from_slice(&[protocol, 64]);
        header[23] = 1;
        header[39] = 2;
        8..40
    } else {
        header[0] = 0x45;
        header[2..4].copy_from_slice(&((20 + segment.len()) as u16).to_be_bytes());
        header[5] = input.byte();
        header[6] = if input.coin() { 0x40 } else { 0 };
        header[8..10].copy_from_slice(&[64, protocol]);
        header[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        let sum = Sum::new().add_bytes(&header).finish();
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        12..20
    };
    let sum = Sum::new()
        .add_bytes(&header[addresses])
        .add_word(u16::from(protocol))
        .add_word(segment.len() as u16)
        .add_bytes(segment)
        .finish();
    let at = header.len() + checksum_offset(protocol);
    header.extend_from_slice(segment);
    header[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    header
}
