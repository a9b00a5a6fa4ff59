//! A link's socket, and what it could not send yet.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use mlvpn_io::clock::Clock;
use mlvpn_io::udp::{Ecn, SendError, SocketError, UdpSocket};
use tracing::debug;

/// A socket with the batch that it is in the middle of.
#[derive(Debug)]
pub(super) struct LinkSocket {
    pub(super) name: String,
    pub(super) udp: UdpSocket,
    /// Calls that failed, and datagrams that the network said did not arrive.
    pub(super) errors: u64,
    pending: Option<Pending>,
}

/// The rest of a batch.
#[derive(Debug)]
struct Pending {
    bytes: Vec<u8>,
    segment_size: usize,
    to: SocketAddr,
}

/// How a send went.
#[derive(Debug)]
pub(super) enum Progress {
    /// Everything was sent, or given up and counted.
    Done,
    /// The socket's buffer is full; the rest is kept.
    Blocked,
    /// The socket is of no use any more.
    Failed(String),
}

impl LinkSocket {
    pub(super) fn new(name: String, socket: OwnedFd, clock: Clock) -> Result<Self, String> {
        let udp = UdpSocket::from_fd(socket, true, clock).map_err(|error| error.to_string())?;
        Ok(Self { name, udp, errors: 0, pending: None })
    }

    /// Sends a batch. What the socket has no room for is kept; call [`Self::send_pending`] when it
    /// is writable, before anything else is sent.
    pub(super) fn send(&mut self, bytes: &[u8], segment_size: usize, to: SocketAddr) -> Progress {
        let mut rest = bytes;
        while !rest.is_empty() {
            let outcome = self.udp.send_batch(rest, segment_size, to, Ecn::NotEct);
            rest = &rest[(outcome.segments_sent * segment_size).min(rest.len())..];
            let Some(error) = outcome.error else { break };
            match error {
                SendError::WouldBlock => {
                    self.pending = Some(Pending { bytes: rest.to_vec(), segment_size, to });
                    return Progress::Blocked;
                }
                SendError::Unreachable(error) if is_socket_dead(&error) => {
                    return Progress::Failed(error.to_string());
                }
                error => {
                    // As lost on the way; the link's keepalives will tell if that lasts.
                    debug!(link = self.name, %error, "datagram not sent");
                    self.errors += 1;
                    rest = &rest[segment_size.min(rest.len())..];
                }
            }
        }
        Progress::Done
    }

    /// Goes on with what the socket had no room for.
    pub(super) fn send_pending(&mut self) -> Progress {
        match self.pending.take() {
            None => Progress::Done,
            Some(rest) => self.send(&rest.bytes, rest.segment_size, rest.to),
        }
    }

    /// Reads what the network said about datagrams sent before; returns the smallest MTU named.
    pub(super) fn drain_errors(&mut self) -> Option<u32> {
        let mut smallest = None;
        while let Ok(Some(error)) = self.udp.poll_error() {
            self.errors += 1;
            debug!(link = self.name, ?error, "the network reports");
            if let SocketError::TooBig { mtu, .. } = error {
                smallest = Some(smallest.map_or(mtu, |known: u32| known.min(mtu)));
            }
        }
        smallest
    }
}

/// Whether a socket cannot recover by itself: its device is another one now, or its address is
/// gone.
fn is_socket_dead(error: &std::io::Error) -> bool {
    const ENXIO: i32 = 6;
    const ENODEV: i32 = 19;
    error.kind() == std::io::ErrorKind::AddrNotAvailable
        || matches!(error.raw_os_error(), Some(ENXIO | ENODEV))
}
