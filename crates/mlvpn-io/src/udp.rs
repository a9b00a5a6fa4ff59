//! UDP sockets that send and receive batches.
//!
//! On Linux a batch of equal segments is one call (`UDP_SEGMENT`), received datagrams come merged
//! (`UDP_GRO`) and several per call (`recvmmsg`), with their ECN mark and the kernel's time of
//! arrival. Each socket remembers by itself what its interface refuses, and nothing is lost when it
//! does. Elsewhere there is one datagram per call.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::clock::Clock;

#[cfg(target_os = "linux")]
use self::linux as os;
#[cfg(not(target_os = "linux"))]
use self::plain as os;

pub use self::batch::{Datagram, Datagrams, RecvBatch};
pub use self::options::{OpenError, Pmtu, UdpOptions};
pub use self::outcome::{Ecn, IcmpError, SendError, SendOutcome, SocketError};
pub use self::route::route_mtu;

mod batch;
#[cfg(target_os = "linux")]
mod cmsg;
#[cfg(target_os = "linux")]
mod error_queue;
#[cfg(target_os = "linux")]
mod linux;
mod options;
mod outcome;
#[cfg(any(test, not(target_os = "linux")))]
mod plain;
mod route;
#[cfg(target_os = "linux")]
mod sys;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod loopback_tests;

/// Longest payload of a UDP datagram over IPv4, and the most that one segmented send may carry.
pub const MAX_PAYLOAD: usize = 65_507;

/// Most segments in one send: `UDP_MAX_SEGMENTS` of the kernels before 6.9.
pub const MAX_SEGMENTS: usize = 64;

/// A UDP socket, non-blocking.
#[derive(Debug)]
pub struct UdpSocket {
    fd: OwnedFd,
    local: SocketAddr,
    clock: Clock,
    state: os::State,
}

impl UdpSocket {
    /// Opens and binds a socket.
    ///
    /// # Errors
    /// Which step failed, and why.
    pub fn open(options: &UdpOptions, clock: Clock) -> Result<Self, OpenError> {
        Self::from_fd(options.bind_fd()?, options.offload, clock)
    }

    /// Takes over a socket that [`UdpOptions::bind_fd`] made, perhaps in another process.
    /// `offload`: whether to send segmented and receive merged.
    ///
    /// # Errors
    /// Which step failed, and why.
    pub fn from_fd(fd: OwnedFd, offload: bool, clock: Clock) -> Result<Self, OpenError> {
        let local = options::local_addr(fd.as_fd())?;
        rustix::io::ioctl_fionbio(&fd, true)
            .map_err(|e| OpenError::new("make the socket non-blocking", e.into()))?;
        let state = os::State::new(fd.as_fd(), local.is_ipv6(), offload)?;
        Ok(Self { fd, local, clock, state })
    }

    /// The address bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Changes what is done with datagrams that are too large.
    ///
    /// # Errors
    /// When the system knows no such thing.
    pub fn set_pmtu(&self, pmtu: Pmtu) -> io::Result<()> {
        options::set_pmtu(self.fd.as_fd(), self.local.is_ipv6(), pmtu)
    }

    /// Whether datagrams of `segment_size` bytes are sent segmented. Turns false for good when the
    /// interface refuses.
    #[must_use]
    pub fn is_segmenting(&self, segment_size: usize) -> bool {
        self.state.is_segmenting(segment_size)
    }

    /// Sends `bytes` to `to` as datagrams of `segment_size` bytes, the last one perhaps shorter.
    /// Any number of them: as many calls are made as it takes. What was not sent starts at
    /// `outcome.segments_sent * segment_size`; send from there again, or give it up.
    ///
    /// # Panics
    /// If `segment_size` is zero.
    pub fn send_batch(
        &self,
        bytes: &[u8],
        segment_size: usize,
        to: SocketAddr,
        ecn: Ecn,
    ) -> SendOutcome {
        assert!(segment_size > 0, "a segment has at least one byte");
        self.state.send_batch(self.fd.as_fd(), bytes, os::Target { segment_size, to, ecn })
    }

    /// Receives as many datagrams as are there and fit in `batch`, whose content it replaces.
    /// Returns the number of messages, each of which may be several datagrams; once it is less than
    /// the batch's slots, the socket was empty.
    ///
    /// # Errors
    /// `WouldBlock` if there is none. Errors of earlier sends are not reported here but by
    /// [`UdpSocket::poll_error`].
    pub fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        self.state.recv_batch(self.fd.as_fd(), batch, &self.clock)
    }

    /// Datagrams that came and were dropped before they could be read: there was no room in the receive
    /// buffer, or they were damaged. Counts from the opening of the socket, modulo 2³²; always 0 where the
    /// system does not tell.
    #[must_use]
    pub fn queue_drops(&self) -> u64 {
        self.state.queue_drops(self.fd.as_fd())
    }

    /// Takes one error off the socket's error queue: what ICMP, or this host, said about an earlier
    /// send. Call it until there is none when the poller reports an error.
    ///
    /// # Errors
    /// Those of the call itself.
    pub fn poll_error(&self) -> io::Result<Option<SocketError>> {
        self.state.poll_error(self.fd.as_fd())
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
