//! The cells: which links, what happens to them, and which load.

use core::time::Duration;

use super::{Load, SEED};
use crate::link::{Direction, Handovers, LinkSpec, Loss, RateWalk, Schedule, WanLink};
use crate::packet::Side;
use crate::rng::Seed;

/// How a line changes during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Not at all.
    Steady,
    /// Every 5 s the rate falls to a fifth, or comes back.
    Steps,
    /// [`RateWalk::LTE`].
    Walk,
    /// [`Handovers::STARLINK`].
    Handovers,
}

/// A link and its weather.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The link.
    pub link: WanLink,
    /// What happens to it.
    pub weather: Weather,
}

impl Line {
    fn steady(text: &str) -> Self {
        Self { link: text.parse().expect("a link"), weather: Weather::Steady }
    }

    fn with(self, weather: Weather) -> Self {
        Self { weather, ..self }
    }

    /// The changes of `length`, the same for the same link.
    #[must_use]
    pub fn schedule(&self, length: Duration) -> Schedule {
        let seed = Seed(SEED);
        match self.weather {
            Weather::Steady => Schedule::new(),
            Weather::Walk => RateWalk::LTE.schedule(&self.link, length, seed),
            Weather::Handovers => Handovers::STARLINK.schedule(&self.link, length, seed),
            Weather::Steps => {
                let times = (1_u64..).map(|i| (i, Duration::from_secs(5 * i)));
                let times = times.take_while(|&(_, at)| at < length);
                times.fold(Schedule::new(), |schedule, (i, at)| {
                    let share = if i % 2 == 1 { 5 } else { 1 };
                    [Direction::Down, Direction::Up].into_iter().fold(schedule, |schedule, way| {
                        let rate = self.link.spec(way).rate.unwrap_or(0) / share;
                        schedule.rate_at(at, way, rate)
                    })
                })
            }
        }
    }
}

/// One run over some links, to be compared with the links alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// What it is called: words, of which each is a coordinate.
    pub name: String,
    /// The links.
    pub lines: Vec<Line>,
    /// What is sent.
    pub load: Load,
    /// Which side sends most of it.
    pub from: Side,
    /// How long the load runs, in seconds; even.
    pub seconds: u64,
    /// Mbit/s on the links of constant UDP, if that is the load.
    pub udp_mbit: f64,
    /// What chance follows from: losses, jitter, the numbers of sessions and flows.
    pub seed: u64,
}

/// Rates of the first and the second link as words, and what the rate of the second is in Mbit/s.
const RATES: [(&str, f64); 4] = [("1:1", 50.0), ("2:1", 25.0), ("5:1", 10.0), ("10:1", 5.0)];
/// By how much longer the second link is, one way, in ms. The first has 10 ms.
const DELAYS: [u64; 4] = [0, 10, 30, 80];
/// What the second link loses.
const LOSSES: [(&str, f64); 5] =
    [("0%", 0.0), ("0.1%", 0.001), ("1%", 0.01), ("3%", 0.03), ("bursts", 0.01)];
/// The second word of a load that a plain grid has.
const LOADS: [Load; 7] = [
    Load::Cubic(1),
    Load::Cubic(4),
    Load::Cubic(16),
    Load::Bbr(1),
    Load::Udp,
    Load::Web,
    Load::Calls,
];
/// The loads of the named links.
const MORE_LOADS: [Load; 9] = [
    Load::Cubic(1),
    Load::Cubic(4),
    Load::Cubic(16),
    Load::Bbr(1),
    Load::Bbr(4),
    Load::Bbr(16),
    Load::Udp,
    Load::Web,
    Load::Calls,
];

/// The named links, and for how many seconds they run.
fn named() -> Vec<(&'static str, u64, Vec<Line>)> {
    let fibre = || Line::steady("down=100,up=50,delay=5,queue=60");
    let cell = || Line::steady("down=50,up=20,delay=40,jitter=8,queue=300");
    let dsl = || Line::steady("down=20,up=5,delay=8,queue=100");
    let lossy = Line::steady("down=30,up=10,delay=35,jitter=5,loss=1,queue=200");
    let near = Line::steady("down=50,up=20,delay=15,queue=100");
    let lte = || Line::steady("lte");
    let sky = || Line::steady("starlink");
    let article = || Line::steady("dsl");
    vec![
        ("article", 20, vec![article(), Line::steady("dsl,delay=20")]),
        ("fibre+lte", 20, vec![fibre(), cell()]),
        ("lossy", 20, vec![near, lossy]),
        ("dsl+lte+starlink", 20, vec![dsl(), lte(), sky()]),
        ("five", 20, vec![dsl(), dsl(), lte(), Line::steady("wifi"), cell()]),
        ("steps", 20, vec![dsl(), Line::steady("down=50,up=20,delay=25").with(Weather::Steps)]),
        ("walk", 20, vec![dsl(), lte().with(Weather::Walk)]),
        ("two-walks", 20, vec![lte().with(Weather::Walk), cell().with(Weather::Walk)]),
        ("handovers", 40, vec![dsl(), sky().with(Weather::Handovers)]),
    ]
}

impl Cell {
    fn new(name: String, lines: Vec<Line>, load: Load, from: Side, seconds: u64) -> Self {
        let mut cell = Self { name, lines, load, from, seconds, udp_mbit: 0.0, seed: SEED };
        if load == Load::Udp {
            // What all links carry, but for a tenth.
            cell.udp_mbit = 0.9 * cell.mean_mbit(0, seconds);
        }
        cell
    }

    fn plain(rates: (&str, f64), delay: u64, loss: (&str, f64), load: Load) -> Self {
        let second = LinkSpec {
            loss: match loss {
                (_, 0.0) => Loss::None,
                ("bursts", mean) => Loss::bursty(mean, 8.0, 1.0),
                (_, mean) => Loss::Random(mean),
            },
            ..spec(rates.1, 10 + delay)
        };
        let lines = [spec(50.0, 10), second]
            .map(|spec| Line { link: WanLink::symmetric(spec), weather: Weather::Steady });
        let name = format!("{} +{delay}ms {} {load}", rates.0, loss.0);
        Self::new(name, lines.to_vec(), load, Side::Server, 20)
    }

    fn named(
        (name, seconds, lines): &(&'static str, u64, Vec<Line>),
        from: Side,
        load: Load,
    ) -> Self {
        let way = if from == Side::Server { "down" } else { "up" };
        Self::new(format!("{name} {way} {load}"), lines.clone(), load, from, *seconds)
    }

    /// Which way most of the load goes.
    #[must_use]
    pub fn direction(&self) -> Direction {
        if self.from == Side::Server { Direction::Down } else { Direction::Up }
    }

    /// Mbit/s of all links together, on average between two seconds since the load began.
    #[must_use]
    pub fn mean_mbit(&self, from: u64, to: u64) -> f64 {
        let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
        let way = self.direction();
        let rates = self.lines.iter().map(|line| {
            let rate = line.link.spec(way).rate.unwrap_or(0);
            line.schedule(Duration::from_secs(self.seconds)).mean_rate(rate, way, from, to)
        });
        rates.sum::<f64>() / 1e6
    }

    /// The same load over `line` alone.
    pub(super) fn over(&self, line: &Line) -> Self {
        Self { name: String::new(), lines: vec![line.clone()], ..self.clone() }
    }

    /// Different for different runs.
    pub(super) fn key(&self) -> String {
        let Self { lines, load, from, seconds, udp_mbit, seed, .. } = self;
        format!("{lines:?} {load} {from:?} {seconds} {udp_mbit} {seed}")
    }

    /// Whether each of `words`, which may be several with commas between, is in the name.
    #[must_use]
    pub fn is_called(&self, words: &[String]) -> bool {
        let own: Vec<_> = self.name.split(' ').collect();
        words.iter().all(|word| word.split(',').any(|either| own.contains(&either)))
    }
}

fn spec(mbit: f64, delay_ms: u64) -> LinkSpec {
    LinkSpec { mtu: Some(1_500), ..LinkSpec::new(mbit, delay_ms) }
}

/// All cells: two links by rates, delay, loss and load, and the named ones by direction and load.
#[must_use]
pub fn all_cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for load in LOADS {
        for rates in RATES {
            for delay in DELAYS {
                cells.extend(LOSSES.map(|loss| Cell::plain(rates, delay, loss, load)));
            }
        }
    }
    for links in named() {
        for from in [Side::Server, Side::Client] {
            cells.extend(MORE_LOADS.map(|load| Cell::named(&links, from, load)));
        }
    }
    cells
}

/// The cells whose rows are kept: one coordinate is varied at a time, and the named links are loaded by one
/// flow.
#[must_use]
pub fn checked_cells() -> Vec<Cell> {
    let wanted: &[&[&str]] = &[
        &["1:1,2:1,5:1,10:1", "+0ms,+30ms", "0%,1%", "cubic-1"],
        &["2:1", "+10ms,+80ms", "0%", "cubic-1"],
        &["2:1", "+30ms", "0.1%,3%,bursts", "cubic-1"],
        &["2:1", "+30ms", "0%,1%", "cubic-4,cubic-16,bbr-1,udp,web,calls"],
        &["article,fibre+lte,lossy,dsl+lte+starlink,five,steps,walk,handovers", "down", "cubic-1"],
        &["fibre+lte,dsl+lte+starlink", "down", "bbr-1"],
        &["fibre+lte", "down", "cubic-16,bbr-4"],
        &["article,fibre+lte", "up", "cubic-1"],
    ];
    let wanted: Vec<Vec<String>> =
        wanted.iter().map(|words| words.iter().map(|&word| word.to_owned()).collect()).collect();
    let is_wanted = |cell: &Cell| wanted.iter().any(|words| cell.is_called(words));
    all_cells().into_iter().filter(is_wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_cell_has_a_name_of_its_own_and_the_checked_ones_are_among_them() {
        let all: BTreeSet<_> = all_cells().into_iter().map(|cell| cell.name).collect();
        assert_eq!(all.len(), 4 * 4 * 5 * 7 + 9 * 2 * 9);
        let checked = checked_cells();
        assert!((40..60).contains(&checked.len()), "{}", checked.len());
        assert!(checked.iter().all(|cell| all.contains(&cell.name)));
    }

    #[test]
    fn rates_are_averaged_over_what_happens() {
        let steps = all_cells().into_iter().find(|cell| cell.name == "steps down cubic-1").unwrap();
        assert_eq!(steps.mean_mbit(0, 5), 70.0);
        assert_eq!(steps.mean_mbit(0, 10), 20.0 + 30.0);
    }
}
