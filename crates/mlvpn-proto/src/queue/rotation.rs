//! In which order the lanes have their turns (RFC 8290 section 4.2).

use std::collections::VecDeque;

use crate::wire::v2::Lane;

/// The lanes that have a turn: first those that have just begun to send, then the others. A position counts
/// through both. A lane may be empty and yet here.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    new: VecDeque<Lane>,
    old: VecDeque<Lane>,
}

/// What became of a lane that had nothing to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Retirement {
    /// It has no turn any more.
    Gone,
    /// It is behind all others now.
    Behind,
    /// It stays where it is.
    Delayed,
}

impl Rotation {
    /// The lane at that position.
    pub(super) fn at(&self, position: usize) -> Option<Lane> {
        let lane = match position.checked_sub(self.new.len()) {
            None => self.new.get(position),
            Some(position) => self.old.get(position),
        };
        lane.copied()
    }

    /// Whether the lane at that position has just begun to send.
    pub(super) fn is_new(&self, position: usize) -> bool {
        position < self.new.len()
    }

    /// All lanes, and whether they have just begun to send.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Lane, bool)> {
        let new = self.new.iter().map(|lane| (*lane, true));
        new.chain(self.old.iter().map(|lane| (*lane, false)))
    }

    /// Lets a lane begin.
    pub(super) fn push_new(&mut self, lane: Lane) {
        self.new.push_back(lane);
    }

    /// Puts the lane at that position behind all others: its share of this round is used up.
    pub(super) fn move_to_end(&mut self, position: usize) {
        let lane = self.remove(position);
        self.old.push_back(lane);
    }

    /// Deals with a lane that has nothing to send at its turn.
    ///
    /// A new lane must wait for one round of the old ones before it may be new again, and an old one leaves only
    /// when none of them is before it. Otherwise a lane that sends a packet now and then would always go first,
    /// and those that wait for another path would never have their turn.
    pub(super) fn retire(&mut self, position: usize) -> Retirement {
        if self.is_new(position) && !self.old.is_empty() {
            self.move_to_end(position);
            Retirement::Behind
        } else if position <= self.new.len() {
            self.remove(position);
            Retirement::Gone
        } else {
            Retirement::Delayed
        }
    }

    fn remove(&mut self, position: usize) -> Lane {
        let lane = match position.checked_sub(self.new.len()) {
            None => self.new.remove(position),
            Some(position) => self.old.remove(position),
        };
        lane.expect("the caller saw a lane at the position")
    }
}
