//! Somebody on the way who is faster than the link.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use mlvpn_sim::link::Direction;

use super::join;
use crate::lab::{LabLink, Stranger};

/// Longest time until an answer is noticed, or that the copier is to end.
const TICK: Duration = Duration::from_millis(10);
const IPV4_LEN: usize = 20;
const UDP_LEN: usize = 8;
const UDP: u8 = 17;

/// A stranger who sees what the client sends over a link, and sends all of it to the server from an
/// address of its own. Its copies take a cable, and so come before the originals as long as the link
/// takes longer than the stranger does. Dropping it ends it.
#[derive(Debug)]
pub struct Copier {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<JoinHandle<Result<()>>>,
}

/// What a copier has sent and got so far, in bytes of UDP payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopierReport {
    /// Bytes of the copies.
    pub sent: u64,
    /// Bytes that came back to where they were sent from.
    pub received: u64,
    /// The most by which what came back was more than three times what had been sent before; zero when it
    /// never was.
    pub excess: u64,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    excess: AtomicU64,
}

impl Copier {
    /// Begins to copy what goes over `link` to `server` by UDP and IPv4: the first `most` datagrams.
    ///
    /// # Errors
    /// When the link is a cable, or there is no socket for the stranger.
    pub fn start(
        stranger: &Stranger,
        link: &LabLink,
        server: SocketAddr,
        most: usize,
    ) -> Result<Self> {
        let own = SocketAddr::new(stranger.address(), 0);
        let socket = stranger.host().run(|| UdpSocket::bind(own))?.context("a copier's socket")?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let (sink, packets) = channel();
        link.copy_to(sink)?;
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let copy = move || copy_all(&socket, &packets, (server, most), &of_thread);
        let thread = std::thread::Builder::new().name("copier".to_owned()).spawn(copy)?;
        Ok(Self { shared, address, thread: Some(thread) })
    }

    /// From where its copies come.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came of it so far.
    #[must_use]
    pub fn report(&self) -> CopierReport {
        let of = |count: &AtomicU64| count.load(Ordering::Acquire);
        let Shared { sent, received, excess, .. } = &*self.shared;
        CopierReport { sent: of(sent), received: of(received), excess: of(excess) }
    }

    /// Ends it.
    ///
    /// # Errors
    /// When sending failed.
    pub fn stop(mut self) -> Result<CopierReport> {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.take().map_or(Ok(()), join)?;
        Ok(self.report())
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Nobody is left to be told what failed.
        let _ = self.thread.take().map(join);
    }
}

fn copy_all(
    socket: &UdpSocket,
    packets: &Receiver<(Direction, Vec<u8>)>,
    (server, most): (SocketAddr, usize),
    shared: &Shared,
) -> Result<()> {
    let mut copies = 0;
    while !shared.stop.load(Ordering::Acquire) {
        match packets.recv_timeout(TICK) {
            Ok((Direction::Up, packet)) => {
                if let Some(datagram) = datagram_to(&packet, server).filter(|_| copies < most) {
                    copies += 1;
                    // Counted first: an answer must find it counted.
                    shared.sent.fetch_add(datagram.len() as u64, Ordering::AcqRel);
                    // What finds no room is lost, as anywhere.
                    let _ = socket.send_to(datagram, server);
                }
            }
            Ok((Direction::Down, _)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        count_answers(socket, shared);
    }
    Ok(())
}

fn count_answers(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 2_048];
    while let Ok((len, _)) = socket.recv_from(&mut buffer) {
        let received = shared.received.fetch_add(len as u64, Ordering::AcqRel) + len as u64;
        let allowed = 3 * shared.sent.load(Ordering::Acquire);
        shared.excess.fetch_max(received.saturating_sub(allowed), Ordering::AcqRel);
    }
}

/// The payload of an IPv4 packet (RFC 791) that is a UDP datagram (RFC 768) to `server`.
fn datagram_to(packet: &[u8], server: SocketAddr) -> Option<&[u8]> {
    let SocketAddr::V4(server) = server else { return None };
    let is_udp = packet.first() == Some(&0x45) && packet.get(9) == Some(&UDP);
    let to = packet.get(16..IPV4_LEN)?;
    let port = packet.get(IPV4_LEN + 2..IPV4_LEN + 4)?;
    let is_it = is_udp && to == server.ip().octets() && port == server.port().to_be_bytes();
    packet.get(IPV4_LEN + UDP_LEN..).filter(|_| is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_datagrams_to_the_server_are_copied() {
        let mut packet = vec![0x45, 0, 0, 32, 0, 0, 0x40, 0, 64, UDP, 0, 0];
        packet.extend([10, 0, 0, 1, 198, 19, 0, 1, 0x30, 0x39, 0x13, 0xD8, 0, 12, 0, 0]);
        packet.extend(b"data");
        let server = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(datagram_to(&packet, server("198.19.0.1:5080")), Some(&b"data"[..]));
        assert_eq!(datagram_to(&packet, server("198.19.0.1:5081")), None);
        assert_eq!(datagram_to(&packet, server("198.19.0.2:5080")), None);
        packet[9] = 6;
        assert_eq!(datagram_to(&packet, server("198.19.0.1:5080")), None);
        assert_eq!(datagram_to(&packet[..21], server("198.19.0.1:5080")), None);
    }
}
