//! Why a handshake ended, and who is to blame.

use crate::crypto::keypair::PublicKey;

/// Why a message of a handshake is of no use. Holds nothing secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The bytes are not such a message: wrong length `[H6]`, type, path or reserved byte `[H26]`.
    #[error("not a handshake message of version 2")]
    Malformed,
    /// The sender does not know the key of the one it speaks to `[H18]`.
    #[error("the sender does not know whom it speaks to")]
    WrongMac,
    /// The message is for another handshake than this.
    #[error("the message belongs to another handshake")]
    NotOurs,
    /// The message does not open: other credentials, or changed on the way.
    #[error("the message does not open with our credentials")]
    NotAuthentic,
    /// A public key gives the same secret with every private key `[H4]`.
    #[error("a public key of small order")]
    SmallOrder,
    /// The header of the response is not the one that the responder sent `[H5]`.
    #[error("the header of the response was changed on the way")]
    HeaderChanged,
    /// The initiation is not later than the latest one of that peer `[H11]`.
    #[error("the clock of {0} is behind what it was, or somebody replays its messages")]
    Replayed(PublicKey),
    /// One end has a password, the other key pairs.
    #[error("one end has a password, the other a key pair")]
    OtherCredentials,
    /// The initiator is not among our peers.
    #[error("no peer with the public key {0} is configured")]
    UnknownPeer(PublicKey),
    /// We are to initiate with key pairs, and no peer is configured.
    #[error("no peer's public key is configured")]
    NoPeer,
    /// One end carries IP packets, the other Ethernet frames `[H9]`.
    #[error("one end carries IP packets, the other Ethernet frames")]
    OtherFrames,
    /// The initiator can use no cipher that we can.
    #[error("no cipher that both ends can use")]
    NoCommonCipher,
    /// The peer proved that it is one, yet says what no mlvpn may say: an entry is missing or
    /// wrong `[H7]`, or it answers what was not offered.
    #[error("the peer breaks the protocol")]
    BadPayload,
}

/// Where to look when a handshake fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    /// Damage, a stranger: to be counted, not to be logged, for an attacker controls it.
    Network,
    /// The configuration of the two ends does not match, or the peer's clock was set back.
    /// Anyone can make it seem so: [`HandshakeError::OtherCredentials`] comes before any check,
    /// [`HandshakeError::UnknownPeer`] from whoever knows our public key, [`HandshakeError::Replayed`]
    /// from whoever has recorded messages. To be logged seldom.
    Configuration,
    /// The software of the peer.
    Peer,
}

impl HandshakeError {
    /// Who is to blame.
    #[must_use]
    pub fn blame(self) -> Blame {
        match self {
            Self::Malformed
            | Self::WrongMac
            | Self::NotOurs
            | Self::NotAuthentic
            | Self::SmallOrder
            | Self::HeaderChanged => Blame::Network,
            Self::Replayed(_)
            | Self::OtherCredentials
            | Self::UnknownPeer(_)
            | Self::NoPeer
            | Self::OtherFrames
            | Self::NoCommonCipher => Blame::Configuration,
            Self::BadPayload => Blame::Peer,
        }
    }
}
