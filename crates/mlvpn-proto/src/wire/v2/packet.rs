//! What a datagram is, and the header of a sealed packet.

use super::modular;
use crate::id::{PacketNumber, PathId, SessionIndex};

/// Bytes of header in front of the body of a sealed packet.
pub const HEADER_LEN: usize = 9;
/// Bytes of authentication tag behind the body.
pub const TAG_LEN: usize = 16;
/// Bytes that the tunnel adds to the packet in a DATA frame, on top of UDP.
pub const DATA_OVERHEAD: usize = HEADER_LEN + super::DATA_HEADER_LEN + TAG_LEN;
/// Bytes of the shortest packet: its body is one PADDING or PING.
pub const MIN_LEN: usize = HEADER_LEN + 1 + TAG_LEN;

const TYPE_MASK: u8 = 0b1100_0000;
const SEALED: u8 = 0b1000_0000;
const RESERVED_BIT: u8 = 0b0010_0000;
const CLEAR_BIT: u8 = 0b0001_0000;

/// What a datagram is, as its first byte says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DatagramKind {
    /// A datagram of version 1, which is answered in that `[V1]`.
    V1,
    /// A sealed packet, [`SealedHeader`].
    Sealed,
    /// A handshake initiation.
    Initiation,
    /// A handshake response.
    Response,
    /// A cookie reply.
    CookieReply,
    /// None that exists, nor an empty datagram: dropped and not answered `[D1]`.
    Reserved,
}

impl DatagramKind {
    /// What `datagram` is.
    #[must_use]
    pub fn of(datagram: &[u8]) -> Self {
        match datagram.first() {
            Some(0x00..=0x05) => Self::V1,
            Some(0x80..=0xBF) => Self::Sealed,
            Some(0xC1) => Self::Initiation,
            Some(0xC2) => Self::Response,
            Some(0xC3) => Self::CookieReply,
            _ => Self::Reserved,
        }
    }
}

/// Why bytes are no sealed packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// Shorter than [`MIN_LEN`].
    #[error("a packet of {0} bytes, {MIN_LEN} are needed")]
    TooShort(usize),
    /// The first byte is not that of a sealed packet.
    #[error("a sealed packet does not begin with {0:#04x}")]
    NotSealed(u8),
    /// The reserved bit is set `[S1]`.
    #[error("the reserved bit of {0:#04x} is set")]
    ReservedBit(u8),
}

/// The header of a sealed packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealedHeader {
    /// The path on which the packet is sent.
    pub path: PathId,
    /// Whether the body is in clear.
    pub is_clear: bool,
    /// What the receiver knows the epoch by.
    pub receiver: SessionIndex,
    /// The packet's number on its path.
    pub number: TruncatedNumber,
}

impl SealedHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let clear = if self.is_clear { CLEAR_BIT } else { 0 };
        let mut out = [0; HEADER_LEN];
        out[0] = SEALED | clear | self.path.number();
        out[1..5].copy_from_slice(&self.receiver.0.to_be_bytes());
        out[5..9].copy_from_slice(&self.number.0.to_be_bytes());
        out
    }

    /// Reads the header of `datagram`, one whole UDP payload.
    ///
    /// # Errors
    /// When no v2 endpoint can have sent it as a sealed packet.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let [first, a, b, c, d, e, f, g, h, _, ..] = *datagram else {
            return Err(Malformed::TooShort(datagram.len()));
        };
        if datagram.len() < MIN_LEN {
            return Err(Malformed::TooShort(datagram.len()));
        }
        if first & TYPE_MASK != SEALED {
            return Err(Malformed::NotSealed(first));
        }
        if first & RESERVED_BIT != 0 {
            return Err(Malformed::ReservedBit(first));
        }
        Ok(Self {
            path: PathId::from_low_bits(first),
            is_clear: first & CLEAR_BIT != 0,
            receiver: SessionIndex(u32::from_be_bytes([a, b, c, d])),
            number: TruncatedNumber(u32::from_be_bytes([e, f, g, h])),
        })
    }
}

/// The low 32 bits of a packet number, which is what packets and frames hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TruncatedNumber(pub u32);

impl TruncatedNumber {
    /// The full number of a packet that came, when `largest` is the largest that proved authentic
    /// on its path so far `[S3]`.
    #[must_use]
    pub fn after(self, largest: Option<PacketNumber>) -> PacketNumber {
        self.near(PacketNumber(largest.map_or(0, |number| number.0 + 1)))
    }

    /// The full number nearest to `expected`, which is at most 2⁶² (RFC 9000 section A.3).
    #[must_use]
    pub fn near(self, expected: PacketNumber) -> PacketNumber {
        PacketNumber(modular::nearest(u64::from(self.0), 32, expected.0))
    }
}

impl From<PacketNumber> for TruncatedNumber {
    fn from(number: PacketNumber) -> Self {
        Self(number.0 as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_what_a_datagram_is() {
        let kinds = (0..=255u8).map(|first| DatagramKind::of(&[first]));
        for (first, kind) in kinds.enumerate() {
            let expected = match first {
                0..=5 => DatagramKind::V1,
                0x80..=0xBF => DatagramKind::Sealed,
                0xC1 => DatagramKind::Initiation,
                0xC2 => DatagramKind::Response,
                0xC3 => DatagramKind::CookieReply,
                _ => DatagramKind::Reserved,
            };
            assert_eq!(kind, expected, "{first:#x}");
        }
        assert_eq!(DatagramKind::of(&[]), DatagramKind::Reserved);
    }

    #[test]
    fn each_malformed_header_is_refused_for_its_own_reason() {
        let mut bytes = [0; MIN_LEN];
        bytes[0] = 0x9F;
        assert!(SealedHeader::parse(&bytes).is_ok());
        assert_eq!(SealedHeader::parse(&bytes[..25]), Err(Malformed::TooShort(25)));
        assert_eq!(SealedHeader::parse(&[]), Err(Malformed::TooShort(0)));
        for (first, why) in [
            (0xA0, Malformed::ReservedBit(0xA0)),
            (0xBF, Malformed::ReservedBit(0xBF)),
            (0xC1, Malformed::NotSealed(0xC1)),
            (0x05, Malformed::NotSealed(0x05)),
        ] {
            bytes[0] = first;
            assert_eq!(SealedHeader::parse(&bytes), Err(why));
        }
    }

    #[test]
    fn the_first_packet_of_a_path_may_have_any_small_number() {
        assert_eq!(TruncatedNumber(0).after(None), PacketNumber(0));
        assert_eq!(TruncatedNumber(7).after(None), PacketNumber(7));
        let wrapped = TruncatedNumber(2).after(Some(PacketNumber(0xFFFF_FFFF)));
        assert_eq!(wrapped, PacketNumber(0x1_0000_0002));
    }
}
