//! What a v2 tunnel is for, as scenarios: one behaviour each.

use mlvpn_proto::filter::Filter;
use mlvpn_proto::{Duration, Event, FilterRule, Instant, LinkIndex, PacketKind, Treatment};
use mlvpn_sim::link::{Change, Direction, LinkSpec, Schedule, Stalls, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::rng::Seed;
use mlvpn_sim::traffic::FlowId;
use mlvpn_sim::world::{SessionEndpoint, Tunnel, World, millis, secs};

type Run = World<SessionEndpoint>;

const SIDES: [Side; 2] = [Side::Client, Side::Server];

fn links(specs: &[LinkSpec]) -> Vec<WanLink> {
    specs.iter().copied().map(WanLink::symmetric).collect()
}

/// Two links of 20 Mbit/s that differ a little.
fn two_links() -> Vec<WanLink> {
    links(&[LinkSpec::new(20.0, 10), LinkSpec::new(20.0, 20)])
}

/// 200 packets of 1,000 bytes a second.
fn stream(world: &mut Run, from: Side) -> FlowId {
    world.udp(from, 1_000, 1.6)
}

fn silence_since(world: &Run, flow: FlowId, from: Instant) -> Duration {
    world.udp_flow(flow).longest_silence(from, world.now())
}

fn carried(world: &Run, link: usize, direction: Direction) -> u64 {
    world.network().counters(link, direction).delivered_bytes
}

fn session_downs(world: &Run) -> usize {
    SIDES.iter().map(|&side| world.count_events(side, |e| *e == Event::SessionDown)).sum()
}

#[test]
fn links_come_up_with_nothing_configured_and_a_download_gets_their_sum() {
    let mut world = Tunnel::v2(two_links()).start_up(1);
    assert!(world.now() < Instant::from_secs(1), "{:?}", world.now());
    let flow = world.download();
    world.run_for(secs(20));
    let goodput = world.goodput(flow, 5, 20);
    assert!(goodput > 0.8 * 40.0, "{goodput}");
    world.oracle().assert_clean();
    world.oracle().assert_ordered();
}

#[test]
fn a_link_that_is_cut_silently_costs_no_packet_while_the_other_has_room() {
    for from in SIDES {
        for cut in 0..2 {
            let mut world = Tunnel::v2(two_links()).start_up(1);
            let flow = stream(&mut world, from);
            world.run_for(secs(5));
            let at = world.now();
            world.cut(cut);
            world.run_for(secs(10));
            let silence = silence_since(&world, flow, at);
            assert!(silence < millis(200), "{from:?} {cut}: {silence:?}");
            assert_eq!(world.finish_udp(flow).lost(), 0, "{from:?} {cut}");
            world.oracle().assert_clean();
        }
    }
}

/// All UDP goes over that link as long as it is up.
fn bound_to(link: usize) -> Vec<FilterRule> {
    vec![FilterRule {
        filter: Filter::parse("udp").expect("a filter"),
        treatment: Treatment::Link(format!("link{link}")),
    }]
}

#[test]
fn what_was_on_its_way_on_the_faster_link_comes_in_order_when_that_is_cut() {
    // Half a megabyte: more than the slower link carries in the time that a hole is waited for otherwise.
    for seed in 1..=3 {
        let specs = [LinkSpec::new(100.0, 5), LinkSpec::new(50.0, 40).with_jitter_ms(4)];
        let mut world = Tunnel::v2(links(&specs)).start_up(seed);
        let flow = world.download();
        world.run_for(secs(8) + millis(37 * seed));
        let at = world.now();
        let order = |world: &Run| world.stats(Side::Client).peers[0].lanes;
        let before = order(&world);
        world.cut(0);
        world.run_for(secs(2));
        let after = order(&world);
        let lost = [
            after.skipped - before.skipped,
            after.deadline - before.deadline,
            after.late - before.late,
        ];
        assert_eq!(lost, [0; 3], "{seed}");
        // Later somebody is told to slow down, which takes a round trip to repair.
        let silence = world.tcp(flow).progress().longest_silence(at, at + millis(400));
        assert!(silence < millis(150), "{seed}: {silence:?}");
        world.oracle().assert_clean();
    }
}

#[test]
fn news_of_what_arrived_before_a_cut_does_not_bring_the_dead_link_back() {
    // It comes over the other link, later than the first link's silence is noticed.
    for seed in 1..=5 {
        let specs = [LinkSpec::new(100.0, 5), LinkSpec::new(50.0, 35).with_jitter_ms(2)];
        let mut world = Tunnel::v2(links(&specs)).start_up(seed);
        world.download();
        world.run_for(secs(5) + millis(37 * seed));
        world.cut(0);
        let is_suspect = |world: &Run| {
            let links = &world.stats(Side::Server).links;
            links[0].path.as_ref().is_some_and(|path| path.is_suspect)
        };
        assert!(world.run_while_not(millis(60), is_suspect), "{seed}");
        let is_back = world.run_while_not(millis(500), |world| !is_suspect(world));
        assert!(!is_back, "{seed}: {:?}", world.now());
        world.oracle().assert_clean();
    }
}

#[test]
fn a_link_whose_way_back_dies_is_used_on() {
    // The news of what arrives over it comes over the other one from then on. At first that is a surprise.
    for seed in 1..=5 {
        let specs = [LinkSpec::new(50.0, 5), LinkSpec::new(50.0, 35).with_jitter_ms(2)];
        let mut world = Tunnel::v2(links(&specs)).start_up(seed);
        // 40 packets a second.
        let flow = world.udp(Side::Client, 1_000, 0.32);
        world.run_for(secs(3) + millis(7 * seed));
        let dead = Change::Cut(Direction::Down, true);
        world.schedule(0, Schedule::new().at(Duration::ZERO, dead));
        let mut suspect = 0;
        for _ in 0..1_000 {
            world.run_for(millis(1));
            let links = &world.stats(Side::Client).links;
            suspect += u32::from(links[0].path.as_ref().is_some_and(|path| path.is_suspect));
        }
        assert!(suspect < 120, "{seed}: suspect for {suspect} ms");
        let before = carried(&world, 0, Direction::Up);
        world.run_for(secs(1));
        let bytes = carried(&world, 0, Direction::Up) - before;
        assert!(bytes > 40 * 1_000, "{seed}: {bytes} bytes in the second after");
        assert_eq!(world.finish_udp(flow).lost(), 0, "{seed}");
        world.oracle().assert_clean();
    }
}

#[test]
fn the_other_link_stays_up_when_one_is_cut_whose_last_packets_were_on_their_way() {
    // Both fall silent at the end of the one that is cut, and feedback about the other is lost on it.
    for (delays, cut) in [((5, 5), 0), ((5, 5), 1), ((10, 20), 0), ((20, 10), 1), ((10, 40), 0)] {
        for (busy, idle) in (950..1_050).step_by(4).flat_map(|ms| [(ms, 0), (ms, 8), (ms, 20)]) {
            let specs = [LinkSpec::new(20.0, delays.0), LinkSpec::new(20.0, delays.1)];
            let tunnel = Tunnel::v2(links(&specs)).with(|end| end.filters = bound_to(cut));
            let mut world = tunnel.start_up(busy);
            let flow = stream(&mut world, Side::Client);
            world.run_for(millis(busy));
            world.stop_udp(flow);
            world.run_for(millis(idle));
            world.cut(cut);
            world.run_for(secs(15));
            let other = LinkIndex(1 - cut as u16);
            for side in SIDES {
                let is_end =
                    |e: &Event| matches!(e, Event::LinkDown { link, .. } if *link == other);
                let downs = world.count_events(side, is_end);
                assert_eq!((downs, world.links_up(side)), (0, 1), "{delays:?} {cut} {busy} {idle}");
            }
        }
    }
}

#[test]
fn a_link_comes_back_into_use_within_two_seconds() {
    let mut world = Tunnel::v2(two_links()).start_up(1);
    let flow = world.download();
    world.run_for(secs(5));
    world.cut(0);
    world.run_for(secs(20));
    world.restore(0);
    let before = carried(&world, 0, Direction::Down);
    let is_used = |world: &Run| carried(world, 0, Direction::Down) > before + 100_000;
    assert!(world.run_while_not(millis(2_200), is_used), "{:?}", world.events());
    world.run_for(secs(10));
    let goodput = world.goodput(flow, 30, 36);
    assert!(goodput > 0.8 * 40.0, "{goodput}");
    world.oracle().assert_clean();
}

#[test]
fn a_flapping_link_does_no_harm() {
    let mut world = Tunnel::v2(two_links()).start_up(1);
    let flow = stream(&mut world, Side::Server);
    world.run_for(secs(5));
    for _ in 0..20 {
        world.cut(0);
        world.run_for(millis(700));
        world.restore(0);
        world.run_for(millis(900));
    }
    let at = Instant::from_secs(5);
    assert!(silence_since(&world, flow, at) < millis(250), "{:?}", silence_since(&world, flow, at));
    let lost = world.finish_udp(flow).lost();
    assert!(lost <= 10, "{lost}");
    assert_eq!(session_downs(&world), 0);
    world.run_for(secs(40));
    assert_eq!((world.links_up(Side::Client), world.links_up(Side::Server)), (2, 2));
    world.oracle().assert_clean();
}

#[test]
fn what_is_bound_to_a_flapping_link_goes_over_it_while_it_is_left_alone() {
    let mut world = Tunnel::v2(two_links()).with(|end| end.filters = bound_to(0)).start_up(1);
    let flow = stream(&mut world, Side::Client);
    world.run_for(secs(2));
    // Four times suspect within ten seconds: nothing new is given to it for four seconds.
    for _ in 0..4 {
        world.cut(0);
        world.run_for(millis(700));
        world.restore(0);
        world.run_for(millis(900));
    }
    let before = carried(&world, 0, Direction::Up);
    let from = world.now();
    world.run_for(secs(1));
    let bytes = carried(&world, 0, Direction::Up) - before;
    assert!(bytes > 190 * 1_000, "{bytes} bytes in a second");
    assert!(
        silence_since(&world, flow, from) < millis(50),
        "{:?}",
        silence_since(&world, flow, from)
    );
    world.oracle().assert_clean();
}

#[test]
fn a_client_whose_address_changes_on_one_link_keeps_it() {
    let mut world = Tunnel::v2(two_links()).start_up(1);
    let flow = stream(&mut world, Side::Server);
    world.run_for(secs(5));
    let at = world.now();
    world.move_client(0, "203.0.113.7:6000".parse().unwrap());
    world.run_for(secs(10));
    assert_eq!(world.stats(Side::Server).links[0].remote, "203.0.113.7:6000".parse().ok());
    assert!(silence_since(&world, flow, at) < millis(250), "{:?}", silence_since(&world, flow, at));
    assert_eq!((world.finish_udp(flow).lost(), session_downs(&world)), (0, 0));
    assert_eq!((world.links_up(Side::Client), world.links_up(Side::Server)), (2, 2));
    world.oracle().assert_clean();
}

#[test]
fn a_client_that_passes_through_an_address_keeps_the_link() {
    for from in SIDES {
        let mut world = Tunnel::v2(two_links()).start_up(1);
        let flow = stream(&mut world, from);
        world.run_for(secs(5));
        let at = world.now();
        world.move_client(0, "203.0.113.6:6000".parse().unwrap());
        world.run_for(millis(30));
        world.move_client(0, "203.0.113.7:6000".parse().unwrap());
        world.run_for(secs(10));
        assert_eq!(world.stats(Side::Server).links[0].remote, "203.0.113.7:6000".parse().ok());
        let is_down = |event: &Event| matches!(event, Event::LinkDown { .. });
        assert_eq!(world.count_events(Side::Server, is_down), 0, "{from:?}: {:?}", world.events());
        let silence = silence_since(&world, flow, at);
        assert!(silence < millis(250), "{from:?}: {silence:?}");
        assert_eq!(session_downs(&world), 0);
        world.oracle().assert_clean();
    }
}

#[test]
fn a_client_whose_only_address_changes_goes_on_within_two_seconds() {
    for from in SIDES {
        let mut world = Tunnel::v2(links(&[LinkSpec::new(20.0, 10)])).start_up(1);
        let flow = stream(&mut world, from);
        world.run_for(secs(5));
        let at = world.now();
        world.move_client(0, "203.0.113.7:6000".parse().unwrap());
        world.run_for(secs(10));
        assert_eq!(world.stats(Side::Server).links[0].remote, "203.0.113.7:6000".parse().ok());
        let silence = silence_since(&world, flow, at);
        assert!(silence < secs(2), "{from:?}: {silence:?}");
        assert_eq!(session_downs(&world), 0, "{:?}", world.events());
        world.oracle().assert_clean();
    }
}

#[test]
fn either_end_may_crash_and_is_back_within_seconds() {
    for crashed in [&[Side::Client][..], &[Side::Server], &SIDES] {
        for from in SIDES {
            let tunnel = Tunnel::v2(two_links());
            let mut world = tunnel.start_up(1);
            let flow = stream(&mut world, from);
            world.run_for(secs(10));
            let at = world.now();
            crashed.iter().for_each(|&side| tunnel.restart(&mut world, side, Seed(99)));
            world.run_for(secs(15));
            let silence = silence_since(&world, flow, at);
            assert!(silence < secs(4), "{crashed:?} {from:?}: {silence:?}");
            for side in SIDES {
                let stats = world.stats(side);
                assert!(stats.links.iter().all(|link| link.is_used), "{crashed:?}: {stats:?}");
                assert_eq!(stats.peers.len(), 1);
            }
            world.oracle().assert_clean();
        }
    }
}

#[test]
fn a_session_goes_on_after_half_a_minute_without_any_link() {
    let mut world = Tunnel::v2(two_links()).start_up(1);
    let flow = stream(&mut world, Side::Server);
    world.run_for(secs(5));
    let born = world.stats(Side::Server).peers[0].since;
    (0..2).for_each(|link| world.cut(link));
    world.run_for(secs(30));
    (0..2).for_each(|link| world.restore(link));
    let restored = world.now();
    world.run_for(secs(10));
    assert_eq!(world.stats(Side::Server).peers[0].since, born);
    let silence = silence_since(&world, flow, restored);
    assert!(silence < secs(4), "{silence:?}");
    world.oracle().assert_clean();
}

#[test]
fn data_goes_in_clear_only_when_both_ends_want_it() {
    for (client, server) in [(true, true), (true, false), (false, true), (false, false)] {
        let tunnel = Tunnel::v2(two_links())
            .with_side(Side::Client, |config| config.cleartext_data = client)
            .with_side(Side::Server, |config| config.cleartext_data = server);
        let mut world = tunnel.start_up(1);
        world.record();
        let flow = stream(&mut world, Side::Client);
        world.run_for(secs(3));
        let recorded = world.network().recordings();
        let is_readable = recorded.iter().any(|r| r.payload.windows(4).any(|w| w == [10, 0, 0, 1]));
        assert_eq!(is_readable, client && server);
        assert_eq!(world.finish_udp(flow).lost(), 0);
        world.oracle().assert_clean();
    }
}

#[test]
fn ends_that_carry_frames_do_not_speak_with_ends_that_carry_packets() {
    let frames = Tunnel::v2(two_links())
        .with_side(Side::Client, |config| config.inner = PacketKind::Ethernet);
    let mut world = frames.start(1);
    world.run_for(secs(10));
    assert_eq!(SIDES.map(|side| world.links_up(side)), [0, 0]);
    assert_eq!(world.count_events(Side::Server, |e| matches!(e, Event::PeerMisfit { .. })), 1);
}

#[test]
fn ethernet_frames_are_carried() {
    let mut world =
        Tunnel::v2(two_links()).with(|config| config.inner = PacketKind::Ethernet).start_up(1);
    let mut frame = vec![0x5A; 900];
    frame[12..14].copy_from_slice(&[0x88, 0xB5]);
    world.with_endpoint(Side::Client, |end, now| {
        (0..50).for_each(|_| end.session_mut().handle_ip_packet(&frame, now));
    });
    world.run_for(secs(1));
    assert_eq!(world.stats(Side::Server).to_tun.packets, 50);
}

#[test]
fn links_are_added_and_removed_while_packets_flow() {
    let tunnel = Tunnel::v2(two_links());
    let mut world = tunnel.start_up(1);
    let flows = SIDES.map(|side| stream(&mut world, side));
    world.run_for(secs(3));
    for link in [0, 1, 0] {
        world.remove_link(link);
        world.run_for(secs(3));
        assert_eq!(SIDES.map(|side| world.links_up(side)), [1, 1], "{:?}", world.events());
        tunnel.add_link(&mut world, link);
        world.run_for(secs(3));
        assert_eq!(SIDES.map(|side| world.links_up(side)), [2, 2], "{:?}", world.events());
    }
    for flow in flows {
        assert_eq!(world.finish_udp(flow).lost(), 0);
    }
    assert_eq!(session_downs(&world), 0);
    world.oracle().assert_clean();
}

#[test]
fn a_fallback_link_carries_nothing_until_the_other_dies() {
    for from in SIDES {
        let direction = if from == Side::Client { Direction::Up } else { Direction::Down };
        let mut tunnel = Tunnel::v2(two_links());
        // The client alone knows what its links are for.
        tunnel = tunnel.with_client_link(1, |link| link.fallback_only = true);
        let mut world = tunnel.start_up(1);
        let flow = stream(&mut world, from);
        world.run_for(secs(5));
        assert!(carried(&world, 1, direction) < 40_000, "{from:?}");
        world.cut(0);
        world.run_for(secs(5));
        assert!(carried(&world, 1, direction) > 900_000, "{from:?}");
        world.restore(0);
        world.run_for(secs(5));
        let before = carried(&world, 1, direction);
        world.run_for(secs(5));
        assert!(carried(&world, 1, direction) - before < 20_000, "{from:?}");
        assert_eq!(world.finish_udp(flow).lost(), 0, "{from:?}");
    }
}

#[test]
fn the_size_of_packets_is_found_and_a_black_hole_noticed() {
    let limited = |mtu| LinkSpec { mtu: Some(mtu), ..LinkSpec::new(20.0, 10) };
    let mut world = Tunnel::v2(links(&[limited(1_492), LinkSpec::new(20.0, 10)]))
        .with(|config| config.mtu = 1_500)
        .start_up(1);
    let flow = world.download();
    world.run_for(secs(10));
    let found = |world: &Run| SIDES.map(|side| world.stats(side).links[0].path.unwrap().mtu);
    assert_eq!(found(&world), [1_464, 1_464]);
    world.set_link(0, &WanLink::symmetric(limited(1_380)));
    world.run_for(secs(20));
    let downwards = found(&world)[1];
    assert!((1_200..=1_352).contains(&downwards), "{:?}", found(&world));
    // Its packets of 1,400 bytes fit the other link only; the host is told of a smaller MTU.
    let goodput = world.goodput(flow, 22, 30);
    assert!(goodput > 0.8 * 20.0, "{goodput}");
    let is_mtu = |event: &Event| matches!(event, Event::TunnelMtu { .. });
    assert!(world.count_events(Side::Server, is_mtu) >= 2, "{:?}", world.events());
    world.oracle().assert_clean();
}

/// 20 Mbit/s with a round trip of `rtt_ms`, in packets of up to `mtu` bytes.
fn limited(rtt_ms: u64, mtu: usize) -> LinkSpec {
    LinkSpec { mtu: Some(mtu), ..LinkSpec::new(20.0, rtt_ms / 2) }
}

/// The bytes of UDP payload that each end found its only link to carry.
fn sizes_found(world: &Run) -> [u16; 2] {
    SIDES.map(|side| world.stats(side).links[0].path.expect("version 2 has a path").mtu)
}

#[test]
fn the_size_of_packets_is_known_a_few_round_trips_after_the_start() {
    let is_mtu = |event: &Event| matches!(event, Event::TunnelMtu { .. });
    for (mtu, size, rounds) in
        [(1_500, 1_472, 1.2), (1_492, 1_464, 5.0), (1_400, 1_372, 5.0), (1_230, 1_200, 5.0)]
    {
        let mut world = Tunnel::v2(links(&[limited(80, mtu)])).start_up(1);
        let start = world.now();
        let known = |world: &Run| SIDES.iter().all(|side| world.count_events(*side, is_mtu) == 1);
        assert!(world.run_while_not(secs(2), known), "{mtu}: {:?}", world.events());
        let took = world.now().saturating_since(start).as_secs_f64() / 0.08;
        assert_eq!((sizes_found(&world), took <= rounds), ([size; 2], true), "{mtu}: {took}");
    }
}

#[test]
fn three_percent_of_loss_and_jitter_make_no_size_smaller() {
    for seed in 0..150 {
        let lossy =
            limited(40, 1_400).with_loss(0.03).with_jitter_ms(if seed % 2 == 0 { 0 } else { 20 });
        let mut world = Tunnel::v2(links(&[lossy])).start_up(seed);
        world.run_for(secs(5));
        assert_eq!(sizes_found(&world), [1_372, 1_372], "seed {seed}");
    }
}

#[test]
fn a_download_goes_on_within_a_second_when_the_only_link_becomes_smaller() {
    let cases = [(20.0, 10, 150), (5.0, 40, 390), (20.0, 40, 300), (20.0, 80, 750)];
    for ((mbit, rtt_ms, longest_ms), (mtu, size)) in
        cases.into_iter().flat_map(|case| [(1_400, 1_372), (1_280, 1_252)].map(|to| (case, to)))
    {
        let spec = |mtu| LinkSpec { mtu: Some(mtu), ..LinkSpec::new(mbit, rtt_ms / 2) };
        let tunnel = Tunnel::v2(links(&[spec(1_500)])).with(|config| config.mtu = 1_440);
        let mut world = tunnel.start_up(1);
        world.set_inner_mtu(1_440);
        let flow = world.download();
        world.run_for(secs(6) + millis(13));
        let at = world.now();
        world.set_link(0, &WanLink::symmetric(spec(mtu)));
        world.run_until(Instant::from_secs(15));
        let silence = world.tcp(flow).progress().longest_silence(at, world.now());
        assert!(silence < millis(longest_ms), "{mbit} Mbit/s, {rtt_ms} ms, {mtu}: {silence:?}");
        assert_eq!(sizes_found(&world), [1_472, size], "nothing large went up");
        let goodput = world.goodput(flow, 9, 15);
        assert!(goodput > 0.75 * mbit, "{mbit} Mbit/s, {rtt_ms} ms, {mtu}: {goodput}");
        world.oracle().assert_clean();
    }
}

#[test]
fn loss_is_no_black_hole() {
    let lossy = limited(40, 1_500).with_loss(0.03).with_queue_ms(5);
    let mut world = Tunnel::v2(links(&[lossy])).with(|config| config.mtu = 1_440).start_up(1);
    world.set_inner_mtu(1_440);
    world.download();
    world.upload();
    world.udp(Side::Server, 1_440, 30.0);
    for _ in 0..600 {
        world.run_for(millis(100));
        let told = SIDES
            .map(|side| world.count_events(side, |event| matches!(event, Event::TunnelMtu { .. })));
        assert!(told.iter().all(|told| *told <= 1), "{:?}", sizes_found(&world));
    }
}

#[test]
fn a_link_whose_delays_wander_is_filled() {
    for (jitter, seed) in [(3, 1), (5, 1), (8, 1), (8, 2)] {
        let spec = LinkSpec::new(50.0, 20).with_queue_ms(300).with_jitter_ms(jitter);
        let mut world = Tunnel::v2(links(&[spec])).start_up(seed);
        let flows: Vec<_> = (0..4).map(|_| world.download()).collect();
        world.run_for(secs(20));
        let goodput: f64 = flows.iter().map(|&flow| world.goodput(flow, 10, 20)).sum();
        assert!(goodput > 0.7 * 50.0, "{jitter} ms, {seed}: {goodput}");
        let queue = world.stats(Side::Server).links[0].path.unwrap().queue_delay;
        assert!(queue < millis(60), "{jitter} ms, {seed}: {queue:?}");
    }
}

#[test]
fn a_little_traffic_passes_a_busy_host_as_if_nothing_else_was_there() {
    // From the start, when nothing is known of the links and each pause looks like a queue.
    for (size, mbit, is_bound) in [(500, 1.0, false), (500, 1.0, true), (1_200, 2.0, true)] {
        for seed in 1..=12 {
            let tunnel = Tunnel::v2(links(&[LinkSpec::new(20.0, 5), LinkSpec::new(20.0, 5)]));
            let filters = if is_bound { bound_to(1) } else { Vec::new() };
            let mut world = tunnel.with(|end| end.filters = filters.clone()).start(seed);
            let stalls = Stalls::BUSY_HOST.schedule(secs(6), Seed(seed));
            (0..2).for_each(|link| world.schedule(link, stalls.clone()));
            world.run_for(secs(1));
            let flow = world.udp(Side::Client, size, mbit);
            world.run_for(secs(5));
            let report = world.finish_udp(flow);
            let (lost, p95) = (report.lost(), report.delay_p95);
            assert!(lost <= 1 && p95 < millis(70), "{size} {is_bound} {seed}: {report:?}");
        }
    }
}

#[test]
fn a_host_that_looks_late_at_what_came_does_not_take_that_for_a_queue() {
    for late in SIDES {
        let mut world = Tunnel::v2(two_links()).start_up(1);
        world.pause(late, millis(100), millis(60));
        let flow = world.udp(Side::Client, 500, 1.0);
        for _ in 0..100 {
            world.run_for(millis(50));
            for link in world.stats(Side::Client).links {
                let path = link.path.as_ref().expect("of version 2");
                let most = path.min_rtt.map(|rtt| rtt + millis(6));
                assert!(link.srtt < most, "{late:?}: {link:?}");
                assert!(path.queue_delay < millis(2), "{late:?}: {path:?}");
            }
        }
        assert_eq!(world.finish_udp(flow).lost(), 0);
        world.oracle().assert_clean();
    }
}

#[test]
fn one_percent_of_loss_on_one_link_is_hidden() {
    let lossy = LinkSpec::new(20.0, 10).with_loss(0.01);
    let mut world = Tunnel::v2(links(&[lossy, LinkSpec::new(20.0, 20)])).start_up(1);
    // The rates of the links have to be found first.
    let warm_up = world.udp(Side::Server, 1_000, 8.0);
    world.run_for(secs(10));
    world.stop_udp(warm_up);
    let flow = world.udp(Side::Server, 1_000, 8.0);
    world.run_for(secs(40));
    let report = world.finish_udp(flow);
    assert!(report.lost() as f64 <= 1e-4 * report.sent as f64, "{report:?}");
    assert!(world.network().counters(0, Direction::Down).loss > 100);
    world.oracle().assert_clean();
}

#[test]
fn a_repair_that_is_lost_on_a_link_where_nothing_follows_it_is_repaired_in_time() {
    let lossy = |delay| LinkSpec::new(20.0, delay).with_loss(0.02);
    let mut lost = 0;
    for seed in 0..20 {
        let mut world = Tunnel::v2(links(&[lossy(10), lossy(15)])).start_up(seed);
        world.run_for(secs(1));
        let flow = stream(&mut world, Side::Client);
        world.run_for(secs(20));
        lost += world.finish_udp(flow).lost();
        world.oracle().assert_clean();
    }
    // Of 80,000 packets 32 are lost twice.
    assert!(lost <= 3, "{lost}");
}

#[test]
fn flows_keep_their_order_on_clean_links_that_differ() {
    let far = LinkSpec::new(10.0, 60).with_jitter_ms(3);
    let mut world = Tunnel::v2(links(&[LinkSpec::new(20.0, 5), far])).start_up(1);
    world.download();
    world.upload();
    world.udp(Side::Server, 200, 0.3);
    world.udp(Side::Client, 1_200, 3.0);
    world.run_for(secs(20));
    world.oracle().assert_clean();
    world.oracle().assert_ordered();
}

#[test]
fn an_end_that_says_goodbye_is_not_waited_for() {
    let mut world = Tunnel::v2(two_links()).start_up(1);
    world.run_for(secs(2));
    world.with_endpoint(Side::Server, |end, now| end.session_mut().close(now));
    world.run_for(millis(200));
    assert_eq!(world.links_up(Side::Server), 0);
    world.run_for(secs(2));
    let is_down = |link| move |event: &Event| matches!(event, Event::LinkDown { link: l, .. } if *l == LinkIndex(link));
    assert_eq!([0, 1].map(|link| world.count_events(Side::Client, is_down(link))), [1, 1]);
}

#[test]
fn the_same_seed_gives_the_same_tunnel() {
    let run = |seed| {
        let mut world = Tunnel::v2(two_links()).start_up(seed);
        world.download();
        world.run_for(secs(3));
        world.trace_hash()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
