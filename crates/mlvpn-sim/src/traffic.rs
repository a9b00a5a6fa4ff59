//! Traffic between the hosts behind both ends: it makes packets, answers them, and measures.

mod progress;
mod requests;
mod tcp;
mod udp;

pub use progress::Progress;
pub use requests::{Habit, Requests};
pub use tcp::TcpFlow;
pub use udp::{UdpFlow, UdpReport};

use std::net::SocketAddrV4;

use mlvpn_proto::time::Instant;

use crate::packet::{FlowAddress, Side};

/// First port on the client's side; each flow has its own.
const FIRST_PORT: u16 = 10_000;

/// The name of a flow in its [`crate::world::World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowId(pub(crate) u16);

impl FlowId {
    /// The addresses of packets from `side` to the service at `server_port`.
    pub(crate) fn address(self, side: Side, server_port: u16) -> FlowAddress {
        let client = SocketAddrV4::new(Side::Client.host(), FIRST_PORT + self.0);
        let server = SocketAddrV4::new(Side::Server.host(), server_port);
        let up = FlowAddress { source: client, destination: server };
        if side == Side::Client { up } else { up.reversed() }
    }

    /// The flow of a packet that goes towards `side`.
    pub(crate) fn of(address: FlowAddress, side: Side) -> Option<Self> {
        let client = match side {
            Side::Client => address.destination,
            Side::Server => address.source,
        };
        client.port().checked_sub(FIRST_PORT).map(Self)
    }
}

/// Any kind of traffic.
#[derive(Clone, Debug)]
pub enum Traffic {
    /// A bulk transfer over TCP.
    Tcp(Box<TcpFlow>),
    /// A constant rate of UDP.
    Udp(UdpFlow),
    /// Requests with responses over TCP, one after the other.
    Requests(Box<Requests>),
}

/// One call per kind of traffic.
macro_rules! each {
    ($traffic:expr, $flow:ident => $call:expr) => {
        match $traffic {
            Traffic::Tcp($flow) => $call,
            Traffic::Udp($flow) => $call,
            Traffic::Requests($flow) => $call,
        }
    };
}

impl Traffic {
    /// A packet of the flow arrives at the host of `side`.
    pub(crate) fn handle_packet(&mut self, side: Side, packet: &[u8], now: Instant) {
        each!(self, flow => flow.handle_packet(side, packet, now));
    }

    /// A packet that the host of `side` sent from `address` is larger than `mtu`, and was refused.
    pub(crate) fn handle_refusal(
        &mut self,
        side: Side,
        address: FlowAddress,
        mtu: usize,
        now: Instant,
    ) {
        match self {
            Self::Tcp(flow) => flow.handle_refusal(side, mtu, now),
            Self::Requests(flow) => flow.handle_refusal(side, address, mtu, now),
            // Its packets are as large as they are.
            Self::Udp(_) => {}
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        each!(self, flow => flow.handle_timeout(now));
    }

    /// The next packet and the side that sends it.
    pub(crate) fn poll_packet(&mut self, now: Instant) -> Option<(Side, Vec<u8>)> {
        each!(self, flow => flow.poll_packet(now))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        each!(self, flow => flow.poll_timeout())
    }
}
