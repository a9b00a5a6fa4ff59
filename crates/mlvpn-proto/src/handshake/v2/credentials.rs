//! By what two ends know each other.

use core::fmt;

use super::mac::RecipientKeys;
use super::{HandshakeError, noise};
use crate::crypto::keypair::{PresharedKey, PrivateKey, PublicKey};
use crate::crypto::password::PasswordKey;

/// By what an end knows its peers, and shows who it is.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Both ends have the same password.
    Password(PasswordKey),
    /// Each end has a key pair and knows the public keys of its peers.
    Keys {
        /// Who we are.
        private: PrivateKey,
        /// Whom we speak with. An initiator speaks with the first.
        peers: Vec<PeerKeys>,
    },
}

/// A peer with a key pair.
#[derive(Clone, Debug)]
pub struct PeerKeys {
    /// What the operator calls it.
    pub name: String,
    /// Who it is.
    pub public: PublicKey,
    /// A secret beside the key pairs `[H3]`.
    pub preshared: Option<PresharedKey>,
}

/// An end to whom initiations come: what they are checked with. It is worked out once, since a flood has
/// it used for every datagram.
pub struct Recipient {
    pub(super) code: u8,
    pub(super) keys: RecipientKeys,
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipient").field("code", &self.code).finish_non_exhaustive()
    }
}

impl Credentials {
    /// The holder of these, as the one to whom initiations come.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient { code: self.code(), keys: self.our_keys() }
    }

    /// The peer that has this public key.
    #[must_use]
    pub fn peer(&self, public: &PublicKey) -> Option<&PeerKeys> {
        match self {
            Self::Password(_) => None,
            Self::Keys { peers, .. } => peers.iter().find(|peer| peer.public == *public),
        }
    }

    /// Whether whoever is a peer by these credentials is one by `other` as well.
    #[must_use]
    pub fn name_same_peers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Password(key), Self::Password(others)) => key.is_same(others),
            (Self::Keys { peers, .. }, Self::Keys { .. }) => {
                peers.iter().all(|peer| other.peer(&peer.public).is_some())
            }
            _ => false,
        }
    }

    /// The byte of a message's header that names the kind of credentials.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Password(_) => 0,
            Self::Keys { .. } => 1,
        }
    }

    /// Bytes that Noise adds to the payload of the initiation.
    pub(super) fn initiation_overhead(&self) -> usize {
        let static_key = noise::KEY_LEN + noise::TAG_LEN;
        let is_sent = matches!(self, Self::Keys { .. });
        noise::KEY_LEN + if is_sent { static_key } else { 0 } + noise::TAG_LEN
    }

    /// What the macs of messages to us are keyed with.
    pub(super) fn our_keys(&self) -> RecipientKeys {
        match self {
            Self::Password(key) => RecipientKeys::new(key.as_bytes()),
            Self::Keys { private, .. } => RecipientKeys::new(private.public_key().as_bytes()),
        }
    }

    /// What the macs of messages to a peer are keyed with; `peer` is none with a password.
    pub(super) fn keys_of(&self, peer: Option<&PublicKey>) -> RecipientKeys {
        peer.map_or_else(|| self.our_keys(), |peer| RecipientKeys::new(peer.as_bytes()))
    }

    /// Whom an initiator speaks with: none with a password.
    pub(super) fn responder(&self) -> Result<Option<&PeerKeys>, HandshakeError> {
        match self {
            Self::Password(_) => Ok(None),
            Self::Keys { peers, .. } => peers.first().map(Some).ok_or(HandshakeError::NoPeer),
        }
    }
}
