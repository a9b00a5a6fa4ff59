//! Bytes that can be checked on arrival without being kept.

/// A pseudo-random byte stream, the same for the same seed. The sender fills buffers from one and the
/// receiver compares with another; both know only the seed.
#[derive(Debug, Clone)]
pub struct Content {
    seed: u64,
    /// Bytes filled or verified so far.
    position: u64,
}

impl Content {
    /// The stream of `seed`, from its beginning.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, position: 0 }
    }

    /// The stream of `seed` from byte `position` on.
    #[must_use]
    pub const fn at(seed: u64, position: u64) -> Self {
        Self { seed, position }
    }

    /// How many bytes have gone by.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Writes the next bytes of the stream.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        self.each_word(buffer, |chunk, word| chunk.copy_from_slice(&word[..chunk.len()]));
    }

    /// Goes back by `count` bytes: they were filled but not sent.
    pub const fn unfill(&mut self, count: u64) {
        self.position = self.position.saturating_sub(count);
    }

    /// Compares with the next bytes of the stream; the number of wrong ones.
    pub fn verify(&mut self, buffer: &mut [u8]) -> u64 {
        let mut wrong = 0;
        self.each_word(buffer, |chunk, word| {
            if *chunk != word[..chunk.len()] {
                wrong += chunk.iter().zip(word).filter(|(a, b)| **a != **b).count() as u64;
            }
        });
        wrong
    }

    /// Calls `visit` with each piece of `buffer` and the expected bytes for it.
    fn each_word(&mut self, buffer: &mut [u8], mut visit: impl FnMut(&mut [u8], &[u8])) {
        let offset = (self.position % 8) as usize;
        let head = if offset == 0 { 0 } else { (8 - offset).min(buffer.len()) };
        let mut index = self.position / 8;
        self.position += buffer.len() as u64;
        let (first, rest) = buffer.split_at_mut(head);
        if head > 0 {
            visit(first, &word(self.seed, index)[offset..]);
            index += 1;
        }
        for chunk in rest.chunks_mut(8) {
            visit(chunk, &word(self.seed, index));
            index += 1;
        }
    }
}

/// Word number `index` of the stream, by the finalizer of SplitMix64 (Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", 2014).
fn word(seed: u64, index: u64) -> [u8; 8] {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_division_into_buffers_gives_the_same_stream() {
        let mut whole = vec![0; 1000];
        Content::new(7).fill(&mut whole);
        for step in [1, 3, 7, 8, 9, 64, 999] {
            let mut pieces = vec![0; 1000];
            let mut content = Content::new(7);
            pieces.chunks_mut(step).for_each(|piece| content.fill(piece));
            assert_eq!(whole, pieces, "step {step}");
            let mut content = Content::new(7);
            let wrong: u64 = whole.chunks_mut(step + 1).map(|piece| content.verify(piece)).sum();
            assert_eq!((wrong, content.position()), (0, 1000));
        }
        let mut tail = whole[333..].to_vec();
        assert_eq!(Content::at(7, 333).verify(&mut tail), 0);
    }

    #[test]
    fn wrong_bytes_are_counted() {
        let mut bytes = vec![0; 100];
        let mut content = Content::new(1);
        content.fill(&mut bytes);
        bytes[0] ^= 1;
        bytes[50] ^= 0x80;
        bytes[99] ^= 1;
        assert_eq!(Content::new(1).verify(&mut bytes), 3);
        assert!(Content::new(2).verify(&mut bytes) > 90, "another seed is another stream");
    }

    #[test]
    fn unfilled_bytes_come_again() {
        let (mut first, mut second) = ([0; 10], [0; 4]);
        let mut content = Content::new(3);
        content.fill(&mut first);
        content.unfill(4);
        content.fill(&mut second);
        assert_eq!(first[6..], second);
    }
}
