//! Second copies of packets, for paths that have room for them.
//!
//! A copy is sent only while nothing else waits for its path and that is not half full, so that originals lose
//! nothing by it; what cannot be sent soon is of no use and is not sent.

use std::collections::{BTreeSet, VecDeque};

use crate::buffer::Pool;
use crate::id::PathId;
use crate::recovery::Parcel;
use crate::stats::CopyStats;
use crate::time::{Duration, Instant};
use crate::wire::v2::Lane;

/// A copy that waits for longer would come later than a repair.
const PATIENCE: Duration = Duration::from_millis(20);
/// Copies that wait.
pub(super) const MAX_WAITING: usize = 256;
/// Copies that arrived, and whose originals may still be lost.
pub(super) const MAX_ARRIVED: usize = 4_096;

/// Copies that wait, and those that came.
#[derive(Debug, Default)]
pub(super) struct Copies {
    waiting: VecDeque<Copy>,
    arrived: BTreeSet<(usize, u64)>,
    /// The same in the order in which it became known.
    order: VecDeque<(usize, u64)>,
    stats: CopyStats,
}

#[derive(Debug)]
struct Copy {
    to: PathId,
    parcel: Parcel,
    until: Instant,
}

impl Copies {
    /// A copy of `original` is to go over `to`.
    pub(super) fn push(&mut self, original: &Parcel, to: PathId, pool: &mut Pool, now: Instant) {
        self.expire(pool, now);
        if self.waiting.len() >= MAX_WAITING {
            self.stats.withheld += 1;
            return;
        }
        let mut bytes = pool.take();
        bytes.extend_from_slice(&original.bytes);
        let parcel = Parcel { bytes, is_copy: true, ..original.without_bytes() };
        self.waiting.push_back(Copy { to, parcel, until: now + PATIENCE });
    }

    /// The next copy for a path, of those that it takes.
    pub(super) fn pop(
        &mut self,
        path: PathId,
        accepts: impl Fn(&Parcel) -> bool,
        pool: &mut Pool,
        now: Instant,
    ) -> Option<Parcel> {
        self.expire(pool, now);
        let may = |copy: &Copy| copy.to == path && accepts(&copy.parcel);
        let at = self.waiting.iter().position(may)?;
        let copy = self.waiting.remove(at)?;
        self.stats.sent += 1;
        Some(copy.parcel)
    }

    /// Drops what has waited for too long.
    pub(super) fn expire(&mut self, pool: &mut Pool, now: Instant) {
        while self.waiting.front().is_some_and(|copy| copy.until <= now) {
            let copy = self.waiting.pop_front().expect("it was looked at just now");
            pool.give(copy.parcel.bytes);
            self.stats.withheld += 1;
        }
    }

    /// Whether one waits for `path`.
    pub(super) fn wait_for(&self, path: PathId) -> bool {
        self.waiting.iter().any(|copy| copy.to == path)
    }

    /// How many wait, and are known to have arrived.
    pub(super) fn kept(&self) -> usize {
        self.waiting.len() + self.arrived.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the oldest is of no use any more.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|copy| copy.until)
    }

    /// A copy has arrived: its original need not.
    pub(super) fn on_arrived(&mut self, lane: Lane, seq: u64) {
        let place = (lane.slot(), seq);
        if self.arrived.insert(place) {
            self.order.push_back(place);
        }
        while self.order.len() > MAX_ARRIVED {
            let oldest = self.order.pop_front().expect("there are many");
            self.arrived.remove(&oldest);
        }
    }

    /// Whether the content of a parcel has come as a copy.
    pub(super) fn has_arrived(&self, parcel: &Parcel) -> bool {
        !self.order.is_empty() && self.arrived.contains(&(parcel.lane.slot(), parcel.seq))
    }

    pub(super) fn stats(&self) -> CopyStats {
        self.stats
    }
}
