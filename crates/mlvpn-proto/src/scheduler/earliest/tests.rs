//! What a lane gets, decision by decision.

use super::*;

const MEGABIT: f64 = 125_000.0;
const FAST: PathId = PathId::from_low_bits(0);
const SLOW: PathId = PathId::from_low_bits(1);
const LEN: usize = 1_440;

fn path(id: PathId, megabits: f64, delay_ms: f64, loss: f64) -> PathView {
    PathView {
        id,
        opens_in: 0.0,
        rate: megabits * MEGABIT,
        delay: delay_ms * 1e3,
        deviation: 0.0,
        loss,
        is_lossy: false,
        rtt: 2.0 * delay_ms * 1e3,
        max_packet: 1_500,
        is_full: false,
        is_untested: false,
        may_carry_more: false,
        steady_delay: delay_ms * 1e3,
        is_metered: false,
        rank: 0,
    }
}

/// A flow over a path of 50 Mbit/s and one of 20 that is 30 ms longer.
struct Bench {
    scheduler: Earliest,
    field: Field,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let chosen = vec![path(FAST, 50.0, 10.0, 0.0), path(SLOW, 20.0, 40.0, 0.0)];
        let field = Field { chosen, ..Field::default() };
        Self { scheduler: Earliest::default(), field, now: Instant::from_secs(1) }
    }

    fn offer(&mut self, packets: usize, path: PathId) -> Choice {
        let head = [0; LEN];
        let lane = LaneView {
            lane: Lane::new(1).expect("a lane"),
            is_sparse: false,
            bytes: packets * LEN,
            packets,
            head: &head,
            policy: None,
        };
        let (field, now) = (&self.field, self.now);
        self.scheduler.count(std::iter::once(lane), now);
        self.scheduler.choose(&lane, path, (field, Policy::Bond), now)
    }

    /// The flow sends so much for a time, and `waiting` packets wait at each millisecond; its queue runs empty now and
    /// then if they are few.
    fn send(&mut self, megabits: f64, waiting: usize, ms: u64) {
        let mut credit = 0.0;
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            credit += megabits * MEGABIT / 1e3;
            for path in [FAST, SLOW] {
                let _ = self.offer(waiting, path);
            }
            while credit >= LEN as f64 {
                credit -= LEN as f64;
                let lane = Lane::new(1).expect("a lane");
                self.scheduler.on_sent(lane, LEN, waiting <= 10, self.now);
            }
        }
    }

    fn is_striped(&self) -> bool {
        self.scheduler.striped() == 1
    }

    /// Until a queue of 200 packets, 46 ms of the fast path, has had the lane striped that had filled the fast path.
    fn stripe(&mut self) {
        self.send(46.0, 100, 300);
        self.send(46.0, 200, 300);
        assert!(self.is_striped());
    }
}

#[test]
fn a_queue_longer_than_the_difference_of_the_delays_stripes_a_lane() {
    let mut bench = Bench::new();
    bench.send(46.0, 100, 1_000);
    assert!(!bench.is_striped(), "23 ms of queue, and the slow path is 30 ms longer");
    bench.stripe();
}

#[test]
fn a_lane_that_one_path_would_do_for_is_pinned_again_without_a_pause() {
    let mut bench = Bench::new();
    bench.stripe();
    bench.send(64.0, 50, 3_000);
    assert!(bench.is_striped(), "it makes use of both");
    bench.send(43.0, 5, 1_000);
    assert!(!bench.is_striped(), "86 % of what the fast path carries");
    bench.send(46.0, 200, 20);
    assert!(bench.is_striped(), "as soon as it is of use");
}

#[test]
fn a_lane_that_needs_striping_keeps_it_though_its_queue_runs_empty() {
    let mut bench = Bench::new();
    bench.stripe();
    bench.send(48.0, 5, 5_000);
    assert!(bench.is_striped());
}

#[test]
fn a_lane_that_fails_when_striped_is_left_whole_each_time_for_twice_as_long() {
    let mut bench = Bench::new();
    bench.stripe();
    for seconds in [1, 2, 4] {
        bench.send(10.0, 5, 600);
        assert!(!bench.is_striped(), "it collapsed");
        bench.send(46.0, 200, seconds * 1_000 - 550);
        assert!(!bench.is_striped(), "{seconds} s");
        bench.send(46.0, 200, 600);
        assert!(bench.is_striped(), "{seconds} s");
    }
}

#[test]
fn codel_leaves_the_time_of_repairs() {
    let target = |loss: f64| {
        let paths = [path(FAST, 50.0, 10.0, 0.0), path(SLOW, 50.0, 10.0, loss)];
        codel(paths.iter(), LEN).target.as_micros()
    };
    assert_eq!(target(0.0), 8_000, "0.4 of 20 ms");
    // 417 packets in 100 ms: one of 100 is lost in each interval, and repaired after 20 and 10 ms.
    assert_eq!(target(0.01), 20_000);
    // One loss in four intervals.
    assert_eq!(target(0.0006), 11_000);
}

#[test]
fn codel_leaves_a_packet_and_a_half_where_packets_take_long() {
    let target = |mbit: f64| codel([path(FAST, mbit, 20.0, 0.0)].iter(), LEN).target.as_micros();
    assert_eq!(target(50.0), 16_000, "0.4 of 40 ms");
    let packet = 8 * LEN as u128; // At 1 Mbit/s, in µs.
    assert_eq!(target(1.0), 16_000 + packet * 3 / 2 - 1_000);
}
