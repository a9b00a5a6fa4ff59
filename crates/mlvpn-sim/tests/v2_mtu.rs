//! When the MTU of the tunnel interface falls, and when it rises `[Z4]`.

use mlvpn_proto::{Duration, Event, Instant};
use mlvpn_sim::link::{LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::world::{SessionEndpoint, Tunnel, World, millis, secs};

type Run = World<SessionEndpoint>;

const SIDES: [Side; 2] = [Side::Client, Side::Server];
/// What DATA carries on the lines: 60 bytes less than an IP packet there.
const LARGE: u16 = 1_440;
const SMALL: u16 = 1_340;
/// A larger size is believed after it has been possible for this long.
const RISES_AFTER: Duration = secs(600);
/// A search takes some round trips.
const SEARCH: Duration = secs(1);
/// Both ends notice a change within a round trip.
const ROUND_TRIP: Duration = millis(100);

/// A line for packets of up to `mtu` bytes.
fn line(mtu: usize) -> WanLink {
    WanLink::symmetric(LinkSpec { mtu: Some(mtu), ..LinkSpec::new(20.0, 10) })
}

/// What both ends were told last, and when.
fn told(world: &Run) -> [(Instant, u16); 2] {
    SIDES.map(|side| {
        let mut events = world.events().iter().rev();
        let mtu = events.find_map(|(at, of, event)| match event {
            Event::TunnelMtu { mtu } if *of == side => Some((*at, *mtu)),
            _ => None,
        });
        mtu.expect("it is told at the beginning")
    })
}

fn mtus(world: &Run) -> [u16; 2] {
    told(world).map(|(_, mtu)| mtu)
}

/// Two lines, of which the second takes smaller packets. What both carry counts at first.
fn start() -> (Tunnel, Run) {
    let tunnel = Tunnel::v2(vec![line(1_500), line(1_400)]).with(|config| config.mtu = 1_500);
    let mut world = tunnel.start_up(1);
    world.run_for(SEARCH);
    assert_eq!(mtus(&world), [SMALL; 2]);
    (tunnel, world)
}

#[test]
fn the_mtu_falls_at_once_and_rises_when_more_was_possible_for_ten_minutes() {
    let (tunnel, mut world) = start();
    let gone = world.now();
    world.remove_link(1);
    world.run_until(gone + RISES_AFTER - secs(1));
    assert_eq!(mtus(&world), [SMALL; 2], "not before");
    world.run_until(gone + RISES_AFTER + ROUND_TRIP);
    assert_eq!(mtus(&world), [LARGE; 2]);
    for (at, _) in told(&world) {
        assert!(at >= gone + RISES_AFTER, "{at:?}");
    }
    tunnel.add_link(&mut world, 1);
    world.run_for(SEARCH);
    assert_eq!(mtus(&world), [SMALL; 2], "at once");
}

#[test]
fn the_ten_minutes_begin_anew_when_the_size_falls_meanwhile() {
    let (tunnel, mut world) = start();
    let gone = world.now();
    world.remove_link(1);
    world.run_until(gone + secs(590));
    tunnel.add_link(&mut world, 1);
    world.run_for(SEARCH);
    world.remove_link(1);
    let again = world.now();
    world.run_until(again + RISES_AFTER - secs(1));
    assert_eq!(mtus(&world), [SMALL; 2]);
    world.run_until(again + RISES_AFTER + ROUND_TRIP);
    assert_eq!(mtus(&world), [LARGE; 2]);
}

#[test]
fn what_the_only_path_carries_counts_at_once_when_it_is_less_and_late_when_it_is_more() {
    let tunnel = Tunnel::v2(vec![line(1_500)]).with(|config| config.mtu = LARGE);
    let mut world = tunnel.start_up(1);
    world.set_inner_mtu(usize::from(LARGE));
    world.run_for(SEARCH);
    assert_eq!(mtus(&world), [LARGE; 2]);
    world.transfer(Side::Server, 5_000_000);
    world.run_for(secs(1));
    world.set_link(0, &line(1_400));
    let of_server = |world: &Run| mtus(world)[Side::Server as usize];
    let carried = |world: &Run| world.stats(Side::Server).links[0].path.unwrap().mtu - 32;
    assert!(world.run_while_not(SEARCH, |world| of_server(world) != LARGE), "at once");
    assert_eq!((of_server(&world), carried(&world)), (SMALL, SMALL));
    // It is searched above that after ten minutes, and what is found then is believed after ten more.
    world.set_link(0, &line(1_500));
    assert!(world.run_while_not(RISES_AFTER + SEARCH, |world| carried(world) == LARGE));
    let grown = world.now();
    world.run_until(grown + RISES_AFTER - secs(1));
    assert_eq!(of_server(&world), SMALL);
    world.run_until(grown + RISES_AFTER + ROUND_TRIP);
    assert_eq!(of_server(&world), LARGE);
}

#[test]
fn datagrams_that_do_not_fit_the_only_path_any_more_do_not_bring_it_down() {
    for mbit in [0.1, 2.0, 15.0] {
        let tunnel = Tunnel::v2(vec![line(1_500)]).with(|config| config.mtu = LARGE);
        let mut world = tunnel.start_up(1);
        world.run_for(SEARCH);
        world.udp(Side::Server, usize::from(LARGE), mbit);
        world.run_for(secs(1));
        world.set_link(0, &line(1_400));
        let of_server = |world: &Run| mtus(world)[Side::Server as usize];
        let before = world.now();
        assert!(world.run_while_not(SEARCH, |world| of_server(world) == SMALL), "{mbit} Mbit/s");
        let smaller = world.udp(Side::Server, usize::from(SMALL), 2.0);
        world.run_until(before + secs(10));
        let is_down = |event: &Event| matches!(event, Event::LinkDown { .. } | Event::SessionDown);
        assert!(!world.events().iter().any(|(.., event)| is_down(event)), "{mbit} Mbit/s");
        let report = world.udp_flow(smaller).report(world.now());
        assert!(report.longest_silence < millis(100), "{mbit} Mbit/s: {report:?}");
        assert!(report.sent - report.received < 20, "{mbit} Mbit/s: {report:?}");
    }
}
