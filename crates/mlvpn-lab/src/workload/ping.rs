//! ICMP echo requests.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use mlvpn_io::clock::Clock;
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};

use crate::host::Host;

const HEADER_LEN: usize = 8;

/// Echo requests from a host to an address.
#[derive(Debug, Clone)]
pub struct Ping {
    target: IpAddr,
    count: u16,
    interval: Duration,
    timeout: Duration,
    payload: usize,
    device: Option<String>,
    source: Option<IpAddr>,
    is_steady: bool,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PingReport {
    /// Requests that the host could send.
    pub sent: u32,
    /// Requests that the host refused to send: no route, or too big.
    pub refused: u32,
    /// Round-trip times in ms, in the order of the requests; `None` where no answer came in time.
    pub rtts_ms: Vec<Option<f64>>,
}

impl PingReport {
    /// The shortest round trip in ms; `None` when nothing came back.
    #[must_use]
    pub fn min_ms(&self) -> Option<f64> {
        self.rtts_ms.iter().flatten().copied().min_by(f64::total_cmp)
    }

    /// How many requests were answered in time.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.rtts_ms.iter().flatten().count()
    }
}

impl Ping {
    /// Three requests of 56 bytes, 200 ms apart, each with a second to be answered.
    #[must_use]
    pub fn to(target: IpAddr) -> Self {
        Self {
            target,
            count: 3,
            interval: Duration::from_millis(200),
            timeout: Duration::from_secs(1),
            payload: 56,
            device: None,
            source: None,
            is_steady: false,
        }
    }

    /// How many requests.
    #[must_use]
    pub fn count(mut self, count: u16) -> Self {
        self.count = count;
        self
    }

    /// From one request to the next, if it is answered earlier.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sends every request at its time, whether those before it are answered or not: a long delay does
    /// not make for fewer requests.
    #[must_use]
    pub fn steadily(mut self) -> Self {
        self.is_steady = true;
        self
    }

    /// How long to wait for each answer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Bytes behind the 8 of the ICMP header. A request larger than the device's MTU is cut in
    /// fragments by the host, a smaller one must not be (IPv4's "don't fragment").
    #[must_use]
    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = bytes;
        self
    }

    /// Sends by this interface only.
    #[must_use]
    pub fn by_device(mut self, device: &str) -> Self {
        self.device = Some(device.to_owned());
        self
    }

    /// Sends from this address.
    #[must_use]
    pub fn from_address(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Runs on `host` and waits until it is over.
    ///
    /// # Errors
    /// When the socket cannot be made or bound. Requests without an answer are no error.
    pub fn run(&self, host: &Host) -> Result<PingReport> {
        self.run_while(host, || true)
    }

    /// The same, but ends early, before the next request, once `goes_on` says no.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_while(&self, host: &Host, goes_on: impl Fn() -> bool + Send) -> Result<PingReport> {
        let run = || match self.is_steady {
            true => self.run_steadily(goes_on),
            false => self.run_here(goes_on),
        };
        host.run(run).context("ping")?
    }

    fn run_here(&self, goes_on: impl Fn() -> bool) -> Result<PingReport> {
        let socket = self.open().context("cannot open a socket for echo requests")?;
        let clock = Clock::new();
        let mut report = PingReport { sent: 0, refused: 0, rtts_ms: Vec::new() };
        for sequence in (0..self.count).take_while(|_| goes_on()) {
            let sent_at = clock.now_us();
            if socket.send(&self.request(sequence)).is_err() {
                report.refused += 1;
                report.rtts_ms.push(None);
                std::thread::sleep(self.interval);
                continue;
            }
            report.sent += 1;
            let rtt_us = self.await_answer(&socket, sequence, &clock, sent_at)?;
            report.rtts_ms.push(rtt_us.map(|us| us as f64 / 1e3));
            let spent = Duration::from_micros(clock.now_us() - sent_at);
            if sequence + 1 < self.count {
                std::thread::sleep(self.interval.saturating_sub(spent));
            }
        }
        Ok(report)
    }

    fn run_steadily(&self, goes_on: impl Fn() -> bool) -> Result<PingReport> {
        let socket = self.open().context("cannot open a socket for echo requests")?;
        let mut requests =
            Steady { clock: Clock::new(), timeout: self.timeout, sent_at: Vec::new() };
        let mut report = PingReport { sent: 0, refused: 0, rtts_ms: Vec::new() };
        let start = requests.clock.now_us();
        for sequence in (0..self.count).take_while(|_| goes_on()) {
            requests.sent_at.push(requests.clock.now_us());
            report.rtts_ms.push(None);
            match socket.send(&self.request(sequence)) {
                Ok(_) => report.sent += 1,
                Err(_) => report.refused += 1,
            }
            if sequence + 1 < self.count {
                let next = start + self.interval.as_micros() as u64 * (u64::from(sequence) + 1);
                requests.take_answers(&socket, next, &mut report, false)?;
            }
        }
        let end = requests.clock.now_us() + self.timeout.as_micros() as u64;
        requests.take_answers(&socket, end, &mut report, true)?;
        Ok(report)
    }

    /// A datagram ICMP socket: the kernel fills in the identifier and checksum and gives us only the
    /// answers to our own requests (icmp(7), "ping sockets").
    fn open(&self) -> Result<Socket> {
        let (domain, protocol) = match self.target {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
        if let Some(device) = &self.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect(&SocketAddr::new(self.target, 0).into())?;
        Ok(socket)
    }

    /// RFC 792 and RFC 4443 section 4.1: type, code, checksum, identifier, sequence number, data.
    fn request(&self, sequence: u16) -> Vec<u8> {
        let mut packet = vec![0; HEADER_LEN + self.payload];
        packet[0] = if self.target.is_ipv4() { 8 } else { 128 };
        packet[6..8].copy_from_slice(&sequence.to_be_bytes());
        packet
    }

    /// Microseconds until the answer to request `sequence`; `None` when it does not come in time.
    fn await_answer(
        &self,
        mut socket: &Socket,
        sequence: u16,
        clock: &Clock,
        sent_at: u64,
    ) -> Result<Option<u64>> {
        let mut answer = [0; HEADER_LEN];
        loop {
            let spent = Duration::from_micros(clock.now_us() - sent_at);
            let left = self.timeout.saturating_sub(spent);
            if left < Duration::from_micros(1) {
                return Ok(None);
            }
            socket.set_read_timeout(Some(left))?;
            // The error queue's reports (unreachable, too big) end a wait too, and are no answer.
            if socket.read(&mut answer).is_err() {
                continue;
            }
            if answer[6..8] == sequence.to_be_bytes() {
                return Ok(Some(clock.now_us() - sent_at));
            }
        }
    }
}

/// Requests that do not wait for each other.
struct Steady {
    clock: Clock,
    timeout: Duration,
    /// When each request was sent, in the clock's microseconds.
    sent_at: Vec<u64>,
}

impl Steady {
    /// Writes down what arrives until `end`, or until all is answered if that `is_last`.
    fn take_answers(
        &self,
        mut socket: &Socket,
        end: u64,
        report: &mut PingReport,
        is_last: bool,
    ) -> Result<()> {
        let mut answer = [0; HEADER_LEN];
        loop {
            let left = end.saturating_sub(self.clock.now_us());
            if left == 0 || (is_last && report.answered() >= report.sent as usize) {
                return Ok(());
            }
            socket.set_read_timeout(Some(Duration::from_micros(left)))?;
            if socket.read(&mut answer).is_err() {
                continue;
            }
            let sequence = usize::from(u16::from_be_bytes([answer[6], answer[7]]));
            let Some(sent_at) = self.sent_at.get(sequence) else { continue };
            let rtt_us = self.clock.now_us() - sent_at;
            if Duration::from_micros(rtt_us) <= self.timeout {
                report.rtts_ms[sequence].get_or_insert(rtt_us as f64 / 1e3);
            }
        }
    }
}
