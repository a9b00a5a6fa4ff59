use super::negotiation::Negotiation;
use super::*;
use crate::crypto::password::PasswordKey;
use crate::crypto::v2::{Cipher, PacketCounter, REKEY_PACKETS};
use crate::handshake::v2::{Answer, Credentials, Initiation, LatestTimes, Offer, SessionId};
use crate::id::PathId;
use crate::wire::v2::{HEADER_LEN, TAG_LEN};
use chacha20::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};

const PATH: PathId = PathId::from_low_bits(3);

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn credentials() -> Credentials {
    Credentials::Password(PasswordKey::take(&mut [7; 32]))
}

/// An initiator and a responder, and the packet numbers that the initiator draws.
struct Pair {
    rng: ChaCha12Rng,
    initiator: Epochs,
    responder: Epochs,
    negotiation: Negotiation,
    numbers: PacketCounter,
}

impl Pair {
    fn new() -> Self {
        Self {
            rng: ChaCha12Rng::from_seed([1; 32]),
            initiator: Epochs::new(REKEY_PACKETS),
            responder: Epochs::new(REKEY_PACKETS),
            negotiation: Negotiation::default(),
            numbers: PacketCounter::new(PATH),
        }
    }

    fn initiation(&mut self, now: Instant) -> Option<Vec<u8>> {
        let index = SessionIndex(self.rng.next_u32() | 1);
        let offer = |path| Offer {
            index,
            path,
            session_id: SessionId([5; 8]),
            ciphers: Cipher::ALL.to_vec(),
            wants_cleartext: false,
            ethernet: false,
            time_micros: now.as_micros(),
        };
        let next =
            self.negotiation.poll_initiation(&credentials(), &[PATH], offer, &mut self.rng, now);
        next.unwrap().map(|(_, initiation)| initiation)
    }

    fn respond(&mut self, initiation: &[u8], now: Instant) -> Vec<u8> {
        let credentials = credentials();
        let initiation = Initiation::parse(initiation, &credentials).unwrap();
        let accepted =
            initiation.open(&credentials, &mut LatestTimes::new(), &mut self.rng).unwrap();
        let answer = Answer {
            index: SessionIndex(self.rng.next_u32() | 1),
            is_resumed: true,
            wants_cleartext: false,
            ethernet: false,
            has_fast_aes: true,
        };
        let (response, established) = accepted.respond(&answer).unwrap();
        self.responder.await_first_packet(Epoch::new(&established, now), now);
        response
    }

    fn shake(&mut self, now: Instant) {
        self.negotiation.begin(now);
        let initiation = self.initiation(now).unwrap();
        let response = self.respond(&initiation, now);
        let (_, epoch) = self.negotiation.handle_response(&response, now).unwrap();
        self.initiator.install(epoch, now);
    }

    /// A packet of the initiator, and its number.
    fn packet(&mut self, now: Instant) -> (PacketNumber, Vec<u8>) {
        let mut datagram = vec![2; HEADER_LEN + 1 + TAG_LEN];
        let number = self.numbers.draw().unwrap();
        let full = number.number();
        self.initiator.current(now).unwrap().seal(number, false, &mut datagram).unwrap();
        (full, datagram)
    }

    fn open(&mut self, packet: &(PacketNumber, Vec<u8>), now: Instant) -> Result<bool, OpenError> {
        let mut datagram = packet.1.clone();
        let header = SealedHeader::parse(&datagram).unwrap();
        let opened = self.responder.open(&header, packet.0, &mut datagram, now)?;
        assert_eq!(opened.body, [2]);
        Ok(opened.begins_epoch)
    }
}

/// An epoch of an initiator, for what is to be sealed elsewhere.
pub(crate) fn epoch(now: Instant) -> Epoch {
    let mut pair = Pair::new();
    pair.shake(now);
    pair.initiator.current.take().unwrap()
}

#[test]
fn a_responder_seals_only_after_the_first_packet() {
    let mut pair = Pair::new();
    pair.shake(at(0));
    assert!(pair.responder.current(at(0)).is_none());
    let (first, second) = (pair.packet(at(1)), pair.packet(at(1)));
    assert_eq!(pair.open(&first, at(2)), Ok(true));
    assert_eq!(pair.open(&second, at(3)), Ok(false));
    assert!(pair.responder.current(at(3)).is_some());
}

#[test]
fn packets_of_the_epoch_before_open_for_a_minute() {
    let mut pair = Pair::new();
    pair.shake(at(0));
    let (first, early, late) = (pair.packet(at(1)), pair.packet(at(2)), pair.packet(at(3)));
    pair.open(&first, at(4)).unwrap();
    pair.shake(at(120_000));
    let new = pair.packet(at(120_001));
    assert_eq!(pair.open(&new, at(120_002)), Ok(true));
    assert_eq!(pair.open(&early, at(180_001)), Ok(false));
    assert_eq!(pair.open(&late, at(180_002)), Err(OpenError::UnknownIndex));
    assert_eq!(pair.responder.indices().count(), 1);
}

#[test]
fn an_epoch_that_nobody_uses_is_forgotten() {
    let mut pair = Pair::new();
    pair.shake(at(0));
    let packet = pair.packet(at(1));
    assert_eq!(pair.responder.poll_timeout(), Some(at(5_000)));
    assert_eq!(pair.open(&packet, at(5_000)), Err(OpenError::UnknownIndex));
    assert_eq!(pair.responder.indices().count(), 0);
}

#[test]
fn a_flood_of_initiations_keeps_four_epochs() {
    let mut pair = Pair::new();
    for _ in 0..20 {
        pair.shake(at(0));
    }
    assert_eq!(pair.responder.indices().count(), MAX_PENDING);
    let packet = pair.packet(at(1));
    assert_eq!(pair.open(&packet, at(2)), Ok(true), "the latest is among them");
}

#[test]
fn a_forged_packet_does_not_begin_an_epoch() {
    let mut pair = Pair::new();
    pair.shake(at(0));
    let mut packet = pair.packet(at(1));
    *packet.1.last_mut().unwrap() ^= 1;
    assert_eq!(pair.open(&packet, at(2)), Err(OpenError::NotAuthentic(NotAuthentic)));
    assert!(pair.responder.current(at(2)).is_none());
}

#[test]
fn the_next_handshake_is_due_at_two_minutes_and_the_end_at_three() {
    let mut pair = Pair::new();
    assert!(pair.initiator.needs_handshake(at(0)));
    pair.shake(at(0));
    assert!(!pair.initiator.needs_handshake(at(119_999)));
    assert!(pair.initiator.needs_handshake(at(120_000)));
    assert!(pair.initiator.current(at(179_999)).is_some());
    assert!(pair.initiator.current(at(180_000)).is_none());
}

#[test]
fn initiations_are_repeated_and_an_answer_to_an_earlier_one_counts() {
    let mut pair = Pair::new();
    pair.negotiation.begin(at(0));
    let mut sent = Vec::new();
    let mut times = Vec::new();
    for _ in 0..7 {
        let now = pair.negotiation.poll_timeout().unwrap();
        times.push(now.as_millis());
        sent.push(pair.initiation(now).unwrap());
        assert_eq!(pair.initiation(now), None);
    }
    assert_eq!(times, [0, 250, 750, 1_750, 3_750, 7_750, 12_750]);
    let response = pair.respond(&sent[5], at(13_000));
    assert!(pair.negotiation.handle_response(&response, at(13_001)).is_ok());
    assert_eq!(pair.negotiation.poll_timeout(), None);
    let late = pair.respond(&sent[6], at(13_002));
    let refused = pair.negotiation.handle_response(&late, at(13_003));
    assert_eq!(refused.err(), Some(crate::handshake::v2::HandshakeError::NotOurs));
}

#[test]
fn an_epoch_wears_out_by_what_either_end_has_sealed() {
    let mut pair = Pair::new();
    pair.shake(at(0));
    assert!(!pair.initiator.needs_handshake(at(1)));
    pair.initiator.current.as_mut().unwrap().opened = REKEY_PACKETS;
    assert!(pair.initiator.needs_handshake(at(1)));
    assert_eq!(pair.initiator.rekey_at(), Some(Instant::ZERO));
}

#[test]
fn a_peer_that_begins_epochs_all_the_time_makes_the_oldest_go() {
    let mut pair = Pair::new();
    let mut first = None;
    for n in 0..200 {
        pair.shake(at(n * 20));
        let (packet, kept) = (pair.packet(at(n * 20)), pair.packet(at(n * 20)));
        assert_eq!(pair.open(&packet, at(n * 20)), Ok(true));
        first.get_or_insert(kept);
        assert!(pair.responder.indices().count() <= 1 + MAX_FORMER, "{n}");
        assert!(pair.initiator.indices().count() <= 1 + MAX_FORMER, "{n}");
        let early = first.as_ref().unwrap();
        if n == MAX_FORMER as u64 {
            assert_eq!(pair.open(early, at(n * 20)), Ok(false), "of more than a second ago");
        }
        if n == MAX_FORMER as u64 + 1 {
            assert_eq!(pair.open(early, at(n * 20)), Err(OpenError::UnknownIndex), "{n}");
        }
    }
    assert_eq!(pair.responder.indices().count(), 1 + MAX_FORMER);
}
