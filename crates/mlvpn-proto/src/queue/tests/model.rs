//! Random callers, against what must hold of every queue.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What a caller may do.
#[derive(Clone, Debug)]
enum Step {
    Push { lane: u16, len: usize, is_ect: bool },
    Pop { lanes: u8, max_len: usize, is_armed: bool },
    Wait { micros: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u16..8, 24usize..1600, any::<bool>())
            .prop_map(|(lane, len, is_ect)| Step::Push { lane, len, is_ect }),
        6 => (any::<u8>(), prop_oneof![Just(2000usize), Just(800)], any::<bool>())
            .prop_map(|(lanes, max_len, is_armed)| Step::Pop { lanes, max_len, is_armed }),
        4 => (0u64..40_000).prop_map(|micros| Step::Wait { micros }),
    ]
}

/// The queue beside a list of what should be in each lane.
struct Model {
    queue: IngressQueue,
    lanes: BTreeMap<usize, VecDeque<(u32, usize)>>,
    limits: QueueLimits,
    now: Instant,
    next_id: u32,
    /// Packets that were dropped, as the queue counts them and as its buffers came back.
    counted: u64,
    lost: u64,
}

impl Model {
    fn new(limits: QueueLimits) -> Self {
        let queue = IngressQueue::new(PacketKind::Ip, limits);
        Self { queue, lanes: BTreeMap::new(), limits, now: at(0), next_id: 0, counted: 0, lost: 0 }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Push { lane: number, len, is_ect } => {
                let id = self.next_id;
                self.next_id += 1;
                self.queue.push(packet(id, len, is_ect), lane(number), self.now);
                self.lanes.entry(usize::from(number)).or_default().push_back((id, len));
            }
            Step::Pop { lanes, max_len, is_armed } => self.pop(lanes, max_len, is_armed),
            Step::Wait { micros } => self.now += Duration::from_micros(micros),
        }
        self.forget_dropped();
        self.check();
    }

    fn pop(&mut self, lanes: u8, max_len: usize, is_armed: bool) {
        let mut asked = 0;
        let verdict = |view: &LaneView<'_>| {
            asked += 1;
            let may_use = lanes & 1 << view.lane.slot() != 0 && view.head.len() <= max_len;
            match (may_use, is_armed) {
                (false, _) => Verdict::Pass,
                (true, false) => TAKE,
                (true, true) => CODEL,
            }
        };
        let backlogged = self.queue.waiting().count();
        let popped = self.queue.pop(verdict, self.now);
        let dropped = self.queue.take_counts().codel_dropped;
        self.counted += dropped;
        assert!(asked <= backlogged + dropped as usize);
        assert!(is_armed || dropped == 0);
        self.forget_dropped();
        match popped {
            Some(popped) => {
                let waiting = self.lanes.get_mut(&popped.lane.slot()).unwrap();
                let head = waiting.pop_front();
                assert_eq!(head, Some((id_of(&popped.packet), popped.packet.len())), "in order");
                assert!(popped.packet.len() <= max_len && lanes & 1 << popped.lane.slot() != 0);
            }
            None => assert!(self.lanes.iter().all(|(slot, waiting)| {
                waiting.front().is_none_or(|(_, len)| lanes & 1 << slot == 0 || *len > max_len)
            })),
        }
    }

    /// Takes what the queue dropped out of the model: always the oldest of a lane.
    fn forget_dropped(&mut self) {
        for packet in self.queue.drain_dropped() {
            let id = id_of(&packet);
            let waiting = self
                .lanes
                .values_mut()
                .find(|waiting| waiting.front().is_some_and(|(front, _)| *front == id));
            waiting.expect("what is dropped was at the head of a lane").pop_front();
            self.lost += 1;
        }
    }

    fn check(&mut self) {
        let counts = self.queue.take_counts();
        self.counted += counts.codel_dropped + counts.overflow;
        assert_eq!(self.counted, self.lost);
        let footprint = |waiting: &VecDeque<(u32, usize)>| {
            waiting.iter().map(|(_, len)| (*len).max(512)).sum::<usize>()
        };
        for (slot, waiting) in &self.lanes {
            assert!(footprint(waiting) <= self.limits.per_lane);
            let state = self.queue.lane(lane(*slot as u16));
            assert_eq!(state.packets, waiting.len());
            assert_eq!(state.bytes, waiting.iter().map(|(_, len)| len).sum::<usize>());
        }
        assert!(self.lanes.values().map(footprint).sum::<usize>() <= self.limits.total);
        assert_eq!(self.queue.packets(), self.lanes.values().map(VecDeque::len).sum::<usize>());
        let backlogged = self.lanes.values().filter(|waiting| !waiting.is_empty()).count();
        assert_eq!(self.queue.waiting().count(), backlogged);
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_uncounted_or_overtakes_in_its_lane(
        steps in proptest::collection::vec(step(), 1..400),
        total in 0usize..60_000,
        per_lane in 0usize..30_000,
    ) {
        let mut model = Model::new(QueueLimits { total, per_lane });
        for step in &steps {
            model.step(step);
        }
        while model.queue.packets() > 0 {
            model.step(&Step::Pop { lanes: 0xff, max_len: 2000, is_armed: false });
        }
        prop_assert_eq!(model.queue.bytes(), 0);
    }

    #[test]
    fn backlogged_lanes_are_never_more_than_a_quantum_and_a_packet_apart(
        lens in proptest::collection::vec(proptest::collection::vec(40usize..1514, 60), 2..5),
        pops in 1usize..110,
    ) {
        let mut queue = queue();
        for (number, lens) in (0..).zip(&lens) {
            for len in lens {
                queue.push(packet(0, *len, false), lane(number), at(0));
            }
        }
        let mut bytes = vec![0usize; lens.len()];
        for _ in 0..pops {
            let popped = queue.pop(|_| TAKE, at(0)).unwrap();
            bytes[popped.lane.slot()] += popped.packet.len();
            if queue.waiting().count() < lens.len() {
                break;
            }
            let (least, most) = (bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
            prop_assert!(most - least <= 2 * MIN_QUANTUM, "{:?}", bytes);
        }
    }
}
