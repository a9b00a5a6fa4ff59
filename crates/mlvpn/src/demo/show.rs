//! The result in words: on a terminal, and as a page.

use mlvpn_lab::Series;
use mlvpn_lab::report::{Plot, Report, Table};

use super::outcome::{Outcome, Phase, PingTimes, Rate};

impl Outcome {
    /// For a terminal.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n", self.table());
        for note in self.notes() {
            text.push_str(&format!("{note}\n"));
        }
        text
    }

    /// For a page.
    pub(super) fn report(&self) -> Report {
        let names: Vec<&str> = self.lines.iter().map(|line| line.name.as_str()).collect();
        let mut report = Report::new(&format!("{} bonded by mlvpn", names.join(" and ")));
        for line in &self.lines {
            report = report.note(&line.description);
        }
        report = report.table(self.table());
        let title = format!("{} cut in mid-{}", self.cut.line, self.cut.transfer);
        let down: Vec<(String, &Rate)> = self.phases().map(|(n, p)| (n, &p.down)).collect();
        let up: Vec<(String, &Rate)> = self.phases().map(|(n, p)| (n, &p.up)).collect();
        report = report
            .plot(joined("Downloads, one after the other", &down))
            .plot(Plot::of_rates(&title, &self.cut.curves).event(self.cut.at_s, "cut"))
            .plot(joined("Uploads, one after the other", &up));
        report = self.notes().into_iter().fold(report, Report::note);
        report.note("The plots show IP packets on the lines, headers included.")
    }

    fn phases(&self) -> impl Iterator<Item = (String, &Phase)> {
        let alone =
            self.alone.iter().map(|phase| (format!("{} alone", phase.lines.join(" ")), phase));
        alone.chain(std::iter::once(("bonded".to_owned(), &self.bonded)))
    }

    fn table(&self) -> Table {
        let mut table = Table::new(
            "TCP and ping through the tunnel",
            &["", "down Mbit/s", "share", "up Mbit/s", "share", "ping idle", "at full load, ms"],
        );
        for (name, phase) in self.phases() {
            table = table.row(&[
                name,
                mbit(phase.down.goodput_mbit),
                percent(phase.down.share),
                mbit(phase.up.goodput_mbit),
                percent(phase.up.share),
                times(&phase.ping_idle),
                times(&phase.ping_loaded),
            ]);
        }
        let (down, up) = (&self.bonded.down, &self.bonded.up);
        let possible = [down.possible_mbit, up.possible_mbit].map(mbit);
        let [down, up] = possible;
        table.row(&["what the headers leave of the sum".to_owned(), down, String::new(), up])
    }

    fn notes(&self) -> Vec<String> {
        let (cut, packets) = (&self.cut, &self.packets);
        let mut notes = vec![
            format!(
                "After {} was cut in mid-{}, nothing arrived for at most {:.2} s. The rate \
                 was {} Mbit/s before, and {} Mbit/s at the end, where the headers leave {}.",
                cut.line,
                cut.transfer,
                cut.longest_silence_ms / 1e3,
                mbit(cut.before_mbit),
                mbit(cut.after_mbit),
                mbit(cut.possible_after_mbit)
            ),
            "Both ends spoke version 2 of the protocol. Neither was told what the lines can carry."
                .to_owned(),
            "The share is that of TCP's payload in what the headers leave of the lines' rates; pings \
             are the median and the 95th percentile, at full load beside the download."
                .to_owned(),
            format!(
                "A full packet of {} bytes in the tunnel has {} bytes of payload and takes {} bytes \
                 of a line. Rates count from second {} of {}.",
                packets.mtu,
                packets.payload,
                packets.on_the_wire,
                self.settled_after_s,
                self.transfer_s
            ),
        ];
        if self.wrong_bytes() > 0 {
            notes.push(format!("{} bytes arrived that had not been sent.", self.wrong_bytes()));
        }
        notes
    }

    fn wrong_bytes(&self) -> u64 {
        let phases = self.alone.iter().chain(std::iter::once(&self.bonded));
        phases.map(|phase| phase.down.wrong_bytes + phase.up.wrong_bytes).sum::<u64>()
            + self.cut.wrong_bytes
    }
}

/// The transfers as one plot, one after the other.
fn joined(title: &str, parts: &[(String, &Rate)]) -> Plot {
    let mut all: Vec<Series> = Vec::new();
    let mut events = Vec::new();
    let mut start = 0.0;
    for (name, rate) in parts {
        events.push((start, name.clone()));
        if all.is_empty() {
            all.clone_from(&rate.curves);
        } else {
            for (joined, part) in all.iter_mut().zip(&rate.curves) {
                joined.bytes.extend(&part.bytes);
            }
        }
        start += rate.curves.first().map_or(0.0, |c| c.bytes.len() as f64 * c.interval_s);
    }
    events.into_iter().fold(Plot::of_rates(title, &all), |plot, (at, name)| plot.event(at, &name))
}

fn mbit(mbit: f64) -> String {
    let decimals = if mbit < 10.0 { 2 } else { 1 };
    format!("{mbit:.decimals$}")
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn times(ping: &PingTimes) -> String {
    if ping.answered == 0 {
        return "no answer".to_owned();
    }
    format!("{:.0} / {:.0}", ping.p50_ms, ping.p95_ms)
}
