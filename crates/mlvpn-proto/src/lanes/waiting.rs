//! The lanes that wait, by what ends the wait.

use std::collections::BTreeSet;

use crate::time::Instant;
use crate::transit::SentAt;
use crate::wire::v2::Lane;

/// Each lane that holds packets is here, with the hole at its head.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// When to look at a lane again.
    timers: BTreeSet<(Instant, Lane)>,
    /// Holes that are not proven lost, by the send time that all paths have to pass.
    unproven: BTreeSet<(SentAt, Lane)>,
}

/// Under what a lane is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Filed {
    pub(super) due: Instant,
    pub(super) unproven: Option<SentAt>,
}

impl Waiting {
    pub(super) fn insert(&mut self, lane: Lane, filed: Filed) {
        self.timers.insert((filed.due, lane));
        if let Some(sent) = filed.unproven {
            self.unproven.insert((sent, lane));
        }
    }

    pub(super) fn remove(&mut self, lane: Lane, filed: Filed) {
        self.timers.remove(&(filed.due, lane));
        if let Some(sent) = filed.unproven {
            self.unproven.remove(&(sent, lane));
        }
    }

    /// The hole that is due first.
    pub(super) fn first(&self) -> Option<(Instant, Lane)> {
        self.timers.first().copied()
    }

    /// The hole that will be proven lost first.
    pub(super) fn first_unproven(&self) -> Option<(SentAt, Lane)> {
        self.unproven.first().copied()
    }
}
