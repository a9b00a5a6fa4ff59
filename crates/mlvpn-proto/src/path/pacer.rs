//! When a path may send its next packet: its rate, without bursts that a queue would notice.

use crate::time::{Duration, Instant};

/// A full packet, which may always follow another one at once.
const FULL_PACKET: u64 = 1_500;
/// What is sent in one run: the owner wakes once per run, not once per packet.
const RUN: Duration = Duration::from_micros(500);
/// Most that is sent at once after a pause.
const BURST: Duration = Duration::from_millis(1);
/// Most that is made up for after the owner woke late.
const CATCH_UP: Duration = Duration::from_millis(2);
/// Units of credit in a byte, so that a rate in bytes per second earns whole units in every µs.
const UNITS: i64 = 1_000_000;
/// Bounds of a rate: 8 kbit/s to 100 Gbit/s, so that credit fits its type.
const RATES: (u64, u64) = (1_000, 12_500_000_000);

/// Spends credit, which the rate earns, on packets, in runs.
///
/// Credit is counted in millionths of a byte and never rounded: the rate kept is exactly the rate
/// asked for. A run starts when credit for half a millisecond is there and ends when it is spent; at rates
/// below 24 Mbit/s a run is one packet.
#[derive(Clone, Debug)]
pub struct Pacer {
    rate: u64,
    /// In [`UNITS`]; negative after the last packet of a run.
    credit: i64,
    counted_at: Instant,
    /// The last run ended for want of credit, so that more is probably waiting.
    is_spent: bool,
}

impl Pacer {
    /// A pacer that may send at once, and then `rate` bytes per second.
    #[must_use]
    pub fn new(rate: u64, now: Instant) -> Self {
        Self { rate: bounded(rate), credit: 0, counted_at: now, is_spent: false }
    }

    /// Whether a packet of any size may be sent.
    #[must_use]
    pub fn is_open(&self, now: Instant) -> bool {
        self.credit_at(now) >= self.needed()
    }

    /// From when on a packet may be sent; in the past when one may be sent already.
    #[must_use]
    pub fn opens_at(&self) -> Instant {
        let missing = u64::try_from(self.needed() - self.credit).unwrap_or(0);
        self.counted_at + Duration::from_micros(missing.div_ceil(self.rate))
    }

    /// A packet of `wire_len` bytes was sent; the next ones go at `rate` bytes per second.
    pub fn on_sent(&mut self, wire_len: usize, rate: u64, now: Instant) {
        self.set_rate(rate, now);
        self.credit -= wire_len as i64 * UNITS;
        self.is_spent = self.credit < 0;
    }

    /// From now on the rate is `rate` bytes per second. What is owed for packets sent is reduced to
    /// one run at the new rate: a fall of the rate must not silence the path.
    pub fn set_rate(&mut self, rate: u64, now: Instant) {
        self.credit = self.credit_at(now);
        self.counted_at = self.counted_at.max(now);
        self.rate = bounded(rate);
        self.credit = self.credit.max(-self.worth(RUN).max(FULL_PACKET as i64 * UNITS));
    }

    fn credit_at(&self, now: Instant) -> i64 {
        let elapsed = now.saturating_since(self.counted_at).as_micros() as u64;
        let earned = i64::try_from(elapsed.saturating_mul(self.rate)).unwrap_or(i64::MAX);
        let is_late = self.is_spent && now <= self.opens_at() + CATCH_UP;
        let most = self.worth(if is_late { CATCH_UP } else { BURST });
        // One packet more than the credit covers may be sent.
        let depth = (most - FULL_PACKET as i64 * UNITS).max(FULL_PACKET as i64 * UNITS);
        self.credit.saturating_add(earned).min(depth.max(self.credit))
    }

    /// The credit from which on a packet may be sent.
    fn needed(&self) -> i64 {
        if self.is_spent { (self.worth(RUN) - FULL_PACKET as i64 * UNITS).max(0) } else { 0 }
    }

    fn worth(&self, time: Duration) -> i64 {
        (time.as_micros() as u64 * self.rate) as i64
    }
}

fn bounded(rate: u64) -> u64 {
    rate.clamp(RATES.0, RATES.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 1_500;

    /// Sends what `pacer` allows until `end`, waking `late` µs after it opens, with a pattern.
    fn send(pacer: &mut Pacer, rate: u64, end: Instant, late: &[u64]) -> (u64, u64) {
        let (mut bytes, mut most, mut wakes) = (0, 0, 0);
        let mut now = pacer.opens_at();
        while now < end {
            let mut burst = 0;
            while pacer.is_open(now) {
                pacer.on_sent(LEN, rate, now);
                burst += LEN as u64;
            }
            (bytes, most, wakes) = (bytes + burst, most.max(burst), wakes + 1);
            now = pacer.opens_at() + Duration::from_micros(late[wakes % late.len()]);
        }
        (bytes, most)
    }

    #[test]
    fn the_rate_is_kept_from_one_megabit_to_ten_gigabits() {
        for megabits in [1, 3, 7, 24, 50, 333, 1_000, 2_500, 9_999, 10_000] {
            let rate = megabits * 125_000;
            for late in [&[0][..], &[1_000], &[0, 50, 900, 300]] {
                let mut pacer = Pacer::new(rate, Instant::ZERO);
                let seconds = 10;
                let (bytes, _) = send(&mut pacer, rate, Instant::from_secs(seconds), late);
                let error = bytes.abs_diff(rate * seconds).saturating_sub(2 * LEN as u64) as f64;
                let error = error / (rate * seconds) as f64;
                assert!(error <= 0.001, "{megabits} Mbit/s, {late:?} µs late: {error}");
            }
        }
    }

    #[test]
    fn a_burst_is_two_packets_or_a_millisecond() {
        for (megabits, most) in [(1, 3_000), (20, 3_000), (1_000, 125_000)] {
            let rate = megabits * 125_000;
            let mut pacer = Pacer::new(rate, Instant::ZERO);
            send(&mut pacer, rate, Instant::from_millis(100), &[0]);
            let later = Instant::from_secs(5);
            let mut burst = 0;
            while pacer.is_open(later) {
                pacer.on_sent(LEN, rate, later);
                burst += LEN;
            }
            assert!(burst <= most, "{megabits} Mbit/s: {burst}");
        }
    }

    #[test]
    fn a_late_owner_makes_up_for_two_milliseconds_only() {
        let rate = 125_000_000;
        let mut pacer = Pacer::new(rate, Instant::ZERO);
        let (_, most) = send(&mut pacer, rate, Instant::from_millis(100), &[1_400]);
        assert!((200_000..=250_000).contains(&most), "{most}");
        let (_, most) = send(&mut pacer, rate, Instant::from_millis(200), &[9_000]);
        assert!(most <= 125_000, "{most}");
    }

    #[test]
    fn a_change_of_rate_neither_bursts_nor_stalls() {
        let mut pacer = Pacer::new(125_000_000, Instant::ZERO);
        send(&mut pacer, 125_000_000, Instant::from_millis(10), &[0]);
        let now = Instant::from_millis(10);
        pacer.set_rate(125_000, now);
        let wait = pacer.opens_at().saturating_since(now);
        assert!(wait <= Duration::from_millis(12), "{wait:?}");
        pacer.on_sent(LEN, 125_000, now + wait);
        pacer.set_rate(125_000_000, now + wait);
        assert!(pacer.opens_at().saturating_since(now + wait) < Duration::from_millis(1));
        let (_, most) = send(&mut pacer, 125_000_000, now + Duration::from_millis(90), &[0]);
        assert!(most <= 125_000, "{most}");
    }
}
