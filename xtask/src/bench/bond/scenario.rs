//! The links that are bonded.

use anyhow::{Context, Result};
use mlvpn_sim::link::{Direction, LinkSpec, WanLink};

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
}

/// All that can be asked for.
pub(super) const SCENARIOS: [Scenario; 4] = [
    Scenario { name: "equal", specs: ["down=50,up=50,delay=10,queue=100"; 2] },
    Scenario { name: "article", specs: ["dsl", "dsl,delay=20"] },
    Scenario {
        name: "fibre-lte",
        specs: ["down=100,up=50,delay=5,queue=60", "down=50,up=20,delay=40,jitter=8,queue=300"],
    },
    Scenario {
        name: "lossy",
        specs: [
            "down=50,up=20,delay=15,queue=100",
            "down=30,up=10,delay=35,jitter=5,loss=1,queue=200",
        ],
    },
];

/// A link of a scenario.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// Name of its devices.
    pub(super) name: String,
    /// What it is like.
    pub(super) spec: WanLink,
}

impl Scenario {
    /// Its links.
    ///
    /// # Errors
    /// When a description is wrong.
    pub(super) fn links(&self) -> Result<Vec<Link>> {
        let link = |(number, spec): (u32, &&str)| -> Result<Link> {
            let spec = spec.parse().with_context(|| format!("{}: {spec}", self.name))?;
            Ok(Link { name: format!("link{number}"), spec })
        };
        (1..).zip(&self.specs).map(link).collect()
    }

    /// The links as the command line of others takes them.
    pub(super) fn describe(&self) -> String {
        self.specs.join(" + ")
    }
}

impl Link {
    /// Mbit/s of IP packets in a direction.
    ///
    /// # Errors
    /// When it has no limit.
    pub(super) fn mbit(&self, direction: Direction) -> Result<f64> {
        let LinkSpec { rate, .. } = match direction {
            Direction::Down => self.spec.down,
            Direction::Up => self.spec.up,
        };
        Ok(rate.with_context(|| format!("{} has no rate to compare with", self.name))? as f64 / 1e6)
    }
}

/// What the headers leave to one TCP connection of the summed rates, in Mbit/s of payload.
///
/// # Errors
/// When a link has no limit.
pub(super) fn possible_mbit(links: &[Link], direction: Direction) -> Result<f64> {
    let rates: Vec<f64> = links.iter().map(|link| link.mbit(direction)).collect::<Result<_>>()?;
    Ok(rates.iter().sum::<f64>() * PAYLOAD / ON_THE_LINK)
}

/// The first of the links that have the highest rate.
///
/// # Errors
/// When there is none, or one has no limit.
pub(super) fn fastest(links: &[Link], direction: Direction) -> Result<&Link> {
    let mut best: Option<(&Link, f64)> = None;
    for link in links {
        let mbit = link.mbit(direction)?;
        if best.is_none_or(|(_, highest)| mbit > highest) {
            best = Some((link, mbit));
        }
    }
    Ok(best.context("a scenario has links")?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_links_with_rates() {
        for scenario in &SCENARIOS {
            let links = scenario.links().unwrap();
            for direction in [Direction::Down, Direction::Up] {
                assert!(possible_mbit(&links, direction).unwrap() > 1.0, "{}", scenario.name);
                assert_eq!(fastest(&links, direction).unwrap().name, "link1", "{}", scenario.name);
            }
        }
    }

    #[test]
    fn headers_take_their_part() {
        let links = SCENARIOS[0].links().unwrap();
        assert!((possible_mbit(&links, Direction::Down).unwrap() - 92.533).abs() < 1e-3);
    }
}
