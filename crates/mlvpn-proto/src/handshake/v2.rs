//! Version 2: a Noise handshake of two messages gives an epoch its keys. See docs/protocol-v2.md
//! section 5.
//!
//! The initiator calls [`ExpectResponse::start`], sends what it gets, and gives the answer to
//! [`ExpectResponse::handle`]. The responder takes an initiation through types that cannot be
//! skipped:
//!
//! ```text
//! datagram → Initiation::parse → verify_mac1 → (CookieJar, Admission, under load) → open → Accepted::respond
//! ```
//!
//! Nothing here knows which epochs are pending, which indices are free or when to repeat: that is
//! the session's. What is here has no clock and no randomness of its own.
//!
//! Secrets are erased when they are dropped `[H15]`, but for copies that the compiler makes on the
//! stack when it moves them.

pub mod admission;
pub mod cookie;
pub mod credentials;
pub mod error;
pub mod initiator;
pub mod latest;
mod mac;
pub mod message;
mod noise;
mod payload;
pub mod responder;

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::crypto::keypair::PublicKey;
use crate::crypto::v2::Cipher;
use crate::id::{PathId, SessionIndex};

pub use admission::Admission;
pub use cookie::{CookieJar, CookieReply, CookieStore};
pub use credentials::{Credentials, PeerKeys, Recipient};
pub use error::{Blame, HandshakeError};
pub use initiator::{ExpectResponse, Offer};
pub use latest::LatestTimes;
pub(crate) use mac::Mac;
pub use message::{INITIATION_LEN, Initiation, MAX_RESPONSE_LEN, Response};
#[doc(hidden)]
pub use payload::{rewrite_proposal, rewrite_reply};
pub use responder::{Accepted, Answer};

/// Which session an epoch belongs to: drawn at random by the initiator when the session begins,
/// and repeated in each further handshake of it `[H8]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub [u8; 8]);

/// The secret of one direction of an epoch: 32 uniformly random bytes, to be expanded into key and
/// IV (section 5.4). Erased when dropped; its `Debug` output does not show it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// The bytes, for [`crate::crypto::v2::SealingKey`] and [`crate::crypto::v2::OpeningKey`].
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What a handshake agreed on: an epoch.
///
/// At the initiator it is usable at once. At the responder it is pending: it must not send under
/// it before a packet under it proved authentic `[H12]`, and an initiation that somebody replayed
/// ends in one that nobody can use `[H11]`.
#[derive(Debug)]
pub struct Established {
    /// The number by which the peer names the epoch to us.
    pub our_index: SessionIndex,
    /// The number by which we name the epoch to the peer.
    pub peer_index: SessionIndex,
    /// The path that the initiation named.
    pub path: PathId,
    /// The session that the epoch belongs to.
    pub session_id: SessionId,
    /// Whether the responder goes on with the session of that id. Where it does not and this is
    /// not the first handshake, both begin a new session under that id `[H8]`.
    pub is_resumed: bool,
    /// How packets are sealed.
    pub cipher: Cipher,
    /// Whether data goes in clear: both ends asked for it `[H9]`.
    pub cleartext: bool,
    /// Whether the session carries Ethernet frames instead of IP packets.
    pub ethernet: bool,
    /// What we seal under.
    pub send_secret: Secret,
    /// What the peer seals under.
    pub receive_secret: Secret,
    /// Who the peer is; none with a password.
    pub peer: Option<PublicKey>,
}
