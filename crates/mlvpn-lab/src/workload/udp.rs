//! A stream of datagrams at a constant rate, each of which is accounted for.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use mlvpn_io::clock::Clock;
use serde::Serialize;
use socket2::{Socket, Type};

use super::{Binding, Content, Delays, is_pause, join, open_socket};
use crate::host::Host;
use crate::series::{Recorder, Series};

/// Sequence number and time of sending, before the content.
const HEADER_LEN: usize = 16;
/// After the last datagram, this is left for those that are late.
const GRACE: Duration = Duration::from_secs(1);
/// Interval of the series.
const INTERVAL: Duration = Duration::from_millis(100);
/// Room for a burst, in bytes.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Datagrams of equal size, equally spaced.
#[derive(Debug, Clone)]
pub struct DatagramStream {
    sender: Host,
    receiver: Host,
    address: IpAddr,
    rate: u64,
    size: usize,
    duration: Duration,
    grace: Duration,
    binding: Binding,
    seed: u64,
}

/// What became of the datagrams.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatagramReport {
    /// Datagrams that the sending host took.
    pub sent: u64,
    /// Datagrams that the sending host refused: its queue was full or there was no route.
    pub refused: u64,
    /// Different datagrams that arrived.
    pub received: u64,
    /// Arrivals of datagrams that had arrived before.
    pub duplicates: u64,
    /// Datagrams that arrived after one that was sent later.
    pub reordered: u64,
    /// Datagrams with a wrong length or content.
    pub corrupt: u64,
    /// The longest time between two arrivals, in ms.
    pub longest_silence_ms: f64,
    /// From sending to arrival, one way: both hosts have the same clock.
    pub delays: Delays,
    /// Payload bytes of all arrivals, per 100 ms.
    pub series: Series,
}

impl DatagramReport {
    /// Datagrams that were sent and never arrived.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    /// The share of lost datagrams, 0 to 1.
    #[must_use]
    pub fn loss(&self) -> f64 {
        if self.sent == 0 { 0.0 } else { self.lost() as f64 / self.sent as f64 }
    }
}

impl DatagramStream {
    /// 1 Mbit/s of datagrams with 1200 bytes for five seconds from `sender` to `receiver`, which
    /// listens at `address`.
    #[must_use]
    pub fn new(sender: &Host, receiver: &Host, address: IpAddr) -> Self {
        Self {
            sender: sender.clone(),
            receiver: receiver.clone(),
            address,
            rate: 1_000_000,
            size: 1_200,
            duration: Duration::from_secs(5),
            grace: GRACE,
            binding: Binding::default(),
            seed: 1,
        }
    }

    /// Bits per second of payload.
    #[must_use]
    pub fn rate(mut self, bits_per_second: u64) -> Self {
        self.rate = bits_per_second.max(1);
        self
    }

    /// Payload bytes of a datagram, at least 16.
    #[must_use]
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes.clamp(HEADER_LEN, 65_000);
        self
    }

    /// How long to send.
    #[must_use]
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// How long to wait for late datagrams after the last was sent; a second unless set.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sends by this interface.
    #[must_use]
    pub fn by_device(mut self, device: &str) -> Self {
        self.binding.device = Some(device.to_owned());
        self
    }

    /// Sends from this address.
    #[must_use]
    pub fn from_address(mut self, source: IpAddr) -> Self {
        self.binding.source = Some(source);
        self
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// When a socket cannot be made or bound. Lost datagrams are no error.
    pub fn run(&self) -> Result<DatagramReport> {
        let address = SocketAddr::new(self.address, 0);
        let at_receiver = self.receiver.run(|| -> Result<Socket> {
            let socket = open_socket(self.address, Type::DGRAM)?;
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
            socket.bind(&address.into())?;
            Ok(socket)
        })?;
        let at_receiver = at_receiver
            .with_context(|| format!("{} cannot receive at {address}", self.receiver.name()))?;
        let target = at_receiver.local_addr()?;
        let at_sender = self.sender.run(|| -> Result<Socket> {
            let socket = open_socket(self.address, Type::DGRAM)?;
            self.binding.apply(&socket)?;
            socket.connect(&target)?;
            Ok(socket)
        })?;
        let at_sender = at_sender.with_context(|| format!("{} cannot send", self.sender.name()))?;

        let shared = Arc::new(Shared {
            stream: self.clone(),
            clock: Clock::new(),
            recorder: Recorder::new(self.duration + self.grace, INTERVAL),
            sent: AtomicU64::new(0),
            is_sent: AtomicBool::new(false),
        });
        let for_receiver = Arc::clone(&shared);
        let receiver =
            self.receiver.spawn("udp-receive", move || receive(&at_receiver, &for_receiver))?;
        let sender = self.sender.spawn("udp-send", move || Ok(send(&at_sender, &shared)))?;
        let refused = join(sender);
        let report = join(receiver)?;
        Ok(DatagramReport { refused: refused?, ..report })
    }
}

struct Shared {
    stream: DatagramStream,
    clock: Clock,
    recorder: Recorder,
    sent: AtomicU64,
    is_sent: AtomicBool,
}

impl Shared {
    /// The content of datagram `sequence`: each has its own, so that parts of others are noticed.
    fn content(&self, sequence: u64) -> Content {
        Content::at(self.stream.seed, sequence << 16)
    }
}

/// Sends all datagrams, each at its own time, and returns how many the host refused.
fn send(socket: &Socket, shared: &Shared) -> u64 {
    let stream = &shared.stream;
    let start = shared.clock.now_us();
    let mut datagram = vec![0; stream.size];
    let mut refused = 0;
    for sequence in 0.. {
        let due_us = (sequence * stream.size as u64 * 8).saturating_mul(1_000_000) / stream.rate;
        if due_us >= stream.duration.as_micros() as u64 {
            break;
        }
        let wait = (start + due_us).saturating_sub(shared.clock.now_us());
        if wait > 0 {
            std::thread::sleep(Duration::from_micros(wait));
        }
        datagram[..8].copy_from_slice(&sequence.to_be_bytes());
        datagram[8..HEADER_LEN].copy_from_slice(&shared.clock.now_us().to_be_bytes());
        shared.content(sequence).fill(&mut datagram[HEADER_LEN..]);
        match socket.send(&datagram) {
            Ok(_) => _ = shared.sent.fetch_add(1, Ordering::AcqRel),
            Err(_) => refused += 1,
        }
    }
    shared.is_sent.store(true, Ordering::Release);
    refused
}

/// Receives until all have arrived, or the time for late ones is over.
fn receive(mut socket: &Socket, shared: &Shared) -> Result<DatagramReport> {
    let mut ledger = Ledger::default();
    let mut buffer = vec![0; shared.stream.size + 1];
    let start = shared.clock.now_us();
    let mut give_up_at = None;
    loop {
        if shared.is_sent.load(Ordering::Acquire) {
            let now = shared.clock.now_us();
            let end = *give_up_at.get_or_insert(now + shared.stream.grace.as_micros() as u64);
            if now >= end || ledger.received == shared.sent.load(Ordering::Acquire) {
                break;
            }
        }
        let len = match socket.read(&mut buffer) {
            Ok(len) => len,
            Err(error) if is_pause(&error) => continue,
            Err(error) => return Err(error).context("cannot receive datagrams"),
        };
        let now = shared.clock.now_us();
        shared.recorder.add(len as u64, Duration::from_micros(now - start));
        ledger.add(&mut buffer[..len], now, shared);
    }
    Ok(ledger.into_report(shared))
}

/// The books of the receiver.
#[derive(Default)]
struct Ledger {
    seen: Vec<bool>,
    received: u64,
    duplicates: u64,
    reordered: u64,
    corrupt: u64,
    last_arrival: Option<u64>,
    longest_silence_us: u64,
    delays_us: Vec<u64>,
}

impl Ledger {
    fn add(&mut self, datagram: &mut [u8], now: u64, shared: &Shared) {
        let silence = now - self.last_arrival.replace(now).unwrap_or(now);
        self.longest_silence_us = self.longest_silence_us.max(silence);
        let Some((sequence, sent_at)) = check(datagram, now, shared) else {
            self.corrupt += 1;
            return;
        };
        let index = sequence as usize;
        // `seen` ends at the highest number so far.
        if index < self.seen.len() {
            if self.seen[index] {
                self.duplicates += 1;
                return;
            }
            self.reordered += 1;
        } else {
            self.seen.resize(index + 1, false);
        }
        self.seen[index] = true;
        self.received += 1;
        self.delays_us.push(now - sent_at);
    }

    fn into_report(self, shared: &Shared) -> DatagramReport {
        DatagramReport {
            sent: shared.sent.load(Ordering::Acquire),
            refused: 0,
            received: self.received,
            duplicates: self.duplicates,
            reordered: self.reordered,
            corrupt: self.corrupt,
            longest_silence_ms: self.longest_silence_us as f64 / 1e3,
            delays: Delays::of_micros(self.delays_us),
            series: shared.recorder.series("datagrams"),
        }
    }
}

/// The sequence number and the time of sending of an intact datagram.
fn check(datagram: &mut [u8], now: u64, shared: &Shared) -> Option<(u64, u64)> {
    if datagram.len() != shared.stream.size {
        return None;
    }
    let sequence = u64::from_be_bytes(datagram[..8].try_into().ok()?);
    let sent_at = u64::from_be_bytes(datagram[8..HEADER_LEN].try_into().ok()?);
    // A corrupt number must not make the ledger grow without limit.
    let possible = shared.sent.load(Ordering::Acquire) + (1 << 20);
    let is_intact = sequence < possible
        && sent_at <= now
        && shared.content(sequence).verify(&mut datagram[HEADER_LEN..]) == 0;
    is_intact.then_some((sequence, sent_at))
}
