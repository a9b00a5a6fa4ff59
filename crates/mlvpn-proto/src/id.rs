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

/// A path of a v2 session: one link of the initiator's configuration. It stays for the life of the
/// session, whatever becomes of the path's addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PathId(u8);

impl PathId {
    /// How many paths a session may have: their ids are 0 to 15.
    pub const COUNT: usize = 16;

    /// The path of that number; none when it is above 15.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if (number as usize) < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The path that the low four bits of a byte name.
    #[must_use]
    pub const fn from_low_bits(byte: u8) -> Self {
        Self(byte & 0x0F)
    }

    /// The number of the path, 0 to 15.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The number of the path as an index into a table.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.0 as usize
    }
}

/// Some paths of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PathSet(u16);

impl PathSet {
    /// Whether it has the path.
    #[must_use]
    pub fn has(self, path: PathId) -> bool {
        self.0 & 1 << path.slot() != 0
    }
}

impl FromIterator<PathId> for PathSet {
    fn from_iter<I: IntoIterator<Item = PathId>>(paths: I) -> Self {
        Self(paths.into_iter().fold(0, |set, path| set | 1 << path.slot()))
    }
}

impl From<PathId> for PathSet {
    fn from(path: PathId) -> Self {
        [path].into_iter().collect()
    }
}

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number by which a v2 endpoint recognises what was sealed for one of its epochs. It is drawn
/// at random by the receiver and never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionIndex(pub u32);
