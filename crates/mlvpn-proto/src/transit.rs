//! One-way delays of a session's paths, compared with each other.
//!
//! A DATA frame says when it was sent on the sender's clock ([`SendTime`], 64 µs units modulo
//! 4.19 s). Receive time less send time is a one-way delay plus an unknown offset of the clocks,
//! which is the same on all paths: differences between paths are true although no delay is known
//! by itself, and a send time can be placed on the receiver's clock, less that offset.

use crate::id::PathId;
use crate::time::{Duration, Instant};
use crate::wire::v2::SendTime;

/// Weight of a new sample: the estimate follows a queue that builds up within some ten packets.
const GAIN: f64 = 1.0 / 8.0;
/// Deviation of a path of which one packet is known.
const FIRST_DEVIATION_MICROS: f64 = 1_000.0;
/// Deviations added to the mean for the latest arrival to be expected (RFC 6298 has the same).
const DEVIATIONS: f64 = 4.0;
/// A sample this far from its path's mean is a step of a clock (a host that slept), not a queue:
/// the mean begins anew.
const STEP_MICROS: f64 = 1_000_000.0;
/// After this long without a packet, clocks that differ by 100 ppm have shifted the mean by 6 ms,
/// and the round trip says more than it.
const FRESH: Duration = Duration::from_secs(60);

/// When a packet was sent: µs since an origin that is the same for all paths of the session, about
/// that of the receiver's clock. Unlike [`SendTime`] it does not wrap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SentAt(i64);

impl SentAt {
    /// Later than everything.
    pub const MAX: Self = Self(i64::MAX);

    /// The time from `earlier` to this one; zero when `earlier` is later.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `time` before this one.
    #[must_use]
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)))
    }

    /// When what was sent now is received, on the receiver's clock.
    #[must_use]
    pub fn arrival(self, after: RelativeTransit) -> Instant {
        let micros = self.0.saturating_add(after.0 as i64);
        Instant::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

/// A one-way delay in µs plus the unknown offset that all paths share.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct RelativeTransit(f64);

/// The one-way delays of all paths of a session.
#[derive(Clone, Debug, Default)]
pub struct TransitTable {
    /// The transit of the last packet, unwrapped, in units of 64 µs. The next one is taken as the
    /// nearest to it: clocks may drift apart for ever, if only less than 2.1 s between two packets.
    anchor: Option<i64>,
    paths: [PathTransit; PathId::COUNT],
}

#[derive(Clone, Copy, Debug, Default)]
struct PathTransit {
    estimate: Option<Estimate>,
    round_trip: Option<Duration>,
}

/// Mean and mean deviation of a path's transits, in µs.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    mean: f64,
    deviation: f64,
    /// When the last packet came; none when the next one begins anew.
    updated: Option<Instant>,
}

impl TransitTable {
    /// Takes a packet into account that came over `path`; returns when it was sent.
    pub fn on_packet(&mut self, path: PathId, sent: SendTime, now: Instant) -> SentAt {
        let transit = self.unwrap(sent, now);
        self.anchor = Some(transit);
        let micros = units_to_micros(transit);
        let slot = &mut self.paths[path.slot()].estimate;
        *slot = Some(match slot {
            Some(estimate) => estimate.with_sample(micros as f64, now),
            None => Estimate::first(micros as f64, now),
        });
        sent_at(transit, now)
    }

    /// Where `sent`, a time of the last two seconds, lies on the scale that [`Self::on_packet`]
    /// uses.
    #[must_use]
    pub fn place(&self, sent: SendTime, now: Instant) -> SentAt {
        sent_at(self.unwrap(sent, now), now)
    }

    /// The smoothed round trip of a path: stands in for its one-way delay while that is unknown.
    pub fn set_round_trip(&mut self, path: PathId, round_trip: Duration) {
        self.paths[path.slot()].round_trip = Some(round_trip);
    }

    /// The path has changed: what was known of it serves only until its next packet.
    pub fn restart(&mut self, path: PathId) {
        if let Some(estimate) = &mut self.paths[path.slot()].estimate {
            estimate.updated = None;
        }
    }

    /// Mean transit of the path; none before its first packet.
    #[must_use]
    pub fn mean(&self, path: PathId) -> Option<RelativeTransit> {
        Some(RelativeTransit(self.paths[path.slot()].estimate?.mean))
    }

    /// By how much the path is slower than the fastest one known.
    #[must_use]
    pub fn behind_fastest(&self, path: PathId) -> Option<Duration> {
        let own = self.mean(path)?.0;
        let means = self.paths.iter().filter_map(|path| Some(path.estimate?.mean));
        Some(micros_to_duration(own - means.fold(own, f64::min)))
    }

    /// The longest transit to be expected on the path: D + 4σ. Without recent packets that of the
    /// fastest path with some, plus the difference of the round trips; without those the last that
    /// was known.
    #[must_use]
    pub fn longest(&self, path: PathId, now: Instant) -> Option<RelativeTransit> {
        let own = &self.paths[path.slot()];
        match own.estimate {
            Some(estimate) if estimate.is_fresh(now) => Some(estimate.longest()),
            stale => {
                self.by_round_trip(own, now).or_else(|| stale.map(|estimate| estimate.longest()))
            }
        }
    }

    fn by_round_trip(&self, own: &PathTransit, now: Instant) -> Option<RelativeTransit> {
        let round_trip = own.round_trip?;
        let (fastest, reference) = self
            .paths
            .iter()
            .filter_map(|path| Some((path.estimate?, path.round_trip?)))
            .filter(|(estimate, _)| estimate.is_fresh(now))
            .min_by(|(a, _), (b, _)| a.mean.total_cmp(&b.mean))?;
        let slower = round_trip.saturating_sub(reference).as_micros() as f64;
        Some(RelativeTransit(fastest.longest().0 + slower))
    }

    /// Receive time less send time in units of 64 µs.
    fn unwrap(&self, sent: SendTime, now: Instant) -> i64 {
        let raw = sent.until(SendTime::at(now)).0;
        let anchor = self.anchor.unwrap_or(i64::from(raw));
        anchor.saturating_add(i64::from(raw.wrapping_sub(anchor as u16) as i16))
    }
}

impl Estimate {
    fn first(sample: f64, now: Instant) -> Self {
        Self { mean: sample, deviation: FIRST_DEVIATION_MICROS, updated: Some(now) }
    }

    fn with_sample(self, sample: f64, now: Instant) -> Self {
        let off = (sample - self.mean).abs();
        if self.updated.is_none() || off > STEP_MICROS {
            return Self::first(sample, now);
        }
        Self {
            mean: self.mean + (sample - self.mean) * GAIN,
            deviation: self.deviation + (off - self.deviation) * GAIN,
            updated: Some(now),
        }
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.updated.is_some_and(|at| now.saturating_since(at) < FRESH)
    }

    fn longest(&self) -> RelativeTransit {
        RelativeTransit(self.mean + DEVIATIONS * self.deviation)
    }
}

fn sent_at(transit_units: i64, now: Instant) -> SentAt {
    let now_units = (now.as_micros() / SendTime::UNIT_MICROS) as i64;
    SentAt(units_to_micros(now_units.saturating_sub(transit_units)))
}

fn units_to_micros(units: i64) -> i64 {
    units.saturating_mul(SendTime::UNIT_MICROS as i64)
}

fn micros_to_duration(micros: f64) -> Duration {
    Duration::from_micros(micros as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: PathId = PathId::from_low_bits(0);
    const SLOW: PathId = PathId::from_low_bits(1);

    /// The send time `ms` on a clock that is `offset` units ahead of the receiver's.
    fn sent(ms: u64, offset: u16) -> SendTime {
        SendTime(SendTime::at(Instant::from_millis(ms)).0.wrapping_add(offset))
    }

    fn settle(table: &mut TransitTable, from_ms: u64, offset: u16) {
        for ms in from_ms..from_ms + 200 {
            table.on_packet(FAST, sent(ms, offset), Instant::from_millis(ms + 10));
            table.on_packet(SLOW, sent(ms, offset), Instant::from_millis(ms + 40));
        }
    }

    fn ms(duration: Option<Duration>) -> u128 {
        (duration.unwrap().as_micros() + 500) / 1_000
    }

    #[test]
    fn differences_do_not_depend_on_the_clocks_offset() {
        for offset in [0, 1, 30_000, 32_768, 65_000] {
            let mut table = TransitTable::default();
            settle(&mut table, 4_100, offset);
            assert_eq!(ms(table.behind_fastest(SLOW)), 30);
            assert_eq!(ms(table.behind_fastest(FAST)), 0);
        }
    }

    #[test]
    fn send_times_of_different_paths_are_on_one_scale() {
        let mut table = TransitTable::default();
        settle(&mut table, 4_100, 65_000);
        let fast = table.on_packet(FAST, sent(4_305, 65_000), Instant::from_millis(4_315));
        let slow = table.on_packet(SLOW, sent(4_300, 65_000), Instant::from_millis(4_340));
        let apart = fast.saturating_since(slow).as_micros();
        assert!(apart.abs_diff(5_000) <= 64, "{apart}");
        assert_eq!(table.place(sent(4_305, 65_000), Instant::from_millis(4_400)), fast);
        let later = table.on_packet(FAST, sent(60_000, 65_000), Instant::from_millis(60_010));
        assert!(later.saturating_since(fast) > Duration::from_secs(55), "it does not wrap");
    }

    #[test]
    fn the_longest_transit_says_when_a_packet_of_the_slow_path_is_due() {
        let mut table = TransitTable::default();
        settle(&mut table, 0, 7);
        let now = Instant::from_millis(310);
        let fast = table.on_packet(FAST, sent(300, 7), now);
        let due = fast.arrival(table.longest(SLOW, now).unwrap()).as_millis();
        assert!((339..=342).contains(&due), "{due}");
    }

    #[test]
    fn drifting_clocks_do_not_wrap() {
        let mut table = TransitTable::default();
        let mut last = None;
        for step in 0..400u64 {
            // The sender's clock gains 128 ms each second: 51 s in all, twelve times round.
            let offset = (step * 2_000) as u16;
            let now = step * 1_000;
            table.on_packet(FAST, sent(now, offset), Instant::from_millis(now + 10));
            let at = table.on_packet(SLOW, sent(now, offset), Instant::from_millis(now + 40));
            assert!(last < Some(at), "send times go on");
            last = Some(at);
        }
        assert_eq!(ms(table.behind_fastest(SLOW)), 30);
    }

    #[test]
    fn a_step_of_a_clock_begins_the_mean_anew() {
        let mut table = TransitTable::default();
        settle(&mut table, 0, 0);
        settle(&mut table, 1_000, 20_000);
        assert_eq!(ms(table.behind_fastest(SLOW)), 30);
        assert!(table.paths[FAST.slot()].estimate.unwrap().deviation < 1_000.0);
    }

    #[test]
    fn a_path_without_recent_packets_is_judged_by_its_round_trip() {
        let mut table = TransitTable::default();
        let now = Instant::from_millis(310);
        let fast = table.on_packet(FAST, sent(300, 0), now);
        assert_eq!(table.longest(SLOW, now), None);
        table.set_round_trip(FAST, Duration::from_millis(20));
        table.set_round_trip(SLOW, Duration::from_millis(80));
        let due = fast.arrival(table.longest(SLOW, now).unwrap()).as_millis();
        assert!((373..=375).contains(&due), "{due}: 10 ms and 4σ, and 60 ms of round trip");
        settle(&mut table, 400, 0);
        let known = table.longest(SLOW, Instant::from_millis(700));
        assert!(known < Some(RelativeTransit(43_000.0)), "{known:?}");
        table.restart(SLOW);
        assert!(table.longest(SLOW, Instant::from_millis(700)) > known);
        assert_eq!(ms(table.behind_fastest(SLOW)), 30, "until the next packet comes");
    }
}
