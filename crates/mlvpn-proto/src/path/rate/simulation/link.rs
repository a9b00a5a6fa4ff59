//! The network of the simulation: one bottleneck, and what it does to packets.

use std::collections::VecDeque;

/// Bytes of every packet.
pub(in crate::path::rate) const LEN: u64 = 1_500;
/// One megabit per second, in bytes.
pub(in crate::path::rate) const MEGABIT: f64 = 125_000.0;

/// What the network between the two is like.
#[derive(Clone, Debug)]
pub(in crate::path::rate) struct Link {
    /// From which ms on which rate, in bytes per second.
    pub(in crate::path::rate) rates: Vec<(u64, f64)>,
    pub(in crate::path::rate) rtt_ms: u64,
    /// Size of the buffer, as time at the first rate.
    pub(in crate::path::rate) buffer_ms: f64,
    pub(in crate::path::rate) loss: f64,
    pub(in crate::path::rate) feedback_loss: f64,
    pub(in crate::path::rate) jitter_us: u64,
    /// Every how many µs the jitter is drawn anew; 0 for every packet.
    pub(in crate::path::rate) jitter_every_us: u64,
    /// From which ms on there is how much more delay, in ms.
    pub(in crate::path::rate) detour: (u64, u64),
    /// Bytes per second and bytes that a policer lets through.
    pub(in crate::path::rate) policer: Option<(f64, f64)>,
    /// From which ms on a loss-based download shares the buffer.
    pub(in crate::path::rate) rival_from_ms: Option<u64>,
    /// From which ms on the application offers how many bytes per second.
    pub(in crate::path::rate) demand: Vec<(u64, f64)>,
    /// How late the sender wakes, at most.
    pub(in crate::path::rate) late_us: u64,
    pub(in crate::path::rate) clock_drift_ppm: f64,
    pub(in crate::path::rate) seed: u64,
}

impl Link {
    pub(in crate::path::rate) fn new(megabits: f64, rtt_ms: u64, buffer_ms: f64) -> Self {
        Self {
            rates: vec![(0, megabits * MEGABIT)],
            rtt_ms,
            buffer_ms,
            loss: 0.0,
            feedback_loss: 0.0,
            jitter_us: 0,
            jitter_every_us: 0,
            detour: (u64::MAX, 0),
            policer: None,
            rival_from_ms: None,
            demand: vec![(0, f64::INFINITY)],
            late_us: 200,
            clock_drift_ppm: 30.0,
            seed: 1,
        }
    }

    pub(in crate::path::rate) fn rate_at(&self, us: u64) -> f64 {
        step_at(&self.rates, us)
    }

    /// Bytes that it can carry from one ms to another.
    pub(in crate::path::rate) fn capacity(&self, from_ms: u64, to_ms: u64) -> f64 {
        (from_ms..to_ms).map(|ms| self.rate_at(ms * 1_000) / 1_000.0).sum()
    }
}

/// The value of a function given by its steps, in ms.
pub(super) fn step_at(steps: &[(u64, f64)], us: u64) -> f64 {
    let next = steps.partition_point(|&(from, _)| from * 1_000 <= us);
    steps[next.max(1) - 1].1
}

/// Numbers that look random and are the same in every run: xorshift64*, Vigna 2016.
#[derive(Debug)]
pub(in crate::path::rate) struct Random(u64);

impl Random {
    pub(in crate::path::rate) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        random.uniform();
        random
    }

    /// From 0 to 1.
    pub(in crate::path::rate) fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The state of the bottleneck. Times are µs.
#[derive(Debug)]
pub(super) struct Bottleneck {
    random: Random,
    departures: VecDeque<u64>,
    free_at: f64,
    pub(super) last_arrival: u64,
    tokens: f64,
    tokens_at: u64,
    /// Until when there is how much jitter.
    jitter: (u64, u64),
}

impl Bottleneck {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            departures: VecDeque::new(),
            free_at: 0.0,
            last_arrival: 0,
            tokens: 0.0,
            tokens_at: 0,
            jitter: (0, 0),
        }
    }

    /// When a packet that is sent now arrives, if it does.
    pub(super) fn carry(&mut self, link: &Link, now: u64) -> Option<u64> {
        while self.departures.front().is_some_and(|&at| at <= now) {
            self.departures.pop_front();
        }
        let queued = (self.departures.len() as u64 + 1) * LEN;
        let buffer = (link.rates[0].1 * link.buffer_ms / 1e3).max(4.0 * LEN as f64);
        let is_refused = !self.passes_policer(link, now) || queued as f64 > buffer;
        if self.random.uniform() < link.loss || is_refused {
            return None;
        }
        self.free_at = finish(link, self.free_at.max(now as f64));
        self.departures.push_back(self.free_at as u64);
        let (from_ms, more_ms) = link.detour;
        let detour = if now / 1_000 >= from_ms { more_ms * 1_000 } else { 0 };
        let arrival = self.free_at as u64 + link.rtt_ms * 500 + self.jitter(link, now) + detour;
        self.last_arrival = self.last_arrival.max(arrival);
        Some(self.last_arrival)
    }

    /// The time until a packet that came now would be sent, in ms.
    pub(super) fn queue_ms(&self, now: u64) -> f64 {
        (self.free_at - now as f64).max(0.0) / 1e3
    }

    fn passes_policer(&mut self, link: &Link, now: u64) -> bool {
        let Some((rate, depth)) = link.policer else { return true };
        let earned = (now - self.tokens_at) as f64 / 1e6 * rate;
        self.tokens = (self.tokens + earned).min(depth);
        self.tokens_at = now;
        let passes = self.tokens >= LEN as f64;
        if passes {
            self.tokens -= LEN as f64;
        }
        passes
    }

    fn jitter(&mut self, link: &Link, now: u64) -> u64 {
        if self.jitter.0 <= now {
            let drawn = (self.random.uniform() * link.jitter_us as f64) as u64;
            self.jitter = (now + link.jitter_every_us, drawn);
        }
        self.jitter.1
    }
}

/// When a packet is through whose transmission starts at `start` µs.
fn finish(link: &Link, start: f64) -> f64 {
    let (mut at, mut left) = (start, LEN as f64);
    loop {
        let rate = link.rate_at(at as u64) / 1e6;
        let next = link.rates.iter().map(|&(from, _)| from as f64 * 1e3).find(|&from| from > at);
        let end = at + left / rate;
        match next {
            Some(next) if next < end => {
                left -= (next - at) * rate;
                at = next;
            }
            _ => return end,
        }
    }
}
