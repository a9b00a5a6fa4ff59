//! Bulk transfer by TCP.

mod flow;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use mlvpn_io::clock::Clock;
use serde::Serialize;
use socket2::{Socket, Type};

use super::{Binding, CONNECT_TIMEOUT, PATIENCE, accept, join, open_socket};
use crate::host::Host;
use crate::interrupt::Interrupt;
use crate::series::{Recorder, Series};

/// Interval of the series.
const INTERVAL: Duration = Duration::from_millis(100);

/// Which way the bytes go, seen from the host that connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum TransferDirection {
    /// The listening host sends.
    Download,
    /// The connecting host sends.
    Upload,
}

/// One or more TCP connections that carry as much as they can for a given time.
#[derive(Debug, Clone)]
pub struct Transfer {
    client: Host,
    server: Host,
    address: IpAddr,
    direction: TransferDirection,
    flows: usize,
    congestion: Option<String>,
    duration: Duration,
    binding: Binding,
    seed: u64,
}

/// A transfer that goes on in its threads. Dropping it stops it.
#[derive(Debug)]
pub struct RunningTransfer {
    shared: Arc<Shared>,
    receivers: Vec<JoinHandle<Result<FlowReport>>>,
    senders: Vec<JoinHandle<Result<()>>>,
    name: String,
}

/// What a transfer has achieved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransferReport {
    /// Payload bytes at the receivers, all flows, per 100 ms.
    pub series: Series,
    /// Each connection.
    pub flows: Vec<FlowReport>,
}

/// What one connection has carried.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FlowReport {
    /// Payload bytes at the receiver.
    pub bytes: u64,
    /// Bytes among them that were not what was sent.
    pub wrong_bytes: u64,
    /// The longest time without any byte, in ms, from the start to the end.
    pub longest_silence_ms: f64,
}

/// What all threads of a transfer know.
#[derive(Debug)]
struct Shared {
    clock: Clock,
    start_us: u64,
    duration: Duration,
    stop: AtomicBool,
    recorder: Recorder,
}

impl TransferReport {
    /// All payload bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.flows.iter().map(|flow| flow.bytes).sum()
    }

    /// Bytes that were not what was sent.
    #[must_use]
    pub fn wrong_bytes(&self) -> u64 {
        self.flows.iter().map(|flow| flow.wrong_bytes).sum()
    }

    /// Mean Mbit/s of payload.
    #[must_use]
    pub fn mbit(&self) -> f64 {
        self.series.mean_mbit()
    }
}

impl Transfer {
    /// One flow for five seconds from `server`, which listens at `address`, to `client`.
    #[must_use]
    pub fn download(client: &Host, server: &Host, address: IpAddr) -> Self {
        Self {
            client: client.clone(),
            server: server.clone(),
            address,
            direction: TransferDirection::Download,
            flows: 1,
            congestion: None,
            duration: Duration::from_secs(5),
            binding: Binding::default(),
            seed: 1,
        }
    }

    /// The same from `client` to `server`.
    #[must_use]
    pub fn upload(client: &Host, server: &Host, address: IpAddr) -> Self {
        let direction = TransferDirection::Upload;
        Self { direction, ..Self::download(client, server, address) }
    }

    /// How many connections at the same time.
    #[must_use]
    pub fn flows(mut self, flows: usize) -> Self {
        self.flows = flows.max(1);
        self
    }

    /// The congestion control of the sender: "cubic", "bbr", "reno". Unless set, the kernel's default.
    #[must_use]
    pub fn congestion(mut self, name: &str) -> Self {
        self.congestion = Some(name.to_owned());
        self
    }

    /// How long to send.
    #[must_use]
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// The client connects by this interface.
    #[must_use]
    pub fn by_device(mut self, device: &str) -> Self {
        self.binding.device = Some(device.to_owned());
        self
    }

    /// The client connects from this address.
    #[must_use]
    pub fn from_address(mut self, source: IpAddr) -> Self {
        self.binding.source = Some(source);
        self
    }

    /// Decides what the bytes are.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// When a connection cannot be made or breaks, or the congestion control does not exist.
    pub fn run(&self) -> Result<TransferReport> {
        self.start()?.finish()
    }

    /// Connects all flows and starts to send; the duration counts from here.
    ///
    /// # Errors
    /// When a connection cannot be made, or the congestion control does not exist.
    pub fn start(&self) -> Result<RunningTransfer> {
        let pairs = self.connect_all()?;
        let clock = Clock::new();
        let shared = Arc::new(Shared {
            clock,
            start_us: clock.now_us(),
            duration: self.duration,
            stop: AtomicBool::new(false),
            recorder: Recorder::new(self.duration, INTERVAL),
        });
        let (receiving, sending) = match self.direction {
            TransferDirection::Download => (&self.client, &self.server),
            TransferDirection::Upload => (&self.server, &self.client),
        };
        let mut running = RunningTransfer {
            shared: Arc::clone(&shared),
            receivers: Vec::new(),
            senders: Vec::new(),
            name: format!("{} to {}", sending.name(), receiving.name()),
        };
        for (i, (at_client, at_server)) in pairs.into_iter().enumerate() {
            let (receiver, sender) = match self.direction {
                TransferDirection::Download => (at_client, at_server),
                TransferDirection::Upload => (at_server, at_client),
            };
            let seed = self.seed.wrapping_add(i as u64);
            let (for_receiver, for_sender) = (Arc::clone(&shared), Arc::clone(&shared));
            running.receivers.push(
                receiving
                    .spawn("tcp-receive", move || flow::receive(&receiver, seed, &for_receiver))?,
            );
            running
                .senders
                .push(sending.spawn("tcp-send", move || flow::send(&sender, seed, &for_sender))?);
        }
        Ok(running)
    }

    /// Pairs of the sockets at the client and at the server.
    fn connect_all(&self) -> Result<Vec<(Socket, Socket)>> {
        let address = SocketAddr::new(self.address, 0);
        let listener = self.server.run(|| TcpListener::bind(address))?;
        let listener: Socket = listener
            .with_context(|| format!("{} cannot listen at {address}", self.server.name()))?
            .into();
        let target = listener.local_addr()?;
        let connect = || -> Result<Socket> {
            let socket = open_socket(self.address, Type::STREAM)?;
            self.binding.apply(&socket).context("cannot bind the client's socket")?;
            socket
                .connect_timeout(&target, CONNECT_TIMEOUT)
                .with_context(|| format!("cannot connect to {address}"))?;
            Ok(socket)
        };
        let mut pairs = Vec::new();
        for _ in 0..self.flows {
            let at_client = self.client.run(connect)??;
            let at_server = accept(&listener, CONNECT_TIMEOUT)?;
            at_server.set_read_timeout(Some(PATIENCE))?;
            at_server.set_write_timeout(Some(PATIENCE))?;
            let sender = match self.direction {
                TransferDirection::Download => &at_server,
                TransferDirection::Upload => &at_client,
            };
            if let Some(name) = &self.congestion {
                sender
                    .set_tcp_congestion(name.as_bytes())
                    .with_context(|| format!("cannot use the congestion control {name}"))?;
            }
            pairs.push((at_client, at_server));
        }
        Ok(pairs)
    }
}

impl RunningTransfer {
    /// Payload bytes that have arrived so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.recorder.total()
    }

    /// Whether the duration is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.is_over()
    }

    /// Waits for the end of the duration. Returns the longest time without a byte of payload, of those
    /// that end from now on or last until then.
    ///
    /// # Errors
    /// When a signal says to stop.
    pub fn longest_silence(&self, interrupt: &Interrupt) -> Result<Duration> {
        let clock = Clock::new();
        let (mut bytes, mut since, mut longest_us) = (self.bytes(), clock.now_us(), 0);
        interrupt.wait(Duration::MAX, || {
            let (seen, now) = (self.bytes(), clock.now_us());
            longest_us = longest_us.max(now - since);
            if seen != bytes {
                (bytes, since) = (seen, now);
            }
            Ok(self.is_over())
        })?;
        Ok(Duration::from_micros(longest_us))
    }

    /// Waits for the end of the duration and for what is still under way to be given up.
    ///
    /// # Errors
    /// When a connection broke.
    pub fn finish(mut self) -> Result<TransferReport> {
        self.join_all()
    }

    /// Ends it now.
    ///
    /// # Errors
    /// When a connection broke.
    pub fn stop(mut self) -> Result<TransferReport> {
        self.shared.stop.store(true, Ordering::Release);
        self.join_all()
    }

    fn join_all(&mut self) -> Result<TransferReport> {
        let sent: Vec<_> = self.senders.drain(..).map(join).collect();
        let received: Vec<_> = self.receivers.drain(..).map(join).collect();
        sent.into_iter().collect::<Result<Vec<_>>>()?;
        let flows = received.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(TransferReport { series: self.shared.recorder.series(&self.name), flows })
    }
}

impl Drop for RunningTransfer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Nobody is left to be told of a broken connection.
        let _ = self.join_all();
    }
}

impl Shared {
    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.clock.now_us() - self.start_us)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire) || self.elapsed() >= self.duration
    }
}
