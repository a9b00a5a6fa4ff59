//! The answers to `status` and `history`, as far as they are shown. What an older program does not tell
//! is missing, not wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Deserialize;

use crate::status::Condition;

/// The answer to `status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/status.md is the reference of these fields")]
pub struct Status {
    pub name: String,
    pub version: String,
    pub mode: String,
    pub uptime_seconds: f64,
    pub protocol_version: Option<u8>,
    pub tuntap: Tuntap,
    pub rate: Option<Rate>,
    pub session: Session,
    pub peers: Vec<Peer>,
    pub tunnels: Vec<Link>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/status.md is the reference of these fields")]
pub struct Tuntap {
    pub name: String,
    pub mtu: u32,
}

/// Bytes per second.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "docs/status.md is the reference of these fields")]
pub struct Rate {
    pub sent: u64,
    pub received: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/status.md is the reference of these fields")]
pub struct Session {
    pub bytes_from_tun: u64,
    pub bytes_to_tun: u64,
    pub drops: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/status.md is the reference of these fields")]
pub struct Peer {
    pub name: Option<String>,
    pub public_key: Option<String>,
    pub software: Option<String>,
    pub uptime_seconds: f64,
    pub policy: Option<String>,
}

/// An element of `tunnels`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/status.md is the reference of these fields")]
pub struct Link {
    pub name: String,
    pub bandwidth: u64,
    pub condition: String,
    pub remark: Option<String>,
    pub srtt_ms: Option<f64>,
    pub loss_ratio: Option<f64>,
    pub rate: Option<Rate>,
    pub received_peak: Option<u64>,
    pub remote_address: Option<SocketAddr>,
    pub path: Option<Path>,
    pub fallback_only: bool,
    pub disabled: bool,
    pub status: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/status.md is the reference of these fields")]
pub struct Path {
    pub capacity: u64,
    pub loss_ratio: Option<f64>,
    pub received_loss_ratio: Option<f64>,
    pub mtu: u32,
}

/// The answer to `history`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/status.md is the reference of these fields")]
pub struct History {
    pub at_seconds: Vec<f64>,
    pub tunnel: Columns,
    pub links: Vec<Track>,
    pub events: Vec<Event>,
}

/// Bytes per second, step by step.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/status.md is the reference of these fields")]
pub struct Columns {
    pub sent: Vec<Option<u64>>,
    pub received: Vec<Option<u64>>,
}

/// A link, step by step.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/status.md is the reference of these fields")]
pub struct Track {
    pub name: String,
    #[serde(flatten)]
    pub columns: Columns,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/status.md is the reference of these fields")]
pub struct Event {
    pub unix_seconds: f64,
    pub kind: String,
    pub link: Option<String>,
    pub text: String,
}

impl Link {
    /// Whether it carries nothing and measures nothing: switched off, without a socket or without an answer.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let idle = [Condition::Off, Condition::Down, Condition::Waiting];
        idle.iter().any(|condition| condition.as_str() == self.condition)
    }

    /// What goes over it in both directions, in bytes per second.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.rate.map_or(0, |rate| rate.sent.saturating_add(rate.received))
    }

    /// Its share of what goes over all links, of which `total` bytes go in a second; none while nothing does.
    #[must_use]
    pub fn share(&self, total: u64) -> Option<f64> {
        (total > 0 && self.rate.is_some()).then(|| self.moved() as f64 / total as f64)
    }

    /// What it can carry to the peer, in bytes per second: found out with version 2, else as configured.
    #[must_use]
    pub fn capacity_sent(&self) -> Option<u64> {
        let configured = Some(self.bandwidth).filter(|bandwidth| *bandwidth > 0);
        self.path.as_ref().map(|path| path.capacity).or(configured)
    }

    /// Share of the latest packets from the peer that were lost, 0 to 1.
    #[must_use]
    pub fn received_loss(&self) -> Option<f64> {
        self.path.as_ref().map_or(self.loss_ratio, |path| path.received_loss_ratio)
    }

    /// The same of those to the peer, of which only version 2 tells.
    #[must_use]
    pub fn sent_loss(&self) -> Option<f64> {
        self.path.as_ref()?.loss_ratio
    }
}
