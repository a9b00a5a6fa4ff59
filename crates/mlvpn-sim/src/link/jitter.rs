//! Delay that varies, as schedulers of radio links make it vary.

use core::time::Duration;

use crate::rng::Stream;

/// How long one value of the variation lasts.
const SLOT_NS: u64 = 10_000_000;
/// Correlation of a slot with the one before it: half is forgotten in about 20 ms.
const CORRELATION: f64 = 0.7;

/// The variation of a delay: a first-order autoregressive process with one value per 10 ms.
///
/// Variation drawn for each packet apart would, under the rule that packets never overtake, become
/// nothing but a longer delay on a busy link; a process in time has the same distribution whatever
/// the packet rate: packets bunch when the delay falls and a gap opens when it rises.
#[derive(Clone, Debug)]
pub(super) struct Jitter {
    rng: Stream,
    slot: u64,
    /// In standard deviations.
    value: f64,
}

impl Jitter {
    pub(super) fn new(mut rng: Stream) -> Self {
        let value = rng.normal();
        Self { rng, slot: 0, value }
    }

    /// The delay in nanoseconds of a packet that leaves at `at_ns`: `delay` and a deviation with
    /// standard deviation `deviation`, never negative. `at_ns` must not decrease.
    pub(super) fn delay_ns(&mut self, delay: Duration, deviation: Duration, at_ns: u64) -> u64 {
        let delay = delay.as_nanos() as u64;
        if deviation.is_zero() {
            return delay;
        }
        self.advance(at_ns / SLOT_NS);
        let varied = delay as f64 + self.value * deviation.as_nanos() as f64;
        // Saturates at zero.
        varied as u64
    }

    fn advance(&mut self, slot: u64) {
        let steps = slot.saturating_sub(self.slot);
        if steps == 0 {
            return;
        }
        self.slot = slot;
        // 0.7^64 is below 2^-32: nothing is left of the past.
        let kept = (0..steps.min(64)).fold(1.0, |kept, _| kept * CORRELATION);
        self.value = kept * self.value + (1.0 - kept * kept).sqrt() * self.rng.normal();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn mean_and_deviation_do_not_depend_on_the_packet_rate() {
        for gap_ns in [100_000, 1_000_000, 50_000_000_u64] {
            let mut jitter = Jitter::new(Seed(3).stream("jitter"));
            let (delay, deviation) = (Duration::from_millis(40), Duration::from_millis(5));
            let n = 2_000 * SLOT_NS.max(gap_ns) / gap_ns;
            let ms: Vec<f64> = (0..n)
                .map(|i| jitter.delay_ns(delay, deviation, i * gap_ns) as f64 / 1e6)
                .collect();
            let mean = ms.iter().sum::<f64>() / n as f64;
            let variance = ms.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            assert!((mean - 40.0).abs() < 1.0, "{gap_ns}: {mean}");
            assert!((variance.sqrt() - 5.0).abs() < 0.5, "{gap_ns}: {variance}");
        }
    }

    #[test]
    fn a_large_deviation_never_makes_a_negative_delay() {
        let mut jitter = Jitter::new(Seed(3).stream("jitter"));
        let delays: Vec<u64> = (0..1_000)
            .map(|i| jitter.delay_ns(Duration::ZERO, Duration::from_millis(5), i * SLOT_NS))
            .collect();
        assert!(delays.contains(&0) && delays.iter().all(|&ns| ns < 60_000_000));
    }
}
