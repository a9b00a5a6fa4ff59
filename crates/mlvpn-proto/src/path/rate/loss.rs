//! Loss that comes from sending too much, told from loss that radio makes.

use crate::time::{Duration, Instant};

/// A share of packets is judged over at least this many, and this long.
const LEAST_PACKETS: u64 = 50;
const LEAST_TIME: Duration = Duration::from_millis(100);
/// Loss above the usual share that counts as more than chance: at least this share, and so many
/// standard deviations.
const LEAST_EXCESS: f64 = 0.015;
const DEVIATIONS: f64 = 4.0;
/// More loss than this is never taken for chance, and only for usual when sending less did not help.
const HEAVY: f64 = 0.1;
/// How often less is sent before loss is not ours, usually and when it is heavy. A policer with a
/// deep bucket lets more arrive than it will go on to, which takes a second try.
const TRIES: (u32, u32) = (2, 6);
/// Most loss that is ever taken for usual.
const MOST_USUAL: f64 = 0.15;
/// Windows that the usual share is taken from.
const WINDOWS: usize = 6;
/// After this time without excess the next pause is a short one.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// A trial without enough packets for an answer is given up.
const LONGEST_TRIAL: Duration = Duration::from_secs(2);
/// How long the rate stays when it was found to be limited by loss; doubled each time.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));

/// The share of packets lost, and the experiment that tells whether less sending means less loss.
#[derive(Clone, Debug)]
pub(super) struct LossTrend {
    window: Window,
    /// The share that is lost whatever the rate.
    usual: f64,
    /// The shares lost in the latest windows; the least of them is the usual one, as loss by
    /// overload comes and goes.
    recent: [f64; WINDOWS],
    trial: Trial,
    pause: Duration,
    last_excess: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    from: Option<Instant>,
    acked: u64,
    lost: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trial {
    None,
    /// The rate was lowered because of this share of loss; what was sent since then arrives from
    /// the instant on.
    Running {
        share: f64,
        since: Instant,
        tries: u32,
    },
    /// Sending less lowered the loss: the rate does not rise before the instant.
    Confirmed {
        until: Instant,
    },
}

/// What the loss means for the rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    Usual,
    /// More is lost than usual: send no more than what arrives, and see.
    Excess {
        /// So much that it is not radio.
        is_heavy: bool,
    },
    /// Sending less did not help; it was not our rate.
    NotOurs,
}

impl Default for LossTrend {
    fn default() -> Self {
        let (window, trial) = (Window::default(), Trial::None);
        Self {
            window,
            usual: 0.0,
            recent: [0.0; WINDOWS],
            trial,
            pause: PAUSES.0,
            last_excess: Instant::ZERO,
        }
    }
}

impl LossTrend {
    /// `acked` packets have arrived and `lost` have not; a round trip takes `round`.
    pub(super) fn on_report(
        &mut self,
        acked: u64,
        lost: u64,
        round: Duration,
        now: Instant,
    ) -> Verdict {
        self.window.acked += acked;
        self.window.lost += lost;
        let from = *self.window.from.get_or_insert(now);
        let is_over = match self.trial {
            Trial::None => false,
            Trial::Running { since, .. } => now >= since + LONGEST_TRIAL,
            Trial::Confirmed { until } => now >= until,
        };
        if is_over {
            self.trial = Trial::None;
        }
        let packets = self.window.acked + self.window.lost;
        if packets < LEAST_PACKETS || now < from + round.max(LEAST_TIME) {
            return Verdict::Usual;
        }
        let share = self.window.lost as f64 / packets as f64;
        self.window = Window { from: Some(now), acked: 0, lost: 0 };
        self.judge(share, packets, from, round, now)
    }

    /// What is sent when this much arrives and the usual share is lost on the way.
    pub(super) fn before_usual(&self, delivered: f64) -> f64 {
        delivered / (1.0 - self.usual)
    }

    /// The excess is explained by a queue that is full.
    pub(super) fn dismiss(&mut self) {
        self.trial = Trial::None;
    }

    /// The excess is taken for usual without a trial.
    pub(super) fn learn(&mut self) {
        if let Trial::Running { share, .. } = self.trial {
            self.take_for_usual(share);
        }
        self.trial = Trial::None;
    }

    /// Whether the rate must not rise, as it was found that more would be lost.
    pub(super) fn is_limiting(&self) -> bool {
        self.trial != Trial::None
    }

    fn take_for_usual(&mut self, share: f64) {
        self.usual = share.min(MOST_USUAL);
        self.recent = [self.usual; WINDOWS];
    }

    fn note(&mut self, share: f64) {
        self.recent.rotate_right(1);
        self.recent[0] = share;
        self.usual = self.recent.iter().copied().fold(MOST_USUAL, f64::min);
    }

    /// Decides on a window from `from` to `now` in which this share of so many packets was lost.
    fn judge(
        &mut self,
        share: f64,
        packets: u64,
        from: Instant,
        round: Duration,
        now: Instant,
    ) -> Verdict {
        let mean = self.recent.iter().sum::<f64>() / WINDOWS as f64;
        let chance = DEVIATIONS * deviation(mean.max(share / 2.0), packets);
        let limit = mean + LEAST_EXCESS.max(chance);
        let limit = if mean < HEAVY { limit.min(HEAVY) } else { limit };
        match self.trial {
            Trial::Running { since, .. } if from < since => Verdict::Usual,
            Trial::Running { share: before, tries, .. } if share > (mean + before) / 2.0 => {
                if tries < if share < HEAVY { TRIES.0 } else { TRIES.1 } {
                    self.trial = Trial::Running { share, since: now + round, tries: tries + 1 };
                    return Verdict::Excess { is_heavy: share >= HEAVY };
                }
                self.take_for_usual(share);
                self.trial = Trial::None;
                Verdict::NotOurs
            }
            Trial::Running { .. } => {
                self.trial = Trial::Confirmed { until: now + self.pause };
                self.pause = (self.pause * 2).min(PAUSES.1);
                Verdict::Usual
            }
            _ if share > limit => {
                self.trial = Trial::Running { share, since: now + round, tries: 1 };
                if now >= self.last_excess + FORGOTTEN {
                    self.pause = PAUSES.0;
                }
                self.last_excess = now;
                Verdict::Excess { is_heavy: share >= HEAVY }
            }
            _ => {
                self.note(share);
                Verdict::Usual
            }
        }
    }
}

/// The standard deviation of the share lost of `packets` of which each is lost with probability
/// `share`, which is small.
fn deviation(share: f64, packets: u64) -> f64 {
    (share / packets as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: Duration = Duration::from_millis(50);

    /// Feeds reports of 100 packets, `lost` of them lost, one in 100 ms, and returns the verdicts.
    fn feed(trend: &mut LossTrend, from_ms: u64, lost: &[u64]) -> Vec<Verdict> {
        let at = |n: u64| Instant::from_millis(from_ms + n * 100);
        (0..).zip(lost).map(|(n, &lost)| trend.on_report(100 - lost, lost, ROUND, at(n))).collect()
    }

    #[test]
    fn steady_loss_means_nothing() {
        let mut trend = LossTrend::default();
        feed(&mut trend, 0, &[2, 1, 3, 2, 2, 1, 3, 2, 2, 3]);
        let verdicts = feed(&mut trend, 1_000, &[2, 4, 3, 1, 5, 2, 3]);
        assert!(verdicts.iter().all(|&verdict| verdict == Verdict::Usual), "{verdicts:?}");
        assert!(!trend.is_limiting());
    }

    #[test]
    fn loss_that_falls_with_the_rate_holds_it() {
        let mut trend = LossTrend::default();
        feed(&mut trend, 0, &[0; 10]);
        let verdicts = feed(&mut trend, 1_000, &[20, 20, 0, 0, 0]);
        assert!(verdicts.contains(&Verdict::Excess { is_heavy: true }));
        assert!(!verdicts.contains(&Verdict::NotOurs));
        assert!(trend.is_limiting());
    }

    #[test]
    fn heavy_loss_is_never_taken_for_chance() {
        let mut trend = LossTrend::default();
        feed(&mut trend, 0, &[2, 4, 6, 8, 9, 9, 9]);
        let verdicts = feed(&mut trend, 1_000, &[11, 11]);
        assert!(verdicts.contains(&Verdict::Excess { is_heavy: true }), "{verdicts:?}");
    }

    #[test]
    fn loss_that_stays_is_learned() {
        let mut trend = LossTrend::default();
        feed(&mut trend, 0, &[0; 10]);
        let verdicts = feed(&mut trend, 1_000, &[9, 9, 9, 9, 9, 9]);
        assert!(verdicts.contains(&Verdict::NotOurs));
        assert!(!trend.is_limiting());
    }
}
