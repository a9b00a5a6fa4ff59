//! One-way delays of the links of a session, compared with each other.
//!
//! A receiver sees each packet's send time on the sender's clock and its arrival on its own. The
//! unknown offset between the clocks is the same on all links, so differences between links are
//! true although no delay is known by itself.

use crate::id::LinkIndex;
use crate::time::{Duration, Instant};

/// Weight of a new sample: the estimate follows a queue that builds up within some ten packets.
const GAIN: f64 = 1.0 / 8.0;
/// The reference moves when a sample is further away than this, so that differences of the
/// 16-bit clock never wrap, however the clocks drift.
const REBASE_MS: f64 = 1_000.0;

/// Relative one-way delays of all links, in milliseconds after a common, arbitrary reference.
#[derive(Clone, Debug, Default)]
pub struct DelayTable {
    reference: Option<u16>,
    links: Vec<Option<Estimate>>,
}

#[derive(Clone, Copy, Debug)]
struct Estimate {
    mean: f64,
    deviation: f64,
}

/// A packet's own relative delay, for [`DelayTable::spread_beyond`].
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct RelativeDelay(f64);

impl DelayTable {
    /// Takes a packet into account that came over `link` with the sender's `timestamp`
    /// (milliseconds mod 65536).
    pub fn on_packet(&mut self, link: LinkIndex, timestamp: u16, now: Instant) -> RelativeDelay {
        let raw = (now.as_millis() as u16).wrapping_sub(timestamp);
        let reference = *self.reference.get_or_insert(raw);
        let mut delay = f64::from(raw.wrapping_sub(reference) as i16);
        if delay.abs() > REBASE_MS {
            self.rebase(raw, delay);
            delay = 0.0;
        }
        if self.links.len() <= link.slot() {
            self.links.resize(link.slot() + 1, None);
        }
        let slot = &mut self.links[link.slot()];
        *slot = Some(match *slot {
            None => Estimate { mean: delay, deviation: 1.0 },
            Some(Estimate { mean, deviation }) => Estimate {
                mean: mean + (delay - mean) * GAIN,
                deviation: deviation + ((delay - mean).abs() - deviation) * GAIN,
            },
        });
        RelativeDelay(delay)
    }

    /// A link's delays are no longer valid (its path changed).
    pub fn forget(&mut self, link: LinkIndex) {
        if let Some(slot) = self.links.get_mut(link.slot()) {
            *slot = None;
        }
    }

    /// How much later than a packet with `delay` one that was sent at the same time on the
    /// slowest of the links `among` may still arrive: the largest of mean + 4 deviations.
    #[must_use]
    pub fn spread_beyond(
        &self,
        delay: RelativeDelay,
        among: impl Iterator<Item = LinkIndex>,
    ) -> Duration {
        let latest = among
            .filter_map(|link| *self.links.get(link.slot())?)
            .map(|estimate| estimate.mean + 4.0 * estimate.deviation)
            .fold(delay.0, f64::max);
        Duration::from_secs_f64((latest - delay.0) / 1_000.0)
    }

    /// By how many milliseconds `link` is slower than the fastest link known.
    #[must_use]
    pub fn behind_fastest_ms(&self, link: LinkIndex) -> Option<f64> {
        let own = (*self.links.get(link.slot())?)?;
        let fastest = self.links.iter().flatten().map(|e| e.mean).fold(f64::INFINITY, f64::min);
        Some(own.mean - fastest)
    }

    fn rebase(&mut self, raw: u16, shift: f64) {
        self.reference = Some(raw);
        for estimate in self.links.iter_mut().flatten() {
            estimate.mean -= shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: LinkIndex = LinkIndex(0);
    const SLOW: LinkIndex = LinkIndex(1);

    fn settle(table: &mut DelayTable, from_ms: u64, offset: u16) {
        for ms in from_ms..from_ms + 200 {
            let sent = (ms as u16).wrapping_add(offset);
            table.on_packet(FAST, sent, Instant::from_millis(ms + 10));
            table.on_packet(SLOW, sent, Instant::from_millis(ms + 40));
        }
    }

    #[test]
    fn differences_do_not_depend_on_the_clocks_offset() {
        for offset in [0, 1, 30_000, 65_000] {
            let mut table = DelayTable::default();
            settle(&mut table, 65_500, offset);
            let behind = table.behind_fastest_ms(SLOW).unwrap();
            assert!((behind - 30.0).abs() < 0.5, "{behind}");
            assert_eq!(table.behind_fastest_ms(FAST), Some(0.0));
        }
    }

    #[test]
    fn the_spread_is_seen_from_the_packet_that_came() {
        let mut table = DelayTable::default();
        settle(&mut table, 0, 0);
        let fast = table.on_packet(FAST, 500, Instant::from_millis(510));
        let slow = table.on_packet(SLOW, 500, Instant::from_millis(540));
        let both = || [FAST, SLOW].into_iter();
        let wait = table.spread_beyond(fast, both()).as_millis();
        assert!((29..=33).contains(&wait), "{wait}");
        assert!(table.spread_beyond(slow, both()).as_millis() <= 1);
        assert_eq!(table.spread_beyond(fast, [FAST].into_iter()).as_millis(), 0);
    }

    #[test]
    fn drifting_clocks_do_not_wrap_the_differences() {
        let mut table = DelayTable::default();
        for step in 0..200u16 {
            let offset = step.wrapping_mul(500);
            let now = u64::from(step) * 1_000;
            table.on_packet(FAST, (now as u16).wrapping_add(offset), Instant::from_millis(now));
            table.on_packet(SLOW, (now as u16).wrapping_add(offset), Instant::from_millis(now));
        }
        assert!(table.behind_fastest_ms(SLOW).unwrap().abs() < 1_500.0);
    }
}
