//! Round-trip time, smoothed.

use crate::time::Duration;

/// Smoothed round-trip time and its variation, RFC 6298 section 2 (gains 1/8 and 1/4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RttEstimator {
    state: Option<(Duration, Duration)>,
}

impl RttEstimator {
    /// Takes a measured round trip into account.
    pub fn on_sample(&mut self, rtt: Duration) {
        self.state = Some(match self.state {
            None => (rtt, rtt / 2),
            Some((srtt, rttvar)) => {
                (srtt * 7 / 8 + rtt / 8, rttvar * 3 / 4 + srtt.abs_diff(rtt) / 4)
            }
        });
    }

    /// The smoothed round-trip time, once there was a sample.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        self.state.map(|(srtt, _)| srtt)
    }

    /// The round-trip time's variation, once there was a sample.
    #[must_use]
    pub fn variation(&self) -> Option<Duration> {
        self.state.map(|(_, rttvar)| rttvar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_rfc_6298() {
        let ms = Duration::from_millis;
        let mut rtt = RttEstimator::default();
        assert_eq!(rtt.smoothed(), None);
        rtt.on_sample(ms(80));
        assert_eq!((rtt.smoothed(), rtt.variation()), (Some(ms(80)), Some(ms(40))));
        rtt.on_sample(ms(160));
        assert_eq!((rtt.smoothed(), rtt.variation()), (Some(ms(90)), Some(ms(50))));
    }
}
