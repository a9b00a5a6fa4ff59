//! Random traffic over random paths that keep their order, against what must hold of the outcome.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const LANES: u16 = 4;

/// One packet as it is sent.
#[derive(Clone, Copy, Debug)]
struct Step {
    lane: u16,
    path: u8,
    /// µs after the packet before it.
    gap: u64,
    /// µs on top of the path's delay.
    jitter: u64,
    /// 0 is lost, 1 comes twice, 2 is sent again on another path.
    fate: u8,
}

fn step(max_jitter: u64, fates: core::ops::Range<u8>) -> impl Strategy<Value = Step> {
    (0..LANES, 0u8..3, 0u64..2_000, 0..=max_jitter, fates)
        .prop_map(|(lane, path, gap, jitter, fate)| Step { lane, path, gap, jitter, fate })
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Packet {
    arrives: u64,
    lane: u16,
    seq: u64,
    path: u8,
    sent: u64,
}

/// Paths that deliver in the order in which they were given the packets.
struct Paths {
    delays: [u64; 3],
    last: [u64; 3],
    arrivals: Vec<Packet>,
}

impl Paths {
    fn send(&mut self, lane: u16, seq: u64, path: u8, sent: u64, jitter: u64) {
        let slot = usize::from(path);
        let arrives = self.last[slot].max(sent + self.delays[slot] + jitter);
        self.last[slot] = arrives;
        self.arrivals.push(Packet { arrives, lane, seq, path, sent });
    }

    /// All packets in the order in which they arrive; those sent again come 20 ms later.
    fn carry(delays: [u64; 3], steps: &[Step], from: u64) -> Vec<Packet> {
        let mut sends = Vec::new();
        let mut now = from;
        let mut next = [0u64; LANES as usize];
        for step in steps {
            now += step.gap;
            let seq = next[usize::from(step.lane)];
            next[usize::from(step.lane)] += 1;
            if step.fate != 0 {
                sends.push((now, step.lane, seq, step.path, step.jitter));
            }
            if step.fate == 1 {
                sends.push((now, step.lane, seq, step.path, step.jitter));
            }
            if step.fate == 2 {
                sends.push((now + 20_000, step.lane, seq, (step.path + 1) % 3, step.jitter));
            }
        }
        sends.sort_by_key(|&(at, ..)| at);
        let mut paths = Self { delays, last: [0; 3], arrivals: Vec::new() };
        for (at, lane, seq, path, jitter) in sends {
            paths.send(lane, seq, path, at, jitter);
        }
        paths.arrivals.sort_by_key(|packet| packet.arrives);
        paths.arrivals
    }
}

/// What came out, and when.
#[derive(Default)]
struct Outcome {
    /// (lane, number), time of delivery.
    delivered: Vec<(u16, u64, u64)>,
    out: VecDeque<Vec<u8>>,
    now: Instant,
}

impl Outcome {
    fn drain(&mut self, now: Instant) {
        self.now = now;
        for packet in self.out.drain(..) {
            let word = u64::from_be_bytes(packet.try_into().unwrap());
            self.delivered.push(((word >> 48) as u16, word & 0xFFFF_FFFF_FFFF, now.as_micros()));
        }
    }

    fn wait_until(&mut self, order: &mut LaneResequencer, now: Instant) {
        while let Some(due) = order.poll_timeout().filter(|&due| due <= now) {
            // What came just now may be behind a hole that is overdue.
            let due = due.max(self.now);
            order.handle_timeout(due, &mut self.out);
            self.drain(due);
        }
    }

    fn receive(&mut self, order: &mut LaneResequencer, packet: Packet) -> bool {
        let now = Instant::from_micros(packet.arrives);
        self.wait_until(order, now);
        let arrival = Arrival {
            lane: lane(packet.lane),
            seq: LaneSeq::of(packet.seq),
            path: PathId::from_low_bits(packet.path),
            sent: SendTime(SendTime::at(Instant::from_micros(packet.sent)).0.wrapping_sub(999)),
        };
        let bytes = (u64::from(packet.lane) << 48 | packet.seq).to_be_bytes().to_vec();
        let taken = order.insert(arrival, bytes, now, &mut self.out);
        self.drain(now);
        taken.is_ok()
    }
}

fn order_of_three_paths() -> LaneResequencer {
    let mut order = LaneResequencer::default();
    for path in 0..3 {
        order.set_path(PathId::from_low_bits(path), true, Instant::ZERO, &mut VecDeque::new());
    }
    order
}

proptest! {
    /// Whatever is lost, doubled and delayed: everything that came is delivered once, within the
    /// cap, and what is out of order was counted.
    #[test]
    fn everything_is_delivered_once_and_in_order_unless_counted_late(
        steps in proptest::collection::vec(step(60_000, 0..12), 1..400),
        delays in [0u64..120_000, 0u64..120_000, 0u64..300_000],
        repair in proptest::option::of(0u64..50),
    ) {
        let mut order = order_of_three_paths();
        order.set_repair_time(repair.map(Duration::from_millis));
        let mut outcome = Outcome::default();
        let mut came = BTreeMap::new();
        let mut refused = 0;
        for packet in Paths::carry(delays, &steps, 1_000_000) {
            let is_new = !came.contains_key(&(packet.lane, packet.seq));
            prop_assert_eq!(outcome.receive(&mut order, packet), is_new);
            came.entry((packet.lane, packet.seq)).or_insert(packet.arrives);
            refused += u64::from(!is_new);
            prop_assert_eq!(order.stats().held_packets, came.len() - outcome.delivered.len());
        }
        outcome.wait_until(&mut order, Instant::from_secs(100));
        prop_assert_eq!(order.stats().held_packets, 0);
        prop_assert_eq!(order.poll_timeout(), None);
        prop_assert!(order.lanes.iter().all(|state| state.hold.is_none()));

        let stats = order.stats();
        let mut highest = BTreeMap::new();
        let mut late = 0;
        for &(lane, seq, at) in &outcome.delivered {
            let held = at - came[&(lane, seq)];
            prop_assert!(held <= MAX_WAIT_IN_REPAIR.as_micros() as u64, "held for {} µs", held);
            let highest = highest.entry(lane).or_insert(seq);
            late += u64::from(seq < *highest);
            *highest = seq.max(*highest);
        }
        let distinct: BTreeSet<_> = outcome.delivered.iter().map(|d| (d.0, d.1)).collect();
        prop_assert_eq!(distinct.len(), outcome.delivered.len(), "delivered twice");
        prop_assert_eq!(distinct.len(), came.len());
        prop_assert_eq!(stats.late, late);
        prop_assert_eq!(stats.duplicates, refused);
        prop_assert_eq!(stats.in_order + stats.late, came.len() as u64);
        prop_assert_eq!(stats.held_bytes, 0);
    }

    /// Paths whose delays are known and steady never cause reordering, also when packets are lost.
    #[test]
    fn steady_paths_never_cause_reordering(
        steps in proptest::collection::vec(step(0, 0..12), 1..400),
        delays in [0u64..100_000, 0u64..100_000, 0u64..100_000],
    ) {
        // Packets that are sent again after they were given up are late by right.
        let steps: Vec<_> =
            steps.into_iter().map(|s| Step { fate: if s.fate == 2 { 3 } else { s.fate }, ..s }).collect();
        let mut order = order_of_three_paths();
        let mut outcome = Outcome::default();
        for n in 0..100 {
            for path in 0..3 {
                let sent = 10_000 * n;
                let arrives = sent + delays[usize::from(path)];
                let packet = Packet { arrives, lane: 99, seq: 3 * n + u64::from(path), path, sent };
                outcome.receive(&mut order, packet);
            }
        }
        outcome.wait_until(&mut order, Instant::from_millis(1_300));
        let late = order.stats().late;
        for packet in Paths::carry(delays, &steps, 1_300_000) {
            outcome.receive(&mut order, packet);
        }
        outcome.wait_until(&mut order, Instant::from_secs(100));
        prop_assert_eq!(order.stats().late, late);
        prop_assert_eq!(order.stats().held_packets, 0);
    }

    /// A peer that sends nonsense gets nonsense, and no more memory than is its due.
    #[test]
    fn nonsense_does_no_harm(
        steps in proptest::collection::vec(
            (0u8..6, 0u16..3, any::<u32>(), any::<u16>(), 0u64..400_000), 1..300),
    ) {
        let mut order = order_of_three_paths();
        let mut outcome = Outcome::default();
        let mut now = Instant::from_secs(1);
        for (kind, lane_number, word, half, gap) in steps {
            now += Duration::from_micros(gap);
            let (lane, sent) = (lane(lane_number), SendTime(half));
            let path = PathId::from_low_bits((word >> 24) as u8);
            let seq = match kind {
                0 | 1 => LaneSeq::of(word.into()),
                _ => LaneSeq::of(order.lanes[lane.slot()].next + u64::from(word % 5_000)),
            };
            match kind {
                4 => order.on_skip(lane, seq, half, now, &mut outcome.out),
                5 if half % 2 == 0 => order.on_path_clear(path, sent, now, &mut outcome.out),
                5 => order.set_path(path, half % 4 == 1, now, &mut outcome.out),
                _ => {
                    let arrival = Arrival { lane, seq, path, sent };
                    let _ = order.insert(arrival, vec![0; 8], now, &mut outcome.out);
                }
            }
            order.set_round_trip(path, Duration::from_micros(word.into()));
            outcome.drain(now);
            outcome.wait_until(&mut order, now);
            prop_assert!(order.poll_timeout().is_none_or(|due| due <= now + MAX_WAIT_IN_REPAIR));
        }
        outcome.wait_until(&mut order, now + MAX_WAIT_IN_REPAIR);
        prop_assert_eq!((order.stats().held_packets, order.stats().held_bytes), (0, 0));
    }
}
