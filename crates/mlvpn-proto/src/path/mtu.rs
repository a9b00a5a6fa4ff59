//! How large a datagram may be on a path: datagram packetization layer path MTU discovery, RFC 8899.
//!
//! Each end does this for its own direction, with probes that the peer acknowledges. Nothing that a
//! router says is believed; what arrives counts. Several probes share a round trip, which section 8 of
//! RFC 8899 rules out for the load: these are few, and seldom sent.

mod search;

use std::collections::VecDeque;

use crate::time::{Duration, Instant};
use search::Search;

/// Bytes of UDP payload that every path is taken to carry (`BASE_PLPMTU`, RFC 8899 section 5.1.2) `[D2]`.
pub const BASE: u16 = 1_200;
/// After a search, the next begins this much later (`PMTU_RAISE_TIMER`, RFC 8899 section 5.1.1).
const RAISE_AFTER: Duration = Duration::from_secs(600);
/// So many lost in a row, all larger than the base, make a black hole likely `[Z3]`.
const BLACK_HOLE: u8 = 3;
/// Probes whose answers may still come: those of more rounds than a search takes.
const MAX_PROBES: usize = 64;

/// The search for the largest datagram of a path, in one direction.
#[derive(Clone, Debug)]
pub struct MtuDiscovery {
    /// Largest size worth trying: what the local device sends.
    limit: u16,
    /// Largest size that is known to arrive, or used to.
    confirmed: u16,
    state: State,
    probes: VecDeque<Probe>,
    next_id: u16,
    hole: Hole,
}

#[derive(Clone, Debug)]
enum State {
    Searching(Search),
    /// The search begins again then.
    Complete {
        until: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    id: u16,
    size: u16,
    round: u16,
    sent: Instant,
}

/// Signs that what used to fit does not any more.
#[derive(Clone, Copy, Debug, Default)]
struct Hole {
    /// Packets larger than the base that were lost in a row, the size of the smallest, and when the first
    /// was sent.
    lost: u8,
    smallest: u16,
    since: Instant,
    /// Packets that were lost since: congestion, unless a black hole took them.
    withheld: u64,
}

impl MtuDiscovery {
    /// A path of which nothing is known, behind a device that sends UDP payloads of up to `limit`
    /// bytes.
    #[must_use]
    pub fn new(limit: u16) -> Self {
        let limit = limit.max(BASE);
        Self {
            limit,
            confirmed: BASE,
            state: State::Searching(Search::above(BASE, limit, Instant::ZERO)),
            probes: VecDeque::new(),
            next_id: 0,
            hole: Hole::default(),
        }
    }

    /// Largest UDP payload that is known to arrive, in bytes. While a size that used to is in doubt, and
    /// a probe of it was lost, that is what has arrived since.
    #[must_use]
    pub fn size(&self) -> u16 {
        match &self.state {
            State::Searching(search) if search.is_doubt() && search.has_lost() => search.floor(),
            State::Searching(_) | State::Complete { .. } => self.confirmed,
        }
    }

    /// Whether the search is over for the time being.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete { .. })
    }

    /// The next probe to send now, if one is due: its id, and its size in bytes of UDP payload.
    /// `timeout` is how long to wait for an acknowledgement.
    pub fn poll_probe(&mut self, timeout: Duration, now: Instant) -> Option<(u16, u16)> {
        if matches!(self.state, State::Complete { until } if until <= now) {
            self.state = State::Searching(Search::above(self.confirmed, self.limit, now));
        }
        let State::Searching(search) = &mut self.state else { return None };
        let Some((size, round)) = search.poll_probe(timeout, now) else {
            if search.is_over() {
                self.complete(now);
            }
            return None;
        };
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        if self.probes.len() == MAX_PROBES {
            self.probes.pop_front();
        }
        self.probes.push_back(Probe { id, size, round, sent: now });
        Some((id, size))
    }

    /// When [`Self::poll_probe`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        Some(match &self.state {
            State::Searching(search) => search.poll_timeout(),
            State::Complete { until } => *until,
        })
    }

    /// The peer acknowledged a probe. It counts however late that is. Returns the size of the probe, and when it was
    /// sent; none of one that is not known.
    pub fn on_probe_acked(&mut self, id: u16, now: Instant) -> Option<(u16, Instant)> {
        let at = self.probes.iter().position(|probe| probe.id == id)?;
        let Probe { size, round, sent, .. } = self.probes.remove(at)?;
        match &mut self.state {
            State::Searching(search) => search.on_answer(size, round, sent, now),
            State::Complete { .. } => self.confirmed = self.confirmed.max(size),
        }
        self.note_growth();
        Some((size, sent))
    }

    /// A packet of `len` bytes of UDP payload, sent at `sent`, was lost. Returns how many losses are to be
    /// taken for congestion now: a probe's is not, nor one in a black hole. While the present size is in
    /// doubt they are withheld.
    pub fn on_lost(&mut self, len: u16, sent: Instant, now: Instant) -> u64 {
        if len <= BASE {
            return 1;
        }
        if len > self.size() {
            let is_in_doubt = !self.is_complete() && len <= self.confirmed;
            self.hole.withheld += u64::from(is_in_doubt);
            return 0;
        }
        match &self.state {
            State::Searching(search) if search.is_doubt() => {
                self.hole.withheld += 1;
                0
            }
            State::Searching(_) => 1,
            State::Complete { .. } => {
                self.hole.on_lost(len, sent);
                if self.hole.lost >= BLACK_HOLE {
                    self.doubt(true, now);
                }
                1
            }
        }
    }

    /// What was withheld of the losses and is congestion after all.
    pub fn take_withheld(&mut self) -> u64 {
        if self.is_complete() { std::mem::take(&mut self.hole.withheld) } else { 0 }
    }

    /// A packet of `len` bytes of UDP payload that was sent at `sent` has arrived.
    pub fn on_arrived(&mut self, len: u16, sent: Instant) {
        match &mut self.state {
            State::Searching(search) => {
                search.on_arrived(len, sent);
                self.note_growth();
            }
            State::Complete { .. } => self.hole.on_arrived(len, sent),
        }
    }

    /// Whether [`Self::on_silence`] has something to do.
    #[must_use]
    pub fn can_be_doubted(&self) -> bool {
        self.is_complete() && self.confirmed > BASE
    }

    /// Nothing has arrived for longer than it should, and something larger than the base is on its way.
    pub fn on_silence(&mut self, now: Instant) {
        if self.can_be_doubted() {
            self.doubt(false, now);
        }
    }

    /// The path leads elsewhere now: what was known does not hold.
    pub fn restart(&mut self, limit: u16) {
        let next_id = self.next_id;
        *self = Self { next_id, ..Self::new(limit) };
    }

    fn doubt(&mut self, begins_alone: bool, now: Instant) {
        self.state = State::Searching(Search::doubting(self.confirmed, begins_alone, now));
        // What was sent before proves nothing.
        self.probes.clear();
        self.hole.lost = 0;
    }

    /// What has arrived fits, also before the search is over.
    fn note_growth(&mut self) {
        if let State::Searching(search) = &self.state
            && !search.is_doubt()
        {
            self.confirmed = self.confirmed.max(search.floor());
        }
    }

    fn complete(&mut self, now: Instant) {
        let State::Searching(search) = &self.state else { return };
        if search.floor() < self.confirmed {
            self.hole.withheld = 0;
        }
        self.confirmed = search.floor();
        self.state = State::Complete { until: now + RAISE_AFTER };
    }
}

impl Hole {
    fn on_lost(&mut self, len: u16, sent: Instant) {
        if self.lost == 0 {
            (self.smallest, self.since) = (len, sent);
        }
        self.lost += 1;
        self.smallest = self.smallest.min(len);
    }

    /// Smaller ones say nothing, nor do those sent before the path may have changed.
    fn on_arrived(&mut self, len: u16, sent: Instant) {
        if len >= self.smallest && sent >= self.since {
            self.lost = 0;
        }
    }
}

#[cfg(test)]
mod tests;
