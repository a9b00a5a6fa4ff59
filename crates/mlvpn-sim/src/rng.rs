//! Randomness that one seed decides.
//!
//! Every consumer takes a stream of its own, by name, so that adding a consumer does not change
//! what the others draw.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// The seed of a whole simulation, from which independent streams are taken by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The stream called `name`: always the same for the same seed and name.
    #[must_use]
    pub fn stream(self, name: &str) -> Stream {
        let mut inner = ChaCha8Rng::seed_from_u64(self.0);
        inner.set_stream(fnv1a(name.as_bytes()));
        Stream { inner }
    }

    /// A seed for a part of the simulation which takes streams of its own.
    #[must_use]
    pub fn derive(self, name: &str) -> Self {
        Self(self.stream(name).next_u64())
    }
}

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub struct Stream {
    inner: ChaCha8Rng,
}

impl Stream {
    /// A uniform 64-bit number.
    pub fn next_u64(&mut self) -> u64 {
        self.inner.next_u64()
    }

    /// A uniform number in `[0, 1)`, a multiple of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// `true` with probability `p`; never when `p` is 0 or less, always when 1 or more.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// A uniform number below `bound`, which is at least 1. Its bias is below `bound` / 2^64.
    ///
    /// # Panics
    /// When `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Approximately normal, mean 0 and standard deviation 1, never beyond ±6.
    ///
    /// The sum of twelve uniform numbers (Irwin–Hall): additions only, so that every platform draws
    /// exactly the same, which the logarithm and cosine of Box–Muller do not promise.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.inner.fill_bytes(bytes);
    }
}

/// FNV-1a, 64 bits (RFC 9923): a hash that is the same everywhere and in every run.
#[must_use]
pub fn fnv1a(bytes: &[u8]) -> u64 {
    fnv1a_extend(0xcbf2_9ce4_8422_2325, bytes)
}

/// Continues the FNV-1a hash `hash` with `bytes`.
#[must_use]
pub fn fnv1a_extend(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_repeatable_and_independent() {
        let draw = |seed, name: &str| Seed(seed).stream(name).next_u64();
        assert_eq!(draw(1, "loss"), draw(1, "loss"));
        assert_ne!(draw(1, "loss"), draw(1, "jitter"));
        assert_ne!(draw(1, "loss"), draw(2, "loss"));
        assert_ne!(Seed(1).derive("a"), Seed(1).derive("b"));
    }

    #[test]
    fn fnv1a_matches_its_published_vectors() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut stream = Seed(7).stream("moments");
        let n = 100_000;
        let mean = (0..n).map(|_| stream.uniform()).sum::<f64>() / f64::from(n);
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        let draws: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.015 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        assert!((0..1000).all(|_| stream.below(3) < 3));
        assert!(!stream.chance(0.0) && stream.chance(1.0));
    }
}
