//! The two Noise patterns (revision 34 of the Noise specification, sections 5.3, 7.5 and 9) with
//! X25519, ChaChaPoly and BLAKE2s. Our own, so that no memory that is given back holds a secret `[H15]`.

mod symmetric;

use core::fmt;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use self::symmetric::Symmetric;
use super::{Credentials, HandshakeError, Secret};
use crate::crypto::keypair::{PresharedKey, PrivateKey, PublicKey};

/// Bytes of a public key.
pub(super) const KEY_LEN: usize = 32;
/// Bytes that sealing adds.
pub(super) const TAG_LEN: usize = 16;

/// What begins every prologue `[H1]`.
const LABEL: &[u8; 9] = b"mlvpn v2\0";

/// Which messages there are, and what is in them before their payload.
struct Pattern {
    name: &'static [u8],
    messages: [&'static [Token]; 2],
}

/// Both ends have a password.
const WITH_PASSWORD: Pattern = Pattern {
    name: b"Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s",
    messages: [&[Token::Preshared, Token::Ephemeral], &[Token::Ephemeral, Token::EE]],
};

/// Both ends have key pairs, and the initiator knows the responder's public key beforehand. The
/// pre-shared key ends the second message, where the responder knows by whom the first was.
const WITH_KEYS: Pattern = Pattern {
    name: b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
    messages: [
        &[Token::Ephemeral, Token::ES, Token::Static, Token::SS],
        &[Token::Ephemeral, Token::EE, Token::SE, Token::Preshared],
    ],
};

/// What a message does before its payload (section 7.1).
#[derive(Clone, Copy)]
enum Token {
    /// The sender's ephemeral public key, in clear.
    Ephemeral,
    /// The sender's static public key, sealed.
    Static,
    /// The pre-shared key is mixed in.
    Preshared,
    /// What X25519 makes of a key of the initiator and one of the responder is mixed in.
    Agreement(Kind, Kind),
}

impl Token {
    const EE: Self = Self::Agreement(Kind::Ephemeral, Kind::Ephemeral);
    const ES: Self = Self::Agreement(Kind::Ephemeral, Kind::Static);
    const SE: Self = Self::Agreement(Kind::Static, Kind::Ephemeral);
    const SS: Self = Self::Agreement(Kind::Static, Kind::Static);
}

#[derive(Clone, Copy)]
enum Kind {
    Ephemeral,
    Static,
}

/// Which end of the handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Initiator,
    Responder,
}

/// One end of a handshake; erased when dropped.
pub(super) struct Noise {
    side: Side,
    // Boxed, so that they are not copied, without being erased, wherever the handshake is moved.
    secrets: Box<Secrets>,
    state: Box<State>,
}

/// What this end alone knows from the beginning.
struct Secrets {
    ephemeral: PrivateKey,
    /// None with a password.
    long_term: Option<Box<PrivateKey>>,
    preshared: PresharedKey,
}

/// What changes with each message.
#[derive(Clone)]
struct State {
    /// The messages that are left.
    messages: &'static [&'static [Token]],
    symmetric: Symmetric,
    // Zeros until they are known, with which no agreement is possible. Not options: where those hold
    // nothing, they keep whatever was on the stack when they were made.
    peer_ephemeral: PublicKey,
    peer_static: PublicKey,
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
        let peer = if side == Side::Initiator { credentials.responder()? } else { None };
        let (pattern, preshared, long_term) = match credentials {
            Credentials::Password(key) => {
                let mut bytes = *key.as_bytes();
                (&WITH_PASSWORD, PresharedKey::take(&mut bytes), None)
            }
            Credentials::Keys { private, .. } => {
                let preshared = peer.and_then(|peer| peer.preshared.clone());
                (
                    &WITH_KEYS,
                    preshared.unwrap_or_else(no_preshared),
                    Some(Box::new(private.clone())),
                )
            }
        };
        let mut symmetric = Symmetric::new(pattern.name);
        symmetric.mix_hash(&[LABEL.as_slice(), header].concat());
        let responder = match peer {
            Some(peer) => Some(peer.public),
            None => long_term.as_deref().map(PrivateKey::public_key),
        };
        if let Some(responder) = responder {
            symmetric.mix_hash(responder.as_bytes());
        }
        let mut ephemeral = Zeroizing::new([0; KEY_LEN]);
        rng.fill_bytes(ephemeral.as_mut_slice());
        let ephemeral = PrivateKey::take(&mut ephemeral);
        let secrets = Box::new(Secrets { ephemeral, long_term, preshared });
        let messages = &pattern.messages;
        let unknown = PublicKey::from_bytes([0; KEY_LEN]);
        let peer_static = peer.map_or(unknown, |peer| peer.public);
        let state = Box::new(State { messages, symmetric, peer_ephemeral: unknown, peer_static });
        Ok(Self { side, secrets, state })
    }

    /// Appends the next message to `out`.
    ///
    /// # Errors
    /// [`HandshakeError::SmallOrder`]; the handshake is then of no further use.
    ///
    /// # Panics
    /// When both messages are over.
    pub(super) fn write(
        &mut self,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), HandshakeError> {
        let tokens = self.state.next_message().expect("an end writes one message, in its turn");
        for token in tokens {
            match token {
                Token::Ephemeral => {
                    let public = self.secrets.ephemeral.public_key();
                    out.extend_from_slice(public.as_bytes());
                    self.state.mix_ephemeral(&public);
                }
                Token::Static => {
                    let public = self.secrets.of(Kind::Static).public_key();
                    self.state.symmetric.seal(public.as_bytes(), out);
                }
                Token::Preshared => {
                    self.state.symmetric.mix_key_and_hash(self.secrets.preshared.as_bytes());
                }
                Token::Agreement(initiator, responder) => {
                    self.state.agree(self.side, &self.secrets, *initiator, *responder)?;
                }
            }
        }
        self.state.symmetric.seal(payload, out);
        Ok(())
    }

    /// Reads the peer's message; returns what `accept` makes of its payload.
    ///
    /// # Errors
    /// [`HandshakeError::NotAuthentic`], [`HandshakeError::SmallOrder`],
    /// [`HandshakeError::NotOurs`] when both messages are over, and those of `accept`. After any of them
    /// another message may be read.
    pub(super) fn read<T>(
        &mut self,
        message: &[u8],
        accept: impl FnOnce(&[u8]) -> Result<T, HandshakeError>,
    ) -> Result<T, HandshakeError> {
        let mut state = self.state.clone();
        let tokens = state.next_message().ok_or(HandshakeError::NotOurs)?;
        let mut rest = message;
        for token in tokens {
            match token {
                Token::Ephemeral => {
                    let public = PublicKey::from_bytes(*take::<KEY_LEN>(&mut rest)?);
                    state.mix_ephemeral(&public);
                    state.peer_ephemeral = public;
                }
                Token::Static => {
                    let sealed = take::<{ KEY_LEN + TAG_LEN }>(&mut rest)?;
                    let public = state.symmetric.open(sealed)?;
                    let public = public.first_chunk().expect("what is sealed has 32 bytes");
                    state.peer_static = PublicKey::from_bytes(*public);
                }
                Token::Preshared => {
                    state.symmetric.mix_key_and_hash(self.secrets.preshared.as_bytes());
                }
                Token::Agreement(initiator, responder) => {
                    state.agree(self.side, &self.secrets, *initiator, *responder)?;
                }
            }
        }
        let accepted = accept(&state.symmetric.open(rest)?)?;
        self.state = state;
        Ok(accepted)
    }

    /// Whose message it was that the responder read; none with a password.
    pub(super) fn peer(&self) -> Option<PublicKey> {
        self.secrets.long_term.as_ref().map(|_| self.state.peer_static)
    }

    /// Sets the pre-shared key once the responder knows the peer `[H3]`.
    pub(super) fn set_preshared(&mut self, key: Option<&PresharedKey>) {
        self.secrets.preshared = key.cloned().unwrap_or_else(no_preshared);
    }

    /// The secrets of both directions after the last message: the initiator's, the responder's.
    ///
    /// # Panics
    /// When a message is still to come.
    pub(super) fn split(&self) -> (Secret, Secret) {
        assert!(self.state.messages.is_empty(), "the secrets are known after both messages");
        self.state.symmetric.split()
    }
}

impl Secrets {
    fn of(&self, kind: Kind) -> &PrivateKey {
        match kind {
            Kind::Ephemeral => &self.ephemeral,
            Kind::Static => self.long_term.as_deref().expect("the pattern has static keys"),
        }
    }
}

impl State {
    fn next_message(&mut self) -> Option<&'static [Token]> {
        let (next, left) = self.messages.split_first()?;
        self.messages = left;
        Some(next)
    }

    /// In patterns with a pre-shared key the ephemeral keys are mixed into the key, too
    /// (section 9.2).
    fn mix_ephemeral(&mut self, public: &PublicKey) {
        self.symmetric.mix_hash(public.as_bytes());
        self.symmetric.mix_key(public.as_bytes());
    }

    fn agree(
        &mut self,
        side: Side,
        secrets: &Secrets,
        initiators: Kind,
        responders: Kind,
    ) -> Result<(), HandshakeError> {
        let (our_kind, peers_kind) = match side {
            Side::Initiator => (initiators, responders),
            Side::Responder => (responders, initiators),
        };
        let peer = match peers_kind {
            Kind::Ephemeral => self.peer_ephemeral,
            Kind::Static => self.peer_static,
        };
        let shared = secrets.of(our_kind).agree(&peer).ok_or(HandshakeError::SmallOrder)?;
        self.symmetric.mix_key(shared.as_slice());
        Ok(())
    }
}

impl fmt::Debug for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Noise")
    }
}

fn no_preshared() -> PresharedKey {
    PresharedKey::take(&mut [0; KEY_LEN])
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], HandshakeError> {
    let (taken, left) = rest.split_first_chunk().ok_or(HandshakeError::NotAuthentic)?;
    *rest = left;
    Ok(taken)
}
