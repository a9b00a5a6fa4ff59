//! What is on its way on a path that fell silent, or has become too slow, goes over others as well
//! (the opportunistic retransmission of Raiciu et al., "How Hard Can It Be?", NSDI 2012).

use super::path::{Path, PathState};
use super::{Session, Shared};
use crate::id::{PathId, PathSet};
use crate::path::receipt::report_interval;
use crate::policy::Policy;
use crate::recovery::Parcel;
use crate::time::{Duration, Instant};

/// What is too late on a path is sent again at once: as much as the other paths carry in this time.
const OVERTAKEN: Duration = Duration::from_millis(50);
/// Of what is lost on a path that fell silent, this much: the sender in the tunnel would send it again, too, and later. The
/// receiver waits for as long as it comes, up to 300 ms.
const REINJECTED: Duration = Duration::from_millis(150);
/// And as many bytes at least: what paths carry that were not tested yet is not known.
pub(super) const LEAST_REINJECTED: f64 = 32.0 * 1024.0;
/// What stands in a path's queue for longer than this is late: less than half of what a receiver waits.
const LATE: Duration = Duration::from_millis(60);

impl Session {
    /// What is on its way on a path that fell silent, or led elsewhere, is sent again on others, as much
    /// as they carry in 150 ms; the rest is given up. What is bound to a path that is up stays bound.
    pub(super) fn reinject(&mut self, id: PathId, shared: &mut Shared<'_>, now: Instant) {
        let mut budget = self.carried_in(REINJECTED, |path| path.id != id).max(LEAST_REINJECTED);
        let Self { paths, upload, .. } = self;
        let Some(path) = paths[id.slot()].as_deref_mut() else { return };
        let stays_bound = path.is_up();
        if !stays_bound {
            upload.unbind(id, shared, now);
        }
        let rtt = path.srtt() + path.probe_timeout();
        let mut parcels: Vec<_> = path.flight.take_contents().collect();
        parcels.sort_by_key(|parcel| !parcel.is_sparse);
        for mut parcel in parcels {
            if parcel.is_copy || upload.copies.has_arrived(&parcel) {
                upload.give_back(parcel, shared);
                continue;
            }
            parcel.bound = parcel.bound.filter(|_| stays_bound);
            budget -= parcel.bytes.len() as f64;
            let given_up = match budget < 0.0 {
                true => Some(upload.recovery.give_up(parcel)),
                false => upload.recovery.reinject(parcel, id, rtt, now),
            };
            if let Some(bytes) = given_up {
                shared.pool.give(bytes);
            }
        }
    }

    /// A path that has become slower holds packets that others bring sooner, while the receiver holds back
    /// what came after them: they go there too, as much as those carry in 50 ms.
    pub(super) fn overtake_late(&mut self, id: PathId, now: Instant) {
        // What was found late before is under way first.
        if !self.upload.recovery.is_empty() {
            return;
        }
        let Some(path) = self.path(id).filter(|path| path.state == PathState::Up) else { return };
        let Some(in_time) = path.arrives_in_time() else { return };
        let arrival = path.unloaded_rtt() / 2 + LATE;
        let is_sooner = |other: &Path| {
            other.id != id
                && self.upload.is_chosen(other.id)
                && !other.rate.is_over()
                && other.srtt() / 2 < arrival
        };
        let mut budget = self.carried_in(OVERTAKEN, is_sooner);
        let slow: PathSet =
            self.paths().filter(|path| !is_sooner(path)).map(|path| path.id).collect();
        let Self { paths, upload, .. } = self;
        let Some(path) = paths[id.slot()].as_deref_mut() else { return };
        // What is to keep to one path, by a filter or by its policy, stays there.
        let may_go = |parcel: &Parcel| {
            let is_free = parcel.bound.is_none() && parcel.policy != Policy::Backup;
            is_free && !parcel.is_copy && !upload.copies.has_arrived(parcel)
        };
        let mut late = path.flight.take_contents_behind(in_time, may_go);
        while budget > 0.0
            && !upload.recovery.is_full()
            && let Some(parcel) = late.next()
        {
            budget -= parcel.bytes.len() as f64;
            upload.recovery.overtake(parcel, slow, now + LATE);
        }
    }

    /// Bytes that the paths which are up and `eligible` carry in `time`.
    fn carried_in(&self, time: Duration, eligible: impl Fn(&Path) -> bool) -> f64 {
        let paths = self.paths().filter(|path| path.is_up() && eligible(path));
        let rate: f64 = paths.map(|path| path.rate.capacity() as f64).sum();
        rate * time.as_secs_f64()
    }
}

impl Path {
    /// Bytes of those on their way that arrive before they are late; none when all do.
    fn arrives_in_time(&self) -> Option<u64> {
        // What comes of a path in no demand is what it was given.
        if !self.rate.is_overwhelmed() {
            return None;
        }
        let rate = self.rate.delivered_just_now()?;
        let time = self.unloaded_rtt() + report_interval(self.srtt()) + LATE;
        let bytes = (rate * time.as_secs_f64()) as u64;
        (self.flight.bytes() > bytes).then_some(bytes)
    }
}
