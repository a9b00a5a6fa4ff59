//! What a lane keeps while a hole is waited for.

use core::ops::Range;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::waiting::Filed;
use crate::time::Instant;
use crate::transit::SentAt;

/// How many ranges of announced gaps ahead are remembered per lane; a sender that says more is not
/// believed, and the other rules decide.
const MAX_SKIPS: usize = 64;

/// The packets of a lane that came before their turn, and the gaps announced among them.
#[derive(Debug, Default)]
pub(super) struct Hold {
    packets: BTreeMap<u64, Held>,
    /// Numbers that will not come: the end of each range by its start.
    skips: BTreeMap<u64, u64>,
    /// When the hole at the head was proven lost.
    pub(super) proven: Option<Instant>,
    /// When a packet came that had been sent again for the hole at the head.
    pub(super) repaired: Option<Instant>,
    /// Under what the hole at the head is filed.
    pub(super) filed: Option<Filed>,
}

#[derive(Debug)]
struct Held {
    packet: Vec<u8>,
    behind: Behind,
}

/// What is known from the packets behind a hole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behind {
    /// When the first of them came.
    pub(super) received: Instant,
    /// When the earliest of them was sent. What is missing was sent before.
    pub(super) sent: SentAt,
}

impl Hold {
    /// Keeps a packet; gives it back when its number is taken.
    pub(super) fn place(
        &mut self,
        seq: u64,
        behind: Behind,
        packet: Vec<u8>,
    ) -> Result<(), Vec<u8>> {
        // What lies behind this packet lies also behind the hole before it.
        let behind = match self.packets.range(seq..).next() {
            Some((_, later)) => behind.earliest(later.behind),
            None => behind,
        };
        match self.packets.entry(seq) {
            Entry::Occupied(_) => Err(packet),
            Entry::Vacant(entry) => {
                entry.insert(Held { packet, behind });
                Ok(())
            }
        }
    }

    /// The first number that is held: where the hole at the head ends.
    pub(super) fn first_number(&self) -> Option<u64> {
        self.packets.first_key_value().map(|(&seq, _)| seq)
    }

    /// What is known of the hole at the head.
    pub(super) fn behind(&self) -> Option<Behind> {
        self.packets.first_key_value().map(|(_, held)| held.behind)
    }

    /// A packet of the hole at the head came at `now`. One that was sent later than what is behind the hole was sent
    /// again.
    pub(super) fn on_filled(&mut self, sent: SentAt, now: Instant) {
        if self.behind().is_some_and(|behind| behind.sent < sent) {
            self.repaired = Some(now);
        }
    }

    /// Takes the packet `seq`, if it is the first.
    pub(super) fn take(&mut self, seq: u64) -> Option<Vec<u8>> {
        let first = self.packets.first_entry().filter(|entry| *entry.key() == seq)?;
        Some(first.remove().packet)
    }

    /// These numbers will not come.
    pub(super) fn skip(&mut self, numbers: Range<u64>) {
        if self.skips.len() < MAX_SKIPS {
            let end = self.skips.entry(numbers.start).or_insert(numbers.end);
            *end = numbers.end.max(*end);
        }
    }

    /// Up to where the numbers from `next` on will not come, or are held; none when `next` may
    /// come.
    pub(super) fn skipped_until(&mut self, next: u64) -> Option<u64> {
        while let Some(range) = self.skips.first_entry().filter(|range| *range.key() <= next) {
            if *range.get() > next {
                let end = *range.get();
                return Some(self.first_number().map_or(end, |held| held.min(end)));
            }
            range.remove();
        }
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty() && self.skips.is_empty()
    }
}

impl Behind {
    fn earliest(self, other: Self) -> Self {
        Self { received: self.received.min(other.received), sent: self.sent.min(other.sent) }
    }
}
