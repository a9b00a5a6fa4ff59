//! What version 2 knows of a link.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A link as version 2 sees it. Rates are bytes per second on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathStatus {
    /// The number that both ends know it by.
    pub id: u8,
    /// What it is doing.
    pub state: PathState,
    /// What it can carry to the peer, as far as is known.
    pub capacity: u64,
    /// How its rate is being found.
    pub rate_state: RateState,
    /// How long packets stand in queues of the network on the way to the peer.
    pub queue_delay: Duration,
    /// The smallest round trip of the last half minute.
    pub min_rtt: Option<Duration>,
    /// Share of the packets to the peer that were lost, before repair, 0 to 1.
    pub loss_ratio: f64,
    /// Share of the packets from the peer that were lost, before repair, 0 to 1.
    pub received_loss_ratio: f64,
    /// What arrived at the peer in the last second; none until it is known.
    pub delivery_rate: Option<u64>,
    /// Bytes on their way.
    pub in_flight_bytes: u64,
    /// Packets that other links lost and that went over this one again.
    pub resent_packets: u64,
    /// Their bytes.
    pub resent_bytes: u64,
    /// The largest UDP payload that is known to arrive.
    pub mtu: u16,
}

/// Whether a path carries packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathState {
    /// It does.
    Up,
    /// Nothing arrives at present: others carry its packets, and it is probed.
    Suspect,
    /// It is not validated yet, or fell silent.
    Down,
}

impl PathState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
        }
    }
}

/// What the rate controller of a path is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RateState {
    /// The rate doubles every round trip until the path is full.
    Startup,
    /// No queue stands: the rate grows.
    Cruise,
    /// The queue wanted stands: the rate follows what arrives.
    Hold,
    /// Too much queue stands: less is sent.
    Drain,
    /// There is too little to send to learn more.
    NotLimited,
    /// The queue is drained to look at the empty network.
    Rebase,
}

impl RateState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Startup, Self::Cruise, Self::Hold, Self::Drain, Self::NotLimited, Self::Rebase];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Cruise => "cruise",
            Self::Hold => "hold",
            Self::Drain => "drain",
            Self::NotLimited => "not_limited",
            Self::Rebase => "rebase",
        }
    }
}
