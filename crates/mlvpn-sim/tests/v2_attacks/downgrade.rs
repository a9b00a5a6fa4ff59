//! Who can take datagrams away cannot talk ends that have met in version 2 into version 1 `[V3]`.

use mlvpn_proto::stats::Version;
use mlvpn_proto::wire::v2::DatagramKind;

use super::*;

/// Takes all of version 2 away from now on.
fn take_version_2(world: &mut Run) {
    world.record();
    world.attack(Attack { takes_version_2: true, ..Attack::default() });
}

/// Nothing is taken away any more. Insists that nobody has spoken version 1, and that the tunnel comes back.
fn let_go(world: &mut Run) {
    world.attack(Attack::default());
    world.run_for(secs(15));
    for recording in world.network().recordings() {
        assert_ne!(DatagramKind::of(&recording.payload), DatagramKind::V1, "{:?}", recording.at);
    }
    for side in SIDES {
        assert_eq!(world.links_up(side), 2, "{side:?}: {:?}", world.events());
        assert_eq!(world.stats(side).version, Some(Version::V2));
    }
    let flows = SIDES.map(|side| world.udp(side, 500, 1.0));
    world.run_for(secs(2));
    assert_eq!(flows.map(|flow| world.finish_udp(flow).lost()), [0, 0]);
    world.oracle().assert_clean();
}

#[test]
fn an_attacker_who_takes_version_2_off_the_network_gets_no_version_1() {
    // Before the paths are down, before the session ends, and after it has ended at the server.
    for (lasts, links_up) in [(secs(2), 2), (secs(100), 0), (secs(400), 0)] {
        let mut world = Tunnel::new(two_links(), Versions::Auto).start_up(1);
        let flows = SIDES.map(|side| world.udp(side, 500, 1.0));
        world.run_for(secs(5));
        take_version_2(&mut world);
        world.run_for(lasts);
        assert_eq!(SIDES.map(|side| world.links_up(side)), [links_up; 2], "{lasts:?}");
        flows.into_iter().for_each(|flow| world.stop_udp(flow));
        let_go(&mut world);
    }
}

#[test]
fn a_client_whose_server_said_goodbye_does_not_ask_for_version_1_either() {
    let tunnel = Tunnel::new(two_links(), Versions::Auto);
    let mut world = tunnel.start_up(1);
    world.with_endpoint(Side::Server, |end, now| end.session_mut().close(now));
    world.run_for(millis(100));
    assert_eq!(world.links_up(Side::Client), 0, "{:?}", world.events());
    // The new one would answer.
    tunnel.restart(&mut world, Side::Server, Seed(5));
    take_version_2(&mut world);
    world.run_for(secs(60));
    let_go(&mut world);
}
