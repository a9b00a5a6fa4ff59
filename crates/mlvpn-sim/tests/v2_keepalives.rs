//! What is sent while users send little or nothing.

use mlvpn_proto::{Duration, Instant, LinkTerms};
use mlvpn_sim::link::{LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::world::{SessionEndpoint, Tunnel, World, millis, secs};

type Run = World<SessionEndpoint>;

const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// Two lines, of which the first is the faster one.
fn tunnel() -> Tunnel {
    Tunnel::v2([LinkSpec::new(20.0, 10), LinkSpec::new(20.0, 30)].map(WanLink::symmetric).to_vec())
}

/// The longest times from one datagram on a link to the next, towards each side, since `from`.
fn longest_pauses(world: &Run, link: usize, from: Instant) -> [Duration; 2] {
    SIDES.map(|side| {
        let recordings = world.network().recordings().iter();
        let sent = recordings.filter(|r| r.link == link && r.to == side && r.at >= from);
        let times: Vec<_> =
            [from].into_iter().chain(sent.map(|r| r.at)).chain([world.now()]).collect();
        let pauses = times.windows(2).map(|pair| pair[1].saturating_since(pair[0]));
        pauses.max().expect("there is at least one")
    })
}

fn is_within(pauses: [Duration; 2], least: Duration, most: Duration) -> bool {
    pauses.iter().all(|pause| (least..=most).contains(pause))
}

#[test]
fn an_idle_session_exchanges_next_to_nothing() {
    let mut world = tunnel().start_up(1);
    world.run_for(secs(20));
    world.record();
    let from = world.now();
    world.run_for(secs(90));
    let sent = world.network().recordings().len();
    // On two paths, in each direction, a PING and what answers it each ten seconds.
    assert!(sent < 9 * 2 * 2 * 4, "{sent}");
    let handshakes = world.network().recordings().iter().filter(|r| r.payload[0] == 0xC1).count();
    assert_eq!(handshakes, 0);
    for link in 0..2 {
        let pauses = longest_pauses(&world, link, from);
        assert!(is_within(pauses, secs(9), millis(10_100)), "{link}: {pauses:?}");
    }
}

/// `[P7]`
#[test]
fn while_somebody_uses_the_session_each_path_is_heard_of_every_second() {
    for is_metered in [false, true] {
        let terms = LinkTerms { is_metered, ..LinkTerms::default() };
        let mut world = tunnel().with_client_link(1, |link| link.terms = terms).start_up(1);
        world.run_for(secs(20));
        world.record();
        // A packet in two seconds, which goes over the first link.
        let flow = world.udp(Side::Client, 100, 0.000_4);
        let from = world.now() + secs(2);
        world.run_for(secs(60));
        let (free, other) = (longest_pauses(&world, 0, from), longest_pauses(&world, 1, from));
        assert!(is_within(free, millis(400), millis(1_100)), "{free:?}");
        let (least, most) =
            if is_metered { (secs(9), millis(10_100)) } else { (millis(400), millis(1_100)) };
        assert!(is_within(other, least, most), "{is_metered}: {other:?}");
        assert!(world.finish_udp(flow).received > 25);
        // Ten seconds after the last packet nobody uses it any more.
        world.run_for(secs(12));
        let idle = world.now();
        world.run_for(secs(60));
        for link in 0..2 {
            let pauses = longest_pauses(&world, link, idle);
            assert!(is_within(pauses, secs(9), millis(10_100)), "{link}: {pauses:?}");
        }
    }
}
