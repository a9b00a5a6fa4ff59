//! What a TERMS frame says (section 4.10): the policy that its sender wants, and what it wants of the paths.

use super::reader::Reader;
use crate::id::PathId;
use crate::policy::{LinkTerms, Policy};
use crate::time::Duration;

/// A frame type that may be skipped: peers that do not know it carry on.
pub(super) const TERMS: u8 = 0x41;

/// Bytes of sequence number and policy.
const HEAD_LEN: usize = 3;
/// Bytes of an entry.
const ENTRY_LEN: usize = 9;
const METERED: u8 = 0x80;
const PATH_BITS: u8 = 0x0F;
/// The largest rate that an entry can hold, in bytes per second.
const MAX_RATE: u64 = (1 << 48) - 1;

/// What its sender wants. A frame replaces those before it: what it does not name is not wanted `[F19]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms<'a> {
    /// Counts the changes: the highest counts.
    pub sequence: u16,
    /// How packets are to be given to the paths; none when the sender has no wish, or one that this version
    /// does not know.
    pub policy: Option<Policy>,
    /// What is wanted of single paths.
    pub paths: TermsList<'a>,
}

/// Entries of a TERMS frame, ready to be sent or as they came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TermsList<'a>(&'a [u8]);

impl<'a> TermsList<'a> {
    /// The entries for `paths`, written into `out`.
    pub fn write(paths: impl Iterator<Item = (PathId, LinkTerms)>, out: &'a mut Vec<u8>) -> Self {
        out.clear();
        for (path, terms) in paths {
            let flags = if terms.is_metered { METERED } else { 0 };
            let cost = u16::try_from(terms.cost.as_millis()).unwrap_or(u16::MAX);
            let rate = terms.max_rate.unwrap_or(0).min(MAX_RATE).to_be_bytes();
            out.push(path.number() | flags);
            out.extend_from_slice(&cost.to_be_bytes());
            out.extend_from_slice(&rate[2..]);
        }
        Self(out)
    }

    /// The entries that were written before.
    #[must_use]
    pub fn of_written(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What is wanted, path by path. Of a path that is named twice the last entry counts.
    pub fn iter(&self) -> impl Iterator<Item = (PathId, LinkTerms)> + use<'a> {
        let (entries, _) = self.0.as_chunks::<ENTRY_LEN>();
        entries.iter().filter_map(|entry| read_entry(&mut Reader(entry)))
    }
}

fn read_entry(reader: &mut Reader<'_>) -> Option<(PathId, LinkTerms)> {
    let (head, cost, rate) = (reader.u8()?, reader.u16()?, reader.u48()?);
    let cost = Duration::from_millis(u64::from(cost)).min(LinkTerms::MAX_COST);
    let is_metered = head & METERED != 0;
    let terms = LinkTerms { max_rate: (rate != 0).then_some(rate), cost, is_metered };
    Some((PathId::from_low_bits(head & PATH_BITS), terms))
}

impl<'a> Terms<'a> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let len = (HEAD_LEN + self.paths.0.len()) as u16;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.push(self.policy.map_or(0, code));
        out.extend_from_slice(self.paths.0);
    }

    /// Reads the content of a frame; nothing when it is too short.
    pub(super) fn read(content: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(content);
        let (sequence, policy) = (reader.u16()?, of_code(reader.u8()?));
        let whole = reader.0.len() - reader.0.len() % ENTRY_LEN;
        Some(Self { sequence, policy, paths: TermsList(reader.bytes(whole)?) })
    }
}

const fn code(policy: Policy) -> u8 {
    match policy {
        Policy::Bond => 1,
        Policy::LowestLatency => 2,
        Policy::Redundant => 3,
        Policy::Backup => 4,
    }
}

fn of_code(byte: u8) -> Option<Policy> {
    Policy::ALL.into_iter().find(|policy| code(*policy) == byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(number: u8) -> PathId {
        PathId::new(number).unwrap()
    }

    #[test]
    fn what_was_written_is_read_and_a_rest_is_passed_over() {
        let lte = LinkTerms {
            max_rate: Some(1_250_000),
            cost: Duration::from_millis(20),
            is_metered: true,
        };
        let wanted = [(path(1), lte), (path(15), LinkTerms::default())];
        let mut bytes = Vec::new();
        let paths = TermsList::write(wanted.into_iter(), &mut bytes);
        let terms = Terms { sequence: 7, policy: Some(Policy::Redundant), paths };
        let mut content = Vec::new();
        terms.write(&mut content);
        content.extend_from_slice(&[1, 2, 3]);
        let read = Terms::read(&content[2..]).unwrap();
        assert_eq!(read, terms);
        assert!(read.paths.iter().eq(wanted));
    }

    #[test]
    fn odd_values_are_bounded_and_short_ones_are_none() {
        let read = Terms::read(&[0, 1, 99, 0x72, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(read.policy, None, "a policy that nobody knows");
        let terms = LinkTerms { cost: LinkTerms::MAX_COST, ..LinkTerms::default() };
        assert!(read.paths.iter().eq([(path(2), terms)]));
        assert_eq!(Terms::read(&[0, 1]), None);
    }
}
