//! Version 2: AES-256-GCM or ChaCha20-Poly1305 under the keys of an epoch. See docs/protocol-v2.md
//! sections 3 and 5.4.
//!
//! Packets are sealed and opened in place. A nonce cannot be used twice: a packet number comes out
//! of a [`PacketCounter`] once, and sealing consumes it.

pub mod cipher;
pub mod counter;
mod secret;

use core::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::aead::{Aad, LessSafeKey};

use crate::id::{PacketNumber, SessionIndex};
use crate::time::{Duration, Instant};
use crate::wire::v2::{HEADER_LEN, SealedHeader, TAG_LEN};

pub use cipher::Cipher;
pub use counter::{PacketCounter, UnusedNumber};
use secret::{Iv, expand};

/// After how many sealed packets the initiator begins the handshake for the next epoch `[H13]`.
pub const REKEY_PACKETS: u32 = 1 << 23;
/// How many packets an epoch may seal `[H14]`.
pub const MAX_PACKETS: u32 = 1 << 24;
/// At which age of an epoch the initiator begins the handshake for the next one `[H13]`.
pub const REKEY_AGE: Duration = Duration::from_secs(120);
/// At which age an epoch may not seal any more `[H14]`.
pub const MAX_AGE: Duration = Duration::from_secs(180);

/// One direction of an epoch, at the end that sends. It may be shared by threads.
pub struct SealingKey {
    key: LessSafeKey,
    iv: Iv,
    receiver: SessionIndex,
    born: Instant,
    sealed: AtomicU32,
}

/// A key has sealed as many packets as it may `[H14]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the epoch has sealed as many packets as it may")]
pub struct Exhausted;

impl SealingKey {
    /// The key of the epoch that the receiver knows as `receiver`, from the direction's `secret`.
    #[must_use]
    pub fn new(cipher: Cipher, secret: &[u8; 32], receiver: SessionIndex, now: Instant) -> Self {
        let (key, iv) = expand(cipher, secret);
        Self { key, iv, receiver, born: now, sealed: AtomicU32::new(0) }
    }

    /// Makes a packet of `datagram`: room for the header, the body, room for the tag. With
    /// `is_clear` the body stays as it is and is authenticated alone `[S5]`; the caller sees to it
    /// that it is nothing but a DATA frame `[S6]`.
    ///
    /// # Errors
    /// [`Exhausted`] after [`MAX_PACKETS`] packets; the datagram is then as it was.
    ///
    /// # Panics
    /// When `datagram` has no room for header and tag.
    #[expect(clippy::needless_pass_by_value, reason = "a number that was used is gone")]
    pub fn seal(
        &self,
        number: UnusedNumber,
        is_clear: bool,
        datagram: &mut [u8],
    ) -> Result<(), Exhausted> {
        self.count()?;
        let (path, number) = (number.path(), number.number());
        let header =
            SealedHeader { path, is_clear, receiver: self.receiver, number: number.into() };
        datagram[..HEADER_LEN].copy_from_slice(&header.encode());
        let body_end = datagram.len() - TAG_LEN;
        let (content, room) = datagram.split_at_mut(body_end);
        let (additional, plain) = content.split_at_mut(aad_len(is_clear, body_end));
        let nonce = self.iv.nonce(path, number);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(additional), plain)
            .expect("a datagram is shorter than the limits of both ciphers");
        room.copy_from_slice(tag.as_ref());
        Ok(())
    }

    /// What the receiver knows the epoch by.
    #[must_use]
    pub fn receiver(&self) -> SessionIndex {
        self.receiver
    }

    /// How many packets it has sealed.
    #[must_use]
    pub fn sealed(&self) -> u32 {
        self.sealed.load(Ordering::Relaxed)
    }

    /// When it is time for the next epoch's handshake `[H13]`, if the peer has sealed `opened` packets
    /// at least: by age, or at once when either end has sealed `most`, of which no more than
    /// [`REKEY_PACKETS`] count.
    #[must_use]
    pub fn rekey_at(&self, opened: u32, most: u32) -> Instant {
        let is_used = self.sealed().max(opened) >= most.min(REKEY_PACKETS);
        if is_used { Instant::ZERO } else { self.born + REKEY_AGE }
    }

    /// Whether nothing may be sealed any more `[H14]`. [`Self::seal`] itself knows no time and
    /// refuses only too many packets.
    #[must_use]
    pub fn is_exhausted(&self, now: Instant) -> bool {
        self.sealed() >= MAX_PACKETS || self.ends_at() <= now
    }

    /// When it is too old for sealing `[H14]`.
    #[must_use]
    pub fn ends_at(&self) -> Instant {
        self.born + MAX_AGE
    }

    fn count(&self) -> Result<(), Exhausted> {
        // Looked at first, so that refused calls do not bring the counter round to 0; threads that
        // do both at once exceed the limit by their number, against which it has ample room.
        if self.sealed() >= MAX_PACKETS {
            return Err(Exhausted);
        }
        self.sealed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl core::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SealingKey")
            .field("receiver", &self.receiver)
            .field("born", &self.born)
            .field("sealed", &self.sealed())
            .finish_non_exhaustive()
    }
}

/// One direction of an epoch, at the end that receives. It may be shared by threads.
pub struct OpeningKey {
    key: LessSafeKey,
    iv: Iv,
}

/// A packet did not open: it was not sealed under this key with this number, or was changed on the
/// way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the packet is not authentic")]
pub struct NotAuthentic;

impl OpeningKey {
    /// The key of an epoch, from the direction's `secret`.
    #[must_use]
    pub fn new(cipher: Cipher, secret: &[u8; 32]) -> Self {
        let (key, iv) = expand(cipher, secret);
        Self { key, iv }
    }

    /// Opens `datagram`, whose full number is `number`, and returns its body. Path and clear flag
    /// are those of its header; whether it may be in clear at all is the caller's to check `[S6]`, as
    /// is whether the number is new `[S7]`.
    ///
    /// # Errors
    /// [`NotAuthentic`]: the body's bytes are then without any meaning.
    pub fn open<'a>(
        &self,
        number: PacketNumber,
        datagram: &'a mut [u8],
    ) -> Result<&'a mut [u8], NotAuthentic> {
        let header = SealedHeader::parse(datagram).map_err(|_| NotAuthentic)?;
        let body_end = datagram.len() - TAG_LEN;
        let (content, tag) = datagram.split_at_mut(body_end);
        let (additional, sealed) = content.split_at_mut(aad_len(header.is_clear, body_end));
        let nonce = self.iv.nonce(header.path, number);
        self.key
            .open_in_place_separate_tag(nonce, Aad::from(additional), tag, sealed)
            .map_err(|_| NotAuthentic)?;
        Ok(&mut content[HEADER_LEN..])
    }
}

impl core::fmt::Debug for OpeningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OpeningKey(secret)")
    }
}

/// How much of a packet, up to `body_end`, is additional data and not plaintext `[S5]`.
fn aad_len(is_clear: bool, body_end: usize) -> usize {
    if is_clear { body_end } else { HEADER_LEN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PathId;

    const SECRET: [u8; 32] = [7; 32];
    const INDEX: SessionIndex = SessionIndex(0x0102_0304);

    fn sealing(cipher: Cipher) -> SealingKey {
        SealingKey::new(cipher, &SECRET, INDEX, Instant::ZERO)
    }

    fn datagram(body: &[u8]) -> Vec<u8> {
        [&[0; HEADER_LEN], body, &[0; TAG_LEN]].concat()
    }

    fn counter() -> PacketCounter {
        PacketCounter::new(PathId::new(3).unwrap())
    }

    #[test]
    fn keys_may_be_shared_by_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<SealingKey>();
        shared::<OpeningKey>();
    }

    #[test]
    fn what_was_sealed_opens_under_the_same_secret_cipher_and_number() {
        for cipher in Cipher::ALL {
            for is_clear in [false, true] {
                let mut packet = datagram(b"\x01 body");
                let mut numbers = counter();
                numbers.draw().unwrap();
                sealing(cipher).seal(numbers.draw().unwrap(), is_clear, &mut packet).unwrap();
                assert_eq!(packet[HEADER_LEN..].starts_with(b"\x01 body"), is_clear);

                let open = |cipher, secret, number| {
                    let mut copy = packet.clone();
                    let key = OpeningKey::new(cipher, secret);
                    key.open(PacketNumber(number), &mut copy).map(|body| body.to_vec())
                };
                assert_eq!(open(cipher, &SECRET, 1).as_deref(), Ok(&b"\x01 body"[..]));
                assert_eq!(open(cipher, &SECRET, 0), Err(NotAuthentic));
                assert_eq!(open(cipher, &SECRET, 1 + (1 << 32)), Err(NotAuthentic));
                assert_eq!(open(cipher, &[8; 32], 1), Err(NotAuthentic));
                for other in Cipher::ALL.into_iter().filter(|other| *other != cipher) {
                    assert_eq!(open(other, &SECRET, 1), Err(NotAuthentic));
                }
            }
        }
    }

    #[test]
    fn a_packet_that_does_not_open_gives_no_plaintext_away() {
        for cipher in Cipher::ALL {
            let body = [b'x'; 64];
            let mut packet = datagram(&body);
            sealing(cipher).seal(counter().draw().unwrap(), false, &mut packet).unwrap();
            *packet.last_mut().unwrap() ^= 1;
            let opened = OpeningKey::new(cipher, &SECRET).open(PacketNumber(0), &mut packet);
            assert_eq!(opened, Err(NotAuthentic));
            assert!(!packet.windows(8).any(|bytes| bytes == &body[..8]));
        }
    }

    #[test]
    fn bytes_too_short_for_a_packet_do_not_open() {
        let key = OpeningKey::new(Cipher::Aes256Gcm, &SECRET);
        for len in 0..26 {
            assert_eq!(key.open(PacketNumber(0), &mut vec![0x80; len]), Err(NotAuthentic));
        }
    }

    #[test]
    fn an_epoch_wears_out_by_packets() {
        let key = sealing(Cipher::Aes256Gcm);
        let mut numbers = counter();
        let mut packet = datagram(&[2]);
        key.sealed.store(REKEY_PACKETS - 1, Ordering::Relaxed);
        assert_eq!(key.rekey_at(0, u32::MAX), Instant::ZERO + REKEY_AGE);
        assert_eq!(key.rekey_at(REKEY_PACKETS, u32::MAX), Instant::ZERO);
        key.seal(numbers.draw().unwrap(), false, &mut packet).unwrap();
        assert_eq!(key.rekey_at(0, u32::MAX), Instant::ZERO);
        assert_eq!(key.rekey_at(0, REKEY_PACKETS), Instant::ZERO);
        assert!(!key.is_exhausted(Instant::ZERO));

        key.sealed.store(MAX_PACKETS - 1, Ordering::Relaxed);
        key.seal(numbers.draw().unwrap(), false, &mut packet).unwrap();
        assert!(key.is_exhausted(Instant::ZERO));
        let before = packet.clone();
        assert_eq!(key.seal(numbers.draw().unwrap(), false, &mut packet), Err(Exhausted));
        assert_eq!(packet, before);
        assert_eq!(key.sealed(), MAX_PACKETS);
    }

    #[test]
    fn an_epoch_wears_out_by_age() {
        let key = SealingKey::new(Cipher::Aes256Gcm, &SECRET, INDEX, Instant::from_secs(1_000));
        assert_eq!(key.rekey_at(0, 1), Instant::from_secs(1_120));
        assert_eq!(key.rekey_at(1, 1), Instant::ZERO);
        assert!(!key.is_exhausted(Instant::from_millis(1_179_999)));
        assert!(key.is_exhausted(Instant::from_secs(1_180)));
    }

    #[test]
    fn no_secret_shows_in_debug_output() {
        let opening = OpeningKey::new(Cipher::Aes256Gcm, &SECRET);
        assert_eq!(format!("{opening:?}"), "OpeningKey(secret)");
        assert_eq!(
            format!("{:?}", sealing(Cipher::Aes256Gcm)),
            "SealingKey { receiver: SessionIndex(16909060), born: 0.000000s, sealed: 0, .. }"
        );
    }
}
