//! Where initiations were answered lately.
//!
//! Somebody who copies packets on their way, and is faster, has his copy of an initiation answered; the
//! initiation itself comes second, from another address, and would be taken for a replay. He could keep every
//! handshake from ending though he takes nothing off the network. So the same bytes are answered once more
//! when they come from elsewhere `[H24]`.

use std::collections::VecDeque;

use crate::handshake::v2::Mac;
use crate::session::v2::path::Route;
use crate::time::{Duration, Instant};

/// How long a copy may be ahead: as long as the epoch of its answer waits for a first packet `[H21]`.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Addresses from which the same initiation is answered: as many epochs wait in a session `[H21]`.
const MAX_ROUTES: usize = 4;
/// Initiations that are remembered; the oldest makes room.
const MAX_ANSWERED: usize = 64;

/// The initiations of the last few seconds.
#[derive(Debug, Default)]
pub(super) struct Answers(VecDeque<Answered>);

#[derive(Debug)]
struct Answered {
    /// What differs when anything of the initiation does.
    mac1: Mac,
    routes: Vec<Route>,
    until: Instant,
}

impl Answers {
    /// Whether the initiation with this mac1, which is right, was answered, and is to be answered again as it
    /// comes from elsewhere.
    pub(super) fn is_due_again(&self, mac1: &Mac, route: Route, now: Instant) -> bool {
        self.0
            .iter()
            .find(|answered| answered.mac1 == *mac1 && answered.until > now)
            .is_some_and(|a| a.routes.len() < MAX_ROUTES && !a.routes.contains(&route))
    }

    /// The initiation with this mac1 was answered.
    pub(super) fn note(&mut self, mac1: Mac, route: Route, now: Instant) {
        if let Some(answered) = self.0.iter_mut().find(|answered| answered.mac1 == mac1) {
            answered.routes.push(route);
            return;
        }
        if self.0.len() == MAX_ANSWERED {
            self.0.pop_front();
        }
        self.0.push_back(Answered { mac1, routes: vec![route], until: now + KEPT_FOR });
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while self.0.front().is_some_and(|answered| answered.until <= now) {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkIndex;

    fn mac(number: usize) -> Mac {
        (number as u128).to_be_bytes()
    }

    fn from(port: u16) -> Route {
        Route { link: LinkIndex(0), remote: ([192, 0, 2, 1], port).into() }
    }

    #[test]
    fn the_same_initiation_is_answered_once_for_each_address() {
        let mut answers = Answers::default();
        let now = Instant::ZERO;
        assert!(!answers.is_due_again(&mac(1), from(1), now), "it is new");
        answers.note(mac(1), from(1), now);
        assert!(!answers.is_due_again(&mac(1), from(1), now));
        assert!(!answers.is_due_again(&mac(2), from(2), now), "another one");
        for port in 2..=4 {
            assert!(answers.is_due_again(&mac(1), from(port), now));
            answers.note(mac(1), from(port), now);
            assert!(!answers.is_due_again(&mac(1), from(port), now));
        }
        assert!(!answers.is_due_again(&mac(1), from(5), now), "an epoch that waits would give way");
    }

    #[test]
    fn after_a_while_it_is_a_replay_wherever_it_comes_from() {
        let mut answers = Answers::default();
        answers.note(mac(1), from(1), Instant::ZERO);
        assert!(answers.is_due_again(&mac(1), from(2), Instant::from_millis(4_999)));
        assert!(!answers.is_due_again(&mac(1), from(2), Instant::from_secs(5)));
        answers.expire(Instant::from_secs(5));
        assert!(answers.0.is_empty());
    }

    #[test]
    fn a_flood_does_not_fill_the_memory() {
        let mut answers = Answers::default();
        (0..1_000).for_each(|number| answers.note(mac(number), from(1), Instant::ZERO));
        assert_eq!(answers.0.len(), MAX_ANSWERED);
        assert!(answers.is_due_again(&mac(999), from(2), Instant::ZERO));
    }
}
