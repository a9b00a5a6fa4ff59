//! When a path that is sent on faster and faster is full.

use crate::time::{Duration, Instant};

/// Rounds without [`FULL_GROWTH`] after which nothing more is expected.
const FLAT_ROUNDS: u32 = 3;
/// Growth of what arrives in a round that shows that there is room.
const FULL_GROWTH: f64 = 1.25;
/// Reports with a queue after which the path is full, unless one tells of twice the queue.
const REPORTS_OVER: u32 = 2;
/// With this much jitter a queue may be an illusion. If it is none, less than this share of what is sent
/// arrives: a path that is sent on twice as fast as it carries delivers a half. A delay that rises once
/// looks the same for the round over which that is measured, and no longer.
pub(super) const NOTABLE_JITTER: Duration = Duration::from_millis(1);
const ARRIVES_WHOLE: f64 = 0.75;
/// So many times the jitter no illusion is: the delay is the lowest of all at one time and high at the other.
pub(super) const MOST_JITTERS: u32 = 8;
/// Growth of the rate that makes a difference.
const NOTABLE_GROWTH: f64 = 1.1;

/// What a report tells of a path in STARTUP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    /// Bytes per second that arrive.
    pub(super) delivered: Option<f64>,
    /// What arrived in the last round as a share of what was sent for it.
    pub(super) share: Option<f64>,
    /// The queue in this report, and the one that is too much.
    pub(super) queue: Duration,
    pub(super) threshold: Duration,
    /// The jitter, and what it may be.
    pub(super) jitters: (Duration, Duration),
    /// As much arrives as ever, or as was given to it.
    pub(super) is_known: bool,
    /// Packets wait for the path.
    pub(super) is_limited: bool,
    /// How long it takes until more sent is more arrived, and between two reports.
    pub(super) round: Duration,
    pub(super) interval: Duration,
}

impl Sight {
    fn is_calm(&self) -> bool {
        is_calm(self.jitters.0)
    }

    fn is_whole(&self) -> bool {
        self.share.is_none_or(|share| share > ARRIVES_WHOLE)
    }
}

/// The end of STARTUP: a queue, or what arrives does not grow any more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Startup {
    /// Most bytes per second that arrived.
    best: f64,
    flat_rounds: u32,
    reports_over: u32,
    over_since: Option<Instant>,
    /// When all that was sent arrived last.
    whole_at: Instant,
    /// When the rate grew last.
    grown_at: Instant,
    round_ends: Instant,
}

impl Startup {
    /// The queue that stands for certain. With jitter it may be an illusion, and then all that is sent arrives.
    /// Where less arrives than ever, and less is sent than might be, it may be a pause of somebody on the way.
    pub(super) fn certain_queue(&mut self, sight: &Sight, now: Instant) -> Duration {
        if sight.is_whole() {
            self.whole_at = now;
        }
        let varies = !sight.is_calm() && sight.queue < sight.jitters.1 * MOST_JITTERS;
        let is_illusion = (varies || !sight.is_known) && self.has_been_whole(sight, now);
        if is_illusion { Duration::ZERO } else { sight.queue }
    }

    /// Whether the path is full, with the queue that stands for certain.
    pub(super) fn is_full(&mut self, sight: &Sight, queue: Duration, now: Instant) -> bool {
        let has_queue = self.has_queue(queue, sight.threshold, now);
        // Where delays vary, not only what is sent now tells, and so it does where too little is known.
        let is_whole = if sight.is_calm() {
            sight.share.is_some() && sight.is_whole()
        } else {
            self.has_been_whole(sight, now)
        };
        if sight.is_limited {
            // What the rate does now is not known yet, and before it grew there was no queue.
            let is_early = is_whole && now < self.grown_at + lasting(sight.round);
            return self.is_flat(sight, now) || has_queue && !is_early;
        }
        // What little is sent with jitter tells nothing. A pause of somebody on the way is over with the next report.
        let lasting = if is_whole { sight.round } else { sight.interval };
        let lasts = self.over_since.is_some_and(|since| since + lasting <= now);
        has_queue && lasts && sight.is_calm()
    }

    /// The rate changed at `now` from `before` to `after`.
    pub(super) fn on_rate(&mut self, before: f64, after: f64, now: Instant) {
        if after >= before * NOTABLE_GROWTH {
            self.grown_at = now;
        }
    }

    /// Whether all that was sent arrives, or did until lately.
    fn has_been_whole(&self, sight: &Sight, now: Instant) -> bool {
        now < self.whole_at + lasting(sight.round)
    }

    fn has_queue(&mut self, queue: Duration, threshold: Duration, now: Instant) -> bool {
        self.reports_over = if queue > threshold { self.reports_over + 1 } else { 0 };
        self.over_since = (self.reports_over > 0).then(|| self.over_since.unwrap_or(now));
        self.reports_over >= REPORTS_OVER || queue > threshold * 2
    }

    fn is_flat(&mut self, sight: &Sight, now: Instant) -> bool {
        if let Some(delivered) = sight.delivered
            && now >= self.round_ends
        {
            self.round_ends = now + sight.round;
            let is_flat = delivered < self.best * FULL_GROWTH;
            self.flat_rounds = if is_flat { self.flat_rounds + 1 } else { 0 };
            self.best = self.best.max(delivered);
        }
        self.flat_rounds >= FLAT_ROUNDS
    }
}

/// Whether delays with that jitter hardly vary.
pub(super) fn is_calm(jitter: Duration) -> bool {
    jitter < NOTABLE_JITTER
}

/// For so long what was sent before may still be what is told of.
fn lasting(round: Duration) -> Duration {
    round * 3 / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A calm path that half of what is sent arrives on.
    const OVER: Sight = Sight {
        delivered: None,
        share: Some(0.5),
        queue: Duration::ZERO,
        threshold: Duration::from_millis(10),
        jitters: (Duration::ZERO, Duration::ZERO),
        is_known: true,
        is_limited: true,
        round: Duration::from_millis(50),
        interval: Duration::from_millis(6),
    };

    fn at(ms: u64) -> Instant {
        Instant::from_millis(1_000 + ms)
    }

    #[test]
    fn a_path_is_full_when_a_queue_stands() {
        let mut startup = Startup::default();
        let mut is_full = |queue| startup.is_full(&OVER, MS * queue, at(0));
        assert!(!is_full(11));
        assert!(!is_full(3), "a single report may be jitter");
        assert!(!is_full(11));
        assert!(is_full(11));
        assert!(is_full(21));
    }

    #[test]
    fn a_queue_while_all_arrives_is_none_of_a_rate_that_has_just_grown() {
        for jitter in [0, 2] {
            let whole = Sight { share: Some(0.8), jitters: (MS * jitter, MS * jitter), ..OVER };
            let mut startup = Startup::default();
            startup.on_rate(1.0, 1.05, at(30));
            startup.on_rate(1.0, 2.0, at(0));
            startup.certain_queue(&whole, at(0));
            let mut is_full = |ms, sight| startup.is_full(&sight, MS * 30, at(ms));
            assert!(!is_full(10, whole) && !is_full(74, whole));
            assert!(is_full(75, whole), "its effect is known");
        }
        let mut startup = Startup::default();
        startup.on_rate(1.0, 2.0, at(0));
        assert!(startup.is_full(&OVER, MS * 30, at(10)), "what does not arrive stands somewhere");
    }

    #[test]
    fn jitter_is_not_a_queue_while_all_arrives() {
        let mut startup = Startup::default();
        let varies = Sight { jitters: (MS * 2, MS * 3), queue: MS * 23, ..OVER };
        let mut queue = |sight, ms| startup.certain_queue(&sight, at(ms));
        let seen = [(0, 1.0), (10, 0.7), (20, 0.8), (30, 0.6), (94, 0.6), (95, 0.6)];
        let certain = seen
            .map(|(ms, share)| queue(Sight { share: Some(share), ..varies }, ms) > Duration::ZERO);
        assert_eq!(certain, [false, false, false, false, false, true]);
        let whole = Sight { share: Some(1.0), ..varies };
        assert_eq!(
            queue(Sight { queue: MS * 24, ..whole }, 100),
            MS * 24,
            "more than it varies by"
        );
        assert_eq!(queue(Sight { jitters: (Duration::ZERO, MS * 5), ..whole }, 110), MS * 23);
        let unknown = Sight { jitters: (Duration::ZERO, Duration::ZERO), is_known: false, ..whole };
        assert_eq!(queue(unknown, 120), Duration::ZERO, "a pause of somebody on the way");
    }

    #[test]
    fn where_little_is_sent_a_queue_has_to_last() {
        let idle = Sight { is_limited: false, ..OVER };
        let mut startup = Startup::default();
        let mut is_full = |sight, ms, queue| startup.is_full(&sight, MS * queue, at(ms));
        assert!(!is_full(idle, 0, 40) && !is_full(idle, 1, 38) && !is_full(idle, 2, 0), "a pause");
        assert!(!is_full(idle, 10, 40) && !is_full(idle, 15, 38));
        assert!(is_full(idle, 16, 36));
        let whole = Sight { share: Some(1.0), ..idle };
        assert!(!is_full(whole, 20, 36) && !is_full(whole, 59, 36));
        assert!(is_full(whole, 60, 36));
        let varies = Sight { jitters: (MS * 2, MS * 2), ..idle };
        assert!(!is_full(varies, 200, 36), "no queue tells anything");
    }

    #[test]
    fn a_path_is_full_when_three_rounds_bring_no_more() {
        let mut startup = Startup::default();
        let mut is_full = |ms, delivered| {
            startup.is_full(&Sight { delivered: Some(delivered), ..OVER }, MS, at(ms))
        };
        let rates = [100.0, 150.0, 190.0, 200.0, 200.0, 210.0];
        let full: Vec<_> = (1..).zip(rates).map(|(n, rate)| is_full(n * 50, rate)).collect();
        assert_eq!(full, [false, false, false, false, false, true]);
    }
}
