//! What sits between a host and the links.

use std::collections::VecDeque;
use std::net::SocketAddr;

use mlvpn_proto::resequencer::MAX_PACKETS;
use mlvpn_proto::time::Instant;

use super::network::{client_address, server_address};
use crate::packet::{Side, classify};

/// One end of a tunnel, driven by the [`super::World`]. After each input all outputs are drained.
pub trait Endpoint {
    /// What it reports.
    type Event: core::fmt::Debug;

    /// A datagram arrived on `link`.
    fn handle_datagram(&mut self, link: usize, from: SocketAddr, data: &mut [u8], now: Instant);
    /// The host sends an IP packet.
    fn handle_ip_packet(&mut self, packet: &[u8], now: Instant);
    /// The time of [`Self::poll_timeout`] has come.
    fn handle_timeout(&mut self, now: Instant);
    /// The next datagram to send.
    fn poll_transmit(&mut self, now: Instant) -> Option<Outgoing>;
    /// The next IP packet for the host.
    fn poll_ip_packet(&mut self) -> Option<Vec<u8>>;
    /// The next event.
    fn poll_event(&mut self) -> Option<Self::Event>;
    /// When to call [`Self::handle_timeout`].
    fn poll_timeout(&self) -> Option<Instant>;
    /// What its clock shows when the world's shows `now`.
    fn clock(&self, now: Instant) -> Instant {
        now
    }
    /// How many packets it holds back at present.
    fn held_packets(&self, _now: Instant) -> usize {
        0
    }
    /// How many it may hold back.
    fn held_limit(&self) -> usize {
        MAX_PACKETS
    }
}

/// A datagram on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// On which link.
    pub link: usize,
    /// To whom.
    pub to: SocketAddr,
    /// Bytes of outer headers that the link carries with it.
    pub overhead: usize,
    /// The contents.
    pub payload: Vec<u8>,
}

impl Outgoing {
    /// A UDP datagram: 28 bytes of headers over IPv4, 48 over IPv6.
    #[must_use]
    pub fn udp(link: usize, to: SocketAddr, payload: Vec<u8>) -> Self {
        Self { link, to, overhead: if to.is_ipv4() { 28 } else { 48 }, payload }
    }
}

/// No tunnel: IP packets go over the links as they are, by turns when there is more than one.
#[derive(Clone, Debug)]
pub struct PlainEndpoint {
    turns: Vec<usize>,
    next: usize,
    out: VecDeque<Outgoing>,
    received: VecDeque<Vec<u8>>,
}

impl PlainEndpoint {
    /// All packets go over the first link.
    #[must_use]
    pub fn new() -> Self {
        Self::striped(&[0])
    }

    /// Each packet goes over the next link of `turns`, round and round.
    ///
    /// # Panics
    /// When there is no turn.
    #[must_use]
    pub fn striped(turns: &[usize]) -> Self {
        assert!(!turns.is_empty(), "there must be a link to send on");
        Self { turns: turns.to_vec(), next: 0, out: VecDeque::new(), received: VecDeque::new() }
    }
}

impl Default for PlainEndpoint {
    fn default() -> Self {
        Self::new()
    }
}

impl Endpoint for PlainEndpoint {
    type Event = core::convert::Infallible;

    fn handle_datagram(&mut self, _link: usize, _from: SocketAddr, data: &mut [u8], _now: Instant) {
        self.received.push_back(data.to_vec());
    }

    fn handle_ip_packet(&mut self, packet: &[u8], _now: Instant) {
        let link = self.turns[self.next];
        self.next = (self.next + 1) % self.turns.len();
        let is_up =
            classify(packet).is_none_or(|(address, _)| *address.source.ip() == Side::Client.host());
        let to = if is_up { server_address(link) } else { client_address(link) };
        self.out.push_back(Outgoing { link, to, overhead: 0, payload: packet.to_vec() });
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_transmit(&mut self, _now: Instant) -> Option<Outgoing> {
        self.out.pop_front()
    }

    fn poll_ip_packet(&mut self) -> Option<Vec<u8>> {
        self.received.pop_front()
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
