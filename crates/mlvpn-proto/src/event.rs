//! What a session tells its owner.

use std::net::SocketAddr;

use crate::crypto::keypair::PublicKey;
use crate::handshake::v2::HandshakeError;
use crate::id::LinkIndex;

/// Something that happened; drained with [`crate::Endpoint::poll_event`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The first link came up: the tunnel carries traffic. Follows that link's `LinkUp`.
    SessionUp,
    /// The last link went down. Follows that link's `LinkDown`.
    SessionDown,
    /// A link may carry data.
    LinkUp {
        /// Which.
        link: LinkIndex,
    },
    /// A link that was up no longer is.
    LinkDown {
        /// Which.
        link: LinkIndex,
        /// Why.
        reason: DownReason,
    },
    /// A link was taken out of the balancing, or back into it.
    LinkQuality {
        /// Which.
        link: LinkIndex,
        /// What it is now.
        quality: Quality,
    },
    /// The peer now sends from another address on this link.
    PeerAddressChanged {
        /// On which link.
        link: LinkIndex,
        /// The address until now.
        from: SocketAddr,
        /// The address from now on.
        to: SocketAddr,
    },
    /// A peer that speaks version 2 began a new session in place of the one it had: it was restarted,
    /// or another one has its credentials `[H23]`.
    PeerReplaced {
        /// Who it is; none with a password.
        peer: Option<PublicKey>,
    },
    /// The largest IP packet that all paths of version 2 carry is another one now.
    TunnelMtu {
        /// In bytes.
        mtu: u16,
    },
    /// The server that was asked to begin a session does not fit: its configuration or its software
    /// has to be looked at.
    HandshakeTrouble {
        /// What is wrong.
        error: HandshakeError,
    },
    /// Somebody who may be a peer asked for a session and does not fit.
    PeerMisfit {
        /// What is wrong.
        error: HandshakeError,
        /// Where from.
        from: SocketAddr,
    },
    /// The peer's process is another one than before.
    PeerRestarted {
        /// The link on which that was noticed.
        link: LinkIndex,
    },
}

/// Why a link is down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DownReason {
    /// It has not been up yet.
    NeverUp,
    /// No keepalive came for the link's timeout.
    Timeout,
    /// The peer said that it goes away.
    PeerDisconnected,
    /// Its socket was closed by its owner.
    SocketClosed,
    /// It was removed from the configuration.
    Removed,
    /// This session was closed.
    SessionClosed,
    /// The packet numbers of a path are used up: another session takes over.
    OutOfPacketNumbers,
}

impl DownReason {
    /// A short text for logs and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverUp => "not up yet",
            Self::Timeout => "no keepalive from the peer within the timeout",
            Self::PeerDisconnected => "the peer disconnected",
            Self::SocketClosed => "its socket was closed",
            Self::Removed => "removed from the configuration",
            Self::SessionClosed => "shutting down",
            Self::OutOfPacketNumbers => "its packet numbers are used up",
        }
    }
}

/// Whether a link takes part in the balancing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Quality {
    /// Within the configured tolerances.
    #[default]
    Good,
    /// Its loss reached `loss_tolerence`.
    Lossy,
    /// Its round-trip time reached `latency_tolerence`.
    Slow,
}
