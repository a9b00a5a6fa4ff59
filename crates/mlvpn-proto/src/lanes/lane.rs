//! One lane: which number is due, and what came before its turn or was given up.

use std::collections::VecDeque;

use super::given_up::GivenUp;
use super::hold::Hold;

/// The order of one lane. What only lanes with holes need is not allocated for the others.
#[derive(Debug, Default)]
pub(super) struct LaneState {
    /// The number that is due. Both ends count from 0.
    pub(super) next: u64,
    pub(super) hold: Option<Box<Hold>>,
    given_up: Option<Box<GivenUp>>,
}

impl LaneState {
    /// Delivers the packet that was due.
    pub(super) fn deliver(&mut self, packet: Vec<u8>, out: &mut VecDeque<Vec<u8>>) {
        if let Some(given_up) = &mut self.given_up {
            given_up.on_delivered(self.next);
            if given_up.is_over(self.next) {
                self.given_up = None;
            }
        }
        self.next += 1;
        out.push_back(packet);
    }

    /// Gives up what is due, up to `until`; returns how many numbers those are.
    pub(super) fn give_up(&mut self, until: u64) -> u64 {
        let numbers = self.next..until.max(self.next);
        let count = numbers.end - numbers.start;
        if count > 0 {
            self.next = numbers.end;
            self.given_up.get_or_insert_with(|| Box::new(GivenUp::new())).give_up(numbers);
        }
        count
    }

    /// Whether the packet `seq`, before the one that is due, is late and not a copy, nor so old
    /// that this is not known any more.
    pub(super) fn is_late(&mut self, seq: u64) -> bool {
        self.given_up.as_mut().is_some_and(|given_up| given_up.take(seq, self.next))
    }
}
