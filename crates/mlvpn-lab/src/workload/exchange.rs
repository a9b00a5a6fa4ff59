//! Requests and responses on one TCP connection, as of a person who works through the tunnel.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mlvpn_io::clock::Clock;
use serde::Serialize;
use socket2::{Socket, Type};

use super::{Binding, Content, Delays, accept, join, open_socket};
use crate::host::Host;

/// A client that asks, waits for the whole answer, and asks again.
#[derive(Debug, Clone)]
pub struct Exchange {
    client: Host,
    server: Host,
    address: IpAddr,
    count: u32,
    request: usize,
    response: usize,
    pause: Duration,
    timeout: Duration,
    binding: Binding,
}

/// How long the answers took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExchangeReport {
    /// To set up the connection, in ms.
    pub connect_ms: f64,
    /// From the first byte of each request to the last of its response.
    pub delays: Delays,
    /// Bytes of responses that were not what was sent.
    pub wrong_bytes: u64,
}

impl Exchange {
    /// Twenty requests of 200 bytes with responses of 10,000, one right after the other.
    #[must_use]
    pub fn new(client: &Host, server: &Host, address: IpAddr) -> Self {
        Self {
            client: client.clone(),
            server: server.clone(),
            address,
            count: 20,
            request: 200,
            response: 10_000,
            pause: Duration::ZERO,
            timeout: Duration::from_secs(10),
            binding: Binding::default(),
        }
    }

    /// How many requests.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// Bytes of a request and of a response, at least one each.
    #[must_use]
    pub fn sizes(mut self, request: usize, response: usize) -> Self {
        (self.request, self.response) = (request.max(1), response.max(1));
        self
    }

    /// Time between a response and the next request.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// How long to wait for connecting, and for each piece of a response.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Connects by this interface.
    #[must_use]
    pub fn by_device(mut self, device: &str) -> Self {
        self.binding.device = Some(device.to_owned());
        self
    }

    /// Connects from this address.
    #[must_use]
    pub fn from_address(mut self, source: IpAddr) -> Self {
        self.binding.source = Some(source);
        self
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// When the connection cannot be made, breaks, or stays silent for longer than the timeout.
    pub fn run(&self) -> Result<ExchangeReport> {
        let address = SocketAddr::new(self.address, 0);
        let listener = self.server.run(|| TcpListener::bind(address))?;
        let listener = listener
            .with_context(|| format!("{} cannot listen at {address}", self.server.name()))?;
        let target = listener.local_addr()?;
        let listener = Socket::from(listener);
        // Connected before the server waits for it, so that it need not wait in vain.
        let clock = Clock::new();
        let start = clock.now_us();
        let client = self.client.run(|| self.connect(target))??;
        let connect_ms = (clock.now_us() - start) as f64 / 1e3;
        let plan = self.clone();
        let serving = self.server.spawn("answer", move || plan.answer_all(&listener))?;
        let asked = self.client.run(|| self.ask_all(client))?;
        let served = join(serving);
        let (delays_us, wrong_bytes) = asked?;
        served?;
        Ok(ExchangeReport { connect_ms, delays: Delays::of_micros(delays_us), wrong_bytes })
    }

    fn connect(&self, target: SocketAddr) -> Result<TcpStream> {
        let socket = open_socket(self.address, Type::STREAM)?;
        self.binding.apply(&socket).context("cannot bind the client's socket")?;
        socket
            .connect_timeout(&target.into(), self.timeout)
            .with_context(|| format!("cannot connect to {target}"))?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(self.timeout))?;
        socket.set_write_timeout(Some(self.timeout))?;
        Ok(socket.into())
    }

    /// Microseconds of each exchange, and wrong bytes.
    fn ask_all(&self, mut stream: TcpStream) -> Result<(Vec<u64>, u64)> {
        let clock = Clock::new();
        let request = vec![0; self.request];
        let mut response = vec![0; self.response];
        let mut content = Content::new(0);
        let (mut delays, mut wrong) = (Vec::new(), 0);
        for number in 0..self.count {
            let start = clock.now_us();
            let exchange = stream.write_all(&request);
            exchange
                .and_then(|()| stream.read_exact(&mut response))
                .with_context(|| format!("request {number} of {} was not answered", self.count))?;
            delays.push(clock.now_us() - start);
            wrong += content.verify(&mut response);
            std::thread::sleep(self.pause);
        }
        Ok((delays, wrong))
    }

    fn answer_all(&self, listener: &Socket) -> Result<()> {
        let mut stream = TcpStream::from(accept(listener, self.timeout)?);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeout + self.pause))?;
        stream.set_write_timeout(Some(self.timeout))?;
        let mut request = vec![0; self.request];
        let mut response = vec![0; self.response];
        let mut content = Content::new(0);
        loop {
            match stream.read_exact(&mut request) {
                Ok(()) => {}
                // The client has all its answers and hangs up.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error).context("cannot read a request"),
            }
            ensure!(request.iter().all(|byte| *byte == 0), "a request is corrupt");
            content.fill(&mut response);
            stream.write_all(&response).context("cannot send a response")?;
        }
    }
}
