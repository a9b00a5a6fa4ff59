//! How much delays vary from report to report for another reason than our own queue.

use super::standing::Sent;
use crate::time::{Duration, Instant};

/// Gain of the average.
const GAIN: f64 = 1.0 / 16.0;
/// Reports that come closer together, as gaps cause them, tell of one moment.
const SPACING: Duration = Duration::from_millis(8);
/// So many values without any are taken to have come before the first.
const FIRST_VALUES: u32 = 3;
/// A single value counts as no more, in µs.
const MOST_MICROS: f64 = 40_000.0;

/// The jitter of a path, in µs.
///
/// A sender in bursts makes a queue that comes and goes, and so do we when we send faster than the path
/// carries. Whether that is what varies is not known, since it is not known for certain what the path carries.
/// So three things are measured: how much the delay varies, how much of that is left when the queue that we
/// should have made is taken away, and how unevenly packets arrive: out of a queue they come at the pace of the
/// link, whenever they were sent. What is smallest counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Jitter {
    seen: Average,
    left: Average,
    arrivals: Arrivals,
    own: OwnQueue,
    /// The lowest that our queue should have been since the latest value.
    lowest_own: Option<f64>,
    /// When a value was taken last.
    at: Instant,
}

impl Jitter {
    /// The lowest delay since the last report was `transit` µs; what had arrived by then had been sent at
    /// `sent`, and the path carries at least `carried` bytes per second.
    pub(super) fn on_report(
        &mut self,
        transit: i64,
        sent: Option<Sent>,
        carried: f64,
        now: Instant,
    ) {
        let own = sent.map(|sent| self.own.on_sent(sent, carried));
        self.lowest_own = match (self.lowest_own, own) {
            (Some(before), Some(own)) => Some(before.min(own)),
            (before, own) => own.or(before),
        };
        if self.seen.is_ready() && now < self.at + SPACING {
            return;
        }
        self.at = now;
        let has_distance = self.seen.is_ready();
        self.seen.add(transit as f64);
        self.left.add(transit as f64 - self.lowest_own.take().unwrap_or(self.own.micros));
        self.arrivals.add(sent, has_distance.then_some(self.seen.latest));
    }

    /// The average.
    pub(super) fn mean(&self) -> Duration {
        let least = self.seen.mean.min(self.left.mean).min(self.arrivals.unevenness.mean);
        Duration::from_micros(least as u64)
    }

    /// What it may be while few values tell of it: without those that are taken to have come before the first,
    /// and with the standard error of a mean of values that vary by as much as it is.
    pub(super) fn most(&self) -> Duration {
        let values = f64::from(self.seen.values.max(1));
        if values * GAIN >= 1.0 {
            return self.mean();
        }
        let mean = self.mean().as_micros() as f64 * (values + f64::from(FIRST_VALUES)) / values;
        Duration::from_micros((mean * (1.0 + values.sqrt().recip())) as u64)
    }
}

/// The mean distance of a value from the middle of its neighbours, which steady growth leaves at 0.
#[derive(Clone, Copy, Debug, Default)]
struct Average {
    /// The two values before the latest.
    history: [Option<f64>; 2],
    mean: f64,
    /// The latest distance.
    latest: f64,
    /// Distances that it is the average of.
    values: u32,
}

impl Average {
    /// Whether the next value makes a distance.
    fn is_ready(&self) -> bool {
        self.history[1].is_some()
    }

    fn add(&mut self, value: f64) {
        if let [Some(first), Some(middle)] = self.history {
            self.add_distance((middle * 2.0 - first - value).abs() / 2.0);
        }
        self.history = [self.history[1], Some(value)];
    }

    fn add_distance(&mut self, distance: f64) {
        self.latest = distance.min(MOST_MICROS);
        self.values = (self.values + 1).min((1.0 / GAIN) as u32);
        let gain = GAIN.max(1.0 / f64::from(self.values + FIRST_VALUES));
        self.mean += (self.latest - self.mean) * gain;
    }
}

/// The mean distance of a time of arrival from that at which it had been, had the bytes between its neighbours
/// come at one pace.
#[derive(Clone, Copy, Debug, Default)]
struct Arrivals {
    /// The two before the latest.
    history: [Option<Sent>; 2],
    unevenness: Average,
}

impl Arrivals {
    /// `otherwise` is the distance when nothing is known of it.
    fn add(&mut self, latest: Option<Sent>, otherwise: Option<f64>) {
        let distance = match (self.history, latest) {
            ([Some(first), Some(middle)], Some(last)) => Self::distance([first, middle, last]),
            _ => None,
        };
        if let Some(distance) = distance.or(otherwise) {
            self.unevenness.add_distance(distance);
        }
        self.history = [self.history[1], latest];
    }

    /// `None` where nothing arrived in between.
    fn distance([first, middle, last]: [Sent; 3]) -> Option<f64> {
        let bytes = |sent: Sent| sent.bytes.saturating_sub(first.bytes) as f64;
        let time =
            |sent: Sent| sent.arrived_at.saturating_since(first.arrived_at).as_micros() as f64;
        let due = time(last) * bytes(middle) / bytes(last);
        due.is_finite().then(|| (time(middle) - due).abs())
    }
}

/// The queue that what we sent should have made on a path that carries so much, in µs.
#[derive(Clone, Copy, Debug, Default)]
struct OwnQueue {
    last: Option<Sent>,
    micros: f64,
}

impl OwnQueue {
    /// `sent` has arrived. Returns the least that should have stood since the last one.
    fn on_sent(&mut self, sent: Sent, carried: f64) -> f64 {
        let before = self.micros;
        if let Some(last) = self.last {
            // A queue takes in what is sent and gives out what the path carries.
            let takes = sent.bytes.saturating_sub(last.bytes) as f64 * 1e6 / carried.max(1.0);
            let time = sent.at.saturating_since(last.at).as_micros() as f64;
            self.micros = (before + takes - time).max(0.0);
        }
        self.last = Some(sent);
        before.min(self.micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A report every 10 ms of so many bytes sent in that time and so much delay.
    fn feed(jitter: &mut Jitter, carried: f64, reports: impl IntoIterator<Item = (u64, i64)>) {
        let mut bytes = 0;
        for (n, (sent, transit)) in (1..).zip(reports) {
            bytes += sent;
            let at = Instant::from_millis(n * 10);
            jitter.on_report(
                transit,
                Some(Sent { bytes, at, arrived_at: at + Duration::from_micros(transit as u64) }),
                carried,
                at + MS * 20,
            );
        }
    }

    fn seen(transits: impl IntoIterator<Item = i64>) -> Jitter {
        let mut jitter = Jitter::default();
        for (n, transit) in (1..).zip(transits) {
            jitter.on_report(transit, None, 1e6, Instant::from_millis(n * 10));
        }
        jitter
    }

    #[test]
    fn a_queue_that_grows_steadily_is_none() {
        assert_eq!(seen((0..100).map(|n| n * 700)).mean(), Duration::ZERO);
        let jitter = seen((0..100).map(|n| n % 2 * 4_000));
        assert!(jitter.mean() > MS * 3, "{jitter:?}");
    }

    #[test]
    fn bursts_of_our_own_are_none() {
        // For 30 ms half as much again as the path carries, then half of it: 15 ms of queue come and go.
        let spread = || {
            (0..200).map(|n| {
                if n / 3 % 2 == 0 {
                    (15_000, 5_000 * (n % 3))
                } else {
                    (5_000, 5_000 * (2 - n % 3))
                }
            })
        };
        let (mut known, mut unknown) = (Jitter::default(), Jitter::default());
        feed(&mut known, 1e6, spread());
        feed(&mut unknown, 1e9, spread());
        assert!(known.mean() * 2 < unknown.mean(), "{known:?} {unknown:?}");
    }

    #[test]
    fn what_comes_at_the_pace_of_a_link_has_no_jitter() {
        // Bursts into a queue of which nobody knows how fast it is served: 1 MB/s.
        let (mut pace, mut chance) = (Jitter::default(), Jitter::default());
        let (mut bytes, mut free_at) = (0, Instant::ZERO);
        for n in 1..200 {
            let at = Instant::from_millis(n * 10);
            let sent = [24_000, 4_000, 9_000, 3_000][n as usize % 4];
            bytes += sent;
            free_at = free_at.max(at) + Duration::from_micros(sent);
            let late = Duration::from_micros(n % 2 * 4_000);
            for (jitter, late) in [(&mut pace, Duration::ZERO), (&mut chance, late)] {
                let arrived_at = free_at + late;
                let transit = arrived_at.saturating_since(at).as_micros() as i64;
                jitter.on_report(transit, Some(Sent { bytes, at, arrived_at }), 1e9, arrived_at);
            }
        }
        assert!(pace.mean() < MS && chance.mean() > MS * 2, "{pace:?} {chance:?}");
    }

    #[test]
    fn what_varies_beside_our_queue_is_jitter() {
        for carried in [1e5, 1e6, 1e9] {
            let mut jitter = Jitter::default();
            feed(&mut jitter, carried, (0..100).map(|n| (10_000, n % 2 * 4_000)));
            assert!(jitter.mean() > MS * 3, "{carried}: {jitter:?}");
        }
    }

    #[test]
    fn few_values_leave_open_how_much_the_delay_varies() {
        let jitter = seen((0..6).map(|n| n % 2 * 4_000));
        let mean = MS * 4;
        assert!(jitter.mean() < mean * 2 / 3, "{jitter:?}");
        assert!(jitter.most() > mean, "{jitter:?}");
        let jitter = seen((0..100).map(|n| n % 2 * 4_000));
        assert_eq!(jitter.most(), jitter.mean());
        let calm = seen((0..6).map(|n| n * 700));
        assert_eq!(calm.most(), Duration::ZERO, "a queue that grows steadily");
    }
}
