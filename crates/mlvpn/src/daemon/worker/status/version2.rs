//! What is shown of version 2.

use mlvpn_proto::handshake::v1::LinkState;
use mlvpn_proto::lanes::LaneStats;
use mlvpn_proto::path::rate::State;
use mlvpn_proto::stats::PeerStats;
use mlvpn_proto::{Instant, LinkStats, SessionStats};

use crate::config::Config;
use crate::status::{
    CopyStatus, FeedbackStatus, LaneStatus, PathState, PathStatus, PeerStatus, QueueStatus,
    RateState, RecoveryStatus,
};

/// The peers, by their names in the configuration.
pub(super) fn peers(config: &Config, session: &SessionStats, now: Instant) -> Vec<PeerStatus> {
    session.peers.iter().map(|peer| peer_status(config, peer, now)).collect()
}

fn peer_status(config: &Config, numbers: &PeerStats, now: Instant) -> PeerStatus {
    let configured = config.peers.iter().find(|peer| Some(peer.public_key) == numbers.peer);
    PeerStatus {
        name: configured.map(|peer| peer.name.clone()),
        public_key: numbers.peer.map(|key| key.to_string()),
        software: numbers.software.as_ref().map(|text| text.escape_debug().to_string()),
        uptime: now.saturating_since(numbers.since),
        queue: QueueStatus {
            packets: numbers.queued.packets,
            bytes: numbers.queued.bytes,
            marked: numbers.marked,
        },
        recovery: RecoveryStatus {
            resent: numbers.recovery.resent,
            given_up: numbers.recovery.given_up,
        },
        lanes: lane_status(&numbers.lanes),
        striped_lanes: numbers.striped as u64,
        policy: numbers.policy.as_str().to_owned(),
        copies: CopyStatus { sent: numbers.copies.sent, withheld: numbers.copies.withheld },
        feedback: FeedbackStatus {
            packets: numbers.feedback.packets,
            bytes: numbers.feedback.bytes,
        },
    }
}

fn lane_status(lanes: &LaneStats) -> LaneStatus {
    LaneStatus {
        held_packets: lanes.held_packets as u64,
        held_bytes: lanes.held_bytes as u64,
        wait: lanes.wait,
        in_order: lanes.in_order,
        proven_lost: lanes.proven_lost,
        skipped: lanes.skipped,
        deadline: lanes.deadline,
        overflow: lanes.overflow,
        late: lanes.late,
        duplicates: lanes.duplicates,
    }
}

/// A link's path, if it has one.
pub(super) fn path(link: &LinkStats) -> Option<PathStatus> {
    let path = link.path.as_ref()?;
    Some(PathStatus {
        id: path.id.number(),
        state: match link.state {
            LinkState::Up if path.is_suspect => PathState::Suspect,
            LinkState::Up => PathState::Up,
            LinkState::Down | LinkState::Closed => PathState::Down,
        },
        capacity: path.capacity,
        rate_state: match path.rate_state {
            State::Startup => RateState::Startup,
            State::Cruise => RateState::Cruise,
            State::Hold => RateState::Hold,
            State::Drain => RateState::Drain,
            State::NotLimited => RateState::NotLimited,
            State::Rebase => RateState::Rebase,
        },
        queue_delay: path.queue_delay,
        min_rtt: path.min_rtt,
        loss_ratio: path.loss,
        received_loss_ratio: path.received_loss,
        delivery_rate: path.delivery_rate,
        in_flight_bytes: path.in_flight,
        resent_packets: path.resent.packets,
        resent_bytes: path.resent.bytes,
        mtu: path.mtu,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

    fn config() -> Config {
        let text = format!(
            "[general]\nmode=server\nprivate_key_file=k\n[a]\nbindport=5080\n\
             [peer bob]\npublic_key={KEY}\n"
        );
        let own = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
        let mut keys =
            crate::config::KeyFiles::from_bytes(format!("{own} k\n").as_bytes()).unwrap();
        crate::config::parse_with_keys("t", text.as_bytes(), &mut keys).unwrap().config
    }

    fn numbers(peer: Option<&str>, software: &str) -> PeerStats {
        PeerStats {
            peer: peer.map(|key| key.parse().unwrap()),
            software: Some(software.to_owned()),
            since: Instant::from_secs(5),
            lanes: LaneStats::default(),
            queued: mlvpn_proto::stats::Traffic::default(),
            marked: 0,
            recovery: mlvpn_proto::recovery::RecoveryStats::default(),
            striped: 2,
            policy: mlvpn_proto::Policy::Redundant,
            copies: mlvpn_proto::stats::CopyStats { sent: 3, withheld: 4 },
            feedback: mlvpn_proto::stats::Traffic::default(),
        }
    }

    #[test]
    fn a_peer_goes_by_its_name_in_the_configuration() {
        let now = Instant::from_secs(7);
        let bob = peer_status(&config(), &numbers(Some(KEY), "mlvpn 3"), now);
        assert_eq!((bob.name.as_deref(), bob.public_key.as_deref()), (Some("bob"), Some(KEY)));
        assert_eq!((bob.uptime.as_secs(), bob.striped_lanes), (2, 2));
        assert_eq!(bob.policy, "redundant");
        assert_eq!((bob.copies.sent, bob.copies.withheld), (3, 4));
        let other = "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=";
        let gone = peer_status(&config(), &numbers(Some(other), ""), now);
        assert_eq!((gone.name, gone.public_key.as_deref()), (None, Some(other)));
        assert_eq!(peer_status(&config(), &numbers(None, ""), now).public_key, None);
    }

    #[test]
    fn what_a_peer_calls_itself_cannot_drive_a_terminal() {
        let software = "m\u{1b}[2Jl\n\u{202e}\"é";
        let peer = peer_status(&config(), &numbers(None, software), Instant::from_secs(7));
        assert_eq!(peer.software.unwrap(), "m\\u{1b}[2Jl\\n\\u{202e}\\\"é");
    }
}
