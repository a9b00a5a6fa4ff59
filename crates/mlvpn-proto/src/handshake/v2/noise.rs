//! The two Noise patterns, with primitives of our own choice and randomness from the caller.

use core::fmt;

use rand_core::CryptoRng;
use zeroize::{Zeroize as _, Zeroizing};

use super::primitives::Primitives;
use super::{Credentials, HandshakeError, Secret};
use crate::crypto::keypair::{PresharedKey, PublicKey};

/// Bytes of a public key.
pub(super) const KEY_LEN: usize = 32;
/// Bytes that sealing adds.
pub(super) const TAG_LEN: usize = 16;

/// Both ends have a password. The pre-shared key comes first.
const WITH_PASSWORD: (&str, u8) = ("Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s", 0);
/// Both ends have key pairs. The pre-shared key ends the second message, where the responder
/// knows by whom the first was.
const WITH_KEYS: (&str, u8) = ("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s", 2);

/// What begins every prologue `[H1]`.
const LABEL: &[u8; 9] = b"mlvpn v2\0";

/// A handshake of the library; see the module of the handshake for what it does not erase.
pub(super) struct Noise(snow::HandshakeState);

/// Which end of the handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Initiator,
    Responder,
}

impl Noise {
    /// `header` is the beginning of the initiation, which the prologue holds `[H1]`. The private key
    /// of this handshake is 32 bytes from `rng`.
    pub(super) fn new(
        side: Side,
        credentials: &Credentials,
        header: &[u8; 8],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, HandshakeError> {
        let mut ephemeral = Zeroizing::new([0; KEY_LEN]);
        rng.fill_bytes(ephemeral.as_mut_slice());
        let mut prologue = [0; 17];
        prologue[..9].copy_from_slice(LABEL);
        prologue[9..].copy_from_slice(header);
        let (pattern, psk_at) = match credentials {
            Credentials::Password(_) => WITH_PASSWORD,
            Credentials::Keys { .. } => WITH_KEYS,
        };
        let params = pattern.parse().expect("the library knows the pattern");
        let primitives = Box::new(Primitives::new(ephemeral));
        let mut builder = snow::Builder::with_resolver(params, primitives).prologue(&prologue);
        if let Credentials::Password(key) = credentials {
            builder = builder.and_then(|builder| builder.psk(psk_at, key.as_bytes()));
        }
        if let Credentials::Keys { private, .. } = credentials {
            builder = builder.and_then(|builder| builder.local_private_key(private.as_bytes()));
        }
        let peer = if side == Side::Initiator { credentials.responder()? } else { None };
        if let Some(peer) = peer {
            builder = builder
                .and_then(|builder| builder.remote_public_key(peer.public.as_bytes()))
                .and_then(|builder| builder.psk(psk_at, preshared(peer.preshared.as_ref())));
        }
        let state = builder.and_then(|builder| match side {
            Side::Initiator => builder.build_initiator(),
            Side::Responder => builder.build_responder(),
        });
        Ok(Self(state.expect("each pattern gets the keys that it needs, once each")))
    }

    /// Writes the next message; returns its length.
    ///
    /// # Panics
    /// When it is not this end's turn, or `out` is too short.
    pub(super) fn write(
        &mut self,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, HandshakeError> {
        self.0.write_message(payload, out).map_err(|error| match error {
            snow::Error::Dh => HandshakeError::SmallOrder,
            error => panic!("a message of ours fits and comes in turn: {error}"),
        })
    }

    /// Reads the peer's message; returns its payload. After an error another may be read.
    pub(super) fn read(&mut self, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, HandshakeError> {
        let mut payload = Zeroizing::new(vec![0; message.len()]);
        let len = self.0.read_message(message, &mut payload).map_err(|error| match error {
            snow::Error::Dh => HandshakeError::SmallOrder,
            snow::Error::State(_) => HandshakeError::NotOurs,
            _ => HandshakeError::NotAuthentic,
        })?;
        payload.truncate(len);
        Ok(payload)
    }

    /// Whose message it was that the responder read; none with a password.
    pub(super) fn peer(&self) -> Option<PublicKey> {
        let bytes = self.0.get_remote_static()?;
        Some(PublicKey::from_bytes(bytes.try_into().expect("a key has 32 bytes")))
    }

    /// Sets the pre-shared key once the responder knows the peer.
    pub(super) fn set_preshared(&mut self, key: Option<&PresharedKey>) {
        let set = self.0.set_psk(usize::from(WITH_KEYS.1), preshared(key));
        set.expect("a pre-shared key has 32 bytes");
    }

    /// The secrets of both directions after the last message: the initiator's, the responder's.
    pub(super) fn split(&mut self) -> (Secret, Secret) {
        let (mut first, mut second) = self.0.dangerously_get_raw_split();
        let secrets = (Secret(first), Secret(second));
        first.zeroize();
        second.zeroize();
        secrets
    }
}

impl fmt::Debug for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Noise")
    }
}

fn preshared(key: Option<&PresharedKey>) -> &[u8; 32] {
    key.map_or(&[0; 32], PresharedKey::as_bytes)
}
