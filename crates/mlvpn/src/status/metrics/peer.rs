//! The peers that speak version 2.

use super::{Kind, Metric, Real, Whole, counter, each, gauge, head, sample};
use crate::status::{PeerStatus, StatusSnapshot};

pub(super) fn render(page: &mut String, status: &StatusSnapshot) {
    info(page, status);
    each(page, PER_PEER, &status.peers, ("peer", PeerStatus::label));
}

impl PeerStatus {
    /// By what a peer is told apart from others: with a password there is one, without a name.
    fn label(&self) -> &str {
        self.name.as_deref().or(self.public_key.as_deref()).unwrap_or_default()
    }
}

fn info(page: &mut String, status: &StatusSnapshot) {
    const NAME: &str = "mlvpn_peer_info";
    if status.peers.is_empty() {
        return;
    }
    head(page, NAME, Kind::Gauge, "1, with what is only text as labels.");
    for peer in &status.peers {
        let labels = [
            ("peer", peer.label()),
            ("public_key", peer.public_key.as_deref().unwrap_or_default()),
            ("software", peer.software.as_deref().unwrap_or_default()),
        ];
        sample(page, NAME, &labels, Whole(1));
    }
}

const PER_PEER: &[Metric<PeerStatus>] = &[
    gauge("mlvpn_peer_uptime_seconds", "Time since the session with the peer began.", |p| {
        Real(p.uptime.as_secs_f64())
    }),
    gauge("mlvpn_peer_queue_packets", "Packets that wait for a link that can take them.", |p| {
        Whole(p.queue.packets)
    }),
    gauge("mlvpn_peer_queue_bytes", "Bytes of the packets that wait.", |p| Whole(p.queue.bytes)),
    counter(
        "mlvpn_peer_marked_total",
        "Packets marked for congestion instead of being dropped.",
        |p| Whole(p.queue.marked),
    ),
    counter("mlvpn_peer_resent_total", "Lost packets that were sent again.", |p| {
        Whole(p.recovery.resent)
    }),
    counter("mlvpn_peer_given_up_total", "Lost packets that were given up.", |p| {
        Whole(p.recovery.given_up)
    }),
    counter("mlvpn_peer_copies_total", "Second copies of packets that were sent.", |p| {
        Whole(p.copies.sent)
    }),
    counter(
        "mlvpn_peer_copies_withheld_total",
        "Second copies that were not sent for want of room.",
        |p| Whole(p.copies.withheld),
    ),
    counter(
        "mlvpn_peer_feedback_packets_total",
        "Packets sent that tell the peer which of its packets came.",
        |p| Whole(p.feedback.packets),
    ),
    counter("mlvpn_peer_feedback_bytes_total", "Bytes of these, with all headers.", |p| {
        Whole(p.feedback.bytes)
    }),
    gauge("mlvpn_peer_striped_lanes", "Lanes that are striped over several links.", |p| {
        Whole(p.striped_lanes)
    }),
    gauge("mlvpn_peer_held_packets", "Packets that wait for an earlier one of their lane.", |p| {
        Whole(p.lanes.held_packets)
    }),
    gauge("mlvpn_peer_held_bytes", "Bytes of the packets held.", |p| Whole(p.lanes.held_bytes)),
    gauge("mlvpn_peer_wait_seconds", "How long the latest missing packet is waited for.", |p| {
        Real(p.lanes.wait.as_secs_f64())
    }),
    counter("mlvpn_peer_in_order_total", "Packets passed on in their turn.", |p| {
        Whole(p.lanes.in_order)
    }),
    counter(
        "mlvpn_peer_proven_lost_total",
        "Missing packets given up because every link had brought later ones.",
        |p| Whole(p.lanes.proven_lost),
    ),
    counter(
        "mlvpn_peer_skipped_total",
        "Missing packets given up because the peer said so.",
        |p| Whole(p.lanes.skipped),
    ),
    counter(
        "mlvpn_peer_deadline_total",
        "Missing packets given up because the wait was over.",
        |p| Whole(p.lanes.deadline),
    ),
    counter(
        "mlvpn_peer_overflow_total",
        "Missing packets given up because too much was held.",
        |p| Whole(p.lanes.overflow),
    ),
    counter("mlvpn_peer_late_total", "Packets that came after they had been given up.", |p| {
        Whole(p.lanes.late)
    }),
    counter("mlvpn_peer_duplicates_total", "Packets that had come before.", |p| {
        Whole(p.lanes.duplicates)
    }),
];
