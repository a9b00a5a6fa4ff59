//! Version 1: XSalsa20-Poly1305 under a key hashed from the password.
//!
//! One static key serves both directions and all links. The nonce is the packet number and the
//! flow id, both little-endian, then zeros; flow ids are drawn at random per process and link.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use dryoc::classic::crypto_secretbox as secretbox;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::id::{FlowId, PacketNumber};

/// Bytes that sealing adds: the Poly1305 tag, in front of the ciphertext.
pub const TAG_LEN: usize = 16;

/// The key of a v1 session.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

/// A payload did not open: it was not sealed with our key, or was changed on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the payload is not authentic")]
pub struct NotAuthentic;

impl Key {
    /// The key of `password`: BLAKE2b-256 (RFC 7693) of its bytes, unkeyed and unsalted.
    #[must_use]
    pub fn from_password(password: &[u8]) -> Self {
        let mut digest = Blake2b::<U32>::digest(password);
        let mut key = [0; 32];
        key.copy_from_slice(&digest);
        digest.as_mut_slice().zeroize();
        Self(key)
    }

    /// Seals `plain` into `out`: tag, then ciphertext.
    ///
    /// # Panics
    /// When `out` is not exactly [`TAG_LEN`] longer than `plain`.
    pub fn seal(&self, flow: FlowId, number: PacketNumber, plain: &[u8], out: &mut [u8]) {
        assert_eq!(out.len(), plain.len() + TAG_LEN, "room for the tag and the ciphertext");
        let (tag, ciphertext) = out.split_at_mut(TAG_LEN);
        let mut mac = [0; TAG_LEN];
        secretbox::crypto_secretbox_detached(
            ciphertext,
            &mut mac,
            plain,
            &nonce(flow, number),
            &self.0,
        )
        .expect("a packet is shorter than the limit of XSalsa20");
        tag.copy_from_slice(&mac);
    }

    /// Opens `sealed` (tag, then ciphertext) into `plain`, which is resized to fit.
    ///
    /// # Errors
    /// [`NotAuthentic`] when the tag does not match; `plain` is then empty.
    pub fn open(
        &self,
        flow: FlowId,
        number: PacketNumber,
        sealed: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), NotAuthentic> {
        plain.clear();
        let Some((tag, ciphertext)) = sealed.split_at_checked(TAG_LEN) else {
            return Err(NotAuthentic);
        };
        let mut mac = [0; TAG_LEN];
        mac.copy_from_slice(tag);
        plain.resize(ciphertext.len(), 0);
        let opened = secretbox::crypto_secretbox_open_detached(
            plain,
            ciphertext,
            &mac,
            &nonce(flow, number),
            &self.0,
        );
        opened.map_err(|_| {
            plain.clear();
            NotAuthentic
        })
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(secret)")
    }
}

fn nonce(flow: FlowId, number: PacketNumber) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&number.0.to_le_bytes());
    nonce[8..12].copy_from_slice(&flow.0.to_le_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_flow_and_number_open_what_was_sealed() {
        let key = Key::from_password(b"secret");
        let (flow, number) = (FlowId(7), PacketNumber(9));
        let mut sealed = vec![0; 5 + TAG_LEN];
        key.seal(flow, number, b"hello", &mut sealed);

        let mut plain = Vec::new();
        key.open(flow, number, &sealed, &mut plain).unwrap();
        assert_eq!(plain, b"hello");

        let other = Key::from_password(b"Secret");
        assert_eq!(other.open(flow, number, &sealed, &mut plain), Err(NotAuthentic));
        assert_eq!(key.open(FlowId(8), number, &sealed, &mut plain), Err(NotAuthentic));
        assert_eq!(key.open(flow, PacketNumber(8), &sealed, &mut plain), Err(NotAuthentic));
        assert_eq!(key.open(flow, number, &sealed[..15], &mut plain), Err(NotAuthentic));
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(flow, number, &flipped, &mut plain), Err(NotAuthentic));
            assert!(plain.is_empty(), "nothing unauthentic may leak out");
        }
    }

    #[test]
    fn the_key_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", Key::from_password(b"x")), "Key(secret)");
    }
}
