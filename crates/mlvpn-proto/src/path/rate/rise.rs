//! Whether the path carries more than is believed: more is sent for a moment, and what arrives watched.
//!
//! Where delays vary, a rate that is far too low looks like the right one: the few packets that are sent
//! are late by chance, which reads as the queue wanted, and all of them arrive, which reads as all that
//! the path carries. Only sending more tells. It is the upward probe of BBR
//! (draft-ietf-ccwg-bbr, section 5.3.3.3), made only while nothing else lets the rate grow, and more and
//! more rarely while it finds nothing.

use crate::time::{Duration, Instant};

/// The time until the first trial, doubled by each that finds the path full, up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(16));
/// What is sent in a trial, as a multiple of the estimate: each that finds room makes the next one bolder.
const GAINS: [f64; 3] = [1.25, 1.5, 2.0];
/// A trial is so many times as long as the jitter, the time of a packet, and the feedback interval:
/// jitter then makes a twentieth of it, and a packet a twelfth.
const JITTERS: u32 = 24;
const PACKETS: u32 = 12;
const INTERVALS: u32 = 4;
/// An estimate below this share of what it was makes the next trial due after the first pause again:
/// what lowered it may have been an illusion.
const FALLEN: f64 = 0.8;
/// A queue that has grown by more than so many times the jitter, and by more than the time of so many
/// half packets, is no illusion.
const CERTAIN_JITTERS: u32 = 4;
const CERTAIN_HALF_PACKETS: u32 = 3;

/// What is to be known for a trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    pub(super) estimate: f64,
    pub(super) queue: Duration,
    pub(super) jitter: Duration,
    pub(super) packet_time: Duration,
    pub(super) feedback_interval: Duration,
    /// The delay of the control loop.
    pub(super) round: Duration,
}

/// Trials of a higher rate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rise {
    due: Option<Instant>,
    /// Doublings of the first pause.
    failures: u32,
    /// Trials in a row that found room.
    successes: usize,
    /// The highest estimate since the last trial.
    highest: f64,
    trial: Option<Trial>,
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    gain: f64,
    since: Instant,
    until: Instant,
    /// When it is given up for want of reports.
    given_up: Instant,
    /// When the first packet of it arrived, on the receiver's clock.
    from: Option<Instant>,
    most_queue: Duration,
}

impl Rise {
    /// Whether one is running, or its effect is not over.
    pub(super) fn is_on(&self) -> bool {
        self.trial.is_some()
    }

    /// What is to be sent now, as a multiple of the estimate.
    pub(super) fn gain(&self, now: Instant) -> Option<f64> {
        self.trial.filter(|trial| now < trial.until).map(|trial| trial.gain)
    }

    /// Too little is sent for a trial.
    pub(super) fn cancel(&mut self) {
        self.trial = None;
        self.due = None;
    }

    /// Begins a trial if one is due.
    pub(super) fn begin_if_due(&mut self, with: Conditions, now: Instant) {
        if with.estimate < self.highest * FALLEN {
            (self.failures, self.highest) = (0, with.estimate);
            self.due = self.due.map(|due| due.min(now + PAUSES.0));
        }
        self.highest = self.highest.max(with.estimate);
        let pause = PAUSES.0.saturating_mul(2_u32.saturating_pow(self.failures)).min(PAUSES.1);
        let due = *self.due.get_or_insert(now + pause);
        if self.trial.is_some() || now < due {
            return;
        }
        let length = (with.jitter * JITTERS)
            .max(with.packet_time * PACKETS)
            .max(with.feedback_interval * INTERVALS);
        let until = now + length;
        self.trial = Some(Trial {
            gain: GAINS[self.successes.min(GAINS.len() - 1)],
            since: now,
            until,
            given_up: until + with.round * 2 + with.queue,
            from: None,
            most_queue: with.queue
                + (with.jitter * CERTAIN_JITTERS).max(with.packet_time * CERTAIN_HALF_PACKETS / 2),
        });
    }

    /// A report of a packet that was sent at `sent_at` and arrived at `received_at`, the latter on the
    /// receiver's clock. Returns since when, on that clock, what arrives tells of the trial, once all of
    /// it has arrived.
    pub(super) fn on_report(
        &mut self,
        sent_at: Option<Instant>,
        received_at: Instant,
        now: Instant,
    ) -> Option<Instant> {
        let trial = self.trial.as_mut()?;
        if now >= trial.given_up {
            self.cancel();
            return None;
        }
        let sent_at = sent_at?;
        if sent_at >= trial.since {
            let from = *trial.from.get_or_insert(received_at);
            return (sent_at >= trial.until).then_some(from);
        }
        None
    }

    /// Whether the `queue` has grown by so much that the path is full for certain.
    pub(super) fn is_overflowing(&self, queue: Duration) -> bool {
        self.trial.is_some_and(|trial| queue > trial.most_queue)
    }

    /// Whether so large a `share` of what the trial sent arrived in the time in which it was sent that the
    /// path has room: more than half way from what a full path makes of it to all.
    pub(super) fn has_room(&self, share: f64) -> bool {
        self.trial.is_some_and(|trial| share > (1.0 + 1.0 / trial.gain) / 2.0)
    }

    /// The trial is over. With room for more the next follows at once.
    pub(super) fn end(&mut self, has_room: bool, estimate: f64, now: Instant) {
        self.trial = None;
        self.highest = estimate;
        if has_room {
            (self.failures, self.successes) = (0, self.successes + 1);
            self.due = Some(now);
        } else {
            (self.failures, self.successes) = (self.failures + 1, 0);
            self.due = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const CALM: Conditions = Conditions {
        estimate: 1e6,
        queue: Duration::from_millis(5),
        jitter: Duration::ZERO,
        packet_time: MS,
        feedback_interval: Duration::from_millis(10),
        round: Duration::from_millis(50),
    };

    #[test]
    fn a_trial_is_judged_by_what_was_sent_in_it() {
        let mut rise = Rise::default();
        rise.begin_if_due(CALM, Instant::from_millis(0));
        rise.begin_if_due(CALM, Instant::from_millis(1_999));
        assert!(!rise.is_on());
        rise.begin_if_due(CALM, Instant::from_millis(2_000));
        assert_eq!(rise.gain(Instant::from_millis(2_039)), Some(1.25));
        assert_eq!(rise.gain(Instant::from_millis(2_040)), None, "four reports");
        assert!(!rise.is_overflowing(MS * 6) && rise.is_overflowing(MS * 7));
        let mut report = |sent: u64| {
            let sent_at = Instant::from_millis(sent);
            rise.on_report(Some(sent_at), sent_at + MS * 9_000, sent_at + MS * 30)
        };
        assert_eq!(report(1_999), None);
        assert_eq!(report(2_001), None);
        assert_eq!(report(2_039), None);
        assert_eq!(report(2_041), Some(Instant::from_millis(11_001)));
        assert!(rise.has_room(0.91) && !rise.has_room(0.89));
    }

    #[test]
    fn trials_get_bolder_with_success_and_rarer_without() {
        let mut rise = Rise::default();
        let mut now = Instant::ZERO;
        let mut trials = |rise: &mut Rise, outcomes: &[bool]| -> Vec<(u64, f64)> {
            let one = |&has_room: &bool| {
                let since = now;
                while !rise.is_on() {
                    rise.begin_if_due(CALM, now);
                    now += MS * 100;
                }
                let gain = rise.gain(now - MS * 100).expect("it runs");
                rise.end(has_room, CALM.estimate, now);
                (now.saturating_since(since).as_secs(), gain)
            };
            outcomes.iter().map(one).collect()
        };
        let found = trials(&mut rise, &[true, true, true, true, false]);
        assert_eq!(found, [(2, 1.25), (0, 1.5), (0, 2.0), (0, 2.0), (0, 2.0)]);
        let none = trials(&mut rise, &[false; 6]);
        let none: Vec<_> = none.iter().map(|&(seconds, _)| seconds).collect();
        assert_eq!(none, [4, 8, 16, 16, 16, 16]);
        let mut fallen = CALM;
        fallen.estimate *= 0.7;
        rise.begin_if_due(CALM, now);
        rise.begin_if_due(fallen, now);
        rise.begin_if_due(fallen, now + MS * 2_000);
        assert!(rise.is_on(), "what lowered the estimate is in doubt");
    }

    #[test]
    fn without_reports_a_trial_is_given_up() {
        let mut rise = Rise::default();
        rise.begin_if_due(CALM, Instant::from_millis(0));
        rise.begin_if_due(CALM, Instant::from_millis(2_000));
        assert_eq!(rise.on_report(None, Instant::ZERO, Instant::from_millis(2_144)), None);
        assert!(rise.is_on());
        assert_eq!(rise.on_report(None, Instant::ZERO, Instant::from_millis(2_145)), None);
        assert!(!rise.is_on());
    }
}
