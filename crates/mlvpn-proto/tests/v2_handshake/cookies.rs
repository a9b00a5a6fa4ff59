//! mac2 and cookies, from load to the initiation that is heard.

use std::net::SocketAddr;
use std::time::Duration;

use mlvpn_proto::handshake::v2::{
    CookieJar, CookieReply, CookieStore, HandshakeError, Initiation, Offer,
};
use mlvpn_proto::id::SessionIndex;
use mlvpn_proto::time::Instant;

use crate::ends::{Ends, offer, rng};

const NOW: Instant = Instant::from_secs(1_000);

fn home() -> SocketAddr {
    "192.0.2.7:4000".parse().unwrap()
}

/// An initiator's path and the responder, after the initiator was given a cookie at [`NOW`].
struct Acquainted {
    ends: Ends,
    jar: CookieJar,
    store: CookieStore,
}

impl Acquainted {
    fn new(ends: Ends) -> Self {
        let (mut jar, mut store) = (CookieJar::new(), CookieStore::new());
        let reply = asked(&ends, &mut jar, &mut store);
        let reply = CookieReply::parse(&reply).unwrap();
        store.handle(&reply, &ends.initiator, NOW).unwrap();
        Self { ends, jar, store }
    }

    /// Whether mac2 of a new initiation, signed at one time, is good at another.
    fn is_heard(&mut self, from: SocketAddr, signed: Instant, heard: Instant) -> bool {
        let (_, mut initiation) = self.ends.start(offer());
        self.store.sign(&mut initiation, signed);
        let initiation = Initiation::parse(&initiation, &self.ends.responder).unwrap();
        self.jar.verify_mac2(&initiation, from, heard)
    }
}

/// The cookie reply to a first initiation.
fn asked(ends: &Ends, jar: &mut CookieJar, store: &mut CookieStore) -> [u8; 64] {
    let (_, mut initiation) = ends.start(offer());
    store.sign(&mut initiation, NOW);
    assert_eq!(initiation[1_184..], [0; 16], "no cookie yet");
    let initiation = Initiation::parse(&initiation, &ends.responder).unwrap();
    assert!(!jar.verify_mac2(&initiation, home(), NOW));
    jar.reply(&initiation, &ends.responder.recipient(), home(), NOW, &mut rng(30))
}

#[test]
fn an_initiator_with_a_cookie_is_heard() {
    for ends in Ends::all() {
        let mut pair = Acquainted::new(ends);
        assert!(pair.is_heard(home(), NOW, NOW));
        let later = NOW + Duration::from_secs(119);
        assert!(pair.is_heard(home(), later, later));
    }
}

#[test]
fn a_cookie_is_bound_to_address_and_port() {
    let mut pair = Acquainted::new(Ends::with_keys());
    for elsewhere in ["192.0.2.7:4001", "192.0.2.8:4000", "[2001:db8::7]:4000"] {
        assert!(!pair.is_heard(elsewhere.parse().unwrap(), NOW, NOW), "{elsewhere}");
    }
}

#[test]
fn a_cookie_expires_at_both_ends() {
    let later = NOW + Duration::from_secs(120);
    let mut pair = Acquainted::new(Ends::with_keys());
    assert!(!pair.is_heard(home(), NOW, later), "the responder has renewed its secret");
    let mut pair = Acquainted::new(Ends::with_keys());
    let (_, mut initiation) = pair.ends.start(offer());
    pair.store.sign(&mut initiation, later);
    assert_eq!(initiation[1_184..], [0; 16], "the initiator has forgotten it");
}

#[test]
fn the_responder_renews_its_secret() {
    let mut pair = Acquainted::new(Ends::with_keys());
    let later = NOW + Duration::from_secs(120);
    let (_, mut initiation) = pair.ends.start(offer());
    pair.store.sign(&mut initiation, later);
    let parsed = Initiation::parse(&initiation, &pair.ends.responder).unwrap();
    let reply =
        pair.jar.reply(&parsed, &pair.ends.responder.recipient(), home(), later, &mut rng(31));
    assert!(!pair.is_heard(home(), NOW, later), "without the new cookie");
    let (_, mut initiation) = pair.ends.start(offer());
    pair.store.sign(&mut initiation, later);
    pair.store.handle(&CookieReply::parse(&reply).unwrap(), &pair.ends.initiator, later).unwrap();
    assert!(pair.is_heard(home(), later, later));
}

#[test]
fn mac2_covers_the_initiation() {
    let mut pair = Acquainted::new(Ends::with_password());
    let (_, mut initiation) = pair.ends.start(offer());
    pair.store.sign(&mut initiation, NOW);
    for bit in 1_184 * 8..1_200 * 8 {
        let mut flipped = initiation.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let parsed = Initiation::parse(&flipped, &pair.ends.responder).unwrap();
        assert!(!pair.jar.verify_mac2(&parsed, home(), NOW), "bit {bit}");
    }
    let (_, mut other) = pair.ends.start(Offer { index: SessionIndex(8), ..offer() });
    other[1_184..].copy_from_slice(&initiation[1_184..]);
    let parsed = Initiation::parse(&other, &pair.ends.responder).unwrap();
    assert!(!pair.jar.verify_mac2(&parsed, home(), NOW), "mac2 of another initiation");
}

#[test]
fn a_cookie_reply_is_taken_from_the_responder_to_the_latest_initiation_only() {
    for ends in Ends::all() {
        let (mut jar, mut store) = (CookieJar::new(), CookieStore::new());
        let reply = asked(&ends, &mut jar, &mut store);
        for bit in 0..reply.len() * 8 {
            let mut flipped = reply;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let taken = CookieReply::parse(&flipped)
                .and_then(|reply| store.handle(&reply, &ends.initiator, NOW));
            assert!(taken.is_err(), "bit {bit}");
        }
        let reply = CookieReply::parse(&reply).unwrap();
        assert_eq!(reply.receiver(), offer().index);
        let mut unasked = CookieStore::new();
        let refused = unasked.handle(&reply, &ends.initiator, NOW);
        assert_eq!(refused, Err(HandshakeError::NotOurs));

        let mut other = ends.start(Offer { time_micros: 1, ..offer() }).1;
        let mut elsewhere = CookieStore::new();
        elsewhere.sign(&mut other, NOW);
        let refused = elsewhere.handle(&reply, &ends.initiator, NOW);
        assert_eq!(refused, Err(HandshakeError::NotAuthentic), "the same index, another mac1");

        assert_eq!(store.handle(&reply, &ends.initiator, NOW), Ok(()));
        let again = store.handle(&reply, &ends.initiator, NOW);
        assert_eq!(again, Err(HandshakeError::NotOurs), "a replay prolongs nothing");
    }
}

#[test]
fn cookies_do_not_show_in_debug_output() {
    let pair = Acquainted::new(Ends::with_password());
    assert_eq!(format!("{:?}", pair.jar), "CookieJar { recent: 0, .. }");
    assert_eq!(format!("{:?}", pair.store), "CookieStore { cookie_since: Some(1000.000000s), .. }");
}
