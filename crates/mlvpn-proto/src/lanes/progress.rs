//! How far each path has come: the proof that a packet is not on its way any more.

use crate::id::PathId;
use crate::time::{Duration, Instant};
use crate::transit::SentAt;
use crate::wire::v2::SendTime;

/// How much later than its successors a packet may come within one path, to begin with.
const MIN_ALLOWANCE: Duration = Duration::from_millis(1);
/// The largest allowance for displacement within a path.
const MAX_ALLOWANCE: Duration = Duration::from_millis(40);
/// The allowance is halved after this long without a packet that needed it.
const ALLOWANCE_DECAY: Duration = Duration::from_secs(30);
/// A packet sent this much before the latest of its path is the sign of a clock that was set back,
/// not of displacement.
const STEP: Duration = Duration::from_secs(1);

/// Within one unit of the sender's clock it is not known what was sent first.
const UNIT: Duration = Duration::from_micros(SendTime::UNIT_MICROS);

/// What the paths that may carry data have delivered so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    paths: [PathProgress; PathId::COUNT],
}

#[derive(Clone, Copy, Debug, Default)]
struct PathProgress {
    is_up: bool,
    /// The latest send time of what the path has delivered.
    latest: Option<SentAt>,
    /// Everything sent on it before has arrived, says the peer.
    clear: Option<SentAt>,
    allowance: Allowance,
}

impl Progress {
    /// The path may carry data from now on, or no longer. One that comes up has delivered nothing.
    pub(super) fn set_up(&mut self, path: PathId, is_up: bool) {
        let slot = &mut self.paths[path.slot()];
        if slot.is_up != is_up {
            *slot = PathProgress { is_up, allowance: slot.allowance, ..PathProgress::default() };
        }
    }

    pub(super) fn is_up(&self, path: PathId) -> bool {
        self.paths[path.slot()].is_up
    }

    pub(super) fn set_round_trip(&mut self, path: PathId, round_trip: Duration) {
        let limit = (round_trip / 4).clamp(MIN_ALLOWANCE, MAX_ALLOWANCE);
        self.paths[path.slot()].allowance.limit = limit;
    }

    pub(super) fn on_packet(&mut self, path: PathId, sent: SentAt, now: Instant) {
        let slot = &mut self.paths[path.slot()];
        slot.allowance.decay(now);
        match slot.latest {
            Some(latest) if latest > sent => {
                let displaced = latest.saturating_since(sent);
                if displaced > STEP {
                    slot.latest = Some(sent);
                    slot.clear = None;
                } else {
                    slot.allowance.on_displaced(displaced, now);
                }
            }
            _ => slot.latest = Some(sent),
        }
    }

    /// Nothing that was sent on the path until `as_of` is outstanding.
    pub(super) fn on_clear(&mut self, path: PathId, as_of: SentAt) {
        let slot = &mut self.paths[path.slot()];
        slot.clear = slot.clear.max(Some(as_of.before(UNIT)));
    }

    /// What was sent before this time and has not come does not come any more: every path that is
    /// up keeps the order of what it carries (RFC 1990 section 4.1), but for its allowance, and has
    /// delivered something sent later. None while some path has not delivered anything.
    pub(super) fn frontier(&self) -> Option<SentAt> {
        self.paths
            .iter()
            .filter(|path| path.is_up)
            .try_fold(SentAt::MAX, |least, path| Some(least.min(path.frontier()?)))
    }

    /// The paths that are up, but for those on which nothing sent before `sent` is outstanding as
    /// the peer says.
    pub(super) fn not_clear(&self, sent: SentAt) -> impl Iterator<Item = PathId> {
        (0u8..)
            .map(PathId::from_low_bits)
            .zip(&self.paths)
            .filter(move |(_, path)| path.is_up && path.clear < Some(sent))
            .map(|(id, _)| id)
    }

    #[cfg(test)]
    pub(super) fn allowance(&self, path: PathId) -> Duration {
        self.paths[path.slot()].allowance.allowed()
    }
}

impl PathProgress {
    fn frontier(&self) -> Option<SentAt> {
        let margin = self.allowance.allowed() + UNIT;
        self.latest.map(|latest| latest.before(margin)).max(self.clear)
    }
}

/// How late a packet may come within its own path.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    learned: Duration,
    changed: Instant,
    limit: Duration,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { learned: MIN_ALLOWANCE, changed: Instant::ZERO, limit: MAX_ALLOWANCE }
    }
}

impl Allowance {
    fn allowed(&self) -> Duration {
        self.learned.min(self.limit)
    }

    /// A packet came after one that was sent `displaced` later; the next may by a little more.
    fn on_displaced(&mut self, displaced: Duration, now: Instant) {
        let needed = (displaced * 5 / 4).min(MAX_ALLOWANCE);
        if needed >= self.learned {
            self.learned = needed;
            self.changed = now;
        }
    }

    fn decay(&mut self, now: Instant) {
        if now.saturating_since(self.changed) > ALLOWANCE_DECAY {
            self.learned = (self.learned / 2).max(MIN_ALLOWANCE);
            self.changed = now;
        }
    }
}
