//! Puts the packets of each lane back into the order in which they were sent.
//!
//! Order is kept per lane: a hole in one never delays another. What is next in its lane is
//! delivered at once; what comes before its turn is held until the hole before it is filled or
//! given up. Of a hole only this is known: what is missing was sent before the packets behind it.
//! - It is *proven lost* when every path that is up has delivered something that was sent later by
//!   more than what the path is known to displace, since paths keep the order of what they carry
//!   (the event-driven rule of RFC 1990 section 4.1). The sender may repair it still, which takes
//!   as long as [`LaneResequencer::set_repair_time`] says.
//! - Without proof it is given up at its *deadline*, when the slowest path would have delivered it,
//!   or a repair would have come; while repairs of a path that fell silent come, they are waited for.
//! - The sender may say that it does not come.
//!
//! What comes after that is delivered late: it is for the inner protocols to judge. Copies are
//! dropped.

mod given_up;
mod hold;
mod lane;
mod progress;
mod waiting;

use std::collections::VecDeque;

use crate::id::PathId;
use crate::time::{Duration, Instant};
use crate::transit::TransitTable;
use crate::wire::v2::{Lane, LaneSeq, SendTime};
use hold::{Behind, Hold};
use lane::LaneState;
use progress::Progress;
use waiting::{Filed, Waiting};

/// Most packets that are held in one lane, and how far ahead of the one that is due they may be.
pub const MAX_LANE_PACKETS: u64 = 4_096;
/// Most packets that are held in all lanes.
pub const MAX_PACKETS: usize = 65_536;
/// Most bytes of packets that are held in all lanes.
pub const MAX_BYTES: usize = 16 << 20;
/// No packet is held longer than this, whatever the measured delays say, unless repairs come.
pub const MAX_WAIT: Duration = Duration::from_millis(150);
/// While repairs fill a hole that is not proven, the next one is waited for so long. What was on its way on a link that
/// died takes longer over a slower one.
const REPAIRS_APART: Duration = Duration::from_millis(50);
/// No packet is held longer than this, though repairs come.
pub const MAX_WAIT_IN_REPAIR: Duration = Duration::from_millis(300);
/// The longest repair that is waited for.
pub const MAX_REPAIR_TIME: Duration = Duration::from_millis(120);
/// Added to every deadline: what a busy host takes to get round to its sockets.
const SLACK: Duration = Duration::from_millis(2);

/// Where a packet belongs, and how it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// In which order it has a place.
    pub lane: Lane,
    /// Which place that is.
    pub seq: LaneSeq,
    /// The path that carried it.
    pub path: PathId,
    /// When it was sealed, also if its content had been sent before.
    pub sent: SendTime,
}

/// What happened to the packets so far. What was given up is counted in numbers of lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LaneStats {
    /// Packets held now.
    pub held_packets: usize,
    /// Bytes of the packets held now.
    pub held_bytes: usize,
    /// How long the hole that was looked at last may be waited for.
    pub wait: Duration,
    /// Packets delivered in their turn.
    pub in_order: u64,
    /// Given up because every path had delivered later packets.
    pub proven_lost: u64,
    /// Given up because the sender said so.
    pub skipped: u64,
    /// Given up at the deadline.
    pub deadline: u64,
    /// Given up because too much was held, or because the numbers went on too far ahead.
    pub overflow: u64,
    /// Packets that came after they had been given up; delivered late.
    pub late: u64,
    /// Packets that had come before, or are so old that this is not known; not delivered.
    pub duplicates: u64,
}

/// The order of all lanes of a session, in the direction towards us.
#[derive(Debug)]
pub struct LaneResequencer {
    lanes: Box<[LaneState]>,
    waiting: Waiting,
    progress: Progress,
    transit: TransitTable,
    repair_time: Option<Duration>,
    stats: LaneStats,
}

impl Default for LaneResequencer {
    fn default() -> Self {
        Self {
            lanes: (0..Lane::COUNT).map(|_| LaneState::default()).collect(),
            waiting: Waiting::default(),
            progress: Progress::default(),
            transit: TransitTable::default(),
            repair_time: None,
            stats: LaneStats::default(),
        }
    }
}

impl LaneResequencer {
    /// Takes a packet, which is delivered once `[F6]`; what is now due goes to the end of `out`.
    ///
    /// Holes whose deadline has come are left to [`Self::handle_timeout`]: what they wait for may
    /// be among the packets that the caller is about to insert.
    ///
    /// # Errors
    /// The packet itself, when it had come before or is so old that this is not known.
    pub fn insert(
        &mut self,
        arrival: Arrival,
        packet: Vec<u8>,
        now: Instant,
        out: &mut VecDeque<Vec<u8>>,
    ) -> Result<(), Vec<u8>> {
        let sent = self.transit.on_packet(arrival.path, arrival.sent, now);
        self.progress.on_packet(arrival.path, sent, now);
        let lane = arrival.lane;
        let seq = arrival.seq.near(self.lanes[lane.slot()].next);
        self.make_room(lane, seq, now, out);
        let state = &mut self.lanes[lane.slot()];
        let taken = if seq == state.next {
            if let Some(hold) = &mut state.hold {
                hold.on_filled(sent, now);
            }
            state.deliver(packet, out);
            self.stats.in_order += 1;
            self.release_run(lane, now, out);
            Ok(())
        } else if seq > state.next {
            self.hold(lane, seq, Behind { received: now, sent }, packet)
        } else if state.is_late(seq) {
            self.stats.late += 1;
            out.push_back(packet);
            Ok(())
        } else {
            Err(packet)
        };
        self.stats.duplicates += u64::from(taken.is_err());
        self.release_proven(now, out);
        self.release_excess(now, out);
        taken
    }

    /// The sender says that `count` numbers from `first` on will not come.
    pub fn on_skip(
        &mut self,
        lane: Lane,
        first: LaneSeq,
        count: u16,
        now: Instant,
        out: &mut VecDeque<Vec<u8>>,
    ) {
        let state = &mut self.lanes[lane.slot()];
        let first = first.near(state.next);
        let end = first + u64::from(count);
        if end <= state.next || first >= state.next + MAX_LANE_PACKETS {
            return;
        }
        state.hold.get_or_insert_default().skip(first.max(state.next)..end);
        self.release_run(lane, now, out);
        self.release_proven(now, out);
    }

    /// The path may carry data from now on, or no longer. While no path is up nothing is waited
    /// for.
    pub fn set_path(
        &mut self,
        path: PathId,
        is_up: bool,
        now: Instant,
        out: &mut VecDeque<Vec<u8>>,
    ) {
        if is_up && !self.progress.is_up(path) {
            self.transit.restart(path);
        }
        self.progress.set_up(path, is_up);
        self.release_proven(now, out);
    }

    /// The smoothed round trip of a path: it limits what the path is allowed to displace, and
    /// stands in for its one-way delay while that is not known.
    pub fn set_round_trip(&mut self, path: PathId, round_trip: Duration) {
        self.transit.set_round_trip(path, round_trip);
        self.progress.set_round_trip(path, round_trip);
    }

    /// How long after the proof of its loss a packet is still waited for, since the sender sends
    /// it again; no more than [`MAX_REPAIR_TIME`]. None when nothing is sent again.
    pub fn set_repair_time(&mut self, repair_time: Option<Duration>) {
        self.repair_time =
            repair_time.filter(|time| !time.is_zero()).map(|time| time.min(MAX_REPAIR_TIME));
    }

    /// Everything that was sent on the path until `as_of` has arrived: nothing older is to be
    /// expected from it, though it is quiet. `as_of` is the send time of a packet that was sealed
    /// before the peer said so, at most two seconds ago.
    pub fn on_path_clear(
        &mut self,
        path: PathId,
        as_of: SendTime,
        now: Instant,
        out: &mut VecDeque<Vec<u8>>,
    ) {
        self.progress.on_clear(path, self.transit.place(as_of, now));
        self.release_proven(now, out);
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.first().map(|(due, _)| due)
    }

    /// Gives up the holes whose time has come. Everything that has arrived is to be inserted
    /// before.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut VecDeque<Vec<u8>>) {
        while let Some((_, lane)) = self.waiting.first().filter(|&(due, _)| due <= now) {
            // The paths may have become slower since the hole was filed.
            self.refile(lane, now);
            let Some(filed) = self.filed(lane) else { return };
            if filed.due <= now {
                let cause =
                    if filed.unproven.is_none() { Cause::ProvenLost } else { Cause::Deadline };
                self.give_up_head(lane, cause, now, out);
                self.release_proven(now, out);
            }
        }
    }

    /// Counters, and how much is held.
    #[must_use]
    pub fn stats(&self) -> LaneStats {
        self.stats
    }

    /// The one-way delays of the paths, as the packets have shown them.
    #[must_use]
    pub fn transit(&self) -> &TransitTable {
        &self.transit
    }

    /// Keeps a packet whose turn has not come.
    fn hold(
        &mut self,
        lane: Lane,
        seq: u64,
        behind: Behind,
        packet: Vec<u8>,
    ) -> Result<(), Vec<u8>> {
        let bytes = packet.len();
        let hold = self.lanes[lane.slot()].hold.get_or_insert_default();
        hold.place(seq, behind, packet)?;
        let is_first = hold.first_number() == Some(seq);
        self.stats.held_packets += 1;
        self.stats.held_bytes += bytes;
        if is_first {
            self.refile(lane, behind.received);
        }
        Ok(())
    }

    /// Delivers what is due in the lane, and passes over what the sender gave up.
    fn release_run(&mut self, lane: Lane, now: Instant, out: &mut VecDeque<Vec<u8>>) {
        let state = &mut self.lanes[lane.slot()];
        let Some(mut hold) = state.hold.take() else { return };
        let behind = hold.first_number();
        loop {
            if let Some(packet) = hold.take(state.next) {
                self.stats.held_packets -= 1;
                self.stats.held_bytes -= packet.len();
                self.stats.in_order += 1;
                state.deliver(packet, out);
            } else if let Some(until) = hold.skipped_until(state.next) {
                self.stats.skipped += state.give_up(until);
            } else {
                break;
            }
        }
        // A hole that is filled in part is the same hole still.
        if hold.first_number() != behind {
            hold.proven = None;
        }
        state.hold = Some(hold);
        self.refile(lane, now);
    }

    /// Gives up the hole at the head of the lane.
    fn give_up_head(
        &mut self,
        lane: Lane,
        cause: Cause,
        now: Instant,
        out: &mut VecDeque<Vec<u8>>,
    ) {
        let state = &mut self.lanes[lane.slot()];
        let Some(until) = state.hold.as_ref().and_then(|hold| hold.first_number()) else { return };
        let count = state.give_up(until);
        *self.stats.counter(cause) += count;
        self.release_run(lane, now, out);
    }

    /// The holes that every path has passed are given up, or left to the repair.
    fn release_proven(&mut self, now: Instant, out: &mut VecDeque<Vec<u8>>) {
        if self.waiting.first_unproven().is_none() {
            return;
        }
        let Some(frontier) = self.progress.frontier() else { return };
        while let Some((_, lane)) =
            self.waiting.first_unproven().filter(|&(sent, _)| sent <= frontier)
        {
            if self.repair_time.is_none() {
                self.give_up_head(lane, Cause::ProvenLost, now, out);
            } else {
                if let Some(hold) = &mut self.lanes[lane.slot()].hold {
                    hold.proven = Some(now);
                }
                self.refile(lane, now);
            }
        }
    }

    /// Gives up the holes that are due first while too much is held.
    fn release_excess(&mut self, now: Instant, out: &mut VecDeque<Vec<u8>>) {
        while self.stats.held_packets > MAX_PACKETS || self.stats.held_bytes > MAX_BYTES {
            let Some((_, lane)) = self.waiting.first() else { return };
            self.give_up_head(lane, Cause::Overflow, now, out);
        }
    }

    /// Gives up the first holes of the lane, so that `seq` fits into its window.
    fn make_room(&mut self, lane: Lane, seq: u64, now: Instant, out: &mut VecDeque<Vec<u8>>) {
        loop {
            let state = &mut self.lanes[lane.slot()];
            if seq.saturating_sub(state.next) < MAX_LANE_PACKETS {
                return;
            }
            if state.hold.as_ref().is_some_and(|hold| hold.first_number().is_some()) {
                self.give_up_head(lane, Cause::Overflow, now, out);
            } else {
                self.stats.overflow += state.give_up(seq);
            }
        }
    }

    /// Notes what ends the wait at the head of the lane; a lane that holds nothing does not wait.
    fn refile(&mut self, lane: Lane, now: Instant) {
        let Some(mut hold) = self.lanes[lane.slot()].hold.take() else { return };
        if let Some(filed) = hold.filed.take() {
            self.waiting.remove(lane, filed);
        }
        if let Some(behind) = hold.behind() {
            let due = self.due(behind, &hold, now);
            let filed = Filed { due, unproven: hold.proven.is_none().then_some(behind.sent) };
            self.stats.wait = due.saturating_since(behind.received);
            self.waiting.insert(lane, filed);
            hold.filed = Some(filed);
        }
        self.lanes[lane.slot()].hold = Some(hold).filter(|hold| !hold.is_empty());
    }

    fn filed(&self, lane: Lane) -> Option<Filed> {
        self.lanes[lane.slot()].hold.as_ref()?.filed
    }

    /// When a hole is given up: after the time of a repair, counted from the proof, or from when the
    /// slowest path would have delivered something sent at the same time as what is behind the
    /// hole, and not before that came; later while repairs come. The proof of a hole in the shadow of another is noticed
    /// late, so that the earlier of the two counts.
    fn due(&self, behind: Behind, hold: &Hold, now: Instant) -> Instant {
        let deadline = self.latest_arrival(behind, now) + SLACK;
        let missed = hold.proven.map_or(deadline, |at| at.min(deadline));
        let due = (missed + self.repair_time.unwrap_or_default()).min(behind.received + MAX_WAIT);
        // A path that has nothing to show since may have died, and much may be sent again for it.
        let repaired = hold.repaired.filter(|_| hold.proven.is_none());
        let next_repair = repaired.map_or(due, |at| at + REPAIRS_APART);
        due.max(next_repair.min(behind.received + MAX_WAIT_IN_REPAIR))
    }

    /// When the last path that may have something outstanding brings it.
    fn latest_arrival(&self, behind: Behind, now: Instant) -> Instant {
        self.progress
            .not_clear(behind.sent)
            // A path of which nothing is known yet may be as slow as any.
            .map(|path| match self.transit.longest(path, now) {
                Some(transit) => behind.sent.arrival(transit),
                None => behind.received + MAX_WAIT,
            })
            .fold(behind.received, Instant::max)
    }
}

/// Why a hole was given up.
#[derive(Clone, Copy, Debug)]
enum Cause {
    ProvenLost,
    Deadline,
    Overflow,
}

impl LaneStats {
    fn counter(&mut self, cause: Cause) -> &mut u64 {
        match cause {
            Cause::ProvenLost => &mut self.proven_lost,
            Cause::Deadline => &mut self.deadline,
            Cause::Overflow => &mut self.overflow,
        }
    }
}

#[cfg(test)]
#[path = "lanes/tests.rs"]
mod tests;
