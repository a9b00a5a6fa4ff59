//! The links that are bonded.

use std::time::Duration;

use anyhow::{Context, Result};
use mlvpn_sim::grid::{Line, Weather};
use mlvpn_sim::link::Direction;

/// Bytes of TCP payload (IPv4, timestamps) in a full packet, at a tunnel MTU of 1440.
const PAYLOAD: f64 = 1388.0;
/// Bytes of the IP packet that carries it on a link.
const ON_THE_LINK: f64 = 1500.0;

/// Links that somebody might have, by name.
#[derive(Debug)]
pub(super) struct Scenario {
    /// For the command line and the table.
    pub(super) name: &'static str,
    /// One per link.
    specs: [&'static str; 2],
    /// What happens to the second link under a transfer.
    weather: Weather,
}

/// All that can be asked for.
pub(super) const SCENARIOS: [Scenario; 5] = [
    Scenario {
        name: "equal",
        specs: ["down=50,up=50,delay=10,queue=100"; 2],
        weather: Weather::Steady,
    },
    Scenario { name: "article", specs: ["dsl", "dsl,delay=20"], weather: Weather::Steady },
    Scenario {
        name: "fibre-lte",
        specs: ["down=100,up=50,delay=5,queue=60", "down=50,up=20,delay=40,jitter=8,queue=300"],
        weather: Weather::Steady,
    },
    Scenario {
        name: "lossy",
        specs: [
            "down=50,up=20,delay=15,queue=100",
            "down=30,up=10,delay=35,jitter=5,loss=1,queue=200",
        ],
        weather: Weather::Steady,
    },
    Scenario {
        name: "steps",
        specs: ["down=20,up=5,delay=8,queue=100", "down=50,up=20,delay=25"],
        weather: Weather::Steps,
    },
];

/// A link of a scenario.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// Name of its devices.
    pub(super) name: String,
    /// What it is like, and what happens to it under a transfer.
    pub(super) line: Line,
}

impl Scenario {
    /// Its links.
    ///
    /// # Errors
    /// When a description is wrong.
    pub(super) fn links(&self) -> Result<Vec<Link>> {
        let link = |(number, spec): (u32, &&str)| -> Result<Link> {
            let link = spec.parse().with_context(|| format!("{}: {spec}", self.name))?;
            let weather = if number == 2 { self.weather } else { Weather::Steady };
            Ok(Link { name: format!("link{number}"), line: Line { link, weather } })
        };
        (1..).zip(&self.specs).map(link).collect()
    }

    /// The links, as the command line of others takes them, and what happens to the second.
    pub(super) fn describe(&self) -> String {
        let weather = match self.weather {
            Weather::Steady => "",
            Weather::Steps => "; the second's rates fall to a fifth or come back every 5 s",
            Weather::Walk => "; the second's rates wander",
            Weather::Handovers => "; the second's delay and loss change with handovers",
        };
        format!("`{}`{weather}", self.specs.join(" + "))
    }
}

impl Link {
    /// Mbit/s of IP packets in a direction between two times since its weather began, on average.
    ///
    /// # Errors
    /// When it has no limit.
    fn mbit_between(&self, direction: Direction, from: Duration, to: Duration) -> Result<f64> {
        let rate = self.rate(direction)?;
        Ok(self.line.schedule(to).mean_rate(rate, direction, from, to) / 1e6)
    }

    /// Bits per second of IP packets in a direction in fair weather.
    fn rate(&self, direction: Direction) -> Result<u64> {
        let rate = self.line.link.spec(direction).rate;
        rate.with_context(|| format!("{} has no rate to compare with", self.name))
    }
}

/// What the headers leave to one TCP connection of the summed rates, in Mbit/s of payload, on average between two times
/// since it began.
///
/// # Errors
/// When a link has no limit.
pub(super) fn possible_mbit(
    links: &[Link],
    direction: Direction,
    from: Duration,
    to: Duration,
) -> Result<f64> {
    let rates = links.iter().map(|link| link.mbit_between(direction, from, to));
    let rates: Vec<f64> = rates.collect::<Result<_>>()?;
    Ok(rates.iter().sum::<f64>() * PAYLOAD / ON_THE_LINK)
}

/// The first of the links that have the highest rate in fair weather.
///
/// # Errors
/// When there is none, or one has no limit.
pub(super) fn fastest(links: &[Link], direction: Direction) -> Result<&Link> {
    let mut best: Option<(&Link, u64)> = None;
    for link in links {
        let rate = link.rate(direction)?;
        if best.is_none_or(|(_, highest)| rate > highest) {
            best = Some((link, rate));
        }
    }
    Ok(best.context("a scenario has links")?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn every_scenario_has_links_with_rates() {
        for scenario in &SCENARIOS {
            let links = scenario.links().unwrap();
            for direction in [Direction::Down, Direction::Up] {
                let possible = possible_mbit(&links, direction, Duration::ZERO, TEN).unwrap();
                assert!(possible > 1.0, "{}", scenario.name);
                let expected = if scenario.name == "steps" { "link2" } else { "link1" };
                assert_eq!(fastest(&links, direction).unwrap().name, expected, "{}", scenario.name);
            }
        }
    }

    #[test]
    fn headers_take_their_part() {
        let links = SCENARIOS[0].links().unwrap();
        let possible = possible_mbit(&links, Direction::Down, Duration::ZERO, TEN).unwrap();
        assert!((possible - 92.533).abs() < 1e-3);
    }

    #[test]
    fn what_steps_give_counts_on_average() {
        let links = SCENARIOS.last().unwrap().links().unwrap();
        for (from, to, mbit) in [(0, 5, 70.0), (5, 10, 30.0), (30, 60, 50.0)] {
            let window = (Duration::from_secs(from), Duration::from_secs(to));
            let possible = possible_mbit(&links, Direction::Down, window.0, window.1).unwrap();
            assert!((possible * ON_THE_LINK / PAYLOAD - mbit).abs() < 1e-9, "{from} to {to}");
        }
    }
}
