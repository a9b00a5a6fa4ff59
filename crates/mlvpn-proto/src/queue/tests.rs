//! Tests of the queue: its order, its bounds, and CoDel at work.

mod model;

use std::collections::VecDeque;

use super::*;
use crate::flow::Ecn;
use crate::time::Duration;

const CODEL: Verdict = Verdict::Take(Some(CodelParams {
    target: Duration::from_millis(5),
    interval: Duration::from_millis(100),
}));
const TAKE: Verdict = Verdict::Take(None);

fn lane(number: u16) -> Lane {
    Lane::new(number).unwrap()
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn queue() -> IngressQueue {
    IngressQueue::new(PacketKind::Ip, QueueLimits::default())
}

/// An IPv4 packet of `len` bytes, 24 at least, that bears `id`.
fn packet(id: u32, len: usize, is_ect: bool) -> Vec<u8> {
    let mut packet = vec![0; len];
    packet[0] = 0x45;
    packet[1] = if is_ect { 2 } else { 0 };
    packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    packet[20..24].copy_from_slice(&id.to_be_bytes());
    packet
}

fn id_of(packet: &[u8]) -> u32 {
    u32::from_be_bytes(*packet[20..].first_chunk().unwrap())
}

/// Pushes `count` packets of `len` bytes into a lane.
fn fill(queue: &mut IngressQueue, number: u16, count: u32, len: usize) {
    for id in 0..count {
        queue.push(packet(id, len, false), lane(number), at(0));
    }
}

/// The lane of the next packet for a path that only the lanes for which `may_use` holds may use.
fn pop_lane(queue: &mut IngressQueue, may_use: impl Fn(usize) -> bool) -> Option<usize> {
    let verdict =
        |view: &LaneView<'_>| if may_use(view.lane.slot()) { TAKE } else { Verdict::Pass };
    queue.pop(verdict, at(0)).map(|popped| popped.lane.slot())
}

/// Pops packets until every lane has used up what it began with.
fn make_old(queue: &mut IngressQueue) {
    while queue.waiting().any(|view| view.is_sparse) {
        queue.pop(|_| TAKE, at(0)).unwrap();
    }
}

#[test]
fn a_lane_that_begins_goes_before_those_with_a_standing_queue() {
    let mut queue = queue();
    fill(&mut queue, 1, 10, 1514);
    fill(&mut queue, 2, 10, 1514);
    make_old(&mut queue);
    queue.push(packet(7, 100, false), lane(3), at(0));
    let popped = queue.pop(|_| TAKE, at(0)).unwrap();
    assert_eq!((popped.lane, popped.was_sparse), (lane(3), true));
    let popped = queue.pop(|_| TAKE, at(0)).unwrap();
    assert!(popped.lane != lane(3) && !popped.was_sparse);
}

#[test]
fn a_lane_that_begins_is_sparse_for_one_quantum() {
    let mut queue = queue();
    fill(&mut queue, 1, 50, 1514);
    make_old(&mut queue);
    fill(&mut queue, 2, 50, 500);
    // 1,514 bytes are used up with the fourth packet of 500.
    let lanes: Vec<_> = (0..6).map(|_| pop_lane(&mut queue, |_| true).unwrap()).collect();
    assert_eq!(lanes, [2, 2, 2, 2, 1, 2]);
}

#[test]
fn a_packet_now_and_then_does_not_starve_a_standing_queue() {
    let mut queue = queue();
    fill(&mut queue, 1, 100, 1514);
    let mut from_bulk = 0;
    for round in 0..100 {
        if queue.lane(lane(2)).packets == 0 {
            queue.push(packet(round, 1000, false), lane(2), at(0));
        }
        from_bulk += u32::from(pop_lane(&mut queue, |_| true) == Some(1));
        // Another path, which may carry lane 2 only, walks over the waiting lane 1.
        pop_lane(&mut queue, |number| number == 2);
    }
    assert!((49..=60).contains(&from_bulk), "{from_bulk}");
}

#[test]
fn a_passed_lane_keeps_its_place() {
    let mut queue = queue();
    fill(&mut queue, 1, 10, 1514);
    fill(&mut queue, 2, 10, 1514);
    fill(&mut queue, 3, 10, 1514);
    make_old(&mut queue);
    for _ in 0..5 {
        assert_eq!(pop_lane(&mut queue, |number| number == 3), Some(3));
    }
    assert_eq!(pop_lane(&mut queue, |number| number != 3), Some(1));
    assert_eq!(pop_lane(&mut queue, |number| number != 3), Some(2));
    assert_eq!(pop_lane(&mut queue, |_| false), None);
}

#[test]
fn a_lane_leaves_the_path_that_is_the_only_one_of_another() {
    let mut queue = queue();
    fill(&mut queue, 1, 300, 1514);
    fill(&mut queue, 2, 300, 1514);
    let mut sent = [0u32; 3];
    for _ in 0..200 {
        sent[pop_lane(&mut queue, |_| true).unwrap()] += 1;
        sent[pop_lane(&mut queue, |number| number == 1).unwrap()] += 1;
    }
    assert!(sent[1].abs_diff(sent[2]) <= 2, "{sent:?}");
}

#[test]
fn every_lane_is_asked_once() {
    let mut queue = queue();
    for number in 0..100 {
        fill(&mut queue, number, 3, 1514);
    }
    for _ in 0..150 {
        queue.pop(|_| TAKE, at(0)).unwrap();
    }
    let mut asked = Vec::new();
    let popped = queue.pop(
        |view| {
            asked.push(view.lane.slot());
            Verdict::Pass
        },
        at(0),
    );
    assert_eq!(popped, None);
    asked.sort_unstable();
    assert_eq!(asked, (0..100).collect::<Vec<_>>());
}

#[test]
fn long_packets_make_the_quantum_longer() {
    let mut queue = queue();
    fill(&mut queue, 1, 20, 9000);
    fill(&mut queue, 2, 200, 900);
    let mut bytes = [0usize; 3];
    for _ in 0..100 {
        let popped = queue.pop(|_| TAKE, at(0)).unwrap();
        bytes[popped.lane.slot()] += popped.packet.len();
    }
    assert!(bytes[1].abs_diff(bytes[2]) <= 18_000, "{bytes:?}");
}

#[test]
fn a_view_shows_the_lane_and_its_head() {
    let mut queue = queue();
    assert_eq!(queue.lane(lane(9)), LaneState::default());
    queue.push(packet(1, 60, false), lane(9), at(10));
    queue.push(packet(2, 40, false), lane(9), at(15));
    queue.pop(|_| TAKE, at(17)).unwrap();
    let view = queue.waiting().next().unwrap();
    assert_eq!((view.lane, view.bytes, view.packets, view.is_sparse), (lane(9), 40, 1, true));
    assert_eq!((id_of(view.head), view.head.len()), (2, 40));
    assert_eq!(queue.lane(lane(9)), LaneState { bytes: 40, packets: 1 });
    assert_eq!((queue.bytes(), queue.packets()), (40, 1));
    queue.pop(|_| TAKE, at(20)).unwrap();
    assert_eq!(queue.lane(lane(9)), LaneState::default());
    assert!(queue.is_empty() && queue.waiting().next().is_none());
}

#[test]
fn an_overflow_hits_the_head_of_the_longest_lane() {
    let limits = QueueLimits { total: 100_000, per_lane: 100_000 };
    let mut queue = IngressQueue::new(PacketKind::Ip, limits);
    fill(&mut queue, 1, 30, 1000);
    fill(&mut queue, 2, 70, 1000);
    assert_eq!(queue.take_counts().overflow, 0);
    queue.push(packet(0, 1000, false), lane(3), at(0));
    assert_eq!(queue.take_counts().overflow, 35, "half of the longest");
    let lost: Vec<_> = queue.drain_dropped().map(|packet| id_of(&packet)).collect();
    assert_eq!(lost, (0..35).collect::<Vec<_>>());
    assert_eq!([1, 2, 3].map(|number| queue.lane(lane(number)).packets), [30, 35, 1]);
}

#[test]
fn a_long_flood_loses_a_batch_at_a_time() {
    let limits = QueueLimits { total: 1_000_000, per_lane: 2_000_000 };
    let mut queue = IngressQueue::new(PacketKind::Ip, limits);
    fill(&mut queue, 1, 1001, 1000);
    assert_eq!(queue.take_counts().overflow, 64);
}

#[test]
fn a_lane_that_holds_its_share_loses_its_own_head() {
    let limits = QueueLimits { total: 100_000, per_lane: 10_000 };
    let mut queue = IngressQueue::new(PacketKind::Ip, limits);
    fill(&mut queue, 1, 12, 1000);
    assert_eq!((queue.take_counts().overflow, queue.packets()), (2, 10));
    assert_eq!(id_of(queue.waiting().next().unwrap().head), 2);
    // Small packets count 512 bytes.
    fill(&mut queue, 2, 30, 40);
    assert_eq!(queue.lane(lane(2)).packets, 19);
}

#[test]
fn buffers_that_nobody_fetches_are_freed() {
    let mut queue = IngressQueue::new(PacketKind::Ip, QueueLimits { total: 0, per_lane: 0 });
    fill(&mut queue, 1, 3000, 40);
    assert!(queue.is_empty());
    assert_eq!(queue.pop(|_| TAKE, at(0)), None);
    assert_eq!(queue.take_counts().overflow, 3000);
    assert_eq!(queue.drain_dropped().count(), 1024);
}

/// A sender with a window that it cuts to 0.7 when told to, as CUBIC does, at most once per round trip. Otherwise it
/// grows by a packet per round trip.
struct Sender {
    window: f64,
    is_ect: bool,
    /// When each packet was sent, in ms.
    sent: Vec<u64>,
    returning: VecDeque<(u64, bool)>,
    cut_at: u64,
}

/// Milliseconds from the queue's end to the acknowledgement's arrival.
const ROUND_TRIP: u64 = 20;

impl Sender {
    fn new(window: f64, is_ect: bool) -> Self {
        Self { window, is_ect, sent: Vec::new(), returning: VecDeque::new(), cut_at: 0 }
    }

    /// Takes in what has come back, and fills the window.
    fn run(&mut self, queue: &mut IngressQueue, millis: u64) {
        while let Some((_, told)) = self.returning.pop_front_if(|(at, _)| *at <= millis) {
            self.window += 1.0 / self.window;
            if told && millis >= self.cut_at + ROUND_TRIP {
                self.window *= 0.7;
                self.cut_at = millis;
            }
        }
        while ((queue.packets() + self.returning.len()) as f64) < self.window {
            queue.push(packet(self.sent.len() as u32, 1500, self.is_ect), lane(1), at(millis));
            self.sent.push(millis);
        }
    }

    /// Learns that a packet left the queue, and what became of it.
    fn on_left(&mut self, packet: &[u8], is_lost: bool, millis: u64) {
        let is_marked = Ecn::of_packet(packet, PacketKind::Ip) == Ecn::Ce;
        self.returning.push_back((millis + ROUND_TRIP, is_lost || is_marked));
    }
}

/// Lets a sender fill a path of a packet per millisecond for ten seconds; the sojourn times in ms, and how often
/// nothing was there to send.
fn drain(queue: &mut IngressQueue, mut sender: Sender, verdict: Verdict) -> (Vec<u64>, usize) {
    let (mut sojourns, mut idle) = (Vec::new(), 0);
    for millis in 0..10_000 {
        sender.run(queue, millis);
        match queue.pop(|_| verdict, at(millis)) {
            None => idle += 1,
            Some(popped) => {
                sojourns.push(millis - sender.sent[id_of(&popped.packet) as usize]);
                sender.on_left(&popped.packet, false, millis);
            }
        }
        for lost in queue.drain_dropped() {
            sender.on_left(&lost, true, millis);
        }
    }
    (sojourns, idle)
}

fn mean(values: &[u64]) -> f64 {
    values.iter().sum::<u64>() as f64 / values.len() as f64
}

#[test]
fn codel_brings_a_standing_queue_down_and_the_path_stays_busy() {
    for is_ect in [false, true] {
        let mut queue = queue();
        let (sojourns, idle) = drain(&mut queue, Sender::new(70.0, is_ect), CODEL);
        assert!((45..=55).contains(&sojourns[99]), "a standing queue of 50 ms to begin with");
        let settled = mean(&sojourns[2_000..]);
        assert!(settled < 10.0, "{settled} ms");
        assert!(idle < 300, "{idle}");
        let counts = queue.take_counts();
        let (told, other) = (counts.codel_dropped, counts.codel_marked);
        let (told, other) = if is_ect { (other, told) } else { (told, other) };
        assert!((10..200).contains(&told) && other == 0 && counts.overflow == 0, "{counts:?}");
    }
}

#[test]
fn nothing_is_dropped_or_marked_unless_armed() {
    for is_ect in [false, true] {
        let mut queue = queue();
        let (sojourns, _) = drain(&mut queue, Sender::new(70.0, is_ect), TAKE);
        assert!(sojourns.last() >= Some(&50));
        assert_eq!(queue.take_counts(), QueueCounts::default());
    }
}

#[test]
fn nothing_is_dropped_while_packets_wait_less_than_the_target() {
    let mut queue = queue();
    for millis in 0..2_000 {
        queue.push(packet(0, 1500, false), lane(1), at(millis));
        if millis >= 4 {
            queue.pop(|_| CODEL, at(millis)).unwrap();
        }
    }
    assert_eq!((queue.take_counts(), queue.packets()), (QueueCounts::default(), 4));
}

#[test]
fn the_packet_after_a_dropped_one_is_shown_before_it_is_taken() {
    let mut queue = queue();
    for id in 0..10 {
        queue.push(packet(id, if id % 2 == 0 { 500 } else { 1500 }, false), lane(1), at(0));
    }
    queue.pop(|_| CODEL, at(50)).unwrap();
    queue.pop(|_| CODEL, at(60)).unwrap();
    let mut shown = Vec::new();
    let popped = queue.pop(
        |view| {
            shown.push(id_of(view.head));
            if view.head.len() > 1000 { Verdict::Pass } else { CODEL }
        },
        at(150),
    );
    assert_eq!((popped, shown), (None, vec![2, 3]));
    assert_eq!(queue.take_counts().codel_dropped, 1);
    assert_eq!(id_of(&queue.drain_dropped().next().unwrap()), 2);
}

#[test]
fn disarming_forgets_the_lane() {
    let mut queue = queue();
    fill(&mut queue, 1, 100, 1500);
    queue.pop(|_| CODEL, at(10)).unwrap();
    queue.pop(|_| TAKE, at(100)).unwrap();
    queue.pop(|_| CODEL, at(115)).unwrap();
    queue.pop(|_| CODEL, at(214)).unwrap();
    assert_eq!(queue.take_counts().codel_dropped, 0);
    queue.pop(|_| CODEL, at(215)).unwrap();
    assert_eq!(queue.take_counts().codel_dropped, 1);
}

/// An acknowledgement of TCP with these numbers of sequence and acknowledgement.
fn acknowledgement(sequence: u32, number: u32) -> Vec<u8> {
    let mut packet = packet(0, 40, false);
    packet[9] = 6;
    packet[20..24].copy_from_slice(&[0x13, 0x88, 0, 80]);
    packet[24..28].copy_from_slice(&sequence.to_be_bytes());
    packet[28..32].copy_from_slice(&number.to_be_bytes());
    packet[32..34].copy_from_slice(&[0x50, 0x10]);
    packet
}

#[test]
fn a_later_acknowledgement_takes_the_place_of_one_that_waits() {
    let mut queue = queue();
    queue.push(acknowledgement(1, 1_000), lane(1), at(0));
    queue.push(packet(7, 100, false), lane(2), at(0));
    queue.push(acknowledgement(1, 2_000), lane(1), at(1));
    queue.push(acknowledgement(1, 3_000), lane(1), at(2));
    assert_eq!((queue.packets(), queue.bytes()), (2, 140));
    assert_eq!(queue.take_counts(), QueueCounts { superseded: 2, ..QueueCounts::default() });
    assert_eq!(queue.drain_dropped().count(), 2);
    let first = queue.pop(|_| TAKE, at(3)).unwrap();
    assert_eq!((first.lane, first.packet), (lane(1), acknowledgement(1, 3_000)));
    assert_eq!(queue.pop(|_| TAKE, at(3)).unwrap().lane, lane(2));
    assert_eq!((queue.packets(), queue.bytes()), (0, 0));
    // What has gone is not called back.
    queue.push(acknowledgement(1, 4_000), lane(1), at(4));
    assert_eq!((queue.packets(), queue.take_counts().superseded), (1, 0));
}

#[test]
fn acknowledgements_stay_where_something_else_came_between() {
    let mut queue = queue();
    queue.push(acknowledgement(1, 1_000), lane(1), at(0));
    queue.push(packet(7, 100, false), lane(1), at(0));
    queue.push(acknowledgement(1, 2_000), lane(1), at(0));
    queue.push_with(acknowledgement(1, 3_000), lane(1), Some(Policy::Redundant), at(0));
    queue.push(acknowledgement(1, 1_000), lane(2), at(0));
    assert_eq!((queue.packets(), queue.take_counts().superseded), (5, 0));
}
