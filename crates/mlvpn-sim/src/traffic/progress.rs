//! Bytes over time.

use core::time::Duration;

use mlvpn_proto::time::Instant;

/// Microseconds per slot.
const SLOT: u64 = 10_000;

/// Bytes that an application received, in slots of 10 ms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    slots: Vec<u64>,
    total: u64,
    last: Option<Instant>,
}

impl Progress {
    /// `bytes` more were received.
    pub fn add(&mut self, bytes: u64, now: Instant) {
        if bytes == 0 {
            return;
        }
        let slot = (now.as_micros() / SLOT) as usize;
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, 0);
        }
        self.slots[slot] += bytes;
        self.total += bytes;
        self.last = Some(now);
    }

    /// Bytes in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// When the last bytes came.
    #[must_use]
    pub fn last(&self) -> Option<Instant> {
        self.last
    }

    /// Bits per second from `from` to `to`, both rounded down to slots; 0 for an empty span.
    #[must_use]
    pub fn rate(&self, from: Instant, to: Instant) -> f64 {
        let slots = self.span(from, to);
        let bits = slots.iter().sum::<u64>() as f64 * 8.0;
        let (from, to) = (from.as_micros() / SLOT, to.as_micros() / SLOT);
        if to > from { bits * 1e6 / ((to - from) * SLOT) as f64 } else { 0.0 }
    }

    /// The longest time without a byte between `from` and `to`, to the slot.
    #[must_use]
    pub fn longest_silence(&self, from: Instant, to: Instant) -> Duration {
        let slots = self.span(from, to);
        let known = slots.split(|&bytes| bytes > 0).map(<[u64]>::len).max().unwrap_or(0);
        // Nothing is recorded behind the last byte.
        let asked = ((to.as_micros() / SLOT).saturating_sub(from.as_micros() / SLOT)) as usize;
        let tail = slots.iter().rev().take_while(|&&bytes| bytes == 0).count();
        Duration::from_micros(known.max(tail + asked - slots.len()) as u64 * SLOT)
    }

    fn span(&self, from: Instant, to: Instant) -> &[u64] {
        let clip = |at: Instant| ((at.as_micros() / SLOT) as usize).min(self.slots.len());
        &self.slots[clip(from)..clip(to).max(clip(from))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_silences() {
        let ms = Instant::from_millis;
        let mut progress = Progress::default();
        progress.add(1_000, ms(5));
        progress.add(1_000, ms(55));
        assert_eq!(progress.rate(ms(0), ms(100)), 160_000.0);
        assert_eq!(progress.rate(ms(50), ms(60)), 800_000.0);
        assert_eq!(progress.rate(ms(60), ms(60)), 0.0);
        assert_eq!(progress.longest_silence(ms(0), ms(60)), Duration::from_millis(40));
        assert_eq!(progress.longest_silence(ms(0), ms(160)), Duration::from_millis(100));
        assert_eq!(progress.longest_silence(ms(200), ms(300)), Duration::from_millis(100));
        assert_eq!((progress.total(), progress.last()), (2_000, Some(ms(55))));
    }
}
