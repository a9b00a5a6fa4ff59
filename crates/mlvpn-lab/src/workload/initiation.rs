//! Initiations of version 2 that are worth nothing (docs/protocol-v2.md section 5.2).

use blake2::digest::consts::U16;
use blake2::digest::{KeyInit as _, Mac as _};
use blake2::{Blake2s256, Blake2sMac, Digest as _};
use mlvpn_proto::crypto::password::PasswordKey;
use mlvpn_proto::handshake::v2::INITIATION_LEN;
use mlvpn_sim::rng::Seed;

/// First bytes: an initiation, with a password, for path 0.
const HEADER: [u8; 4] = [0xC1, 0, 0, 0];
/// Bytes of mac1, and of mac2.
const MAC_LEN: usize = 16;

/// Somebody who sends what looks like initiations.
#[derive(Debug, Clone)]
pub enum Forger {
    /// Knows the format only: everything behind the first bytes is random, mac1 too.
    Stranger,
    /// Knows the password as well, and puts a right mac1 behind random bytes. The receiver has to find
    /// out by other means that the message is worth nothing.
    Insider(PasswordKey),
}

impl Forger {
    /// Somebody who knows this password. Takes as long as [`PasswordKey::derive`].
    #[must_use]
    pub fn insider(password: &str) -> Self {
        Self::Insider(PasswordKey::derive(password.as_bytes()))
    }

    /// `count` different initiations of [`INITIATION_LEN`] bytes, decided by `seed`.
    #[must_use]
    pub fn forge(&self, count: usize, seed: u64) -> Vec<Vec<u8>> {
        let mut random = Seed(seed).stream("forger");
        let key = match self {
            Self::Stranger => None,
            Self::Insider(password) => Some(mac1_key(password)),
        };
        let forge_one = |_| {
            let mut bytes = vec![0; INITIATION_LEN];
            random.fill(&mut bytes[HEADER.len()..]);
            bytes[..HEADER.len()].copy_from_slice(&HEADER);
            if let Some(key) = &key {
                let (message, macs) = bytes.split_at_mut(INITIATION_LEN - 2 * MAC_LEN);
                macs[..MAC_LEN].copy_from_slice(&mac(key, message));
            }
            bytes
        };
        (0..count).map(forge_one).collect()
    }
}

/// `[H17]`, written down once more: what is measured shall not depend on what is measured.
fn mac1_key(password: &PasswordKey) -> [u8; 32] {
    let hash = Blake2s256::new().chain_update(b"mlvpn v2 mac1");
    hash.chain_update(password.as_bytes()).finalize().into()
}

fn mac(key: &[u8; 32], message: &[u8]) -> [u8; MAC_LEN] {
    let state = Blake2sMac::<U16>::new_from_slice(key).expect("a key may have 32 bytes");
    state.chain_update(message).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use mlvpn_proto::handshake::v2::{Credentials, HandshakeError, Initiation};

    use super::*;

    #[test]
    fn only_the_insiders_initiations_have_a_right_mac1() {
        let key = || PasswordKey::take(&mut [7; 32]);
        let credentials = Credentials::Password(key());
        for junk in Forger::Insider(key()).forge(3, 1) {
            assert!(Initiation::parse(&junk, &credentials).is_ok());
        }
        for junk in Forger::Stranger.forge(3, 1) {
            let refused = Initiation::parse(&junk, &credentials);
            assert!(matches!(refused, Err(HandshakeError::WrongMac)), "{refused:?}");
        }
    }

    #[test]
    fn no_two_are_the_same() {
        let mut forged = Forger::Stranger.forge(50, 1);
        forged.sort();
        forged.dedup();
        assert_eq!(forged.len(), 50);
    }
}
