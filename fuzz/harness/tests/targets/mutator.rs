//! Makes inputs out of a corpus: the same ones from the same seed.

/// Longest input that is made.
const MAX_LEN: usize = 4_096;

/// A source of inputs.
pub(crate) struct Mutator {
    random: u64,
    corpus: Vec<Vec<u8>>,
    words: &'static [&'static [u8]],
}

impl Mutator {
    pub(crate) fn new(seed: u64, corpus: Vec<Vec<u8>>, words: &'static [&'static [u8]]) -> Self {
        Self { random: seed | 1, corpus, words }
    }

    /// One input in eight is random throughout, the others come from the corpus.
    pub(crate) fn next_input(&mut self) -> Vec<u8> {
        if self.corpus.is_empty() || self.below(8) == 0 {
            let len = self.below(300);
            return (0..len).map(|_| self.below(256) as u8).collect();
        }
        let at = self.below(self.corpus.len());
        let mut bytes = self.corpus[at].clone();
        for _ in 0..=self.below(6) {
            self.mutate(&mut bytes);
        }
        bytes.truncate(MAX_LEN);
        bytes
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = (at + self.below(60)).min(bytes.len());
        match self.below(8) {
            0 | 1 if at < bytes.len() => bytes[at] = self.below(256) as u8,
            2 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..end)),
            5 => {
                let copy = bytes[at..end].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            6 if !self.words.is_empty() => {
                let word = self.words[self.below(self.words.len())];
                bytes.splice(at..at, word.iter().copied());
            }
            _ => {
                let other = self.below(self.corpus.len());
                let from = self.below(self.corpus[other].len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&self.corpus[other][from..]);
            }
        }
    }

    /// A number below `end` (Marsaglia, "Xorshift RNGs", 2003).
    fn below(&mut self, end: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % end as u64) as usize
    }
}
