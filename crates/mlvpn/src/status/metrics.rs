//! The snapshot in the Prometheus text format, version 0.0.4.
//!
//! Metrics of the C program keep its names and the label `tunnel`; ours begin with `mlvpn_`, use
//! base units (seconds, bytes, ratios), and their counters end in `_total`.

use std::fmt::Write as _;

use super::{LinkState, LinkStatus, StatusSnapshot};
use Value::{Real, Whole};

mod path;
mod peer;

/// The whole page.
pub(super) fn render(status: &StatusSnapshot) -> String {
    let mut page = String::with_capacity(8 * 1024);
    for metric in GLOBAL {
        let value = (metric.value)(status);
        if value.is_known() {
            head(&mut page, metric.name, metric.kind, metric.help);
            sample(&mut page, metric.name, &[], value);
        }
    }
    info(&mut page, status);
    drops(&mut page, status);
    peer::render(&mut page, status);
    each(&mut page, PER_LINK, &status.links, ("tunnel", |link| &link.name));
    path::render(&mut page, status);
    page
}

/// Metrics of several things of a kind, told apart by a label.
fn each<T>(
    page: &mut String,
    metrics: &[Metric<T>],
    things: &[T],
    (label, name): (&str, fn(&T) -> &str),
) {
    for metric in metrics {
        let values = things.iter().map(|thing| (name(thing), (metric.value)(thing)));
        let known: Vec<_> = values.filter(|(_, value)| value.is_known()).collect();
        if known.is_empty() {
            continue;
        }
        head(page, metric.name, metric.kind, metric.help);
        for (name, value) in known {
            sample(page, metric.name, &[(label, name)], value);
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

#[derive(Clone, Copy)]
enum Value {
    Whole(u64),
    Real(f64),
    /// Not measured: no sample is written.
    Unknown,
}

impl Value {
    fn is_known(self) -> bool {
        !matches!(self, Self::Unknown)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Whole(u64::from(truth))
    }
}

impl From<Option<u64>> for Value {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Unknown, Self::Whole)
    }
}

impl From<Option<f64>> for Value {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Self::Unknown, Self::Real)
    }
}

/// A metric that is a function of `T`.
struct Metric<T> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&T) -> Value,
}

const fn gauge<T>(name: &'static str, help: &'static str, value: fn(&T) -> Value) -> Metric<T> {
    Metric { name, kind: Kind::Gauge, help, value }
}

const fn counter<T>(name: &'static str, help: &'static str, value: fn(&T) -> Value) -> Metric<T> {
    Metric { name, kind: Kind::Counter, help, value }
}

const GLOBAL: &[Metric<StatusSnapshot>] = &[
    gauge("uptime", "Unix time at which the program started.", |s| Whole(s.start_time_unix)),
    gauge("last_reload", "Unix time at which the configuration was last read.", |s| {
        Whole(s.last_reload_unix)
    }),
    gauge("pid", "Process id.", |s| Whole(u64::from(s.pid))),
    gauge("mlvpn_uptime_seconds", "Time since the program started.", |s| {
        Real(s.uptime.as_secs_f64())
    }),
    gauge("mlvpn_mtu_bytes", "MTU of the tunnel's interface.", |s| Whole(u64::from(s.tuntap.mtu))),
    gauge("mlvpn_protocol_version", "Version of the wire protocol that is spoken.", |s| {
        s.protocol_version.map(u64::from).into()
    }),
    counter("mlvpn_packets_from_tun_total", "Packets read from the tunnel's interface.", |s| {
        Whole(s.session.packets_from_tun)
    }),
    counter("mlvpn_bytes_from_tun_total", "Bytes read from the tunnel's interface.", |s| {
        Whole(s.session.bytes_from_tun)
    }),
    counter("mlvpn_packets_to_tun_total", "Packets written to the tunnel's interface.", |s| {
        Whole(s.session.packets_to_tun)
    }),
    counter("mlvpn_bytes_to_tun_total", "Bytes written to the tunnel's interface.", |s| {
        Whole(s.session.bytes_to_tun)
    }),
    gauge("mlvpn_reorder_enabled", "1 when packets are put back in order.", |s| {
        s.reorder.enabled.into()
    }),
    gauge("mlvpn_reorder_held_packets", "Packets that wait for an earlier one.", |s| {
        Whole(s.reorder.held_packets)
    }),
    gauge("mlvpn_reorder_wait_seconds", "How long a missing packet is waited for.", |s| {
        Real(s.reorder.wait.as_secs_f64())
    }),
    counter("mlvpn_reorder_in_order_total", "Packets passed on without a wait.", |s| {
        Whole(s.reorder.released_in_order)
    }),
    counter(
        "mlvpn_reorder_by_proof_total",
        "Packets passed on because the missing one provably will not come.",
        |s| Whole(s.reorder.released_by_proof),
    ),
    counter(
        "mlvpn_reorder_by_deadline_total",
        "Packets passed on because the wait was over.",
        |s| Whole(s.reorder.released_by_deadline),
    ),
    counter(
        "mlvpn_reorder_late_total",
        "Packets that came after their place had been given up.",
        |s| Whole(s.reorder.late),
    ),
];

const PER_LINK: &[Metric<LinkStatus>] = &[
    gauge("disconnected", "1 when the link is down.", |l| {
        (l.state == LinkState::Disconnected).into()
    }),
    gauge("waitingpeer", "1 when the link waits for the peer's answer.", |l| {
        (l.state == LinkState::WaitingPeer).into()
    }),
    gauge("connected", "1 when the link is up, and neither lossy nor slow.", |l| {
        (l.state == LinkState::Connected).into()
    }),
    gauge("lossy", "1 when the link is up but loses too much.", |l| {
        (l.state == LinkState::Lossy).into()
    }),
    gauge("slow", "1 when the link is up but too slow.", |l| (l.state == LinkState::Slow).into()),
    counter("sentpackets", "Datagrams sent.", |l| Whole(l.traffic.sent_packets)),
    counter("recvpackets", "Datagrams received.", |l| Whole(l.traffic.received_packets)),
    counter("sentbytes", "UDP payload bytes sent.", |l| Whole(l.traffic.sent_bytes)),
    counter("recvbytes", "UDP payload bytes received.", |l| Whole(l.traffic.received_bytes)),
    gauge("bandwidth", "Configured bandwidth_upload in bytes per second, 0 when unset.", |l| {
        Whole(l.limits.bandwidth)
    }),
    gauge("srtt", "Smoothed round-trip time in whole milliseconds.", |l| Whole(l.srtt_whole_ms())),
    gauge("loss", "Loss among the latest packets in whole percent.", |l| {
        Whole(l.loss_whole_percent())
    }),
    counter("disconnects", "Times that the link went down.", |l| Whole(l.disconnects)),
    gauge("last_packet", "Unix time of the last packet from the peer, 0 when none came.", |l| {
        Whole(l.last_packet_unix.unwrap_or(0))
    }),
    gauge("timeout", "Seconds without a keepalive after which the link is down.", |l| {
        Whole(l.limits.timeout.as_secs())
    }),
    gauge("mlvpn_link_state_age_seconds", "Time since the link's state changed.", |l| {
        Real(l.state_age.as_secs_f64())
    }),
    gauge("mlvpn_link_srtt_seconds", "Smoothed round-trip time.", |l| {
        l.quality.srtt.map(|d| d.as_secs_f64()).into()
    }),
    gauge("mlvpn_link_rttvar_seconds", "Round-trip time variation.", |l| {
        l.quality.rttvar.map(|d| d.as_secs_f64()).into()
    }),
    gauge(
        "mlvpn_link_relative_delay_seconds",
        "One-way delay from the peer above that of the fastest link.",
        |l| l.quality.relative_delay_ms.map(|ms| ms / 1e3).into(),
    ),
    gauge("mlvpn_link_loss_ratio", "Loss among the latest packets from the peer, 0 to 1.", |l| {
        Real(l.quality.loss_ratio)
    }),
    gauge("mlvpn_link_fallback_only", "1 when the link is a fallback.", |l| {
        l.limits.fallback_only.into()
    }),
    gauge("mlvpn_link_metered", "1 when the link is metered.", |l| l.limits.metered.into()),
    gauge("mlvpn_link_cost_seconds", "What is added to the link's delay.", |l| {
        Real(l.limits.cost_ms as f64 / 1e3)
    }),
    gauge(
        "mlvpn_link_max_rate_bytes_per_second",
        "What the link is to carry at most in each direction.",
        |l| l.limits.max_rate.into(),
    ),
    gauge("mlvpn_link_usable", "1 when the link may carry data.", |l| l.quality.usable.into()),
    gauge("mlvpn_link_is_lossy", "1 when the link exceeds loss_tolerence.", |l| {
        l.quality.lossy.into()
    }),
    gauge("mlvpn_link_is_slow", "1 when the link exceeds latency_tolerence.", |l| {
        l.quality.slow.into()
    }),
    gauge("mlvpn_link_disabled", "1 when the link was switched off by hand.", |l| {
        l.is_disabled.into()
    }),
    gauge(
        "mlvpn_link_received_peak_bytes_per_second",
        "The most that was received in one of the last 300 seconds.",
        |l| l.received_peak.into(),
    ),
    counter("mlvpn_link_socket_errors_total", "Failed system calls on the link's socket.", |l| {
        Whole(l.socket_errors)
    }),
];

/// Texts have no place in a metric but as labels of a constant 1.
fn info(page: &mut String, status: &StatusSnapshot) {
    head(page, "mlvpn_info", Kind::Gauge, "1, with what is only text as labels.");
    let labels = [
        ("name", status.name.as_str()),
        ("version", &status.version),
        ("mode", status.mode.as_str()),
        ("interface", &status.tuntap.name),
        ("type", status.tuntap.kind.as_str()),
    ];
    sample(page, "mlvpn_info", &labels, Whole(1));
}

fn drops(page: &mut String, status: &StatusSnapshot) {
    const NAME: &str = "mlvpn_drops_total";
    if status.session.drops.is_empty() {
        return;
    }
    head(page, NAME, Kind::Counter, "What was refused, by reason.");
    for (reason, &count) in &status.session.drops {
        sample(page, NAME, &[("reason", reason)], Whole(count));
    }
}

fn head(page: &mut String, name: &str, kind: Kind, help: &str) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    page.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

fn sample(page: &mut String, name: &str, labels: &[(&str, &str)], value: Value) {
    page.push_str(name);
    for (index, (label, text)) in labels.iter().enumerate() {
        page.push(if index == 0 { '{' } else { ',' });
        page.push_str(label);
        page.push_str("=\"");
        push_escaped(page, text);
        page.push('"');
    }
    page.push_str(if labels.is_empty() { " " } else { "} " });
    match value {
        Whole(number) => write!(page, "{number}"),
        Real(number) if number.is_nan() => write!(page, "NaN"),
        Real(number) if number.is_infinite() => {
            write!(page, "{}", if number > 0.0 { "+Inf" } else { "-Inf" })
        }
        Real(number) => write!(page, "{number}"),
        Value::Unknown => Ok(()),
    }
    .expect("writing to a string cannot fail");
    page.push('\n');
}

/// A label value: backslash, quote and line feed are escaped, nothing else.
fn push_escaped(page: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\\' => page.push_str("\\\\"),
            '"' => page.push_str("\\\""),
            '\n' => page.push_str("\\n"),
            other => page.push(other),
        }
    }
}
