//! One direction of a link, in motion.

use std::collections::VecDeque;

use mlvpn_proto::time::Instant;

use super::LinkSpec;
use super::jitter::Jitter;
use super::loss::LossState;
use crate::rng::Seed;

const NS_PER_SEC: u64 = 1_000_000_000;

/// One direction of a link, carrying items of type `T` in order.
///
/// What it does with a packet depends only on the seed and on when packets were sent and
/// properties changed, not on how often it is polled. Times are kept in nanoseconds, so that
/// rounding to the microseconds of [`Instant`] does not add up. `now` must not decrease.
#[derive(Debug)]
pub struct Pipe<T> {
    spec: LinkSpec,
    limit: usize,
    cut: bool,
    /// The front is in service when the rate is limited.
    queue: VecDeque<Queued<T>>,
    /// Bytes in the queue behind the packet in service.
    waiting: usize,
    service: Service,
    flight: VecDeque<(u64, Queued<T>)>,
    last_arrival: u64,
    /// Nothing arrives before.
    held_until: u64,
    loss: LossState,
    jitter: Jitter,
    counters: PipeCounters,
}

#[derive(Debug)]
struct Queued<T> {
    item: T,
    len: usize,
}

/// Progress of the packet in service.
#[derive(Clone, Copy, Debug, Default)]
struct Service {
    /// When `bits` were left to send; when idle, since when the transmitter is free.
    since: u64,
    bits: u64,
}

impl Service {
    /// When the packet will have been sent; `None` on a stalled link.
    fn finish(self, rate: Option<u64>) -> Option<u64> {
        match rate {
            None => Some(self.since),
            Some(0) => None,
            // A packet of 64 KiB is 2^19 bits, a second 2^30 nanoseconds: no overflow.
            Some(rate) => Some(self.since + (self.bits * NS_PER_SEC + rate / 2) / rate),
        }
    }

    /// The same packet, seen from a later moment before its end.
    fn progressed(self, now: u64, rate: Option<u64>) -> Self {
        let rate = u128::from(rate.unwrap_or(0));
        let elapsed = u128::from(now.saturating_sub(self.since));
        let sent = (elapsed * rate / u128::from(NS_PER_SEC)) as u64;
        Self { since: now.max(self.since), bits: self.bits.saturating_sub(sent) }
    }
}

/// What a pipe did with the packets that it was given. Bytes are those of IP packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PipeCounters {
    /// Packets handed to [`Pipe::send`].
    pub offered: u64,
    /// Their bytes.
    pub offered_bytes: u64,
    /// Packets that arrived and were taken with [`Pipe::poll`].
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Dropped since the queue had no room.
    pub queue_full: u64,
    /// Lost after having been sent.
    pub loss: u64,
    /// Dropped since the link was cut, or waiting when it was.
    pub cut: u64,
    /// Dropped since larger than the link's MTU.
    pub too_big: u64,
}

impl PipeCounters {
    /// Packets dropped for whatever cause.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.queue_full + self.loss + self.cut + self.too_big
    }
}

impl<T> Pipe<T> {
    /// An idle pipe which draws its losses and jitter from `seed`.
    #[must_use]
    pub fn new(spec: LinkSpec, seed: u64) -> Self {
        let seed = Seed(seed);
        Self {
            limit: spec.queue.bytes(spec.rate),
            spec,
            cut: false,
            queue: VecDeque::new(),
            waiting: 0,
            service: Service::default(),
            flight: VecDeque::new(),
            last_arrival: 0,
            held_until: 0,
            loss: LossState::new(seed.stream("loss")),
            jitter: Jitter::new(seed.stream("jitter")),
            counters: PipeCounters::default(),
        }
    }

    /// Sends an IP packet of `len` bytes.
    ///
    /// # Errors
    /// Returns the item when it was dropped at once: the queue is full, the link is cut, or the
    /// packet too big. The counters tell which. A real sender would not learn of it.
    pub fn send(&mut self, item: T, len: usize, now: Instant) -> Result<(), T> {
        self.advance(now);
        self.counters.offered += 1;
        self.counters.offered_bytes += len as u64;
        if self.cut {
            self.counters.cut += 1;
            return Err(item);
        }
        if self.spec.mtu.is_some_and(|mtu| len > mtu) {
            self.counters.too_big += 1;
            return Err(item);
        }
        if self.queue.is_empty() {
            self.service = Service { since: to_ns(now).max(self.service.since), bits: bits(len) };
        } else if self.waiting > 0 && self.waiting.saturating_add(len) > self.limit {
            self.counters.queue_full += 1;
            return Err(item);
        } else {
            self.waiting += len;
        }
        self.queue.push_back(Queued { item, len });
        Ok(())
    }

    /// The next packet that has arrived by `now`, in the order of sending.
    pub fn poll(&mut self, now: Instant) -> Option<T> {
        self.advance(now);
        let &(arrival, _) = self.flight.front()?;
        if arrival.max(self.held_until) > to_ns(now) {
            return None;
        }
        let (_, Queued { item, len }) = self.flight.pop_front()?;
        self.counters.delivered += 1;
        self.counters.delivered_bytes += len as u64;
        Some(item)
    }

    /// When to call [`Self::poll`] next: no packet arrives earlier, but one need not arrive then.
    #[must_use]
    pub fn next_event(&self) -> Option<Instant> {
        let at = match self.flight.front() {
            Some(&(arrival, _)) => Some(arrival.max(self.held_until)),
            None if self.queue.is_empty() => None,
            None => self.service.finish(self.spec.rate),
        };
        at.map(|ns| Instant::from_micros(ns.div_ceil(1_000)))
    }

    /// Gives the link new properties.
    ///
    /// A new rate holds for what is queued, also for the rest of the packet in service; a new
    /// delay for what has not been sent yet. A smaller queue drops nothing that already waits.
    pub fn set_spec(&mut self, spec: LinkSpec, now: Instant) {
        self.advance(now);
        if !self.queue.is_empty() {
            self.service = self.service.progressed(to_ns(now), self.spec.rate);
        }
        self.limit = spec.queue.bytes(spec.rate);
        self.spec = spec;
    }

    /// The present properties.
    #[must_use]
    pub fn spec(&self) -> &LinkSpec {
        &self.spec
    }

    /// Cuts the link, or restores it.
    ///
    /// A cut link is a silent black hole: what waits is dropped, what is sent vanishes. What is
    /// already on its way arrives.
    pub fn set_cut(&mut self, cut: bool, now: Instant) {
        self.advance(now);
        self.cut = cut;
        if cut {
            self.counters.cut += self.queue.len() as u64;
            self.queue.clear();
            self.waiting = 0;
            self.service = Service { since: to_ns(now), bits: 0 };
        }
    }

    /// Holds back for `time` all that would arrive: it comes at once thereafter, as when a host that
    /// passes packets on has no processor for a while.
    pub fn hold(&mut self, time: core::time::Duration, now: Instant) {
        self.advance(now);
        self.held_until = self.held_until.max(to_ns(now) + time.as_nanos() as u64);
    }

    /// Whether the link is cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// What became of the packets so far.
    #[must_use]
    pub fn counters(&self) -> &PipeCounters {
        &self.counters
    }

    /// Bytes that wait behind the packet in service, as of the last call that took a time.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.waiting
    }

    /// Sends what the rate allows until `now`.
    fn advance(&mut self, now: Instant) {
        let now = to_ns(now);
        while !self.queue.is_empty() {
            match self.service.finish(self.spec.rate) {
                Some(finish) if finish <= now => self.finish_service(finish),
                _ => break,
            }
        }
    }

    fn finish_service(&mut self, finish: u64) {
        let Some(sent) = self.queue.pop_front() else { return };
        let next = self.queue.front().map_or(0, |next| next.len);
        self.waiting -= next;
        self.service = Service { since: finish, bits: bits(next) };
        if self.loss.is_lost(&self.spec.loss) {
            self.counters.loss += 1;
            return;
        }
        let delay = self.jitter.delay_ns(self.spec.delay, self.spec.jitter, finish);
        self.last_arrival = self.last_arrival.max(finish + delay);
        self.flight.push_back((self.last_arrival, sent));
    }
}

fn to_ns(now: Instant) -> u64 {
    now.as_micros() * 1_000
}

fn bits(len: usize) -> u64 {
    len as u64 * 8
}

#[cfg(test)]
mod tests;
