//! Packets that filters bind to a link.

use mlvpn_proto::filter::Filter;
use mlvpn_proto::{FilterRule, Treatment};
use mlvpn_sim::link::{Direction, LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::world::{SessionEndpoint, Tunnel, World, millis, secs};

type Run = World<SessionEndpoint>;

const SIDES: [Side; 2] = [Side::Client, Side::Server];
/// Bytes of an IP packet of the streams; what a tunnel sends beside data is smaller.
const PACKET: usize = 1_000;

/// Two links, of which the first loses that share of its packets. All UDP is bound to it.
fn tunnel(loss: f64) -> Tunnel {
    let specs = [LinkSpec::new(20.0, 20).with_loss(loss), LinkSpec::new(20.0, 10)];
    let links = specs.into_iter().map(WanLink::symmetric).collect();
    let filter = Filter::parse("udp").expect("a filter");
    let rule = FilterRule { filter, treatment: Treatment::Link("link0".to_owned()) };
    Tunnel::v2(links).with(move |end| end.filters = vec![rule.clone()])
}

/// Packets with data that were sent over a link towards `side`, of those recorded.
fn data_sent(world: &Run, link: usize, side: Side) -> usize {
    // Challenges are larger, and sent while the links come up.
    let is_data = |len: usize| (PACKET..PACKET + 100).contains(&len);
    let sent = world.network().recordings().iter().filter(|r| r.link == link && r.to == side);
    sent.filter(|r| is_data(r.payload.len())).count()
}

#[test]
fn what_is_lost_is_sent_again_over_the_link_that_it_is_bound_to() {
    for from in SIDES {
        // More loss would take feedback along now and then, and make the link suspect.
        let mut world = tunnel(0.005).start_up(1);
        world.run_for(secs(2));
        world.record();
        let flow = world.udp(from, PACKET, 1.6);
        world.run_for(secs(100));
        let report = world.finish_udp(flow);
        let to = from.other();
        assert!(data_sent(&world, 0, to) > report.sent as usize + 60, "losses are repaired");
        assert_eq!(data_sent(&world, 1, to), 0, "{from:?}");
        assert!(report.lost() <= 1, "{from:?}: {report:?}");
        let resent: u64 =
            SIDES.iter().map(|&side| world.stats(side).peers[0].recovery.resent).sum();
        assert!(resent > 60, "{resent}");
        world.oracle().assert_clean();
    }
}

#[test]
fn what_is_lost_goes_elsewhere_as_soon_as_the_link_is_suspect() {
    for from in SIDES {
        let mut world = tunnel(0.02).start_up(1);
        let flow = world.udp(from, PACKET, 1.6);
        world.run_for(secs(5));
        world.record();
        world.cut(0);
        world.run_for(secs(5));
        assert!(data_sent(&world, 1, from.other()) > 900, "{from:?}");
        world.restore(0);
        world.run_for(secs(5));
        let before = data_sent(&world, 1, from.other());
        world.run_for(secs(5));
        assert_eq!(data_sent(&world, 1, from.other()), before, "it is bound again");
        assert!(world.finish_udp(flow).lost() <= 1, "{from:?}");
        world.oracle().assert_clean();
    }
}

#[test]
fn what_is_bound_to_a_link_that_has_become_too_small_goes_over_another() {
    for from in SIDES {
        let direction = if from == Side::Client { Direction::Up } else { Direction::Down };
        let mut world = tunnel(0.0).with(|end| end.mtu = 1_440).start_up(1);
        world.set_inner_mtu(1_440);
        let flow = world.udp(from, 1_400, 1.6);
        world.run_for(secs(5));
        let smaller = LinkSpec { mtu: Some(1_300), ..LinkSpec::new(20.0, 20) };
        world.set_link(0, &WanLink::symmetric(smaller));
        world.run_for(secs(5));
        let carried = |world: &Run| world.network().counters(1, direction).delivered_bytes;
        let (before, at) = (carried(&world), world.now());
        world.run_for(secs(5));
        assert!(carried(&world) - before > 900_000, "{from:?}");
        let silence = world.udp_flow(flow).longest_silence(at, world.now());
        assert!(silence < millis(100), "{from:?}: {silence:?}");
        world.oracle().assert_clean();
    }
}
