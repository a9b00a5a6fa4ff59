//! Numbers about a session, as a plain snapshot.

use std::net::SocketAddr;

use crate::crypto::keypair::PublicKey;
use crate::drop::DropCounts;
use crate::event::{DownReason, Quality};
use crate::handshake::v1::LinkState;
use crate::id::{LinkIndex, PathId};
use crate::lanes::LaneStats;
use crate::path::rate::State as RateState;
use crate::policy::{LinkTerms, Policy};
use crate::recovery::RecoveryStats;
use crate::resequencer::ResequencerStats;
use crate::time::{Duration, Instant};

/// Packets and bytes, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// How many packets.
    pub packets: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Traffic {
    /// Counts a packet of `len` bytes.
    pub fn count(&mut self, len: usize) {
        self.packets += 1;
        self.bytes += len as u64;
    }

    /// Counts all that `other` counted.
    pub fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }

    /// Of both numbers the greater one.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { packets: self.packets.max(other.packets), bytes: self.bytes.max(other.bytes) }
    }
}

/// A version of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// That of mlvpn 2.x.
    V1,
    /// Ours.
    V2,
}

/// A path of version 2 at one moment. Rates are bytes per second on the wire.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PathStats {
    /// Its id.
    pub id: PathId,
    /// What it can carry from this end to the peer, as far as is known.
    pub capacity: u64,
    /// What the rate controller is doing.
    pub rate_state: RateState,
    /// How long packets stand in queues of the network on the way to the peer.
    pub queue_delay: Duration,
    /// The smallest round trip of the last half minute.
    pub min_rtt: Option<Duration>,
    /// Share of the packets to the peer that were lost, 0 to 1, before repair.
    pub loss: f64,
    /// The same of the packets from the peer.
    pub received_loss: f64,
    /// What arrived at the peer, over the last second and up to one report more; none until it is known.
    pub delivery_rate: Option<u64>,
    /// Bytes on their way.
    pub in_flight: u64,
    /// Packets that were lost on other paths and sent again on this one.
    pub resent: Traffic,
    /// The largest UDP payload that is known to arrive.
    pub mtu: u16,
    /// Whether nothing arrives at present.
    pub is_suspect: bool,
    /// What both ends want of it.
    pub terms: LinkTerms,
}

/// A peer that speaks version 2, at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerStats {
    /// Who it is; none with a password.
    pub peer: Option<PublicKey>,
    /// What it calls its software. It comes from the peer: show it only escaped.
    pub software: Option<String>,
    /// When the session began.
    pub since: Instant,
    /// How the order of its packets was restored.
    pub lanes: LaneStats,
    /// Packets waiting in the ingress queue, and their bytes.
    pub queued: Traffic,
    /// Packets that were marked for congestion instead of being dropped.
    pub marked: u64,
    /// Lost packets that were sent again, and that were given up.
    pub recovery: RecoveryStats,
    /// Lanes that are striped over several paths.
    pub striped: usize,
    /// Packets with feedback that were sent to it, with all headers.
    pub feedback: Traffic,
    /// How packets are given to the paths, in both directions.
    pub policy: Policy,
    /// Second copies of packets.
    pub copies: CopyStats,
}

/// What became of second copies of packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CopyStats {
    /// Sent.
    pub sent: u64,
    /// Not sent, for want of room.
    pub withheld: u64,
}

/// A session at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionStats {
    /// The version that is spoken; none while nothing is up.
    pub version: Option<Version>,
    /// Peers that speak version 2.
    pub peers: Vec<PeerStats>,
    /// IP packets taken from the tunnel interface and sent.
    pub from_tun: Traffic,
    /// IP packets received and given to the tunnel interface.
    pub to_tun: Traffic,
    /// Packets that were dropped, by reason.
    pub drops: DropCounts,
    /// How the order was restored.
    pub resequencer: ResequencerStats,
    /// All links, in the order of their slots.
    pub links: Vec<LinkStats>,
}

/// A link at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkStats {
    /// Its slot.
    pub link: LinkIndex,
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub state: LinkState,
    /// Whether a request to take it up is on its way.
    pub is_asking: bool,
    /// When that state was entered.
    pub since: Instant,
    /// Why it is not up, or was not before.
    pub reason: DownReason,
    /// Whether it is within its tolerances.
    pub quality: Quality,
    /// Whether data goes over it at present.
    pub is_used: bool,
    /// The peer's address, once known.
    pub remote: Option<SocketAddr>,
    /// Datagrams sent; bytes are UDP payload.
    pub sent: Traffic,
    /// Authentic datagrams received; bytes are UDP payload.
    pub received: Traffic,
    /// Datagrams sent to all peers that are reached over the link, in the sessions that there are now. It
    /// becomes less when a session ends.
    pub sent_to_all: Traffic,
    /// Authentic datagrams received from all of them.
    pub received_from_all: Traffic,
    /// Smoothed round-trip time.
    pub srtt: Option<Duration>,
    /// Its variation.
    pub rttvar: Option<Duration>,
    /// Loss in percent among the latest packets that the peer sent.
    pub loss_percent: u8,
    /// How much slower than the fastest link packets come over it, in milliseconds.
    pub delay_behind_fastest_ms: Option<f64>,
    /// How often it went down.
    pub disconnects: u64,
    /// When the last authentic packet came.
    pub last_received: Option<Instant>,
    /// Its weight in bytes per second, when configured.
    pub weight: Option<u64>,
    /// Its timeout.
    pub timeout: Duration,
    /// Whether it is only used when no other link can be.
    pub fallback_only: bool,
    /// What version 2 knows of it.
    pub path: Option<PathStats>,
}

/// How much is kept for sessions of version 2 that the network, or a peer, may make grow: for those who check the
/// bounds. What is received, and what waits to be sent first, is in [`PeerStats`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Footprint {
    /// Indices that packets may bear, and those that are kept back.
    pub indices: usize,
    /// Epochs with keys to open packets.
    pub epochs: usize,
    /// Handshake messages that wait to be sent.
    pub messages: usize,
    /// Other packets of the sessions themselves that wait to be sent.
    pub controls: usize,
    /// Packets that were sent on a path and of which no news came, and their bytes on the wire: of the path with the most.
    pub in_flight: Traffic,
    /// Packets that wait to be sent again.
    pub repairs: usize,
    /// Numbers of packets that were given up, of which the peer has not been told.
    pub skips: usize,
    /// Second copies of packets that wait, and those known to have arrived.
    pub copies: usize,
}

impl Footprint {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            indices: self.indices + other.indices,
            epochs: self.epochs + other.epochs,
            messages: self.messages + other.messages,
            controls: self.controls + other.controls,
            in_flight: self.in_flight.max(other.in_flight),
            repairs: self.repairs + other.repairs,
            skips: self.skips + other.skips,
            copies: self.copies + other.copies,
        }
    }

    /// The first number that is above that of `most`, by its name.
    #[must_use]
    pub fn beyond(&self, most: &Self) -> Option<&'static str> {
        let pairs = self.named().into_iter().zip(most.named());
        pairs.into_iter().find(|((_, kept), (_, most))| kept > most).map(|((name, _), _)| name)
    }

    fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("indices", self.indices as u64),
            ("epochs", self.epochs as u64),
            ("messages", self.messages as u64),
            ("controls", self.controls as u64),
            ("packets in flight", self.in_flight.packets),
            ("bytes in flight", self.in_flight.bytes),
            ("repairs", self.repairs as u64),
            ("skips", self.skips as u64),
            ("copies", self.copies as u64),
        ]
    }
}
