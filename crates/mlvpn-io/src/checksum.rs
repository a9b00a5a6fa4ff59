//! The internet checksum (RFC 1071).

/// A running ones' complement sum of 16-bit words. It is kept in native byte order, which RFC 1071
/// section 2(B) allows, and swapped once at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `data`, which must begin at an even offset of what is summed; an odd last byte is
    /// padded with zero.
    #[must_use]
    pub fn add_bytes(self, data: &[u8]) -> Self {
        // Eight independent lanes of u64 that take u32 words cannot overflow below 32 GiB and are
        // turned into vector additions by the compiler.
        let mut lanes = [0_u64; 8];
        let (blocks, rest) = data.as_chunks::<32>();
        for block in blocks {
            let (words, _) = block.as_chunks::<4>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        let mut sum = fold32(self.0) + lanes.iter().copied().map(fold32).sum::<u64>();
        let (pairs, odd) = rest.as_chunks::<2>();
        for pair in pairs {
            sum += u64::from(u16::from_ne_bytes(*pair));
        }
        if let [last] = odd {
            sum += u64::from(u16::from_ne_bytes([*last, 0]));
        }
        Self(sum)
    }

    /// Adds one 16-bit word given as a number.
    #[must_use]
    pub fn add_word(self, word: u16) -> Self {
        Self(fold32(self.0) + u64::from(word.to_be()))
    }

    /// The 16-bit sum, not complemented: what a partial checksum holds, and 0xffff when the data
    /// contains its own correct checksum.
    #[must_use]
    pub fn fold(self) -> u16 {
        let mut sum = fold32(self.0);
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::from_be(sum as u16)
    }

    /// The checksum: the complement of [`Sum::fold`].
    #[must_use]
    pub fn finish(self) -> u16 {
        !self.fold()
    }
}

/// Brings a sum below 2^33 without changing its value modulo 0xffff.
fn fold32(sum: u64) -> u64 {
    (sum & 0xffff_ffff) + (sum >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(data: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in data.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::new().add_bytes(&data).fold(), 0xddf2);
    }

    #[test]
    fn a_sum_of_ones_does_not_overflow() {
        let data = vec![0xff; 65536];
        assert_eq!(Sum::new().add_bytes(&data).finish(), naive(&data));
    }

    proptest! {
        #[test]
        fn equals_the_naive_sum(data in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(Sum::new().add_bytes(&data).finish(), naive(&data));
        }

        #[test]
        fn may_be_taken_in_even_parts(
            data in proptest::collection::vec(any::<u8>(), 0..400), cut in 0_usize..200, word: u16,
        ) {
            let cut = (cut * 2).min(data.len() & !1);
            let parts = Sum::new().add_bytes(&data[..cut]).add_word(word).add_bytes(&data[cut..]);
            let mut whole = word.to_be_bytes().to_vec();
            whole.extend_from_slice(&data);
            prop_assert_eq!(parts.finish(), naive(&whole));
        }
    }
}
