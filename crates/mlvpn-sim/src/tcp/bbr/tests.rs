use super::*;
use crate::link::{LinkSpec, WanLink};
use crate::tcp::CongestionControl;
use crate::traffic::FlowId;
use crate::world::{PlainEndpoint, World, secs};

const RTT: Duration = Duration::from_millis(40);

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

/// One round trip at `rate` segments a second: everything acknowledged at its end. `delivered` counts.
fn round(bbr: &mut Bbr, delivered: &mut u64, rate: f64, rtt: Duration, now: Instant) {
    let newly = (rate * rtt.as_secs_f64()) as u64;
    let sample = Sample {
        prior_delivered: Some(*delivered),
        rate: Some(rate),
        newly,
        rtt: Some(rtt),
        prior_in_flight: 2 * newly,
        in_flight: newly,
        ..Sample::default()
    };
    *delivered += newly;
    bbr.on_ack(&sample, *delivered, Some(rtt), Repair::None, now);
}

/// Rounds until STARTUP is left, the rate being 1,000 segments a second.
fn started() -> (Bbr, u64) {
    let (mut bbr, mut delivered) = (Bbr::new(1), 0);
    for i in 1..=4 {
        round(&mut bbr, &mut delivered, 1_000.0, RTT, at(40 * i));
    }
    (bbr, delivered)
}

#[test]
fn startup_ends_after_three_rounds_without_growth_and_drains() {
    let (mut bbr, mut delivered) = (Bbr::new(1), 0);
    for (i, rate) in [250.0, 500.0, 1_000.0, 1_000.0, 1_000.0].into_iter().enumerate() {
        round(&mut bbr, &mut delivered, rate, RTT, at(40 * (1 + i as u64)));
        assert_eq!(bbr.mode(), Mode::Startup);
        assert!((bbr.pacing_rate() - HIGH_GAIN * rate * PACING_MARGIN).abs() < 1e-6 || i < 1);
    }
    let full = Sample { in_flight: 100, ..Sample::default() };
    let last = Sample { prior_delivered: Some(delivered), rate: Some(1_000.0), newly: 40, ..full };
    bbr.on_ack(&last, delivered + 40, Some(RTT), Repair::None, at(240));
    assert_eq!(bbr.mode(), Mode::Drain);
    assert!((bbr.pacing_rate() - 1_000.0 / HIGH_GAIN * PACING_MARGIN).abs() < 1e-6);
    round(&mut bbr, &mut delivered, 1_000.0, RTT, at(280));
    assert!(matches!(bbr.mode(), Mode::ProbeBandwidth { .. }), "{:?}", bbr.mode());
}

#[test]
fn the_cycle_takes_each_phase_a_round_trip_and_the_window_two_products() {
    let (mut bbr, mut delivered) = started();
    let mut phases = Vec::new();
    for i in 0..16 {
        round(&mut bbr, &mut delivered, 1_000.0, RTT, at(200 + 41 * i));
        let Mode::ProbeBandwidth { phase, .. } = bbr.mode() else { panic!("{:?}", bbr.mode()) };
        phases.push(phase);
    }
    assert!(phases.windows(2).all(|pair| pair[1] == (pair[0] + 1) % 8), "{phases:?}");
    assert_ne!(phases[0], 1, "never begins with the phase that drains");
    // Forty segments are in flight in a round trip; twice that, what is sent in bunches, and what came in one.
    assert!((86.0..=86.0 + 42.0).contains(&bbr.window), "{}", bbr.window);
}

#[test]
fn the_bandwidth_is_the_maximum_of_ten_rounds() {
    let (mut bbr, mut delivered) = started();
    for i in 0..10 {
        round(&mut bbr, &mut delivered, 500.0, RTT, at(200 + 41 * i));
        assert_eq!(bbr.bandwidth.value(), 1_000.0, "{i}");
    }
    round(&mut bbr, &mut delivered, 500.0, RTT, at(700));
    assert_eq!(bbr.bandwidth.value(), 500.0);
}

#[test]
fn samples_limited_by_the_application_only_raise_the_bandwidth() {
    let (mut bbr, delivered) = started();
    let limited = Sample {
        prior_delivered: Some(delivered),
        is_app_limited: true,
        newly: 1,
        ..Sample::default()
    };
    for i in 0..20 {
        let sample = Sample { rate: Some(10.0), prior_delivered: Some(delivered + i), ..limited };
        bbr.on_ack(&sample, delivered + i + 1, Some(RTT), Repair::None, at(300 + 40 * i));
    }
    assert_eq!(bbr.bandwidth.value(), 1_000.0);
    let sample = Sample { rate: Some(2_000.0), ..limited };
    bbr.on_ack(&sample, delivered + 30, Some(RTT), Repair::None, at(2_000));
    assert_eq!(bbr.bandwidth.value(), 2_000.0);
}

#[test]
fn the_round_trip_is_looked_at_anew_after_ten_seconds_with_four_segments() {
    let (mut bbr, mut delivered) = started();
    let longer = RTT * 2;
    let mut now = at(200);
    while now <= at(10_040) {
        round(&mut bbr, &mut delivered, 1_000.0, longer, now);
        assert!(matches!(bbr.mode(), Mode::ProbeBandwidth { .. }), "{now:?}: {:?}", bbr.mode());
        assert_eq!(bbr.min_rtt.map(|(rtt, _)| rtt), Some(RTT));
        now += longer;
    }
    round(&mut bbr, &mut delivered, 1_000.0, longer, now);
    assert_eq!((bbr.window, bbr.min_rtt), (4.0, Some((longer, now))));
    let few = |delivered: &mut u64| {
        *delivered += 4;
        Sample {
            prior_delivered: Some(*delivered - 4),
            rate: Some(100.0),
            newly: 4,
            in_flight: 4,
            rtt: Some(RTT),
            ..Sample::default()
        }
    };
    let begun = now;
    while matches!(bbr.mode(), Mode::ProbeRtt(_)) {
        now += RTT;
        let sample = few(&mut delivered);
        assert_eq!(bbr.window, 4.0);
        bbr.on_ack(&sample, delivered, Some(RTT), Repair::None, now);
    }
    let took = now.saturating_since(begun);
    assert!(took > PROBE_RTT_TIME && took <= PROBE_RTT_TIME + RTT * 3, "{took:?}");
    assert!(bbr.window > 80.0, "{}", bbr.window);
    assert_eq!(bbr.min_rtt.map(|(rtt, _)| rtt), Some(RTT));
}

#[test]
fn packets_are_conserved_for_a_round_of_repair_and_the_window_comes_back() {
    let (mut bbr, delivered) = started();
    let window = bbr.window;
    bbr.on_congestion();
    let lossy = Sample { lost: 3, newly: 1, in_flight: 20, ..Sample::default() };
    bbr.on_ack(&lossy, delivered + 1, Some(RTT), Repair::Fast, at(200));
    assert_eq!(bbr.window, 21.0);
    let fine = Sample { newly: 1, in_flight: 20, ..Sample::default() };
    bbr.on_ack(&fine, delivered + 2, Some(RTT), Repair::None, at(220));
    assert!(bbr.window >= window, "{window} {}", bbr.window);
}

type Run = World<PlainEndpoint>;

fn download(link: LinkSpec) -> (Run, FlowId) {
    let links = vec![WanLink::symmetric(link)];
    let mut world = World::new(1, links, PlainEndpoint::new(), PlainEndpoint::new());
    world.set_inner_mtu(1_500);
    let flow = world.transfer_with(CongestionControl::Bbr, crate::packet::Side::Server, u64::MAX);
    (world, flow)
}

#[test]
fn a_link_is_full_within_a_second_and_its_queue_stays_small() {
    let (mut world, flow) = download(LinkSpec::new(50.0, 20).with_queue_ms(40));
    world.run_for(secs(1));
    let probe = world.udp(crate::packet::Side::Server, 100, 0.04);
    world.run_for(secs(19));
    let full = 50.0 * 1_448.0 / 1_500.0;
    let first = world.tcp(flow).progress().rate(at(500), at(1_000)) / 1e6;
    assert!(first > 0.85 * full, "{first}");
    let goodput = world.goodput(flow, 1, 20);
    assert!(goodput > 0.93 * full, "{goodput}");
    let report = world.udp_flow(probe).report(world.now());
    // The queue is that of the probing for bandwidth, a quarter of 40 ms.
    assert!(report.delay_p50 < Duration::from_millis(26), "{report:?}");
    assert!(report.delay_p95 < Duration::from_millis(36), "{report:?}");
    assert_eq!(world.tcp(flow).stats().timeouts, 0);
}

#[test]
fn loss_by_chance_costs_little() {
    let (mut world, flow) = download(LinkSpec::new(50.0, 20).with_queue_ms(40).with_loss(0.01));
    world.run_for(secs(20));
    let goodput = world.goodput(flow, 2, 20);
    assert!(goodput > 0.88 * 50.0 * 1_448.0 / 1_500.0, "{goodput} {:?}", world.tcp(flow).stats());
}

#[test]
fn the_network_is_emptied_every_ten_seconds() {
    let (mut world, flow) = download(LinkSpec::new(20.0, 20));
    let mut lows = Vec::new();
    for ms in 0..25_000_u64 {
        world.run_for(Duration::from_millis(1));
        let is_low = world.tcp(flow).sender().congestion_window() <= 4.0;
        if is_low && lows.last().is_none_or(|&last| ms > last + 5_000) {
            lows.push(ms);
        }
    }
    assert_eq!(lows.len(), 2, "{lows:?}");
    assert!(lows[0].abs_diff(10_000) < 500 && lows[1].abs_diff(20_300) < 700, "{lows:?}");
}
