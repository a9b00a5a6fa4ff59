//! The handshake of version 2 between two ends, and between them and an attacker.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "v2_handshake/cookies.rs"]
mod cookies;
#[path = "v2_handshake/ends.rs"]
mod ends;
#[path = "v2_handshake/payloads.rs"]
mod payloads;
#[path = "v2_handshake/vectors.rs"]
mod vectors;

use blake2::digest::consts::U16;
use blake2::digest::{KeyInit as _, Mac as _};
use blake2::{Blake2s256, Blake2sMac, Digest as _};
use ends::{Ends, answer, do_match, keys, offer, password, private, public, rng, take};
use mlvpn_proto::crypto::keypair::PublicKey;
use mlvpn_proto::crypto::v2::Cipher;
use mlvpn_proto::handshake::v2::{
    Answer, Blame, CookieReply, Credentials, ExpectResponse, HandshakeError, INITIATION_LEN,
    Initiation, LatestTimes, Offer, Response, SessionId,
};
use mlvpn_proto::id::{PathId, SessionIndex};
use proptest::prelude::*;

/// mac1 as the specification says [H17], for forgeries by somebody who knows a public key.
fn forge_mac1(datagram: &mut [u8], recipient: &[u8; 32]) {
    let key = Blake2s256::new().chain_update(b"mlvpn v2 mac1").chain_update(recipient).finalize();
    let at = datagram.len() - 32;
    let mac = Blake2sMac::<U16>::new_from_slice(&key).unwrap().chain_update(&datagram[..at]);
    datagram[at..at + 16].copy_from_slice(&mac.finalize().into_bytes());
}

#[test]
fn both_ends_agree_on_an_epoch() {
    for ends in Ends::all() {
        let (ours, theirs) = ends.shake(offer(), &answer());
        assert!(do_match(&ours, &theirs));
        assert_eq!((ours.our_index, ours.peer_index), (offer().index, answer().index));
        assert_eq!((theirs.our_index, theirs.peer_index), (answer().index, offer().index));
        for end in [&ours, &theirs] {
            assert_eq!(end.path, offer().path);
            assert_eq!(end.session_id, offer().session_id);
            assert_eq!(end.cipher, Cipher::Aes256Gcm);
            assert!(!end.is_resumed && !end.cleartext && !end.ethernet);
        }
    }
}

#[test]
fn with_key_pairs_both_know_who_the_other_is() {
    let (ours, theirs) = Ends::with_keys().shake(offer(), &answer());
    assert_eq!((ours.peer, theirs.peer), (Some(public(2)), Some(public(1))));
    let (ours, theirs) = Ends::with_password().shake(offer(), &answer());
    assert_eq!((ours.peer, theirs.peer), (None, None));
}

#[test]
fn what_the_responder_decides_reaches_the_initiator() {
    for ends in Ends::all() {
        let resumed = Answer { is_resumed: true, has_fast_aes: false, ..answer() };
        let (ours, theirs) = ends.shake(offer(), &resumed);
        for end in [ours, theirs] {
            assert!(end.is_resumed);
            assert_eq!(end.cipher, Cipher::ChaCha20Poly1305);
        }
    }
}

#[test]
fn data_is_in_clear_only_when_both_ends_ask_for_it() {
    for (initiator, responder) in [(false, false), (false, true), (true, false), (true, true)] {
        let offer = Offer { wants_cleartext: initiator, ..offer() };
        let answer = Answer { wants_cleartext: responder, ..answer() };
        let (ours, theirs) = Ends::with_password().shake(offer, &answer);
        assert_eq!(ours.cleartext, initiator && responder);
        assert_eq!(theirs.cleartext, initiator && responder);
    }
}

#[test]
fn ends_that_carry_different_frames_refuse_each_other() {
    for ends in Ends::all() {
        let ethernet = Offer { ethernet: true, ..offer() };
        let (_, initiation) = ends.start(ethernet.clone());
        let refused = ends.respond(&initiation, &answer()).unwrap_err();
        assert_eq!(refused, HandshakeError::OtherFrames);
        assert_eq!(refused.blame(), Blame::Configuration);
        let (ours, theirs) = ends.shake(ethernet, &Answer { ethernet: true, ..answer() });
        assert!(ours.ethernet && theirs.ethernet);
    }
}

#[test]
fn an_initiation_has_1200_bytes_and_its_response_no_more() {
    for ends in Ends::all() {
        let (_, initiation) = ends.start(offer());
        assert_eq!(initiation.len(), 1_200);
        let (response, _) = ends.respond(&initiation, &answer()).unwrap();
        assert!(response.len() <= 1_200, "{}", response.len());
        for len in [0, 1, 8, 100, 1_199] {
            let parsed = Initiation::parse(&initiation[..len], &ends.responder);
            assert_eq!(parsed.unwrap_err(), HandshakeError::Malformed, "{len}");
        }
    }
}

#[test]
fn nobody_without_the_credentials_gets_an_answer() {
    let stranger = Ends { initiator: password(9), responder: password(1) };
    let (_, initiation) = stranger.start(offer());
    let refused = stranger.respond(&initiation, &answer()).unwrap_err();
    assert_eq!(refused, HandshakeError::WrongMac);

    let unknown = Ends { initiator: keys(9, public(2), None), responder: keys(2, public(1), None) };
    let (_, initiation) = unknown.start(offer());
    let refused = unknown.respond(&initiation, &answer()).unwrap_err();
    assert_eq!(refused, HandshakeError::UnknownPeer(public(9)));

    let lost = Ends { initiator: keys(1, public(8), None), responder: keys(2, public(1), None) };
    let (_, initiation) = lost.start(offer());
    assert_eq!(lost.respond(&initiation, &answer()).unwrap_err(), HandshakeError::WrongMac);
}

#[test]
fn knowing_the_mac_key_is_not_knowing_the_credentials() {
    let psk = [1; 32];
    let stranger = Ends { initiator: password(9), responder: password(1) };
    let (_, mut initiation) = stranger.start(offer());
    forge_mac1(&mut initiation, &psk);
    let refused = stranger.respond(&initiation, &answer()).unwrap_err();
    assert_eq!(refused, HandshakeError::NotAuthentic);

    let ends = Ends::with_keys();
    let (_, mut other) = Ends { initiator: keys(1, public(8), None), ..ends }.start(offer());
    forge_mac1(&mut other, public(2).as_bytes());
    let refused = Ends::with_keys().respond(&other, &answer()).unwrap_err();
    assert_eq!(refused, HandshakeError::NotAuthentic);
}

#[test]
fn ends_with_different_preshared_keys_do_not_meet() {
    for (initiator, responder) in [(Some(3), Some(4)), (None, Some(4)), (Some(3), None)] {
        let ends = Ends {
            initiator: keys(1, public(2), initiator),
            responder: keys(2, public(1), responder),
        };
        let (mut expect, initiation) = ends.start(offer());
        let (response, _) = ends.respond(&initiation, &answer()).unwrap();
        let refused = take(&mut expect, &response).unwrap_err();
        assert_eq!(refused, HandshakeError::NotAuthentic);
    }
}

#[test]
fn ends_with_different_kinds_of_credentials_say_so() {
    let ends = Ends { initiator: password(1), responder: keys(2, public(1), None) };
    let (_, initiation) = ends.start(offer());
    let refused = ends.respond(&initiation, &answer()).unwrap_err();
    assert_eq!(refused, HandshakeError::OtherCredentials);
}

#[test]
fn an_initiator_with_keys_needs_a_peer_with_a_good_one() {
    let start = |credentials: &Credentials| {
        ExpectResponse::start(credentials, offer(), &mut rng(1)).unwrap_err()
    };
    let alone = Credentials::Keys { private: private(1), peers: Vec::new() };
    assert_eq!(start(&alone), HandshakeError::NoPeer);
    let zero = keys(1, PublicKey::from_bytes([0; 32]), None);
    assert_eq!(start(&zero), HandshakeError::SmallOrder);
}

/// [H4]: ephemeral keys of small order, in messages that are otherwise as good as a holder of the
/// mac key can make them.
#[test]
fn ephemeral_keys_of_small_order_end_the_handshake() {
    let ends = Ends::with_keys();
    let (mut expect, mut initiation) = ends.start(offer());
    let (mut response, _) = ends.respond(&initiation, &answer()).unwrap();
    initiation[8..40].fill(0);
    forge_mac1(&mut initiation, public(2).as_bytes());
    let refused = ends.respond(&initiation, &answer()).unwrap_err();
    assert_eq!(refused, HandshakeError::SmallOrder);
    response[12..44].fill(0);
    forge_mac1(&mut response, public(1).as_bytes());
    assert_eq!(take(&mut expect, &response).unwrap_err(), HandshakeError::SmallOrder);

    // With a password the first message needs no agreement: only the credentials make one.
    let ends = Ends { initiator: password(1), responder: password(1) };
    let (mut expect, initiation) = ends.start(offer());
    let (mut response, _) = ends.respond(&initiation, &answer()).unwrap();
    response[12..44].fill(0);
    forge_mac1(&mut response, &[1; 32]);
    assert_eq!(take(&mut expect, &response).unwrap_err(), HandshakeError::SmallOrder);
}

#[test]
fn every_flipped_bit_of_an_initiation_but_those_of_mac2_is_noticed() {
    for (ends, recipient) in
        [(Ends::with_password(), [1; 32]), (Ends::with_keys(), *public(2).as_bytes())]
    {
        let (_, initiation) = ends.start(offer());
        for bit in 0..(INITIATION_LEN - 16) * 8 {
            let mut flipped = initiation.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Initiation::parse(&flipped, &ends.responder).is_err(), "bit {bit}");
        }
        for at in 0..INITIATION_LEN - 32 {
            let mut forged = initiation.clone();
            forged[at] ^= 1 << (at % 8);
            forge_mac1(&mut forged, &recipient);
            assert!(ends.respond(&forged, &answer()).is_err(), "byte {at}, with a new mac1");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_response_is_noticed_and_the_true_one_is_still_taken() {
    for (ends, recipient) in
        [(Ends::with_password(), [1; 32]), (Ends::with_keys_and_preshared(), *public(1).as_bytes())]
    {
        let (mut expect, initiation) = ends.start(offer());
        let (response, theirs) = ends.respond(&initiation, &answer()).unwrap();
        let macs_at = response.len() - 32;
        for bit in 0..(macs_at + 16) * 8 {
            let mut flipped = response.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(take(&mut expect, &flipped).is_err(), "bit {bit}");
        }
        for bit in (12 * 8..macs_at * 8).step_by(7) {
            let mut forged = response.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            forge_mac1(&mut forged, &recipient);
            let refused = take(&mut expect, &forged).unwrap_err();
            assert_eq!(refused.blame(), Blame::Network, "bit {bit}, with a new mac1");
        }
        let ours = take(&mut expect, &response).unwrap();
        assert!(do_match(&ours, &theirs));
        assert_eq!(take(&mut expect, &response).unwrap_err(), HandshakeError::NotOurs);
    }
}

/// [H5]: the responder's index is in no hash of Noise, so that only the repetition inside tells.
#[test]
fn a_changed_header_of_a_response_is_noticed() {
    for (ends, recipient) in
        [(Ends::with_password(), [1; 32]), (Ends::with_keys(), *public(1).as_bytes())]
    {
        for at in 4..8 {
            let (mut expect, initiation) = ends.start(offer());
            let (mut response, _) = ends.respond(&initiation, &answer()).unwrap();
            response[at] ^= 0x10;
            forge_mac1(&mut response, &recipient);
            let refused = take(&mut expect, &response).unwrap_err();
            assert_eq!(refused, HandshakeError::HeaderChanged);
            // Whoever copies packets and is faster does not keep an end from new keys.
            response[at] ^= 0x10;
            forge_mac1(&mut response, &recipient);
            take(&mut expect, &response).expect("the true one is still taken");
        }
    }
}

#[test]
fn the_header_of_an_initiation_is_part_of_the_prologue() {
    for (ends, recipient) in
        [(Ends::with_password(), [1; 32]), (Ends::with_keys(), *public(2).as_bytes())]
    {
        for at in [2, 4, 7] {
            let (_, mut initiation) = ends.start(offer());
            initiation[at] ^= 1;
            forge_mac1(&mut initiation, &recipient);
            let refused = ends.respond(&initiation, &answer()).unwrap_err();
            assert_eq!(refused, HandshakeError::NotAuthentic);
        }
    }
}

#[test]
fn a_replayed_initiation_is_refused_with_keys_and_of_no_use_with_a_password() {
    let ends = Ends::with_keys();
    let mut latest = LatestTimes::new();
    let (_, initiation) = ends.start(offer());
    ends.respond_again(&initiation, &answer(), &mut latest).unwrap();
    let refused = ends.respond_again(&initiation, &answer(), &mut latest).unwrap_err();
    assert_eq!(refused, HandshakeError::Replayed(public(1)));
    let earlier = Offer { time_micros: offer().time_micros - 1, ..offer() };
    let refused = ends.respond_again(&ends.start(earlier).1, &answer(), &mut latest).unwrap_err();
    assert_eq!(refused, HandshakeError::Replayed(public(1)));
    let later = Offer { time_micros: offer().time_micros + 1, ..offer() };
    ends.respond_again(&ends.start(later).1, &answer(), &mut latest).unwrap();

    let ends = Ends::with_password();
    let (mut expect, initiation) = ends.start(offer());
    let (response, _) = ends.respond(&initiation, &answer()).unwrap();
    let ours = take(&mut expect, &response).unwrap();
    let replayed = Initiation::parse(&initiation, &ends.responder).unwrap();
    let accepted = replayed.open(&ends.responder, &mut LatestTimes::new(), &mut rng(21)).unwrap();
    let (_, pending) = accepted.respond(&answer()).unwrap();
    assert!(!do_match(&ours, &pending), "another ephemeral key, another epoch");
    assert_ne!(ours.send_secret.as_bytes(), pending.receive_secret.as_bytes());
}

#[test]
fn a_response_is_for_one_handshake_only() {
    for ends in Ends::all() {
        let (_, initiation) = ends.start(offer());
        let (response, _) = ends.respond(&initiation, &answer()).unwrap();
        let other_index = Offer { index: SessionIndex(7), ..offer() };
        let (mut other, _) = ends.start(other_index);
        assert_eq!(take(&mut other, &response).unwrap_err(), HandshakeError::NotOurs);
        let (mut other, _) = ExpectResponse::start(&ends.initiator, offer(), &mut rng(11)).unwrap();
        assert_eq!(take(&mut other, &response).unwrap_err(), HandshakeError::NotAuthentic);
        let other_path = Offer { path: PathId::new(6).unwrap(), ..offer() };
        let (mut other, _) = ends.start(other_path);
        assert_eq!(take(&mut other, &response).unwrap_err(), HandshakeError::NotOurs);
    }
}

#[test]
fn an_initiation_thrown_back_at_its_sender_is_no_response() {
    for ends in Ends::all() {
        let (mut expect, initiation) = ends.start(offer());
        assert_eq!(take(&mut expect, &initiation).unwrap_err(), HandshakeError::Malformed);
        let mut retyped = initiation.clone();
        retyped[0] = 0xC2;
        retyped.copy_within(4..8, 8);
        assert!(take(&mut expect, &retyped).is_err());
    }
}

#[test]
fn nothing_secret_shows_in_debug_output() {
    for ends in Ends::all() {
        let (mut expect, initiation) = ends.start(offer());
        let accepted = Initiation::parse(&initiation, &ends.responder)
            .unwrap()
            .open(&ends.responder, &mut LatestTimes::new(), &mut rng(20))
            .unwrap();
        let mut shown = format!("{expect:?}{accepted:?}{:?}", ends.initiator);
        let (response, theirs) = accepted.respond(&answer()).unwrap();
        let ours = take(&mut expect, &response).unwrap();
        shown += &format!("{ours:?}{theirs:?}");
        for secret in [ours.send_secret.as_bytes(), ours.receive_secret.as_bytes(), &[1; 32]] {
            let listed = format!("{:?}", &secret[..4]);
            assert!(!shown.contains(listed.trim_matches(['[', ']'])), "{shown}");
        }
    }
}

#[test]
fn ends_resume_only_what_the_responder_was_asked_for() {
    let ends = Ends::with_password();
    let (_, initiation) = ends.start(Offer { session_id: SessionId([9; 8]), ..offer() });
    let parsed = Initiation::parse(&initiation, &ends.responder).unwrap();
    let accepted = parsed.open(&ends.responder, &mut LatestTimes::new(), &mut rng(20)).unwrap();
    assert_eq!(accepted.session_id(), SessionId([9; 8]));
    assert_eq!((accepted.path(), accepted.peer()), (offer().path, None));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>, kind in 0xC1_u8..=0xC3, code in 0_u8..2) {
        if let [first, second, ..] = &mut bytes[..] {
            (*first, *second) = (kind, code);
        }
        let ends = if code == 0 { Ends::with_password() } else { Ends::with_keys() };
        prop_assert!(Initiation::parse(&bytes, &ends.responder).is_err());
        let _ = CookieReply::parse(&bytes);
        let (mut expect, _) = ends.start(offer());
        prop_assert!(take(&mut expect, &bytes).is_err());
    }

    /// What somebody can send who knows all but the secret keys.
    #[test]
    fn arbitrary_noise_under_a_good_mac1_never_opens(
        noise in prop::collection::vec(any::<u8>(), 0..=INITIATION_LEN - 44),
        with_keys: bool,
    ) {
        let (ends, own, peer) = if with_keys {
            (Ends::with_keys(), *public(1).as_bytes(), *public(2).as_bytes())
        } else {
            (Ends::with_password(), [1; 32], [1; 32])
        };
        let (mut expect, mut initiation) = ends.start(offer());
        let len = noise.len();
        initiation[8..8 + len].copy_from_slice(&noise);
        forge_mac1(&mut initiation, &peer);
        prop_assert!(len == 0 || ends.respond(&initiation, &answer()).is_err());

        let mut response = vec![0xC2, u8::from(with_keys), offer().path.number(), 0];
        response.extend(answer().index.0.to_be_bytes());
        response.extend(offer().index.0.to_be_bytes());
        response.extend(noise);
        response.extend([0; 32]);
        forge_mac1(&mut response, &own);
        prop_assert!(Response::parse(&response).is_ok());
        prop_assert!(take(&mut expect, &response).is_err());
    }
}
