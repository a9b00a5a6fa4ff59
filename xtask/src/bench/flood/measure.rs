//! The measurement itself.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use mlvpn_io::clock::Clock;
use mlvpn_io::netlink::LinkCounters;
use mlvpn_lab::workload::{Flood, FloodReport, Forger, Ping, RunningFlood, Transfer};
use mlvpn_lab::{Interrupt, Lab, Stranger};
use serde_json::Value;

use super::LINK;
use crate::bench::bond::credentials::Credentials;
use crate::bench::bond::measure::{checked, percentile};
use crate::bench::bond::tunnel::{FIRST_PORT, SERVER, Tunnel};
use crate::bench::measure::other_load;
use crate::bench::usage;

/// Different datagrams of a flood.
const DIFFERENT: usize = 1_024;
const PING_INTERVAL: Duration = Duration::from_millis(20);
/// Until the server has taken what waits, and its numbers are those of afterwards.
const SETTLE: Duration = Duration::from_millis(1_500);
/// A port on which somebody listens who never reads.
const OTHER_PORT: u16 = 9;

/// What the flood consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The same datagrams as [`Self::Random`] to another port of the server: what the flood costs the
    /// machine even if mlvpn never sees it.
    OtherPort,
    /// Initiations with random bytes behind the header, mac1 among them.
    Random { is_spoofed: bool },
    /// The same with a right mac1, by somebody who knows the password, or the server's public key.
    RightMac { is_spoofed: bool },
}

/// Everything that is measured, in the order of the table.
pub(super) const KINDS: [Kind; 5] = [
    Kind::OtherPort,
    Kind::Random { is_spoofed: false },
    Kind::Random { is_spoofed: true },
    Kind::RightMac { is_spoofed: false },
    Kind::RightMac { is_spoofed: true },
];

/// With what is measured.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    pub(super) program: &'a Path,
    pub(super) lab: &'a Lab,
    pub(super) stranger: &'a Stranger,
    pub(super) credentials: Credentials,
    pub(super) insider: Forger,
    /// How long a transfer takes.
    pub(super) duration: Duration,
    /// Datagrams per second.
    pub(super) rate: u64,
    pub(super) interrupt: &'a Interrupt,
}

/// One kind of flood in one round, through one tunnel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub(super) kind: Kind,
    /// Share of all processors that others used just before: 0 to 1.
    pub(super) other_load: f64,
    /// Without the flood, and beside it.
    pub(super) alone: Window,
    pub(super) beside: Window,
    pub(super) flood: FloodReport,
    /// Processor time of the server for each datagram, in microseconds, while the session is idle.
    pub(super) each_us: f64,
    /// What the server sent towards the stranger, and what it got from there: bytes with all headers.
    pub(super) answered_bytes: u64,
    pub(super) flood_bytes: u64,
    /// Memory of the server before and after the flood, in bytes.
    pub(super) resident: [u64; 2],
    /// What the server dropped during the flood, by reason.
    pub(super) drops: BTreeMap<String, u64>,
    /// Datagrams for which the server's sockets had no room.
    pub(super) overflow: u64,
    /// Whether the server has the session that it had before, and its link was not down.
    pub(super) is_unbroken: bool,
}

/// A transfer with pings beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Window {
    /// Payload at the receiver.
    pub(super) mbit: f64,
    /// Round trip; infinite when too few pings were answered.
    pub(super) ping_p95_ms: f64,
    /// Of the pings: 0 to 1.
    pub(super) ping_loss: f64,
    /// Processor time of the server per second.
    pub(super) server_cpu: f64,
}

/// What is known of the server at one moment.
struct Moment {
    counters: LinkCounters,
    status: Value,
    overflow: u64,
    resident: u64,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OtherPort => "random, to another port",
            Self::Random { is_spoofed: false } => "random",
            Self::Random { is_spoofed: true } => "random, from many addresses",
            Self::RightMac { is_spoofed: false } => "right mac1",
            Self::RightMac { is_spoofed: true } => "right mac1, from many addresses",
        }
    }

    fn is_spoofed(self) -> bool {
        matches!(self, Self::Random { is_spoofed: true } | Self::RightMac { is_spoofed: true })
    }
}

impl Bench<'_> {
    /// Measures one kind through a new tunnel; in odd rounds the flood comes first.
    ///
    /// # Errors
    /// When the tunnel, the flood or a transfer fails, or a signal says to stop.
    pub(super) fn measure(&self, kind: Kind, round: u32) -> Result<Run> {
        let other_load = other_load()?;
        let mut tunnel =
            Tunnel::start(self.program, self.lab, &[LINK], self.credentials, self.interrupt)?;
        let outcome = self.measure_through(&tunnel, kind, round, other_load);
        self.interrupt.check()?;
        tunnel.check().and(outcome).map_err(|error| tunnel.explain(&error))
    }

    fn measure_through(
        &self,
        tunnel: &Tunnel,
        kind: Kind,
        round: u32,
        other_load: f64,
    ) -> Result<Run> {
        let mut alone = Window::default();
        if round.is_multiple_of(2) {
            alone = self.window(tunnel)?;
        }
        let unread =
            self.lab.server().run(|| UdpSocket::bind((self.lab.server_v4(), OTHER_PORT)))?;
        let before = self.moment(tunnel)?;
        let running = self.flood(kind).start()?;
        let beside = self.window(tunnel)?;
        let each_us = self.cost(tunnel, &running)?;
        let flood = running.stop()?;
        self.pause()?;
        let after = self.moment(tunnel)?;
        drop(unread);
        if !round.is_multiple_of(2) {
            alone = self.window(tunnel)?;
        }
        let answered_bytes = after.counters.rx_bytes - before.counters.rx_bytes;
        let flood_bytes = after.counters.tx_bytes - before.counters.tx_bytes;
        Ok(Run {
            kind,
            other_load,
            alone,
            beside,
            flood,
            each_us,
            answered_bytes,
            flood_bytes,
            resident: [before.resident, after.resident],
            drops: difference(&drops(&before.status), &drops(&after.status)),
            overflow: after.overflow - before.overflow,
            is_unbroken: is_same_session(&before.status, &after.status),
        })
    }

    fn flood(&self, kind: Kind) -> Flood {
        let forger = match kind {
            Kind::RightMac { .. } => self.insider.clone(),
            Kind::OtherPort | Kind::Random { .. } => self.insider.stranger(),
        };
        let port = if kind == Kind::OtherPort { OTHER_PORT } else { FIRST_PORT };
        let target = SocketAddr::new(self.lab.server_v4(), port);
        let flood = Flood::new(self.stranger, target, forger.forge(DIFFERENT, 1), self.rate);
        if kind.is_spoofed() { flood.spoofed() } else { flood }
    }

    /// A transfer from the client to the server, and pings.
    fn window(&self, tunnel: &Tunnel) -> Result<Window> {
        let (client, server) = (self.lab.client(), self.lab.server());
        let transfer =
            Transfer::upload(client, server, SERVER).congestion("cubic").duration(self.duration);
        let ping = Ping::to(SERVER).count(u16::MAX).interval(PING_INTERVAL).steadily();
        let pids = [tunnel.server_pid()?];
        let clock = Clock::new();
        let (cpu_before, start) = (usage::cpu_seconds(&pids)?, clock.now_us());
        let running = transfer.start()?;
        let is_over = AtomicBool::new(false);
        let (pings, cpu_after, end) = thread::scope(|scope| {
            let pinging =
                scope.spawn(|| ping.run_while(client, || !is_over.load(Ordering::Relaxed)));
            let ended = self.interrupt.wait(self.duration * 2, || Ok(running.is_over()));
            let (cpu, end) = (usage::cpu_seconds(&pids), clock.now_us());
            is_over.store(true, Ordering::Relaxed);
            let report = pinging.join().map_err(|_| anyhow!("the pings have panicked"))?;
            ended?;
            anyhow::Ok((report?, cpu?, end))
        })?;
        ensure!(pings.sent > 0, "no ping could be sent");
        Ok(Window {
            mbit: checked(running)?.mbit(),
            ping_p95_ms: percentile(&pings.rtts_ms, 95),
            ping_loss: 1.0 - pings.answered() as f64 / pings.rtts_ms.len() as f64,
            server_cpu: (cpu_after - cpu_before) / ((end - start) as f64 / 1e6),
        })
    }

    /// What the server spends on a datagram of the flood when it has nothing else to do.
    fn cost(&self, tunnel: &Tunnel, flood: &RunningFlood) -> Result<f64> {
        let pids = [tunnel.server_pid()?];
        let (cpu, sent) = (usage::cpu_seconds(&pids)?, flood.sent());
        self.interrupt.wait(self.duration, || Ok(false))?;
        let (cpu, sent) = (usage::cpu_seconds(&pids)? - cpu, flood.sent() - sent);
        Ok(1e6 * cpu / sent.max(1) as f64)
    }

    fn moment(&self, tunnel: &Tunnel) -> Result<Moment> {
        let snmp = || std::fs::read_to_string("/proc/thread-self/net/snmp");
        let snmp = self.lab.server().run(snmp)?.context("cannot read the server's counters")?;
        Ok(Moment {
            counters: self.stranger.counters()?,
            status: tunnel.server_status()?,
            overflow: udp_overflow(&snmp).context("the kernel counts no full buffers of UDP")?,
            resident: usage::resident_bytes(tunnel.server_pid()?)?,
        })
    }

    fn pause(&self) -> Result<()> {
        self.interrupt.wait(SETTLE, || Ok(false)).map(|_| ())
    }
}

/// `RcvbufErrors` of UDP (`/proc/net/snmp`, proc(5)): a line of names, then one
/// of numbers.
fn udp_overflow(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|name| name == "RcvbufErrors")?;
    numbers.split_whitespace().nth(at)?.parse().ok()
}

fn drops(status: &Value) -> BTreeMap<String, u64> {
    serde_json::from_value(status["session"]["drops"].clone()).unwrap_or_default()
}

/// What has grown, and by how much.
fn difference(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    let grown = |(name, count): (&String, &u64)| {
        let grown = count.saturating_sub(before.get(name).copied().unwrap_or(0));
        (grown > 0).then(|| (name.clone(), grown))
    };
    after.iter().filter_map(grown).collect()
}

/// Whether the one peer's session is as old as it has to be, and its link did not go down.
fn is_same_session(before: &Value, after: &Value) -> bool {
    let age = |status: &Value| status["peers"][0]["uptime_seconds"].as_f64();
    let disconnects = |status: &Value| status["tunnels"][0]["disconnects"].as_u64();
    // The flood and the transfer lie between both, which are more than any error of the two ages.
    age(before).zip(age(after)).is_some_and(|(before, after)| after > before)
        && disconnects(before).is_some()
        && disconnects(before) == disconnects(after)
        && after["peers"].as_array().is_some_and(|peers| peers.len() == 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn full_buffers_are_found_by_their_name() {
        let snmp =
            "Udp: InDatagrams NoPorts RcvbufErrors SndbufErrors\nUdp: 10 2 7 0\nUdpLite: x\n";
        assert_eq!(udp_overflow(snmp), Some(7));
        assert_eq!(udp_overflow("Tcp: RcvbufErrors\nTcp: 1\n"), None);
    }

    #[test]
    fn a_session_that_is_younger_or_was_down_is_another() {
        let status = |age: f64, disconnects: u64| json!({"peers": [{"uptime_seconds": age}], "tunnels": [{"disconnects": disconnects}]});
        assert!(is_same_session(&status(3.0, 0), &status(9.0, 0)));
        assert!(!is_same_session(&status(3.0, 0), &status(2.0, 0)));
        assert!(!is_same_session(&status(3.0, 0), &status(9.0, 1)));
        assert!(!is_same_session(&status(3.0, 0), &json!({"peers": []})));
    }

    #[test]
    fn only_drops_that_grew_are_told() {
        let map = |pairs: &[(&str, u64)]| {
            pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        let (before, after) = (map(&[("a", 1), ("b", 2)]), map(&[("a", 5), ("b", 2), ("c", 3)]));
        assert_eq!(difference(&before, &after), map(&[("a", 4), ("c", 3)]));
    }
}
