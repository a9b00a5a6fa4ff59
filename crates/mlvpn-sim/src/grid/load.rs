//! What is sent through a tunnel.

use core::fmt;

use crate::packet::Side;
use crate::tcp::CongestionControl;
use crate::traffic::FlowId;
use crate::world::{SessionEndpoint, World};

/// Packets of a sparse flow: bytes, and Mbit/s that make fifty a second.
const PROBE: (usize, f64) = (100, 0.04);
/// A call with G.711: 160 bytes of voice in packets of 200 bytes, fifty a second.
const CALL: (usize, f64) = (200, 0.08);
const CALLS: usize = 4;
const USERS: usize = 6;
/// Bytes of the packets of constant UDP: what the tunnel carries in 1500.
pub(super) const UDP_SIZE: usize = 1_440;

/// A kind of load. A sparse flow of fifty packets a second goes beside each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// So many transfers by CUBIC.
    Cubic(usize),
    /// So many transfers by BBR.
    Bbr(usize),
    /// Constant UDP that takes nine tenths of what the links can carry.
    Udp,
    /// Six users who ask for something, read it, and ask again.
    Web,
    /// Four calls, each both ways, beside a download and an upload by CUBIC.
    Calls,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cubic(flows) => write!(f, "cubic-{flows}"),
            Self::Bbr(flows) => write!(f, "bbr-{flows}"),
            Self::Udp => write!(f, "udp"),
            Self::Web => write!(f, "web"),
            Self::Calls => write!(f, "calls"),
        }
    }
}

/// The flows of a load.
#[derive(Clone, Debug, Default)]
pub(super) struct Flows {
    pub(super) transfers: Vec<FlowId>,
    pub(super) udp: Option<FlowId>,
    pub(super) users: Vec<FlowId>,
    pub(super) sparse: Vec<FlowId>,
}

impl Load {
    pub(super) fn start(
        self,
        world: &mut World<SessionEndpoint>,
        from: Side,
        udp_mbit: f64,
    ) -> Flows {
        let mut flows = Flows::default();
        let transfers = |world: &mut World<SessionEndpoint>, control, count| {
            (0..count).map(|_| world.transfer_with(control, from, u64::MAX)).collect::<Vec<_>>()
        };
        match self {
            Self::Cubic(count) => {
                flows.transfers = transfers(world, CongestionControl::Cubic, count);
            }
            Self::Bbr(count) => flows.transfers = transfers(world, CongestionControl::Bbr, count),
            Self::Udp => {
                let inside = udp_mbit * UDP_SIZE as f64 / 1_500.0;
                flows.udp = Some(world.udp(from, UDP_SIZE, inside));
            }
            Self::Web => flows.users = (0..USERS).map(|_| world.browsing()).collect(),
            Self::Calls => {
                flows.transfers = transfers(world, CongestionControl::Cubic, 1);
                world.transfer(from.other(), u64::MAX);
                for _ in 0..CALLS {
                    flows.sparse.push(world.udp(from, CALL.0, CALL.1));
                    world.udp(from.other(), CALL.0, CALL.1);
                }
            }
        }
        if flows.sparse.is_empty() {
            flows.sparse = vec![world.udp(from, PROBE.0, PROBE.1)];
        }
        flows
    }
}
