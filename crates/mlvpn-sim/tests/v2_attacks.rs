//! What somebody on the way, or anywhere, can do to a v2 tunnel: nothing but lose packets.

#[path = "v2_attacks/client.rs"]
mod client;
#[path = "v2_attacks/downgrade.rs"]
mod downgrade;
#[path = "v2_attacks/replay.rs"]
mod replay;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use blake2::digest::consts::U16;
use blake2::digest::{KeyInit as _, Mac as _};
use blake2::{Blake2s256, Blake2sMac, Digest as _};
use mlvpn_proto::crypto::keypair::PrivateKey;
use mlvpn_proto::drop::DropReason;
use mlvpn_proto::handshake::v2::INITIATION_LEN;
use mlvpn_proto::{Event, Instant, LinkIndex, Versions};
use mlvpn_sim::link::{LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::rng::{Seed, Stream};
use mlvpn_sim::world::{
    Attack, Recording, SessionEndpoint, Tunnel, World, client_address, millis, secs,
};

type Run = World<SessionEndpoint>;

const SIDES: [Side; 2] = [Side::Client, Side::Server];
/// The pre-shared key that the simulated password gives.
const PASSWORD: [u8; 32] = [7; 32];
/// Each byte of the private key of simulated servers with key pairs.
const SERVER_KEY: u8 = 4;
const INITIATION: u8 = 0xC1;
const RESPONSE: u8 = 0xC2;
/// How long the datagrams of strangers are.
const STRANGE_LENGTHS: [usize; 15] =
    [0, 1, 8, 25, 26, 60, 64, 93, 125, 141, 1_199, 1_200, 1_201, 1_472, 65_000];

fn two_links() -> Vec<WanLink> {
    [LinkSpec::new(20.0, 10), LinkSpec::new(20.0, 20)].map(WanLink::symmetric).to_vec()
}

/// Tunnels of ends that know each other by a password, and by key pairs.
fn tunnels() -> [Tunnel; 2] {
    with_both_credentials(&Tunnel::v2(two_links()))
}

fn with_both_credentials(tunnel: &Tunnel) -> [Tunnel; 2] {
    [tunnel.clone(), tunnel.clone().with_key_pairs()]
}

/// What the sender of an initiation has to know of its recipient.
#[derive(Clone, Copy)]
struct Recipient {
    /// The kind of its credentials.
    code: u8,
    /// What mac1 is keyed with.
    known: [u8; 32],
}

/// The same tunnels, with what their servers are known by.
fn tunnels_and_recipients() -> [(Tunnel, Recipient); 2] {
    let public = *PrivateKey::take(&mut [SERVER_KEY; 32]).public_key().as_bytes();
    let [password, keys] = tunnels();
    [
        (password, Recipient { code: 0, known: PASSWORD }),
        (keys, Recipient { code: 1, known: public }),
    ]
}

fn elsewhere() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 66], 6_666))
}

/// Bytes that the server sent to each address, of what was recorded.
fn sent_by_server(world: &Run) -> BTreeMap<SocketAddr, u64> {
    let mut sent = BTreeMap::new();
    for recording in world.network().recordings().iter().filter(|r| r.to == Side::Client) {
        *sent.entry(recording.to_address).or_default() += recording.payload.len() as u64;
    }
    sent
}

fn sent_to(world: &Run, address: SocketAddr) -> u64 {
    sent_by_server(world).get(&address).copied().unwrap_or_default()
}

/// Everything that must not change under attack.
fn standing(world: &Run) -> (Vec<Instant>, Vec<Option<SocketAddr>>, usize) {
    let stats = SIDES.map(|side| world.stats(side));
    let since = stats.iter().flat_map(|stats| stats.peers.iter().map(|peer| peer.since));
    let remotes = stats.iter().flat_map(|stats| stats.links.iter().map(|link| link.remote));
    (since.collect(), remotes.collect(), world.events().len())
}

/// Hands a datagram to the server, at once.
fn hand(world: &mut Run, link: usize, from: SocketAddr, bytes: &[u8]) {
    hand_to(world, Side::Server, link, from, bytes);
}

/// Hands a datagram to `side`, past the links, so that none can lose it.
fn hand_to(world: &mut Run, side: Side, link: usize, from: SocketAddr, bytes: &[u8]) {
    world.with_endpoint(side, |end, now| {
        let link = LinkIndex(link as u16);
        end.session_mut().handle_datagram(link, from, &mut bytes.to_vec(), now);
    });
}

/// Hands in what was recorded, one by one, a thousand per second. Tells how many were dropped for each
/// of `reasons`, and insists that none was taken and that nothing else was dropped.
fn hand_again<const N: usize>(
    world: &mut Run,
    recorded: &[Recording],
    from: Option<SocketAddr>,
    shift: usize,
    reasons: [DropReason; N],
) -> [u64; N] {
    let mut counts = [0; N];
    for recording in recorded {
        let (side, link) = (recording.to, (recording.link + shift) % 2);
        let before = world.stats(side).drops;
        hand_to(world, side, link, from.unwrap_or(recording.from), &recording.payload);
        let after = world.stats(side).drops;
        let at = reasons.iter().position(|&reason| after.of(reason) > before.of(reason));
        let what = &recording.payload[..12.min(recording.payload.len())];
        assert_eq!(after.total(), before.total() + 1, "{side:?}: {what:x?}");
        counts[at.unwrap_or_else(|| panic!("{side:?}: {what:x?}: {after:?}"))] += 1;
        world.run_for(millis(1));
    }
    counts
}

fn keyed(key: &[u8], bytes: &[u8]) -> [u8; 16] {
    let mac = Blake2sMac::<U16>::new_from_slice(key).expect("a key of up to 32 bytes");
    mac.chain_update(bytes).finalize().into_bytes().into()
}

/// An initiation with nothing in it but a mac1 by somebody who knows what it is keyed with.
fn spoofed_initiation(recipient: Recipient, random: &mut Stream) -> Vec<u8> {
    let mut bytes = vec![0; INITIATION_LEN];
    random.fill(&mut bytes[4..]);
    bytes[..4].copy_from_slice(&[INITIATION, recipient.code, 0, 0]);
    let at = INITIATION_LEN - 32;
    let key =
        Blake2s256::new().chain_update(b"mlvpn v2 mac1").chain_update(recipient.known).finalize();
    let mac1 = keyed(&key, &bytes[..at]);
    bytes[at..at + 16].copy_from_slice(&mac1);
    bytes[at + 16..].fill(0);
    bytes
}

#[test]
fn a_whole_conversation_replayed_on_every_path_and_from_elsewhere_changes_nothing() {
    for tunnel in tunnels() {
        let mut world = tunnel.start(1);
        world.record();
        world.run_for(secs(2));
        let flows = SIDES.map(|side| world.udp(side, 500, 1.0));
        world.run_for(secs(4));
        let recorded = world.network().recordings().to_vec();
        let is_sealed = |r: &&Recording| matches!(r.payload[0], 0x80..=0xBF);
        let sealed = recorded.iter().filter(is_sealed).count() as u64;
        let messages = recorded.len() as u64 - sealed;
        assert!(sealed > 3_000 && messages >= 2, "{sealed} {messages}");
        let before = standing(&world);
        for from in [None, Some(elsewhere())] {
            for shift in 0..2 {
                let reasons = [DropReason::Replayed, DropReason::Handshake];
                let dropped = hand_again(&mut world, &recorded, from, shift, reasons);
                assert_eq!(dropped, [sealed, messages], "{from:?} {shift}");
            }
        }
        assert_eq!(standing(&world), before, "{:?}", world.events());
        assert_eq!(sent_to(&world, elsewhere()), 0);
        for flow in flows {
            let report = world.finish_udp(flow);
            assert_eq!((report.lost(), report.duplicates), (0, 0), "{report:?}");
        }
        world.oracle().assert_clean();
    }
}

#[test]
fn datagrams_that_all_come_twice_are_taken_once() {
    for tunnel in tunnels() {
        let mut world = tunnel.start(1);
        world.attack(Attack { duplicate: 1.0, ..Attack::default() });
        let flows = SIDES.map(|side| world.udp(side, 500, 1.0));
        world.run_for(secs(130));
        for flow in flows {
            let report = world.finish_udp(flow);
            assert_eq!(report.duplicates, 0);
            assert!(report.lost() < 60, "before the links were up: {report:?}");
        }
        world.oracle().assert_clean();
    }
}

#[test]
fn whoever_copies_all_packets_and_is_faster_steals_no_path() {
    let cases = tunnels().map(|tunnel| [(tunnel.clone(), false), (tunnel, true)]);
    for (tunnel, starts_early) in cases.into_iter().flatten() {
        let mut world = if starts_early { tunnel.start(1) } else { tunnel.start_up(1) };
        world.record();
        world.attack(Attack { copy_from: Some(elsewhere()), ..Attack::default() });
        if starts_early {
            // The other path is not validated as long as nothing of it comes from where it is sent.
            let is_up = |world: &Run| SIDES.iter().all(|&side| world.links_up(side) > 0);
            assert!(world.run_while_not(secs(10), is_up), "{:?}", world.events());
        }
        let flows = SIDES.map(|side| world.udp(side, 500, 1.0));
        world.run_for(secs(30));
        for flow in flows {
            assert_eq!(world.finish_udp(flow).lost(), 0, "{starts_early}");
        }
        for (link, stats) in world.stats(Side::Server).links.iter().enumerate() {
            assert!(!stats.is_used || stats.remote == Some(client_address(link)), "{stats:?}");
        }
        assert_eq!(
            SIDES.map(|side| world.count_events(side, |e| *e == Event::SessionDown)),
            [0, 0]
        );
        // Copies of everything came from there, so that the limit is far away; a challenge a second is
        // what may go there.
        assert!(sent_to(&world, elsewhere()) < 2 * 32 * 5 * 1_200, "{:?}", sent_by_server(&world));
        world.oracle().assert_clean();
    }
}

#[test]
fn an_address_that_was_not_validated_gets_three_times_what_it_sent_at_most() {
    for tunnel in tunnels() {
        let mut world = tunnel.start_up(1);
        world.udp(Side::Server, 1_000, 8.0);
        world.run_for(secs(2));
        world.record();
        // A hundred packets of the client reach the server from elsewhere only.
        world.cut(0);
        world.udp(Side::Client, 100, 0.1);
        world.run_for(secs(2));
        let to_server = |r: &&Recording| r.to == Side::Server && r.link == 0;
        let copied: Vec<_> =
            world.network().recordings().iter().filter(to_server).cloned().collect();
        assert!(!copied.is_empty());
        let mut received = 0;
        for recording in &copied {
            received += recording.payload.len() as u64;
            hand(&mut world, 0, elsewhere(), &recording.payload);
            world.run_for(millis(10));
            assert!(sent_to(&world, elsewhere()) <= 3 * received, "{received}");
        }
        world.run_for(secs(30));
        assert!(sent_to(&world, elsewhere()) <= 3 * received, "{received}");
        assert!(sent_to(&world, elsewhere()) > 0, "it is challenged");
    }
}

/// What does not open leaves no trace but a count `[S8]`.
#[test]
fn a_bit_flipped_in_a_header_makes_a_packet_nothing() {
    for tunnel in tunnels() {
        let mut world = tunnel.start_up(1);
        world.udp(Side::Client, 500, 0.4);
        world.run_for(secs(2));
        world.record();
        (0..2).for_each(|link| world.cut(link));
        world.run_for(millis(100));
        let is_data = |r: &&Recording| r.to == Side::Server && r.payload.len() > 500;
        let packet = world.network().recordings().iter().find(is_data).cloned().unwrap();
        let taken = |world: &Run| world.stats(Side::Server).to_tun.packets;
        let (before, standing_before) = (taken(&world), standing(&world));
        let recorded = world.network().recordings().len();
        for bit in 0..9 * 8 {
            for from in [client_address(0), elsewhere()] {
                let mut flipped = packet.payload.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                hand(&mut world, packet.link, from, &flipped);
            }
        }
        assert_eq!((taken(&world), standing(&world)), (before, standing_before));
        let answers = world.network().recordings()[recorded..].iter();
        assert_eq!(answers.filter(|r| r.to == Side::Client).count(), 0);
        hand(&mut world, packet.link, packet.from, &packet.payload);
        world.run_for(millis(300));
        assert_eq!(taken(&world), before + 1, "the packet itself is taken");
        world.oracle().assert_clean();
    }
}

/// Whoever cannot prove who he is gets no answer longer than what he says `[D3]`; here, none.
#[test]
fn strangers_get_no_answer_whatever_they_say() {
    let of_versions = |versions| with_both_credentials(&Tunnel::new(two_links(), versions));
    for tunnel in [Versions::V2, Versions::Auto].into_iter().flat_map(of_versions) {
        let mut world = tunnel.start_up(1);
        world.record();
        let before = standing(&world);
        let mut random = Seed(1).stream("stranger");
        for first in 0..=255 {
            for len in STRANGE_LENGTHS {
                let mut bytes = vec![0; len];
                random.fill(&mut bytes);
                bytes.iter_mut().take(1).for_each(|byte| *byte = first);
                hand(&mut world, 0, elsewhere(), &bytes);
            }
        }
        world.run_for(millis(500));
        assert_eq!(sent_to(&world, elsewhere()), 0, "{tunnel:?}");
        assert_eq!(standing(&world), before);
        let drops = world.stats(Side::Server).drops;
        for reason in [DropReason::Malformed, DropReason::UnknownSession, DropReason::Handshake] {
            assert!(drops.of(reason) > 10, "{drops:?}");
        }
    }
}

/// A flood of 50,000 a second for two seconds, each from another address.
fn flood(world: &mut Run, mut make: impl FnMut(u64) -> Vec<u8>) {
    for number in 0..2_000 * 50_u64 {
        let octets = (number as u32).to_be_bytes();
        let from = SocketAddr::from(([100, octets[1], octets[2], octets[3]], 4_000));
        hand(world, 1, from, &make(number));
        if number % 50 == 49 {
            world.run_for(millis(1));
            assert!(world.endpoint(Side::Server).session().pending_handshakes() <= 4_096);
        }
    }
}

#[test]
fn floods_of_initiations_do_not_disturb_a_session() {
    let cases = [false, true].into_iter().flat_map(|knows_mac| {
        tunnels_and_recipients().map(|(tunnel, recipient)| (knows_mac, tunnel, recipient))
    });
    for (knows_mac, tunnel, recipient) in cases {
        let mut world = tunnel.start_up(1);
        let download = world.download();
        world.run_for(secs(8));
        let started = world.now().as_millis() / 1_000;
        world.record();
        let mut random = Seed(1).stream("flood");
        let template = spoofed_initiation(recipient, &mut random);
        flood(&mut world, |number| {
            if knows_mac {
                return spoofed_initiation(recipient, &mut random);
            }
            let mut junk = template.clone();
            junk[10..18].copy_from_slice(&number.to_be_bytes());
            junk
        });
        let before = world.goodput(download, started - 3, started);
        let during = world.goodput(download, started, started + 2);
        assert!(during > 0.9 * before, "{knows_mac}: {during} {before}");
        for (address, bytes) in sent_by_server(&world) {
            let is_stranger = (0..2).all(|link| address != client_address(link));
            let most = if knows_mac { 64 } else { 0 };
            assert!(!is_stranger || bytes <= most, "{bytes} bytes to {address}");
        }
        assert_eq!(world.endpoint(Side::Server).session().pending_handshakes(), 0);
        let reason = if knows_mac { DropReason::NoCookie } else { DropReason::Handshake };
        assert!(world.stats(Side::Server).drops.of(reason) > 99_000, "each is counted");
        // Nothing comes of it in the flood's wake either.
        world.run_for(secs(5));
        assert_eq!(SIDES.map(|side| world.links_up(side)), [2, 2]);
        world.oracle().assert_clean();
    }
}

#[test]
fn a_client_gets_in_while_initiations_pour_in() {
    for (tunnel, recipient) in tunnels_and_recipients() {
        let mut world = tunnel.start_up(1);
        world.run_for(secs(2));
        tunnel.restart(&mut world, Side::Client, Seed(5));
        let mut random = Seed(1).stream("flood");
        flood(&mut world, |_| spoofed_initiation(recipient, &mut random));
        assert_eq!(world.links_up(Side::Client), 2, "{:?}", world.events());
    }
}

#[test]
fn replayed_initiations_never_disturb_a_session() {
    for tunnel in tunnels() {
        let mut world = tunnel.start(1);
        world.record();
        world.run_for(secs(1));
        let flows = SIDES.map(|side| world.udp(side, 500, 0.4));
        world.run_for(secs(130));
        let is_initiation = |r: &&Recording| r.payload[0] == INITIATION;
        let recorded = world.network().recordings().iter().filter(is_initiation).cloned();
        let recorded: Vec<_> = recorded.collect();
        assert!(recorded.len() >= 2);
        let before = standing(&world);
        for round in 0..200 {
            let from = [None, Some(elsewhere())][round % 2];
            world.replay(&recorded, from);
            world.run_for(millis(100));
        }
        assert_eq!(standing(&world), before, "{:?}", world.events());
        assert_eq!(sent_to(&world, elsewhere()), 0);
        for flow in flows {
            assert_eq!(world.finish_udp(flow).lost(), 0);
        }
        // A server that starts anew has forgotten the times; nobody can use what it answers.
        tunnel.restart(&mut world, Side::Server, Seed(7));
        world.run_for(secs(10));
        let since = world.stats(Side::Server).peers[0].since;
        for _ in 0..100 {
            world.replay(&recorded, Some(elsewhere()));
            world.run_for(millis(50));
        }
        assert_eq!(world.stats(Side::Server).peers[0].since, since);
        let received: u64 = 100 * recorded.len() as u64 * INITIATION_LEN as u64;
        assert!(sent_to(&world, elsewhere()) <= received);
        world.oracle().assert_clean();
    }
}

#[test]
fn no_index_is_used_again_and_no_packet_number_twice_under_one_key() {
    for tunnel in tunnels() {
        let mut world = tunnel.start(1);
        world.record();
        for side in SIDES {
            world.udp(side, 100, 0.02);
        }
        for round in 0..6 {
            let side = SIDES[round % 2];
            world.run_for(secs(130));
            tunnel.restart(&mut world, side, Seed(100 + round as u64));
            world.cut(round % 2);
            world.run_for(secs(8));
            world.restore(round % 2);
            world.move_client(0, SocketAddr::from(([203, 0, 113, 7], 6_000 + round as u16)));
        }
        let (mut sealed, mut indices) = (BTreeSet::new(), BTreeSet::new());
        for recording in world.network().recordings() {
            let bytes = &recording.payload;
            match bytes[0] {
                0x80..=0xBF => {
                    // Index, path and number: with the key that goes with the index they make the nonce.
                    let name = (recording.to, bytes[0] & 0x0F, bytes[1..9].to_vec());
                    assert!(sealed.insert(name), "{:?}: {:x?}", recording.at, &bytes[..9]);
                }
                INITIATION | RESPONSE => {
                    let name = (recording.to, bytes[4..8].to_vec());
                    assert!(indices.insert(name), "{:?}: {:x?}", recording.at, &bytes[..12]);
                }
                _ => {}
            }
        }
        assert!(sealed.len() > 30_000 && indices.len() > 20, "{} {}", sealed.len(), indices.len());
        world.oracle().assert_clean();
    }
}

#[test]
fn altered_duplicated_and_delayed_datagrams_do_no_more_than_get_lost() {
    for tunnel in tunnels() {
        let mut world = tunnel.start_up(1);
        let flow = world.udp(Side::Client, 500, 4.0);
        let hold_time = millis(30);
        let attack =
            Attack { duplicate: 0.05, corrupt: 0.05, hold: 0.05, hold_time, ..Attack::default() };
        world.attack(attack);
        world.run_for(secs(10));
        world.attack(Attack::default());
        let report = world.finish_udp(flow);
        assert_eq!(report.duplicates, 0);
        assert!(report.lost() * 10 < report.sent, "{report:?}");
        assert!(world.stats(Side::Server).drops.of(DropReason::NotAuthentic) > 50);
        world.oracle().assert_clean();
    }
}
