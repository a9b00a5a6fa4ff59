//! What must hold on every kind of link.

use super::simulation::{LEN, Link, MEGABIT, Random, Record, Simulation};
use super::*;
use proptest::prelude::*;

/// What a run amounted to, from some ms to its end.
#[derive(Debug)]
struct Result {
    used: f64,
    queue_mean: f64,
    queue_p95: f64,
    queue_max: f64,
    /// The largest queue before.
    queue_max_before: f64,
    loss: f64,
    /// Milliseconds until 95 % of the rate arrived.
    filled_ms: Option<usize>,
}

fn run(link: &Link, ms: u64) -> (Record, RateController) {
    Simulation::new(link.clone(), RateController::new(None, None)).run(ms + 1)
}

fn measure(link: &Link, from_ms: usize, to_ms: usize) -> Result {
    let (record, _) = run(link, to_ms as u64);
    let (queue_mean, queue_p95, queue_max) = record.queue_in(from_ms, to_ms);
    Result {
        used: record.utilisation(link, from_ms, to_ms),
        queue_mean,
        queue_p95,
        queue_max,
        queue_max_before: record.queue_in(0, from_ms).2,
        loss: record.loss(from_ms, to_ms),
        filled_ms: record.time_to_fill(link, 0, span_ms(link)),
    }
}

/// Over how long a rate is looked at: a round trip, at least 50 ms and eight packets.
fn span_ms(link: &Link) -> usize {
    (link.rtt_ms as usize).max(50).max((8.0 * packet_ms(link)) as usize)
}

fn packet_ms(link: &Link) -> f64 {
    LEN as f64 / link.rates[0].1 * 1e3
}

/// A moving rate: a random walk in the logarithm, one step in 50 ms, with radio jitter.
fn lte(megabits: f64, rtt_ms: u64, seed: u64) -> Link {
    let mut link = Link::new(megabits, rtt_ms, 500.0);
    let mut random = Random::new(seed);
    let mut level: f64 = 0.0;
    link.rates = (0..600)
        .map(|n| {
            level = (level * 0.97 + (random.uniform() - 0.5) * 0.5).clamp(-1.5, 1.0);
            (n * 50, megabits * MEGABIT * level.exp())
        })
        .collect();
    (link.jitter_us, link.jitter_every_us, link.seed) = (4_000, 5_000, seed);
    link
}

/// Clean links of many kinds: 0.8 to 500 Mbit/s, 5 to 100 ms, 60 to 500 ms of buffer, feedback
/// lost, timers late, clocks apart.
fn links(count: u64) -> impl Iterator<Item = (Link, Random)> {
    (1..=count).map(|seed| {
        let mut random = Random::new(seed * 0x1234_5677);
        let megabits = 0.8 * (500.0f64 / 0.8).powf(random.uniform());
        let rtt_ms = 5 + (random.uniform() * 95.0) as u64;
        let mut link = Link::new(megabits, rtt_ms, 60.0 + random.uniform() * 440.0);
        link.late_us = (random.uniform() * 1_000.0) as u64;
        link.feedback_loss = random.uniform() * 0.03;
        link.clock_drift_ppm = random.uniform() * 100.0;
        link.seed = seed;
        (link, random)
    })
}

/// The rows of the table in docs/engine.md. Run it with `--nocapture` to see them.
#[test]
fn the_table_of_the_documentation_can_be_printed() {
    println!("| link | used | queue mean / p95 / max, ms | before, ms | loss | 95 % after, ms |");
    println!("|---|---|---|---|---|---|");
    for (name, link, from_ms, to_ms) in table() {
        let result = measure(&link, from_ms, to_ms);
        println!(
            "| {name} | {:.1} % | {:.1} / {:.1} / {:.0} | {:.0} | {:.2} % | {} |",
            result.used * 100.0,
            result.queue_mean,
            result.queue_p95,
            result.queue_max,
            result.queue_max_before,
            result.loss * 100.0,
            result.filled_ms.map_or("-".to_owned(), |ms| ms.to_string()),
        );
    }
}

fn table() -> Vec<(String, Link, usize, usize)> {
    let mut rows = Vec::new();
    let mut add = |name: &str, link: Link, from_ms, to_ms| {
        let megabits = link.rates[0].1 / MEGABIT;
        rows.push((format!("{megabits} Mbit/s, {} ms{name}", link.rtt_ms), link, from_ms, to_ms));
    };
    for (megabits, rtt, buffer) in
        [(0.8, 30, 500.0), (2.0, 50, 500.0), (10.0, 20, 200.0), (50.0, 20, 200.0)]
    {
        add("", Link::new(megabits, rtt, buffer), 3_000, 15_000);
    }
    add("", Link::new(50.0, 100, 300.0), 3_000, 15_000);
    add("", Link::new(300.0, 10, 100.0), 3_000, 10_000);
    add("", Link::new(1_000.0, 5, 100.0), 2_000, 5_000);
    add("", Link::new(1_000.0, 50, 100.0), 2_000, 5_000);
    add(", buffer 8 ms", Link::new(10.0, 20, 8.0), 3_000, 15_000);
    add(", buffer 8 ms", Link::new(50.0, 40, 8.0), 3_000, 15_000);
    for loss in [0.01, 0.03] {
        let name = format!(", {} % random loss", loss * 100.0);
        add(&name, Link { loss, ..Link::new(10.0, 20, 200.0) }, 3_000, 15_000);
        add(&name, Link { loss, ..Link::new(50.0, 60, 200.0) }, 3_000, 15_000);
    }
    for jitter_every_us in [0, 5_000, 20_000] {
        let link = Link { jitter_us: 8_000, jitter_every_us, ..Link::new(50.0, 40, 200.0) };
        add(
            &format!(", jitter 8 ms anew every {} ms", jitter_every_us / 1_000),
            link,
            3_000,
            15_000,
        );
    }
    add(" to 10 Mbit/s at 5 s", step(50.0, 10.0, 20), 5_000, 10_000);
    add(" to 10 Mbit/s at 5 s", step(50.0, 10.0, 60), 5_000, 10_000);
    add(" to 50 Mbit/s at 5 s", step(10.0, 50.0, 20), 5_000, 10_000);
    add(" to 50 Mbit/s at 5 s", step(10.0, 50.0, 60), 5_000, 10_000);
    for seed in 1..=3 {
        let mut link = lte(20.0, 50, seed);
        link.rates[0].1 = 20.0 * MEGABIT;
        add(&format!(" on average, moving ({seed})"), link, 3_000, 25_000);
    }
    let link = Link { detour: (5_000, 20), ..Link::new(50.0, 20, 200.0) };
    add(", 20 ms more from 5 s on", link, 5_000, 15_000);
    let link = Link { policer: Some((20.0 * MEGABIT, 30_000.0)), ..Link::new(100.0, 40, 200.0) };
    add(", policed to 20", link, 3_000, 20_000);
    for buffer in [50.0, 100.0, 200.0] {
        let link = Link { rival_from_ms: Some(3_000), ..Link::new(20.0, 30, buffer) };
        add(&format!(", AIMD rival, buffer {buffer} ms"), link, 5_000, 30_000);
    }
    rows
}

fn step(from: f64, to: f64, rtt_ms: u64) -> Link {
    let rates = vec![(0, from * MEGABIT), (5_000, to * MEGABIT)];
    Link { rates, ..Link::new(from, rtt_ms, 500.0) }
}

#[test]
fn a_fixed_link_is_full_and_its_queue_short() {
    for (link, _) in links(40) {
        let result = measure(&link, 4_000, 12_000);
        let packet = packet_ms(&link);
        assert!(result.used >= 0.975, "{link:?}: {result:?}");
        assert!(result.queue_mean <= 5.0_f64.max(1.7 * packet), "{link:?}: {result:?}");
        assert!(result.queue_p95 <= 12.0_f64.max(2.6 * packet), "{link:?}: {result:?}");
        assert!(result.loss == 0.0, "{link:?}: {result:?}");
    }
}

#[test]
fn startup_is_over_in_time_and_overshoots_by_a_round_trip() {
    for (link, _) in links(40) {
        let result = measure(&link, 4_000, 6_000);
        let filled = result.filled_ms.unwrap();
        let overshoot = 40.0 + 1.3 * link.rtt_ms as f64 + 8.0 * packet_ms(&link);
        assert!(filled <= 300 + 10 * link.rtt_ms as usize, "{link:?}: {result:?}");
        assert!(result.queue_max_before <= overshoot, "{link:?}: {result:?}");
    }
}

#[test]
fn gigabit_links_are_filled() {
    for rtt in [5, 50] {
        let result = measure(&Link::new(1_000.0, rtt, 100.0), 2_000, 4_000);
        assert!(result.used >= 0.98 && result.queue_p95 <= 8.0, "{result:?}");
    }
}

#[test]
fn a_shallow_buffer_is_neither_overrun_nor_left_empty() {
    for (link, _) in links(25) {
        let link = Link { buffer_ms: 8.0, ..link };
        let result = measure(&link, 4_000, 12_000);
        assert!(result.used >= 0.98, "{link:?}: {result:?}");
        // The buffer is never below four packets; at 4 Mbit/s those are twelve ms.
        let most = if link.rates[0].1 < 4.0 * MEGABIT { 0.03 } else { 0.005 };
        assert!(result.loss <= most, "{link:?}: {result:?}");
    }
}

#[test]
fn random_loss_does_not_lower_the_rate() {
    for (link, mut random) in links(25) {
        let link = Link { loss: 0.01 + random.uniform() * 0.02, ..link };
        let result = measure(&link, 4_000, 12_000);
        assert!(result.used >= 0.95, "{link:?}: {result:?}");
        assert!(result.queue_p95 <= 16.0_f64.max(6.0 * packet_ms(&link)), "{link:?}: {result:?}");
    }
}

#[test]
fn jitter_does_not_lower_the_rate() {
    for (link, mut random) in links(25) {
        let jitter_us = 2_000 + (random.uniform() * 6_000.0) as u64;
        let jitter_every_us = [0, 1_000, 5_000, 20_000][(random.uniform() * 4.0) as usize];
        let link = Link { jitter_us, jitter_every_us, ..link };
        let result = measure(&link, 5_000, 15_000);
        assert!(result.used >= 0.95, "{link:?}: {result:?}");
        assert!(result.queue_p95 <= 25.0_f64.max(3.0 * packet_ms(&link)), "{link:?}: {result:?}");
    }
}

#[test]
fn an_estimate_that_is_far_too_low_is_found_out() {
    let mut late = Vec::new();
    for seed in 1..=12 {
        for (jitter_us, jitter_every_us, loss) in
            [(0, 0, 0.0), (5_000, 0, 0.01), (5_000, 5_000, 0.01), (8_000, 20_000, 0.0)]
        {
            let link = Link { jitter_us, jitter_every_us, loss, ..Link::new(30.0, 70, 200.0) };
            let link = Link { seed, ..link };
            let mut controller = RateController::new(None, Some((1.5 * MEGABIT) as u64));
            controller.startup = None;
            let (record, _) = Simulation::new(link.clone(), controller).run(15_001);
            let used = record.utilisation(&link, 6_000, 15_000);
            if used < 0.9 {
                late.push((jitter_us, jitter_every_us, seed, used));
            }
        }
    }
    assert!(late.is_empty(), "{late:?}");
}

#[test]
fn a_link_that_gets_slower_is_followed_within_ten_round_trips() {
    for rtt in [10, 20, 60] {
        let link = step(50.0, 10.0, rtt);
        let (record, _) = run(&link, 10_000);
        let later = 5_000 + 400 + 10 * rtt as usize;
        assert!(record.utilisation(&link, later, 10_000) >= 0.95, "{rtt} ms");
        // The cap of 50 Mbit/s, at 10 Mbit/s.
        let most = 5.0 * (1.34 * rtt as f64 + 25.0);
        let (_, p95, _) = record.queue_in(later, 10_000);
        assert!(record.queue_in(5_000, 10_000).2 <= most && p95 <= 15.0, "{rtt} ms: {p95}");
    }
}

#[test]
fn a_link_that_gets_faster_is_followed_within_two_seconds() {
    for rtt in [10, 20, 60, 100] {
        let link = step(10.0, 50.0, rtt);
        let (record, _) = run(&link, 10_000);
        let filled = record.time_to_fill(&link, 5_000, 100).unwrap();
        assert!(filled <= 2_500, "{rtt} ms: {filled}");
        assert!(record.queue_in(5_000, 10_000).2 <= 60.0, "{rtt} ms");
    }
}

#[test]
fn a_moving_link_is_used_without_a_long_queue() {
    let (mut used, mut p95, mut count) = (0.0, 0.0, 0.0);
    for seed in 1..=16 {
        let link = lte(3.0 * 1.25f64.powi(seed as i32), 20 + seed * 5, seed);
        let result = measure(&link, 3_000, 20_000);
        assert!(result.used >= 0.68 && result.queue_p95 <= 120.0, "{link:?}: {result:?}");
        (used, p95, count) = (used + result.used, p95 + result.queue_p95, count + 1.0);
    }
    assert!(used / count >= 0.79 && p95 / count <= 65.0, "{} {}", used / count, p95 / count);
}

#[test]
fn a_longer_route_is_not_taken_for_a_queue() {
    for rtt in [20, 60] {
        let link = Link { detour: (5_000, 20), ..Link::new(50.0, rtt, 200.0) };
        let result = measure(&link, 7_000, 15_000);
        assert!(result.used >= 0.97 && result.queue_p95 <= 12.0, "{result:?}");
    }
}

#[test]
fn a_policer_is_found() {
    for (rtt, depth) in [(10, 15_000.0), (20, 30_000.0), (60, 100_000.0)] {
        let policer = Some((20.0 * MEGABIT, depth));
        let link = Link { policer, ..Link::new(100.0, rtt, 200.0) };
        let result = measure(&link, 3_000, 20_000);
        assert!(result.used >= 0.19 && result.loss <= 0.03, "{result:?}");
    }
    for (link, mut random) in links(25) {
        let (rate, depth) = (0.3 * link.rates[0].1, 1e4 + 1e5 * random.uniform());
        let link = Link { policer: Some((rate, depth)), ..link };
        let result = measure(&link, 4_000, 14_000);
        // Fifty packets of a slow link take long.
        let most = if rate < 4.0 * MEGABIT { 0.3 } else { 0.08 };
        assert!(result.used >= 0.27 && result.loss <= most, "{link:?}: {result:?}");
    }
}

#[test]
fn a_loss_based_rival_does_not_starve_us() {
    let mut shares = Vec::new();
    for (buffer, seed) in [(50.0, 1), (70.0, 2), (100.0, 3), (150.0, 4)] {
        let link = Link { rival_from_ms: Some(3_000), seed, ..Link::new(20.0, 30, buffer) };
        let (record, _) = run(&link, 40_000);
        let share = record.utilisation(&link, 10_000, 40_000);
        let rival = record.rival[39_999] - record.rival[9_999];
        assert!(rival as f64 >= 0.15 * link.capacity(10_000, 40_000), "{buffer} ms");
        assert!(record.loss(10_000, 40_000) <= 0.05, "{buffer} ms");
        shares.push(share);
    }
    assert!(shares.iter().all(|&share| share >= 0.06), "{shares:?}");
    assert!(shares.iter().sum::<f64>() / 4.0 >= 0.15, "{shares:?}");
}

#[test]
fn what_the_application_does_not_send_never_lowers_the_rate() {
    let mut link = Link::new(50.0, 20, 200.0);
    link.demand = vec![(0, f64::INFINITY), (5_000, 0.5 * MEGABIT), (20_000, f64::INFINITY)];
    let (record, _) = run(&link, 22_000);
    let before = record.capacity[4_999] as f64;
    assert!(record.capacity[5_200..20_000].iter().all(|&rate| rate as f64 >= 0.98 * before));
    assert!(record.utilisation(&link, 20_100, 22_000) >= 0.98, "the old rate, at once");
    assert!(record.queue_in(20_000, 22_000).2 <= 12.0);
}

#[test]
fn a_stale_rate_is_used_with_care() {
    let mut link = Link::new(50.0, 20, 200.0);
    link.demand = vec![(0, f64::INFINITY), (5_000, 0.5 * MEGABIT), (40_000, f64::INFINITY)];
    let (record, _) = run(&link, 44_000);
    let (fresh, resumed) = (record.capacity[39_990] as f64, record.capacity[40_060] as f64);
    assert!((0.7..0.85).contains(&(resumed / fresh)), "{}", resumed / fresh);
    assert!(record.utilisation(&link, 42_000, 44_000) >= 0.98);
}

#[test]
fn traffic_below_the_rate_raises_a_rate_that_is_too_low() {
    let mut link = Link::new(50.0, 20, 200.0);
    link.demand = vec![(0, 2.0 * MEGABIT)];
    let controller = RateController::new(None, Some((1.8 * MEGABIT) as u64));
    let (record, _) = Simulation::new(link.clone(), controller).run(3_001);
    assert!(record.utilisation(&link, 2_000, 3_000) >= 0.039, "all that is offered");
}

/// 6,000 bytes are sent each ms and arrive in 0.8 ms, 5 ms at a time: a delay that falls.
fn closer_together(controller: &mut RateController) {
    let ms = Duration::from_millis;
    for n in 0..40 {
        let sent_at = Instant::from_millis(6_000) + ms(5) * n;
        let sample = FeedbackSample {
            received_bytes: 100_000_000 + u64::from(n) * 30_000,
            received_at: Instant::from_secs(20_000) + ms(4) * n,
            sent_at: Some(sent_at),
            lowest_transit: None,
            rtt: Some(ms(20)),
            min_rtt: Some(ms(20)),
            acked_packets: 20,
            oldest: None,
            longest_packet: LEN,
            lost_packets: 0,
            is_limited: false,
        };
        controller.on_feedback(&sample, sent_at + ms(20));
    }
}

#[test]
fn what_only_arrives_closer_together_does_not_raise_the_rate() {
    let (_, mut controller) = run(&Link::new(50.0, 20, 100.0), 5_000);
    let before = controller.capacity();
    closer_together(&mut controller);
    assert!(controller.delivered_lately() > Some(before), "as it seems");
    assert_eq!(controller.capacity(), before);
}

#[test]
fn startup_stays_ahead_of_what_was_sent_and_not_of_what_arrives_closer_together() {
    let mut controller = RateController::new(None, None);
    closer_together(&mut controller);
    assert!(!controller.is_tested());
    assert_eq!(controller.delivered_just_now(), Some(7_500_000.0), "as it seems");
    assert_eq!(controller.capacity(), (6_000_000.0 * MOST_OVER_DELIVERY_STARTUP) as u64);
}

#[test]
fn a_limit_is_never_exceeded() {
    let limit = (20.0 * MEGABIT) as u64;
    let link = Link::new(50.0, 20, 200.0);
    let (record, controller) =
        Simulation::new(link.clone(), RateController::new(Some(limit), Some(limit))).run(4_001);
    assert!(record.capacity.iter().all(|&rate| rate <= limit));
    assert!(controller.rate() <= limit);
    assert!(record.utilisation(&link, 1_000, 4_000) >= 0.395);
}

#[test]
fn an_outage_halves_the_rate_and_a_new_route_starts_up_anew() {
    let (_, mut controller) = run(&Link::new(50.0, 20, 200.0), 3_000);
    let before = controller.capacity();
    let mut elsewhere = controller.clone();
    controller.on_outage_end(Instant::from_secs(10));
    assert!((before / 2..=before).contains(&controller.capacity()));
    elsewhere.restart(Instant::from_secs(10));
    assert_eq!(elsewhere.state(), State::Startup);
    assert_eq!(elsewhere.capacity(), before / 2);
    assert_eq!(elsewhere.base_rtt(), None);
}

#[test]
fn a_path_of_which_nothing_is_known_begins_with_ten_packets_in_its_first_round_trip() {
    let first_rate = |mut controller: RateController, rtt: Duration| {
        let at = Instant::from_millis(1_000);
        let sample = FeedbackSample {
            received_bytes: 100,
            received_at: at,
            sent_at: Some(at),
            lowest_transit: None,
            rtt: Some(rtt),
            min_rtt: Some(rtt),
            acked_packets: 1,
            oldest: Some(rtt),
            longest_packet: 100,
            lost_packets: 0,
            is_limited: false,
        };
        controller.on_feedback(&sample, at + rtt);
        controller.capacity()
    };
    let unknown = RateController::new(None, None);
    let mut elsewhere = unknown.clone();
    elsewhere.restart(Instant::ZERO);
    for controller in [unknown, elsewhere] {
        assert_eq!(first_rate(controller, Duration::from_millis(20)), 750_000);
    }
}

proptest! {
    /// Whatever a peer reports, there is a rate within the bounds and something may be sent.
    #[test]
    fn no_report_breaks_the_controller(
        reports in proptest::collection::vec(
            (0u64..200_000, 0u64..3_000_000, -3_000_000i64..3_000_000, 0u64..2_000_000, 0u64..30, any::<[bool; 4]>()),
            1..200,
        ),
    ) {
        let (mut now, mut received_at, mut received_bytes) = (Instant::ZERO, Instant::ZERO, 0);
        let limit = 12_500_000;
        let mut controller = RateController::new(Some(limit), None);
        for (micros, bytes, transit, rtt, lost, [is_limited, has_transit, has_rtt, is_odd]) in reports {
            now += Duration::from_micros(micros);
            received_at += Duration::from_micros(if is_odd { 1 } else { micros });
            // A peer may tell of anything, also of less than before.
            received_bytes = if lost == 8 { bytes } else { received_bytes + bytes };
            let sample = FeedbackSample {
                received_bytes,
                received_at,
                sent_at: has_rtt.then_some(if lost == 9 { Instant::ZERO } else { now }),
                lowest_transit: has_transit.then_some(transit),
                rtt: has_rtt.then(|| Duration::from_micros(rtt)),
                min_rtt: None,
                acked_packets: bytes / LEN,
                oldest: None,
                longest_packet: LEN,
                lost_packets: lost,
                is_limited,
            };
            controller.on_feedback(&sample, now);
            if is_odd && lost == 7 {
                controller.on_outage_end(now);
            }
            prop_assert!((8_000..=limit).contains(&controller.rate()));
            prop_assert!((8_000..=limit).contains(&controller.capacity()));
            prop_assert!((6 * LEN..=MOST_IN_FLIGHT).contains(&controller.in_flight_cap()));
        }
    }
}

#[test]
fn a_peer_that_boasts_has_no_more_on_its_way_than_is_kept() {
    let controller = RateController::new(None, Some(12_500_000_000));
    assert_eq!(controller.in_flight_cap(), MOST_IN_FLIGHT);
}
