//! What the user wants of the links, said at one end: it holds in both directions.

use mlvpn_proto::filter::Filter;
use mlvpn_proto::{Duration, FilterRule, LinkConfig, LinkIndex, LinkTerms, Policy, Treatment};
use mlvpn_sim::link::{Direction, LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::traffic::FlowId;
use mlvpn_sim::world::{SessionEndpoint, Tunnel, World, millis, secs};

type Run = World<SessionEndpoint>;

const SIDES: [Side; 2] = [Side::Client, Side::Server];
const MBIT: f64 = 125_000.0;

fn links(specs: &[LinkSpec]) -> Vec<WanLink> {
    specs.iter().copied().map(WanLink::symmetric).collect()
}

/// Links of 20 Mbit/s with these one-way delays in milliseconds.
fn with_delays(delays: &[u64]) -> Vec<WanLink> {
    links(&delays.iter().map(|delay| LinkSpec::new(20.0, *delay)).collect::<Vec<_>>())
}

/// The client's wish alone.
fn under(policy: Policy, links: Vec<WanLink>) -> Tunnel {
    Tunnel::v2(links).with_side(Side::Client, |config| config.policy = Some(policy))
}

fn cost(ms: u64) -> LinkTerms {
    LinkTerms { cost: millis(ms), ..LinkTerms::default() }
}

const METERED: LinkTerms = LinkTerms { max_rate: None, cost: Duration::ZERO, is_metered: true };

/// 200 packets of 1,000 bytes a second.
fn stream(world: &mut Run, from: Side) -> FlowId {
    world.udp(from, 1_000, 1.6)
}

fn direction(from: Side) -> Direction {
    match from {
        Side::Client => Direction::Up,
        Side::Server => Direction::Down,
    }
}

/// Bytes that each of two links has carried.
fn carried(world: &Run, from: Side) -> [u64; 2] {
    [0, 1].map(|link| world.network().counters(link, direction(from)).delivered_bytes)
}

/// Mbit/s on each of two links while `time` passes.
fn rates(world: &mut Run, from: Side, time: Duration) -> [f64; 2] {
    let before = carried(world, from);
    world.run_for(time);
    let after = carried(world, from);
    [0, 1].map(|link| (after[link] - before[link]) as f64 / MBIT / time.as_secs_f64())
}

/// Gives a link of the client other terms while everything runs.
fn retune(world: &mut Run, link: u16, terms: LinkTerms) {
    world.with_endpoint(Side::Client, |end, now| {
        let config = LinkConfig {
            name: format!("link{link}"),
            weight: None,
            timeout: secs(5),
            loss_tolerance: None,
            latency_tolerance: None,
            fallback_only: false,
            terms,
            remote: None,
        };
        end.session_mut().reconfigure_link(LinkIndex(link), config, now);
    });
}

#[test]
fn under_lowest_latency_a_transfer_stays_whole_on_the_fastest_link() {
    for from in SIDES {
        let mut world = under(Policy::LowestLatency, with_delays(&[25, 10])).start_up(1);
        let flow = world.transfer(from, 1 << 40);
        world.run_for(secs(4));
        let [slower, fastest] = rates(&mut world, from, secs(10));
        assert!(fastest > 18.0 && slower < 0.1, "{from:?}: {fastest} {slower}");
        let goodput = world.goodput(flow, 4, 14);
        assert!(goodput > 17.0, "{from:?}: {goodput}");
        assert_eq!(world.oracle().reordered(), 0);
        world.oracle().assert_clean();
    }
}

#[test]
fn under_lowest_latency_small_packets_beside_a_transfer_stay_fast() {
    let mut world = under(Policy::LowestLatency, with_delays(&[25, 10])).start_up(1);
    world.download();
    world.run_for(secs(5));
    let call = stream(&mut world, Side::Server);
    world.run_for(secs(10));
    let report = world.finish_udp(call);
    assert!(report.delay_p95 < millis(20), "{:?}", report.delay_p95);
    assert_eq!(report.lost(), 0);
    world.oracle().assert_clean();
}

#[test]
fn a_link_that_is_cut_is_left_at_once_under_every_policy() {
    for policy in Policy::ALL {
        for (from, cut) in SIDES.into_iter().flat_map(|side| [(side, 0), (side, 1)]) {
            let mut world = under(policy, with_delays(&[10, 15])).start_up(1);
            let flow = stream(&mut world, from);
            world.run_for(secs(5));
            let at = world.now();
            world.cut(cut);
            world.run_for(secs(5));
            let silence = world.udp_flow(flow).longest_silence(at, world.now());
            assert!(silence < millis(250), "{policy} {from:?} {cut}: {silence:?}");
            assert_eq!(world.finish_udp(flow).lost(), 0, "{policy} {from:?} {cut}");
            world.oracle().assert_clean();
        }
    }
}

#[test]
fn under_backup_the_first_link_carries_everything_although_another_is_better() {
    for from in SIDES {
        let specs = [LinkSpec::new(10.0, 40), LinkSpec::new(20.0, 10)];
        let mut world = under(Policy::Backup, links(&specs)).start_up(1);
        world.transfer(from, 1 << 40);
        let call = stream(&mut world, from);
        world.run_for(secs(4));
        let [first, second] = rates(&mut world, from, secs(8));
        assert!(first > 9.0 && second < 0.05, "{from:?}: {first} {second}");
        world.cut(0);
        let at = world.now();
        world.run_for(secs(2));
        let silence = world.udp_flow(call).longest_silence(at, world.now());
        assert!(silence < millis(400), "{from:?}: {silence:?}");
        let [_, second] = rates(&mut world, from, secs(8));
        assert!(second > 15.0, "{from:?}: {second}");
        world.restore(0);
        world.run_for(secs(4));
        let [first, second] = rates(&mut world, from, secs(5));
        assert!(first > 8.0 && second < 0.05, "{from:?}: back on the first: {first} {second}");
        world.oracle().assert_clean();
    }
}

#[test]
fn under_backup_the_order_is_that_of_the_costs() {
    for from in SIDES {
        let tunnel = under(Policy::Backup, with_delays(&[10, 10]));
        let tunnel = tunnel.with_client_link(0, |link| link.terms = cost(1));
        let mut world = tunnel.start_up(1);
        stream(&mut world, from);
        world.run_for(secs(1));
        let [first, second] = rates(&mut world, from, secs(5));
        assert!(second > 1.5 && first < 0.05, "{from:?}: {first} {second}");
    }
}

#[test]
fn under_redundant_what_one_link_loses_comes_over_the_other_without_waiting() {
    for from in SIDES {
        let spec = |delay| LinkSpec::new(20.0, delay).with_loss(0.03);
        let mut world = under(Policy::Redundant, links(&[spec(10), spec(15)])).start_up(3);
        world.run_for(secs(1));
        let flow = stream(&mut world, from);
        world.run_for(secs(60));
        let stats = world.stats(from);
        let copies = stats.peers[0].copies;
        let report = world.finish_udp(flow);
        let lost = report.lost() as f64 / report.sent as f64;
        assert!(lost < 0.003, "{from:?}: {lost}");
        assert!(report.delay_p99 < millis(20), "{from:?}: {:?}", report.delay_p99);
        assert_eq!(report.duplicates, 0);
        assert!(copies.sent * 100 > report.sent * 95, "{copies:?}");
        // What is lost twice may come late.
        assert!(world.oracle().reordered() * 200 < report.sent, "{}", world.oracle().reordered());
        world.oracle().assert_clean();
    }
}

#[test]
fn copies_cost_originals_nothing() {
    for from in SIDES {
        let mut world = under(Policy::Redundant, with_delays(&[10, 20])).start_up(1);
        let flow = world.transfer(from, 1 << 40);
        world.run_for(secs(20));
        let goodput = world.goodput(flow, 5, 20);
        assert!(goodput > 0.85 * 40.0, "{from:?}: {goodput}");
        world.oracle().assert_clean();
        world.oracle().assert_ordered();
    }
}

#[test]
fn copies_keep_to_what_a_slower_link_carries_beside_other_packets() {
    // 8 Mbit/s of copies would be more than the second link has.
    let specs = [LinkSpec::new(20.0, 10), LinkSpec::new(5.0, 30)];
    let mut world = under(Policy::Redundant, links(&specs)).start_up(1);
    let flow = world.udp(Side::Client, 1_000, 8.0);
    world.run_for(secs(5));
    let [_, second] = rates(&mut world, Side::Client, secs(10));
    let copies = world.stats(Side::Client).peers[0].copies;
    assert!(copies.withheld > 0 && second < 4.5, "{copies:?} {second}");
    let report = world.finish_udp(flow);
    assert_eq!((report.lost(), report.duplicates), (0, 0));
    assert!(report.delay_p99 < millis(14), "{:?}", report.delay_p99);
    world.oracle().assert_clean();
}

#[test]
fn a_filter_puts_single_flows_under_another_policy() {
    let rule = |policy| FilterRule {
        filter: Filter::parse("udp").expect("a filter"),
        treatment: Treatment::Policy(policy),
    };
    for from in SIDES {
        let tunnel = under(Policy::Backup, with_delays(&[10, 15]));
        let tunnel = tunnel.with(|config| config.filters = vec![rule(Policy::Redundant)]);
        let mut world = tunnel.start_up(1);
        world.transfer(from, 1 << 40);
        world.run_for(secs(4));
        let [first, second] = rates(&mut world, from, secs(5));
        assert!(first > 18.0 && second < 0.05, "{from:?}: {first} {second}");
        let flow = stream(&mut world, from);
        world.run_for(secs(1));
        let [first, second] = rates(&mut world, from, secs(5));
        assert!(first > 18.0 && (1.5..2.2).contains(&second), "{from:?}: {first} {second}");
        let report = world.finish_udp(flow);
        assert_eq!((report.lost(), report.duplicates), (0, 0));
        world.oracle().assert_clean();
    }
}

/// The second link is faster and costs money.
fn metered() -> Tunnel {
    Tunnel::v2(with_delays(&[20, 10])).with_client_link(1, |link| link.terms = METERED)
}

#[test]
fn a_metered_link_stays_empty_while_another_has_room() {
    for from in SIDES {
        let mut world = metered().start_up(1);
        world.run_for(secs(2));
        world.udp(from, 1_000, 10.0);
        world.browsing();
        let before = SIDES.map(|side| carried(&world, side)[1]);
        world.run_for(secs(30));
        for (side, before) in SIDES.into_iter().zip(before) {
            let bytes = carried(&world, side)[1] - before;
            assert!(bytes < 5_000, "{from:?} {side:?}: {bytes} bytes in 30 s");
        }
        world.oracle().assert_clean();
    }
}

#[test]
fn a_metered_link_takes_what_the_other_has_no_room_for() {
    for from in SIDES {
        let mut world = metered().start_up(1);
        let flow = world.udp(from, 1_000, 30.0);
        world.run_for(secs(5));
        let [free, paid] = rates(&mut world, from, secs(10));
        assert!(free > 19.0 && (9.0..13.5).contains(&paid), "{from:?}: {free} {paid}");
        let lost_before = world.udp_flow(flow).report(world.now()).lost();
        world.run_for(secs(5));
        let lost = world.finish_udp(flow).lost().saturating_sub(lost_before);
        assert_eq!(lost, 0, "{from:?}");
        world.oracle().assert_clean();
    }
}

#[test]
fn a_metered_link_helps_a_long_transfer_and_takes_over_when_the_other_fails() {
    for from in SIDES {
        let mut world = metered().start_up(1);
        let flow = world.transfer(from, 1 << 40);
        world.run_for(secs(20));
        let [free, _] = rates(&mut world, from, secs(10));
        assert!(free > 19.0, "{from:?}: {free}");
        let goodput = world.goodput(flow, 20, 30);
        assert!(goodput > 30.0, "{from:?}: {goodput}");
        let call = stream(&mut world, from);
        world.run_for(secs(1));
        let at = world.now();
        world.cut(0);
        world.run_for(secs(5));
        let silence = world.udp_flow(call).longest_silence(at, world.now());
        assert!(silence < millis(300), "{from:?}: {silence:?}");
        assert_eq!(world.finish_udp(call).lost(), 0, "{from:?}");
        world.oracle().assert_clean();
    }
}

#[test]
fn a_limit_of_the_rate_is_kept_second_by_second_in_both_directions() {
    let limit = 1_250_000;
    for from in SIDES {
        let tunnel = Tunnel::v2(with_delays(&[10, 20]));
        let tunnel = tunnel.with_client_link(0, |link| {
            link.terms = LinkTerms { max_rate: Some(limit), ..LinkTerms::default() };
        });
        let mut world = tunnel.start_up(1);
        world.transfer(from, 1 << 40);
        world.run_for(secs(4));
        let mut seconds: Vec<_> = (0..20).map(|_| rates(&mut world, from, secs(1))).collect();
        seconds.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let p95 = seconds[seconds.len() - 2][0] * MBIT / limit as f64;
        let median = seconds[seconds.len() / 2][0] * MBIT / limit as f64;
        assert!(p95 <= 1.03 && median > 0.95, "{from:?}: {p95} {median}");
        let other = seconds.iter().map(|rates| rates[1]).sum::<f64>() / 20.0;
        assert!(other > 18.0, "{from:?}: {other}");
    }
}

#[test]
fn cost_moves_traffic_also_while_it_flows() {
    for from in SIDES {
        let tunnel = Tunnel::v2(with_delays(&[10, 10]));
        let mut world = tunnel.with_client_link(0, |link| link.terms = cost(20)).start_up(1);
        let flow = stream(&mut world, from);
        world.run_for(secs(1));
        let [first, second] = rates(&mut world, from, secs(4));
        assert!(second > 1.5 && first < 0.05, "{from:?}: {first} {second}");
        retune(&mut world, 0, LinkTerms::default());
        retune(&mut world, 1, cost(20));
        world.run_for(secs(1));
        let [first, second] = rates(&mut world, from, secs(4));
        assert!(first > 1.5 && second < 0.05, "{from:?}: {first} {second}");
        assert_eq!(world.finish_udp(flow).lost(), 0);
        world.oracle().assert_clean();
    }
}

#[test]
fn a_policy_changes_while_packets_flow_and_the_server_has_the_last_word() {
    for from in SIDES {
        // A flow that has a queue moves for a gain of more than 5 ms each way.
        let mut world = Tunnel::v2(with_delays(&[30, 10])).start_up(1);
        let flow = world.transfer(from, 1 << 40);
        world.run_for(secs(6));
        let [first, second] = rates(&mut world, from, secs(4));
        assert!(first > 15.0 && second > 15.0, "{from:?}: {first} {second}");
        let set = |world: &mut Run, side, policy| {
            world.with_endpoint(side, |end, now| end.session_mut().set_policy(policy, now));
        };
        set(&mut world, Side::Client, Some(Policy::LowestLatency));
        world.run_for(secs(2));
        let [first, second] = rates(&mut world, from, secs(4));
        assert!(first < 0.1 && second > 15.0, "{from:?}: {first} {second}");
        set(&mut world, Side::Server, Some(Policy::Backup));
        world.run_for(secs(2));
        let [first, second] = rates(&mut world, from, secs(4));
        assert!(first > 15.0 && second < 0.1, "{from:?}: {first} {second}");
        for side in SIDES {
            assert_eq!(world.stats(side).peers[0].policy, Policy::Backup);
        }
        assert!(world.goodput(flow, 10, 22) > 15.0);
        world.oracle().assert_clean();
    }
}
