//! What happens to a link over time.

use core::time::Duration;
use std::collections::VecDeque;

use super::{Direction, LinkSpec, Loss, WanLink};
use crate::rng::Seed;

const BOTH: [Direction; 2] = [Direction::Down, Direction::Up];

/// One change of a link, made with [`super::Duplex::apply`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// All properties of one direction.
    Spec(Direction, LinkSpec),
    /// Only the rate, in bits per second; the queue keeps its size in bytes.
    Rate(Direction, Option<u64>),
    /// Only the loss.
    Loss(Direction, Loss),
    /// Only the delay, one way.
    Delay(Direction, Duration),
    /// Cut (`true`) or restored.
    Cut(Direction, bool),
    /// Nothing arrives for so long, and all that would have does then.
    Hold(Direction, Duration),
}

/// Changes of one link, each at a time since the start, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    changes: VecDeque<(Duration, Change)>,
}

impl Schedule {
    /// Nothing ever happens.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a change at `at`, after those already there for the same time.
    #[must_use]
    pub fn at(mut self, at: Duration, change: Change) -> Self {
        let position = self.changes.partition_point(|&(other, _)| other <= at);
        self.changes.insert(position, (at, change));
        self
    }

    /// Cuts both directions at `at`.
    #[must_use]
    pub fn cut_at(self, at: Duration) -> Self {
        BOTH.into_iter().fold(self, |schedule, way| schedule.at(at, Change::Cut(way, true)))
    }

    /// Restores both directions at `at`.
    #[must_use]
    pub fn restore_at(self, at: Duration) -> Self {
        BOTH.into_iter().fold(self, |schedule, way| schedule.at(at, Change::Cut(way, false)))
    }

    /// Sets the rate of one direction to `rate` bits per second at `at`.
    #[must_use]
    pub fn rate_at(self, at: Duration, direction: Direction, rate: u64) -> Self {
        self.at(at, Change::Rate(direction, Some(rate)))
    }

    /// Adds the changes of `other`; at equal times they come after those of `self`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut changes: Vec<_> = self.changes.into_iter().chain(other.changes).collect();
        changes.sort_by_key(|&(at, _)| at);
        Self { changes: changes.into() }
    }

    /// The mean rate of `direction` between two times since the start, in bits per second; it is `rate`
    /// at first. Cuts do not count, nor what is unlimited.
    #[must_use]
    pub fn mean_rate(&self, rate: u64, direction: Direction, from: Duration, to: Duration) -> f64 {
        let (mut rate, mut since, mut bits) = (rate, from, 0.0);
        let mut pass = |rate: u64, since: Duration, until: Duration| {
            bits += rate as f64 * until.saturating_sub(since).as_secs_f64();
        };
        for &(at, change) in self.changes.iter().take_while(|&&(at, _)| at < to) {
            let new = match change {
                Change::Rate(way, new) if way == direction => new,
                Change::Spec(way, spec) if way == direction => spec.rate,
                _ => continue,
            };
            pass(rate, since, at);
            since = since.max(at);
            rate = new.unwrap_or(0);
        }
        pass(rate, since, to);
        bits / to.saturating_sub(from).as_secs_f64()
    }

    /// When the next change is due, since the start.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        self.changes.front().map(|&(at, _)| at)
    }

    /// Takes the next change due `elapsed` after the start.
    pub fn poll(&mut self, elapsed: Duration) -> Option<Change> {
        if self.next_at()? > elapsed {
            return None;
        }
        self.changes.pop_front().map(|(_, change)| change)
    }
}

/// A rate that wanders as that of a mobile network's cell does.
///
/// Relative to the rate of the link, the rate is a first-order autoregressive process of mean 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateWalk {
    /// Time between changes; more than zero.
    pub interval: Duration,
    /// How much of a deviation is left after one interval, 0 to 1.
    pub memory: f64,
    /// Standard deviation relative to the mean, 0 to 1.
    pub deviation: f64,
    /// The lowest relative rate; deviations below it are cut off.
    pub floor: f64,
}

impl RateWalk {
    /// A stationary LTE user: a change each 100 ms, half forgotten after 2 s, deviation 35 %, never
    /// below 5 %. Of the order of the Mahimahi "LTE-short" traces.
    pub const LTE: Self =
        Self { interval: Duration::from_millis(100), memory: 0.966, deviation: 0.35, floor: 0.05 };

    /// Draws the walk of `link` for `length`. The directions wander independently; a direction of
    /// unlimited rate stays so.
    #[must_use]
    pub fn schedule(&self, link: &WanLink, length: Duration, seed: Seed) -> Schedule {
        BOTH.into_iter().fold(Schedule::new(), |schedule, direction| {
            schedule.and(self.one_way(link, direction, length, seed))
        })
    }

    fn one_way(&self, link: &WanLink, way: Direction, length: Duration, seed: Seed) -> Schedule {
        let Some(mean) = link.spec(way).rate else { return Schedule::new() };
        let mut rng = seed.stream(if way == Direction::Down { "walk down" } else { "walk up" });
        let fresh = self.deviation * (1.0 - self.memory * self.memory).sqrt();
        let mut deviation = self.deviation * rng.normal();
        let changes = multiples_of(self.interval, length).map(|at| {
            deviation = self.memory * deviation + fresh * rng.normal();
            let rate = mean as f64 * (1.0 + deviation).max(self.floor);
            (at, Change::Rate(way, Some(rate as u64)))
        });
        Schedule { changes: changes.collect() }
    }
}

/// Satellites that hand a terminal over: the delay steps and a burst of loss follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Handovers {
    /// Time between handovers; more than zero.
    pub interval: Duration,
    /// The delay steps to within this much of that of the link.
    pub delay_step: Duration,
    /// The shortest and the longest burst.
    pub burst: (Duration, Duration),
    /// The lowest and the highest loss in a burst, 0 to 1.
    pub loss: (f64, f64),
}

impl Handovers {
    /// Starlink: all terminals are scheduled anew each 15 s; the delay moves by up to 10 ms, and
    /// 30 to 50 % are lost for 50 to 150 ms.
    pub const STARLINK: Self = Self {
        interval: Duration::from_secs(15),
        delay_step: Duration::from_millis(10),
        burst: (Duration::from_millis(50), Duration::from_millis(150)),
        loss: (0.3, 0.5),
    };

    /// Draws the handovers of `link` for `length`. Both directions change together.
    #[must_use]
    pub fn schedule(&self, link: &WanLink, length: Duration, seed: Seed) -> Schedule {
        let mut rng = seed.stream("handovers");
        let mut between = |low: f64, high: f64| low + (high - low) * rng.uniform();
        let mut schedule = Schedule::new();
        for at in multiples_of(self.interval, length) {
            let step = between(-1.0, 1.0);
            let (shortest, longest) = (self.burst.0.as_secs_f64(), self.burst.1.as_secs_f64());
            let calm_at = at + Duration::from_secs_f64(between(shortest, longest));
            let burst = Loss::Random(between(self.loss.0, self.loss.1));
            for way in BOTH {
                let spec = link.spec(way);
                let delay = spec.delay.as_secs_f64() + step * self.delay_step.as_secs_f64();
                let delay = Duration::from_secs_f64(delay.max(0.0));
                schedule = schedule
                    .at(at, Change::Delay(way, delay))
                    .at(at, Change::Loss(way, burst))
                    .at(calm_at, Change::Loss(way, spec.loss));
            }
        }
        schedule
    }
}

/// A host on the way that has no processor now and then: packets of both directions wait, and go on together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stalls {
    /// The mean time between stalls; more than zero.
    pub between: Duration,
    /// The mean length; each is drawn from an exponential distribution.
    pub length: Duration,
}

impl Stalls {
    /// A small router, or a virtual machine beside others, that is short of processor time: 20 ms
    /// are missing every 100 ms.
    pub const BUSY_HOST: Self =
        Self { between: Duration::from_millis(80), length: Duration::from_millis(20) };

    /// Draws the stalls of `length`. Both directions stall together.
    #[must_use]
    pub fn schedule(&self, length: Duration, seed: Seed) -> Schedule {
        let mut rng = seed.stream("stalls");
        let mut exponential = |mean: Duration| mean.mul_f64(-(1.0 - rng.uniform()).ln());
        let mut changes = VecDeque::new();
        let mut at = exponential(self.between);
        while at < length {
            let time = exponential(self.length);
            changes.extend(BOTH.map(|way| (at, Change::Hold(way, time))));
            at += time + exponential(self.between);
        }
        Schedule { changes }
    }
}

fn multiples_of(interval: Duration, length: Duration) -> impl Iterator<Item = Duration> {
    core::iter::successors(Some(interval), move |&at| Some(at + interval))
        .take_while(move |&at| at < length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_in_order_and_when_due() {
        let ms = Duration::from_millis;
        let mut schedule = Schedule::new()
            .restore_at(ms(30))
            .rate_at(ms(10), Direction::Down, 5)
            .and(Schedule::new().at(ms(20), Change::Cut(Direction::Up, true)));
        assert_eq!(schedule.poll(ms(9)), None);
        assert_eq!(schedule.poll(ms(25)), Some(Change::Rate(Direction::Down, Some(5))));
        assert_eq!(schedule.poll(ms(25)), Some(Change::Cut(Direction::Up, true)));
        assert_eq!(schedule.poll(ms(25)), None);
        assert_eq!(schedule.next_at(), Some(ms(30)));
        assert_eq!(schedule.poll(ms(30)), Some(Change::Cut(Direction::Down, false)));
        assert_eq!(schedule.poll(ms(30)), Some(Change::Cut(Direction::Up, false)));
        assert_eq!(schedule.next_at(), None);
    }

    #[test]
    fn a_busy_host_holds_both_directions_for_a_fifth_of_the_time() {
        let length = Duration::from_secs(600);
        let stalls = Stalls::BUSY_HOST.schedule(length, Seed(5));
        let held = |way| {
            let times = stalls.changes.iter().filter_map(move |(at, change)| match change {
                Change::Hold(of, time) if *of == way => Some((*at, *time)),
                _ => None,
            });
            times.collect::<Vec<_>>()
        };
        let down = held(Direction::Down);
        assert_eq!(down, held(Direction::Up));
        assert!(down.windows(2).all(|pair| pair[0].0 + pair[0].1 < pair[1].0), "one after another");
        let total: Duration = down.iter().map(|(_, time)| *time).sum();
        let share = total.div_duration_f64(length);
        assert!((share - 0.2).abs() < 0.02, "{share}");
    }

    #[test]
    fn a_rate_walk_keeps_its_mean_and_floor() {
        let link = WanLink::new(LinkSpec::new(50.0, 30), LinkSpec::PERFECT);
        let walk = RateWalk::LTE.schedule(&link, Duration::from_secs(600), Seed(5));
        let rates: Vec<u64> = walk
            .changes
            .iter()
            .map(|(_, change)| match change {
                Change::Rate(Direction::Down, Some(rate)) => *rate,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(rates.len(), 5_999);
        let mean = rates.iter().sum::<u64>() as f64 / rates.len() as f64;
        assert!((40e6..60e6).contains(&mean), "{mean}");
        assert!(rates.iter().all(|&rate| rate >= 2_500_000));
        assert_eq!(walk, RateWalk::LTE.schedule(&link, Duration::from_secs(600), Seed(5)));
    }

    #[test]
    fn handovers_burst_and_calm_down() {
        let link = WanLink::symmetric(LinkSpec::new(150.0, 25));
        let mut schedule = Handovers::STARLINK.schedule(&link, Duration::from_secs(40), Seed(5));
        assert_eq!(schedule.next_at(), Some(Duration::from_secs(15)));
        let at_handover: Vec<_> =
            core::iter::from_fn(|| schedule.poll(Duration::from_secs(15))).collect();
        assert_eq!(at_handover.len(), 4);
        let calm = schedule.next_at().unwrap() - Duration::from_secs(15);
        assert!((50..=150).contains(&calm.as_millis()), "{calm:?}");
        assert_eq!(
            schedule.poll(Duration::from_secs(16)),
            Some(Change::Loss(Direction::Down, Loss::None))
        );
    }
}
