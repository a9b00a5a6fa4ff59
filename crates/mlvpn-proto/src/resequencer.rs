//! Puts data packets back into the order in which they were sent.
//!
//! A packet that is missing is waited for no longer than it can still be on its way:
//! - it is *proven lost* when every link has delivered something sent after it, since links keep
//!   the order of what they carry (the event-driven rule of RFC 1990 section 4.1);
//! - otherwise until its *deadline*: the time at which the slowest link would have delivered it.
//!
//! What comes after it was given up is passed on late; it is for the inner protocols to judge.

use std::collections::VecDeque;

use crate::delay::{DelayTable, RelativeDelay};
use crate::id::{DataSeq, LinkIndex};
use crate::time::{Duration, Instant};

/// Most packets that are held, whatever the configuration says.
pub const MAX_PACKETS: usize = 4_096;
/// Most bytes that are held.
pub const MAX_BYTES: usize = 16 << 20;
/// No hole is waited for longer than this, whatever the measured delays say.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// Added to every deadline: the resolution of the timestamps and of timers, and what a busy host
/// takes to get round to its sockets.
const SLACK: Duration = Duration::from_millis(5);
/// How much later than its successors a packet may come within one link, to begin with.
const MIN_DISPLACEMENT: Duration = Duration::from_millis(1);
/// The largest displacement within a link that is learned.
const MAX_DISPLACEMENT: Duration = Duration::from_millis(40);
/// A learned displacement is forgotten (halved) after this long without a late packet.
const DISPLACEMENT_DECAY: Duration = Duration::from_secs(30);
/// The first packet to come need not be the first that was sent: as many before it may be on their
/// way over slower links.
const START_GUARD: u64 = 64;
/// A link that has brought nothing while the others brought this many packets, and for this long,
/// is not one that the peer uses: nothing is to be expected from it.
const UNUSED_PACKETS: u64 = 256;
const UNUSED_TIME: Duration = Duration::from_secs(1);
/// So many packets in a row that are all far behind: the order was lost, not they.
const STALE_RUN: u32 = 64;
/// A new process of the peer counts from 0: its first packet is this far behind or further.
const RESTART_DISTANCE: u64 = 1_024;

/// How much is held back to restore the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReorderPolicy {
    /// Nothing: packets are delivered as they come.
    Off,
    /// As much as the links' delays call for.
    #[default]
    Adaptive,
    /// As `Adaptive`, but at most this many packets.
    Packets(u32),
}

/// What happened to the packets so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ResequencerStats {
    /// Packets held now.
    pub held: usize,
    /// How long the hole that was looked at last may be waited for.
    pub wait: Duration,
    /// Delivered in their turn, without a hole before them.
    pub in_order: u64,
    /// Holes given up because every link had delivered later packets.
    pub proven_lost: u64,
    /// Holes given up at their deadline.
    pub deadline: u64,
    /// Holes given up because too much was held.
    pub overflow: u64,
    /// Packets that came after their hole had been given up; delivered late.
    pub late: u64,
}

/// The order of one session's data packets.
#[derive(Debug)]
pub struct Resequencer {
    policy: ReorderPolicy,
    /// The number due next; none before the first packet.
    next: Option<u64>,
    /// Packets from `next` on; the first slot is always empty.
    window: VecDeque<Option<Held>>,
    held: usize,
    held_bytes: usize,
    /// Per link, while it may carry data.
    carriers: Vec<Option<Carrier>>,
    /// Packets that came, over all links.
    arrivals: u64,
    /// Packets in a row that came far behind their turn.
    stale_run: u32,
    displacement: Displacement,
    deadline: Option<Instant>,
    /// The hole at the head may be nothing but the [`START_GUARD`].
    is_starting: bool,
    stats: ResequencerStats,
}

#[derive(Debug)]
struct Held {
    packet: Vec<u8>,
    received: Instant,
    delay: RelativeDelay,
}

/// Where a packet came from.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Its place in the order.
    pub seq: DataSeq,
    /// The link that carried it.
    pub link: LinkIndex,
    /// Its own one-way delay.
    pub delay: RelativeDelay,
    /// The first packet of a new flow of the peer: it may count from the beginning again.
    pub may_restart: bool,
}

impl Resequencer {
    /// An empty resequencer.
    #[must_use]
    pub fn new(policy: ReorderPolicy) -> Self {
        Self {
            policy,
            next: None,
            window: VecDeque::new(),
            held: 0,
            held_bytes: 0,
            carriers: Vec::new(),
            arrivals: 0,
            stale_run: 0,
            displacement: Displacement::default(),
            deadline: None,
            is_starting: true,
            stats: ResequencerStats::default(),
        }
    }

    /// Changes how much may be held; applies from the next packet on.
    pub fn set_policy(&mut self, policy: ReorderPolicy) {
        self.policy = policy;
    }

    /// A link may carry data from now on, or no longer.
    pub fn set_carrier(&mut self, link: LinkIndex, is_up: bool, now: Instant) {
        if self.carriers.len() <= link.slot() {
            self.carriers.resize(link.slot() + 1, None);
        }
        let fresh = Carrier { largest: 0, arrivals: self.arrivals, at: now };
        self.carriers[link.slot()] = is_up.then_some(fresh);
    }

    /// Takes a packet; what is now due goes to the end of `out`. Returns whether it was taken:
    /// `false` for a second copy.
    pub fn insert(
        &mut self,
        arrival: Arrival,
        packet: Vec<u8>,
        delays: &DelayTable,
        now: Instant,
        out: &mut VecDeque<Vec<u8>>,
    ) -> Result<(), Vec<u8>> {
        let seq = arrival.seq.0;
        if self.policy == ReorderPolicy::Off {
            self.stats.in_order += 1;
            out.push_back(packet);
            return Ok(());
        }
        let restarts =
            |next: u64| arrival.may_restart && seq.saturating_add(RESTART_DISTANCE) < next;
        let next = match self.next {
            Some(next) if !restarts(next) => next,
            _ => self.start_at(seq, out),
        };
        self.arrivals += 1;
        if let Some(Some(carrier)) = self.carriers.get_mut(arrival.link.slot()) {
            let largest = carrier.largest.max(seq);
            *carrier = Carrier { largest, arrivals: self.arrivals, at: now };
        }
        if seq < next {
            self.stats.late += 1;
            self.displacement.on_late(now);
            out.push_back(packet);
            self.heed_stale(seq, next, out);
            return Ok(());
        }
        self.stale_run = 0;
        let held = Held { packet, received: now, delay: arrival.delay };
        if seq - next >= MAX_PACKETS as u64 {
            self.jump_to(seq, out);
        }
        self.place(seq, held)?;
        self.release_run(out);
        // A packet that a hole waits for may be among those that the caller is about to hand over,
        // so deadlines are for `handle_timeout` alone.
        self.release_holes(Patience::UntilProven, delays, now, out);
        Ok(())
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Gives up the holes whose time has come. Everything that has arrived is to be inserted
    /// before.
    pub fn handle_timeout(
        &mut self,
        delays: &DelayTable,
        now: Instant,
        out: &mut VecDeque<Vec<u8>>,
    ) {
        self.release_holes(Patience::UntilDeadline, delays, now, out);
    }

    /// Counters, and how many packets are held.
    #[must_use]
    pub fn stats(&self) -> ResequencerStats {
        ResequencerStats { held: self.held, ..self.stats }
    }

    /// How long the hole at the head is waited for, as of now.
    #[must_use]
    pub fn displacement(&self) -> Duration {
        self.displacement.allowed
    }

    /// Begins with `seq`, the first packet of a sender; returns the number due next.
    fn start_at(&mut self, seq: u64, out: &mut VecDeque<Vec<u8>>) -> u64 {
        self.flush(out);
        let next = seq.saturating_sub(START_GUARD);
        self.next = Some(next);
        self.is_starting = true;
        self.stale_run = 0;
        self.carriers.iter_mut().flatten().for_each(|carrier| carrier.largest = 0);
        next
    }

    /// Numbers are not authenticated: a single forged one could put the turn so far ahead that all
    /// genuine packets are late for ever.
    fn heed_stale(&mut self, seq: u64, next: u64, out: &mut VecDeque<Vec<u8>>) {
        if next - seq <= MAX_PACKETS as u64 {
            self.stale_run = 0;
            return;
        }
        self.stale_run += 1;
        if self.stale_run >= STALE_RUN {
            self.start_at(seq.saturating_add(START_GUARD + 1), out);
        }
    }

    fn capacity(&self) -> usize {
        match self.policy {
            ReorderPolicy::Packets(packets) => (packets as usize).min(MAX_PACKETS),
            ReorderPolicy::Adaptive | ReorderPolicy::Off => MAX_PACKETS,
        }
    }

    fn place(&mut self, seq: u64, held: Held) -> Result<(), Vec<u8>> {
        let at = (seq - self.next.unwrap_or(seq)) as usize;
        if self.window.len() <= at {
            self.window.resize_with(at + 1, || None);
        }
        if self.window[at].is_some() {
            return Err(held.packet);
        }
        self.held += 1;
        self.held_bytes += held.packet.len();
        self.window[at] = Some(held);
        Ok(())
    }

    /// Delivers the packets at the head that are there.
    fn release_run(&mut self, out: &mut VecDeque<Vec<u8>>) {
        let first_hole = self.window.iter().position(Option::is_none).unwrap_or(self.window.len());
        for slot in self.window.drain(..first_hole) {
            let held = slot.expect("only filled slots were counted");
            self.held -= 1;
            self.held_bytes -= held.packet.len();
            self.stats.in_order += 1;
            out.push_back(held.packet);
        }
        self.next = self.next.map(|next| next.wrapping_add(first_hole as u64));
        self.is_starting &= first_hole == 0;
        if self.held == 0 {
            self.window.clear();
        }
    }

    /// Gives up the hole at the head, and those that follow it directly.
    fn skip_hole(&mut self, out: &mut VecDeque<Vec<u8>>) {
        let hole = self.window.iter().position(Option::is_some).unwrap_or(self.window.len());
        if let Some(Some(first)) = self.window.get(hole) {
            self.displacement.on_skip(first.received);
        }
        self.window.drain(..hole);
        self.next = self.next.map(|next| next.wrapping_add(hole as u64));
        self.is_starting = false;
        self.release_run(out);
    }

    fn release_holes(
        &mut self,
        patience: Patience,
        delays: &DelayTable,
        now: Instant,
        out: &mut VecDeque<Vec<u8>>,
    ) {
        self.displacement.decay(now);
        self.deadline = None;
        while let Some((hole, first)) = self.head_hole() {
            let hole = if self.is_starting { 0 } else { hole };
            if self.held > self.capacity() || self.held_bytes > MAX_BYTES {
                self.stats.overflow += hole;
                self.skip_hole(out);
                continue;
            }
            let proven = self.is_passed(now).then(|| first.received + self.displacement.allowed);
            if proven.is_some_and(|at| at <= now) {
                self.stats.proven_lost += hole;
                self.skip_hole(out);
                continue;
            }
            let spread = delays.spread_beyond(first.delay, self.carrier_links(now));
            let wait = (spread + SLACK).min(MAX_WAIT);
            let deadline = first.received + wait;
            self.stats.wait = wait;
            if patience == Patience::UntilDeadline && deadline <= now {
                self.stats.deadline += hole;
                self.skip_hole(out);
                continue;
            }
            self.deadline = Some(proven.map_or(deadline, |at| at.min(deadline)));
            break;
        }
    }

    /// The length of the hole at the head, and the packet behind it.
    fn head_hole(&self) -> Option<(u64, &Held)> {
        if self.held == 0 {
            return None;
        }
        self.window
            .iter()
            .enumerate()
            .find_map(|(at, slot)| slot.as_ref().map(|held| (at as u64, held)))
    }

    /// Whether every link has delivered something sent after the hole at the head.
    fn is_passed(&self, now: Instant) -> bool {
        let Some(next) = self.next else { return false };
        self.carriers
            .iter()
            .flatten()
            .all(|carrier| carrier.largest > next || !carrier.is_used(self.arrivals, now))
    }

    fn carrier_links(&self, now: Instant) -> impl Iterator<Item = LinkIndex> + '_ {
        let is_used = move |carrier: &Carrier| carrier.is_used(self.arrivals, now);
        self.carriers
            .iter()
            .enumerate()
            .filter(move |(_, carrier)| carrier.as_ref().is_some_and(is_used))
            .map(|(slot, _)| LinkIndex(slot as u16))
    }

    /// Everything that is held is delivered in order, so that `seq` fits into the window.
    fn jump_to(&mut self, seq: u64, out: &mut VecDeque<Vec<u8>>) {
        while self.held > 0 && seq - self.next.unwrap_or(seq) >= MAX_PACKETS as u64 {
            let hole = self.head_hole().map_or(0, |(hole, _)| hole);
            self.stats.overflow += hole;
            self.skip_hole(out);
        }
        if seq - self.next.unwrap_or(seq) >= MAX_PACKETS as u64 {
            self.window.clear();
            self.next = Some(seq);
        }
    }

    fn flush(&mut self, out: &mut VecDeque<Vec<u8>>) {
        while self.held > 0 {
            self.skip_hole(out);
        }
        self.window.clear();
        self.deadline = None;
    }
}

/// What a link has brought.
#[derive(Clone, Copy, Debug)]
struct Carrier {
    /// The largest number.
    largest: u64,
    /// How many packets had come over all links when it brought the last, and when that was.
    arrivals: u64,
    at: Instant,
}

impl Carrier {
    fn is_used(&self, arrivals: u64, now: Instant) -> bool {
        arrivals - self.arrivals < UNUSED_PACKETS || now.saturating_since(self.at) < UNUSED_TIME
    }
}

/// What ends the wait for a hole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    UntilProven,
    UntilDeadline,
}

/// How late a packet may come within its own link.
#[derive(Clone, Copy, Debug)]
struct Displacement {
    allowed: Duration,
    last_skip: Option<Instant>,
    changed: Instant,
}

impl Default for Displacement {
    fn default() -> Self {
        Self { allowed: MIN_DISPLACEMENT, last_skip: None, changed: Instant::ZERO }
    }
}

impl Displacement {
    fn on_skip(&mut self, successor_received: Instant) {
        self.last_skip = Some(successor_received);
    }

    fn on_late(&mut self, now: Instant) {
        let Some(successor) = self.last_skip else { return };
        let late = now.saturating_since(successor) * 5 / 4;
        if late <= MAX_DISPLACEMENT {
            self.allowed = self.allowed.max(late);
            self.changed = now;
        }
    }

    fn decay(&mut self, now: Instant) {
        if now.saturating_since(self.changed) > DISPLACEMENT_DECAY {
            self.allowed = (self.allowed / 2).max(MIN_DISPLACEMENT);
            self.changed = now;
        }
    }
}

#[cfg(test)]
#[path = "resequencer/tests.rs"]
mod tests;
