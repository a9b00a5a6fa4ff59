//! A summary of delays.

use serde::Serialize;

/// Smallest, largest and typical of a set of delays, in ms. All are 0 when there was none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Delays {
    /// How many there were.
    pub count: u64,
    /// The smallest.
    pub min_ms: f64,
    /// The mean.
    pub mean_ms: f64,
    /// Half are smaller.
    pub median_ms: f64,
    /// 99 % are smaller.
    pub p99_ms: f64,
    /// The largest.
    pub max_ms: f64,
}

impl Delays {
    /// Summarises delays given in microseconds.
    #[must_use]
    pub fn of_micros(mut delays: Vec<u64>) -> Self {
        delays.sort_unstable();
        let (Some(min), Some(max)) = (delays.first(), delays.last()) else {
            return Self::default();
        };
        let ms = |us: u64| us as f64 / 1e3;
        // Nearest rank.
        let rank = |share: f64| {
            let rank = (share * delays.len() as f64).ceil() as usize;
            ms(delays[rank.clamp(1, delays.len()) - 1])
        };
        Self {
            count: delays.len() as u64,
            min_ms: ms(*min),
            mean_ms: ms(delays.iter().sum()) / delays.len() as f64,
            median_ms: rank(0.5),
            p99_ms: rank(0.99),
            max_ms: ms(*max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_summarised() {
        let delays = Delays::of_micros((1..=200).rev().map(|ms| ms * 1000).collect());
        let expected = Delays {
            count: 200,
            min_ms: 1.0,
            mean_ms: 100.5,
            median_ms: 100.0,
            p99_ms: 198.0,
            max_ms: 200.0,
        };
        assert_eq!(delays, expected);
        assert_eq!(Delays::of_micros(vec![]), Delays::default());
    }
}
