//! Indices that a random source gives again.

use super::*;
use crate::config::Role;
use crate::crypto::password::PasswordKey;
use crate::crypto::random::ErasingRng;
use crate::crypto::v2::Cipher;
use crate::epochs::Epoch;
use crate::handshake::v2::{
    Answer, Credentials, ExpectResponse, Initiation, LatestTimes, Offer, Response, SessionId,
};
use crate::id::PathId;
use crate::session::v2::SessionSetup;

const NOW: Instant = Instant::from_secs(1_000);

/// A random source that begins as all others of these tests do.
fn source() -> ErasingRng {
    ErasingRng::new([7; 32])
}

fn session() -> Session {
    let setup = SessionSetup {
        role: Role::Client,
        kind: PacketKind::Ip,
        identity: Identity { id: SessionId([1; 8]), peer: None },
        software: String::new(),
        lane_key: [0; 16],
        sources: Vec::new(),
        rekey_packets: u32::MAX,
    };
    Session::new(setup, NOW)
}

/// An epoch under which the peer sends to `index`.
fn epoch(index: SessionIndex) -> Epoch {
    let credentials = Credentials::Password(PasswordKey::take(&mut [7; 32]));
    let offer = Offer {
        index,
        path: PathId::from_low_bits(0),
        session_id: SessionId([1; 8]),
        ciphers: Cipher::ALL.to_vec(),
        wants_cleartext: false,
        ethernet: false,
        time_micros: 1,
    };
    let (mut expect, datagram) = ExpectResponse::start(&credentials, offer, &mut source()).unwrap();
    let initiation = Initiation::parse(&datagram, &credentials).unwrap();
    let accepted = initiation.open(&credentials, &mut LatestTimes::new(), &mut source()).unwrap();
    let answer = Answer {
        index: SessionIndex(1),
        is_resumed: false,
        wants_cleartext: false,
        ethernet: false,
        has_fast_aes: false,
    };
    let (datagram, _) = accepted.respond(&answer).unwrap();
    Epoch::new(&expect.handle(&Response::parse(&datagram).unwrap()).unwrap(), NOW)
}

#[test]
fn an_index_is_not_given_out_again_for_240_s_though_it_is_drawn_again() {
    let mut sessions = Sessions::default();
    let index = sessions.draw_index(&mut source());
    assert_eq!(sessions.draw_index(&mut source()), index, "nobody uses it as yet");
    let mut used = session();
    used.install_epoch(epoch(index), NOW);
    sessions.add(used);
    assert_ne!(sessions.draw_index(&mut source()), index, "it is in use");
    sessions.replace_only(session(), NOW);
    assert_eq!(sessions.slot_of(index), None);
    for secs in [0, 60, 120, 180, 239] {
        sessions.expire(NOW + Duration::from_secs(secs));
        assert_ne!(sessions.draw_index(&mut source()), index, "{secs} s after its last use");
    }
    sessions.expire(NOW + RETIRED_FOR + SWEEP_EVERY);
    assert_eq!(sessions.draw_index(&mut source()), index, "there is an end to that");
}

#[test]
fn an_index_is_kept_back_also_when_all_sessions_end_at_once() {
    let mut sessions = Sessions::default();
    let index = sessions.draw_index(&mut source());
    let mut used = session();
    used.install_epoch(epoch(index), NOW);
    sessions.add(used);
    let next = Sessions::after(&Sessions::after(&sessions, NOW), NOW);
    assert_ne!(next.draw_index(&mut source()), index);
}

#[test]
fn indices_that_are_swept_out_are_not_given_out_again_either() {
    let mut sessions = Sessions::default();
    let index = sessions.draw_index(&mut source());
    let mut used = session();
    used.install_epoch(epoch(index), NOW);
    let slot = sessions.add(used);
    sessions.slots[slot] = None;
    for secs in [0, 59, 60, 180, 239] {
        sessions.expire(NOW + Duration::from_secs(secs));
        assert_ne!(sessions.draw_index(&mut source()), index, "{secs} s after its last use");
    }
}

#[test]
fn a_peer_that_begins_handshakes_all_the_time_fills_no_table() {
    let mut sessions = Sessions::default();
    let slot = sessions.add(session());
    let mut numbers = 1..;
    for round in 0..100 {
        let now = NOW + Duration::from_secs(round);
        for index in numbers.by_ref().take(SWEEP_AFTER + 1) {
            sessions.indices.insert(SessionIndex(index), slot);
        }
        assert!(sessions.poll_timeout().is_some_and(|at| at <= now), "it is time to sweep");
        sessions.expire(now);
        assert!(sessions.index_count() <= MAX_RETIRED, "{round}: {}", sessions.index_count());
        assert_eq!(sessions.retired.order.len(), sessions.retired.set.len());
    }
    assert_eq!(sessions.index_count(), MAX_RETIRED);
    let later = NOW + Duration::from_secs(100) + RETIRED_FOR;
    sessions.indices.insert(SessionIndex(0), slot);
    sessions.expire(later);
    assert_eq!(sessions.index_count(), 1, "all but the latest are free again");
}
