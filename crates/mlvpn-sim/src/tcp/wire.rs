//! TCP segments as bytes.

use crate::packet::{IPV4_HEADER, PacketMaker, TCP, TCP_HEADER, be16, be32, classify};

/// The window field counts units of this many bytes, as if scaled by 8 bits (RFC 7323 section 2).
pub(super) const WINDOW_UNIT: u64 = 256;
/// Timestamps and padding.
const TIMESTAMP_OPTION: usize = 12;
/// Bytes of headers on a segment that carries data: IPv4, TCP, timestamps.
pub const DATA_OVERHEAD: usize = IPV4_HEADER + TCP_HEADER + TIMESTAMP_OPTION;
/// Most blocks that fit beside timestamps (RFC 2018 section 3).
pub(super) const MAX_SACKS: usize = 3;

const ACK_FLAG: u8 = 0x10;

/// What a segment says. Sequence numbers are positions in the stream, full width; only the low 32
/// bits travel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) seq: u64,
    pub(super) ack: u64,
    /// In bytes.
    pub(super) window: u64,
    /// In milliseconds.
    pub(super) timestamp: u32,
    pub(super) echo: u32,
    /// At most [`MAX_SACKS`] blocks, start and end; the first may report a duplicate (RFC 2883).
    pub(super) sacks: Vec<(u64, u64)>,
    pub(super) payload: usize,
}

impl Segment {
    pub(super) fn write(&self, maker: &mut PacketMaker) -> Vec<u8> {
        let sacks = if self.sacks.is_empty() { 0 } else { 4 + 8 * self.sacks.len() };
        let header = DATA_OVERHEAD + sacks;
        let mut packet = maker.make(header + self.payload);
        let tcp = &mut packet[IPV4_HEADER..];
        tcp[4..8].copy_from_slice(&(self.seq as u32).to_be_bytes());
        tcp[8..12].copy_from_slice(&(self.ack as u32).to_be_bytes());
        tcp[12] = ((header - IPV4_HEADER) as u8 / 4) << 4;
        tcp[13] = ACK_FLAG;
        let window = u16::try_from(self.window / WINDOW_UNIT).unwrap_or(u16::MAX);
        tcp[14..16].copy_from_slice(&window.to_be_bytes());
        tcp[20..24].copy_from_slice(&[1, 1, 8, 10]);
        tcp[24..28].copy_from_slice(&self.timestamp.to_be_bytes());
        tcp[28..32].copy_from_slice(&self.echo.to_be_bytes());
        if sacks > 0 {
            tcp[32..36].copy_from_slice(&[1, 1, 5, (sacks - 2) as u8]);
            for (block, (start, end)) in tcp[36..].chunks_exact_mut(8).zip(&self.sacks) {
                block[..4].copy_from_slice(&(*start as u32).to_be_bytes());
                block[4..].copy_from_slice(&(*end as u32).to_be_bytes());
            }
        }
        for (byte, position) in packet[header..].iter_mut().zip(self.seq..) {
            *byte = position as u8;
        }
        packet
    }

    /// Reads a packet that [`Self::write`] made. `seq_near` and `ack_near` are positions within
    /// 2^31 of those in the packet, to restore their upper bits.
    pub(super) fn read(packet: &[u8], seq_near: u64, ack_near: u64) -> Option<Self> {
        let (_, protocol) = classify(packet)?;
        if protocol != TCP || packet.len() < DATA_OVERHEAD {
            return None;
        }
        let tcp = &packet[IPV4_HEADER..];
        let header = usize::from(tcp[12] >> 4) * 4;
        let sacks = tcp.get(TCP_HEADER + TIMESTAMP_OPTION..header)?;
        let sacks = sacks.get(4..).unwrap_or_default().chunks_exact(8);
        Some(Self {
            seq: widen(be32(tcp, 4), seq_near),
            ack: widen(be32(tcp, 8), ack_near),
            window: u64::from(be16(tcp, 14)) * WINDOW_UNIT,
            timestamp: be32(tcp, 24),
            echo: be32(tcp, 28),
            sacks: sacks
                .map(|block| (widen(be32(block, 0), ack_near), widen(be32(block, 4), ack_near)))
                .collect(),
            payload: tcp.len() - header,
        })
    }
}

/// The position nearest to `near` whose low 32 bits are `low`.
fn widen(low: u32, near: u64) -> u64 {
    let distance = low.wrapping_sub(near as u32) as i32;
    near.wrapping_add_signed(i64::from(distance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::FlowAddress;

    #[test]
    fn what_is_written_reads_back() {
        let address = FlowAddress {
            source: "10.0.0.1:5000".parse().unwrap(),
            destination: "10.0.0.2:80".parse().unwrap(),
        };
        let mut maker = PacketMaker::new(address, TCP);
        let base = (7 << 32) - 1_000;
        let segment = Segment {
            seq: base,
            ack: base + 2_000,
            window: 1 << 20,
            timestamp: 77,
            echo: 66,
            sacks: vec![(base + 3_000, base + 4_000), (base + 5_000, base + 6_000)],
            payload: 100,
        };
        let packet = segment.write(&mut maker);
        assert_eq!(packet.len(), DATA_OVERHEAD + 20 + 100);
        assert_eq!(Segment::read(&packet, base - 9, base + 9), Some(segment));
        let bare = Segment { payload: 1_448, ..Segment::default() };
        let packet = bare.write(&mut maker);
        assert_eq!(packet.len(), 1_500);
        assert_eq!(Segment::read(&packet, 0, 0), Some(bare));
        assert_eq!(Segment::read(&packet[..40], 0, 0), None);
    }
}
