//! Version 1: the datagrams of mlvpn 2.x.
//!
//! A 28-byte header, then the payload. Three fields are bit-fields of a little-endian `u16`; all
//! others are big-endian. The header is not authenticated, except that `seq` and `flow_id` form
//! the nonce. See docs/protocol-v1.md.

use crate::id::{DataSeq, FlowId, PacketNumber};

/// Bytes of header in front of the payload.
pub const HEADER_LEN: usize = 28;
/// Largest datagram (UDP payload) that a v1 receiver takes.
pub const MAX_DATAGRAM: usize = 1500;
/// The version number in the header.
pub const VERSION: u8 = 1;
/// The value of a timestamp field that means "none".
pub const NO_TIMESTAMP: u16 = 0xFFFF;

const REORDER_BIT: u16 = 1 << 10;

/// What a datagram is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The client asks for a link to be taken up; payload `AU`.
    Auth,
    /// The server grants it; payload `OK`.
    AuthOk,
    /// Shows that the link lives; empty payload.
    Keepalive,
    /// An IP packet or an Ethernet frame.
    Data,
    /// The sender goes away; empty payload.
    Disconnect,
}

impl Kind {
    fn from_bits(bits: u16) -> Option<Self> {
        Some(match bits {
            0 => Self::Auth,
            1 => Self::AuthOk,
            2 => Self::Keepalive,
            3 => Self::Data,
            4 => Self::Disconnect,
            _ => return None,
        })
    }

    const fn bits(self) -> u16 {
        match self {
            Self::Auth => 0,
            Self::AuthOk => 1,
            Self::Keepalive => 2,
            Self::Data => 3,
            Self::Disconnect => 4,
        }
    }
}

/// Why bytes are no v1 datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// Shorter than a header and one byte, or longer than [`MAX_DATAGRAM`].
    #[error("a datagram of {0} bytes (29 to 1500 are possible)")]
    DatagramLength(usize),
    /// The length field does not match the bytes that came.
    #[error("the header says {header} bytes of payload, {actual} came")]
    PayloadLength {
        /// What the header says.
        header: u16,
        /// What is there.
        actual: usize,
    },
    /// Not version 1.
    #[error("version {0}, not 1")]
    Version(u8),
    /// A type above 4.
    #[error("packet type {0} does not exist")]
    Kind(u16),
}

/// The fields of a header, as values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the datagram is for.
    pub kind: Kind,
    /// Set by the C program on everything that it sends.
    pub reorder: bool,
    /// Sender's clock in ms mod 65536, [`NO_TIMESTAMP`] when there is none.
    pub timestamp: u16,
    /// The last timestamp that the sender received on this link plus the ms that it held it.
    pub timestamp_reply: u16,
    /// The sender's process and link.
    pub flow_id: FlowId,
    /// Counts every packet of the link from 0.
    pub packet_number: PacketNumber,
    /// Counts data packets of the session from 0; 0 in all others.
    pub data_seq: DataSeq,
}

impl Header {
    /// Writes the header of a datagram with `payload_len` bytes of payload, MAC included.
    ///
    /// # Panics
    /// When the datagram would exceed [`MAX_DATAGRAM`]: the caller checks packets against the
    /// MTU before it seals them.
    #[must_use]
    pub fn encode(&self, payload_len: usize) -> [u8; HEADER_LEN] {
        assert!(
            payload_len <= MAX_DATAGRAM - HEADER_LEN,
            "a v1 payload of {payload_len} bytes was not refused before it was sealed"
        );
        let mut bits = u16::from(VERSION) | (self.kind.bits() << 4);
        if self.reorder {
            bits |= REORDER_BIT;
        }
        let mut out = [0; HEADER_LEN];
        out[0..2].copy_from_slice(&(payload_len as u16).to_be_bytes());
        out[2..4].copy_from_slice(&bits.to_le_bytes());
        out[4..6].copy_from_slice(&self.timestamp.to_be_bytes());
        out[6..8].copy_from_slice(&self.timestamp_reply.to_be_bytes());
        out[8..12].copy_from_slice(&self.flow_id.0.to_be_bytes());
        out[12..20].copy_from_slice(&self.packet_number.0.to_be_bytes());
        out[20..28].copy_from_slice(&self.data_seq.0.to_be_bytes());
        out
    }
}

/// A datagram whose header was checked: version, type and lengths hold.
#[derive(Debug)]
pub struct Datagram<'a> {
    header: Header,
    payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Checks and reads `bytes`, one whole UDP payload.
    ///
    /// # Errors
    /// When they cannot have been sent by a v1 endpoint.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() <= HEADER_LEN || bytes.len() > MAX_DATAGRAM {
            return Err(Malformed::DatagramLength(bytes.len()));
        }
        let bits = u16::from_le_bytes([bytes[2], bytes[3]]);
        let version = (bits & 0xF) as u8;
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let kind_bits = (bits >> 4) & 0x3F;
        let kind = Kind::from_bits(kind_bits).ok_or(Malformed::Kind(kind_bits))?;
        let (head, payload) = bytes.split_at(HEADER_LEN);
        let len = be16(head, 0);
        if usize::from(len) != payload.len() {
            return Err(Malformed::PayloadLength { header: len, actual: payload.len() });
        }
        let header = Header {
            kind,
            reorder: bits & REORDER_BIT != 0,
            timestamp: be16(head, 4),
            timestamp_reply: be16(head, 6),
            flow_id: FlowId(u32::from_be_bytes([head[8], head[9], head[10], head[11]])),
            packet_number: PacketNumber(be64(head, 12)),
            data_seq: DataSeq(be64(head, 20)),
        };
        Ok(Self { header, payload })
    }

    /// The header's fields.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What follows the header: MAC and ciphertext, or clear text. At least one byte.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(kind: Kind) -> Header {
        Header {
            kind,
            reorder: true,
            timestamp: 54_062,
            timestamp_reply: NO_TIMESTAMP,
            flow_id: FlowId(0xe1c6_5f48),
            packet_number: PacketNumber(1),
            data_seq: DataSeq(2),
        }
    }

    #[test]
    fn version_and_type_are_little_endian_bit_fields() {
        let bytes = header(Kind::Data).encode(64);
        assert_eq!(bytes[..4], [0x00, 0x40, 0x31, 0x04]);
    }

    #[test]
    fn each_malformed_header_is_refused_for_its_own_reason() {
        let mut good = header(Kind::Keepalive).encode(16).to_vec();
        good.resize(HEADER_LEN + 16, 0);
        assert!(Datagram::parse(&good).is_ok());

        assert_eq!(Datagram::parse(&good[..28]).unwrap_err(), Malformed::DatagramLength(28));
        assert_eq!(Datagram::parse(&[0; 1501]).unwrap_err(), Malformed::DatagramLength(1501));
        assert_eq!(
            Datagram::parse(&good[..43]).unwrap_err(),
            Malformed::PayloadLength { header: 16, actual: 15 }
        );
        let mut version = good.clone();
        version[2] = (version[2] & 0xF0) | 2;
        assert_eq!(Datagram::parse(&version).unwrap_err(), Malformed::Version(2));
        let mut kind = good;
        kind[2] = 0x51;
        assert_eq!(Datagram::parse(&kind).unwrap_err(), Malformed::Kind(5));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            kind in 0u16..5, reorder: bool, timestamp: u16, timestamp_reply: u16, flow: u32,
            number: u64, seq: u64, payload in proptest::collection::vec(any::<u8>(), 1..1472)
        ) {
            let header = Header {
                kind: Kind::from_bits(kind).unwrap(), reorder, timestamp, timestamp_reply,
                flow_id: FlowId(flow), packet_number: PacketNumber(number), data_seq: DataSeq(seq),
            };
            let mut bytes = header.encode(payload.len()).to_vec();
            bytes.extend_from_slice(&payload);
            let datagram = Datagram::parse(&bytes).unwrap();
            prop_assert_eq!(datagram.header(), &header);
            prop_assert_eq!(datagram.payload(), &payload[..]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1600)) {
            let _ = Datagram::parse(&bytes);
        }
    }
}
