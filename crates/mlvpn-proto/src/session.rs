//! A session: the association with one peer over all links, in either version of the protocol.

pub(crate) mod v1;
pub(crate) mod v2;

use crate::id::LinkIndex;

/// Why a session is to be called, as `poll_timeout` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timer {
    /// When to ask the peer to take a link up.
    Ask(LinkIndex),
    /// When to show the peer that a link lives.
    Keepalive(LinkIndex),
    /// When a silent link goes down.
    Expire(LinkIndex),
    /// When to give up waiting for a missing packet.
    Reorder,
    /// When keys are to be renewed or forgotten.
    Keys,
    /// When to challenge, probe or give up a path.
    Paths,
    /// When to tell the peer what has come.
    Feedback,
    /// When a path may send again.
    Pace,
    /// When a handshake message is due.
    Handshake,
    /// When the other version of the protocol is tried.
    Version,
}

/// What a link's owner did with its socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkChange {
    /// It has a socket that can send and receive.
    Opened,
    /// Its socket was closed.
    Closed,
    /// Its socket takes nothing at the moment; nothing is to be sent on it.
    Blocked,
    /// Its socket takes packets again.
    Unblocked,
}
