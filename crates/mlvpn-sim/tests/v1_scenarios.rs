//! What a v1 tunnel is for, as scenarios: one behaviour each.

use mlvpn_proto::{DownReason, Event, LinkIndex, Quality};
use mlvpn_sim::link::{Direction, LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::rng::Seed;
use mlvpn_sim::world::{Attack, PlainEndpoint, SessionEndpoint, Tunnel, World, millis, secs};

/// What a download of full packets can reach per bit of link: an inner packet of 1,400 bytes
/// carries 1,348 of data and is 1,472 long on the link.
const CEILING: f64 = 1_348.0 / 1_472.0;

fn links(specs: &[LinkSpec]) -> Vec<WanLink> {
    specs.iter().copied().map(WanLink::symmetric).collect()
}

/// Share of what the headers leave of `mbit` that a download reaches from second 5 to 20.
fn download_share(tunnel: &Tunnel, mbit: f64) -> f64 {
    let mut world = tunnel.start_up(1);
    let flow = world.download();
    world.run_for(secs(20));
    world.oracle().assert_clean();
    world.oracle().assert_ordered();
    world.goodput(flow, 5, 20) / (mbit * CEILING)
}

fn count_events(world: &World<SessionEndpoint>, side: Side, wanted: fn(&Event) -> bool) -> usize {
    world.events().iter().filter(|(_, at, event)| *at == side && wanted(event)).count()
}

#[test]
fn one_download_gets_the_sum_of_links_with_rates_three_to_two() {
    let tunnel = Tunnel::v1(links(&[LinkSpec::new(30.0, 15), LinkSpec::new(20.0, 15)]));
    let share = download_share(&tunnel, 50.0);
    assert!(share > 0.95, "{share}");
}

#[test]
fn one_download_gets_the_sum_of_links_with_rates_five_to_four() {
    let tunnel = Tunnel::v1(links(&[LinkSpec::new(25.0, 10), LinkSpec::new(20.0, 20)]));
    let share = download_share(&tunnel, 45.0);
    assert!(share > 0.95, "{share}");
}

#[test]
fn one_download_gets_the_sum_of_two_equal_links() {
    let tunnel = Tunnel::v1(links(&[LinkSpec::new(50.0, 10), LinkSpec::new(50.0, 10)]));
    let share = download_share(&tunnel, 100.0);
    assert!(share > 0.95, "{share}");
}

#[test]
fn one_download_gets_the_sum_of_the_articles_lines() {
    let dsl: WanLink = "dsl".parse().unwrap();
    let other = "dsl,delay=20".parse().unwrap();
    let share = download_share(&Tunnel::v1(vec![dsl, other]), 22.4);
    assert!(share > 0.95, "{share}");
}

#[test]
fn links_of_different_delay_keep_the_order() {
    let tunnel = Tunnel::v1(links(&[LinkSpec::new(20.0, 10), LinkSpec::new(20.0, 40)]));
    let mut world = tunnel.start_up(1);
    let flow = world.udp(Side::Server, 1_000, 10.0);
    world.run_for(secs(5));
    let report = world.finish_udp(flow);
    assert_eq!((report.lost(), report.reordered, report.duplicates), (0, 0, 0), "{report:?}");
    assert!(report.delay_max < millis(60), "{report:?}");
    assert!((10..200).contains(&world.oracle().held_max()), "{}", world.oracle().held_max());
}

#[test]
fn traffic_survives_a_link_that_dies_and_none_is_lost_after_its_timeout() {
    let tunnel = Tunnel::v1(links(&[LinkSpec::new(20.0, 10), LinkSpec::new(20.0, 15)]));
    let mut world = tunnel.start_up(1);
    let download = world.download();
    world.run_for(secs(5));
    world.cut(0);
    world.run_for(secs(7));
    assert_eq!((world.links_up(Side::Client), world.links_up(Side::Server)), (1, 1));
    assert!(world.events().iter().any(|(_, side, event)| {
        let reason = DownReason::Timeout;
        (*side, *event) == (Side::Server, Event::LinkDown { link: LinkIndex(0), reason })
    }));
    let probe = world.udp(Side::Server, 200, 0.2);
    let later = world.now().as_millis() / 1_000;
    world.run_for(secs(20));
    world.stop_udp(probe);
    let goodput = world.goodput(download, later + 5, later + 20);
    assert!(goodput > 0.85 * 20.0 * CEILING, "{goodput}");
    let queue_full = world.network().counters(1, Direction::Down).queue_full;
    world.run_for(secs(1));
    let report = world.udp_flow(probe).report(world.now());
    assert!(report.lost() <= queue_full, "lost elsewhere than in the link's queue: {report:?}");
    world.oracle().assert_clean();
}

#[test]
fn a_dead_link_comes_back_into_use() {
    let tunnel = Tunnel::v1(links(&[LinkSpec::new(20.0, 10), LinkSpec::new(20.0, 15)]));
    let mut world = tunnel.start_up(1);
    world.cut(0);
    world.run_for(secs(20));
    world.restore(0);
    assert!(world.run_while_not(secs(30), |world| world.links_up(Side::Client) == 2));
    let download = world.download();
    let start = world.now().as_millis() / 1_000;
    world.run_for(secs(20));
    let goodput = world.goodput(download, start + 5, start + 20);
    assert!(goodput > 0.95 * 40.0 * CEILING, "{goodput}");
}

#[test]
fn one_percent_of_loss_on_the_links_is_one_percent_in_the_tunnel() {
    let spec = LinkSpec::new(20.0, 10).with_loss(0.01);
    let tunnel = Tunnel::v1(links(&[spec, spec]));
    let mut world = tunnel.start_up(1);
    let flow = world.udp(Side::Server, 1_000, 20.0);
    world.run_for(secs(20));
    let report = world.finish_udp(flow);
    let loss = report.lost() as f64 / report.sent as f64;
    // Five standard deviations of 50,000 trials at 1 % are 0.22 %.
    assert!((loss - 0.01).abs() < 0.0023, "{report:?}");
    assert_eq!((report.reordered, report.duplicates), (0, 0), "{report:?}");
    world.oracle().assert_clean();
}

#[test]
fn one_percent_of_loss_costs_a_download_no_more_than_it_does_without_a_tunnel() {
    let line = |mbit| WanLink::symmetric(LinkSpec::new(mbit, 20).with_loss(0.01));
    let end = PlainEndpoint::new;
    let mut plain = World::new(1, vec![line(40.0)], end(), end());
    let mut bonded = Tunnel::v1(vec![line(20.0), line(20.0)]).start_up(1);
    let (without, with) = (plain.download(), bonded.download());
    plain.run_for(secs(60));
    bonded.run_for(secs(60));
    let (without, with) = (plain.goodput(without, 5, 60), bonded.goodput(with, 5, 60));
    assert!(with > 0.8 * without, "{with} {without}");
}

#[test]
fn a_client_that_roams_keeps_its_session() {
    let tunnel = Tunnel::v1(links(&[LinkSpec::new(20.0, 10)]));
    let mut world = tunnel.start_up(1);
    let download = world.download();
    world.run_for(secs(5));
    world.move_client(0, "203.0.113.7:6000".parse().unwrap());
    world.run_for(secs(10));
    assert!(world.goodput(download, 8, 14) > 0.9 * 20.0 * CEILING);
    assert!(
        count_events(&world, Side::Server, |event| {
            matches!(event, Event::PeerAddressChanged { .. })
        }) == 1
    );
    assert_eq!(count_events(&world, Side::Server, |event| matches!(event, Event::SessionDown)), 0);
    world.oracle().assert_clean();
}

#[test]
fn a_whole_conversation_replayed_from_elsewhere_changes_nothing() {
    let tunnel = Tunnel::v1(links(&[LinkSpec::new(20.0, 10), LinkSpec::new(20.0, 20)]));
    let mut world = tunnel.start(1);
    world.record();
    world.run_for(secs(3));
    world.udp(Side::Client, 500, 1.0);
    world.udp(Side::Server, 500, 1.0);
    world.run_for(secs(5));
    let recorded = world.network().recordings().to_vec();
    let events = world.events().len();
    world.replay(&recorded, Some("203.0.113.66:6666".parse().unwrap()));
    world.run_for(secs(5));
    world.replay(&recorded, None);
    world.run_for(secs(5));
    assert_eq!(&world.events()[events..], []);
    assert_eq!(world.network().stray(), 0, "nothing went to the attacker");
    world.oracle().assert_clean();
}

#[test]
fn altered_duplicated_and_delayed_datagrams_do_no_more_than_get_lost() {
    let tunnel = Tunnel::v1(links(&[LinkSpec::new(20.0, 10), LinkSpec::new(20.0, 20)]));
    let mut world = tunnel.start_up(1);
    let flow = world.udp(Side::Client, 500, 4.0);
    let hold_time = millis(30);
    world.attack(Attack {
        duplicate: 0.05,
        corrupt: 0.05,
        hold: 0.05,
        hold_time,
        ..Attack::default()
    });
    world.run_for(secs(10));
    world.attack(Attack::default());
    let report = world.finish_udp(flow);
    assert_eq!(report.duplicates, 0);
    let loss = report.lost() as f64 / report.sent as f64;
    assert!((0.03..0.12).contains(&loss), "{report:?}");
    world.oracle().assert_clean();
}

#[test]
fn a_fallback_link_carries_data_only_while_no_other_does() {
    let tunnel = Tunnel::v1(links(&[LinkSpec::new(20.0, 10), LinkSpec::new(20.0, 20)]))
        .with_link(1, |link| link.fallback_only = true);
    let mut world = tunnel.start_up(1);
    let flow = world.udp(Side::Server, 1_000, 8.0);
    let bytes = |world: &World<SessionEndpoint>| {
        world.network().counters(1, Direction::Down).delivered_bytes
    };
    world.run_for(secs(5));
    assert!(bytes(&world) < 10_000, "{}", bytes(&world));
    world.cut(0);
    world.run_for(secs(10));
    assert!(bytes(&world) > 2_000_000, "{}", bytes(&world));
    world.restore(0);
    assert!(world.run_while_not(secs(30), |world| world.links_up(Side::Server) == 2));
    world.run_for(secs(1));
    let before = bytes(&world);
    world.run_for(secs(5));
    assert!(bytes(&world) - before < 10_000);
    let silence = world.udp_flow(flow).longest_silence(mlvpn_proto::Instant::ZERO, world.now());
    assert!(silence < secs(7), "{silence:?}");
}

#[test]
fn a_lossy_link_is_taken_out_of_the_balancing_and_comes_back() {
    let good = LinkSpec::new(20.0, 10);
    let tunnel =
        Tunnel::v1(links(&[good, good])).with_link(0, |link| link.loss_tolerance = Some(20));
    let mut world = tunnel.start_up(1);
    // Each end judges a link by the loss of what it receives there.
    world.udp(Side::Server, 1_000, 8.0);
    world.udp(Side::Client, 1_000, 8.0);
    world.run_for(secs(2));
    world.set_link(0, &WanLink::symmetric(good.with_loss(0.4)));
    world.run_for(secs(5));
    let lossy = |event: &Event| matches!(event, Event::LinkQuality { quality: Quality::Lossy, .. });
    assert!(
        count_events(&world, Side::Client, lossy) + count_events(&world, Side::Server, lossy) > 0
    );
    let lost = |world: &World<SessionEndpoint>| world.network().counters(0, Direction::Down).loss;
    let before = lost(&world);
    world.run_for(secs(5));
    // Keepalives go on getting lost; data would be 200 packets.
    assert!(lost(&world) - before < 20, "data still goes over the lossy link");
    world.set_link(0, &WanLink::symmetric(good));
    world.run_for(secs(60));
    let good_again =
        |event: &Event| matches!(event, Event::LinkQuality { quality: Quality::Good, .. });
    assert!(count_events(&world, Side::Server, good_again) > 0, "{:?}", world.events());
    let carried = |world: &World<SessionEndpoint>| {
        world.network().counters(0, Direction::Down).delivered_bytes
    };
    let before = carried(&world);
    world.run_for(secs(2));
    assert!(carried(&world) - before > 500_000, "the link is not used again");
}

#[test]
fn a_slow_link_is_taken_out_of_the_balancing_and_comes_back() {
    let good = LinkSpec::new(20.0, 10);
    let limit = millis(200);
    let tunnel =
        Tunnel::v1(links(&[good, good])).with_link(0, |link| link.latency_tolerance = Some(limit));
    let mut world = tunnel.start_up(1);
    world.udp(Side::Server, 1_000, 8.0);
    world.udp(Side::Client, 1_000, 8.0);
    world.run_for(secs(2));
    world.set_link(0, &WanLink::symmetric(LinkSpec::new(20.0, 150)));
    world.run_for(secs(30));
    let slow = |event: &Event| matches!(event, Event::LinkQuality { quality: Quality::Slow, .. });
    for side in [Side::Client, Side::Server] {
        assert_eq!(count_events(&world, side, slow), 1, "{side:?}: {:?}", world.events());
    }
    let carried = |world: &World<SessionEndpoint>| {
        world.network().counters(0, Direction::Down).delivered_bytes
    };
    let before = carried(&world);
    world.run_for(secs(2));
    assert!(carried(&world) - before < 10_000, "data still goes over the slow link");
    world.set_link(0, &WanLink::symmetric(good));
    world.run_for(secs(30));
    let before = carried(&world);
    world.run_for(secs(2));
    assert!(carried(&world) - before > 500_000, "the link is not used again");
}

#[test]
fn either_end_may_crash_and_is_back_within_seconds() {
    for side in [Side::Client, Side::Server] {
        let tunnel = Tunnel::v1(links(&[LinkSpec::new(20.0, 10), LinkSpec::new(20.0, 20)]));
        let mut world = tunnel.start_up(1);
        let flow = world.udp(Side::Client, 500, 1.0);
        world.run_for(secs(3));
        let crashed_at = world.now();
        tunnel.restart(&mut world, side, Seed(99));
        world.run_for(secs(15));
        assert_eq!(world.links_up(side), 2, "{side:?}: {:?}", world.events());
        let silence = world.udp_flow(flow).longest_silence(crashed_at, world.now());
        assert!(silence < secs(8), "{side:?}: {silence:?}");
        world.oracle().assert_clean();
    }
}

#[test]
fn the_same_seed_gives_the_same_tunnel() {
    let run = |seed| {
        let lte: WanLink = "lte".parse().unwrap();
        let mut world = Tunnel::v1(vec!["dsl".parse().unwrap(), lte]).start_up(seed);
        world.download();
        world.run_for(secs(3));
        world.trace_hash()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
