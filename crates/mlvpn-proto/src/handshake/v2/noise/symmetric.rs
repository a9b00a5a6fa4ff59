//! What both ends of a Noise handshake work out from the messages so far: the SymmetricState of the
//! Noise specification (revision 34, section 5.2), with ChaChaPoly and BLAKE2s.

use blake2::digest::consts::U32;
use blake2::{Blake2s, Digest as _};
use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use zeroize::{Zeroize as _, Zeroizing};

use super::TAG_LEN;
use crate::handshake::v2::{HandshakeError, Secret};

/// Bytes of a hash, and of everything that is made from one.
const HASH_LEN: usize = 32;
/// Bytes that BLAKE2s takes at a time, to which HMAC fills a key up.
const BLOCK_LEN: usize = 64;

type Hash = [u8; HASH_LEN];
/// What HKDF gives; erased when dropped.
type Outputs<const N: usize> = Zeroizing<[Hash; N]>;

/// The state; erased when dropped.
#[derive(Clone)]
pub(super) struct Symmetric {
    chaining_key: Zeroizing<Hash>,
    hash: Zeroizing<Hash>,
    /// The key of the next message, once. In both patterns each part that is sealed comes after a
    /// key of its own is mixed in, wherefore the nonce (section 5.1) is always 0.
    key: Zeroizing<Hash>,
    has_key: bool,
}

impl Symmetric {
    /// The beginning: InitializeSymmetric.
    pub(super) fn new(protocol_name: &[u8]) -> Self {
        let mut hash = Zeroizing::new([0; HASH_LEN]);
        match hash.get_mut(..protocol_name.len()) {
            Some(room) => room.copy_from_slice(protocol_name),
            None => digest(&[protocol_name], &mut hash),
        }
        let key = Zeroizing::new([0; HASH_LEN]);
        Self { chaining_key: hash.clone(), hash, key, has_key: false }
    }

    pub(super) fn mix_hash(&mut self, data: &[u8]) {
        let former = self.hash.clone();
        digest(&[former.as_slice(), data], &mut self.hash);
    }

    pub(super) fn mix_key(&mut self, material: &[u8]) {
        let mut outputs = Outputs::<2>::default();
        hkdf(&self.chaining_key, material, &mut *outputs);
        self.chaining_key.copy_from_slice(&outputs[0]);
        self.set_key(&outputs[1]);
    }

    pub(super) fn mix_key_and_hash(&mut self, material: &[u8]) {
        let mut outputs = Outputs::<3>::default();
        hkdf(&self.chaining_key, material, &mut *outputs);
        self.chaining_key.copy_from_slice(&outputs[0]);
        self.mix_hash(&outputs[1]);
        self.set_key(&outputs[2]);
    }

    /// EncryptAndHash: appends `plaintext`, sealed, to `out`.
    ///
    /// # Panics
    /// When no key was mixed in since the last.
    pub(super) fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        let cipher = self.use_key();
        let at = out.len();
        out.extend_from_slice(plaintext);
        let tag = cipher
            .encrypt_inout_detached(
                &Nonce::default(),
                self.hash.as_slice(),
                (&mut out[at..]).into(),
            )
            .expect("a handshake message is shorter than the limit of ChaCha20");
        out.extend_from_slice(&tag);
        self.mix_hash(&out[at..]);
    }

    /// DecryptAndHash.
    ///
    /// # Errors
    /// [`HandshakeError::NotAuthentic`].
    ///
    /// # Panics
    /// When no key was mixed in since the last.
    pub(super) fn open(&mut self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, HandshakeError> {
        let cipher = self.use_key();
        let (body, tag) =
            sealed.split_last_chunk::<TAG_LEN>().ok_or(HandshakeError::NotAuthentic)?;
        let mut plaintext = Zeroizing::new(body.to_vec());
        cipher
            .decrypt_inout_detached(
                &Nonce::default(),
                self.hash.as_slice(),
                plaintext.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| HandshakeError::NotAuthentic)?;
        self.mix_hash(sealed);
        Ok(plaintext)
    }

    /// Split: the secret that the initiator sends under, and the responder's.
    pub(super) fn split(&self) -> (Secret, Secret) {
        let mut outputs = Outputs::<2>::default();
        hkdf(&self.chaining_key, &[], &mut *outputs);
        (Secret(outputs[0]), Secret(outputs[1]))
    }

    fn set_key(&mut self, key: &Hash) {
        self.key.copy_from_slice(key);
        self.has_key = true;
    }

    fn use_key(&mut self) -> ChaCha20Poly1305 {
        assert!(self.has_key, "a key is mixed in before each part that is sealed");
        let cipher = ChaCha20Poly1305::new((&*self.key).into());
        self.key.zeroize();
        self.has_key = false;
        cipher
    }
}

/// HKDF of section 4.3, which is that of RFC 5869 without info. Our own, since those of the
/// libraries leave their keys in memory.
fn hkdf(chaining_key: &Hash, material: &[u8], outputs: &mut [Hash]) {
    let mut extracted = Zeroizing::new([0; HASH_LEN]);
    hmac(chaining_key, &[material], &mut extracted);
    for at in 0..outputs.len() {
        let (former, rest) = outputs.split_at_mut(at);
        let previous = former.last().map_or(&[][..], Hash::as_slice);
        hmac(&extracted, &[previous, &[at as u8 + 1]], &mut rest[0]);
    }
}

/// HMAC (RFC 2104) with BLAKE2s.
fn hmac(key: &Hash, parts: &[&[u8]], out: &mut Hash) {
    let padded = |with: u8| {
        let mut block = Zeroizing::new([with; BLOCK_LEN]);
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let mut inner = Zeroizing::new([0; HASH_LEN]);
    let mut hasher = Blake2s::<U32>::new_with_prefix(padded(0x36).as_slice());
    parts.iter().for_each(|part| hasher.update(part));
    finish(hasher, &mut inner);
    digest(&[padded(0x5C).as_slice(), inner.as_slice()], out);
}

/// BLAKE2s (RFC 7693) with 32 bytes of output.
fn digest(parts: &[&[u8]], out: &mut Hash) {
    let mut hasher = Blake2s::<U32>::new();
    parts.iter().for_each(|part| hasher.update(part));
    finish(hasher, out);
}

fn finish(hasher: Blake2s<U32>, out: &mut Hash) {
    let mut digest = hasher.finalize();
    out.copy_from_slice(&digest);
    digest.as_mut_slice().zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn hash_of(make: impl FnOnce(&mut Hash)) -> String {
        let mut out = [0; HASH_LEN];
        make(&mut out);
        hex(&out)
    }

    #[test]
    fn the_hash_is_that_of_rfc_7693() {
        let abc = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982";
        assert_eq!(hash_of(|out| digest(&[b"ab", b"c"], out)), abc);
    }

    /// From the standard library of Python: `hmac.new(bytes(range(32)), b"mlvpn", "blake2s")`, and
    /// HKDF built on it.
    #[test]
    fn hmac_and_hkdf_are_those_of_another_implementation() {
        let key = core::array::from_fn(|at| at as u8);
        assert_eq!(
            hash_of(|out| hmac(&key, &[b"ml", b"vpn"], out)),
            "a563479301170181f3e443f7e1a7f34abb24f1e5d96fdd35fcdb5adaf323aa56"
        );
        let mut outputs = [[0; HASH_LEN]; 3];
        hkdf(&key, b"material", &mut outputs);
        assert_eq!(
            outputs.map(|output| hex(&output)),
            [
                "234cb8a965f854fb8165344bfbd44950a55a7ce787b0b2fb9201ca0fd0c8027a",
                "6db9079b2d7bf37afb089fa9d368af01eb457c5e7dac45ff36a29f77585d9d73",
                "fa763d076cae56b147dba40e932747422511ebe0aba8ae69a768c604483bc6b5"
            ]
        );
    }

    #[test]
    fn what_one_seals_the_other_opens_and_both_go_on_alike() {
        let mut ours = Symmetric::new(b"a name of at most 32 bytes");
        ours.mix_key(b"shared");
        let mut theirs = ours.clone();
        let mut sealed = b"before".to_vec();
        ours.seal(b"payload", &mut sealed);
        assert_eq!(sealed.len(), 6 + 7 + TAG_LEN);
        assert_eq!(*theirs.open(&sealed[6..]).unwrap(), b"payload");
        assert_eq!(ours.hash, theirs.hash);
    }

    #[test]
    #[should_panic(expected = "a key is mixed in before each part")]
    fn a_key_seals_once() {
        let mut state = Symmetric::new(b"name");
        state.mix_key(b"shared");
        let mut out = Vec::new();
        state.seal(b"", &mut out);
        state.seal(b"", &mut out);
    }

    #[test]
    fn what_is_too_short_or_changed_does_not_open() {
        let mut state = Symmetric::new(b"name");
        state.mix_key(b"shared");
        let mut sealed = Vec::new();
        state.clone().seal(b"payload", &mut sealed);
        for len in 0..sealed.len() {
            let result = state.clone().open(&sealed[..len]);
            assert_eq!(result.unwrap_err(), HandshakeError::NotAuthentic, "{len}");
        }
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(state.clone().open(&changed).is_err(), "bit {bit}");
        }
    }
}
