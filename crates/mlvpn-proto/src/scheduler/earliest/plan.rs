//! What is decided of one lane: its path, whether it is striped, and how that does.

use super::{Choice, PathView, StripeSet, codel};
use crate::id::PathId;
use crate::queue::LaneView;
use crate::time::{Duration, Instant};

/// How long the slower path must have been of use until the lane is striped.
const STRIPE_AFTER: Duration = Duration::from_millis(5);
/// The least gain for which a sparse lane changes its path, beside what it asks for: a share of the delay.
const STICKY_SHARE: f64 = 0.20;
/// A lane's rate is measured over this time.
const RATE_WINDOW: Duration = Duration::from_millis(250);
/// A striped lane that takes less than this share of what one path would give it needs no striping.
const NEEDS_STRIPING: f64 = 0.9;
/// So many windows in a row.
const CALM_WINDOWS: u32 = 2;
/// A striped lane must make at least this much of what it made before, after so many of the slowest
/// path's round trips and at least this time: a window that grows slowly gets the time to.
const TRIAL_SHARE: f64 = 0.85;
const TRIAL_ROUNDS: u32 = 10;
const TRIAL_TIME: Duration = Duration::from_millis(1_500);
/// One that falls below this is a failure without waiting for the end, after as many round trips.
const COLLAPSE_SHARE: f64 = 0.6;
const COLLAPSE_ROUNDS: u32 = 4;
/// How long a lane is left whole after a trial that failed: doubling.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSES: u32 = 8;

#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) mode: Mode,
    pub(super) path: PathId,
    pub(super) last_sent: Instant,
    pub(super) meter: Meter,
    /// Since when a slower path would be of use.
    pub(super) helped_since: Option<Instant>,
    pub(super) pauses: u32,
    pub(super) whole_until: Option<Instant>,
    /// Whether its queue stood when it was looked at last.
    pub(super) is_backlogged: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    Pinned,
    Striped(Striping),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Striping {
    pub(super) since: Instant,
    /// Bytes per second that the lane made before.
    pub(super) rate_before: f64,
    pub(super) calm_windows: u32,
    pub(super) has_passed: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    pub(super) start: Instant,
    pub(super) bytes: f64,
    pub(super) rate: f64,
    /// Whether the lane's queue was seen empty in the window.
    pub(super) was_empty: bool,
}

impl Plan {
    pub(super) fn new(path: PathId, now: Instant) -> Self {
        Self {
            mode: Mode::Pinned,
            path,
            last_sent: now,
            meter: Meter { start: now, bytes: 0.0, rate: 0.0, was_empty: true },
            helped_since: None,
            pauses: 0,
            whole_until: None,
            is_backlogged: false,
        }
    }

    /// The sparse lane's path is the best one, unless the gain is too small.
    pub(super) fn stick(
        &mut self,
        present: Option<&PathView>,
        best: &PathView,
        arrival: impl Fn(&PathView) -> f64,
        least_gain: f64,
    ) {
        let Some(present) = present else {
            self.path = best.id;
            return;
        };
        let gain = arrival(present) - arrival(best);
        let delay = present.rtt / 2.0;
        if gain > least_gain.max(STICKY_SHARE * delay) {
            self.path = best.id;
        }
    }

    /// A backlogged lane on one path: whether `own` may take its head.
    pub(super) fn help(
        &mut self,
        lane: &LaneView<'_>,
        own: &PathView,
        paths: &[PathView],
        pinned: &[u32; PathId::COUNT],
        now: Instant,
    ) -> Choice {
        let is_whole = self.whole_until.is_some_and(|until| now < until);
        let pinned_path = paths.iter().find(|view| view.id == self.path);
        let Some(first) = pinned_path else { return Choice::Wait };
        let set = StripeSet::of(paths);
        if own.id == self.path {
            let has_help = paths.iter().any(|view| view.id != self.path && set.has(view));
            let is_alone = is_whole || !has_help;
            return Choice::Take(is_alone.then(|| codel([first].into_iter(), lane.head.len())));
        }
        if is_whole || !set.has(own) {
            return Choice::Wait;
        }
        let lanes = f64::from(pinned[first.id.slot()].max(1));
        let wait = 1e6 * lane.bytes as f64 * lanes / first.rate;
        if wait < own.delay - first.delay + own.deviation + own.repairs(first.rtt) {
            self.helped_since = None;
            return Choice::Wait;
        }
        let since = *self.helped_since.get_or_insert(now);
        if now.saturating_since(since) >= STRIPE_AFTER {
            let rate_before = self.meter.now(now);
            self.mode = Mode::Striped(Striping {
                since: now,
                rate_before,
                calm_windows: 0,
                has_passed: false,
            });
        }
        Choice::Take(None)
    }

    /// Looks at what the lane made, window by window.
    pub(super) fn review(
        &mut self,
        lane: &LaneView<'_>,
        paths: &[PathView],
        pinned: &[u32; PathId::COUNT],
        now: Instant,
    ) {
        let elapsed = now.saturating_since(self.meter.start);
        if elapsed < RATE_WINDOW {
            return;
        }
        let rate = self.meter.bytes / elapsed.as_secs_f64();
        let was_empty = self.meter.was_empty;
        self.meter = Meter { start: now, bytes: 0.0, rate, was_empty: lane.packets == 0 };
        let Mode::Striped(striping) = &mut self.mode else { return };
        let first = paths.iter().find(|view| view.id == self.path).or(paths.first());
        let Some(first) = first else { return };
        let share = first.rate / f64::from(pinned[first.id.slot()].max(1));
        striping.calm_windows =
            if was_empty && rate < NEEDS_STRIPING * share { striping.calm_windows + 1 } else { 0 };
        // Whole it gets no more than its one path carries, whatever others helped it to before.
        let whole = striping.rate_before.min(share);
        let slowest = paths.iter().map(|view| view.rtt).fold(0.0, f64::max);
        let round = Duration::from_micros(slowest as u64);
        let lasted = now.saturating_since(striping.since);
        let is_over = lasted >= TRIAL_TIME.max(round * TRIAL_ROUNDS);
        let has_collapsed =
            lasted >= RATE_WINDOW.max(round * COLLAPSE_ROUNDS) && rate < COLLAPSE_SHARE * whole;
        if (is_over || has_collapsed) && !striping.has_passed {
            striping.has_passed = is_over;
            if was_empty && rate < TRIAL_SHARE * whole {
                let pause = FIRST_PAUSE * 2u32.pow(self.pauses.min(MAX_PAUSES));
                self.pauses += 1;
                self.whole_until = Some(now + pause);
                self.unstripe();
                return;
            }
            if is_over {
                self.pauses = 0;
            }
        }
        if striping.calm_windows >= CALM_WINDOWS {
            self.unstripe();
        }
    }

    pub(super) fn unstripe(&mut self) {
        self.mode = Mode::Pinned;
        self.helped_since = None;
    }
}

impl Meter {
    /// Bytes per second as of now: of the window that goes on, if that is long enough to tell.
    fn now(&self, now: Instant) -> f64 {
        let elapsed = now.saturating_since(self.start);
        let is_short = elapsed < RATE_WINDOW / 4;
        if is_short { self.rate } else { self.bytes / elapsed.as_secs_f64() }
    }
}
