//! A peer that speaks version 2.

use serde::Serialize;

use super::millis;
use crate::status::{LaneStatus, PeerStatus};

#[derive(Serialize)]
pub(super) struct Peer<'a> {
    name: Option<&'a str>,
    public_key: Option<&'a str>,
    software: Option<&'a str>,
    uptime_seconds: f64,
    queue: Queue,
    recovery: Recovery,
    lanes: Lanes,
    feedback: Feedback,
    policy: &'a str,
    copies: Copies,
}

#[derive(Serialize)]
struct Copies {
    sent: u64,
    withheld: u64,
}

#[derive(Serialize)]
struct Queue {
    packets: u64,
    bytes: u64,
    marked: u64,
}

#[derive(Serialize)]
struct Recovery {
    resent: u64,
    given_up: u64,
}

#[derive(Serialize)]
struct Feedback {
    packets: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Lanes {
    striped: u64,
    held_packets: u64,
    held_bytes: u64,
    wait_ms: f64,
    in_order: u64,
    proven_lost: u64,
    skipped: u64,
    deadline: u64,
    overflow: u64,
    late: u64,
    duplicates: u64,
}

impl<'a> From<&'a PeerStatus> for Peer<'a> {
    fn from(peer: &'a PeerStatus) -> Self {
        let PeerStatus { queue, recovery, copies, feedback, .. } = peer;
        Self {
            name: peer.name.as_deref(),
            public_key: peer.public_key.as_deref(),
            software: peer.software.as_deref(),
            uptime_seconds: peer.uptime.as_secs_f64(),
            queue: Queue { packets: queue.packets, bytes: queue.bytes, marked: queue.marked },
            recovery: Recovery { resent: recovery.resent, given_up: recovery.given_up },
            lanes: Lanes::new(&peer.lanes, peer.striped_lanes),
            policy: &peer.policy,
            copies: Copies { sent: copies.sent, withheld: copies.withheld },
            feedback: Feedback { packets: feedback.packets, bytes: feedback.bytes },
        }
    }
}

impl Lanes {
    fn new(lanes: &LaneStatus, striped: u64) -> Self {
        Self {
            striped,
            held_packets: lanes.held_packets,
            held_bytes: lanes.held_bytes,
            wait_ms: millis(lanes.wait),
            in_order: lanes.in_order,
            proven_lost: lanes.proven_lost,
            skipped: lanes.skipped,
            deadline: lanes.deadline,
            overflow: lanes.overflow,
            late: lanes.late,
            duplicates: lanes.duplicates,
        }
    }
}
