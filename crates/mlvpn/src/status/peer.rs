//! What is known of a peer that speaks version 2.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A peer, and the session with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its name in the configuration; none with a password.
    pub name: Option<String>,
    /// Its public key; none with a password.
    pub public_key: Option<String>,
    /// What it calls its software, with everything escaped that is not printed.
    pub software: Option<String>,
    /// Time since the session began.
    pub uptime: Duration,
    /// Packets that wait to be sent to it.
    pub queue: QueueStatus,
    /// Packets to it that were lost.
    pub recovery: RecoveryStatus,
    /// How the order of its packets is restored.
    pub lanes: LaneStatus,
    /// Lanes to it that are striped over several links.
    pub striped_lanes: u64,
    /// What it was told of its packets.
    pub feedback: FeedbackStatus,
    /// How packets to and from it are given to the links: the word that configurations use.
    pub policy: String,
    /// Second copies of packets to it.
    pub copies: CopyStatus,
}

/// What became of second copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyStatus {
    /// Sent.
    pub sent: u64,
    /// Not sent, for want of room.
    pub withheld: u64,
}

/// Packets that tell the peer which of its packets came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackStatus {
    /// How many were sent.
    pub packets: u64,
    /// Their bytes, with all headers.
    pub bytes: u64,
}

/// Packets that wait for a link that can take them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Packets that wait now.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that were marked for congestion instead of being dropped.
    pub marked: u64,
}

/// What became of lost packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryStatus {
    /// Sent again.
    pub resent: u64,
    /// Given up: too old, or lost too often.
    pub given_up: u64,
}

/// The order of the peer's packets, lane by lane. What was given up is counted in missing packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneStatus {
    /// Packets held now because an earlier one of their lane is missing.
    pub held_packets: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// How long the latest missing packet may be waited for.
    pub wait: Duration,
    /// Packets passed on in their turn.
    pub in_order: u64,
    /// Given up because every link had brought later packets.
    pub proven_lost: u64,
    /// Given up because the peer said so.
    pub skipped: u64,
    /// Given up because the wait was over.
    pub deadline: u64,
    /// Given up because too much was held.
    pub overflow: u64,
    /// Packets that came after they had been given up, and were passed on late.
    pub late: u64,
    /// Packets that had come before.
    pub duplicates: u64,
}
