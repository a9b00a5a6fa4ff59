use super::*;
use crate::link::{Change, Direction, LinkSpec, Schedule};
use crate::tcp::CongestionControl;

fn plain(seed: u64, spec: LinkSpec) -> World<PlainEndpoint> {
    let links = vec![WanLink::symmetric(spec)];
    let mut world = World::new(seed, links, PlainEndpoint::new(), PlainEndpoint::new());
    world.set_inner_mtu(1_500);
    world
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = plain(seed, LinkSpec::new(20.0, 15).with_loss(0.01).with_jitter_ms(3));
        world.download();
        world.transfer_with(CongestionControl::Bbr, Side::Client, u64::MAX);
        world.udp(Side::Client, 200, 0.5);
        world.requests((300, 20_000), millis(100));
        world.browsing();
        world.attack(Attack { hold: 0.01, hold_time: millis(3), ..Attack::default() });
        world.run_for(secs(3));
        world.trace_hash()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn udp_within_the_rate_arrives_whole_and_in_order() {
    let mut world = plain(1, LinkSpec::new(10.0, 20).with_jitter_ms(4));
    let flow = world.udp(Side::Server, 1_000, 5.0);
    world.run_for(secs(4));
    world.stop_udp(flow);
    world.run_for(secs(1));
    let report = world.udp_flow(flow).report(world.now());
    assert_eq!((report.sent, report.lost(), report.reordered), (2_501, 0, 0));
    assert!(report.delay_p50 > millis(15) && report.delay_p99 < millis(50), "{report:?}");
    world.oracle().assert_clean();
    world.oracle().assert_ordered();
}

#[test]
fn a_cut_is_a_silence() {
    let mut world = plain(1, LinkSpec::new(10.0, 20));
    let flow = world.udp(Side::Server, 100, 0.8);
    world.run_for(secs(1));
    world.cut(0);
    world.run_for(secs(2));
    world.restore(0);
    world.run_for(secs(1));
    let report = world.udp_flow(flow).report(world.now());
    assert!((1_990..2_030).contains(&(report.longest_silence.as_millis() as u64)), "{report:?}");
}

#[test]
fn the_oracle_sees_through_an_attacker() {
    let mut world = plain(1, LinkSpec::new(10.0, 20));
    world.udp(Side::Server, 100, 0.8);
    world.attack(Attack { hold: 0.1, hold_time: millis(5), ..Attack::default() });
    world.run_for(secs(1));
    world.oracle().assert_clean();
    assert!(world.oracle().reordered() > 0);
    world.attack(Attack { duplicate: 0.1, corrupt: 0.1, ..Attack::default() });
    world.run_for(secs(1));
    assert!(!world.oracle().violations().is_empty());
}

#[test]
fn datagrams_for_a_former_address_go_nowhere() {
    let mut world = plain(1, LinkSpec::new(10.0, 20));
    let flow = world.udp(Side::Server, 100, 0.8);
    world.run_for(secs(1));
    world.move_client(0, "203.0.113.9:1234".parse().unwrap());
    world.run_for(secs(1));
    assert!(world.network().stray() > 900);
    assert!(world.udp_flow(flow).longest_silence(Instant::ZERO, world.now()) > millis(900));
}

#[test]
fn requests_take_a_round_trip_and_what_slow_start_needs() {
    let mut world = plain(1, LinkSpec::new(100.0, 25));
    let small = world.requests((300, 1_000), millis(10));
    let large = world.requests((300, 200_000), millis(10));
    world.run_for(secs(3));
    let (small, large) = (world.request_times(small), world.request_times(large));
    assert!(small.len() > 30 && small.iter().all(|&time| time < millis(75)), "{small:?}");
    // 138 segments: 10, 20, 40 and 68 more, in four round trips.
    assert!(large[0] > millis(190) && large[0] < millis(250), "{:?}", large[0]);
}

#[test]
fn links_change_on_schedule() {
    let mut world = plain(1, LinkSpec::new(20.0, 10));
    let download = world.download();
    let step = |at, mbit: u64| (secs(at), Change::Rate(Direction::Down, Some(mbit * 1_000_000)));
    let schedule = [step(10, 5), step(20, 20)]
        .into_iter()
        .fold(Schedule::new().cut_at(secs(30)), |schedule, (at, change)| schedule.at(at, change));
    world.schedule(0, schedule);
    world.run_for(secs(32));
    let rates =
        [(5, 10), (12, 20), (25, 30), (31, 32)].map(|(from, to)| world.goodput(download, from, to));
    assert!(rates[0] > 18.0 && rates[2] > 18.0, "{rates:?}");
    // What came before a hole that is filled after 12 s counts from then on.
    assert!((4.5..5.2).contains(&rates[1]) && rates[3] == 0.0, "{rates:?}");
}

#[test]
fn what_is_due_between_two_microseconds_happens() {
    let mut world = plain(1, LinkSpec::new(20.0, 10));
    let download = world.download();
    world.schedule(0, Schedule::new().cut_at(Duration::from_nanos(1_000_000_001)));
    world.run_for(secs(3));
    assert!(world.goodput(download, 0, 1) > 10.0 && world.goodput(download, 2, 3) == 0.0);
}

#[test]
fn users_who_browse_ask_for_small_and_large_things() {
    let mut world = plain(1, LinkSpec::new(100.0, 10));
    let user = world.browsing();
    world.run_for(secs(60));
    let times = world.request_times(user);
    assert!((100..240).contains(&times.len()), "{}", times.len());
    // Two kilobytes take one round trip, half a megabyte six and the time on the link.
    assert!(times.iter().any(|&time| time < millis(25)));
    assert!(times.iter().any(|&time| time > millis(100)));
    assert!(times.iter().all(|&time| time < millis(250)), "{:?}", times.iter().max());
}
