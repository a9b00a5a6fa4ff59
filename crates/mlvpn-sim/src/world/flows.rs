//! The traffic of a world: adding it and reading what it measured.

use core::time::Duration;

use mlvpn_proto::time::Instant;

use super::{Endpoint, World};
use crate::packet::Side;
use crate::tcp::CongestionControl;
use crate::traffic::{FlowId, Habit, Requests, TcpFlow, Traffic, UdpFlow, UdpReport};

const BULK_PORT: u16 = 80;
const UDP_PORT: u16 = 5_001;

impl<E: Endpoint> World<E> {
    /// Starts an endless TCP download to the client.
    pub fn download(&mut self) -> FlowId {
        self.transfer(Side::Server, u64::MAX)
    }

    /// Starts an endless TCP upload from the client.
    pub fn upload(&mut self) -> FlowId {
        self.transfer(Side::Client, u64::MAX)
    }

    /// Starts a TCP transfer of `bytes` from `from`.
    pub fn transfer(&mut self, from: Side, bytes: u64) -> FlowId {
        self.transfer_with(CongestionControl::Cubic, from, bytes)
    }

    /// Starts a TCP transfer of `bytes` from `from` whose sender is governed by `control`.
    pub fn transfer_with(&mut self, control: CongestionControl, from: Side, bytes: u64) -> FlowId {
        let id = self.next_flow();
        let address = id.address(from, BULK_PORT);
        let flow = TcpFlow::new(from, address, self.inner_mtu, bytes).with_control(control);
        self.traffic.push(Traffic::Tcp(Box::new(flow)));
        id
    }

    /// Starts UDP of `size` bytes per IP packet at `mbit` Mbit/s from `from`.
    pub fn udp(&mut self, from: Side, size: usize, mbit: f64) -> FlowId {
        let id = self.next_flow();
        let rate = (mbit * 1e6).round() as u64;
        let flow = UdpFlow::new(from, id.address(from, UDP_PORT), size, rate, self.now);
        self.traffic.push(Traffic::Udp(flow));
        id
    }

    /// Starts requests and responses of `bytes` (request, response) with `think` time between.
    pub fn requests(&mut self, bytes: (u64, u64), think: Duration) -> FlowId {
        let (request, response) = bytes;
        self.ask(Habit::Same { request, response, think })
    }

    /// Starts requests of a browsing user at the client, each like no other.
    pub fn browsing(&mut self) -> FlowId {
        let name = format!("browsing {}", self.traffic.len());
        self.ask(Habit::Browsing(Box::new(self.seed.stream(&name))))
    }

    fn ask(&mut self, habit: Habit) -> FlowId {
        let id = self.next_flow();
        let flow = Requests::new(id, self.inner_mtu, habit, self.now);
        self.traffic.push(Traffic::Requests(Box::new(flow)));
        id
    }

    fn next_flow(&self) -> FlowId {
        FlowId(self.traffic.len() as u16)
    }

    /// The TCP transfer `id`.
    ///
    /// # Panics
    /// When `id` is another kind of traffic.
    #[must_use]
    pub fn tcp(&self, id: FlowId) -> &TcpFlow {
        match &self.traffic[usize::from(id.0)] {
            Traffic::Tcp(flow) => flow,
            other => panic!("{id:?} is no TCP transfer: {other:?}"),
        }
    }

    /// The UDP flow `id`.
    ///
    /// # Panics
    /// When `id` is another kind of traffic.
    #[must_use]
    pub fn udp_flow(&self, id: FlowId) -> &UdpFlow {
        match &self.traffic[usize::from(id.0)] {
            Traffic::Udp(flow) => flow,
            other => panic!("{id:?} is no UDP flow: {other:?}"),
        }
    }

    /// The UDP flow `id`, to be stopped.
    ///
    /// # Panics
    /// When `id` is another kind of traffic.
    pub fn stop_udp(&mut self, id: FlowId) {
        match &mut self.traffic[usize::from(id.0)] {
            Traffic::Udp(flow) => flow.stop_at(self.now),
            other => panic!("{id:?} is no UDP flow: {other:?}"),
        }
    }

    /// Stops the UDP flow `id`, and lets its last packets arrive within a second. Returns what became of
    /// all of them.
    ///
    /// # Panics
    /// When `id` is another kind of traffic.
    pub fn finish_udp(&mut self, id: FlowId) -> UdpReport {
        self.stop_udp(id);
        self.run_for(Duration::from_secs(1));
        self.udp_flow(id).report(self.now)
    }

    /// How long each request of `id` took.
    ///
    /// # Panics
    /// When `id` is another kind of traffic.
    #[must_use]
    pub fn request_times(&self, id: FlowId) -> &[Duration] {
        match &self.traffic[usize::from(id.0)] {
            Traffic::Requests(flow) => flow.times(),
            other => panic!("{id:?} are no requests: {other:?}"),
        }
    }

    /// Mbit/s that the TCP transfer `id` delivered between the seconds `from` and `to`.
    #[must_use]
    pub fn goodput(&self, id: FlowId, from: u64, to: u64) -> f64 {
        let progress = self.tcp(id).progress();
        progress.rate(Instant::from_secs(from), Instant::from_secs(to)) / 1e6
    }
}
