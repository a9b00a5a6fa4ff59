//! Which of the last numbers of a lane were given up: whether what comes late is new.

use core::ops::Range;

/// How far behind the number that is due a late packet is told from a copy.
pub(super) const SPAN: u64 = 8_192;
const WORDS: usize = (SPAN / 64) as usize;

/// A bit for each of the [`SPAN`] numbers before the one that is due: set when the number was given
/// up and has not come since. A lane that has lost nothing lately does without.
#[derive(Debug)]
pub(super) struct GivenUp {
    bits: [u64; WORDS],
    /// The number after the last one that was given up.
    end: u64,
}

impl GivenUp {
    pub(super) fn new() -> Self {
        Self { bits: [0; WORDS], end: 0 }
    }

    /// The numbers that were due, up to the end of the range, are given up.
    pub(super) fn give_up(&mut self, numbers: Range<u64>) {
        self.end = numbers.end;
        let mut number = numbers.start.max(numbers.end.saturating_sub(SPAN));
        while number < numbers.end {
            let bit = number % 64;
            let count = (64 - bit).min(numbers.end - number);
            self.bits[word(number)] |= (u64::MAX >> (64 - count)) << bit;
            number += count;
        }
    }

    /// The number that was due has come.
    pub(super) fn on_delivered(&mut self, number: u64) {
        self.bits[word(number)] &= !(1 << (number % 64));
    }

    /// Whether `number`, which is before `next`, was given up; from now on it has come.
    pub(super) fn take(&mut self, number: u64, next: u64) -> bool {
        let is_given_up =
            next - number <= SPAN && self.bits[word(number)] & (1 << (number % 64)) != 0;
        if is_given_up {
            self.on_delivered(number);
        }
        is_given_up
    }

    /// Nothing before `next` is remembered any more as given up.
    pub(super) fn is_over(&self, next: u64) -> bool {
        next - self.end >= SPAN
    }
}

fn word(number: u64) -> usize {
    (number % SPAN / 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn the_bits_agree_with_a_set(
            steps in proptest::collection::vec((any::<bool>(), 1u64..5_000), 1..40),
            start in 0u64..100_000,
            picks in proptest::collection::vec(1u64..20_000, 1..60),
        ) {
            let mut given_up = GivenUp::new();
            let mut set = BTreeSet::new();
            let mut next = start;
            for (is_lost, count) in steps {
                let numbers = next..next + count;
                next += count;
                if is_lost {
                    set.extend(numbers.clone());
                    given_up.give_up(numbers);
                } else {
                    numbers.for_each(|number| given_up.on_delivered(number));
                }
            }
            for number in picks.into_iter().filter_map(|back| next.checked_sub(back)) {
                let expected = next - number <= SPAN && number >= start && set.remove(&number);
                prop_assert_eq!(given_up.take(number, next), expected, "{}", number);
            }
        }
    }

    #[test]
    fn a_jump_of_any_length_is_remembered_as_far_as_the_span() {
        let mut given_up = GivenUp::new();
        given_up.give_up(3..1 << 40);
        assert!(given_up.take((1 << 40) - SPAN, 1 << 40));
        assert!(!given_up.take((1 << 40) - SPAN - 1, 1 << 40));
        assert!(!given_up.take((1 << 40) - SPAN, 1 << 40), "it came once");
        assert!(!given_up.is_over((1 << 40) + SPAN - 1));
        assert!(given_up.is_over((1 << 40) + SPAN));
    }
}
