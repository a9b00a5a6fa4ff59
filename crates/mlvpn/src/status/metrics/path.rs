//! What version 2 knows of the links.

use super::{Kind, Metric, Value, Whole, counter, each, gauge, head, sample};
use crate::status::{LinkStatus, PathState, PathStatus, RateState, StatusSnapshot};

pub(super) fn render(page: &mut String, status: &StatusSnapshot) {
    each(page, PER_PATH, &status.links, ("tunnel", |link| &link.name));
    rate_states(page, status);
}

const PER_PATH: &[Metric<LinkStatus>] = &[
    gauge("mlvpn_link_path_id", "The number that both ends know the link by.", |l| {
        whole(l, |p| u64::from(p.id))
    }),
    gauge("mlvpn_link_is_suspect", "1 when nothing arrives over the link at present.", |l| {
        whole(l, |p| u64::from(p.state == PathState::Suspect))
    }),
    gauge(
        "mlvpn_link_capacity_bytes_per_second",
        "What the link can carry to the peer, as far as is known.",
        |l| whole(l, |p| p.capacity),
    ),
    gauge(
        "mlvpn_link_queue_delay_seconds",
        "How long packets stand in queues of the network on the way to the peer.",
        |l| l.path.map(|p| p.queue_delay.as_secs_f64()).into(),
    ),
    gauge("mlvpn_link_min_rtt_seconds", "Smallest round trip of the last half minute.", |l| {
        l.path.and_then(|p| p.min_rtt).map(|d| d.as_secs_f64()).into()
    }),
    gauge(
        "mlvpn_link_path_loss_ratio",
        "Share of the packets to the peer that were lost, before repair, 0 to 1.",
        |l| l.path.map(|p| p.loss_ratio).into(),
    ),
    gauge(
        "mlvpn_link_received_loss_ratio",
        "Share of the packets from the peer that were lost, before repair, 0 to 1.",
        |l| l.path.map(|p| p.received_loss_ratio).into(),
    ),
    gauge(
        "mlvpn_link_delivery_rate_bytes_per_second",
        "What arrived at the peer in the last second, all headers included.",
        |l| l.path.and_then(|p| p.delivery_rate).into(),
    ),
    gauge("mlvpn_link_in_flight_bytes", "Bytes on their way to the peer.", |l| {
        whole(l, |p| p.in_flight_bytes)
    }),
    counter(
        "mlvpn_link_resent_packets_total",
        "Packets that other links lost and that went over this one again.",
        |l| whole(l, |p| p.resent_packets),
    ),
    counter("mlvpn_link_resent_bytes_total", "Bytes of the packets sent again.", |l| {
        whole(l, |p| p.resent_bytes)
    }),
    gauge("mlvpn_link_mtu_bytes", "Largest UDP payload that is known to arrive.", |l| {
        whole(l, |p| u64::from(p.mtu))
    }),
];

fn whole(link: &LinkStatus, value: fn(&PathStatus) -> u64) -> Value {
    link.path.as_ref().map(value).into()
}

/// A word is told as one series for each that there is, of which one is 1.
fn rate_states(page: &mut String, status: &StatusSnapshot) {
    const NAME: &str = "mlvpn_link_rate_state";
    let paths: Vec<_> =
        status.links.iter().filter_map(|link| Some((&link.name, link.path?))).collect();
    if paths.is_empty() {
        return;
    }
    head(page, NAME, Kind::Gauge, "1 for what the link's rate controller is doing.");
    for (name, path) in paths {
        for state in RateState::ALL {
            let value = Whole(u64::from(state == path.rate_state));
            sample(page, NAME, &[("tunnel", name), ("state", state.as_str())], value);
        }
    }
}
