//! The snapshot as JSON.
//!
//! The fields of the C program come first, under its names and in its order; ours follow.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::{LinkStatus, Rates, StatusSnapshot};
use path::Path;
use peer::Peer;

mod path;
mod peer;

/// The whole document, ended by a line feed.
pub(super) fn render(status: &StatusSnapshot) -> String {
    let mut text = serde_json::to_string_pretty(&Document::from(status))
        .expect("strings, numbers and maps keyed by strings always serialise");
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    version: &'a str,
    uptime: u64,
    last_reload: u64,
    pid: u32,
    tuntap: Tuntap<'a>,
    tunnels: Vec<Tunnel<'a>>,
    mode: &'static str,
    uptime_seconds: f64,
    protocol_version: Option<u8>,
    session: Session<'a>,
    rate: Option<Rate>,
    reorder: Reorder,
    peers: Vec<Peer<'a>>,
    sandbox: Sandbox,
}

#[derive(Serialize)]
struct Sandbox {
    landlock: Option<u8>,
    seccomp: bool,
}

#[derive(Serialize)]
struct Tuntap<'a> {
    r#type: &'static str,
    name: &'a str,
    mtu: u16,
}

#[derive(Serialize)]
struct Session<'a> {
    packets_from_tun: u64,
    bytes_from_tun: u64,
    packets_to_tun: u64,
    bytes_to_tun: u64,
    drops: &'a BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct Reorder {
    enabled: bool,
    held_packets: u64,
    wait_ms: f64,
    released_in_order: u64,
    released_by_proof: u64,
    released_by_deadline: u64,
    late: u64,
}

#[derive(Serialize)]
struct Tunnel<'a> {
    name: &'a str,
    mode: &'static str,
    bindaddr: &'a str,
    bindport: String,
    destaddr: String,
    destport: String,
    status: &'static str,
    sentpackets: u64,
    recvpackets: u64,
    sentbytes: u64,
    recvbytes: u64,
    bandwidth: u64,
    srtt: u64,
    loss: u64,
    disconnects: u64,
    last_packet: u64,
    timeout: u64,
    binddev: Option<&'a str>,
    bindfib: u32,
    remote_address: Option<SocketAddr>,
    state_age_seconds: f64,
    last_down_reason: Option<&'a str>,
    srtt_ms: Option<f64>,
    rttvar_ms: Option<f64>,
    relative_delay_ms: Option<f64>,
    loss_ratio: f64,
    fallback_only: bool,
    max_rate: Option<u64>,
    cost_ms: u64,
    metered: bool,
    usable: bool,
    lossy: bool,
    slow: bool,
    socket_errors: u64,
    path: Option<Path>,
    rate: Option<Rate>,
    received_peak: Option<u64>,
    trouble: Option<&'a str>,
    disabled: bool,
    condition: &'static str,
    remark: Option<String>,
}

/// Bytes per second.
#[derive(Serialize)]
struct Rate {
    sent: u64,
    received: u64,
}

impl From<Rates> for Rate {
    fn from(Rates { sent, received }: Rates) -> Self {
        Self { sent, received }
    }
}

impl<'a> From<&'a StatusSnapshot> for Document<'a> {
    fn from(status: &'a StatusSnapshot) -> Self {
        let StatusSnapshot { session, reorder, tuntap, .. } = status;
        Self {
            name: &status.name,
            version: &status.version,
            uptime: status.start_time_unix,
            last_reload: status.last_reload_unix,
            pid: status.pid,
            tuntap: Tuntap { r#type: tuntap.kind.as_str(), name: &tuntap.name, mtu: tuntap.mtu },
            tunnels: status.links.iter().map(Tunnel::from).collect(),
            mode: status.mode.as_str(),
            uptime_seconds: status.uptime.as_secs_f64(),
            protocol_version: status.protocol_version,
            session: Session {
                packets_from_tun: session.packets_from_tun,
                bytes_from_tun: session.bytes_from_tun,
                packets_to_tun: session.packets_to_tun,
                bytes_to_tun: session.bytes_to_tun,
                drops: &session.drops,
            },
            rate: status.rates.map(Rate::from),
            reorder: Reorder {
                enabled: reorder.enabled,
                held_packets: reorder.held_packets,
                wait_ms: millis(reorder.wait),
                released_in_order: reorder.released_in_order,
                released_by_proof: reorder.released_by_proof,
                released_by_deadline: reorder.released_by_deadline,
                late: reorder.late,
            },
            peers: status.peers.iter().map(Peer::from).collect(),
            sandbox: Sandbox {
                landlock: status.sandbox.landlock_abi,
                seccomp: status.sandbox.has_seccomp,
            },
        }
    }
}

impl<'a> From<&'a LinkStatus> for Tunnel<'a> {
    fn from(link: &'a LinkStatus) -> Self {
        let LinkStatus { attachment, quality, limits, traffic, .. } = link;
        Self {
            name: &link.name,
            mode: link.mode.as_str(),
            bindaddr: attachment.bind_host.as_deref().unwrap_or("any"),
            bindport: attachment.bind_port.map_or_else(|| "any".to_owned(), |p| p.to_string()),
            destaddr: destination_host(link),
            destport: destination_port(link),
            status: link.state.as_str(),
            sentpackets: traffic.sent_packets,
            recvpackets: traffic.received_packets,
            sentbytes: traffic.sent_bytes,
            recvbytes: traffic.received_bytes,
            bandwidth: limits.bandwidth,
            srtt: link.srtt_whole_ms(),
            loss: link.loss_whole_percent(),
            disconnects: link.disconnects,
            last_packet: link.last_packet_unix.unwrap_or(0),
            timeout: limits.timeout.as_secs(),
            binddev: attachment.bind_device.as_deref(),
            bindfib: attachment.bind_fib,
            remote_address: link.remote,
            state_age_seconds: link.state_age.as_secs_f64(),
            last_down_reason: link.last_down_reason.as_deref(),
            srtt_ms: quality.srtt.map(millis),
            rttvar_ms: quality.rttvar.map(millis),
            relative_delay_ms: quality.relative_delay_ms,
            loss_ratio: quality.loss_ratio,
            fallback_only: limits.fallback_only,
            max_rate: limits.max_rate,
            cost_ms: limits.cost_ms,
            metered: limits.metered,
            usable: quality.usable,
            lossy: quality.lossy,
            slow: quality.slow,
            socket_errors: link.socket_errors,
            path: link.path.as_ref().map(Path::from),
            rate: link.rates.map(Rate::from),
            received_peak: link.received_peak,
            trouble: link.trouble.as_deref(),
            disabled: link.is_disabled,
            condition: link.condition().as_str(),
            remark: link.remark(),
        }
    }
}

impl LinkStatus {
    /// Smoothed round-trip time in whole milliseconds as the C program tells it; 0 without a sample.
    pub(super) fn srtt_whole_ms(&self) -> u64 {
        self.quality.srtt.map_or(0, |srtt| u64::try_from(srtt.as_millis()).unwrap_or(u64::MAX))
    }

    /// Loss in whole percent, rounded down as in the C program.
    pub(super) fn loss_whole_percent(&self) -> u64 {
        // A float to integer cast saturates, and turns NaN into 0.
        ((self.quality.loss_ratio * 100.0 + 1e-9) as u64).min(100)
    }
}

/// The configured host; on a server, which has none, the address heard from.
fn destination_host(link: &LinkStatus) -> String {
    let heard = || link.remote.map(|remote| remote.ip().to_string());
    link.attachment.remote_host.clone().or_else(heard).unwrap_or_default()
}

/// The port that goes with [`destination_host`].
fn destination_port(link: &LinkStatus) -> String {
    let port = link.attachment.remote_port.or_else(|| link.remote.map(|remote| remote.port()));
    port.map(|port| port.to_string()).unwrap_or_default()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
