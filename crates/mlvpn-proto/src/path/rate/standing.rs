//! How much queue stands in the network, from one-way delays with an unknown constant offset.

use std::collections::VecDeque;

use super::FULL_PACKET;
use super::jitter::Jitter;
use crate::time::{Duration, Instant};

/// How long the lowest delay is believed. Longer makes it less likely that a standing queue is
/// taken for the base; shorter bounds the drift of the clocks: 100 ppm in 15 s are 1.5 ms.
const BASE_WINDOW: Duration = Duration::from_secs(15);
/// The base window is kept in slots of this length.
const SLOT: Duration = Duration::from_secs(1);
/// Bounds of the time over which the lowest delay counts as the delay now.
const RECENT: (Duration, Duration) = (Duration::from_millis(15), Duration::from_millis(40));
/// Where delays wander their mean over this time counts instead. The lowest of many is then as far from
/// the mean as chance had it, and that is not a queue.
pub(super) const MEAN_SPAN: Duration = Duration::from_millis(300);
/// One in 5 ms for 1.3 s.
const MAX_VALUES: usize = 256;
/// The mean of no fewer reports counts.
const MEAN_REPORTS: usize = 4;
/// Most of the delay above the base that is accepted as somebody else's.
const MAX_FOREIGN_MICROS: i64 = 100_000;
/// Delays wander from one block of this length to the next.
const BLOCK: Duration = Duration::from_millis(40);
/// What the path is believed to carry counts as no more than so much of what has arrived: an estimate that is
/// too high makes a queue that comes and goes, and would explain none of it.
const MOST_OVER_CARRIED: f64 = 1.1;
/// Gain of what they wander by, and what the best link does: timers, and packets in each other's way.
const WANDER_GAIN: f64 = 1.0 / 16.0;
const STILL_MICROS: f64 = 500.0;
const MOST_STILL: Duration = Duration::from_millis(10);
/// A single one counts as no more than this and so many times what they wander by.
const FIRST_WANDER_MICROS: f64 = 1_500.0;
const MOST_WANDERED: f64 = 3.0;
/// What is so many times that above the base now is a queue for certain.
const CERTAIN_WANDERS: u32 = 7;
/// They wander when that is at least the first of these, until it is less than the second.
const WANDERS_MICROS: (f64, f64) = (400.0, 200.0);
/// Delays are told in units of this.
const SEND_TIME_UNIT: Duration = Duration::from_micros(64);

/// The queue that stands in the network.
///
/// All delays are in µs and relative: receive time less send time, on two clocks.
#[derive(Clone, Debug, Default)]
pub(super) struct StandingQueue {
    recent: VecDeque<(Instant, i64)>,
    /// The lowest delays of short times, and the means of longer ones.
    lows: Baseline,
    means: Baseline,
    averaged: VecDeque<(Instant, i64)>,
    jitter: Jitter,
    /// The delay in the latest report.
    newest: Option<i64>,
    blocks: Blocks,
    wanders: bool,
}

/// A delay, and the least that it was: what it is above that is a queue.
#[derive(Clone, Debug, Default)]
struct Baseline {
    latest: Option<i64>,
    /// The lowest of each slot.
    slots: VecDeque<(Instant, i64)>,
    /// What counts as an empty queue because our sending less did not lower it.
    floor: Option<i64>,
    /// The lowest since a look at the empty network began.
    lowest_in_look: Option<i64>,
}

/// Bytes that had arrived with the largest packet of a report, when that was sent, on our clock, and when it
/// arrived, on the receiver's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) bytes: u64,
    pub(super) at: Instant,
    pub(super) arrived_at: Instant,
}

/// The lowest delays of blocks of time, and how far they move from one to the next for another reason than
/// our own queue.
#[derive(Clone, Copy, Debug, Default)]
struct Blocks {
    began: Option<(Instant, Option<Sent>)>,
    lowest: i64,
    before: Option<i64>,
    /// What our own queue may have grown by in the latest two blocks, and how much more or less the delay
    /// moved in the latest, in µs.
    growth: [f64; 2],
    unexplained: f64,
    wander: f64,
}

impl StandingQueue {
    /// The lowest delay since the last report was `transit` µs; a packet takes `packet_time`, and at least
    /// `carried` bytes per second have arrived lately.
    pub(super) fn on_report(
        &mut self,
        transit: i64,
        sent: Option<Sent>,
        (packet_time, carried): (Duration, f64),
        now: Instant,
    ) {
        let believed = FULL_PACKET / packet_time.as_secs_f64();
        let carried = believed.min(carried * MOST_OVER_CARRIED).max(1.0);
        self.newest = Some(transit);
        self.jitter.on_report(transit, sent, carried, now);
        let span = self.recent_span(packet_time);
        keep_within(&mut self.recent, transit, span, now);
        let lowest = self.recent.iter().map(|&(_, transit)| transit).min();
        self.lows.on_report(lowest.unwrap_or(transit), now);
        keep_within(&mut self.averaged, transit, MEAN_SPAN.max(packet_time * 12), now);
        let count = self.averaged.len();
        if count >= MEAN_REPORTS {
            let sum: i64 = self.averaged.iter().map(|&(_, transit)| transit).sum();
            self.means.on_report(sum / count as i64, now);
        }
        self.blocks.on_report(transit, sent, (packet_time, carried), now);
        let least = if self.wanders { WANDERS_MICROS.1 } else { WANDERS_MICROS.0 };
        self.wanders = self.blocks.wander >= least && self.means.latest.is_some();
    }

    /// Over how long the lowest delay is taken: as long as it takes to see through the jitter, and
    /// to see three packets.
    pub(super) fn recent_span(&self, packet_time: Duration) -> Duration {
        let seen = RECENT.0 + self.jitter() * 8;
        seen.min(RECENT.1).max(packet_time * 3)
    }

    /// What receive less send time usually is without a queue, in µs, by the 15 s before the latest report: where delays
    /// vary that is more than the lowest of all.
    pub(super) fn unloaded(&self) -> Option<i64> {
        let by_lows = || Some(self.lows.base()? + (self.jitter() * 2).as_micros() as i64);
        if self.wanders { self.means.base() } else { by_lows() }
    }

    /// The queue now, whoever filled it; none before there was a report.
    pub(super) fn total(&self) -> Option<Duration> {
        self.certain(Baseline::total)
    }

    /// The queue now that is ours, as far as is known.
    pub(super) fn own(&self) -> Option<Duration> {
        self.certain(Baseline::own)
    }

    /// What [`Self::own`] was in the latest report alone: sooner, and with the jitter in it.
    pub(super) fn own_latest(&self) -> Option<Duration> {
        if self.wanders { self.own() } else { Some(micros(self.newest? - self.lows.accepted()?)) }
    }

    /// The part of the delay that varies from report to report, without what merely rises or falls.
    pub(super) fn jitter(&self) -> Duration {
        self.jitter.mean()
    }

    /// What [`Self::jitter`] may be while few reports tell of it.
    pub(super) fn most_jitter(&self) -> Duration {
        self.jitter.most()
    }

    /// How far the delay now wanders: what radio does over more than one report, which no lowest value
    /// of a short time sees through. Our own queue, which is kept in bounds, hardly shows in it.
    pub(super) fn wander(&self) -> Duration {
        Duration::from_micros(self.blocks.wander as u64)
    }

    /// Whether that is so much that only means over a longer time tell of a queue.
    pub(super) fn wanders(&self) -> bool {
        self.wanders
    }

    /// Whether `transit` tells of a longer queue than any packet of the report can have waited in, the first of which
    /// was sent so long ago: one of the clocks was set.
    pub(super) fn is_beyond(&self, transit: i64, oldest: Duration) -> bool {
        self.lows.accepted().is_some_and(|base| micros(transit - base) > oldest + SEND_TIME_UNIT)
    }

    /// The queue that stands now is not ours, but for `own` of it: it did not get shorter when we
    /// sent less.
    pub(super) fn accept(&mut self, own: Duration) {
        self.lows.accept(own);
        self.means.accept(own);
    }

    /// From now on so little is sent that our queue will be gone.
    pub(super) fn begin_look(&mut self) {
        self.lows.lowest_in_look = Some(i64::MAX);
        self.means.lowest_in_look = Some(i64::MAX);
    }

    /// More is sent again, before the look had its effect.
    pub(super) fn cancel_look(&mut self) {
        self.lows.lowest_in_look = None;
        self.means.lowest_in_look = None;
    }

    /// Our queue was gone at some time since the look began: what stood even then is not ours.
    /// Returns by how much that is more than what was known not to be.
    pub(super) fn end_look(&mut self) -> Duration {
        let (lows, means) = (self.lows.end_look(), self.means.end_look());
        if self.wanders { means } else { lows }
    }

    /// What the lowest delays say, or, where they wander, the means and what wander does not explain.
    fn certain(&self, of: fn(&Baseline) -> Option<Duration>) -> Option<Duration> {
        let low = of(&self.lows)?;
        if !self.wanders {
            return Some(low);
        }
        Some(of(&self.means)?.max(low.saturating_sub(self.wander() * CERTAIN_WANDERS)))
    }
}

impl Baseline {
    fn on_report(&mut self, delay: i64, now: Instant) {
        while self.slots.front().is_some_and(|&(from, _)| from + BASE_WINDOW < now) {
            self.slots.pop_front();
        }
        match self.slots.back_mut() {
            Some((from, lowest)) if now < *from + SLOT => *lowest = (*lowest).min(delay),
            _ => self.slots.push_back((now, delay)),
        }
        self.latest = Some(delay);
        self.lowest_in_look = self.lowest_in_look.map(|lowest| lowest.min(delay));
        self.floor = self.floor.map(|floor| floor.min(delay));
    }

    fn total(&self) -> Option<Duration> {
        Some(micros(self.latest? - self.base()?))
    }

    fn own(&self) -> Option<Duration> {
        Some(micros(self.latest? - self.accepted()?))
    }

    fn base(&self) -> Option<i64> {
        self.slots.iter().map(|&(_, lowest)| lowest).min()
    }

    fn accepted(&self) -> Option<i64> {
        let base = self.base()?;
        Some(self.floor.map_or(base, |floor| floor.clamp(base, base + MAX_FOREIGN_MICROS)))
    }

    fn accept(&mut self, own: Duration) {
        if let (Some(latest), Some(base)) = (self.latest, self.base()) {
            let floor = latest - own.as_micros() as i64;
            self.floor = Some(floor.min(base + MAX_FOREIGN_MICROS));
        }
    }

    fn end_look(&mut self) -> Duration {
        let Some(lowest) = self.lowest_in_look.take().filter(|&lowest| lowest < i64::MAX) else {
            return Duration::ZERO;
        };
        let before = self.accepted().unwrap_or(lowest);
        self.floor = Some(lowest);
        micros(lowest - before)
    }
}

/// Adds a value to those of the last `span`, of which a peer that reports without a pause makes no more
/// than [`MAX_VALUES`].
fn keep_within(values: &mut VecDeque<(Instant, i64)>, value: i64, span: Duration, now: Instant) {
    values.push_back((now, value));
    while values.len() > MAX_VALUES || values.len() > 1 && values[0].0 + span < now {
        values.pop_front();
    }
}

impl Blocks {
    fn on_report(
        &mut self,
        transit: i64,
        sent: Option<Sent>,
        (packet_time, carried): (Duration, f64),
        now: Instant,
    ) {
        let (began, sent_before) = *self.began.get_or_insert((now, sent));
        if now < began + BLOCK.max(packet_time * 4) {
            self.lowest = if began == now { transit } else { self.lowest.min(transit) };
            return;
        }
        if let (Some(sent), Some(before)) = (sent, sent_before) {
            // A queue takes in what is sent and gives out what the path carries.
            let takes = sent.bytes.saturating_sub(before.bytes) as f64 * 1e6 / carried;
            let growth = takes - sent.at.saturating_since(before.at).as_micros() as f64;
            if let Some(before) = self.before {
                let moved = (self.lowest - before) as f64;
                self.note(moved, growth, packet_time);
            }
            self.growth = [self.growth[1], growth];
            self.before = Some(self.lowest);
        } else {
            self.before = None;
        }
        (self.began, self.lowest) = (Some((now, sent)), transit);
    }

    /// The delay moved, and our own queue may have grown by `growth` in the time.
    fn note(&mut self, moved: f64, growth: f64, packet_time: Duration) {
        let [earlier, late] = self.growth;
        let possible = [0.0, growth, late, growth + late, growth + late + earlier];
        let least = possible.iter().copied().fold(f64::INFINITY, f64::min);
        let most = possible.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let unexplained = moved - moved.clamp(least, most);
        // What goes on rising or falling is a path that changes.
        let turned = (unexplained - self.unexplained).abs() / 2.0;
        self.unexplained = unexplained;
        let still = STILL_MICROS + packet_time.min(MOST_STILL).as_micros() as f64;
        let most = FIRST_WANDER_MICROS + self.wander * MOST_WANDERED;
        let distance = (turned - still).clamp(0.0, most);
        self.wander += (distance - self.wander) * WANDER_GAIN;
    }
}

fn micros(signed: i64) -> Duration {
    Duration::from_micros(u64::try_from(signed).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn feed(queue: &mut StandingQueue, from_ms: u64, transits: impl IntoIterator<Item = i64>) {
        for (n, transit) in (0..).zip(transits) {
            queue.on_report(transit, None, (MS, 0.0), Instant::from_millis(from_ms + n * 10));
        }
    }

    #[test]
    fn the_offset_of_the_clocks_cancels() {
        for offset in [-1_000_000_000, 0, 77_777_777] {
            let mut queue = StandingQueue::default();
            feed(&mut queue, 0, [offset, offset + 9_000, offset + 9_000, offset + 9_000]);
            assert_eq!(queue.total(), Some(MS * 9));
        }
    }

    #[test]
    fn a_queue_that_no_packet_can_have_waited_in_is_a_clock_that_was_set() {
        let mut queue = StandingQueue::default();
        feed(&mut queue, 0, [0]);
        assert!(!queue.is_beyond(20_000, MS * 20), "all of that time may be queue");
        assert!(queue.is_beyond(20_100, MS * 20));
        assert!(!queue.is_beyond(-500_000, MS * 20), "there was a queue, and there is none");
    }

    #[test]
    fn what_is_accepted_is_given_back_when_the_delay_falls() {
        let mut queue = StandingQueue::default();
        feed(&mut queue, 0, [0]);
        feed(&mut queue, 100, [50_000; 10]);
        queue.accept(MS);
        assert_eq!((queue.total(), queue.own()), (Some(MS * 50), Some(MS)));
        feed(&mut queue, 300, [20_000]);
        feed(&mut queue, 400, [50_000; 10]);
        assert_eq!(queue.own(), Some(MS * 30));
    }

    #[test]
    fn no_more_than_a_tenth_of_a_second_is_accepted() {
        let mut queue = StandingQueue::default();
        feed(&mut queue, 0, [0]);
        feed(&mut queue, 100, [300_000; 10]);
        queue.accept(MS);
        assert_eq!(queue.own(), Some(MS * 200));
    }

    #[test]
    fn the_base_is_forgotten_after_fifteen_seconds() {
        let mut queue = StandingQueue::default();
        feed(&mut queue, 0, [0]);
        feed(&mut queue, 100, vec![5_000; 2_000]);
        assert_eq!(queue.total(), Some(Duration::ZERO));
    }
}
