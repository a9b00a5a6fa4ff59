//! What the Noise library computes with: X25519, BLAKE2s, ChaCha20-Poly1305.

use blake2::digest::consts::U32;
use blake2::{Blake2s, Digest as _};
use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Tag};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::{Zeroize as _, Zeroizing};

use super::noise::{KEY_LEN, TAG_LEN};
use crate::crypto::keypair::{PrivateKey, PublicKey};

/// What the library computes with. The versions are those that the rest of the program uses, and
/// they erase their keys, which the library's own do not.
pub(super) struct Primitives {
    ephemeral: Zeroizing<[u8; KEY_LEN]>,
}

impl Primitives {
    /// `ephemeral` is the private key of the handshake.
    pub(super) fn new(ephemeral: Zeroizing<[u8; KEY_LEN]>) -> Self {
        Self { ephemeral }
    }
}

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Ephemeral(Some(self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::<X25519>::default() as _)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        matches!(choice, HashChoice::Blake2s).then(|| Box::<Blake2sHash>::default() as _)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        matches!(choice, CipherChoice::ChaChaPoly).then(|| Box::<ChaChaPoly>::default() as _)
    }
}

/// The randomness of a handshake: its ephemeral private key, once.
struct Ephemeral(Option<Zeroizing<[u8; KEY_LEN]>>);

impl Random for Ephemeral {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        let key = self.0.take().filter(|key| key.len() == dest.len());
        dest.copy_from_slice(key.ok_or(snow::Error::Rng)?.as_slice());
        Ok(())
    }
}

/// X25519 that fails when the result is all zero `[H4]`.
#[derive(Default)]
struct X25519(Option<PrivateKey>);

impl X25519 {
    fn key(&self) -> &PrivateKey {
        self.0.as_ref().expect("the library sets a key before it uses it")
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        KEY_LEN
    }

    fn priv_len(&self) -> usize {
        KEY_LEN
    }

    fn set(&mut self, privkey: &[u8]) {
        let mut bytes = privkey.try_into().expect("a private key has 32 bytes");
        self.0 = Some(PrivateKey::take(&mut bytes));
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        let mut bytes = [0; KEY_LEN];
        rng.try_fill_bytes(&mut bytes)?;
        self.0 = Some(PrivateKey::take(&mut bytes));
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |key| key.public_key_ref().as_bytes())
    }

    fn privkey(&self) -> &[u8] {
        self.key().as_bytes()
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let peer = pubkey.first_chunk().ok_or(snow::Error::Dh)?;
        let shared = self.key().agree(&PublicKey::from_bytes(*peer)).ok_or(snow::Error::Dh)?;
        out[..KEY_LEN].copy_from_slice(shared.as_slice());
        Ok(())
    }
}

/// RFC 7693, 32 bytes of output.
#[derive(Default)]
struct Blake2sHash(Blake2s<U32>);

impl Hash for Blake2sHash {
    fn name(&self) -> &'static str {
        "BLAKE2s"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = Blake2s::new();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let mut digest = core::mem::take(&mut self.0).finalize();
        out[..32].copy_from_slice(&digest);
        digest.as_mut_slice().zeroize();
    }
}

/// RFC 8439 with the nonce of Noise (section 12.3): four zeros, then the counter, little-endian.
#[derive(Default)]
struct ChaChaPoly(Zeroizing<[u8; 32]>);

impl ChaChaPoly {
    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new((&*self.0).into())
    }

    fn nonce(counter: u64) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&counter.to_le_bytes());
        nonce
    }
}

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0.copy_from_slice(key);
    }

    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let (body, rest) = out.split_at_mut(plaintext.len());
        body.copy_from_slice(plaintext);
        let tag = self
            .cipher()
            .encrypt_inout_detached(&Self::nonce(nonce).into(), authtext, body.into())
            .expect("a handshake message is shorter than the limit of ChaCha20");
        rest[..TAG_LEN].copy_from_slice(&tag);
        plaintext.len() + TAG_LEN
    }

    fn decrypt(
        &self,
        nonce: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, snow::Error> {
        let (body, tag) = ciphertext.split_last_chunk::<TAG_LEN>().ok_or(snow::Error::Decrypt)?;
        let out = out.get_mut(..body.len()).ok_or(snow::Error::Decrypt)?;
        out.copy_from_slice(body);
        self.cipher()
            .decrypt_inout_detached(
                &Self::nonce(nonce).into(),
                authtext,
                (&mut *out).into(),
                &Tag::from(*tag),
            )
            .map_err(|_| snow::Error::Decrypt)?;
        Ok(body.len())
    }
}
