//! A version 1 datagram: what was parsed is encoded to the same bytes.

use mlvpn_proto::wire::v1::{Datagram, HEADER_LEN, MAX_DATAGRAM};

/// Beginnings of headers: lengths, version, types.
pub const WORDS: &[&[u8]] = &[
    &[0x00, 0x12, 0x01, 0x04],
    &[0x00, 0x12, 0x11, 0x04],
    &[0x00, 0x10, 0x21, 0x04],
    &[0x00, 0x64, 0x31, 0x04],
    &[0x00, 0x10, 0x41, 0x04],
    &[0x05, 0xc0],
    &[0xff, 0xff],
];

/// The bits of the third and fourth byte that have no meaning and are not kept.
const UNUSED_BITS: u16 = 0xf800;

/// Runs the target.
///
/// # Panics
/// When a datagram that is accepted says something else once it is encoded again.
pub fn run(bytes: &[u8]) {
    let Ok(datagram) = Datagram::parse(bytes) else { return };
    assert!(bytes.len() > HEADER_LEN && bytes.len() <= MAX_DATAGRAM);
    assert_eq!(datagram.payload(), &bytes[HEADER_LEN..]);
    let mut encoded = datagram.header().encode(datagram.payload().len());
    let unused = u16::from_le_bytes([bytes[2], bytes[3]]) & UNUSED_BITS;
    let bits = u16::from_le_bytes([encoded[2], encoded[3]]) | unused;
    encoded[2..4].copy_from_slice(&bits.to_le_bytes());
    assert_eq!(encoded[..], bytes[..HEADER_LEN]);
}
