//! The list of numbers in an ACK frame (section 4.9).

use super::packet::TruncatedNumber;

const NUMBER_LEN: usize = 4;

/// Up to 255 packet numbers, either to be sent or as they came.
#[derive(Clone, Copy)]
pub struct AckedNumbers<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Values(&'a [TruncatedNumber]),
    /// A multiple of [`NUMBER_LEN`] bytes.
    Bytes(&'a [u8]),
}

impl<'a> AckedNumbers<'a> {
    /// How many numbers one frame can hold.
    pub const MAX: usize = 255;

    /// The list of `numbers`, as many as fit one frame, and those that are left for the next.
    #[must_use]
    pub fn split(numbers: &'a [TruncatedNumber]) -> (Self, &'a [TruncatedNumber]) {
        let (now, later) = numbers.split_at(numbers.len().min(Self::MAX));
        (Self(Source::Values(now)), later)
    }

    /// The list as it came: `bytes` holds four for each number.
    pub(super) fn from_bytes(bytes: &'a [u8]) -> Self {
        Self(Source::Bytes(bytes))
    }

    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.0 {
            Source::Values(values) => values.len(),
            Source::Bytes(bytes) => bytes.len() / NUMBER_LEN,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers in the order in which they are sent.
    pub fn iter(&self) -> impl Iterator<Item = TruncatedNumber> + use<'a> {
        let (values, bytes): (&[_], &[u8]) = match self.0 {
            Source::Values(values) => (values, &[]),
            Source::Bytes(bytes) => (&[], bytes),
        };
        let (words, _) = bytes.as_chunks::<NUMBER_LEN>();
        let read = words.iter().map(|word| TruncatedNumber(u32::from_be_bytes(*word)));
        values.iter().copied().chain(read)
    }
}

impl PartialEq for AckedNumbers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for AckedNumbers<'_> {}

impl core::fmt::Debug for AckedNumbers<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
