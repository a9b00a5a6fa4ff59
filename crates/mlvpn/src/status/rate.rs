//! What goes through per second, measured over the last second.

use serde::{Deserialize, Serialize};

/// Bytes per second in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// To the peers. Of a link: UDP payload. Of the interface: IP packets read from it.
    pub sent: u64,
    /// From the peers; written to the interface.
    pub received: u64,
}

/// What was counted so far, in bytes, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// To the peers.
    pub sent: u64,
    /// From the peers.
    pub received: u64,
}

impl Volume {
    /// The rates from `former` to this over `seconds`; none when less is counted than before, as after a
    /// session has ended, or when no time has passed.
    #[must_use]
    pub fn rates_since(self, former: Self, seconds: f64) -> Option<Rates> {
        let per_second = |now: u64, before: u64| {
            let bytes = now.checked_sub(before)?;
            (seconds > 0.0).then(|| (bytes as f64 / seconds).round() as u64)
        };
        Some(Rates {
            sent: per_second(self.sent, former.sent)?,
            received: per_second(self.received, former.received)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences_over_time_and_unknown_where_counting_began_anew() {
        let volume = |sent, received| Volume { sent, received };
        let rates = |from, to, seconds| Volume::rates_since(to, from, seconds);
        assert_eq!(
            rates(volume(100, 10), volume(1_600, 10), 1.5),
            Some(Rates { sent: 1_000, received: 0 })
        );
        assert_eq!(rates(volume(100, 10), volume(99, 20), 1.0), None);
        assert_eq!(rates(volume(100, 10), volume(200, 9), 1.0), None);
        assert_eq!(rates(volume(0, 0), volume(1, 1), 0.0), None);
    }
}
