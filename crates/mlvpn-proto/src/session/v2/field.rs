//! Among which paths is chosen: those that are held down, backups and paths that cost money only when the
//! others do not suffice.

use super::Session;
use super::path::Path;
use crate::scheduler::earliest::PathView;
use crate::time::{Duration, Instant};

/// The paths that cost nothing are full when all of them had something to send for so long: what is over
/// sooner, such as a page that loads, is not worth money.
const FULL_AFTER: Duration = Duration::from_secs(1);
/// Once they are, they stay so through pauses of less than the rest of this time.
const STILL_FULL: Duration = Duration::from_millis(200);
const STAYS_FULL: Duration = Duration::from_secs(2);

/// Whether the paths that cost nothing are full.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fullness {
    until: Option<Instant>,
}

impl Fullness {
    /// Looks at them: since when each of them has had something to send.
    fn review(&mut self, busy_since: Option<Instant>, now: Instant) {
        let is_full = self.holds(now);
        let enough = if is_full { STILL_FULL } else { FULL_AFTER };
        if busy_since.is_some_and(|since| now.saturating_since(since) >= enough) {
            self.until = Some(now + STAYS_FULL);
        }
    }

    fn holds(self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

impl Session {
    /// Works out the paths among which the scheduler chooses.
    pub(super) fn view_paths(&mut self, now: Instant) {
        let Self { paths, upload, .. } = self;
        let up = || paths.iter().flatten().map(|path| &**path).filter(|path| path.is_up());
        let all = || up().filter(|path| !path.is_blocked);
        let has_rested = all().any(|path| !path.is_held_down(now));
        let is_rested = |path: &Path| !(has_rested && path.is_held_down(now));
        let ready = || all().filter(|path| is_rested(path));
        let has_main = ready().any(|path| !path.is_backup());
        let is_main = |path: &Path| !(has_main && path.is_backup());
        // A socket that takes nothing for a moment is no reason to pay.
        let has_free = up()
            .any(|path| is_rested(path) && path.is_backup() != has_main && !path.terms.is_metered);
        let is_free = |path: &Path| !(has_free && path.terms.is_metered);
        let chosen = || ready().filter(|path| is_main(path) && is_free(path));
        let spill = || ready().filter(|path| is_main(path) && !is_free(path));
        let has_spill = spill().next().is_some();
        if has_spill {
            upload.fullness.review(busy_since(chosen()), now);
        }
        let is_full = has_spill && upload.fullness.holds(now);
        let used = || chosen().chain(spill().filter(|_| is_full));
        let knows_delays = used().all(|path| path.demand.transit.is_some());
        let view = |path: &Path| path.view(knows_delays, now);
        let stalled = up().filter(|path| path.is_blocked && !path.is_backup());
        let stalled = stalled.filter(|path| is_rested(path) && is_free(path));
        let field = &mut upload.field;
        refill(&mut field.chosen, chosen().map(view));
        refill(&mut field.spill, spill().filter(|_| is_full).map(view));
        refill(&mut field.stalled, stalled.map(view));
        upload.count_waiting(now);
    }
}

/// Since when all of these paths have had something to send; none while it is not known what one of them can
/// carry, or when there are none.
fn busy_since<'a>(paths: impl Iterator<Item = &'a Path>) -> Option<Instant> {
    let busy = |path: &Path| path.rate.is_tested().then_some(path.demand.idle_at);
    paths.map(busy).collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn refill(views: &mut Vec<PathView>, with: impl Iterator<Item = PathView>) {
    views.clear();
    views.extend(with);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_full_after_a_second_and_a_short_pause_changes_nothing() {
        let mut fullness = Fullness::default();
        let at = |ms: u64| Instant::from_millis(10_000 + ms);
        let mut review = |since: Option<u64>, now: u64| {
            fullness.review(since.map(at), at(now));
            fullness.holds(at(now))
        };
        assert!(!review(Some(0), 999));
        assert!(!review(None, 1_000), "nobody knows what they can carry");
        assert!(review(Some(0), 1_000));
        assert!(review(Some(1_100), 1_101), "idle for a moment");
        assert!(review(Some(1_100), 1_300));
        assert!(review(Some(3_200), 3_299));
        assert!(!review(Some(3_290), 3_300), "two seconds after they were seen to be full");
    }
}
