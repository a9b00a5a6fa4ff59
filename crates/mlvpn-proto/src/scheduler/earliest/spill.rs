//! What paths take that cost money: only what the others have no room for.

use super::{Choice, Earliest, Field, PathView, codel};
use crate::queue::{CodelParams, LaneView};
use crate::time::Duration;

/// A lane's queue must take longer than this to be sent on the other paths.
const WAIT_MICROS: f64 = 20_000.0;

impl Earliest {
    /// What is to be done with a lane's head on `own`, while `others` are full: it takes packets that would
    /// otherwise come still later than over it, so that they never get less to do because of it.
    pub(super) fn spill(&self, lane: &LaneView<'_>, own: &PathView, others: &[PathView]) -> Choice {
        let len = lane.head.len();
        let rate: f64 =
            others.iter().filter(|view| view.max_packet >= len).map(|view| view.rate).sum();
        let is_quiet = lane.is_sparse || lane.packets <= 2;
        if is_quiet || own.max_packet < len || rate == 0.0 {
            return Choice::Wait;
        }
        let lanes = self.pinned.iter().sum::<u32>().max(1);
        let wait = 1e6 * lane.bytes as f64 * f64::from(lanes) / rate;
        if wait < least_wait(own, others) {
            return Choice::Wait;
        }
        let params = codel(others.iter().chain([own]), len);
        Choice::Take(Some(widened(params, least_wait(own, others))))
    }
}

/// For how long a queue must have to wait for `others` that `own` may help with it, in microseconds.
fn least_wait(own: &PathView, others: &[PathView]) -> f64 {
    let fastest = others.iter().map(|view| view.delay).fold(f64::INFINITY, f64::min);
    WAIT_MICROS + (own.delay - fastest).max(0.0) + own.deviation
}

/// `codel` for a lane on the paths that are full: it is not to take away the queue that shows that they are.
pub(super) fn leave_room(codel: CodelParams, field: &Field) -> CodelParams {
    let waits = field.spill.iter().map(|own| least_wait(own, &field.chosen));
    waits.fold(codel, widened)
}

fn widened(codel: CodelParams, wait_micros: f64) -> CodelParams {
    let target = codel.target.max(Duration::from_micros(2 * wait_micros as u64));
    CodelParams { target, ..codel }
}
