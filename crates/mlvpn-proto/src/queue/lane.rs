//! The queue of one lane.

use std::collections::VecDeque;

use super::codel::{Codel, CodelParams};
use crate::policy::Policy;
use crate::time::Instant;
use crate::wire::v2::Lane;

/// What a packet counts against the limits at least, in bytes.
const MIN_FOOTPRINT: usize = 512;
/// For how many packets an empty lane keeps room.
const SPARE_ROOM: usize = 8;

/// A packet in its lane.
#[derive(Debug)]
struct Waiting {
    packet: Vec<u8>,
    enqueued: Instant,
    policy: Option<Policy>,
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

    pub(super) fn push(&mut self, packet: Vec<u8>, policy: Option<Policy>, now: Instant) {
        self.backlog.add(packet.len());
        self.packets.push_back(Waiting { packet, enqueued: now, policy });
    }

    /// The packet that was pushed last, if it still waits, and under this policy.
    pub(super) fn last(&self, policy: Option<Policy>) -> Option<&[u8]> {
        let last = self.packets.back()?;
        (last.policy == policy).then_some(&last.packet)
    }

    /// Puts a packet in the place of the last one, which is returned. It has waited as long as that one.
    pub(super) fn replace_last(&mut self, packet: Vec<u8>) -> Option<Vec<u8>> {
        let last = self.packets.back_mut()?;
        self.backlog.remove(last.packet.len());
        self.backlog.add(packet.len());
        Some(std::mem::replace(&mut last.packet, packet))
    }

    pub(super) fn remove_head(&mut self) -> Option<Vec<u8>> {
        let Waiting { packet, .. } = self.packets.pop_front()?;
        self.backlog.remove(packet.len());
        if self.is_empty() {
            // A lane that held thousands once must not keep room for them: there are a thousand lanes.
            self.packets.shrink_to(SPARE_ROOM);
        }
        Some(packet)
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
            policy: head.policy,
        })
    }

    pub(super) fn state(&self) -> LaneState {
        LaneState { bytes: self.backlog.bytes, packets: self.backlog.packets }
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
    /// How it is to be given to the paths, where that differs from others.
    pub policy: Option<Policy>,
}

/// What is known about a lane that may be empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LaneState {
    /// Bytes waiting in it.
    pub bytes: usize,
    /// Packets waiting in it.
    pub packets: usize,
}
