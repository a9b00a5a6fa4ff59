//! Shares bytes among links in the ratio of their weights.
//!
//! Stride scheduling (Waldspurger, Weihl 1995): each link has a clock that advances by bytes
//! divided by weight, and the link whose clock is furthest behind is next. Any ratio is honoured
//! to within one run of packets.

use crate::time::{Duration, Instant};

/// Packets go to the same link in runs of this much time at the rate of the moment, so that they
/// leave in one batch; short enough not to be felt by the receiver.
const RUN_TIME: f64 = 0.000_5;
/// A run is never longer than one batch can be.
const MAX_RUN_BYTES: f64 = 60_000.0;
/// Over how long the rate of the moment is measured.
const RATE_WINDOW: Duration = Duration::from_millis(5);
/// How far (in seconds of its own weight) a link may fall behind before the arrears lapse.
const MAX_ARREARS: f64 = 0.1;

/// A scheduler for links with fixed weights.
#[derive(Clone, Debug, Default)]
pub struct Weighted {
    clocks: Vec<Clock>,
    /// The link of the run that is going on, and its bytes so far.
    run: Option<(usize, f64)>,
    rate: RateMeter,
}

#[derive(Clone, Copy, Debug)]
struct Clock {
    weight: f64,
    /// Bytes sent divided by the weight.
    time: f64,
}

impl Weighted {
    /// Sets the weight of the link in `slot`. Only ratios matter; 0 counts as 1.
    pub fn set_weight(&mut self, slot: usize, weight: u64) {
        if self.clocks.len() <= slot {
            let time = self.earliest();
            self.clocks.resize(slot + 1, Clock { weight: 1.0, time });
        }
        self.clocks[slot].weight = weight.max(1) as f64;
    }

    /// The link for the next `len` bytes, among the slots that are `eligible`; none when there
    /// is none. The choice is charged to the link.
    pub fn choose(
        &mut self,
        len: usize,
        eligible: impl Fn(usize) -> bool,
        now: Instant,
    ) -> Option<usize> {
        self.rate.on_bytes(len, now);
        let run_bytes = (self.rate.bytes_per_sec() * RUN_TIME).min(MAX_RUN_BYTES);
        if let Some((slot, bytes)) = self.run
            && bytes + len as f64 <= run_bytes
            && eligible(slot)
        {
            self.run = Some((slot, bytes + len as f64));
            self.charge(slot, len);
            return Some(slot);
        }
        let slot = (0..self.clocks.len())
            .filter(|&slot| eligible(slot))
            .min_by(|&a, &b| self.clocks[a].time.total_cmp(&self.clocks[b].time))?;
        self.forgive_arrears(slot, &eligible);
        self.run = Some((slot, len as f64));
        self.charge(slot, len);
        Some(slot)
    }

    /// Charges bytes to a link that somebody else chose.
    pub fn charge(&mut self, slot: usize, len: usize) {
        if let Some(clock) = self.clocks.get_mut(slot) {
            clock.time += len as f64 / clock.weight;
        }
    }

    /// A link that could not be chosen for a while does not get all that it missed at once.
    fn forgive_arrears(&mut self, slot: usize, eligible: &impl Fn(usize) -> bool) {
        let total: f64 = self.weights(eligible).sum();
        let window = self.rate.bytes_per_sec() * MAX_ARREARS / total.max(1.0);
        let latest = (0..self.clocks.len())
            .filter(|&other| eligible(other))
            .map(|other| self.clocks[other].time)
            .fold(f64::NEG_INFINITY, f64::max);
        let slack = window.max(2.0 * MAX_RUN_BYTES / self.clocks[slot].weight);
        self.clocks[slot].time = self.clocks[slot].time.max(latest - slack);
    }

    fn weights<'a>(
        &'a self,
        eligible: &'a impl Fn(usize) -> bool,
    ) -> impl Iterator<Item = f64> + 'a {
        let of = |(slot, clock): (usize, &Clock)| eligible(slot).then_some(clock.weight);
        self.clocks.iter().enumerate().filter_map(of)
    }

    fn earliest(&self) -> f64 {
        let earliest = self.clocks.iter().map(|clock| clock.time).fold(f64::INFINITY, f64::min);
        if earliest.is_finite() { earliest } else { 0.0 }
    }
}

/// The rate at which bytes come, over the last window that ended.
#[derive(Clone, Copy, Debug, Default)]
struct RateMeter {
    start: Instant,
    bytes: usize,
    last: f64,
}

impl RateMeter {
    fn on_bytes(&mut self, len: usize, now: Instant) {
        let elapsed = now.saturating_since(self.start);
        if elapsed >= RATE_WINDOW {
            self.last = self.bytes as f64 / elapsed.as_secs_f64();
            self.bytes = 0;
            self.start = now;
        }
        self.bytes += len;
    }

    fn bytes_per_sec(&self) -> f64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes per link after one second at `bytes_per_sec`, with packets of the sizes of `lens`.
    fn one_second(weights: &[u64], bytes_per_sec: f64, lens: &[usize]) -> Vec<f64> {
        let mut scheduler = Weighted::default();
        for (slot, &weight) in weights.iter().enumerate() {
            scheduler.set_weight(slot, weight);
        }
        let mut sent = vec![0.0; weights.len()];
        let mut micros = 0.0;
        for &len in lens.iter().cycle() {
            let now = Instant::from_micros(micros as u64);
            if now >= Instant::from_secs(1) {
                break;
            }
            sent[scheduler.choose(len, |_| true, now).unwrap()] += len as f64;
            micros += len as f64 / bytes_per_sec * 1e6;
        }
        sent
    }

    #[test]
    fn any_ratio_holds_to_one_percent_over_a_second() {
        for weights in [&[3, 2][..], &[5, 4], &[4, 3], &[100, 40], &[30, 20, 10], &[1, 1], &[97, 3]]
        {
            for rate in [2.5e6, 12.5e6, 125e6] {
                let sent = one_second(weights, rate, &[1428, 1428, 60, 1428, 576]);
                let all: f64 = sent.iter().sum();
                let total: u64 = weights.iter().sum();
                for (bytes, &weight) in sent.iter().zip(weights) {
                    let error = bytes / all - weight as f64 / total as f64;
                    assert!(error.abs() < 0.002, "{weights:?} at {rate}: {error}");
                }
            }
        }
    }

    #[test]
    fn it_counts_bytes_and_not_packets() {
        let sent = one_second(&[1, 1], 1e6, &[1400, 100]);
        assert!((sent[0] / sent[1] - 1.0).abs() < 0.01, "{sent:?}");
    }

    #[test]
    fn a_fast_stream_goes_in_runs_and_a_slow_one_packet_by_packet() {
        let runs = |bytes_per_sec: f64| {
            let mut scheduler = Weighted::default();
            scheduler.set_weight(0, 1);
            scheduler.set_weight(1, 1);
            let mut last = None;
            let mut changes = 0;
            for packet in 0..10_000 {
                let micros = f64::from(packet) * 1400.0 / bytes_per_sec * 1e6;
                let slot = scheduler.choose(1400, |_| true, Instant::from_micros(micros as u64));
                // The rate is known from the second window on.
                changes += u32::from(slot != last && packet >= 5_000);
                last = slot;
            }
            5_000 / changes
        };
        assert!(runs(125e6) >= 30, "1 Gbit/s fills batches: {}", runs(125e6));
        assert_eq!(runs(1.4e6), 1);
    }

    #[test]
    fn a_link_that_comes_back_gets_its_share_and_not_what_it_missed() {
        let mut scheduler = Weighted::default();
        scheduler.set_weight(0, 1_250_000);
        scheduler.set_weight(1, 1_250_000);
        for packet in 0..2_000 {
            scheduler.choose(1400, |slot| slot == 0, Instant::from_micros(packet * 1_120));
        }
        let mut sent = [0u32; 2];
        for packet in 2_000..3_000 {
            let now = Instant::from_micros(packet * 1_120);
            sent[scheduler.choose(1400, |_| true, now).unwrap()] += 1;
        }
        assert!(sent[1] < 600 && sent[1] >= 500, "{sent:?}");
    }

    proptest! {
        #[test]
        fn only_eligible_links_are_chosen(mask in 0u8..8, lens in proptest::collection::vec(1usize..1500, 1..100)) {
            let mut scheduler = Weighted::default();
            for slot in 0..3 { scheduler.set_weight(slot, slot as u64 + 1); }
            for (at, len) in lens.into_iter().enumerate() {
                let chosen = scheduler.choose(len, |slot| mask & (1 << slot) != 0, Instant::from_millis(at as u64));
                prop_assert_eq!(chosen.is_some(), mask != 0);
                if let Some(slot) = chosen { prop_assert!(mask & (1 << slot) != 0); }
            }
        }
    }
}
