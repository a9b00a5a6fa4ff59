//! How a link loses packets that it has already carried.

use crate::rng::Stream;

/// A law by which packets are lost. Probabilities are 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// None is lost.
    #[default]
    None,
    /// Each packet is lost with this probability, independently of the others.
    Random(f64),
    /// Gilbert–Elliott: a good state that loses nothing, and a bad one (E. O. Elliott, "Estimates
    /// of error rates for codes on burst-noise channels", Bell System Technical Journal 42, 1963).
    /// The state may change before each packet.
    Burst {
        /// Probability, per packet, of going from good to bad.
        enter: f64,
        /// Probability, per packet, of going from bad to good: a burst lasts 1 / `leave` packets
        /// on average.
        leave: f64,
        /// Probability that a packet is lost in the bad state.
        severity: f64,
    },
}

impl Loss {
    /// Bursts of `burst` packets (at least 1) on average in which a packet is lost with
    /// probability `severity`, as frequent as it takes to lose the fraction `mean` of all packets.
    ///
    /// From the stationary law `mean = severity * enter / (enter + leave)`. A mean that reaches
    /// the severity leaves no good state.
    #[must_use]
    pub fn bursty(mean: f64, burst: f64, severity: f64) -> Self {
        let leave = 1.0 / burst.max(1.0);
        let bad = if severity > 0.0 { (mean / severity).clamp(0.0, 1.0) } else { 0.0 };
        let enter = if bad < 1.0 { (leave * bad / (1.0 - bad)).min(1.0) } else { 1.0 };
        let leave = if bad < 1.0 { leave } else { 0.0 };
        Self::Burst { enter, leave, severity }
    }

    /// The fraction of packets lost in the long run.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match *self {
            Self::None => 0.0,
            Self::Random(p) => p,
            Self::Burst { enter, .. } if enter <= 0.0 => 0.0,
            Self::Burst { enter, leave, severity } => severity * enter / (enter + leave),
        }
    }
}

/// The state of a [`Loss`] on one direction of a link.
#[derive(Clone, Debug)]
pub(super) struct LossState {
    rng: Stream,
    in_burst: bool,
}

impl LossState {
    pub(super) fn new(rng: Stream) -> Self {
        Self { rng, in_burst: false }
    }

    /// Whether the next packet is lost.
    pub(super) fn is_lost(&mut self, loss: &Loss) -> bool {
        match *loss {
            Loss::None => false,
            Loss::Random(p) => self.rng.chance(p),
            Loss::Burst { enter, leave, severity } => {
                let flip = if self.in_burst { leave } else { enter };
                self.in_burst ^= self.rng.chance(flip);
                self.in_burst && self.rng.chance(severity)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    /// Lost packets and runs of them among `n`.
    fn losses(loss: &Loss, n: u32) -> (u32, u32) {
        let mut state = LossState::new(Seed(11).stream("loss"));
        let mut before = false;
        let (mut lost, mut runs) = (0, 0);
        for _ in 0..n {
            let now = state.is_lost(loss);
            lost += u32::from(now);
            runs += u32::from(now && !before);
            before = now;
        }
        (lost, runs)
    }

    #[test]
    fn random_loss_has_its_frequency() {
        assert_eq!(losses(&Loss::None, 10_000).0, 0);
        // Five standard deviations of a binomial of 100,000 at 1 % are 157.
        let lost = losses(&Loss::Random(0.01), 100_000).0;
        assert!(lost.abs_diff(1_000) < 157, "{lost}");
        assert_eq!(losses(&Loss::Random(1.0), 100).0, 100);
    }

    #[test]
    fn bursts_have_their_mean_and_length() {
        let loss = Loss::bursty(0.02, 8.0, 1.0);
        assert!((loss.mean() - 0.02).abs() < 1e-12);
        let (lost, runs) = losses(&loss, 400_000);
        // 1,000 bursts of 8: relative deviation of the sum about sqrt(2 / 1000) = 4.5 %.
        assert!((f64::from(lost) / 8_000.0 - 1.0).abs() < 0.2, "{lost}");
        let length = f64::from(lost) / f64::from(runs);
        assert!((length - 8.0).abs() < 1.3, "{length}");
    }

    #[test]
    fn a_mean_at_the_severity_is_one_endless_burst() {
        let (lost, _) = losses(&Loss::bursty(1.0, 4.0, 1.0), 100);
        assert_eq!(lost, 100);
        assert_eq!(losses(&Loss::bursty(0.0, 4.0, 1.0), 100).0, 0);
    }
}
