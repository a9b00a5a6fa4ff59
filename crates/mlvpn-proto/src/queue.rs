//! Where the packets from the tunnel's device wait until a path can take them: flow queueing with controlled
//! delay (RFC 8290), one queue per lane.
//!
//! Lanes with a standing queue share what is sent by deficit round robin; a lane that has just begun to send
//! goes before them, so that a ping beside a download waits for one packet only. Two things differ from the
//! RFC, as there are several paths behind this queue:
//!
//! - A packet is bound to a path at the last moment. [`IngressQueue::pop`] is asked for a packet of a certain
//!   path, and passes over lanes that may not use it. These keep their place and their deficit. As the deficits
//!   count what was sent on all paths together, a lane that may use every path makes room on the one that
//!   is another lane's only one.
//! - CoDel acts on a lane only while the caller says so, which is once the lane uses all the paths it may.
//!
//! What overflows is lost at the head of the longest lane, where it tells a sender soonest.

mod codel;
mod lane;
mod rotation;

use std::collections::VecDeque;

pub use codel::CodelParams;
pub use lane::{LaneState, LaneView};

use crate::flow::mark_ce;
use crate::ip::PacketKind;
use crate::ip::acknowledgement::is_superseded;
use crate::policy::Policy;
use crate::time::Instant;
use crate::wire::v2::Lane;
use lane::{Backlog, LaneQueue};
use rotation::{Retirement, Rotation};

/// What a lane may send in a round, in bytes: an Ethernet frame (RFC 8290 section 5.2.4). It grows to the
/// longest packet seen, so that every lane can send in every round.
const MIN_QUANTUM: usize = 1514;
/// How many packets an overflow takes from the longest lane at most, so that finding that lane, which means
/// looking at all of them, pays for many packets (RFC 8290 section 5.2.8).
const DROP_BATCH: usize = 64;
/// How many buffers of dropped packets are kept for the caller; more are freed.
const MAX_RETURNED: usize = 1024;

/// How much may wait. A packet counts with its length, but with 512 bytes at least: short packets lie
/// in buffers as long as those of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueLimits {
    /// In all lanes together, in bytes.
    pub total: usize,
    /// In one lane, in bytes.
    pub per_lane: usize,
}

impl Default for QueueLimits {
    /// 8 MiB, of which one lane may fill the half.
    fn default() -> Self {
        Self { total: 8 << 20, per_lane: 4 << 20 }
    }
}

/// What the caller says of a lane whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Its head packet may be sent. With parameters, CoDel acts on the lane; without, it neither drops nor
    /// marks and forgets what it knew of the lane.
    Take(Option<CodelParams>),
    /// Not now. The lane keeps its place and its deficit.
    Pass,
}

/// A packet that leaves the queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Popped {
    /// Its bytes.
    pub packet: Vec<u8>,
    /// The lane that it waited in.
    pub lane: Lane,
    /// Whether its lane was among those that have just begun to send.
    pub was_sparse: bool,
    /// What it was pushed with.
    pub policy: Option<Policy>,
}

/// What the queue did to packets other than pass them on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueCounts {
    /// Packets that CoDel dropped.
    pub codel_dropped: u64,
    /// Packets that CoDel marked.
    pub codel_marked: u64,
    /// Packets that were dropped because too much was waiting.
    pub overflow: u64,
    /// Acknowledgements whose place a later one took.
    pub superseded: u64,
}

/// What becomes of a lane when the walk comes to it.
enum Turn {
    /// It has packets and may send.
    Ready,
    /// It is no longer at its position; another one is.
    Moved,
    /// It has nothing to send and keeps its position.
    Skipped,
}

/// The queue in front of the paths.
#[derive(Debug)]
pub struct IngressQueue {
    kind: PacketKind,
    limits: QueueLimits,
    quantum: usize,
    /// One place per lane; a queue is made for the lane's first packet.
    lanes: Vec<Option<Box<LaneQueue>>>,
    rotation: Rotation,
    backlog: Backlog,
    counts: QueueCounts,
    dropped: VecDeque<Vec<u8>>,
}

impl IngressQueue {
    /// An empty queue for packets of that kind.
    #[must_use]
    pub fn new(kind: PacketKind, limits: QueueLimits) -> Self {
        Self {
            kind,
            limits,
            quantum: MIN_QUANTUM,
            lanes: std::iter::repeat_with(|| None).take(Lane::COUNT).collect(),
            rotation: Rotation::default(),
            backlog: Backlog::default(),
            counts: QueueCounts::default(),
            dropped: VecDeque::new(),
        }
    }

    /// Lets a packet wait in its lane; an acknowledgement of TCP in the place of the one before it, if that
    /// still waits and says nothing more. When too much waits, the oldest packets of the longest lane are dropped,
    /// which may be this one.
    pub fn push(&mut self, packet: Vec<u8>, lane: Lane, now: Instant) {
        self.push_with(packet, lane, None, now);
    }

    /// As [`Self::push`], for a packet that is to be given to the paths in a way of its own.
    pub fn push_with(&mut self, packet: Vec<u8>, lane: Lane, policy: Option<Policy>, now: Instant) {
        self.quantum = self.quantum.max(packet.len());
        self.backlog.add(packet.len());
        let queue = self.lanes[lane.slot()].get_or_insert_with(Box::default);
        if queue.last(policy).is_some_and(|older| is_superseded(older, &packet, self.kind)) {
            let older = queue.replace_last(packet).expect("there is a last packet");
            self.backlog.remove(older.len());
            self.counts.superseded += 1;
            self.give_back(older);
            return;
        }
        queue.push(packet, policy, now);
        if !queue.is_scheduled {
            queue.is_scheduled = true;
            queue.deficit = self.quantum as i64;
            self.rotation.push_new(lane);
        }
        self.trim_lane(lane);
        self.trim();
    }

    /// The next packet that may be sent, as `may_send` decides.
    ///
    /// It is shown the lanes in the order of their turns, each at most once; a second time only if CoDel dropped
    /// the packet at its head, as the next one may not fit where that one did. None when it takes none.
    ///
    /// For one lane it should give CoDel parameters either on every path or on none, as CoDel forgets the lane
    /// whenever it gives none.
    pub fn pop(
        &mut self,
        mut may_send: impl FnMut(&LaneView<'_>) -> Verdict,
        now: Instant,
    ) -> Option<Popped> {
        let mut position = 0;
        while let Some(lane) = self.rotation.at(position) {
            match self.turn(lane, position) {
                Turn::Ready => {}
                Turn::Moved => continue,
                Turn::Skipped => {
                    position += 1;
                    continue;
                }
            }
            let view = self.queue(lane).view(lane, self.rotation.is_new(position));
            let view = view.expect("a lane whose turn it is has packets");
            match may_send(&view) {
                Verdict::Pass => position += 1,
                Verdict::Take(codel) => {
                    let (was_sparse, policy) = (view.is_sparse, view.policy);
                    if let Some(packet) = self.take(lane, codel, now) {
                        return Some(Popped { packet, lane, was_sparse, policy });
                    }
                }
            }
        }
        None
    }

    /// The lanes with packets, in about the order of their turns: who asks whether there is anything for a
    /// path need not pop it.
    pub fn waiting(&self) -> impl Iterator<Item = LaneView<'_>> {
        self.rotation
            .iter()
            .filter_map(|(lane, is_new)| self.lanes[lane.slot()].as_ref()?.view(lane, is_new))
    }

    /// How much waits in a lane.
    #[must_use]
    pub fn lane(&self, lane: Lane) -> LaneState {
        self.lanes[lane.slot()].as_ref().map_or_else(LaneState::default, |queue| queue.state())
    }

    /// Bytes waiting in all lanes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.backlog.bytes
    }

    /// Packets waiting in all lanes.
    #[must_use]
    pub fn packets(&self) -> usize {
        self.backlog.packets
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.backlog.packets == 0
    }

    /// What was dropped and marked since this was asked last.
    pub fn take_counts(&mut self) -> QueueCounts {
        std::mem::take(&mut self.counts)
    }

    /// The buffers of dropped packets, so that they can be used again.
    pub fn drain_dropped(&mut self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.dropped.drain(..)
    }

    /// What is to be done with the lane at that position.
    fn turn(&mut self, lane: Lane, position: usize) -> Turn {
        let quantum = self.quantum as i64;
        let queue = self.queue_mut(lane);
        if !queue.is_empty() && queue.deficit > 0 {
            return Turn::Ready;
        }
        if !queue.is_empty() {
            // A packet takes no more than a quantum, so this is enough.
            queue.deficit += quantum;
            self.rotation.move_to_end(position);
            return Turn::Moved;
        }
        match self.rotation.retire(position) {
            Retirement::Delayed => return Turn::Skipped,
            Retirement::Behind => {}
            Retirement::Gone => self.queue_mut(lane).is_scheduled = false,
        }
        Turn::Moved
    }

    /// Takes the head packet of a lane, unless CoDel says that it is to be dropped.
    fn take(&mut self, lane: Lane, codel: Option<CodelParams>, now: Instant) -> Option<Vec<u8>> {
        let quantum = self.quantum;
        let must_signal = self.queue_mut(lane).must_signal(codel, quantum, now);
        let mut packet = self.remove_head(lane);
        if must_signal {
            if !mark_ce(&mut packet, self.kind) {
                self.counts.codel_dropped += 1;
                self.give_back(packet);
                return None;
            }
            self.counts.codel_marked += 1;
        }
        self.queue_mut(lane).deficit -= packet.len() as i64;
        Some(packet)
    }

    /// Drops from the head of a lane until it holds no more than a lane may.
    fn trim_lane(&mut self, lane: Lane) {
        while self.footprint(lane) > self.limits.per_lane {
            self.drop_head(lane);
        }
    }

    /// Drops from the heads of the longest lanes until all hold no more than they may. The longest loses half of
    /// what it holds, but no more than a batch, so that a flood is not looked at lane by lane for each packet.
    fn trim(&mut self) {
        while self.backlog.footprint > self.limits.total {
            let longest = self.rotation.iter().map(|(lane, _)| lane);
            let longest = longest.max_by_key(|lane| self.footprint(*lane));
            let lane = longest.expect("a lane with packets is in the rotation");
            let goal = self.footprint(lane) / 2;
            for _ in 0..DROP_BATCH {
                self.drop_head(lane);
                if self.footprint(lane) <= goal {
                    break;
                }
            }
        }
    }

    fn drop_head(&mut self, lane: Lane) {
        let packet = self.remove_head(lane);
        self.counts.overflow += 1;
        self.give_back(packet);
    }

    fn remove_head(&mut self, lane: Lane) -> Vec<u8> {
        let head = self.queue_mut(lane).remove_head();
        let packet = head.expect("the caller saw a packet in the lane");
        self.backlog.remove(packet.len());
        packet
    }

    fn give_back(&mut self, buffer: Vec<u8>) {
        if self.dropped.len() < MAX_RETURNED {
            self.dropped.push_back(buffer);
        }
    }

    fn footprint(&self, lane: Lane) -> usize {
        self.lanes[lane.slot()].as_ref().map_or(0, |queue| queue.footprint())
    }

    fn queue(&self, lane: Lane) -> &LaneQueue {
        self.lanes[lane.slot()].as_ref().expect("a lane in the rotation has a queue")
    }

    fn queue_mut(&mut self, lane: Lane) -> &mut LaneQueue {
        self.lanes[lane.slot()].as_mut().expect("a lane in the rotation has a queue")
    }
}

#[cfg(test)]
mod tests;
