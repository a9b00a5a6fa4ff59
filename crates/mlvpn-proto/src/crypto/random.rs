//! Random bytes of which nothing can be found out afterwards.

use core::convert::Infallible;
use core::fmt;

use chacha20::ChaCha12Rng;
use rand_core::{SeedableRng, TryCryptoRng, TryRng};
use zeroize::Zeroizing;

/// A generator that forgets what it made: whoever reads the memory later can work out what it will make,
/// and not the keys that it has made (Bernstein, "Fast-key-erasure random-number generators", 2017).
///
/// [`TryRng::try_fill_bytes`] is for secrets, and draws a new key for the generator behind each. Single words,
/// which are for what the network sees anyway, come from the stream of the key of that time.
pub(crate) struct ErasingRng(ChaCha12Rng);

impl ErasingRng {
    /// It makes the same bytes whenever it is given the same `seed`.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(*Zeroizing::new(seed)))
    }
}

impl fmt::Debug for ErasingRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErasingRng").finish_non_exhaustive()
    }
}

impl TryRng for ErasingRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(bytes)?;
        let mut key = Zeroizing::new([0; 32]);
        self.0.try_fill_bytes(key.as_mut_slice())?;
        // The former one is erased as it is dropped.
        self.0 = ChaCha12Rng::from_seed(*key);
        Ok(())
    }
}

impl TryCryptoRng for ErasingRng {}

#[cfg(test)]
mod tests {
    use rand_core::Rng as _;

    use super::*;

    fn bytes(rng: &mut ErasingRng) -> [u8; 32] {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        bytes
    }

    /// What somebody sees who reads the memory.
    fn stolen(rng: &ErasingRng) -> ChaCha12Rng {
        ChaCha12Rng::from_seed(rng.0.get_seed())
    }

    #[test]
    fn bytes_that_were_made_are_not_in_the_stream_of_the_key_that_is_left() {
        let mut rng = ErasingRng::new([7; 32]);
        rng.next_u32();
        let secret = bytes(&mut rng);
        let mut thief = stolen(&rng);
        let mut stream = vec![0; 1 << 16];
        thief.fill_bytes(&mut stream);
        assert!(!stream.windows(32).any(|window| window == secret));
        // What comes next is.
        let next = bytes(&mut rng);
        assert_eq!(stream[..32], next);
    }

    #[test]
    fn the_same_seed_makes_the_same_bytes_and_none_twice() {
        let made = |seed| {
            let mut rng = ErasingRng::new([seed; 32]);
            [bytes(&mut rng), bytes(&mut rng), bytes(&mut rng)]
        };
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
        let [first, second, third] = made(1);
        assert!(first != second && second != third && first != third);
    }

    #[test]
    fn nothing_of_it_shows_in_debug_output() {
        assert_eq!(format!("{:?}", ErasingRng::new([7; 32])), "ErasingRng { .. }");
    }
}
