//! Puts the numbers of the data thread and the state of the links into snapshots.

mod version2;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mlvpn_io::clock::unix_time;
use mlvpn_io::sandbox::Fences;
use mlvpn_proto::drop::DropReason;
use mlvpn_proto::handshake::v1::LinkState as ProtoState;
use mlvpn_proto::stats::Version;
use mlvpn_proto::{DownReason, Instant, LinkStats, Quality, SessionStats};
use tokio::sync::watch;
use tracing::debug;

use super::super::data::Stats;
use super::super::links::LinkControl;
use super::{Snapshots, host_text};
use crate::config::{Config, InterfaceKind, Link, Mode as ConfigMode, Reorder};
use crate::logging::{REORDER, RTT, WRR};
use crate::status::history::{EventKind, History};
use crate::status::{
    Attachment, LinkLimits, LinkQuality, LinkState, LinkStatus, LinkTraffic, Mode, ReorderStatus,
    SandboxStatus, SessionCounters, StatusSnapshot, TuntapKind, TuntapStatus, Volume,
};

/// What the status server shows.
pub(super) struct StatusBoard {
    current: StatusSnapshot,
    down_reasons: BTreeMap<String, DownReason>,
    /// Why links have no sockets.
    troubles: BTreeMap<String, String>,
    history: Arc<Mutex<History>>,
    sender: Snapshots,
    /// When the first numbers came, on the data thread's clock.
    started: Option<Instant>,
}

impl StatusBoard {
    pub(super) fn new(name: &str, config: &Config, interface: String, mtu: u16) -> Self {
        let started = unix_time().as_secs();
        let mut current = StatusSnapshot::starting(name, mode(config), std::process::id(), started);
        let kind = match config.general.interface.kind {
            InterfaceKind::Tun => TuntapKind::Tun,
            InterfaceKind::Tap => TuntapKind::Tap,
        };
        current.tuntap = TuntapStatus { kind, name: interface, mtu };
        let (sender, _) = watch::channel(Arc::new(current.clone()));
        Self {
            current,
            down_reasons: BTreeMap::new(),
            troubles: BTreeMap::new(),
            history: Arc::default(),
            sender,
            started: None,
        }
    }

    /// Tells by which fences the worker is confined.
    #[must_use]
    pub(super) fn behind(mut self, fences: &Fences) -> Self {
        let Fences { landlock_abi, has_seccomp, .. } = *fences;
        self.current.sandbox = SandboxStatus { landlock_abi, has_seccomp };
        self
    }

    /// What was, for the status server. Both use it on the control thread, and briefly.
    pub(super) fn history(&self) -> Arc<Mutex<History>> {
        Arc::clone(&self.history)
    }

    /// Notes that something happened, to a link where one is named.
    pub(super) fn on_event(&self, kind: EventKind, link: Option<&str>, text: impl Into<String>) {
        lock(&self.history).on_event(unix_time(), kind, link, text.into());
    }

    /// A link has no socket.
    pub(super) fn on_trouble(&mut self, link: &str, why: &str) {
        let former = self.troubles.insert(link.to_owned(), why.to_owned());
        // It is tried again and again.
        if former.as_deref() != Some(why) {
            self.on_event(EventKind::LinkTrouble, Some(link), why);
        }
    }

    /// A link has a socket, or needs none.
    pub(super) fn on_socket(&mut self, link: &str) {
        self.troubles.remove(link);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<StatusSnapshot>> {
        self.sender.subscribe()
    }

    pub(super) fn on_down(&mut self, link: &str, reason: DownReason) {
        self.down_reasons.insert(link.to_owned(), reason);
    }

    pub(super) fn on_reload(&mut self, config: &Config) {
        self.current.last_reload_unix = unix_time().as_secs();
        let is_there = |name: &str| config.links.iter().any(|link| link.name == *name);
        self.down_reasons.retain(|name, _| is_there(name));
        self.troubles.retain(|name, _| is_there(name));
        self.on_event(EventKind::Reload, None, "the configuration was read again");
    }

    pub(super) fn set_mtu(&mut self, mtu: u16) {
        let text = format!("the tunnel's MTU is {mtu}, was {}", self.current.tuntap.mtu);
        self.on_event(EventKind::Mtu, None, text);
        self.current.tuntap.mtu = mtu;
    }

    /// Shows the numbers as of now.
    pub(super) fn publish(
        &mut self,
        config: &Config,
        links: &BTreeMap<String, LinkControl>,
        stats: &Stats,
    ) {
        let session = &stats.session;
        let started = *self.started.get_or_insert(stats.now);
        self.current.uptime = stats.now.saturating_since(started);
        let mut drops: BTreeMap<_, _> =
            session.drops.iter().map(|(reason, n)| (reason.as_str().to_owned(), n)).collect();
        drops.insert("tun_write_failed".to_owned(), stats.tun.failed_writes);
        drops.insert("tun_read_malformed".to_owned(), stats.tun.malformed_reads);
        drops.insert("socket_queue_full".to_owned(), stats.socket_queue_full);
        debug_assert!(drops.len() == DropReason::ALL.len() + 3, "every reason has its own name");
        self.current.session = SessionCounters {
            packets_from_tun: session.from_tun.packets,
            bytes_from_tun: session.from_tun.bytes,
            packets_to_tun: session.to_tun.packets,
            bytes_to_tun: session.to_tun.bytes,
            drops,
        };
        self.current.protocol_version = session.version.map(|version| match version {
            Version::V1 => 1,
            Version::V2 => 2,
        });
        self.current.reorder = reorder_status(config, session);
        self.current.peers = version2::peers(config, session, stats.now);
        self.current.links = config
            .links
            .iter()
            .filter_map(|link| {
                let numbers = session.links.iter().find(|numbers| numbers.name == link.name)?;
                let control = links.get(&link.name)?;
                let status = self.link_status(config, link, numbers, stats);
                Some(LinkStatus { is_disabled: control.is_disabled(), ..status })
            })
            .collect();
        lock(&self.history).on_snapshot(&mut self.current);
        self.sender.send_replace(Arc::new(self.current.clone()));
    }

    fn link_status(
        &self,
        config: &Config,
        link: &Link,
        numbers: &LinkStats,
        stats: &Stats,
    ) -> LinkStatus {
        let last_packet_unix = numbers
            .last_received
            .map(|at| unix_time().saturating_sub(stats.now.saturating_since(at)).as_secs());
        // What the peer wants counts as well.
        let terms = numbers.path.map_or(link.terms, |path| path.terms);
        LinkStatus {
            name: link.name.clone(),
            mode: mode(config),
            attachment: attachment(link),
            remote: numbers.remote,
            state: link_state(numbers),
            state_age: stats.now.saturating_since(numbers.since),
            last_down_reason: self
                .down_reasons
                .get(&link.name)
                .map(|reason| reason.as_str().to_owned()),
            disconnects: numbers.disconnects,
            traffic: LinkTraffic {
                sent_packets: numbers.sent.packets,
                received_packets: numbers.received.packets,
                sent_bytes: numbers.sent.bytes,
                received_bytes: numbers.received.bytes,
            },
            volume: Volume {
                sent: numbers.sent_to_all.bytes,
                received: numbers.received_from_all.bytes,
            },
            rates: None,
            received_peak: None,
            trouble: self.troubles.get(&link.name).cloned(),
            is_disabled: false,
            quality: LinkQuality {
                srtt: numbers.srtt,
                rttvar: numbers.rttvar,
                relative_delay_ms: numbers.delay_behind_fastest_ms,
                loss_ratio: numbers
                    .path
                    .map_or(f64::from(numbers.loss_percent) / 100.0, |path| path.received_loss),
                usable: numbers.is_used,
                lossy: numbers.quality == Quality::Lossy,
                slow: numbers.quality == Quality::Slow,
            },
            limits: LinkLimits {
                bandwidth: link.bandwidth_upload.unwrap_or(0),
                timeout: link.timeout,
                fallback_only: link.fallback_only,
                max_rate: terms.max_rate,
                cost_ms: terms.cost.as_millis() as u64,
                metered: terms.is_metered,
            },
            last_packet_unix,
            socket_errors: stats.socket_errors.get(&link.name).copied().unwrap_or(0),
            path: version2::path(numbers),
        }
    }
}

/// What was stays readable after a panic elsewhere.
fn lock(history: &Mutex<History>) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What version 1 counted, and version 2 for all lanes of all peers.
fn reorder_status(config: &Config, session: &SessionStats) -> ReorderStatus {
    let v1 = &session.resequencer;
    let is_on = config.general.reorder != Reorder::Off || session.version == Some(Version::V2);
    let mut all = ReorderStatus {
        enabled: is_on,
        held_packets: v1.held as u64,
        wait: v1.wait,
        released_in_order: v1.in_order,
        released_by_proof: v1.proven_lost,
        released_by_deadline: v1.deadline + v1.overflow,
        late: v1.late,
    };
    for lanes in session.peers.iter().map(|peer| &peer.lanes) {
        all.held_packets += lanes.held_packets as u64;
        all.wait = all.wait.max(lanes.wait);
        all.released_in_order += lanes.in_order;
        all.released_by_proof += lanes.proven_lost + lanes.skipped;
        all.released_by_deadline += lanes.deadline + lanes.overflow;
        all.late += lanes.late;
    }
    all
}

/// Writes the numbers to the log, for those who asked for them with `-D`.
pub(super) fn log_numbers(session: &SessionStats) {
    let reorder = &session.resequencer;
    debug!(
        target: REORDER,
        held = reorder.held,
        wait_ms = reorder.wait.as_millis(),
        in_order = reorder.in_order,
        proven_lost = reorder.proven_lost,
        deadline = reorder.deadline,
        overflow = reorder.overflow,
        late = reorder.late,
    );
    for peer in &session.peers {
        let name = peer.peer.map(|key| key.to_string());
        debug!(target: REORDER, peer = name, lanes = ?peer.lanes, recovery = ?peer.recovery);
        debug!(target: WRR, peer = name, queued = ?peer.queued, striped = peer.striped);
    }
    for link in &session.links {
        let (name, srtt, rttvar) = (&link.name, link.srtt, link.rttvar);
        debug!(target: RTT, link = name, ?srtt, ?rttvar, loss_percent = link.loss_percent);
        let sent = link.sent.bytes;
        debug!(target: WRR, link = name, weight = link.weight, sent, is_used = link.is_used);
        if let Some(path) = &link.path {
            debug!(target: WRR, link = name, ?path);
        }
    }
}

fn mode(config: &Config) -> Mode {
    match config.general.mode {
        ConfigMode::Client => Mode::Client,
        ConfigMode::Server => Mode::Server,
    }
}

fn attachment(link: &Link) -> Attachment {
    Attachment {
        bind_host: link.bind_host.as_ref().map(host_text),
        bind_port: link.bind_port,
        bind_device: link.bind_dev.clone(),
        bind_fib: link.bind_fib.unwrap_or(0),
        remote_host: link.remote_host.as_ref().map(host_text),
        remote_port: link.remote_port,
    }
}

fn link_state(numbers: &LinkStats) -> LinkState {
    match (numbers.state, numbers.quality) {
        (ProtoState::Up, Quality::Good) => LinkState::Connected,
        (ProtoState::Up, Quality::Lossy) => LinkState::Lossy,
        (ProtoState::Up, Quality::Slow) => LinkState::Slow,
        (ProtoState::Down, _) if numbers.is_asking => LinkState::WaitingPeer,
        (ProtoState::Down | ProtoState::Closed, _) => LinkState::Disconnected,
    }
}
