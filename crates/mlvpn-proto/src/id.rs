//! Numbers with a meaning, so that one cannot be taken for another.

use core::fmt;

/// A link's slot in its session. It names the same link for as long as the link exists and may
/// be given to a new link afterwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkIndex(pub u16);

impl LinkIndex {
    /// The slot as an index into a table.
    #[must_use]
    pub fn slot(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for LinkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Number of a packet on one path and in one direction: nonce, loss detection (v1 `seq`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PacketNumber(pub u64);

/// Place of a data packet in the order that the resequencer restores (v1 `data_seq`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct DataSeq(pub u64);

impl DataSeq {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// What a v1 process draws at random for each of its links when it starts; part of the nonce.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct FlowId(pub u32);
