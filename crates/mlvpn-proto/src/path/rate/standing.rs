//! How much queue stands in the network, from one-way delays with an unknown constant offset.

use std::collections::VecDeque;

use super::FULL_PACKET;
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
/// Gain of the jitter's average.
const JITTER_GAIN: f64 = 1.0 / 16.0;
/// Reports that come closer together, as gaps cause them, tell of one moment.
const JITTER_SPACING: Duration = Duration::from_millis(8);
/// So many values without any are taken to have come before the first.
const FIRST_JITTERS: u32 = 3;

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
    /// The two delays before the latest.
    history: [Option<i64>; 2],
    jitter: f64,
    /// When it was looked at last, and the delay in the latest report.
    jitter_at: Instant,
    newest: Option<i64>,
    /// Values that it is the average of.
    jitters: u32,
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

/// Bytes that had arrived with the largest packet of a report, and when that was sent, on our clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) bytes: u64,
    pub(super) at: Instant,
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
    /// The lowest delay since the last report was `transit` µs; a packet takes `packet_time`.
    pub(super) fn on_report(
        &mut self,
        transit: i64,
        sent: Option<Sent>,
        packet_time: Duration,
        now: Instant,
    ) {
        self.on_jitter(transit, now);
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
        self.blocks.on_report(transit, sent, packet_time, now);
        let least = if self.wanders { WANDERS_MICROS.1 } else { WANDERS_MICROS.0 };
        self.wanders = self.blocks.wander >= least && self.means.latest.is_some();
    }

    /// Over how long the lowest delay is taken: as long as it takes to see through the jitter, and
    /// to see three packets.
    pub(super) fn recent_span(&self, packet_time: Duration) -> Duration {
        let seen = RECENT.0 + self.jitter() * 8;
        seen.min(RECENT.1).max(packet_time * 3)
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
        Duration::from_micros(self.jitter as u64)
    }

    /// What the jitter may be while few values tell of it: without those that are taken to have come before
    /// the first, and with the standard error of a mean of values that vary by as much as it is.
    pub(super) fn most_jitter(&self) -> Duration {
        let values = f64::from(self.jitters.max(1));
        if values * JITTER_GAIN >= 1.0 {
            return self.jitter();
        }
        let mean = self.jitter * (values + f64::from(FIRST_JITTERS)) / values;
        Duration::from_micros((mean * (1.0 + values.sqrt().recip())) as u64)
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

    /// The mean distance of a delay from the middle of its neighbours, which a queue that grows
    /// steadily leaves at 0.
    fn on_jitter(&mut self, transit: i64, now: Instant) {
        self.newest = Some(transit);
        if self.history[1].is_some() && now < self.jitter_at + JITTER_SPACING {
            return;
        }
        self.jitter_at = now;
        if let [Some(first), Some(middle)] = self.history {
            let distance = (middle * 2 - first - transit).abs() as f64 / 2.0;
            self.jitters = (self.jitters + 1).min((1.0 / JITTER_GAIN) as u32);
            let gain = JITTER_GAIN.max(1.0 / f64::from(self.jitters + FIRST_JITTERS));
            self.jitter += (distance.min(40_000.0) - self.jitter) * gain;
        }
        self.history = [self.history[1], Some(transit)];
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
    fn on_report(&mut self, transit: i64, sent: Option<Sent>, packet_time: Duration, now: Instant) {
        let (began, sent_before) = *self.began.get_or_insert((now, sent));
        if now < began + BLOCK.max(packet_time * 4) {
            self.lowest = if began == now { transit } else { self.lowest.min(transit) };
            return;
        }
        if let (Some(sent), Some(before)) = (sent, sent_before) {
            // A queue takes in what is sent and gives out a packet in each packet's time.
            let carried = sent.bytes.saturating_sub(before.bytes) as f64 / FULL_PACKET;
            let takes = carried * packet_time.as_micros() as f64;
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
            queue.on_report(transit, None, MS, Instant::from_millis(from_ms + n * 10));
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
    fn a_queue_that_grows_steadily_is_not_jitter() {
        let mut queue = StandingQueue::default();
        feed(&mut queue, 0, (0..100).map(|n| n * 700));
        assert_eq!(queue.jitter(), Duration::ZERO);
        feed(&mut queue, 1_000, (0..100).map(|n| n % 2 * 4_000));
        assert!(queue.jitter() > MS * 3, "{:?}", queue.jitter());
    }

    #[test]
    fn few_values_leave_open_how_much_the_delay_varies() {
        let mut queue = StandingQueue::default();
        feed(&mut queue, 0, (0..6).map(|n| n % 2 * 4_000));
        let mean = MS * 4;
        assert!(queue.jitter() < mean * 2 / 3, "{:?}", queue.jitter());
        assert!(queue.most_jitter() > mean, "{:?}", queue.most_jitter());
        feed(&mut queue, 100, (0..100).map(|n| n % 2 * 4_000));
        assert_eq!(queue.most_jitter(), queue.jitter());
        let mut calm = StandingQueue::default();
        feed(&mut calm, 0, (0..6).map(|n| n * 700));
        assert_eq!(calm.most_jitter(), Duration::ZERO, "a queue that grows steadily");
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
