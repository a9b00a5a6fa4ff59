//! Flows that go over one path at a time, however much they have to send: the policies for which an even
//! delay, or one path, is worth more than the sum of all rates.

use super::{Choice, Earliest, Field, PathView, Policy, REPAIR_MICROS, STICKY_MICROS, codel};
use crate::id::PathId;
use crate::queue::LaneView;
use crate::time::Instant;

/// A backlogged lane changes its path only for a gain of more than this, beside a share of the delay: what it
/// keeps in the network itself makes its path seem slower by about that.
const STICKY_BULK_MICROS: f64 = 5_000.0;

impl PathView {
    /// When a packet arrives that does not wait for those before it, with a margin for jitter and the cost of repairs.
    /// One-way delays say nothing of a path that is idle for long: clocks drift apart.
    fn unqueued_arrival(&self, len: usize, fastest_rtt: f64) -> f64 {
        let repair = self.loss * (fastest_rtt + REPAIR_MICROS);
        1e6 * len as f64 / self.rate + self.steady_delay + repair
    }
}

impl Earliest {
    /// What is to be done with a lane's head on `path` under a policy that keeps flows whole. A path whose
    /// socket takes nothing at the moment is waited for.
    pub(super) fn keep_whole(
        &mut self,
        lane: &LaneView<'_>,
        path: PathId,
        (field, policy): (&Field, Policy),
        now: Instant,
    ) -> Choice {
        let len = lane.head.len();
        let all = || field.chosen.iter().chain(&field.stalled);
        let fits = |view: &&PathView| view.max_packet >= len;
        let fastest_rtt = all().map(|view| view.rtt).fold(f64::INFINITY, f64::min);
        let arrival = |view: &PathView| view.unqueued_arrival(len, fastest_rtt);
        let best = match policy {
            Policy::Backup => all().filter(fits).min_by_key(|view| view.rank),
            _ => all().filter(fits).min_by(|a, b| arrival(a).total_cmp(&arrival(b))),
        };
        let Some(best) = best else {
            let may_fit = all().any(|view| view.may_carry_more);
            return if may_fit { Choice::Wait } else { Choice::TooBig };
        };
        let is_quiet = lane.is_sparse || lane.packets <= 2;
        let plan = self.plan(lane.lane, best.id, now);
        plan.unstripe();
        plan.is_backlogged = !is_quiet;
        if policy == Policy::Backup {
            plan.path = best.id;
        } else {
            let present = all().filter(fits).find(|view| view.id == plan.path);
            let least_gain = if is_quiet { STICKY_MICROS } else { STICKY_BULK_MICROS };
            plan.stick(present, best, arrival, least_gain);
        }
        let own = field.chosen.iter().find(|view| view.id == path);
        match own.filter(|_| plan.path == path) {
            Some(own) => Choice::Take((!is_quiet).then(|| codel([own].into_iter(), len))),
            None => Choice::Wait,
        }
    }
}
