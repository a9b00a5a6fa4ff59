//! What becomes of datagrams: outcomes of sending, reported errors, ECN marks.

use std::io;
use std::net::{IpAddr, SocketAddr};

/// Explicit congestion notification, the two low bits of the traffic class (RFC 3168 section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ecn {
    /// Not capable.
    #[default]
    NotEct,
    /// Capable, the low latency kind (RFC 9331).
    Ect1,
    /// Capable.
    Ect0,
    /// Congestion was experienced.
    Ce,
}

impl Ecn {
    /// From a traffic class byte; the other bits are ignored.
    #[must_use]
    pub fn from_bits(class: u8) -> Self {
        match class & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// As bits of the traffic class byte.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::NotEct => 0,
            Self::Ect1 => 1,
            Self::Ect0 => 2,
            Self::Ce => 3,
        }
    }
}

/// How far a batch came.
#[derive(Debug)]
#[must_use]
pub struct SendOutcome {
    /// Segments that the kernel took, from the start of the batch.
    pub segments_sent: usize,
    /// What stopped the first segment that was not sent; `None` if all were.
    pub error: Option<SendError>,
}

/// Why a segment was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The socket's buffer is full: wait until it is writable.
    #[error("the socket buffer is full")]
    WouldBlock,
    /// The interface's queue or the kernel's memory is full (ENOBUFS, ENOMEM): the segment counts
    /// as lost on the way; the socket may be writable all the same.
    #[error("no buffer space in the kernel")]
    NoBuffers,
    /// Larger than the route's MTU allows (EMSGSIZE).
    #[error("the datagram is too big for the route")]
    TooBig,
    /// No route, or the interface is down or gone (ENETUNREACH, EHOSTUNREACH, ENETDOWN, ENODEV,
    /// EADDRNOTAVAIL).
    #[error("unreachable: {0}")]
    Unreachable(io::Error),
    /// Refused by a local rule: firewall or missing permission (EPERM, EACCES).
    #[error("forbidden: {0}")]
    Forbidden(io::Error),
    /// Anything else.
    #[error("cannot send: {0}")]
    Other(io::Error),
}

impl From<io::Error> for SendError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::WouldBlock {
            return Self::WouldBlock;
        }
        match error.raw_os_error() {
            Some(libc::ENOBUFS | libc::ENOMEM) => Self::NoBuffers,
            Some(libc::EMSGSIZE) => Self::TooBig,
            Some(
                libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::ENETDOWN
                | libc::ENODEV
                | libc::ENXIO
                | libc::EADDRNOTAVAIL,
            ) => Self::Unreachable(error),
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden(error),
            _ => Self::Other(error),
        }
    }
}

/// Something that was reported about an earlier send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketError {
    /// The datagram did not arrive.
    Unreachable {
        /// Where it was sent.
        to: SocketAddr,
        /// Who says so, if the report names it; a local error does not.
        from: Option<IpAddr>,
        /// The ICMP message; `None` for a local error.
        icmp: Option<IcmpError>,
        /// The error number that it stands for.
        errno: i32,
    },
    /// The datagram was larger than the route allows.
    TooBig {
        /// Where it was sent.
        to: SocketAddr,
        /// The largest IP packet that fits, in bytes.
        mtu: u32,
    },
}

/// Type and code of an ICMP message, of the version of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
}

/// Whether a call may have returned this for an earlier datagram, perhaps to somebody else: with
/// the error queue enabled, the next call on a socket reports an error that ICMP brought, without
/// doing its work. Calling again tells the own one from it.
#[cfg(target_os = "linux")]
pub(super) fn may_be_of_another_send(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EMSGSIZE
                | libc::ENOPROTOOPT
                | libc::EPROTO
                | libc::EACCES
                | libc::EOPNOTSUPP
                | libc::ENONET
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_numbers_are_told_apart() {
        let kind = |code| SendError::from(io::Error::from_raw_os_error(code));
        assert!(matches!(kind(libc::EAGAIN), SendError::WouldBlock));
        assert!(matches!(kind(libc::ENOBUFS), SendError::NoBuffers));
        assert!(matches!(kind(libc::EMSGSIZE), SendError::TooBig));
        assert!(matches!(kind(libc::ENETUNREACH), SendError::Unreachable(_)));
        assert!(matches!(kind(libc::EPERM), SendError::Forbidden(_)));
        assert!(matches!(kind(libc::EBADF), SendError::Other(_)));
    }

    #[test]
    fn ecn_marks_survive_the_traffic_class() {
        for bits in 0..4 {
            assert_eq!(Ecn::from_bits(0xb8 | bits).bits(), bits);
        }
    }
}
