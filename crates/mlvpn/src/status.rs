//! What the program is doing, as plain data: published by the data thread now and then, served by
//! the control thread as JSON ([`StatusSnapshot::to_json`]) and Prometheus text
//! ([`StatusSnapshot::to_metrics`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod condition;
pub mod history;
mod json;
mod metrics;
mod path;
mod peer;
mod rate;

pub use condition::{Condition, span};
pub use path::{PathState, PathStatus, RateState};
pub use peer::{CopyStatus, FeedbackStatus, LaneStatus, PeerStatus, QueueStatus, RecoveryStatus};
pub use rate::{Rates, Volume};

/// Everything that the status page tells, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusSnapshot {
    /// The program's name, or that of `--name`.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// Process id of the process that carries the data.
    pub pid: u32,
    /// Which end this is.
    pub mode: Mode,
    /// When the program started, in seconds of Unix time.
    pub start_time_unix: u64,
    /// When the configuration was last read, in seconds of Unix time.
    pub last_reload_unix: u64,
    /// Time since the start, by the monotonic clock.
    pub uptime: Duration,
    /// The interface of the tunnel.
    pub tuntap: TuntapStatus,
    /// What keeps the process that carries the data from doing anything else.
    pub sandbox: SandboxStatus,
    /// Version of the wire protocol that is spoken: 1 or 2; none while no link is up.
    pub protocol_version: Option<u8>,
    /// What went through the tunnel's interface.
    pub session: SessionCounters,
    /// What goes through the interface now; none in the first second.
    pub rates: Option<Rates>,
    /// The resequencer; with version 2 those of all peers together.
    pub reorder: ReorderStatus,
    /// Peers that speak version 2.
    pub peers: Vec<PeerStatus>,
    /// The links, in the order of the configuration.
    pub links: Vec<LinkStatus>,
}

impl StatusSnapshot {
    /// A snapshot of a program that has just started and has no link yet.
    #[must_use]
    pub fn starting(name: &str, mode: Mode, pid: u32, start_time_unix: u64) -> Self {
        Self {
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid,
            mode,
            start_time_unix,
            last_reload_unix: start_time_unix,
            uptime: Duration::ZERO,
            tuntap: TuntapStatus::default(),
            sandbox: SandboxStatus::default(),
            protocol_version: None,
            session: SessionCounters::default(),
            rates: None,
            reorder: ReorderStatus::default(),
            peers: Vec::new(),
            links: Vec::new(),
        }
    }

    /// The answer to `status`: JSON, with the C program's fields first and under its names.
    /// Ends with a line feed. docs/status.md lists the fields.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::render(self)
    }

    /// The answer to `metrics`: the Prometheus text format, version 0.0.4.
    /// docs/status.md lists the metrics.
    #[must_use]
    pub fn to_metrics(&self) -> String {
        metrics::render(self)
    }
}

/// Which end of the tunnel this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Calls the other end.
    Client,
    /// Waits to be called.
    Server,
}

impl Mode {
    /// The word that the configuration file uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// What the process that carries the data is confined by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxStatus {
    /// The version of landlock's interface; none: the kernel has no landlock.
    pub landlock_abi: Option<u8>,
    /// Whether system calls are filtered.
    pub has_seccomp: bool,
}

/// The tunnel's interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TuntapStatus {
    /// Tun or tap.
    pub kind: TuntapKind,
    /// Name of the interface; empty until it is open.
    pub name: String,
    /// Its MTU in bytes.
    pub mtu: u16,
}

/// What the interface carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TuntapKind {
    /// IP packets.
    #[default]
    Tun,
    /// Ethernet frames.
    Tap,
}

impl TuntapKind {
    /// The word that the configuration file uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tun => "tun",
            Self::Tap => "tap",
        }
    }
}

/// What went through the tunnel's interface since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCounters {
    /// IP packets (frames in tap mode) read from the interface.
    pub packets_from_tun: u64,
    /// Their bytes.
    pub bytes_from_tun: u64,
    /// IP packets (frames in tap mode) written to the interface.
    pub packets_to_tun: u64,
    /// Their bytes.
    pub bytes_to_tun: u64,
    /// What was refused, by the name of the reason (`snake_case`).
    pub drops: BTreeMap<String, u64>,
}

/// The state and the counters of the resequencer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReorderStatus {
    /// False when packets are passed on as they come.
    pub enabled: bool,
    /// Packets held now because an earlier one is missing.
    pub held_packets: u64,
    /// How long a missing packet is waited for at present.
    pub wait: Duration,
    /// Packets passed on without having waited for another one.
    pub released_in_order: u64,
    /// Packets passed on because it was proved that the missing one will not come.
    pub released_by_proof: u64,
    /// Packets passed on because the wait was over.
    pub released_by_deadline: u64,
    /// Packets that came after their place had been given up.
    pub late: u64,
}

/// One link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Name of its section.
    pub name: String,
    /// Which end this is, on this link.
    pub mode: Mode,
    /// How it is attached, as configured.
    pub attachment: Attachment,
    /// The address that the peer is at: resolved, or heard from.
    pub remote: Option<SocketAddr>,
    /// What it is doing.
    pub state: LinkState,
    /// Time since the state changed last.
    pub state_age: Duration,
    /// Why it went down last; none when it never did.
    pub last_down_reason: Option<String>,
    /// Times that it went down.
    pub disconnects: u64,
    /// What went over it.
    pub traffic: LinkTraffic,
    /// What went over it to and from all peers, which rates are made of.
    pub volume: Volume,
    /// What goes over it now, to and from all peers; none where that is not known.
    pub rates: Option<Rates>,
    /// The most that came over it in one of the last 300 seconds, in bytes per second: what it can carry from
    /// the peers is no less.
    pub received_peak: Option<u64>,
    /// Why it has no socket; none when it has, or when one is being opened for the first time.
    pub trouble: Option<String>,
    /// Switched off by hand.
    pub is_disabled: bool,
    /// How it measures.
    pub quality: LinkQuality,
    /// Limits and roles, as configured.
    pub limits: LinkLimits,
    /// When the last packet of the peer came, in seconds of Unix time; none when none did.
    pub last_packet_unix: Option<u64>,
    /// Failed system calls on its socket.
    pub socket_errors: u64,
    /// What version 2 knows of it; none while that is not spoken on it.
    pub path: Option<PathStatus>,
}

impl LinkStatus {
    /// Share of the latest packets that were lost, 0 to 1: of those to the peer with version 2, of those from it
    /// with version 1.
    #[must_use]
    pub fn loss_ratio(&self) -> f64 {
        self.path.map_or(self.quality.loss_ratio, |path| path.loss_ratio)
    }
}

/// How a link is attached to the network, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// `bindhost`.
    pub bind_host: Option<String>,
    /// `bindport`.
    pub bind_port: Option<u16>,
    /// `binddev`.
    pub bind_device: Option<String>,
    /// `bindfib`; 0 when unset.
    pub bind_fib: u32,
    /// `remotehost`.
    pub remote_host: Option<String>,
    /// `remoteport`.
    pub remote_port: Option<u16>,
}

/// Datagrams on a link since the start; with version 2 since the session began in which its path is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkTraffic {
    /// Datagrams sent.
    pub sent_packets: u64,
    /// Datagrams received and accepted.
    pub received_packets: u64,
    /// UDP payload bytes sent.
    pub sent_bytes: u64,
    /// UDP payload bytes received and accepted.
    pub received_bytes: u64,
}

/// What is measured on a link; none until there is a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinkQuality {
    /// Smoothed round-trip time (RFC 6298).
    pub srtt: Option<Duration>,
    /// Round-trip time variation (RFC 6298).
    pub rttvar: Option<Duration>,
    /// One-way delay from the peer above that of the fastest link, in milliseconds.
    pub relative_delay_ms: Option<f64>,
    /// Share of the latest packets that did not come, 0 to 1.
    pub loss_ratio: f64,
    /// Carries data when its turn comes.
    pub usable: bool,
    /// Loses more than `loss_tolerence`.
    pub lossy: bool,
    /// Slower than `latency_tolerence`.
    pub slow: bool,
}

/// Limits and roles of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkLimits {
    /// `bandwidth_upload` in bytes per second, the weight in the balancing; 0 when unset.
    pub bandwidth: u64,
    /// `timeout`.
    pub timeout: Duration,
    /// `fallback_only`.
    pub fallback_only: bool,
    /// `max_rate` in bytes per second. This and what follows is what both ends together want, once they have
    /// spoken.
    pub max_rate: Option<u64>,
    /// `cost` in milliseconds.
    pub cost_ms: u64,
    /// `metered`.
    pub metered: bool,
}

/// What a link is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkState {
    /// No socket, or nothing sent yet.
    Disconnected,
    /// Asks the peer to authenticate, without an answer so far.
    WaitingPeer,
    /// Up.
    Connected,
    /// Up, but loses too much.
    Lossy,
    /// Up, but too slow.
    Slow,
}

impl LinkState {
    /// Whether packets can go over it.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Connected | Self::Lossy | Self::Slow)
    }

    /// The words of the C program.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::WaitingPeer => "waiting peer",
            Self::Connected => "connected",
            Self::Lossy => "lossy link",
            Self::Slow => "slow link",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
