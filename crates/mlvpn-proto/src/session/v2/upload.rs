//! What waits to be sent: a queue for all paths, one for each path that packets are bound to, and what
//! was lost.

use super::Shared;
use super::copies::Copies;
use super::field::Fullness;
use crate::drop::DropReason;
use crate::flow::LaneMap;
use crate::id::PathId;
use crate::ip::PacketKind;
use crate::policy::Policy;
use crate::queue::{IngressQueue, Popped, QueueCounts, QueueLimits, Verdict};
use crate::recovery::{Parcel, Recovery, Unbound};
use crate::scheduler::earliest::{Choice, Earliest, Field, PathView, codel_of_one};
use crate::stats::Traffic;
use crate::time::Instant;
use crate::transmit::TransmitBuf;
use crate::wire::v2::{DATA_OVERHEAD, Lane, SendTime, Transit};

/// Packets whose senders are to be told that they are too big: more are not told within a second anyway.
const MAX_REFUSED: usize = 100;

/// What waits to be sent, and how it is given to the paths.
#[derive(Debug)]
pub(super) struct Upload {
    lanes: LaneMap,
    queue: IngressQueue,
    /// What filters have bound to a path.
    bound: Vec<(PathId, IngressQueue)>,
    kind: PacketKind,
    /// Per lane: the number of the next packet.
    next: Box<[u64; Lane::COUNT]>,
    scheduler: Earliest,
    pub(super) recovery: Recovery,
    pub(super) copies: Copies,
    /// How packets are given to the paths where no filter says otherwise.
    pub(super) policy: Policy,
    /// The paths among which the scheduler chooses.
    pub(super) field: Field,
    pub(super) fullness: Fullness,
    /// When the paths were last asked what they can take.
    pub(super) pulled_at: Instant,
    /// The path that is looked at first.
    pub(super) cursor: usize,
    /// The latest one-way delay told by the peer, and what it is in full.
    transit: Option<(Transit, i64)>,
    /// Packets that CoDel marked.
    marked: u64,
    refused: Vec<Refused>,
}

/// A packet that fitted when it was taken, and fits no path now.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) packet: Vec<u8>,
    /// It may have arrived for all that: it is not to be sent in pieces.
    pub(crate) was_sent: bool,
}

impl Upload {
    pub(super) fn new(lane_key: [u8; 16], kind: PacketKind) -> Self {
        Self {
            lanes: LaneMap::new(&lane_key),
            queue: IngressQueue::new(kind, QueueLimits::default()),
            bound: Vec::new(),
            kind,
            next: Box::new([0; Lane::COUNT]),
            scheduler: Earliest::default(),
            recovery: Recovery::default(),
            copies: Copies::default(),
            policy: Policy::default(),
            field: Field::default(),
            fullness: Fullness::default(),
            pulled_at: Instant::ZERO,
            cursor: 0,
            transit: None,
            marked: 0,
            refused: Vec::new(),
        }
    }

    pub(super) fn queued(&self) -> Traffic {
        let count = |of: fn(&IngressQueue) -> usize| self.queues().map(of).sum::<usize>() as u64;
        Traffic { packets: count(IngressQueue::packets), bytes: count(IngressQueue::bytes) }
    }

    pub(super) fn marked(&self) -> u64 {
        self.marked
    }

    /// How many lanes are striped.
    pub(super) fn striped(&self) -> usize {
        self.scheduler.striped()
    }

    /// Whether nothing waits to be sent, or to be sent again.
    pub(super) fn is_idle(&self) -> bool {
        self.recovery.is_empty()
            && self.copies.is_empty()
            && self.queues().all(IngressQueue::is_empty)
    }

    /// Lets a packet wait in its lane, for the path that it is bound to or for any; under a policy of its own if
    /// there is one.
    pub(super) fn push(
        &mut self,
        packet: Vec<u8>,
        bound: Option<PathId>,
        policy: Option<Policy>,
        now: Instant,
    ) {
        let lane = self.lanes.lane_of(&packet, self.kind);
        let queue = match bound {
            Some(path) => self.bound_queue(path),
            None => &mut self.queue,
        };
        queue.push_with(packet, lane, policy, now);
    }

    /// What is bound to a path that is down goes over any other, and so does what it lost.
    pub(super) fn unbind(&mut self, path: PathId, shared: &mut Shared<'_>, now: Instant) {
        self.recovery.unbind(path);
        let Some(at) = self.bound.iter().position(|(of, _)| *of == path) else { return };
        self.collect_dropped(shared);
        let (_, mut queue) = self.bound.swap_remove(at);
        while let Some(popped) = queue.pop(|_| Verdict::Take(None), now) {
            self.queue.push(popped.packet, popped.lane, now);
        }
    }

    /// Has the scheduler look at what waits.
    pub(super) fn count_waiting(&mut self, now: Instant) {
        self.scheduler.count(self.queue.waiting(), now);
    }

    /// Whether the scheduler has more than one path to choose from.
    fn has_choice(&self) -> bool {
        self.field.chosen.len() > 1
    }

    /// Whether the scheduler may choose a path.
    pub(super) fn is_chosen(&self, path: PathId) -> bool {
        self.field.has(path)
    }

    /// Whether something waits that is bound to a path, to be sent or to be sent again.
    pub(super) fn has_bound(&self, path: PathId) -> bool {
        let is_lost = self.recovery.has_bound(path);
        is_lost || self.bound.iter().any(|(of, queue)| *of == path && !queue.is_empty())
    }

    /// The next packet to send again on a path, of those that `accepts` takes; what has come as a copy need not
    /// be.
    pub(super) fn take_lost(
        &mut self,
        path: PathId,
        accepts: impl Fn(&Parcel) -> bool,
        shared: &mut Shared<'_>,
        now: Instant,
    ) -> Option<Parcel> {
        let unbound = match (self.is_chosen(path), self.has_choice()) {
            (false, _) => Unbound::Nothing,
            (true, false) => Unbound::All,
            (true, true) => Unbound::OfOthers,
        };
        loop {
            let parcel = self.recovery.pop(path, unbound, &accepts, now)?;
            if !self.copies.has_arrived(&parcel) {
                return Some(parcel);
            }
            self.give_back(parcel, shared);
        }
    }

    /// The next packet for a path, with its place in its lane.
    pub(super) fn take(
        &mut self,
        view: &PathView,
        only_sparse: bool,
        out: &TransmitBuf,
        shared: &mut Shared<'_>,
        now: Instant,
    ) -> Taken {
        if let Some(parcel) = self.take_bound(view, only_sparse, out, now) {
            return Taken::Packet(parcel);
        }
        if !self.is_chosen(view.id) {
            return Taken::Nothing;
        }
        let path = view.id;
        loop {
            let Self { queue, scheduler, field, policy, .. } = self;
            let (mut is_full, mut too_big) = (false, false);
            let popped = queue.pop(
                |lane| match scheduler.choose(
                    lane,
                    path,
                    (field, lane.policy.unwrap_or(*policy)),
                    now,
                ) {
                    _ if only_sparse && !lane.is_sparse => Verdict::Pass,
                    Choice::Wait => Verdict::Pass,
                    Choice::TooBig => {
                        too_big = true;
                        Verdict::Take(None)
                    }
                    Choice::Take(_) if !out.accepts(lane.head.len() + DATA_OVERHEAD) => {
                        is_full = true;
                        Verdict::Pass
                    }
                    Choice::Take(codel) => Verdict::Take(codel),
                },
                now,
            );
            self.collect_dropped(shared);
            match popped {
                Some(popped) if too_big => {
                    self.refuse(popped.packet, false, shared);
                }
                Some(popped) => {
                    let parcel = self.number(popped, None, now);
                    self.copy(&parcel, path, shared, now);
                    return Taken::Packet(parcel);
                }
                None if is_full => return Taken::Full,
                None => return Taken::Nothing,
            }
        }
    }

    /// Keeps a packet that fits no path for its sender to be told, unless many wait for that.
    pub(super) fn refuse(&mut self, packet: Vec<u8>, was_sent: bool, shared: &mut Shared<'_>) {
        if self.refused.len() < MAX_REFUSED {
            self.refused.push(Refused { packet, was_sent });
        } else {
            shared.drops.count(DropReason::TooBig);
            shared.pool.give(packet);
        }
    }

    /// What was refused since this was asked last.
    pub(super) fn take_refused(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.refused)
    }

    /// Counts what the queues dropped and marked, and takes the buffers back.
    pub(super) fn collect_dropped(&mut self, shared: &mut Shared<'_>) {
        let bound = self.bound.iter_mut().map(|(_, queue)| queue);
        for queue in bound.chain([&mut self.queue]) {
            let QueueCounts { codel_dropped, codel_marked, overflow, superseded } =
                queue.take_counts();
            self.marked += codel_marked;
            shared.drops.add(DropReason::QueueDelay, codel_dropped);
            shared.drops.add(DropReason::QueueFull, overflow);
            shared.drops.add(DropReason::Superseded, superseded);
            queue.drain_dropped().for_each(|bytes| shared.pool.give(bytes));
        }
    }

    /// A one-way delay in µs after an offset that all paths have in common: what the peer tells is
    /// taken to be within two seconds of what it told before.
    pub(super) fn unwrap_transit(&mut self, transit: Transit) -> i64 {
        let full = self.transit.map_or(0, |(latest, full)| {
            full + i64::from(transit.excess_over(latest)) * SendTime::UNIT_MICROS as i64
        });
        self.transit = Some((transit, full));
        full
    }

    /// The next packet that is bound to a path.
    fn take_bound(
        &mut self,
        view: &PathView,
        only_sparse: bool,
        out: &TransmitBuf,
        now: Instant,
    ) -> Option<Parcel> {
        let params = codel_of_one(view);
        let popped = loop {
            let (_, queue) = self.bound.iter_mut().find(|(of, _)| *of == view.id)?;
            let is_too_big = |len: usize| len > view.max_packet && !view.may_carry_more;
            let fits = |len: usize| len <= view.max_packet && out.accepts(len + DATA_OVERHEAD);
            let popped = queue.pop(
                |lane| match lane.head.len() {
                    len if is_too_big(len) => Verdict::Take(None),
                    len if fits(len) && (lane.is_sparse || !only_sparse) => {
                        Verdict::Take(Some(params))
                    }
                    _ => Verdict::Pass,
                },
                now,
            )?;
            if !is_too_big(popped.packet.len()) {
                break popped;
            }
            // The path has become smaller: another one may carry it.
            self.queue.push(popped.packet, popped.lane, now);
        };
        Some(self.number(popped, Some(view.id), now))
    }

    /// Has a second path carry a copy of what goes over `path`, if that is wanted.
    fn copy(&mut self, parcel: &Parcel, path: PathId, shared: &mut Shared<'_>, now: Instant) {
        if parcel.policy != Policy::Redundant {
            return;
        }
        if let Some(second) = self.field.second(path, parcel.bytes.len()) {
            self.copies.push(parcel, second, shared.pool, now);
        }
    }

    /// The buffer of a parcel that is not needed any more.
    pub(super) fn give_back(&mut self, parcel: Parcel, shared: &mut Shared<'_>) {
        // A copy on its way has none.
        if !parcel.is_copy {
            shared.pool.give(parcel.bytes);
        }
    }

    /// Gives a packet the next number of its lane, in the order in which they leave the queue `[F5]`.
    fn number(&mut self, popped: Popped, bound: Option<PathId>, now: Instant) -> Parcel {
        let Popped { packet, lane, was_sparse, policy } = popped;
        let next = &mut self.next[lane.slot()];
        let seq = *next;
        *next += 1;
        let is_last = self.queue.lane(lane).packets == 0;
        self.scheduler.on_sent(lane, packet.len(), is_last, now);
        self.recovery.on_sent(packet.len());
        Parcel {
            lane,
            seq,
            bytes: packet,
            first_sent: now,
            tries: 0,
            is_sparse: was_sparse,
            bound,
            policy: policy.unwrap_or(self.policy),
            is_copy: false,
        }
    }

    /// The queue of what is bound to a path.
    fn bound_queue(&mut self, path: PathId) -> &mut IngressQueue {
        let known = self.bound.iter().position(|(of, _)| *of == path);
        let at = known.unwrap_or_else(|| {
            let queue = IngressQueue::new(self.kind, QueueLimits::default());
            self.bound.push((path, queue));
            self.bound.len() - 1
        });
        &mut self.bound[at].1
    }

    fn queues(&self) -> impl Iterator<Item = &IngressQueue> {
        self.bound.iter().map(|(_, queue)| queue).chain([&self.queue])
    }
}

/// What there is for a path.
pub(super) enum Taken {
    /// A packet that fits.
    Packet(Parcel),
    /// There is something, but not for this batch.
    Full,
    /// Nothing that the path may carry now.
    Nothing,
}
