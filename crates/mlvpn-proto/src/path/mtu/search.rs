//! One search for the largest datagram of a path, in rounds of a few probes `[Z2]`.

use super::BASE;
use crate::time::{Duration, Instant};

/// UDP payloads that common links carry whole: Ethernet, PPPoE, 6in4, LTE, WireGuard and the minimum
/// of IPv6, each for IPv4 and IPv6 outside; largest first.
const CANDIDATES: [u16; 14] = [
    1_472, 1_464, 1_452, 1_444, 1_432, 1_424, 1_412, 1_400, 1_392, 1_372, 1_352, 1_330, 1_252,
    1_232,
];
/// Lost probes of one size after which it, and what is larger, is taken not to fit: one more than the
/// `MAX_PROBES` of RFC 8899 section 5.1.2, since their answers get lost, too. At 3 % of loss each way a
/// size that fits is refuted in one of 80,000 searches.
const MAX_TRIES: u8 = 4;
/// Untested sizes that are tried in one round, beside the smallest of those that were lost: with three
/// two rounds decide between fifteen sizes. The seven kilobytes of a round are half of what a sender that
/// knows nothing of a path may send at once (RFC 6928).
const AT_ONCE: usize = 3;
/// How much later than the answer to a smaller probe, which was sent after it, that to a larger one may
/// come: an eighth of the round trip (RFC 9002 section 6.1.2), and at least this long.
const LEAST_PATIENCE: Duration = Duration::from_millis(2);
/// Doublings of that time after answers that came later still, and of the time that is waited for any
/// answer at all.
const MOST_DOUBLINGS: u32 = 5;

/// Sizes that may fit, and what became of their probes.
#[derive(Clone, Debug)]
pub(super) struct Search {
    /// Largest size that has arrived in this search.
    floor: u16,
    /// What may still be found, largest first.
    open: Vec<Candidate>,
    begun: Instant,
    /// Whether the largest size is one that used to fit.
    is_doubt: bool,
    begins_alone: bool,
    round: Option<Round>,
    rounds: u16,
    /// Rounds in a row without any answer.
    unanswered: u32,
    /// Answers that came after their probe had been given up.
    late: u32,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    size: u16,
    lost: u8,
}

/// Probes that were sent together, largest first. The last has the base size: its answer tells that
/// those of the others would have come.
#[derive(Clone, Debug)]
struct Round {
    sizes: Vec<u16>,
    sent: usize,
    /// How many answers are missing.
    missing: usize,
    /// Largest size that was answered.
    best: Option<u16>,
    deadline: Instant,
    ends: Instant,
}

impl Search {
    /// A search for sizes above `floor`, which fits, up to `limit`.
    pub(super) fn above(floor: u16, limit: u16, now: Instant) -> Self {
        let below = CANDIDATES.into_iter().filter(|&size| size < limit);
        let sizes = [limit].into_iter().chain(below).filter(|&size| size > floor);
        Self {
            floor,
            open: sizes.map(|size| Candidate { size, lost: 0 }).collect(),
            begun: now,
            is_doubt: false,
            begins_alone: false,
            round: None,
            rounds: 0,
            unanswered: 0,
            late: 0,
        }
    }

    /// A search for what is left of `size`, which used to fit. Where it `begins_alone` that size is tried
    /// first: losses are congestion most often, which more probes would add to.
    pub(super) fn doubting(size: u16, begins_alone: bool, now: Instant) -> Self {
        Self { is_doubt: true, begins_alone, ..Self::above(BASE, size, now) }
    }

    /// Whether it is about a size that used to fit.
    pub(super) fn is_doubt(&self) -> bool {
        self.is_doubt
    }

    /// Largest size that has arrived.
    pub(super) fn floor(&self) -> u16 {
        self.floor
    }

    /// Whether all that is larger than the floor is known not to fit.
    pub(super) fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether something was lost that only its size explains so far.
    pub(super) fn has_lost(&self) -> bool {
        self.open.iter().any(|candidate| candidate.lost > 0)
    }

    /// The size of the next probe and its round, if one is due. `timeout` is how long to wait for an
    /// answer.
    pub(super) fn poll_probe(&mut self, timeout: Duration, now: Instant) -> Option<(u16, u16)> {
        if self.round.as_ref().is_some_and(|round| round.is_sent() && round.ends <= now) {
            self.end_round();
        }
        if self.is_over() {
            return None;
        }
        if self.round.is_none() {
            self.rounds += 1;
            let deadline = now + timeout * (1 << self.unanswered.min(MOST_DOUBLINGS));
            self.round = Some(Round::new(self.plan(), deadline));
        }
        let round = self.round.as_mut().filter(|round| !round.is_sent())?;
        round.sent += 1;
        Some((round.sizes[round.sent - 1], self.rounds))
    }

    /// When [`Self::poll_probe`] has something to do next.
    pub(super) fn poll_timeout(&self) -> Instant {
        let waiting = self.round.as_ref().filter(|round| round.is_sent() && !self.is_over());
        waiting.map_or(Instant::ZERO, |round| round.ends)
    }

    /// A probe of `round`, which was sent at `sent`, was answered.
    pub(super) fn on_answer(&mut self, size: u16, round: u16, sent: Instant, now: Instant) {
        let is_late = round != self.rounds || self.round.is_none();
        self.late += u32::from(is_late && size > self.floor);
        let patience = now.saturating_since(sent) / 8;
        let patience = patience.max(LEAST_PATIENCE) * (1 << self.late.min(MOST_DOUBLINGS));
        if let Some(round) = self.round.as_mut().filter(|_| !is_late) {
            round.missing = round.missing.saturating_sub(1);
            round.best = round.best.max(Some(size));
            let is_done = round.missing == 0 || size == round.sizes[0];
            round.ends = if is_done { now } else { round.deadline.min(now + patience) };
        }
        self.raise(size);
    }

    /// A packet of `len` bytes that was sent at `sent` has arrived.
    pub(super) fn on_arrived(&mut self, len: u16, sent: Instant) {
        if sent >= self.begun {
            self.raise(len);
        }
    }

    fn raise(&mut self, size: u16) {
        self.floor = self.floor.max(size);
        self.open.retain(|candidate| candidate.size > size);
    }

    fn end_round(&mut self) {
        let Some(round) = self.round.take() else { return };
        // Without any answer the path may be the reason.
        let Some(best) = round.best else {
            self.unanswered += 1;
            return;
        };
        self.unanswered = 0;
        // Larger ones were sent before it.
        for size in round.sizes.into_iter().filter(|&size| size > best) {
            let tried = self.open.iter_mut().find(|candidate| candidate.size == size);
            tried.into_iter().for_each(|candidate| candidate.lost += 1);
        }
        let is_refuted = |candidate: &&Candidate| candidate.lost >= MAX_TRIES;
        if let Some(refuted) = self.open.iter().rfind(is_refuted).map(|candidate| candidate.size) {
            self.open.retain(|candidate| candidate.size < refuted);
        }
    }

    /// The sizes of the next round.
    fn plan(&self) -> Vec<u16> {
        // The largest goes first, and the smallest that was lost is tried again. What is larger than
        // that does not fit either, unless it proves to.
        let tested = self.open.iter().rposition(|candidate| candidate.lost > 0).unwrap_or(0);
        let untested = &self.open[tested + 1..];
        let count = untested.len().min(AT_ONCE);
        let spread = (1..=count).map(|step| step * (untested.len() + 1) / (count + 1) - 1);
        let mut sizes = vec![self.open[tested].size];
        if untested.is_empty() {
            // All depends on this one: twice a round decides sooner.
            sizes.push(self.open[tested].size);
        }
        if !(self.begins_alone && self.rounds == 1) {
            sizes.extend(spread.map(|index| untested[index].size));
        }
        sizes.push(BASE);
        sizes
    }
}

impl Round {
    fn new(sizes: Vec<u16>, deadline: Instant) -> Self {
        Self { missing: sizes.len(), sizes, sent: 0, best: None, deadline, ends: deadline }
    }

    fn is_sent(&self) -> bool {
        self.sent == self.sizes.len()
    }
}
