//! Numbers about a session, as a plain snapshot.

use std::net::SocketAddr;

use crate::drop::DropCounts;
use crate::event::{DownReason, Quality};
use crate::handshake::v1::LinkState;
use crate::id::LinkIndex;
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
}

/// A session at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionStats {
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
    /// Smoothed round-trip time.
    pub srtt: Option<Duration>,
    /// Its variation.
    pub rttvar: Option<Duration>,
    /// Loss in percent over the last 64 packets that the peer sent.
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
}
