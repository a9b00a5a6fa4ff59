//! From the secret of one direction to its key and its nonces (section 5.4, `[S4]`).

use aws_lc_rs::aead::{LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Cipher;
use crate::id::{PacketNumber, PathId};

const KEY_LEN: usize = 32;

/// What the nonces of one direction are made from.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Iv([u8; NONCE_LEN]);

impl Iv {
    /// The IV, exclusive-or the path (4 bytes) and the full packet number (8 bytes).
    pub(super) fn nonce(&self, path: PathId, number: PacketNumber) -> Nonce {
        let mut nonce = self.0;
        nonce[3] ^= path.number();
        for (byte, part) in nonce[4..].iter_mut().zip(number.0.to_be_bytes()) {
            *byte ^= part;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Key and IV of a direction: HKDF-Expand (RFC 5869) of its uniformly random secret. The IV is erased when it is dropped, and
/// so is the key with what is computed from it: AWS-LC keeps both in memory of its own, and erases what it frees (`OPENSSL_free`).
pub(super) fn expand(cipher: Cipher, secret: &[u8; 32]) -> (LessSafeKey, Iv) {
    let secret = Prk::new_less_safe(HKDF_SHA256, secret);
    let mut key = Zeroizing::new([0; KEY_LEN]);
    let mut iv = Iv([0; NONCE_LEN]);
    fill(&secret, b"mlvpn v2 key", key.as_mut_slice());
    fill(&secret, b"mlvpn v2 iv", &mut iv.0);
    let key = UnboundKey::new(cipher.algorithm(), key.as_slice())
        .expect("the keys of both ciphers have 32 bytes");
    (LessSafeKey::new(key), iv)
}

fn fill(secret: &Prk, label: &[u8], out: &mut [u8]) {
    let filled = secret.expand(&[label], Len(out.len())).and_then(|okm| okm.fill(out));
    filled.expect("HKDF-SHA-256 gives up to 8,160 bytes");
}

struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}
