//! New keys while packets flow.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use mlvpn_proto::handshake::v2::HandshakeError;
use mlvpn_proto::{Duration, Event, Instant};
use mlvpn_sim::link::{LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::rng::Seed;
use mlvpn_sim::traffic::FlowId;
use mlvpn_sim::world::{Attack, SessionEndpoint, Tunnel, World, millis, secs};

type Run = World<SessionEndpoint>;

const SIDES: [Side; 2] = [Side::Client, Side::Server];
/// How many runs, each of which loses and reorders other packets.
const SEEDS: u64 = 70;

/// Two lines that lose one packet in 500, and hold one in 50 up so that others overtake it.
fn tunnel() -> Tunnel {
    let spec = LinkSpec::new(20.0, 10).with_loss(0.002);
    Tunnel::v2([spec; 2].map(WanLink::symmetric).to_vec())
}

fn start(tunnel: &Tunnel, seed: u64) -> Run {
    let mut world = tunnel.start_up(seed);
    world.attack(Attack { hold: 0.02, hold_time: millis(15), ..Attack::default() });
    world
}

/// The indices under which sealed packets were sent to `side`, of those recorded.
fn epochs_of(world: &Run, side: Side) -> usize {
    let sealed = world.network().recordings().iter().filter(|r| r.to == side);
    let sealed = sealed.filter(|r| r.payload[0] & 0xC0 == 0x80);
    sealed.map(|r| r.payload[1..5].to_vec()).collect::<BTreeSet<_>>().len()
}

/// The longest silence of two streams, one in each direction, since `from`, and the packets of both that
/// were lost.
fn harm(world: &mut Run, flows: [FlowId; 2], from: Instant) -> (Duration, u64) {
    let silence = flows.map(|flow| world.udp_flow(flow).longest_silence(from, world.now()));
    let lost = flows.map(|flow| world.finish_udp(flow).lost());
    (silence[0].max(silence[1]), lost.iter().sum())
}

fn is_unbroken(world: &Run) -> bool {
    SIDES.iter().all(|&side| world.count_events(side, |e| *e == Event::SessionDown) == 0)
}

#[test]
fn keys_that_are_two_minutes_old_are_replaced_without_losing_a_packet() {
    for seed in 0..SEEDS {
        let mut world = start(&tunnel(), seed);
        // Nothing else happens until shortly before.
        world.run_for(secs(115));
        world.record();
        let flows = SIDES.map(|side| world.udp(side, 1_000, 1.6));
        let from = world.now();
        world.run_for(secs(10));
        assert_eq!(SIDES.map(|side| epochs_of(&world, side)), [2, 2], "seed {seed}");
        let (silence, lost) = harm(&mut world, flows, from);
        assert!(silence < millis(100), "seed {seed}: {silence:?}");
        assert_eq!(lost, 0, "seed {seed}");
        assert!(is_unbroken(&world), "seed {seed}");
        world.oracle().assert_clean();
    }
}

/// Twelve seconds of some 200 packets a second from each of `senders`, through a tunnel whose keys wear out after 500 packets: so
/// many epochs come to be, and nothing is lost.
fn wears_out(tunnel: &Tunnel, senders: &[Side], epochs: RangeInclusive<usize>, seed: u64) {
    let tunnel = tunnel.clone().with_side(Side::Client, |end| end.rekey_packets = 500);
    let mut world = start(&tunnel, seed);
    world.record();
    let flows: Vec<_> = senders.iter().map(|&side| world.udp(side, 1_000, 1.6)).collect();
    let from = world.now();
    world.run_for(secs(12));
    let seen = SIDES.map(|side| epochs_of(&world, side));
    assert!(seen.iter().all(|seen| epochs.contains(seen)), "seed {seed}: {seen:?}");
    for flow in flows {
        let silence = world.udp_flow(flow).longest_silence(from, world.now());
        assert!(silence < millis(100), "seed {seed}: {silence:?}");
        assert_eq!(world.finish_udp(flow).lost(), 0, "seed {seed}");
    }
    assert!(is_unbroken(&world), "seed {seed}");
    world.oracle().assert_clean();
}

#[test]
fn keys_that_have_sealed_enough_packets_are_replaced_without_losing_one() {
    // 2,400 packets with data each way, and what goes beside them.
    (0..SEEDS).for_each(|seed| wears_out(&tunnel(), &SIDES, 6..=11, seed));
}

#[test]
fn keys_are_replaced_also_by_what_the_other_end_alone_has_sealed() {
    let spec = LinkSpec::new(20.0, 10).with_loss(0.02);
    let password = Tunnel::v2([spec; 4].map(WanLink::symmetric).to_vec());
    for tunnel in [password.clone(), password.with_key_pairs()] {
        // The client seals nothing but what it has to say of that.
        (0..20).for_each(|seed| wears_out(&tunnel, &[Side::Server], 4..=11, seed));
    }
}

#[test]
fn new_keys_lose_no_packet_on_lines_that_lose_and_reorder() {
    let mut world = start(&tunnel(), 3);
    world.record();
    let flows = SIDES.map(|side| world.udp(side, 1_000, 1.6));
    world.run_for(secs(118));
    let rekeys_at = world.now();
    world.run_for(secs(10));
    assert_eq!(SIDES.map(|side| epochs_of(&world, side)), [2, 2]);
    for flow in flows {
        let silence = world.udp_flow(flow).longest_silence(rekeys_at, world.now());
        assert!(silence < millis(100), "{silence:?}");
        assert_eq!(world.finish_udp(flow).lost(), 0);
    }
    world.run_for(secs(250));
    assert_eq!(SIDES.map(|side| epochs_of(&world, side)), [4, 4]);
    assert!(is_unbroken(&world));
    world.oracle().assert_clean();
}

#[test]
fn whoever_copies_all_packets_and_is_faster_does_not_keep_keys_from_being_replaced() {
    let somebody = SocketAddr::from(([203, 0, 113, 66], 6_666));
    let plain = || Tunnel::v2([LinkSpec::new(20.0, 10); 2].map(WanLink::symmetric).to_vec());
    for tunnel in [plain(), plain().with_key_pairs()] {
        let mut world = tunnel.start_up(1);
        world.attack(Attack { copy_from: Some(somebody), ..Attack::default() });
        world.record();
        let flows = SIDES.map(|side| world.udp(side, 200, 0.1));
        world.run_for(secs(265));
        // The first, and those of 120 and 240 seconds.
        assert_eq!(SIDES.map(|side| epochs_of(&world, side)), [3, 3]);
        assert_eq!(flows.map(|flow| world.finish_udp(flow).lost()), [0, 0]);
        assert!(is_unbroken(&world) && SIDES.iter().all(|&side| world.links_up(side) == 2));
        world.oracle().assert_clean();
    }
}

#[test]
fn with_key_pairs_as_with_a_password_a_session_begins_beside_a_faster_copier() {
    let somebody = SocketAddr::from(([203, 0, 113, 66], 6_666));
    let plain = || Tunnel::v2([LinkSpec::new(20.0, 10)].map(WanLink::symmetric).to_vec());
    for tunnel in [plain(), plain().with_key_pairs()] {
        let mut world: Run = tunnel.start(1);
        world.attack(Attack { copy_from: Some(somebody), ..Attack::default() });
        let is_up = |world: &Run| SIDES.iter().all(|&side| world.links_up(side) == 1);
        assert!(world.run_while_not(secs(10), is_up), "{:?}", world.events());
        let flows = SIDES.map(|side| world.udp(side, 500, 1.0));
        world.run_for(secs(10));
        assert_eq!(flows.map(|flow| world.finish_udp(flow).lost()), [0, 0]);
        assert!(is_unbroken(&world));
        world.oracle().assert_clean();
    }
}

#[test]
fn an_end_whose_keys_are_too_old_says_that_its_links_are_down() {
    for tunnel in [tunnel(), tunnel().with_key_pairs()] {
        let mut world = tunnel.start_up(1);
        world.run_for(secs(100));
        world.attack(Attack { takes_initiations: true, ..Attack::default() });
        let flows = SIDES.map(|side| world.udp(side, 200, 0.1));
        world.run_for(secs(70));
        assert_eq!(SIDES.map(|side| world.links_up(side)), [2, 2], "the keys are used still");
        world.run_for(secs(20));
        assert_eq!(SIDES.map(|side| world.links_up(side)), [0, 0], "{:?}", world.events());
        world.attack(Attack::default());
        world.run_for(secs(15));
        assert_eq!(SIDES.map(|side| world.links_up(side)), [2, 2], "{:?}", world.events());
        let from = world.now();
        world.run_for(secs(5));
        for flow in flows {
            assert!(world.udp_flow(flow).arrivals_within(from, world.now()) > 250);
        }
    }
}

#[test]
fn a_client_that_comes_back_with_its_clock_set_back_is_told_of_and_waits_for_its_clock() {
    let tunnel = tunnel().with_key_pairs();
    let mut world = tunnel.start_up(1);
    world.run_for(secs(60));
    // Its messages of the next minute are of a time before its first ones, as replays are.
    let set_back = tunnel.with_side(Side::Client, |config| config.unix_micros -= 120_000_000);
    set_back.restart(&mut world, Side::Client, Seed(9));
    world.run_for(secs(50));
    assert_eq!(SIDES.map(|side| world.links_up(side)), [0, 0]);
    let is_told = |event: &Event| {
        matches!(event, Event::PeerMisfit { error: HandshakeError::Replayed(_), .. })
    };
    assert_eq!(world.count_events(Side::Server, is_told), 1, "seldom");
    world.run_for(secs(20));
    assert_eq!(SIDES.map(|side| world.links_up(side)), [2, 2]);
}
