//! Datagrams that nobody has asked for, in large numbers.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mlvpn_io::clock::Clock;
use mlvpn_io::udp::{Ecn, RecvBatch, UdpOptions, UdpSocket};
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};

use super::join;
use crate::lab::Stranger;

/// Datagrams of one burst.
const BURST: usize = 32;
/// From one look at the clock to the next, when nothing is due.
const TICK: Duration = Duration::from_micros(500);
/// A flood that was kept from sending makes up for this much of it, in microseconds; the rest is left
/// out, so that a pause does not end in a burst that is larger than any flood.
const MAKE_UP_US: u64 = 20_000;
/// Where answers wait until the end, in bytes; those that find no room are lost.
const ANSWER_BUFFER: usize = 4 << 20;
const MAX_ANSWER: usize = 2_048;
/// Protocol number of a raw socket that is given whole packets (raw(7)).
const IPPROTO_RAW: i32 = 255;
const UDP: u8 = 17;
const HEADERS_LEN: usize = 28;

/// A stranger sends datagrams to an address, at a constant rate, whatever becomes of them.
#[derive(Debug, Clone)]
pub struct Flood {
    stranger: Stranger,
    target: SocketAddr,
    datagrams: Vec<Vec<u8>>,
    rate: u64,
    is_spoofed: bool,
}

/// A flood that goes on in its thread. Dropping it stops it.
#[derive(Debug)]
pub struct RunningFlood {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<FloodReport>>>,
}

/// What a flood has sent, and what came back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct FloodReport {
    /// Datagrams that the host took.
    pub sent: u64,
    /// Seconds from the first to the last.
    pub seconds: f64,
    /// Answers that had room to wait for the end: all, if they were some thousands. Those to addresses
    /// that are not the stranger's are not among them.
    pub answers: u64,
    /// Bytes of the longest of them.
    pub longest_answer: usize,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
}

/// How datagrams leave.
enum Sender {
    Own(UdpSocket),
    Spoofing(Socket),
}

impl FloodReport {
    /// Datagrams per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.sent as f64 / self.seconds } else { 0.0 }
    }
}

impl Flood {
    /// `rate` datagrams per second to `target`: these, which must be of equal length, again and again.
    #[must_use]
    pub fn new(
        stranger: &Stranger,
        target: SocketAddr,
        datagrams: Vec<Vec<u8>>,
        rate: u64,
    ) -> Self {
        Self { stranger: stranger.clone(), target, datagrams, rate, is_spoofed: false }
    }

    /// Sends each datagram from another address and port of those that are behind the stranger, to a
    /// target of IPv4.
    #[must_use]
    pub fn spoofed(mut self) -> Self {
        self.is_spoofed = true;
        self
    }

    /// Starts to send.
    ///
    /// # Errors
    /// When there are no datagrams, they differ in length, or the socket cannot be made.
    pub fn start(self) -> Result<RunningFlood> {
        let length = self.datagrams.first().map_or(0, Vec::len);
        ensure!(length > 0, "a flood of nothing");
        ensure!(self.datagrams.iter().all(|d| d.len() == length), "datagrams differ in length");
        let sender = self.stranger.host().run(|| self.open())?.context("a flood's socket")?;
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let host = self.stranger.host().clone();
        let thread = host.spawn("flood", move || self.send(&sender, &for_thread))?;
        Ok(RunningFlood { shared, thread: Some(thread) })
    }

    fn open(&self) -> Result<Sender> {
        if self.is_spoofed {
            let protocol = Protocol::from(IPPROTO_RAW);
            return Ok(Sender::Spoofing(Socket::new(Domain::IPV4, Type::RAW, Some(protocol))?));
        }
        let options = UdpOptions {
            receive_buffer: Some(ANSWER_BUFFER),
            // Each datagram shall arrive by itself, as from somebody far away.
            offload: false,
            ..UdpOptions::new(SocketAddr::new(self.stranger.address(), 0))
        };
        Ok(Sender::Own(UdpSocket::open(&options, Clock::new())?))
    }

    fn send(&self, sender: &Sender, shared: &Shared) -> Result<FloodReport> {
        let clock = Clock::new();
        let start = clock.now_us();
        let (mut sent, mut left_out) = (0, 0);
        while !shared.stop.load(Ordering::Acquire) {
            let due = (clock.now_us() - start) * self.rate / 1_000_000;
            let behind = due.saturating_sub(sent + left_out);
            if behind == 0 {
                std::thread::sleep(TICK);
                continue;
            }
            let most = self.rate * MAKE_UP_US / 1_000_000;
            left_out += behind.saturating_sub(most.max(1));
            let burst = (behind.min(most.max(1)) as usize).min(BURST);
            sent += self.send_burst(sender, sent, burst)?;
            shared.sent.store(sent, Ordering::Release);
        }
        let seconds = (clock.now_us() - start) as f64 / 1e6;
        let (answers, longest_answer) = match sender {
            Sender::Own(socket) => drain(socket),
            Sender::Spoofing(_) => (0, 0),
        };
        Ok(FloodReport { sent, seconds, answers, longest_answer })
    }

    /// Sends up to `count` datagrams, as number `first` and those after it. Returns how many were taken.
    fn send_burst(&self, sender: &Sender, first: u64, count: usize) -> Result<u64> {
        let datagram =
            |number: u64| &self.datagrams[(number % self.datagrams.len() as u64) as usize];
        let numbers = first..first + count as u64;
        match sender {
            Sender::Own(socket) => {
                let length = datagram(first).len();
                let bytes: Vec<u8> = numbers.flat_map(datagram).copied().collect();
                let outcome = socket.send_batch(&bytes, length, self.target, Ecn::NotEct);
                Ok(outcome.segments_sent as u64)
            }
            Sender::Spoofing(socket) => {
                let SocketAddr::V4(target) = self.target else { bail!("spoofing is for IPv4") };
                let send = |number: &u64| {
                    let packet = spoofed_packet(*number, target, datagram(*number));
                    socket.send_to(&packet, &target.into()).is_ok()
                };
                Ok(numbers.take_while(send).count() as u64)
            }
        }
    }
}

impl RunningFlood {
    /// Datagrams that were sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Acquire)
    }

    /// Ends it, and looks at what came back.
    ///
    /// # Errors
    /// When sending failed.
    pub fn stop(mut self) -> Result<FloodReport> {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.take().map_or_else(|| Ok(FloodReport::default()), join)
    }
}

impl Drop for RunningFlood {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Nobody is left to be told what failed.
        let _ = self.thread.take().map(join);
    }
}

/// How many answers wait, and how long the longest is.
fn drain(socket: &UdpSocket) -> (u64, usize) {
    let mut batch = RecvBatch::with_slot_len(RecvBatch::MAX_SLOTS, MAX_ANSWER);
    let (mut answers, mut longest) = (0, 0);
    while socket.recv_batch(&mut batch).is_ok() {
        for answer in batch.datagrams() {
            answers += 1;
            longest = longest.max(answer.data.len());
        }
    }
    (answers, longest)
}

/// An IPv4 packet (RFC 791) with a UDP datagram (RFC 768) from an address and port that `number`
/// decides. The kernel fills in the checksum of the first; the second's may be zero.
fn spoofed_packet(number: u64, target: SocketAddrV4, datagram: &[u8]) -> Vec<u8> {
    let length = (HEADERS_LEN + datagram.len()) as u16;
    let source: Ipv4Addr = Stranger::spoofed(number as u32);
    let port = 1_024 + (number % 60_000) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]);
    packet.extend(source.octets());
    packet.extend(target.ip().octets());
    packet.extend(port.to_be_bytes());
    packet.extend(target.port().to_be_bytes());
    packet.extend((length - 20).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(datagram);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spoofed_packet_has_the_addresses_and_lengths_of_its_headers() {
        let target = SocketAddrV4::new(Ipv4Addr::new(198, 19, 0, 1), 5_080);
        let packet = spoofed_packet(7, target, b"data");
        assert_eq!(packet.len(), HEADERS_LEN + 4);
        assert_eq!(packet[2..4], 32_u16.to_be_bytes());
        assert_eq!(packet[12..16], [100, 64, 0, 7]);
        assert_eq!(packet[16..20], [198, 19, 0, 1]);
        assert_eq!(packet[20..28], [0x04, 0x07, 0x13, 0xD8, 0, 12, 0, 0]);
        assert_ne!(spoofed_packet(8, target, b"data")[12..22], packet[12..22]);
    }
}
