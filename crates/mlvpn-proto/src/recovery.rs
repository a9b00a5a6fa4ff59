//! Lost packets sent again on another path, before their receiver gives them up.
//!
//! A packet lost on a radio link is no news for the flow in it: it is repaired within a round trip of
//! the fastest path. What is not repaired in time is given up, and the receiver told, so that it
//! waits for nothing.

use std::collections::VecDeque;

use crate::id::{PathId, PathSet};
use crate::policy::Policy;
use crate::time::{Duration, Instant};
use crate::wire::v2::{Lane, LaneSeq};

/// How often a packet is sent again `[M3]`.
const MAX_TRIES: u8 = 3;
/// How old a packet may be when it is sent again, beside one and a half round trips of the path that
/// lost it: unless repairs come the receiver holds nothing for longer than 150 ms.
const PATIENCE: Duration = Duration::from_millis(120);
/// Of the bytes sent, so many may be sent again: more loss than that is congestion.
const SHARE: f64 = 0.10;
/// Bytes that may be sent again at once, whatever was sent before: a burst of loss.
const BURST: f64 = 128.0 * 1024.0;
/// For this part of a round trip a lost packet waits for another path to have room; a burst of loss is more
/// than others carry, and the receiver does not wait long.
const ELSEWHERE: u32 = 8;
/// Packets that wait to be sent again.
pub(crate) const MAX_WAITING: usize = 8_192;
/// Numbers given up that the receiver has not been told.
pub(crate) const MAX_SKIPS: usize = 8_192;

/// An inner packet that was sent, kept until it is known to have arrived: it is sent again as it is `[F13]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Its lane.
    pub lane: Lane,
    /// Its number there.
    pub seq: u64,
    /// The packet.
    pub bytes: Vec<u8>,
    /// When it was sent first.
    pub first_sent: Instant,
    /// How often it was sent again.
    pub tries: u8,
    /// Whether its flow keeps no queue: it is sent again before others.
    pub is_sparse: bool,
    /// The path that it is bound to, over which it is sent again as well.
    pub bound: Option<PathId>,
    /// How it is given to the paths.
    pub policy: Policy,
    /// It is the second of two: nothing is lost with it.
    pub is_copy: bool,
}

impl Parcel {
    /// The same without the packet.
    #[must_use]
    pub fn without_bytes(&self) -> Self {
        Self { bytes: Vec::new(), ..*self }
    }
}

/// Packets that wait to be sent again, and numbers that were given up.
#[derive(Debug)]
pub struct Recovery {
    sparse: VecDeque<Lost>,
    bulk: VecDeque<Lost>,
    skips: VecDeque<(Lane, u64)>,
    /// Bytes that may be sent again. New data earns [`BURST`] at the most; what is reinjected brings its
    /// own length along, which is cut to that with the next new data.
    credit: f64,
    stats: RecoveryStats,
}

#[derive(Debug)]
struct Lost {
    parcel: Parcel,
    /// The path that lost it, or those that bring it too late.
    by: PathSet,
    until: Instant,
    /// Until then another path is to carry it.
    elsewhere_until: Instant,
    /// It is on its way, only late: if nobody else carries it, nothing is lost.
    is_under_way: bool,
}

/// Which of the packets that are bound to no path one may send again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unbound {
    /// Those that another path lost: there are others for its own, unless these had no room for an eighth of a round trip.
    OfOthers,
    /// All: there is no other path.
    All,
    /// None: it is left alone.
    Nothing,
}

/// What became of lost packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecoveryStats {
    /// Sent again.
    pub resent: u64,
    /// Given up: too old, or lost too often.
    pub given_up: u64,
}

/// Packets that will not come any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Skip {
    /// Their lane.
    pub lane: Lane,
    /// The number of the first of them.
    pub first: LaneSeq,
    /// How many there are.
    pub count: u16,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            sparse: VecDeque::new(),
            bulk: VecDeque::new(),
            skips: VecDeque::new(),
            credit: BURST,
            stats: RecoveryStats::default(),
        }
    }
}

impl Recovery {
    /// `len` bytes of new data were sent.
    pub fn on_sent(&mut self, len: usize) {
        self.credit = (self.credit + SHARE * len as f64).min(BURST);
    }

    /// The path `by`, whose round trip is `rtt`, lost a packet. Returns its buffer when it is given up
    /// at once.
    pub fn on_lost(
        &mut self,
        mut parcel: Parcel,
        by: PathId,
        rtt: Duration,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let until = parcel.first_sent + PATIENCE + rtt * 3 / 2;
        if parcel.tries >= MAX_TRIES || until <= now || self.is_full() {
            return Some(self.give_up(parcel));
        }
        parcel.tries += 1;
        let queue = if parcel.is_sparse { &mut self.sparse } else { &mut self.bulk };
        let (by, elsewhere_until) = (by.into(), now + rtt / ELSEWHERE);
        queue.push_back(Lost { parcel, by, until, elsewhere_until, is_under_way: false });
        None
    }

    /// What was on its way on `by`, and will not arrive, is sent again, whatever its share of what was
    /// sent: the caller bounds it. Returns its buffer when too much waits, and it is given up.
    pub fn reinject(
        &mut self,
        parcel: Parcel,
        by: PathId,
        rtt: Duration,
        now: Instant,
    ) -> Option<Vec<u8>> {
        if self.is_full() {
            return Some(self.give_up(parcel));
        }
        self.send_elsewhere(parcel, by.into(), now + PATIENCE + rtt * 3 / 2, false);
        None
    }

    /// What is on its way, and arrives sooner on a path that is not `by`, is sent there too if that can be
    /// done before `until`; whatever its share, likewise.
    pub fn overtake(&mut self, parcel: Parcel, by: PathSet, until: Instant) {
        self.send_elsewhere(parcel, by, until, true);
    }

    fn send_elsewhere(&mut self, parcel: Parcel, by: PathSet, until: Instant, is_under_way: bool) {
        self.credit += parcel.bytes.len() as f64;
        let queue = if parcel.is_sparse { &mut self.sparse } else { &mut self.bulk };
        queue.push_back(Lost { parcel, by, until, elsewhere_until: until, is_under_way });
    }

    /// Whether something waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sparse.is_empty() && self.bulk.is_empty()
    }

    /// Whether as much waits as may.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.waiting() >= MAX_WAITING
    }

    /// How many packets wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.sparse.len() + self.bulk.len()
    }

    /// Whether something waits that is bound to a path.
    #[must_use]
    pub fn has_bound(&self, path: PathId) -> bool {
        self.sparse.iter().chain(&self.bulk).any(|lost| lost.parcel.bound == Some(path))
    }

    /// What is bound to a path may go over any other from now on.
    pub fn unbind(&mut self, path: PathId) {
        let waiting = self.sparse.iter_mut().chain(&mut self.bulk).map(|lost| &mut lost.parcel);
        waiting.filter(|parcel| parcel.bound == Some(path)).for_each(|parcel| parcel.bound = None);
    }

    /// The next packet to send again on `path`, of those that `accepts` takes: one
    /// that is bound to it, or is bound to none and goes there as `unbound` says, unless one path is to
    /// carry everything.
    pub fn pop(
        &mut self,
        path: PathId,
        unbound: Unbound,
        accepts: impl Fn(&Parcel) -> bool,
        now: Instant,
    ) -> Option<Parcel> {
        if self.credit <= 0.0 {
            return None;
        }
        let Self { sparse, bulk, credit, stats, .. } = self;
        let may_go = |lost: &Lost| match (lost.parcel.bound, unbound) {
            (Some(bound), _) => bound == path,
            (None, Unbound::OfOthers) => {
                let is_other = !lost.by.has(path) || lost.elsewhere_until <= now;
                is_other || lost.parcel.policy == Policy::Backup
            }
            (None, Unbound::All) => true,
            (None, Unbound::Nothing) => false,
        };
        let may = |lost: &Lost| may_go(lost) && accepts(&lost.parcel);
        let queue = [sparse, bulk].into_iter().find(|queue| queue.iter().any(may))?;
        let at = queue.iter().position(may)?;
        let lost = queue.remove(at)?;
        *credit -= lost.parcel.bytes.len() as f64;
        stats.resent += 1;
        Some(lost.parcel)
    }

    /// Gives up what is too old; the buffers go to `freed`.
    pub fn handle_timeout(&mut self, now: Instant, freed: &mut Vec<Vec<u8>>) {
        for is_sparse in [true, false] {
            let queue = if is_sparse { &mut self.sparse } else { &mut self.bulk };
            let mut kept = VecDeque::with_capacity(queue.len());
            let mut expired = Vec::new();
            for lost in std::mem::take(queue) {
                match lost {
                    _ if lost.until > now => kept.push_back(lost),
                    _ if lost.is_under_way => freed.push(lost.parcel.bytes),
                    _ => expired.push(lost.parcel),
                }
            }
            *queue = kept;
            freed.extend(expired.into_iter().map(|parcel| self.give_up(parcel)));
        }
    }

    /// When the oldest that waits is to be given up.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sparse.iter().chain(&self.bulk).map(|lost| lost.until).min()
    }

    /// Gives up a packet that is not to be sent again; returns its buffer.
    #[must_use]
    pub fn give_up(&mut self, parcel: Parcel) -> Vec<u8> {
        self.stats.given_up += 1;
        if self.skips.len() < MAX_SKIPS {
            self.skips.push_back((parcel.lane, parcel.seq));
        }
        parcel.bytes
    }

    /// Numbers that the receiver is to be told of, neighbours together.
    pub fn poll_skip(&mut self) -> Option<Skip> {
        let (lane, first) = self.skips.pop_front()?;
        let mut count = 1;
        while count < u16::MAX && self.skips.front() == Some(&(lane, first + u64::from(count))) {
            self.skips.pop_front();
            count += 1;
        }
        Some(Skip { lane, first: LaneSeq::of(first), count })
    }

    /// Whether the receiver is to be told of anything.
    #[must_use]
    pub fn has_skips(&self) -> bool {
        !self.skips.is_empty()
    }

    /// How many numbers were given up of which the receiver has not been told.
    #[must_use]
    pub fn skips(&self) -> usize {
        self.skips.len()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> RecoveryStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(20);

    fn path(number: u8) -> PathId {
        PathId::new(number).unwrap()
    }

    fn parcel(seq: u64, is_sparse: bool) -> Parcel {
        Parcel {
            lane: Lane::default(),
            seq,
            bytes: vec![0; 100],
            first_sent: Instant::from_secs(1),
            tries: 0,
            is_sparse,
            bound: None,
            policy: Policy::Bond,
            is_copy: false,
        }
    }

    #[test]
    fn a_lost_packet_is_sent_again_on_another_path_and_sparse_ones_first() {
        let mut recovery = Recovery::default();
        let now = Instant::from_millis(1_020);
        assert_eq!(recovery.on_lost(parcel(1, false), path(0), RTT, now), None);
        assert_eq!(recovery.on_lost(parcel(2, true), path(0), RTT, now), None);
        assert_eq!(recovery.pop(path(0), Unbound::OfOthers, |_| true, now), None);
        assert_eq!(recovery.pop(path(1), Unbound::OfOthers, |_| false, now), None, "does not fit");
        let seqs =
            [(); 2].map(|()| recovery.pop(path(1), Unbound::OfOthers, |_| true, now).unwrap().seq);
        assert_eq!(seqs, [2, 1]);
        assert_eq!(recovery.stats(), RecoveryStats { resent: 2, given_up: 0 });
    }

    #[test]
    fn what_no_other_path_has_room_for_goes_over_the_one_that_lost_it() {
        let mut recovery = Recovery::default();
        let now = Instant::from_millis(1_020);
        assert_eq!(recovery.on_lost(parcel(1, false), path(0), RTT, now), None);
        let soon = now + RTT / ELSEWHERE - Duration::from_micros(1);
        assert_eq!(recovery.pop(path(0), Unbound::OfOthers, |_| true, soon), None);
        assert!(
            recovery.pop(path(0), Unbound::OfOthers, |_| true, now + RTT / ELSEWHERE).is_some()
        );
    }

    #[test]
    fn what_others_do_not_bring_sooner_is_not_lost() {
        let mut recovery = Recovery::default();
        let now = Instant::from_millis(1_020);
        let slow = [path(0), path(1)].into_iter().collect();
        for seq in [1, 2] {
            recovery.overtake(parcel(seq, false), slow, now + RTT);
        }
        for late in [path(0), path(1)] {
            assert_eq!(recovery.pop(late, Unbound::OfOthers, |_| true, now), None);
        }
        assert_eq!(recovery.pop(path(2), Unbound::OfOthers, |_| true, now).unwrap().seq, 1);
        let mut freed = Vec::new();
        recovery.handle_timeout(now + RTT, &mut freed);
        assert_eq!((freed.len(), recovery.has_skips(), recovery.stats().given_up), (1, false, 0));
    }

    #[test]
    fn what_is_bound_to_a_path_is_sent_again_there_until_it_is_unbound() {
        let mut recovery = Recovery::default();
        let now = Instant::from_millis(1_020);
        for seq in [1, 2] {
            let bound = Parcel { bound: Some(path(0)), ..parcel(seq, false) };
            assert_eq!(recovery.on_lost(bound, path(0), RTT, now), None);
        }
        assert!(recovery.has_bound(path(0)) && !recovery.has_bound(path(1)));
        for unbound in [Unbound::OfOthers, Unbound::All] {
            assert_eq!(recovery.pop(path(1), unbound, |_| true, now), None);
        }
        let again = recovery.pop(path(0), Unbound::Nothing, |_| true, now).unwrap();
        assert_eq!((again.seq, again.bound), (1, Some(path(0))));
        recovery.unbind(path(0));
        assert_eq!(recovery.pop(path(0), Unbound::Nothing, |_| true, now), None);
        let again = recovery.pop(path(1), Unbound::OfOthers, |_| true, now).unwrap();
        assert_eq!((again.seq, again.bound), (2, None));
    }

    #[test]
    fn what_is_too_old_or_was_lost_too_often_is_given_up_and_told_of() {
        let mut recovery = Recovery::default();
        let now = Instant::from_millis(1_020);
        for seq in [7, 8, 9] {
            assert_eq!(recovery.on_lost(parcel(seq, false), path(0), RTT, now), None);
        }
        let often = Parcel { tries: MAX_TRIES, ..parcel(30, false) };
        assert!(recovery.on_lost(often, path(0), RTT, now).is_some());
        let deadline = recovery.poll_timeout().unwrap();
        assert_eq!(deadline, Instant::from_millis(1_150));
        let mut freed = Vec::new();
        recovery.handle_timeout(deadline, &mut freed);
        assert_eq!(freed.len(), 3);
        let skip = |first, count| Skip { lane: Lane::default(), first: LaneSeq::of(first), count };
        assert_eq!(recovery.poll_skip(), Some(skip(30, 1)));
        assert_eq!(recovery.poll_skip(), Some(skip(7, 3)));
        assert_eq!(recovery.poll_skip(), None);
        assert_eq!(recovery.stats().given_up, 4);
    }

    #[test]
    fn no_more_than_a_tenth_is_sent_again() {
        let mut recovery = Recovery::default();
        let now = Instant::from_millis(1_020);
        let mut resent = 0;
        for seq in 0..100_000u64 {
            recovery.on_sent(100);
            if seq % 2 == 0 {
                let _ = recovery.on_lost(parcel(seq, false), path(0), RTT, now);
            }
            if recovery.pop(path(1), Unbound::OfOthers, |_| true, now).is_some() {
                resent += 1;
            }
        }
        let burst = (BURST / 100.0) as u64;
        assert!((10_000..10_002 + burst).contains(&resent), "{resent}");
    }
}
