//! What is shown while the demo runs: a line per second.

use std::io::{self, IsTerminal, Write};

use mlvpn_lab::Sample;
use mlvpn_sim::link::Direction;

use super::lines::Line;

/// Characters of the bar that stand for the sum of all rates.
const BAR: f64 = 30.0;
/// Colours of the lines on a terminal, as SGR parameters, used in turn.
const COLOURS: [u8; 6] = [34, 33, 32, 35, 36, 31];

/// Shows progress on standard output, or on standard error when that is for the result only.
#[derive(Debug)]
pub(super) struct Live {
    to_stderr: bool,
    has_bars: bool,
}

impl Live {
    pub(super) fn new(to_stderr: bool) -> Self {
        let is_terminal =
            if to_stderr { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        let wants_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { to_stderr, has_bars: is_terminal && !wants_plain }
    }

    pub(super) fn introduce(&mut self, lines: &[Line]) {
        self.say("a client and a server, joined by");
        for line in lines {
            self.say(&format!("  {}", line.describe()));
        }
    }

    /// Announces what comes now.
    pub(super) fn phase(&mut self, title: &str) {
        self.say(&format!("\n{title}"));
    }

    /// A sentence below the announcement.
    pub(super) fn note(&mut self, note: &str) {
        self.say(&format!("  {note}"));
    }

    /// Shows a second of a transfer, the mean of `samples`, scaled to `full` Mbit/s.
    pub(super) fn second(&mut self, samples: &[Sample], direction: Direction, full: f64) {
        let Some(last) = samples.last() else { return };
        let mean = |line: usize| {
            let rates = samples.iter().map(|sample| match direction {
                Direction::Down => sample.links[line].down_mbit,
                Direction::Up => sample.links[line].up_mbit,
            });
            rates.sum::<f64>() / samples.len() as f64
        };
        let rates: Vec<f64> = (0..last.links.len()).map(mean).collect();
        let mut text = format!("  {:3.0} s", last.at_s);
        for (link, rate) in last.links.iter().zip(&rates) {
            text.push_str(&format!("  {} {rate:6.2}", link.name));
        }
        text.push_str(&format!("  total {:6.2} Mbit/s", rates.iter().sum::<f64>()));
        if self.has_bars {
            text.push_str("  ");
            text.push_str(&bar(&rates, full));
        }
        self.say(&text);
    }

    fn say(&self, text: &str) {
        // A reader that has seen enough is no reason to stop: the result may go to a file.
        let _ = if self.to_stderr {
            writeln!(io::stderr(), "{text}")
        } else {
            writeln!(io::stdout(), "{text}")
        };
    }
}

/// A block per line, in its colour.
fn bar(rates: &[f64], full: f64) -> String {
    let mut text = String::new();
    let (mut sum, mut drawn) = (0.0, 0);
    for (rate, colour) in rates.iter().zip(COLOURS.iter().cycle()) {
        sum += rate;
        // Rounded from the left, so that the blocks' lengths add up.
        let end = (sum / full.max(1e-3) * BAR).round().clamp(0.0, BAR) as usize;
        let width = end.saturating_sub(drawn);
        drawn += width;
        text.push_str(&format!("\x1b[{colour}m{}\x1b[0m", "█".repeat(width)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_the_sum_and_never_longer() {
        for (rates, full, expected) in [
            (&[10.0, 5.0][..], 15.0, 30),
            (&[5.0, 2.5], 15.0, 15),
            (&[0.0, 0.0], 15.0, 0),
            (&[20.0, 20.0], 15.0, 30),
        ] {
            assert_eq!(bar(rates, full).matches('█').count(), expected, "{rates:?}");
        }
    }
}
