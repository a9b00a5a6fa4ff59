//! The lines, and what could be had of them at best.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};
use mlvpn_sim::link::{Direction, LinkSpec, Queue, WanLink};
use mlvpn_sim::preset::{PRESETS, preset};
use serde::Serialize;

/// IPv4 and TCP headers with timestamps inside the tunnel: 20 + 20 + 12 bytes.
const INNER_HEADERS: u32 = 52;
/// IPv4 and UDP headers, those of version 2 and the authenticator: 28 + 16 + 16 bytes.
const TUNNEL_HEADERS: u32 = 60;
/// Bytes of a name that leave room for a number in an interface's name.
const LONGEST_NAME: usize = 12;

/// A line of the demo.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Name of its devices, and of its section in mlvpn.conf.
    pub(super) name: String,
    /// What it is like.
    pub(super) spec: WanLink,
    /// bit/s to the client.
    pub(super) down: u64,
    /// bit/s to the server.
    pub(super) up: u64,
}

impl Line {
    /// Names the lines and checks that the demo can be done with them.
    pub(super) fn all(specs: &[WanLink]) -> anyhow::Result<Vec<Self>> {
        ensure!(specs.len() >= 2, "bonding takes at least two lines: give --link twice");
        ensure!(specs.len() <= 20, "the demo takes at most 20 lines");
        let mut taken = BTreeSet::new();
        let mut lines = Vec::new();
        for (number, spec) in (1..).zip(specs) {
            let rate = |spec: &LinkSpec| {
                spec.rate.filter(|rate| *rate >= 8_000).with_context(|| {
                    format!(
                        "line {number} has no rate: the demo compares with the sum of the rates, so \
                         give down= and up= in Mbit/s"
                    )
                })
            };
            let name = name_of(spec, number, &taken);
            if !taken.insert(name.clone()) {
                bail!("two lines are called {name}");
            }
            lines.push(Self {
                name,
                down: rate(&spec.down)?,
                up: rate(&spec.up)?,
                spec: spec.clone(),
            });
        }
        Ok(lines)
    }

    /// bit/s in a direction.
    pub(super) fn rate(&self, direction: Direction) -> u64 {
        match direction {
            Direction::Down => self.down,
            Direction::Up => self.up,
        }
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        let Self { name, spec, .. } = self;
        let mut text = format!(
            "{name}: {} / {} Mbit/s, {} ms one way",
            mbit(self.down),
            mbit(self.up),
            both(spec, |s| millis(s.delay))
        );
        if !spec.down.jitter.is_zero() || !spec.up.jitter.is_zero() {
            text.push_str(&format!(", {} ms of jitter", both(spec, |s| millis(s.jitter))));
        }
        if spec.down.loss.mean() + spec.up.loss.mean() > 0.0 {
            text.push_str(&format!(", {} % of loss", both(spec, |s| percent(s.loss.mean()))));
        }
        text + &format!(", {} of queue", both(spec, |s| queue(s.queue)))
    }
}

/// What full packets through the tunnel consist of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Packets {
    /// Of the tunnel's interface, in bytes.
    pub(super) mtu: u32,
    /// Bytes of TCP payload in a full packet.
    pub(super) payload: u32,
    /// Bytes of the IP packet on a line that carries it.
    pub(super) on_the_wire: u32,
}

impl Packets {
    /// For a tunnel interface with this MTU.
    pub(super) fn of_mtu(mtu: u32) -> Self {
        Self { mtu, payload: mtu.saturating_sub(INNER_HEADERS), on_the_wire: mtu + TUNNEL_HEADERS }
    }

    /// The part of `mbit` on the wire that the headers leave.
    pub(super) fn leave(&self, mbit: f64) -> f64 {
        mbit * f64::from(self.payload) / f64::from(self.on_the_wire)
    }
}

/// The table of the presets, for the help.
pub(super) fn preset_help() -> String {
    let mut text = String::from(
        "Presets:\n  name      down / up Mbit/s   one-way ms   jitter ms   loss %   queue ms\n",
    );
    for name in PRESETS {
        let Some(link) = preset(name) else { continue };
        let rate = |spec: &LinkSpec| spec.rate.map_or_else(|| "unlimited".to_owned(), mbit);
        text.push_str(&format!(
            "  {name:<8}  {:>16}   {:>10}   {:>9}   {:>6}   {:>8}\n",
            format!("{} / {}", rate(&link.down), rate(&link.up)),
            both(&link, |s| millis(s.delay)),
            both(&link, |s| millis(s.jitter)),
            both(&link, |s| percent(s.loss.mean())),
            both(&link, |s| queue(s.queue).replace(" ms", "")),
        ));
    }
    text + "\nDelay, jitter, loss and queue hold for each direction."
}

/// The name that the user gave, or one made of the preset's and the line's number.
fn name_of(spec: &WanLink, number: usize, taken: &BTreeSet<String>) -> String {
    let name = spec.name.as_str();
    let is_fine = (1..=LONGEST_NAME).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && !name.starts_with("filters")
        && !["general", "lo", super::tunnel::INTERFACE].contains(&name);
    let is_preset = PRESETS.contains(&name);
    match is_fine {
        true if !is_preset && !taken.contains(name) => name.to_owned(),
        true => format!("{name}{number}"),
        false => format!("line{number}"),
    }
}

/// One value when both directions agree, else both.
fn both(link: &WanLink, value: impl Fn(&LinkSpec) -> String) -> String {
    let (down, up) = (value(&link.down), value(&link.up));
    if down == up { down } else { format!("{down}/{up}") }
}

fn mbit(rate: u64) -> String {
    (rate as f64 / 1e6).to_string()
}

fn millis(duration: std::time::Duration) -> String {
    (duration.as_micros() as f64 / 1e3).to_string()
}

fn percent(fraction: f64) -> String {
    ((fraction * 1e6).round() / 1e4).to_string()
}

fn queue(queue: Queue) -> String {
    match queue {
        Queue::Time(time) => format!("{} ms", millis(time)),
        Queue::Bytes(bytes) => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(specs: &[&str]) -> anyhow::Result<Vec<String>> {
        let specs: Vec<WanLink> = specs.iter().map(|text| text.parse().unwrap()).collect();
        Ok(Line::all(&specs)?.into_iter().map(|line| line.name).collect())
    }

    #[test]
    fn lines_have_names_that_interfaces_and_sections_can_have() {
        let cases = [
            (["dsl", "dsl,delay=20"], ["dsl1", "dsl2"]),
            (["dsl", "lte,name=phone"], ["dsl1", "phone"]),
            (["dsl,name=a", "dsl,name=a"], ["a", "a2"]),
            (["down=1,name=general", "down=1,name=my line"], ["line1", "line2"]),
            (["down=1,name=filters-x", "down=1,name=mlvpn0"], ["line1", "line2"]),
        ];
        for (specs, expected) in cases {
            assert_eq!(names(&specs).unwrap(), expected, "{specs:?}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for (specs, remedy) in [
            (&["dsl"][..], "at least two"),
            (&["dsl", "down=unlimited"], "line 2 has no rate"),
            (&["dsl,name=dsl2", "dsl"], "two lines are called dsl2"),
        ] {
            let error = names(specs).unwrap_err().to_string();
            assert!(error.contains(remedy), "{error}");
        }
    }

    #[test]
    fn headers_leave_a_fixed_share() {
        let packets = Packets::of_mtu(1440);
        assert_eq!((packets.payload, packets.on_the_wire), (1388, 1500));
        assert!((packets.leave(15.0) - 13.88).abs() < 1e-9);
    }

    #[test]
    fn the_help_has_the_numbers_of_every_preset() {
        let help = preset_help();
        for name in PRESETS {
            assert!(help.contains(&format!("  {name} ")), "{help}");
        }
        assert!(help.contains("11.2 / 0.8") && help.contains("0.5"), "{help}");
    }
}
