//! Initiations of version 2 that are worth nothing (docs/protocol-v2.md section 5.2).

use blake2::digest::consts::U16;
use blake2::digest::{KeyInit as _, Mac as _};
use blake2::{Blake2s256, Blake2sMac, Digest as _};
use mlvpn_proto::crypto::keypair::PublicKey;
use mlvpn_proto::crypto::password::PasswordKey;
use mlvpn_proto::handshake::v2::INITIATION_LEN;
use mlvpn_sim::rng::Seed;

/// Bytes of mac1, and of mac2.
const MAC_LEN: usize = 16;

/// Somebody who sends what looks like initiations.
#[derive(Debug, Clone)]
pub struct Forger {
    /// First bytes: an initiation, the kind of credentials, path 0.
    header: [u8; 4],
    /// What mac1 is keyed with, if it shall be right.
    mac1: Option<[u8; 32]>,
}

impl Forger {
    /// Somebody who knows the password, and puts a right mac1 behind random bytes. The receiver has to
    /// find out by other means that the message is worth nothing. Takes as long as
    /// [`PasswordKey::derive`].
    #[must_use]
    pub fn insider(password: &str) -> Self {
        Self::with_password(&PasswordKey::derive(password.as_bytes()))
    }

    /// The same where the receiver has a key pair: everybody who knows its public key can do it.
    #[must_use]
    pub fn with_public_key(receiver: &PublicKey) -> Self {
        Self { header: [0xC1, 1, 0, 0], mac1: Some(mac1_key(receiver.as_bytes())) }
    }

    /// Somebody who knows the format only: everything behind the first bytes is random, mac1 too.
    #[must_use]
    pub fn stranger(&self) -> Self {
        Self { mac1: None, ..*self }
    }

    fn with_password(key: &PasswordKey) -> Self {
        Self { header: [0xC1, 0, 0, 0], mac1: Some(mac1_key(key.as_bytes())) }
    }

    /// `count` different initiations of [`INITIATION_LEN`] bytes, decided by `seed`.
    #[must_use]
    pub fn forge(&self, count: usize, seed: u64) -> Vec<Vec<u8>> {
        let mut random = Seed(seed).stream("forger");
        let header = self.header;
        let forge_one = |_| {
            let mut bytes = vec![0; INITIATION_LEN];
            random.fill(&mut bytes[header.len()..]);
            bytes[..header.len()].copy_from_slice(&header);
            if let Some(key) = &self.mac1 {
                let (message, macs) = bytes.split_at_mut(INITIATION_LEN - 2 * MAC_LEN);
                macs[..MAC_LEN].copy_from_slice(&mac(key, message));
            }
            bytes
        };
        (0..count).map(forge_one).collect()
    }
}

/// `[H17]`, written down once more: what is measured shall not depend on what is measured. `of` is what
/// belongs to the receiver, the key of the password or a public key.
fn mac1_key(of: &[u8; 32]) -> [u8; 32] {
    Blake2s256::new().chain_update(b"mlvpn v2 mac1").chain_update(of).finalize().into()
}

fn mac(key: &[u8; 32], message: &[u8]) -> [u8; MAC_LEN] {
    let state = Blake2sMac::<U16>::new_from_slice(key).expect("a key may have 32 bytes");
    state.chain_update(message).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use mlvpn_proto::crypto::keypair::PrivateKey;
    use mlvpn_proto::handshake::v2::{Credentials, HandshakeError, Initiation};

    use super::*;

    #[track_caller]
    fn assert_only_a_right_mac1_passes(forger: &Forger, credentials: &Credentials) {
        let recipient = credentials.recipient();
        for junk in forger.forge(3, 1) {
            assert!(Initiation::parse_for(&junk, &recipient).is_ok());
        }
        for junk in forger.stranger().forge(3, 1) {
            let refused = Initiation::parse_for(&junk, &recipient);
            assert!(matches!(refused, Err(HandshakeError::WrongMac)), "{refused:?}");
        }
    }

    #[test]
    fn only_the_insiders_initiations_have_a_right_mac1() {
        let key = || PasswordKey::take(&mut [7; 32]);
        let forger = Forger::with_password(&key());
        assert_only_a_right_mac1_passes(&forger, &Credentials::Password(key()));
    }

    #[test]
    fn a_public_key_is_enough_for_a_right_mac1() {
        let private = PrivateKey::take(&mut [7; 32]);
        let forger = Forger::with_public_key(&private.public_key());
        assert_only_a_right_mac1_passes(&forger, &Credentials::Keys { private, peers: Vec::new() });
    }

    #[test]
    fn no_two_are_the_same() {
        let mut forged =
            Forger::with_public_key(&PublicKey::from_bytes([7; 32])).stranger().forge(50, 1);
        forged.sort();
        forged.dedup();
        assert_eq!(forged.len(), 50);
    }
}
