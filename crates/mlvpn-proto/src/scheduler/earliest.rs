//! Which path takes the next packet of a lane: the one on which it arrives first, unless the user's policy says
//! otherwise.
//!
//! A lane without a standing queue goes over the path of earliest arrival, as a whole. A backlogged lane
//! is pinned to its fastest path; a slower one helps when the lane's tail would otherwise come later
//! still (ECF, Lim et al., `CoNEXT` 2017). When that has held for a while the lane is striped: every
//! path of the striping set takes its packets, and from then on its sender may be told to slow down.
//!
//! Striping makes the slowest path's delay the flow's own. A sender that makes less of that than it
//! made of one path (its window does not grow, or it believes in its smallest round trip) gets its one
//! path back, and is left alone for a while.

mod plan;
mod spill;
#[cfg(test)]
mod tests;
mod whole;

use crate::id::PathId;
use crate::policy::Policy;
use crate::queue::{CodelParams, LaneView};
use crate::time::{Duration, Instant};
use crate::wire::v2::Lane;
use plan::{Mode, Plan};

/// Paths further than this behind the fastest do not take part in striping.
const MAX_SPREAD_MICROS: f64 = 150_000.0;
/// Nor do those with less than this share of all paths' rate.
const MIN_RATE_SHARE: f64 = 0.005;
/// A sparse lane changes its path only for a gain of more than this much, and a share of the delay.
const STICKY_MICROS: f64 = 2_000.0;
/// What repairing a loss costs, beside a round trip of the fastest path.
const REPAIR_MICROS: f64 = 10_000.0;
/// A lane that sent nothing for this long is a new one.
const FORGET_AFTER: Duration = Duration::from_secs(30);
/// What CUBIC needs of queue to keep a link full after it cut its window to 0.7, as a share of the
/// round trip (RFC 9438 section 4.6: 0.3 / 0.7 = 0.43).
const TARGET_SHARE: f64 = 0.4;
const LEAST_TARGET: Duration = Duration::from_millis(5);
/// What leaves in one go at most: a packet that takes longer leaves a gap behind it.
const RUN: Duration = Duration::from_millis(1);
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of a full packet.
const FULL_PACKET: usize = 1_500;

/// A path as the scheduler sees it. Times are in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct PathView {
    /// Which.
    pub id: PathId,
    /// How long until its pacer opens, from now.
    pub opens_in: f64,
    /// Bytes per second.
    pub rate: f64,
    /// One-way delay, relative to an offset that all paths have in common.
    pub delay: f64,
    /// Its deviation.
    pub deviation: f64,
    /// Share of packets that are lost, 0 to 1.
    pub loss: f64,
    /// Whether it has lost so much for a while that nothing is striped over it.
    pub is_lossy: bool,
    /// Smoothed round trip.
    pub rtt: f64,
    /// The largest packet that fits.
    pub max_packet: usize,
    /// As much is on the way as may be.
    pub is_full: bool,
    /// Its rate is not known yet: only what it is given will tell.
    pub is_untested: bool,
    /// Larger packets than fit now are being tried.
    pub may_carry_more: bool,
    /// Its one-way delay as it is known also while nothing is sent on it, by half of its round trips, with half of
    /// their variation.
    pub steady_delay: f64,
    /// What it carries costs money.
    pub is_metered: bool,
    /// Its place among the paths where one is to carry everything: the smallest is the first.
    pub rank: u64,
}

/// The paths among which is chosen.
#[derive(Clone, Debug, Default)]
pub struct Field {
    /// Those that may carry data now.
    pub chosen: Vec<PathView>,
    /// Those that take what the former have no room for.
    pub spill: Vec<PathView>,
    /// Those that are up, and whose sockets take nothing at the moment.
    pub stalled: Vec<PathView>,
}

impl Field {
    /// Whether anything may be given to the path.
    #[must_use]
    pub fn has(&self, path: PathId) -> bool {
        self.chosen.iter().chain(&self.spill).any(|view| view.id == path)
    }

    /// The path that carries everything where only one is to.
    #[must_use]
    pub fn first(&self) -> Option<PathId> {
        self.chosen.iter().chain(&self.stalled).min_by_key(|view| view.rank).map(|view| view.id)
    }

    /// The path that takes the copy of a packet of `len` bytes that `path` carries: the one on which it
    /// arrives first of those that cost nothing.
    #[must_use]
    pub fn second(&self, path: PathId, len: usize) -> Option<PathId> {
        let fastest_rtt = self.chosen.iter().map(|view| view.rtt).fold(f64::INFINITY, f64::min);
        let may = |view: &&PathView| view.id != path && !view.is_metered && view.max_packet >= len;
        let arrival = |view: &PathView| view.arrival(len as f64, fastest_rtt) + view.deviation;
        let best = self.chosen.iter().filter(may).min_by(|a, b| arrival(a).total_cmp(&arrival(b)));
        best.map(|view| view.id)
    }
}

impl PathView {
    /// What repairs add to the delay of a flow whose order is kept: all of one's time, as soon as there is a
    /// loss in each of the path's round trips.
    fn repairs(&self, fastest_rtt: f64) -> f64 {
        self.repairs_within(self.rtt, fastest_rtt)
    }

    /// The same where there is a loss in each `span`.
    fn repairs_within(&self, span: f64, fastest_rtt: f64) -> f64 {
        let packets = self.rate * span / 1e6 / FULL_PACKET as f64;
        (self.loss * packets).min(1.0) * (fastest_rtt + REPAIR_MICROS)
    }

    /// When `bytes` arrive that are sent on it next, on the path's own clock.
    fn arrival(&self, bytes: f64, fastest_rtt: f64) -> f64 {
        let queue = if self.is_full { self.rtt / 2.0 } else { 0.0 };
        let repair = self.loss * (fastest_rtt + REPAIR_MICROS);
        self.opens_in.max(queue) + 1e6 * bytes / self.rate + self.delay + repair
    }
}

/// What is to be done with a lane's head on a path.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Choice {
    /// It goes over this path; CoDel acts on the lane if it may.
    Take(Option<CodelParams>),
    /// It waits for another path, or for a longer queue.
    Wait,
    /// It fits no path.
    TooBig,
}

/// The plans of all lanes.
#[derive(Debug)]
pub struct Earliest {
    lanes: Vec<Option<Box<Plan>>>,
    /// Backlogged lanes pinned to each path, counted a moment ago.
    pinned: [u32; PathId::COUNT],
    counted_at: Instant,
}

impl Default for Earliest {
    fn default() -> Self {
        Self {
            lanes: std::iter::repeat_with(|| None).take(Lane::COUNT).collect(),
            pinned: [0; PathId::COUNT],
            counted_at: Instant::ZERO,
        }
    }
}

impl Earliest {
    /// Counts the backlogged lanes of each path, if that was not done a moment ago.
    pub fn count<'a>(&mut self, waiting: impl Iterator<Item = LaneView<'a>>, now: Instant) {
        const COUNT_EVERY: Duration = Duration::from_millis(5);
        if now.saturating_since(self.counted_at) < COUNT_EVERY {
            return;
        }
        self.counted_at = now;
        self.pinned = [0; PathId::COUNT];
        for view in waiting.filter(|view| !view.is_sparse) {
            if let Some(plan) = &self.lanes[view.lane.slot()] {
                self.pinned[plan.path.slot()] += 1;
            }
        }
    }

    /// What is to be done with the head of `lane` on `path`, which can send now and is in `field`.
    pub fn choose(
        &mut self,
        lane: &LaneView<'_>,
        path: PathId,
        (field, policy): (&Field, Policy),
        now: Instant,
    ) -> Choice {
        if policy.keeps_flows_whole() {
            return self.keep_whole(lane, path, (field, policy), now);
        }
        if let Some(own) = field.spill.iter().find(|view| view.id == path) {
            return self.spill(lane, own, &field.chosen);
        }
        match self.bond(lane, path, &field.chosen, now) {
            Choice::Take(Some(codel)) => Choice::Take(Some(spill::leave_room(codel, field))),
            choice => choice,
        }
    }

    /// The same over `paths`, all of which are equal.
    fn bond(
        &mut self,
        lane: &LaneView<'_>,
        path: PathId,
        paths: &[PathView],
        now: Instant,
    ) -> Choice {
        let len = lane.head.len();
        let fits = |view: &&PathView| view.max_packet >= len;
        let Some(own) = paths.iter().find(|view| view.id == path).filter(fits) else {
            let may_fit = paths.iter().any(|view| fits(&view) || view.may_carry_more);
            return if may_fit { Choice::Wait } else { Choice::TooBig };
        };
        let fastest_rtt = paths.iter().map(|view| view.rtt).fold(f64::INFINITY, f64::min);
        if paths.iter().filter(fits).count() == 1 {
            self.plan(lane.lane, path, now).path = path;
            return Choice::Take(Some(codel([own].into_iter(), len)));
        }
        let pinned = self.pinned;
        let plan = self.plan(lane.lane, path, now);
        plan.review(lane, paths, &pinned, now);
        if let Mode::Striped(_) = plan.mode {
            let set = StripeSet::of(paths);
            let is_in = set.has(own) || !paths.iter().filter(fits).any(|view| set.has(view));
            let striped = paths.iter().filter(|view| set.has(view));
            return if is_in { Choice::Take(Some(codel(striped, len))) } else { Choice::Wait };
        }
        let is_quiet = lane.is_sparse || lane.packets <= 2;
        let shared =
            |view: &PathView| if is_quiet { 1.0 } else { 1.0 + f64::from(pinned[view.id.slot()]) };
        let arrival = |view: &PathView| {
            let caution = view.deviation;
            view.arrival(len as f64 * shared(view), fastest_rtt) + caution
        };
        let best = paths.iter().filter(fits).min_by(|a, b| arrival(a).total_cmp(&arrival(b)));
        let best = best.expect("the own path fits");
        if is_quiet {
            plan.is_backlogged = false;
            let present = paths.iter().find(|view| view.id == plan.path);
            plan.stick(present, best, arrival, STICKY_MICROS);
            return if plan.path == path { Choice::Take(None) } else { Choice::Wait };
        }
        let is_there = paths.iter().filter(fits).any(|view| view.id == plan.path);
        if !is_there || !plan.is_backlogged {
            plan.is_backlogged = true;
            plan.path = best.id;
        }
        plan.help(lane, own, paths, &pinned, now)
    }

    /// A packet of the lane was sent; `is_last` tells whether its queue is empty now.
    pub fn on_sent(&mut self, lane: Lane, len: usize, is_last: bool, now: Instant) {
        if let Some(plan) = &mut self.lanes[lane.slot()] {
            plan.last_sent = now;
            plan.meter.bytes += len as f64;
            plan.meter.was_empty |= is_last;
        }
    }

    fn plan(&mut self, lane: Lane, path: PathId, now: Instant) -> &mut Plan {
        let slot = &mut self.lanes[lane.slot()];
        let is_old = |plan: &Plan| now.saturating_since(plan.last_sent) > FORGET_AFTER;
        if slot.as_deref().is_some_and(is_old) {
            *slot = None;
        }
        slot.get_or_insert_with(|| Box::new(Plan::new(path, now)))
    }

    /// How many lanes are striped.
    #[must_use]
    pub fn striped(&self) -> usize {
        let plans = self.lanes.iter().flatten();
        plans.filter(|plan| matches!(plan.mode, Mode::Striped(_))).count()
    }
}

/// The paths over which lanes may be striped.
struct StripeSet {
    fastest: f64,
    rate: f64,
}

impl StripeSet {
    fn of(paths: &[PathView]) -> Self {
        Self {
            fastest: paths.iter().map(|view| view.delay).fold(f64::INFINITY, f64::min),
            rate: paths.iter().map(|view| view.rate).sum(),
        }
    }

    fn has(&self, view: &PathView) -> bool {
        view.delay - self.fastest <= MAX_SPREAD_MICROS
            && (view.is_untested || view.rate >= MIN_RATE_SHARE * self.rate)
            && !view.is_lossy
    }
}

/// What CoDel allows a lane that goes over one path only.
#[must_use]
pub fn codel_of_one(path: &PathView) -> CodelParams {
    codel([path].into_iter(), FULL_PACKET)
}

/// What CoDel allows a lane that goes over these paths.
fn codel<'a>(paths: impl Iterator<Item = &'a PathView> + Clone, len: usize) -> CodelParams {
    let fastest_rtt = paths.clone().map(|view| view.rtt).fold(f64::INFINITY, f64::min);
    // What waits for a repair takes longer, and so does the answer to its sender.
    let seen = |view: &PathView| {
        let span = view.rtt.max(LEAST_INTERVAL.as_micros() as f64);
        view.rtt + view.repairs_within(span, fastest_rtt)
    };
    let (rtt, rate, is_untested) = paths.fold((0.0f64, 0.0, false), |(rtt, rate, any), view| {
        (rtt.max(seen(view)), rate + view.rate, any || view.is_untested)
    });
    // On a thin way what CUBIC needs is counted in packets, and one that is just leaving is no queue.
    let packets = Duration::from_secs_f64(1.5 * len as f64 / rate.max(1.0)).saturating_sub(RUN);
    let round = Duration::from_micros(rtt as u64);
    let interval = round.max(LEAST_INTERVAL);
    // A sender that is told to slow down before the paths have shown what they carry never fills them.
    let target = if is_untested { interval } else { round.mul_f64(TARGET_SHARE) };
    CodelParams { target: target.max(LEAST_TARGET) + packets, interval }
}
