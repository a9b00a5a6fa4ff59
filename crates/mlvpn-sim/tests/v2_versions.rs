//! Which version ends speak that may speak both.

use mlvpn_proto::drop::DropReason;
use mlvpn_proto::stats::Version;
use mlvpn_proto::{Event, Instant, Versions};
use mlvpn_sim::link::{LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::rng::Seed;
use mlvpn_sim::traffic::FlowId;
use mlvpn_sim::world::{SessionEndpoint, Tunnel, World, secs};

type Run = World<SessionEndpoint>;

const SIDES: [Side; 2] = [Side::Client, Side::Server];

fn two_links() -> Vec<WanLink> {
    [LinkSpec::new(20.0, 10), LinkSpec::new(20.0, 20)].map(WanLink::symmetric).to_vec()
}

/// 200 packets of 1,000 bytes a second.
fn stream(world: &mut Run, from: Side) -> FlowId {
    world.udp(from, 1_000, 1.6)
}

fn both_speak(world: &Run, version: Version) -> bool {
    SIDES.iter().all(|&side| world.stats(side).version == Some(version))
}

fn session_downs(world: &Run) -> usize {
    SIDES.iter().map(|&side| world.count_events(side, |e| *e == Event::SessionDown)).sum()
}

#[test]
fn two_ends_that_speak_both_versions_speak_version_2() {
    let mut world = Tunnel::new(two_links(), Versions::Auto).start_up(1);
    let flow = stream(&mut world, Side::Client);
    world.run_for(secs(40));
    assert!(both_speak(&world, Version::V2));
    assert_eq!((world.finish_udp(flow).lost(), session_downs(&world)), (0, 0));
}

#[test]
fn a_peer_of_version_1_is_spoken_to_in_version_1_within_seconds() {
    for old in SIDES {
        let tunnel = Tunnel::new(two_links(), Versions::Auto)
            .with_side(old, |config| config.versions = Versions::V1);
        let mut world = tunnel.start_up(1);
        assert!(world.now() < Instant::from_secs(5), "{:?}", world.now());
        let flow = stream(&mut world, old);
        world.run_for(secs(65));
        assert!(both_speak(&world, Version::V1), "{old:?}");
        assert_eq!((world.finish_udp(flow).lost(), session_downs(&world)), (0, 0), "{old:?}");
        world.oracle().assert_clean();
    }
}

#[test]
fn a_peer_that_spoke_version_2_is_refused_in_version_1() {
    for old in SIDES {
        let tunnel = Tunnel::new(two_links(), Versions::Auto);
        let mut world = tunnel.start_up(1);
        world.run_for(secs(2));
        let downgraded = tunnel.with_side(old, |config| config.versions = Versions::V1);
        downgraded.restart(&mut world, old, Seed(5));
        world.run_for(secs(60));
        assert_ne!(world.stats(old.other()).version, Some(Version::V1));
        assert_ne!(world.stats(old).version, Some(Version::V1));
        if old == Side::Client {
            let refused = world.stats(Side::Server).drops.of(DropReason::OtherVersion);
            assert!(refused > 0, "{:?}", world.stats(Side::Server).drops);
        }
    }
}

#[test]
fn what_was_counted_in_version_1_counts_on_in_version_2() {
    let tunnel = Tunnel::new(two_links(), Versions::Auto);
    let old = tunnel.clone().with_side(Side::Client, |config| config.versions = Versions::V1);
    let mut world = old.start_up(1);
    let flows = SIDES.map(|side| stream(&mut world, side));
    world.run_for(secs(2));
    assert!(both_speak(&world, Version::V1));
    flows.into_iter().for_each(|flow| assert_eq!(world.finish_udp(flow).lost(), 0));
    let counted = |world: &Run| {
        let stats = world.stats(Side::Server);
        (stats.from_tun.packets, stats.to_tun.packets)
    };
    let before = counted(&world);
    assert!(before.0 > 300 && before.1 > 300, "{before:?}");
    tunnel.restart(&mut world, Side::Client, Seed(5));
    world.run_for(secs(10));
    assert!(both_speak(&world, Version::V2));
    assert_eq!(counted(&world), before);
}
