//! Which packet numbers have been seen: a sliding window, RFC 6479.

use crate::id::PacketNumber;

const WORD_BITS: u64 = u64::BITS as u64;
/// A ring of words; one of them is always being refilled, so that the window is one word shorter.
const WORDS: u64 = 129;

/// Remembers the last [`ReplayWindow::SIZE`] packet numbers of one sender on one path.
///
/// Numbers older than the window count as seen. The bitmap is a ring indexed by the number itself
/// and never shifted (RFC 6479 section 2).
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    /// The number after the largest one seen; 0 when none was.
    end: u64,
    ring: Box<[u64; WORDS as usize]>,
}

impl ReplayWindow {
    /// How far behind the largest number seen a packet may be and still be told from a replay.
    pub const SIZE: u64 = (WORDS - 1) * WORD_BITS;

    /// A window that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { end: 0, ring: Box::new([0; WORDS as usize]) }
    }

    /// Whether `number` is new. Changes nothing: call it before opening a packet, and
    /// [`Self::mark`] once the packet has proved authentic.
    #[must_use]
    pub fn is_new(&self, number: PacketNumber) -> bool {
        let number = number.0;
        if number == u64::MAX || self.is_too_old(PacketNumber(number)) {
            return false;
        }
        number >= self.end || self.ring[word(number)] & bit(number) == 0
    }

    /// Marks `number` as seen; returns whether it was new.
    pub fn mark(&mut self, number: PacketNumber) -> bool {
        if !self.is_new(number) {
            return false;
        }
        let number = number.0;
        if number >= self.end {
            self.advance(number);
        }
        self.ring[word(number)] |= bit(number);
        true
    }

    /// Whether `number` lies so far behind the largest that it cannot be told from a replay.
    #[must_use]
    pub fn is_too_old(&self, number: PacketNumber) -> bool {
        number.0.saturating_add(Self::SIZE) < self.end
    }

    /// The largest number seen.
    #[must_use]
    pub fn largest(&self) -> Option<PacketNumber> {
        self.end.checked_sub(1).map(PacketNumber)
    }

    fn advance(&mut self, number: u64) {
        let newest = number / WORD_BITS;
        // The word of the last number seen is in use; those after it hold stale bits.
        let first_stale = if self.end == 0 { 0 } else { (self.end - 1) / WORD_BITS + 1 };
        let from = first_stale.max(newest.saturating_sub(WORDS - 1));
        for stale in from..=newest {
            self.ring[(stale % WORDS) as usize] = 0;
        }
        self.end = number + 1;
    }
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::new()
    }
}

fn word(number: u64) -> usize {
    ((number / WORD_BITS) % WORDS) as usize
}

fn bit(number: u64) -> u64 {
    1 << (number % WORD_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_number_is_new_once() {
        let mut window = ReplayWindow::new();
        assert!(window.mark(PacketNumber(0)));
        assert!(!window.mark(PacketNumber(0)));
        assert!(window.mark(PacketNumber(5)));
        assert!(window.mark(PacketNumber(3)));
        assert!(!window.mark(PacketNumber(3)));
        assert_eq!(window.largest(), Some(PacketNumber(5)));
    }

    #[test]
    fn the_window_ends_where_it_says() {
        let mut window = ReplayWindow::new();
        window.mark(PacketNumber(100_000));
        assert!(window.is_new(PacketNumber(100_001 - ReplayWindow::SIZE)));
        assert!(!window.is_new(PacketNumber(100_000 - ReplayWindow::SIZE)));
    }

    #[test]
    fn the_end_of_the_number_space_does_not_overflow() {
        let mut window = ReplayWindow::new();
        assert!(!window.mark(PacketNumber(u64::MAX)));
        assert!(window.mark(PacketNumber(u64::MAX - 1)));
        assert!(!window.mark(PacketNumber(u64::MAX - 1)));
        assert!(!window.mark(PacketNumber(1)));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set(steps in proptest::collection::vec((any::<bool>(), 0u64..20_000), 1..400)) {
            let mut window = ReplayWindow::new();
            let mut seen = BTreeSet::new();
            let mut base = 0u64;
            for (jump, offset) in steps {
                if jump { base += offset; }
                let number = base.saturating_sub(offset / 2);
                let largest = seen.last().copied().unwrap_or(0);
                let too_old = !seen.is_empty() && number + ReplayWindow::SIZE < largest + 1;
                let expected = !too_old && !seen.contains(&number);
                prop_assert_eq!(window.mark(PacketNumber(number)), expected);
                if expected { seen.insert(number); }
            }
        }
    }
}
