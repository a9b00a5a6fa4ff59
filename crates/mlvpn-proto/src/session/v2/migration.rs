//! A path whose packets come from another address than before `[P4]`.
//!
//! Whoever copies packets on the way and sends them from elsewhere must get nothing for it. So both
//! addresses are challenged, and the new one is used only when it answers and the former does not.

use super::path::Route;
use crate::path::validation::{Token, Validation};
use crate::time::{Duration, Instant};

/// A new address that did not answer for this long is forgotten.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// How many probe timeouts either address has to answer, and how long at most: the path must not be given up
/// meanwhile, though its round trip is not known.
const ANSWERS_WITHIN: u32 = 3;
const ANSWERS_WITHIN_AT_MOST: Duration = Duration::from_secs(1);

/// A change of address that is being looked into.
#[derive(Clone, Debug)]
pub(crate) struct Migration {
    pub(crate) to: Route,
    pub(crate) new: Validation,
    pub(crate) former: Validation,
    started: Instant,
    patience: Duration,
}

/// What has become of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is not known yet; something is to be done at that time at the latest.
    Open(Instant),
    /// The path is where the packets come from now.
    Switch,
    /// The path is where it was.
    Stay,
}

impl Migration {
    /// Begins to look into packets of the path at `from` that came over `to`.
    pub(crate) fn new(from: Route, to: Route, probe_timeout: Duration, now: Instant) -> Self {
        let mut former = Validation::new(from.remote, now);
        // It was validated once: what is sent there is no amplification.
        former.trust();
        Self {
            to,
            new: Validation::new(to.remote, now),
            former,
            started: now,
            patience: (probe_timeout * ANSWERS_WITHIN).min(ANSWERS_WITHIN_AT_MOST),
        }
    }

    /// A response came over `route`. The token that went to the former address proves that the peer
    /// receives there, wherever the response seems to come from: a copy may have been faster.
    pub(crate) fn on_response(&mut self, token: Token, route: Route) {
        if route == self.to {
            self.new.on_response(token, route.remote);
        }
        self.former.on_response(token, self.former.address());
    }

    /// Whether the new address had the time to answer and did not: the peer may have moved on.
    pub(crate) fn is_fruitless(&self, now: Instant) -> bool {
        !self.new.is_validated() && now >= self.started + self.patience
    }

    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        let deadline = self.started + self.patience;
        if self.former.is_validated() {
            return Verdict::Stay;
        }
        if self.new.is_validated() {
            return if now >= deadline { Verdict::Switch } else { Verdict::Open(deadline) };
        }
        let end = self.started + GIVE_UP_AFTER;
        if now >= end { Verdict::Stay } else { Verdict::Open(end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkIndex;

    fn route(last: u8) -> Route {
        Route { link: LinkIndex(0), remote: ([192, 0, 2, last], 5080).into() }
    }

    fn migration() -> Migration {
        let mut migration =
            Migration::new(route(1), route(2), Duration::from_millis(50), Instant::ZERO);
        migration.new.on_challenge_sent([2; 8], Instant::ZERO);
        migration.former.on_challenge_sent([1; 8], Instant::ZERO);
        migration
    }

    #[test]
    fn the_path_moves_when_only_the_new_address_answers() {
        let mut migration = migration();
        migration.on_response([2; 8], route(2));
        let deadline = Instant::from_millis(150);
        assert_eq!(migration.verdict(Instant::from_millis(149)), Verdict::Open(deadline));
        assert_eq!(migration.verdict(deadline), Verdict::Switch);
    }

    #[test]
    fn the_path_stays_when_the_former_address_answers() {
        let mut migration = migration();
        migration.on_response([2; 8], route(2));
        migration.on_response([1; 8], route(1));
        assert_eq!(migration.verdict(Instant::from_secs(1)), Verdict::Stay);
    }

    #[test]
    fn the_former_address_has_answered_also_when_a_copy_of_the_answer_was_faster() {
        let mut migration = migration();
        migration.on_response([1; 8], route(2));
        migration.on_response([2; 8], route(2));
        assert_eq!(migration.verdict(Instant::from_secs(1)), Verdict::Stay);
    }

    #[test]
    fn a_new_address_that_has_not_answered_in_time_is_in_nobodys_way() {
        let mut migration = migration();
        let deadline = Instant::from_millis(150);
        assert!(!migration.is_fruitless(Instant::from_millis(149)));
        assert!(migration.is_fruitless(deadline));
        migration.on_response([2; 8], route(2));
        assert!(!migration.is_fruitless(deadline));
    }

    #[test]
    fn nobody_answers_for_the_new_address() {
        let mut migration = migration();
        migration.on_response([2; 8], route(1));
        migration.on_response([3; 8], route(2));
        assert!(matches!(migration.verdict(Instant::from_secs(9)), Verdict::Open(_)));
        assert_eq!(migration.verdict(Instant::from_secs(10)), Verdict::Stay);
    }
}
