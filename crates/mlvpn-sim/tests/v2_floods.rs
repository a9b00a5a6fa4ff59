//! Floods of initiations whose sender receives at his address: those that a cookie does not keep out.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use mlvpn_proto::LinkIndex;
use mlvpn_proto::crypto::keypair::PrivateKey;
use mlvpn_proto::crypto::v2::Cipher;
use mlvpn_proto::drop::DropReason;
use mlvpn_proto::handshake::v2::{
    CookieReply, CookieStore, Credentials, ExpectResponse, Offer, PeerKeys, SessionId,
};
use mlvpn_proto::id::{PathId, SessionIndex};
use mlvpn_sim::link::{LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::rng::Seed;
use mlvpn_sim::world::{SessionEndpoint, Tunnel, World, client_address, millis, secs};
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng as _;

type Run = World<SessionEndpoint>;

/// Each byte of the private keys of the simulated server and of somebody whom it does not know.
const SERVER_KEY: u8 = 4;
const STRANGERS_KEY: u8 = 66;
/// Of the flood.
const PER_MS: usize = 50;
/// What is taken of one address, and of all together `[H27]`.
const PER_SECOND: u64 = 20;
const AT_ONCE: u64 = 5;
const ADDRESSES: u64 = 256;

fn tunnel() -> Tunnel {
    let links = [LinkSpec::new(20.0, 10), LinkSpec::new(20.0, 20)].map(WanLink::symmetric);
    Tunnel::v2(links.to_vec()).with_key_pairs()
}

/// Hands a datagram to the server, at once.
fn hand(world: &mut Run, from: SocketAddr, bytes: &[u8]) {
    world.with_endpoint(Side::Server, |end, now| {
        end.session_mut().handle_datagram(LinkIndex(0), from, &mut bytes.to_vec(), now);
    });
}

/// Somebody who knows the server's public key and receives at his address.
struct Stranger {
    address: SocketAddr,
    cookies: CookieStore,
    credentials: Credentials,
    initiation: Vec<u8>,
}

impl Stranger {
    fn at(address: SocketAddr) -> Self {
        let private = PrivateKey::take(&mut [STRANGERS_KEY; 32]);
        let public = PrivateKey::take(&mut [SERVER_KEY; 32]).public_key();
        let peers = vec![PeerKeys { name: "server".into(), public, preshared: None }];
        let credentials = Credentials::Keys { private, peers };
        let offer = Offer {
            index: SessionIndex(7),
            path: PathId::from_low_bits(0),
            session_id: SessionId([9; 8]),
            ciphers: Cipher::ALL.to_vec(),
            wants_cleartext: false,
            ethernet: false,
            time_micros: 1,
        };
        let mut random = ChaCha12Rng::from_seed([5; 32]);
        let started = ExpectResponse::start(&credentials, offer, &mut random);
        let (_, initiation) = started.expect("the server's key is known");
        Self { address, cookies: CookieStore::new(), credentials, initiation }
    }

    /// Asks so often that the server is under load, and takes the cookie that it gives then.
    fn get_cookie(&mut self, world: &mut Run) {
        world.record();
        let before = world.network().recordings().len();
        self.cookies.sign(&mut self.initiation, world.now());
        (0..60).for_each(|_| hand(world, self.address, &self.initiation));
        world.run_for(millis(1));
        let recordings = world.network().recordings()[before..].iter();
        let mut mine = recordings.filter(|r| r.to_address == self.address);
        let reply = mine.next().expect("a cookie").payload.clone();
        let reply = CookieReply::parse(&reply).expect("a cookie reply");
        self.cookies.handle(&reply, &self.credentials, world.now()).expect("it opens");
        self.cookies.sign(&mut self.initiation, world.now());
    }
}

/// Messages of the flood that cost the server computations, and those that it did not look at.
fn taken_and_refused(world: &Run) -> (u64, u64) {
    let drops = world.stats(Side::Server).drops;
    (drops.of(DropReason::Handshake), drops.of(DropReason::HandshakeRate))
}

#[test]
fn somebody_with_a_cookie_costs_no_more_than_twenty_handshakes_a_second() {
    let mut world = tunnel().start_up(1);
    let download = world.download();
    world.run_for(secs(8));
    let started = world.now().as_millis() / 1_000;
    let mut stranger = Stranger::at(SocketAddr::from(([203, 0, 113, 66], 6_666)));
    stranger.get_cookie(&mut world);
    let (taken_before, refused_before) = taken_and_refused(&world);
    for _ in 0..2_000 {
        (0..PER_MS).for_each(|_| hand(&mut world, stranger.address, &stranger.initiation));
        world.run_for(millis(1));
    }
    let (taken, refused) = taken_and_refused(&world);
    let (taken, refused) = (taken - taken_before, refused - refused_before);
    assert!((2 * PER_SECOND..=AT_ONCE + 2 * PER_SECOND).contains(&taken), "{taken}");
    assert_eq!(taken + refused, 2_000 * PER_MS as u64, "each is counted");
    let goodput = |from, to| world.goodput(download, from, to);
    assert!(goodput(started, started + 2) > 0.9 * goodput(started - 3, started));
    world.oracle().assert_clean();
}

#[test]
fn a_client_gets_in_beside_somebody_with_a_cookie() {
    let tunnel = tunnel();
    let mut world = tunnel.start_up(1);
    let mut stranger = Stranger::at(SocketAddr::from(([203, 0, 113, 66], 6_666)));
    stranger.get_cookie(&mut world);
    tunnel.restart(&mut world, Side::Client, Seed(5));
    for _ in 0..3_000 {
        (0..PER_MS).for_each(|_| hand(&mut world, stranger.address, &stranger.initiation));
        world.run_for(millis(1));
    }
    assert_eq!(world.links_up(Side::Client), 2, "{:?}", world.events());
}

/// More than may ask at a time, and one behind the client's own address.
fn crowd() -> Vec<Stranger> {
    let addresses = (0..400_u16).map(|n| {
        let [high, low] = n.to_be_bytes();
        SocketAddr::from(([198, 51, 100 + high, low], 6_666))
    });
    let beside = SocketAddr::new(client_address(0).ip(), 6_666);
    addresses.chain([beside]).map(Stranger::at).collect()
}

#[test]
fn many_with_cookies_keep_no_session_from_having_new_keys() {
    // Some 200 packets a second in each direction.
    let mut world = tunnel().with_side(Side::Client, |end| end.rekey_packets = 500).start_up(1);
    let mut strangers = crowd();
    strangers.iter_mut().for_each(|stranger| stranger.get_cookie(&mut world));
    let flow = world.udp(Side::Client, 1_000, 1.6);
    let indices = |world: &Run| {
        let recordings = world.network().recordings().iter().filter(|r| r.to == Side::Server);
        let sealed = recordings.filter(|r| r.payload[0] & 0xC0 == 0x80);
        sealed.map(|r| r.payload[1..5].to_vec()).collect::<BTreeSet<_>>().len()
    };
    let before = indices(&world);
    for ms in 0..6_000 {
        for n in 0..20 {
            let stranger = &strangers[(ms * 20 + n) % strangers.len()];
            hand(&mut world, stranger.address, &stranger.initiation);
        }
        world.run_for(millis(1));
    }
    assert!(indices(&world) >= before + 2, "{before} {}", indices(&world));
    assert!(taken_and_refused(&world).1 > 0);
    assert_eq!((world.finish_udp(flow).lost(), world.links_up(Side::Client)), (0, 2));
}

#[test]
fn many_with_cookies_cost_no_more_than_so_many_of_them_may() {
    let mut world = tunnel().start_up(1);
    let mut strangers = crowd();
    strangers.iter_mut().for_each(|stranger| stranger.get_cookie(&mut world));
    let (taken_before, _) = taken_and_refused(&world);
    for ms in 0..500 {
        for n in 0..PER_MS {
            let stranger = &strangers[(ms * PER_MS + n) % strangers.len()];
            hand(&mut world, stranger.address, &stranger.initiation);
        }
        world.run_for(millis(1));
    }
    let (taken, refused) = taken_and_refused(&world);
    let taken = taken - taken_before;
    assert!(taken <= ADDRESSES * (AT_ONCE + PER_SECOND / 2), "{taken}");
    assert!(taken >= ADDRESSES * AT_ONCE && refused > 0, "{taken} {refused}");
}
