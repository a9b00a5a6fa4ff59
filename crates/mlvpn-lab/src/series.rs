//! What was counted over time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Amounts per interval of equal length.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// What is counted, for reports.
    pub name: String,
    /// Length of an interval in seconds.
    pub interval_s: f64,
    /// Bytes in each interval, from the start.
    pub bytes: Vec<u64>,
}

impl Series {
    /// All bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// Mean Mbit/s over the whole time; 0 when that is empty.
    #[must_use]
    pub fn mean_mbit(&self) -> f64 {
        self.mean_mbit_between(0.0, f64::INFINITY)
    }

    /// Mean Mbit/s over the intervals that lie in `from_s..to_s` seconds; 0 when none does.
    #[must_use]
    pub fn mean_mbit_between(&self, from_s: f64, to_s: f64) -> f64 {
        // A millisecond of tolerance, since n * 0.1 is not exact.
        let within = |i: usize| {
            let start = i as f64 * self.interval_s;
            start + 1e-3 >= from_s && start + self.interval_s <= to_s + 1e-3
        };
        let picked: Vec<u64> =
            (0..self.bytes.len()).filter(|i| within(*i)).map(|i| self.bytes[i]).collect();
        if picked.is_empty() {
            return 0.0;
        }
        let seconds = picked.len() as f64 * self.interval_s;
        picked.iter().sum::<u64>() as f64 * 8e-6 / seconds
    }

    /// The rate in each interval: seconds at its end, and Mbit/s.
    #[must_use]
    pub fn points(&self) -> Vec<(f64, f64)> {
        let mbit = |bytes: u64| bytes as f64 * 8e-6 / self.interval_s;
        (1..).zip(&self.bytes).map(|(i, b)| (f64::from(i) * self.interval_s, mbit(*b))).collect()
    }

    /// The sum of several series of the same interval, as long as the longest.
    #[must_use]
    pub fn sum<'a>(name: &str, all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self { name: name.to_owned(), interval_s: 0.1, bytes: Vec::new() };
        for series in all {
            sum.interval_s = series.interval_s;
            if sum.bytes.len() < series.bytes.len() {
                sum.bytes.resize(series.bytes.len(), 0);
            }
            sum.bytes.iter_mut().zip(&series.bytes).for_each(|(sum, b)| *sum += b);
        }
        sum
    }
}

/// Counts from several threads at once.
#[derive(Debug)]
pub(crate) struct Recorder {
    interval: Duration,
    bins: Vec<AtomicU64>,
    total: AtomicU64,
}

impl Recorder {
    /// For `duration`; what comes later counts into the last interval.
    pub(crate) fn new(duration: Duration, interval: Duration) -> Self {
        let bins = duration.as_nanos().div_ceil(interval.as_nanos().max(1)).max(1);
        let bins = (0..bins).map(|_| AtomicU64::new(0)).collect();
        Self { interval, bins, total: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, bytes: u64, at: Duration) {
        let bin = (at.as_nanos() / self.interval.as_nanos().max(1)) as usize;
        self.bins[bin.min(self.bins.len() - 1)].fetch_add(bytes, Ordering::Relaxed);
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(crate) fn series(&self, name: &str) -> Series {
        Series {
            name: name.to_owned(),
            interval_s: self.interval.as_secs_f64(),
            bytes: self.bins.iter().map(|b| b.load(Ordering::Relaxed)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_land_in_their_interval() {
        let recorder = Recorder::new(Duration::from_millis(250), Duration::from_millis(100));
        for (bytes, ms) in [(1, 0), (2, 99), (4, 100), (8, 249), (16, 9_000)] {
            recorder.add(bytes, Duration::from_millis(ms));
        }
        assert_eq!(recorder.total(), 31);
        assert_eq!(recorder.series("x").bytes, [3, 4, 24]);
    }

    #[test]
    fn rates_are_in_megabits_per_second() {
        let series = Series {
            name: String::new(),
            interval_s: 0.1,
            bytes: vec![125_000, 250_000, 0, 125_000],
        };
        assert!((series.mean_mbit() - 10.0).abs() < 1e-9);
        assert!((series.mean_mbit_between(0.1, 0.2) - 20.0).abs() < 1e-9);
        assert!(series.mean_mbit_between(5.0, 6.0).abs() < 1e-9);
        assert!((series.points()[1].1 - 20.0).abs() < 1e-9);
        let sum = Series::sum("both", [&series, &Series { bytes: vec![1; 6], ..series.clone() }]);
        assert_eq!(sum.bytes, [125_001, 250_001, 1, 125_001, 1, 1]);
    }
}
