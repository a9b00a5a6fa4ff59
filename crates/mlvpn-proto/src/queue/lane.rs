//! The queue of one lane.

use std::collections::VecDeque;

use super::codel::{Codel, CodelParams};
use crate::time::{Duration, Instant};
use crate::wire::v2::Lane;

/// What a packet counts against the limits at least, in bytes.
const MIN_FOOTPRINT: usize = 512;
/// For how many packets an empty lane keeps room.
const SPARE_ROOM: usize = 8;

/// A packet in its lane.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) packet: Vec<u8>,
    pub(super) enqueued: Instant,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backlog {
    pub(super) bytes: usize,
    pub(super) packets: usize,
    /// What counts against the limits, in bytes.
    pub(super) footprint: usize,
}

impl Backlog {
    pub(super) fn add(&mut self, len: usize) {
        self.bytes += len;
        self.packets += 1;
        self.footprint += len.max(MIN_FOOTPRINT);
    }

    pub(super) fn remove(&mut self, len: usize) {
        self.bytes -= len;
        self.packets -= 1;
        self.footprint -= len.max(MIN_FOOTPRINT);
    }
}

/// A lane's packets in their order, and its share of the round.
#[derive(Debug, Default)]
pub(super) struct LaneQueue {
    packets: VecDeque<Waiting>,
    backlog: Backlog,
    codel: Codel,
    /// When it last became empty or ceased to be so.
    changed: Instant,
    /// What it may still send in this round, in bytes; at 0 and below its turn is over.
    pub(super) deficit: i64,
    /// Whether it is in the rotation.
    pub(super) is_scheduled: bool,
}

impl LaneQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// What counts against the limits, in bytes.
    pub(super) fn footprint(&self) -> usize {
        self.backlog.footprint
    }

    pub(super) fn push(&mut self, packet: Vec<u8>, now: Instant) {
        if self.is_empty() {
            self.changed = now;
        }
        self.backlog.add(packet.len());
        self.packets.push_back(Waiting { packet, enqueued: now });
    }

    pub(super) fn remove_head(&mut self, now: Instant) -> Option<Waiting> {
        let head = self.packets.pop_front()?;
        self.backlog.remove(head.packet.len());
        if self.is_empty() {
            self.changed = now;
            // A lane that held thousands once must not keep room for them: there are a thousand lanes.
            self.packets.shrink_to(SPARE_ROOM);
        }
        Some(head)
    }

    /// Whether CoDel wants the head packet to tell its sender to slow down. Without parameters it never does, and
    /// forgets the lane. `max_packet`: the length of the longest packet.
    pub(super) fn must_signal(
        &mut self,
        params: Option<CodelParams>,
        max_packet: usize,
        now: Instant,
    ) -> bool {
        let (Some(params), Some(head)) = (params, self.packets.front()) else {
            self.codel = Codel::default();
            return false;
        };
        let sojourn = now.saturating_since(head.enqueued);
        let is_last = self.backlog.bytes - head.packet.len() <= max_packet;
        self.codel.must_signal(params, sojourn, is_last, now)
    }

    /// The lane as the scheduler sees it; none when it is empty. `is_new`: the rotation has it among the new ones.
    pub(super) fn view(&self, lane: Lane, is_new: bool) -> Option<LaneView<'_>> {
        let head = self.packets.front()?;
        Some(LaneView {
            lane,
            is_sparse: is_new && self.deficit > 0,
            bytes: self.backlog.bytes,
            packets: self.backlog.packets,
            head: &head.packet,
            head_enqueued: head.enqueued,
            backlogged_since: self.changed,
        })
    }

    pub(super) fn state(&self) -> LaneState {
        LaneState {
            bytes: self.backlog.bytes,
            packets: self.backlog.packets,
            changed: Some(self.changed),
        }
    }
}

/// A lane with packets.
#[derive(Clone, Copy, Debug)]
pub struct LaneView<'a> {
    /// Which one.
    pub lane: Lane,
    /// Whether it has just begun to send and goes before others: it has not used up the quantum that it began with.
    pub is_sparse: bool,
    /// Bytes waiting in it.
    pub bytes: usize,
    /// Packets waiting in it, at least 1.
    pub packets: usize,
    /// The packet that would be sent.
    pub head: &'a [u8],
    /// When that packet came.
    pub head_enqueued: Instant,
    /// When the lane was empty last.
    pub backlogged_since: Instant,
}

impl LaneView<'_> {
    /// How long the head packet has waited.
    #[must_use]
    pub fn sojourn(&self, now: Instant) -> Duration {
        now.saturating_since(self.head_enqueued)
    }
}

/// What is known about a lane that may be empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LaneState {
    /// Bytes waiting in it.
    pub bytes: usize,
    /// Packets waiting in it.
    pub packets: usize,
    changed: Option<Instant>,
}

impl LaneState {
    /// When the lane was empty last, if it is not empty now.
    #[must_use]
    pub fn backlogged_since(&self) -> Option<Instant> {
        self.changed.filter(|_| self.packets > 0)
    }

    /// When the lane became empty, if it is empty now and was not always.
    #[must_use]
    pub fn empty_since(&self) -> Option<Instant> {
        self.changed.filter(|_| self.packets == 0)
    }
}
