//! Where packet numbers come from.

use crate::id::{PacketNumber, PathId};

/// Numbers the packets of one path in one direction, through all epochs `[S2]`. It only goes up: a
/// session has one for each of its paths, and never begins one anew.
#[derive(Debug)]
pub struct PacketCounter {
    path: PathId,
    next: u64,
}

impl PacketCounter {
    /// Where the numbers of a path end: 62 bits.
    pub const LIMIT: u64 = 1 << 62;

    /// A counter for the first packet of `path`.
    #[must_use]
    pub const fn new(path: PathId) -> Self {
        Self { path, next: 0 }
    }

    /// The number of the next packet; none from 2⁶² on, when the session has to end.
    #[must_use]
    pub fn draw(&mut self) -> Option<UnusedNumber> {
        let number = UnusedNumber { path: self.path, number: PacketNumber(self.next) };
        if self.next >= Self::LIMIT {
            return None;
        }
        self.next += 1;
        Some(number)
    }

    /// Whether so few numbers are left that the session has to end while they last.
    #[must_use]
    pub fn is_running_out(&self) -> bool {
        const NEEDED_TO_END: u64 = 1 << 32;
        self.next >= Self::LIMIT - NEEDED_TO_END
    }

    /// Leaves out the numbers below `number`, if any are left there.
    pub fn advance_to(&mut self, number: PacketNumber) {
        self.next = self.next.max(number.0);
    }

    /// The largest number that was drawn or left out.
    #[must_use]
    pub fn largest(&self) -> Option<PacketNumber> {
        self.next.checked_sub(1).map(PacketNumber)
    }
}

/// A packet number under which nothing was sealed yet. It cannot be copied, and sealing consumes it.
#[derive(Debug)]
pub struct UnusedNumber {
    path: PathId,
    number: PacketNumber,
}

impl UnusedNumber {
    /// The path whose number it is.
    #[must_use]
    pub fn path(&self) -> PathId {
        self.path
    }

    /// The number.
    #[must_use]
    pub fn number(&self) -> PacketNumber {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_up_by_one_and_end_before_two_to_the_62() {
        let mut counter = PacketCounter::new(PathId::default());
        assert_eq!(counter.largest(), None);
        assert_eq!(counter.draw().unwrap().number(), PacketNumber(0));
        assert_eq!(counter.draw().unwrap().number(), PacketNumber(1));
        let last = PacketNumber(PacketCounter::LIMIT - 1);
        counter.advance_to(last);
        counter.advance_to(PacketNumber(0));
        assert_eq!(counter.draw().unwrap().number(), last);
        assert!(counter.draw().is_none());
        assert!(counter.draw().is_none());
        assert_eq!(counter.largest(), Some(last));
    }
}
