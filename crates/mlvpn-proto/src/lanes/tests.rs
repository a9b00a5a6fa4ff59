use super::*;

#[path = "model.rs"]
mod model;

const A: PathId = PathId::from_low_bits(0);
const B: PathId = PathId::from_low_bits(1);

fn lane(number: u16) -> Lane {
    Lane::new(number).unwrap()
}

/// A resequencer behind two paths of 10 and 30 ms, whose packets are their numbers.
struct Bench {
    order: LaneResequencer,
    out: VecDeque<Vec<u8>>,
}

impl Bench {
    /// Both paths are up; nothing is known of them.
    fn fresh() -> Self {
        let mut bench = Self { order: LaneResequencer::default(), out: VecDeque::new() };
        for path in [A, B] {
            bench.order.set_path(path, true, Instant::ZERO, &mut bench.out);
        }
        bench
    }

    /// Both paths have brought packets of lane 1023, sent until 99 ms.
    fn new() -> Self {
        let mut bench = Self::fresh();
        for n in 0..100 {
            bench.receive_in(lane(1023), 2 * n, A, n + 10);
            bench.receive_in(lane(1023), 2 * n + 1, B, n + 30);
        }
        bench.wait_until(190);
        assert_eq!(bench.stats().held_packets, 0);
        bench.order.stats = LaneStats::default();
        bench.out.clear();
        bench
    }

    fn receive_in(&mut self, lane: Lane, seq: u64, path: PathId, ms: u64) -> bool {
        let sent = ms - if path == A { 10 } else { 30 };
        self.insert(lane, seq, path, sent, ms)
    }

    fn receive(&mut self, seq: u64, path: PathId, ms: u64) -> bool {
        self.receive_in(lane(7), seq, path, ms)
    }

    fn insert(&mut self, lane: Lane, seq: u64, path: PathId, sent_ms: u64, ms: u64) -> bool {
        let sent = send_time(sent_ms);
        let arrival = Arrival { lane, seq: LaneSeq::of(seq), path, sent };
        let packet = seq.to_be_bytes().to_vec();
        self.order.insert(arrival, packet, Instant::from_millis(ms), &mut self.out).is_ok()
    }

    fn skip(&mut self, first: u64, count: u16, ms: u64) {
        let now = Instant::from_millis(ms);
        self.order.on_skip(lane(7), LaneSeq::of(first), count, now, &mut self.out);
    }

    fn wait_until(&mut self, ms: u64) {
        let now = Instant::from_millis(ms);
        while let Some(due) = self.order.poll_timeout().filter(|&due| due <= now) {
            self.order.handle_timeout(due, &mut self.out);
        }
    }

    fn delivered(&mut self) -> Vec<u64> {
        self.out.drain(..).map(|p| u64::from_be_bytes(p.try_into().unwrap())).collect()
    }

    fn stats(&self) -> LaneStats {
        self.order.stats()
    }
}

/// The send time on a clock that is far away from the receiver's.
fn send_time(ms: u64) -> SendTime {
    SendTime(SendTime::at(Instant::from_millis(ms)).0.wrapping_add(40_000))
}

#[test]
fn packets_in_order_pass_at_once() {
    let mut bench = Bench::fresh();
    for seq in 0..5 {
        bench.receive(seq, A, 200 + seq);
        assert_eq!(bench.delivered(), [seq]);
    }
    assert_eq!(bench.order.poll_timeout(), None);
    assert_eq!(bench.stats().in_order, 5);
    assert!(bench.order.lanes.iter().all(|state| state.hold.is_none()), "nothing was allocated");
}

#[test]
fn a_hole_delays_its_own_lane_only() {
    let mut bench = Bench::new();
    bench.receive_in(lane(1), 1, A, 200);
    bench.receive_in(lane(2), 0, A, 201);
    bench.receive_in(lane(2), 1, A, 202);
    assert_eq!(bench.delivered(), [0, 1]);
    assert_eq!((bench.stats().held_packets, bench.stats().held_bytes), (1, 8));
}

#[test]
fn the_fast_path_waits_for_the_slow_one() {
    let mut bench = Bench::new();
    bench.receive(0, A, 200);
    bench.receive(2, A, 210);
    bench.receive(3, A, 211);
    bench.wait_until(229);
    assert_eq!(bench.delivered(), [0], "1 is still on its way over the slow path");
    bench.receive(1, B, 229);
    assert_eq!(bench.delivered(), [1, 2, 3]);
    assert_eq!(
        bench.stats(),
        LaneStats { in_order: 4, wait: bench.stats().wait, ..<_>::default() }
    );
    assert_eq!(bench.order.poll_timeout(), None);
}

#[test]
fn the_first_packet_to_come_need_not_be_the_first_sent() {
    let mut bench = Bench::new();
    bench.receive(1, A, 211);
    bench.receive(3, A, 213);
    bench.receive(0, B, 230);
    bench.receive(2, B, 232);
    assert_eq!(bench.delivered(), [0, 1, 2, 3]);
}

#[test]
fn a_hole_is_given_up_when_every_path_has_passed_it() {
    let mut bench = Bench::new();
    bench.receive(0, A, 200);
    bench.receive(2, A, 201); // sent at 191
    bench.receive(3, A, 203);
    bench.receive_in(lane(9), 0, B, 222); // sent at 192
    assert_eq!(bench.delivered(), [0, 0], "it may still be displaced by a millisecond");
    bench.receive_in(lane(9), 1, B, 223);
    assert_eq!(bench.delivered(), [1, 2, 3], "whatever lane the proof came in");
    assert_eq!(bench.stats().proven_lost, 1);
    assert_eq!(bench.stats().deadline, 0);
}

#[test]
fn a_proven_hole_is_held_for_its_repair() {
    let mut bench = Bench::new();
    bench.order.set_repair_time(Some(Duration::from_millis(26)));
    bench.receive(0, A, 200);
    bench.receive(2, A, 201);
    bench.receive(3, A, 203);
    bench.receive_in(lane(9), 0, B, 223);
    bench.wait_until(240);
    assert_eq!(bench.delivered(), [0, 0]);
    bench.receive(1, A, 248);
    assert_eq!(bench.delivered(), [1, 2, 3]);

    bench.receive(5, A, 250);
    bench.receive(6, A, 252);
    bench.receive_in(lane(9), 1, B, 273);
    bench.wait_until(298);
    assert_eq!(bench.delivered(), [1]);
    bench.wait_until(299);
    assert_eq!(bench.delivered(), [5, 6], "26 ms after the proof");
    assert_eq!(bench.stats().proven_lost, 1);
}

#[test]
fn holes_proven_together_are_given_up_together() {
    let mut bench = Bench::new();
    bench.order.set_repair_time(Some(Duration::from_millis(26)));
    bench.order.set_path(B, false, Instant::from_millis(190), &mut bench.out);
    for (seq, ms) in [(0, 200), (3, 201), (5, 201), (7, 201), (8, 203)] {
        bench.receive(seq, A, ms);
    }
    bench.wait_until(220);
    bench.receive(1, A, 220);
    bench.wait_until(228);
    assert_eq!(bench.delivered(), [0, 1]);
    bench.wait_until(230);
    assert_eq!(bench.delivered(), [3, 5, 7, 8], "a repair in part does not prolong the wait");
    assert_eq!(bench.stats().proven_lost, 3);
}

#[test]
fn the_repair_time_is_bounded() {
    let mut bench = Bench::new();
    bench.order.set_repair_time(Some(Duration::MAX));
    assert_eq!(bench.order.repair_time, Some(MAX_REPAIR_TIME));
    bench.order.set_repair_time(Some(Duration::ZERO));
    assert_eq!(bench.order.repair_time, None);
}

#[test]
fn a_hole_is_given_up_at_its_deadline_when_a_path_is_silent() {
    let mut bench = Bench::new();
    bench.receive(0, A, 200);
    bench.receive(2, A, 210);
    bench.receive(3, A, 215);
    bench.wait_until(231);
    assert_eq!(bench.delivered(), [0]);
    bench.wait_until(234);
    assert_eq!(bench.delivered(), [2, 3], "20 ms later than the fast path, 4 σ, and 2 ms");
    assert_eq!(bench.stats().deadline, 1);
    let wait = bench.stats().wait.as_millis();
    assert!((21..=24).contains(&wait), "{wait}");
}

#[test]
fn without_proof_the_deadline_leaves_time_for_the_repair() {
    let mut bench = Bench::new();
    bench.order.set_repair_time(Some(Duration::from_millis(25)));
    bench.receive(1, A, 210);
    bench.wait_until(256);
    assert_eq!(bench.delivered(), []);
    bench.wait_until(259);
    assert_eq!(bench.delivered(), [1]);
    assert_eq!(bench.stats().deadline, 1);
}

#[test]
fn what_a_silent_path_lost_is_waited_for_while_it_comes() {
    let mut bench = Bench::new();
    bench.order.set_repair_time(Some(Duration::from_millis(25)));
    // What A was given until it died, and one packet of each three that B brings.
    for n in 0..10 {
        bench.receive(3 * n + 2, B, 210 + n);
    }
    for n in 0..10 {
        bench.wait_until(230 + 15 * n);
        let repairs =
            [3 * n, 3 * n + 1].map(|seq| bench.insert(lane(7), seq, B, 200 + 15 * n, 230 + 15 * n));
        assert_eq!(repairs, [true, true]);
    }
    assert_eq!(bench.delivered(), (0..30).collect::<Vec<_>>(), "135 ms after the first of them");
    assert_eq!((bench.stats().late, bench.stats().deadline), (0, 0));

    for n in 10..12 {
        bench.receive(3 * n + 2, B, 400);
    }
    bench.insert(lane(7), 30, B, 411, 430);
    bench.wait_until(479);
    assert_eq!(bench.delivered(), [30]);
    bench.wait_until(481);
    assert_eq!(bench.delivered(), [32, 35], "nothing came for 50 ms");
}

#[test]
fn a_slow_path_that_was_quiet_for_long_is_waited_for() {
    let mut bench = Bench::new();
    for seq in 0..2_000 {
        bench.receive(seq, A, 1_000 + seq);
    }
    bench.delivered();
    bench.receive(2_001, A, 3_010);
    bench.receive(2_002, A, 3_015);
    bench.wait_until(3_029);
    assert_eq!(bench.delivered(), []);
    bench.receive(2_000, B, 3_029);
    assert_eq!(bench.delivered(), [2_000, 2_001, 2_002]);
}

#[test]
fn a_slow_path_that_never_carried_data_is_waited_for_by_its_round_trip() {
    let mut bench = Bench::fresh();
    bench.order.set_round_trip(A, Duration::from_millis(20));
    bench.order.set_round_trip(B, Duration::from_millis(60));
    for seq in 0..50 {
        bench.receive(seq, A, 100 + seq);
    }
    bench.receive(51, A, 210);
    bench.wait_until(229);
    bench.receive(50, B, 229);
    assert!(bench.delivered().is_sorted());
    assert_eq!(bench.stats().late, 0);
}

#[test]
fn a_path_on_which_nothing_is_outstanding_does_not_block_the_proof() {
    let mut bench = Bench::new();
    bench.receive(0, A, 200);
    bench.receive(2, A, 201); // sent at 191
    bench.receive(3, A, 204);
    assert_eq!(bench.delivered(), [0]);
    let now = Instant::from_millis(205);
    bench.order.on_path_clear(B, send_time(191), now, &mut bench.out);
    assert_eq!(bench.delivered(), [], "a packet may have been sent after that, before number 2");
    bench.order.on_path_clear(B, send_time(192), now, &mut bench.out);
    assert_eq!(bench.delivered(), [2, 3]);
    assert_eq!(bench.stats().proven_lost, 1);

    // The deadline does not wait for it either.
    bench.order.on_path_clear(B, send_time(300), Instant::from_millis(300), &mut bench.out);
    bench.receive(5, A, 301);
    bench.wait_until(305);
    assert_eq!(bench.delivered(), [5]);
    assert_eq!(bench.stats().deadline, 1);
}

#[test]
fn a_path_that_went_down_is_not_waited_for() {
    let mut bench = Bench::new();
    bench.receive(0, A, 200);
    bench.receive(2, A, 210);
    bench.receive(3, A, 212);
    assert_eq!(bench.delivered(), [0]);
    bench.order.set_path(B, false, Instant::from_millis(213), &mut bench.out);
    assert_eq!(bench.delivered(), [2, 3]);

    // Up again it counts again, with what was known of its delay.
    bench.order.set_path(B, true, Instant::from_millis(300), &mut bench.out);
    bench.receive(5, A, 310);
    bench.receive(6, A, 320);
    bench.wait_until(329);
    assert_eq!(bench.delivered(), []);
    bench.receive(4, B, 330);
    assert_eq!(bench.delivered(), [4, 5, 6]);
}

#[test]
fn a_skip_ends_the_wait() {
    let mut bench = Bench::new();
    bench.receive(0, A, 200);
    bench.receive(3, A, 201);
    bench.skip(1, 1, 202);
    assert_eq!(bench.delivered(), [0], "2 may come");
    bench.skip(2, 1, 203);
    assert_eq!(bench.delivered(), [3]);
    bench.skip(5, 2, 204);
    bench.skip(5, 1, 204);
    bench.receive(7, A, 205);
    assert_eq!(bench.delivered(), [], "4 may come");
    bench.receive(4, A, 206);
    assert_eq!(bench.delivered(), [4, 7]);
    assert_eq!(bench.stats().skipped, 4);
    assert_eq!(bench.order.poll_timeout(), None);
    assert!(bench.order.lanes[7].hold.is_none());
}

#[test]
fn a_skip_of_what_is_held_or_over_does_no_harm() {
    let mut bench = Bench::new();
    bench.receive(0, A, 200);
    bench.receive(2, A, 201);
    bench.skip(0, 1, 202);
    bench.skip(0, 0, 202);
    bench.skip(0, 5, 202);
    assert_eq!(bench.delivered(), [0, 2]);
    assert_eq!(bench.stats().skipped, 3, "1, 3 and 4");
    bench.receive(3, A, 203);
    bench.receive(5, A, 203);
    assert_eq!(bench.delivered(), [3, 5], "the sender was wrong: it is late");
    bench.skip(100_000, 7, 204);
    for first in (10..4_000).step_by(2) {
        bench.skip(first, 1, 204);
    }
    bench.receive(6, A, 205);
    assert_eq!(bench.delivered(), [6]);
}

#[test]
fn a_late_packet_is_delivered_and_its_copy_is_not() {
    let mut bench = Bench::new();
    bench.receive(0, A, 200);
    bench.receive(2, A, 201);
    bench.wait_until(300);
    assert_eq!(bench.delivered(), [0, 2]);
    assert!(bench.insert(lane(7), 1, B, 195, 301));
    assert!(!bench.insert(lane(7), 1, A, 196, 302));
    assert!(!bench.receive(0, A, 303));
    assert!(!bench.receive(2, A, 303));
    assert_eq!(bench.delivered(), [1]);
    assert_eq!((bench.stats().late, bench.stats().duplicates), (1, 3));
}

#[test]
fn a_copy_of_what_is_held_is_refused() {
    let mut bench = Bench::new();
    assert!(bench.receive(5, A, 201));
    assert!(!bench.receive(5, B, 202));
    assert_eq!((bench.stats().held_packets, bench.stats().duplicates), (1, 1));
}

#[test]
fn displacement_within_a_path_widens_its_allowance_for_a_while() {
    let mut bench = Bench::new();
    assert_eq!(bench.order.progress.allowance(A), Duration::from_millis(1));
    bench.receive(0, A, 200); // sent at 190
    bench.insert(lane(7), 1, A, 182, 201);
    let allowance = bench.order.progress.allowance(A);
    assert_eq!(allowance.as_millis(), 10, "a quarter more than the 8 ms seen");
    bench.order.set_round_trip(A, Duration::from_millis(20));
    assert_eq!(bench.order.progress.allowance(A), Duration::from_millis(5), "RTT / 4");
    bench.order.set_round_trip(A, Duration::from_secs(9));
    for (n, ms) in (0..).zip([35_000, 66_000, 97_000, 130_000, 170_000]) {
        bench.receive(2 + n, A, ms);
    }
    assert_eq!(bench.order.progress.allowance(A), Duration::from_millis(1));
}

#[test]
fn a_clock_that_was_set_back_does_not_prove_everything_lost() {
    let mut bench = Bench::new();
    bench.order.set_path(B, false, Instant::from_millis(190), &mut bench.out);
    bench.receive(0, A, 200);
    bench.insert(lane(9), 0, A, 200 + 1_500, 201);
    bench.insert(lane(9), 1, A, 191, 201);
    bench.receive(2, A, 202);
    assert_eq!(bench.delivered(), [0, 0, 1], "2 came just now");
}

#[test]
fn no_packet_is_held_longer_than_the_cap() {
    let mut bench = Bench::new();
    bench.order.set_repair_time(Some(Duration::from_millis(40)));
    // The slow path has become slower than what is worth waiting for.
    for n in 0..30 {
        bench.insert(lane(9), n, B, 200 + n, 600 + n);
    }
    bench.delivered();
    bench.receive(10, A, 700);
    bench.wait_until(840);
    // What comes behind the hole does not prolong the wait.
    bench.receive(5, A, 840);
    bench.receive(8, A, 841);
    bench.wait_until(849);
    assert_eq!(bench.delivered(), []);
    bench.wait_until(850);
    assert_eq!(bench.delivered(), [5, 8, 10]);
}

#[test]
fn a_jump_far_ahead_releases_what_is_held_in_order() {
    let mut bench = Bench::new();
    bench.receive(0, A, 200);
    bench.receive(2, A, 200);
    bench.receive(4, A, 200);
    bench.receive(1_000_000, A, 201);
    bench.receive(1_000_001, A, 201);
    assert_eq!(bench.delivered(), [0, 2, 4, 1_000_000, 1_000_001]);
    assert_eq!(bench.stats().overflow, 1_000_000 - 3);
    bench.receive(999_999, B, 230);
    assert_eq!(bench.delivered(), [999_999], "late");
    assert!(!bench.receive(3, B, 231), "so old that it may be a copy");
}

#[test]
fn a_full_window_moves_no_further_than_it_must() {
    let mut bench = Bench::new();
    for seq in (1..=4_096).filter(|seq| seq % 2 == 1) {
        bench.receive(seq, A, 200);
    }
    assert_eq!(bench.delivered(), []);
    bench.receive(4_096, A, 200);
    assert_eq!(bench.delivered(), [1], "0 is given up for it");
    bench.receive(2, B, 201);
    assert_eq!(bench.delivered(), [2, 3]);
}

#[test]
fn too_many_packets_or_bytes_release_the_holes_that_are_due_first() {
    let mut bench = Bench::new();
    for n in 0..MAX_PACKETS as u64 {
        bench.receive_in(lane((n % 64) as u16), 1 + n / 64, A, 200 + n % 64);
    }
    assert_eq!((bench.stats().held_packets, bench.delivered()), (MAX_PACKETS, vec![]));
    bench.receive_in(lane(100), 1, A, 300);
    assert_eq!(bench.stats().held_packets, MAX_PACKETS + 1 - 1_024);
    assert_eq!(bench.delivered(), (1..=1_024).collect::<Vec<_>>());
    assert_eq!(bench.stats().overflow, 1);

    let mut bench = Bench::new();
    for n in 0..17u16 {
        let arrival = Arrival { lane: lane(n), seq: LaneSeq::of(1), path: A, sent: send_time(190) };
        let now = Instant::from_millis(200) + Duration::from_micros(n.into());
        bench.order.insert(arrival, vec![0; 1 << 20], now, &mut bench.out).unwrap();
    }
    assert_eq!(bench.stats().held_bytes, MAX_BYTES);
    assert_eq!(bench.out.len(), 1);
}

#[test]
fn a_lane_goes_on_after_its_number_has_wrapped() {
    let mut bench = Bench::new();
    let end = (1 << LaneSeq::BITS) + 100;
    for seq in 0..end {
        bench.receive(seq, A, 200 + seq / 100);
        bench.out.clear();
    }
    assert_eq!(bench.stats().in_order, end);
    assert!(!bench.receive(99, A, 50_000), "a copy, not a number far ahead");
}

#[test]
fn holes_nearly_a_window_long_do_not_lose_the_count() {
    let mut bench = Bench::new();
    let step = MAX_LANE_PACKETS - 96;
    for n in 0..3_200 {
        bench.receive(n * step, A, 200 + n);
    }
    bench.wait_until(4_000);
    assert_eq!(bench.delivered(), (0..3_200).map(|n| n * step).collect::<Vec<_>>());
    assert_eq!(bench.order.lanes[7].next, 3_199 * step + 1);
    assert!(bench.order.lanes[7].next >> LaneSeq::BITS == 3, "it has wrapped three times");
}

#[test]
fn every_number_is_in_order_across_the_wrap() {
    let mut bench = Bench::new();
    let wrap = 1 << LaneSeq::BITS;
    bench.order.lanes[7].next = wrap - 1_000;
    for pair in 0..1_000 {
        let (first, ms) = (wrap - 1_000 + 2 * pair, 1_000 + 20 * pair);
        bench.receive(first + 1, A, ms);
        assert_eq!(bench.delivered(), []);
        bench.receive(first, B, ms + 15);
        assert_eq!(bench.delivered(), [first, first + 1]);
        assert!(!bench.receive(first, B, ms + 16), "a copy from before the wrap");
    }
    assert_eq!(bench.stats().in_order, 2_000);
}
