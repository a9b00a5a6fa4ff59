//! A link's socket, and what it could not send yet.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use mlvpn_io::clock::Clock;
use mlvpn_io::udp::{Ecn, Pmtu, RecvBatch, SendError, SocketError, UdpSocket};
use mlvpn_proto::Instant;
use mlvpn_proto::wire::v2::DatagramKind;
use tracing::debug;

/// A socket with the batch that it is in the middle of.
#[derive(Debug)]
pub(super) struct LinkSocket {
    pub(super) name: String,
    pub(super) udp: UdpSocket,
    /// Calls that failed, and datagrams that the network said did not arrive.
    pub(super) errors: u64,
    pending: Option<Pending>,
    /// What is done with datagrams that are too large, once something was sent.
    pmtu: Option<Pmtu>,
    /// Where the peer is: the address of the last send.
    peer: Option<SocketAddr>,
    /// When it was asked in vain last for more datagrams: what comes after that came later.
    drained_at: Instant,
    /// When it was asked in the call whose datagrams are at hand, if those were all that there were.
    emptied_at: Option<Instant>,
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
        Ok(Self {
            name,
            udp,
            errors: 0,
            pending: None,
            pmtu: None,
            peer: None,
            drained_at: Instant::ZERO,
            emptied_at: None,
        })
    }

    /// Receives what there is; returns whether that was all, as of `now`.
    pub(super) fn receive(&mut self, batch: &mut RecvBatch, now: Instant) -> std::io::Result<bool> {
        self.drained_at = self.emptied_at.take().unwrap_or(self.drained_at);
        let outcome = self.udp.recv_batch(batch);
        let is_drained = match &outcome {
            Ok(messages) => *messages < batch.slots(),
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        };
        self.emptied_at = is_drained.then_some(now);
        outcome.map(|_| is_drained)
    }

    /// When a datagram of the latest batch came, given what the kernel says, whose wall clock may have been set
    /// meanwhile.
    pub(super) fn arrived_at(&self, told_us: u64, now: Instant) -> Instant {
        Instant::from_micros(told_us).clamp(self.drained_at.min(now), now)
    }

    /// Sends a batch. What the socket has no room for is kept; call [`Self::send_pending`] when it
    /// is writable, before anything else is sent.
    pub(super) fn send(&mut self, bytes: &[u8], segment_size: usize, to: SocketAddr) -> Progress {
        self.peer = Some(to);
        self.set_pmtu(pmtu_for(bytes));
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
                    let lost = lost_with(&error, rest.len(), segment_size);
                    if !self.is_probing(&error) {
                        self.errors += lost.div_ceil(segment_size) as u64;
                    }
                    rest = &rest[lost..];
                }
            }
        }
        Progress::Done
    }

    fn set_pmtu(&mut self, pmtu: Pmtu) {
        if self.pmtu == Some(pmtu) {
            return;
        }
        self.pmtu = Some(pmtu);
        if let Err(error) = self.udp.set_pmtu(pmtu) {
            debug!(link = self.name, %error, "cannot set fragmentation");
        }
    }

    /// Whether an error is what version 2 sends to find out: that a size does not fit.
    fn is_probing(&self, error: &SendError) -> bool {
        self.pmtu == Some(Pmtu::Probe) && matches!(error, SendError::TooBig)
    }

    /// Goes on with what the socket had no room for.
    pub(super) fn send_pending(&mut self) -> Progress {
        match self.pending.take() {
            None => Progress::Done,
            Some(rest) => self.send(&rest.bytes, rest.segment_size, rest.to),
        }
    }

    /// Reads what the network said about datagrams sent before; returns the smallest MTU named for
    /// the way to the peer.
    pub(super) fn drain_errors(&mut self) -> Option<u32> {
        let mut smallest = None;
        while let Ok(Some(error)) = self.udp.poll_error() {
            self.errors += 1;
            debug!(link = self.name, ?error, "the network reports");
            if let SocketError::TooBig { to, mtu } = error
                && is_same_peer(self.peer, to)
            {
                smallest = Some(smallest.map_or(mtu, |known: u32| known.min(mtu)));
            }
        }
        smallest
    }
}

/// Whether a report about a datagram to `to` is about the way to `peer`. Anybody may send reports;
/// those that name another address are forged, or about a peer that has moved since.
fn is_same_peer(peer: Option<SocketAddr>, to: SocketAddr) -> bool {
    // The scope of an IPv6 address is not in a report.
    peer.is_some_and(|peer| (peer.ip(), peer.port()) == (to.ip(), to.port()))
}

/// Version 1 lets the network cut up what is too large; version 2 finds out what fits, and never sends
/// more `[Z1]`.
fn pmtu_for(datagrams: &[u8]) -> Pmtu {
    match DatagramKind::of(datagrams) {
        DatagramKind::V1 => Pmtu::Dont,
        _ => Pmtu::Probe,
    }
}

/// How many of the `rest` bytes of a batch are given up for an error: what a full queue or a
/// missing route refuses once, it refuses again; what is wrong with one datagram, such as its
/// size, need not be wrong with the next.
fn lost_with(error: &SendError, rest: usize, segment_size: usize) -> usize {
    match error {
        SendError::NoBuffers | SendError::Unreachable(_) => rest,
        _ => segment_size.min(rest),
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

#[cfg(test)]
mod tests {
    use std::io::Error;

    use super::*;

    #[test]
    fn a_datagram_came_after_the_socket_was_empty_last_and_before_now() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut link = LinkSocket::new("dsl".to_owned(), socket.into(), Clock::new()).unwrap();
        let mut batch = RecvBatch::new(1);
        let (at, ms) = (Instant::from_millis, |ms: u64| ms * 1_000);
        assert!(link.receive(&mut batch, at(100)).is_err(), "nothing there");
        assert_eq!(link.arrived_at(ms(50), at(110)), at(50), "this may have come before");
        assert!(link.receive(&mut batch, at(200)).is_err());
        let told = [ms(50), ms(150), ms(250)].map(|told| link.arrived_at(told, at(210)));
        assert_eq!(told, [at(100), at(150), at(210)], "a wall clock that is set tells nonsense");
    }

    #[test]
    fn a_full_queue_and_a_missing_route_end_the_batch() {
        for error in [SendError::NoBuffers, SendError::Unreachable(Error::other("no route"))] {
            assert_eq!(lost_with(&error, 2_500, 1_000), 2_500);
        }
        for error in [SendError::TooBig, SendError::Forbidden(Error::other("no"))] {
            assert_eq!(lost_with(&error, 2_500, 1_000), 1_000);
            assert_eq!(lost_with(&error, 500, 1_000), 500);
        }
    }

    #[test]
    fn version_1_may_be_fragmented_and_version_2_may_not() {
        assert_eq!(pmtu_for(&[0x01, 0]), Pmtu::Dont);
        for first in [0x80, 0xBF, 0xC1, 0xC2, 0xC3] {
            assert_eq!(pmtu_for(&[first]), Pmtu::Probe, "{first:#x}");
        }
    }

    #[test]
    fn only_reports_about_the_present_peer_count() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let peer = Some(at("192.0.2.1:5080"));
        assert!(is_same_peer(peer, at("192.0.2.1:5080")));
        assert!(!is_same_peer(peer, at("192.0.2.1:5081")));
        assert!(!is_same_peer(peer, at("192.0.2.2:5080")));
        assert!(!is_same_peer(None, at("192.0.2.1:5080")));
        assert!(is_same_peer(Some(at("[fe80::1%2]:1")), at("[fe80::1]:1")));
    }
}
