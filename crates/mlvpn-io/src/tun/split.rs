//! What was read from tun becomes IP packets: super-packets are cut into segments, partial
//! checksums are completed. All in place: every segment but the first gets its headers written over
//! the end of the segment before it, which has been handed out by then.

use super::headers::{
    CWR, FIN, IP4_ID, IP4_TOTAL_LEN, IP6_PAYLOAD_LEN, Layout, PSH, TCP, TCP_FLAGS, TCP_SEQ, UDP,
    get16, get32, never_zero, put16, put32,
};
use super::virtio::{Gso, PartialChecksum, VirtioHeader};
use crate::checksum::Sum;

/// Longest chain of headers that a super-packet may have: IPv6 with its extension headers and TCP
/// with all options take a few hundred bytes.
const MAX_HEADERS: usize = 1024;

/// Why a read cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than the virtio header, or the header names no known segmentation.
    #[error("no usable virtio header")]
    Header,
    /// The checksum to complete lies outside of the packet.
    #[error("partial checksum outside of the packet")]
    Checksum,
    /// The packet is not what the segmentation type says, or its lengths disagree.
    #[error("super-packet and its segmentation do not match")]
    Segmentation,
}

/// Gives each IP packet that `packet` stands for to `sink`, in order, and returns their number.
/// `packet` is scratch space afterwards.
///
/// # Errors
/// [`Malformed`], and then `sink` was not called.
pub fn split(
    header: VirtioHeader,
    packet: &mut [u8],
    sink: &mut dyn FnMut(&[u8]),
) -> Result<usize, Malformed> {
    if let Some((kind, segment)) = header.gso {
        return split_super_packet(kind, usize::from(segment), packet, sink);
    }
    if let Some(partial) = header.checksum {
        complete_checksum(partial, packet)?;
    }
    sink(packet);
    Ok(1)
}

/// Writes the checksum whose field holds the sum of the pseudo header.
fn complete_checksum(partial: PartialChecksum, packet: &mut [u8]) -> Result<(), Malformed> {
    let start = usize::from(partial.start);
    let at = start + usize::from(partial.offset);
    if at + 2 > packet.len() {
        return Err(Malformed::Checksum);
    }
    let checksum = Sum::new().add_bytes(&packet[start..]).finish();
    // The kernel does likewise for every protocol: both values are the same sum.
    put16(packet, at, never_zero(checksum));
    Ok(())
}

fn split_super_packet(
    kind: Gso,
    segment: usize,
    packet: &mut [u8],
    sink: &mut dyn FnMut(&[u8]),
) -> Result<usize, Malformed> {
    let layout = Layout::parse(packet).ok_or(Malformed::Segmentation)?;
    check(kind, segment, layout, packet)?;
    let headers = layout.payload;
    let mut template = [0; MAX_HEADERS];
    template[..headers].copy_from_slice(&packet[..headers]);
    let template = &template[..headers];

    let payload_len = packet.len() - headers;
    let count = payload_len.div_ceil(segment).max(1);
    for index in 0..count {
        let start = index * segment;
        let end = (start + segment).min(payload_len) + headers;
        let one = &mut packet[start..end];
        one[..headers].copy_from_slice(template);
        write_headers(layout, one, Position { index, segment, is_last: index + 1 == count });
        sink(one);
    }
    Ok(count)
}

fn check(kind: Gso, segment: usize, layout: Layout, packet: &[u8]) -> Result<(), Malformed> {
    let is_right_kind = match kind {
        Gso::Tcp4 => layout.protocol == TCP && !layout.is_v6,
        Gso::Tcp6 => layout.protocol == TCP && layout.is_v6,
        Gso::Udp => layout.protocol == UDP,
    };
    // Zero is what a packet says whose length does not fit the field.
    let is_right_len = match layout.is_v6 {
        false => [0, packet.len()].contains(&usize::from(get16(packet, IP4_TOTAL_LEN))),
        true => [0, packet.len() - 40].contains(&usize::from(get16(packet, IP6_PAYLOAD_LEN))),
    };
    let fits = layout.payload <= MAX_HEADERS && layout.payload + segment <= 0xffff;
    if is_right_kind && is_right_len && fits && segment > 0 {
        Ok(())
    } else {
        Err(Malformed::Segmentation)
    }
}

#[derive(Clone, Copy)]
struct Position {
    index: usize,
    segment: usize,
    is_last: bool,
}

/// Turns a copy of the super-packet's headers into those of one segment.
fn write_headers(layout: Layout, packet: &mut [u8], position: Position) {
    layout.set_id(packet, position.index as u16);
    layout.set_lengths(packet);
    if layout.protocol == TCP {
        let seq = layout.transport + TCP_SEQ;
        let first = get32(packet, seq);
        put32(packet, seq, first.wrapping_add((position.index * position.segment) as u32));
        let flags = &mut packet[layout.transport + TCP_FLAGS];
        if position.index > 0 {
            *flags &= !CWR;
        }
        if !position.is_last {
            *flags &= !(FIN | PSH);
        }
    }
    layout.set_checksum(packet);
}

impl Layout {
    /// The identification counts up from segment to segment, as the kernel has it.
    fn set_id(self, packet: &mut [u8], index: u16) {
        if !self.is_v6 {
            let first = get16(packet, IP4_ID);
            put16(packet, IP4_ID, first.wrapping_add(index));
        }
    }
}
