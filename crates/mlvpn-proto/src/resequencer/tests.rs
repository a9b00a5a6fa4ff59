use super::*;
use proptest::prelude::*;

const A: LinkIndex = LinkIndex(0);
const B: LinkIndex = LinkIndex(1);

/// A resequencer behind two links of 10 and 30 ms, whose packets are their numbers.
struct Bench {
    resequencer: Resequencer,
    delays: DelayTable,
    out: VecDeque<Vec<u8>>,
}

impl Bench {
    fn new(policy: ReorderPolicy) -> Self {
        let mut resequencer = Resequencer::new(policy);
        resequencer.set_carrier(A, true, Instant::ZERO);
        resequencer.set_carrier(B, true, Instant::ZERO);
        let mut bench = Self { resequencer, delays: DelayTable::default(), out: VecDeque::new() };
        for ms in 0..100 {
            bench.delays.on_packet(A, ms, Instant::from_millis(u64::from(ms) + 10));
            bench.delays.on_packet(B, ms, Instant::from_millis(u64::from(ms) + 30));
        }
        bench
    }

    fn receive(&mut self, seq: u64, link: LinkIndex, ms: u64) -> bool {
        let owd = if link == A { 10 } else { 30 };
        let now = Instant::from_millis(ms);
        let delay = self.delays.on_packet(link, (ms - owd) as u16, now);
        let arrival = Arrival { seq: DataSeq(seq), link, delay, may_restart: false };
        let packet = seq.to_be_bytes().to_vec();
        self.resequencer.insert(arrival, packet, &self.delays, now, &mut self.out).is_ok()
    }

    fn wait_until(&mut self, ms: u64) {
        let now = Instant::from_millis(ms);
        while self.resequencer.poll_timeout().is_some_and(|at| at <= now) {
            self.resequencer.handle_timeout(&self.delays, now, &mut self.out);
        }
    }

    fn delivered(&mut self) -> Vec<u64> {
        self.out.drain(..).map(|p| u64::from_be_bytes(p.try_into().unwrap())).collect()
    }
}

#[test]
fn packets_in_order_pass_at_once() {
    let mut bench = Bench::new(ReorderPolicy::Adaptive);
    for seq in 0..5 {
        bench.receive(seq, A, 200 + seq);
        assert_eq!(bench.delivered(), [seq]);
    }
    assert_eq!(bench.resequencer.poll_timeout(), None);
}

#[test]
fn the_fast_link_waits_for_the_slow_one() {
    let mut bench = Bench::new(ReorderPolicy::Adaptive);
    bench.receive(0, A, 200);
    bench.receive(2, A, 210);
    bench.receive(3, A, 211);
    bench.wait_until(225);
    assert_eq!(bench.delivered(), [0], "1 is still on its way over the slow link");
    bench.receive(1, B, 229);
    assert_eq!(bench.delivered(), [1, 2, 3]);
    assert_eq!(bench.resequencer.stats().late, 0);
}

#[test]
fn a_hole_is_given_up_when_every_link_has_passed_it() {
    let mut bench = Bench::new(ReorderPolicy::Adaptive);
    bench.receive(0, A, 200);
    bench.receive(2, B, 201);
    bench.receive(3, A, 201);
    assert_eq!(bench.delivered(), [0], "it may still be displaced by a millisecond");
    bench.wait_until(202);
    assert_eq!(bench.delivered(), [2, 3]);
    assert_eq!(bench.resequencer.stats().proven_lost, 1);
}

#[test]
fn a_hole_is_given_up_at_its_deadline_when_a_link_is_silent() {
    let mut bench = Bench::new(ReorderPolicy::Adaptive);
    bench.receive(0, A, 200);
    bench.receive(2, A, 210);
    bench.wait_until(229);
    assert_eq!(bench.delivered(), [0]);
    bench.wait_until(240);
    assert_eq!(bench.delivered(), [2]);
    assert_eq!(bench.resequencer.stats().deadline, 1);
}

#[test]
fn a_link_that_went_down_is_not_waited_for() {
    let mut bench = Bench::new(ReorderPolicy::Adaptive);
    bench.receive(0, A, 200);
    bench.resequencer.set_carrier(B, false, Instant::from_millis(205));
    bench.receive(2, A, 210);
    bench.wait_until(211);
    assert_eq!(bench.delivered(), [0, 2]);
}

#[test]
fn on_overflow_the_oldest_are_released_in_order() {
    let mut bench = Bench::new(ReorderPolicy::Packets(3));
    bench.receive(0, A, 200);
    for seq in [2, 4, 5] {
        bench.receive(seq, A, 201);
    }
    assert_eq!(bench.delivered(), [0]);
    bench.receive(7, A, 201);
    assert_eq!(bench.delivered(), [2], "no more than it takes to be within the limit");
    bench.receive(3, B, 202);
    assert_eq!(bench.delivered(), [3, 4, 5]);
}

#[test]
fn a_late_packet_is_delivered_and_widens_the_allowance() {
    let mut bench = Bench::new(ReorderPolicy::Adaptive);
    bench.receive(0, A, 200);
    bench.receive(2, A, 201);
    bench.receive(3, B, 201);
    bench.wait_until(203);
    bench.receive(1, A, 207);
    assert_eq!(bench.delivered(), [0, 2, 3, 1]);
    assert!(bench.resequencer.displacement() >= Duration::from_millis(7));
}

#[test]
fn a_second_copy_is_refused() {
    let mut bench = Bench::new(ReorderPolicy::Adaptive);
    assert!(bench.receive(0, A, 200));
    assert!(bench.receive(5, A, 201));
    assert!(!bench.receive(5, B, 202));
}

#[test]
fn a_link_that_the_peer_does_not_use_is_not_waited_for() {
    let mut bench = Bench::new(ReorderPolicy::Adaptive);
    // B is up, and slow, but brings no data.
    for seq in 0..2_000 {
        bench.receive(seq, A, 200 + seq);
    }
    bench.delivered();
    bench.receive(2_001, A, 2_201);
    bench.wait_until(2_202);
    assert_eq!(bench.delivered(), [2_001]);
    assert_eq!(bench.resequencer.stats().proven_lost, 1);

    // Once it brings something, it is waited for again.
    bench.receive(2_002, B, 2_210);
    bench.delivered();
    bench.receive(2_004, A, 2_215);
    bench.wait_until(2_220);
    assert_eq!(bench.delivered(), []);
    bench.receive(2_003, B, 2_233);
    assert_eq!(bench.delivered(), [2_003, 2_004]);
}

#[test]
fn one_forged_number_does_not_end_the_order_for_good() {
    let mut bench = Bench::new(ReorderPolicy::Adaptive);
    bench.receive(0, A, 200);
    bench.receive(1 << 62, A, 201);
    bench.wait_until(900);
    bench.delivered();
    for seq in 1..100 {
        bench.receive(seq, A, 1_000 + seq);
    }
    bench.wait_until(2_000);
    bench.delivered();
    // A fast and a slow link again in order.
    bench.receive(1_001, A, 2_101);
    bench.receive(1_000, B, 2_110);
    bench.wait_until(3_000);
    assert_eq!(bench.delivered(), [1_000, 1_001]);
}

#[test]
fn switched_off_it_delivers_as_they_come() {
    let mut bench = Bench::new(ReorderPolicy::Off);
    for seq in [3, 1, 2] {
        bench.receive(seq, A, 200);
    }
    assert_eq!(bench.delivered(), [3, 1, 2]);
}

#[test]
fn a_restarted_peer_counts_from_zero() {
    let mut bench = Bench::new(ReorderPolicy::Adaptive);
    bench.receive(1_000_000, A, 200);
    bench.receive(1_000_002, A, 200);
    assert_eq!(bench.delivered(), [], "the first packets may still be on their way");
    let now = Instant::from_millis(300);
    let delay = bench.delays.on_packet(A, 290, now);
    let arrival = Arrival { seq: DataSeq(0), link: A, delay, may_restart: true };
    bench
        .resequencer
        .insert(arrival, 0u64.to_be_bytes().to_vec(), &bench.delays, now, &mut bench.out)
        .unwrap();
    bench.receive(1, A, 301);
    assert_eq!(bench.delivered(), [1_000_000, 1_000_002, 0, 1]);
}

#[test]
fn the_first_packet_to_come_need_not_be_the_first_sent() {
    for start in [0, 5_000] {
        let mut bench = Bench::new(ReorderPolicy::Adaptive);
        bench.receive(start + 1, A, 211);
        bench.receive(start + 3, A, 213);
        bench.receive(start, B, 230);
        bench.receive(start + 2, B, 232);
        bench.wait_until(300);
        assert_eq!(bench.delivered(), [start, start + 1, start + 2, start + 3]);
        assert_eq!(bench.resequencer.stats().deadline, 0, "nothing was missing");
    }
}

#[test]
fn a_jump_far_ahead_keeps_memory_bounded_and_order() {
    let mut bench = Bench::new(ReorderPolicy::Adaptive);
    bench.receive(0, A, 200);
    bench.receive(2, A, 200);
    bench.receive(u64::MAX - 5, A, 201);
    assert_eq!(bench.delivered(), [0, 2, u64::MAX - 5]);
    assert!(bench.resequencer.window.len() <= MAX_PACKETS);
}

proptest! {
    /// Whatever is lost, and however the links interleave: nothing is delivered twice, nothing
    /// is kept for ever, and packets of links that keep their order come out in order.
    #[test]
    fn links_that_keep_order_never_cause_reordering(
        plan in proptest::collection::vec((any::<bool>(), 0u8..10), 1..400)
    ) {
        let mut bench = Bench::new(ReorderPolicy::Adaptive);
        // The first packet to come defines where the order begins.
        bench.receive(0, A, 190);
        bench.delivered();
        let mut arrivals: Vec<(u64, u64, LinkIndex)> = Vec::new();
        for (seq, (is_slow, fate)) in (1..).zip(&plan) {
            if *fate == 0 { continue; }
            let (link, owd) = if *is_slow { (B, 30) } else { (A, 10) };
            arrivals.push((200 + seq + owd, seq, link));
        }
        arrivals.sort_by_key(|&(at, seq, _)| (at, seq));
        let sent = arrivals.len();
        let mut delivered = Vec::new();
        for (at, seq, link) in arrivals {
            bench.wait_until(at);
            delivered.extend(bench.delivered());
            prop_assert!(bench.receive(seq, link, at));
            delivered.extend(bench.delivered());
        }
        bench.wait_until(10_000);
        delivered.extend(bench.delivered());
        prop_assert_eq!(delivered.len(), sent);
        prop_assert!(delivered.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", delivered);
        prop_assert_eq!(bench.resequencer.stats().held, 0);
    }
}
