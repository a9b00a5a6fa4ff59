//! The measuring.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use mlvpn_lab::workload::{Ping, PingReport, RunningTransfer, Transfer, TransferReport};
use mlvpn_lab::{Interrupt, Lab, Observation, Observer, Series};
use mlvpn_sim::link::Direction;
use zeroize::Zeroizing;

use super::lines::{Line, Packets};
use super::live::Live;
use super::outcome::{Cut, LineFacts, LineRate, Outcome, Phase, PingTimes, Rate};
use super::rights::Rights;
use super::tunnel::{INTERFACE, SERVER, Setting, Tunnel};

const CONGESTION_CONTROL: &str = "cubic";
/// Rates do not count until TCP has settled: this long, or half of a shorter transfer.
const SETTLING: Duration = Duration::from_secs(2);
/// A transfer goes on for at least this long after a cut.
const AFTER_CUT: Duration = Duration::from_secs(8);
/// How often the lines are looked at.
const SAMPLE: Duration = Duration::from_millis(250);
const SAMPLES_PER_SECOND: usize = 4;
const IDLE_PINGS: u16 = 20;
const IDLE_PING_INTERVAL: Duration = Duration::from_millis(75);
const LOADED_PING_INTERVAL: Duration = Duration::from_millis(100);

/// What is measured with.
pub(super) struct Bench<'a> {
    lab: &'a Lab,
    lines: &'a [Line],
    rights: Rights,
    interrupt: &'a Interrupt,
    duration: Duration,
}

/// A transfer to be made.
struct Plan<'a> {
    direction: Direction,
    duration: Duration,
    lines: &'a [&'a Line],
}

/// A transfer that was made.
struct Done {
    report: TransferReport,
    seen: Observation,
}

impl<'a> Bench<'a> {
    pub(super) fn new(
        lab: &'a Lab,
        lines: &'a [Line],
        rights: Rights,
        interrupt: &'a Interrupt,
        duration: Duration,
    ) -> Self {
        Self { lab, lines, rights, interrupt, duration }
    }

    /// Each line alone, all together, and one cut.
    pub(super) fn run(&self, live: &mut Live, cuts_upload: bool) -> anyhow::Result<Outcome> {
        let password = crate::cli::genpass::generate()?;
        let mut alone = Vec::new();
        for line in self.lines {
            let tunnel = self.tunnel(&password, &[line])?;
            alone.push(self.phase(live, &[line], tunnel)?.0);
        }
        let all: Vec<&Line> = self.lines.iter().collect();
        let (bonded, packets) = self.phase(live, &all, self.tunnel(&password, &all)?)?;
        let direction = if cuts_upload { Direction::Up } else { Direction::Down };
        let cut = self.cut(live, &all, direction, packets, self.tunnel(&password, &all)?)?;
        Ok(Outcome {
            protocol: "v2",
            congestion_control: CONGESTION_CONTROL,
            packets,
            transfer_s: self.duration.as_secs_f64(),
            settled_after_s: self.settled().as_secs_f64(),
            lines: self.lines.iter().map(LineFacts::of).collect(),
            alone,
            bonded,
            cut,
        })
    }

    fn tunnel(&self, password: &Zeroizing<String>, lines: &[&Line]) -> anyhow::Result<Tunnel> {
        let Self { lab, rights, interrupt, .. } = *self;
        Tunnel::start(Setting { lab, password, rights, interrupt }, lines)
    }

    /// Pings, a download with pings beside it, and an upload.
    fn phase(
        &self,
        live: &mut Live,
        lines: &[&Line],
        mut tunnel: Tunnel,
    ) -> anyhow::Result<(Phase, Packets)> {
        let names: Vec<String> = lines.iter().map(|line| line.name.clone()).collect();
        let title = match &names[..] {
            [name] => format!("{name} alone"),
            names => format!("{} bonded", names.join(" and ")),
        };
        live.phase(&title);
        let idle = Ping::to(SERVER).count(IDLE_PINGS).interval(IDLE_PING_INTERVAL);
        let idle = idle.run_while(self.lab.client(), || !self.interrupt.is_raised())?;
        self.interrupt.check()?;
        let ping_idle = times(&idle);
        live.note(&format!("ping {:.1} ms", ping_idle.p50_ms));
        // By now the tunnel has found out what its lines carry, and set its MTU.
        let packets = self.packets()?;

        let plan = |direction| Plan { direction, duration: self.duration, lines };
        let (down, loaded) =
            self.transfer(live, &plan(Direction::Down), |running| self.ping_beside(running))?;
        tunnel.check()?;
        let ping_loaded = times(&loaded);
        live.note(&format!("ping {:.1} ms meanwhile", ping_loaded.p50_ms));
        let (up, ()) = self.transfer(live, &plan(Direction::Up), |running| self.finish(running))?;
        tunnel.stop()?;
        let phase = Phase {
            lines: names,
            down: self.rate(down, &plan(Direction::Down), packets),
            up: self.rate(up, &plan(Direction::Up), packets),
            ping_idle,
            ping_loaded,
        };
        Ok((phase, packets))
    }

    /// A transfer in the middle of which the fastest line is cut.
    fn cut(
        &self,
        live: &mut Live,
        lines: &[&Line],
        direction: Direction,
        packets: Packets,
        mut tunnel: Tunnel,
    ) -> anyhow::Result<Cut> {
        let victim = fastest(lines, direction).context("there are lines")?;
        let transfer = noun(direction);
        live.phase(&format!("{} is cut in mid-{transfer}", victim.name));
        let at = self.duration / 2;
        let duration = at + at.max(AFTER_CUT);
        let plan = Plan { direction, duration, lines };
        let (done, longest_silence_ms) = self.transfer(live, &plan, |running| {
            self.interrupt.wait(at, || Ok(false))?;
            let link = self.lab.link(&victim.name);
            link.cut()?;
            let silence = running.longest_silence(self.interrupt);
            link.restore()?;
            Ok(silence?.as_secs_f64() * 1e3)
        })?;
        tunnel.check()?;
        tunnel.stop()?;
        let remaining = lines.iter().filter(|line| line.name != victim.name);
        let remaining: u64 = remaining.map(|line| line.rate(direction)).sum();
        let (end, settled) = (duration.as_secs_f64(), self.settled().min(at / 2).as_secs_f64());
        let series = &done.report.series;
        Ok(Cut {
            line: victim.name.clone(),
            transfer,
            at_s: at.as_secs_f64(),
            longest_silence_ms,
            before_mbit: series.mean_mbit_between(settled, at.as_secs_f64()),
            after_mbit: series.mean_mbit_between(end - 2.0, end),
            possible_after_mbit: packets.leave(remaining as f64 / 1e6),
            wrong_bytes: done.report.wrong_bytes(),
            curves: curves(done.seen, direction),
        })
    }

    /// Makes a transfer and shows it; `meanwhile` runs until it is over.
    fn transfer<T>(
        &self,
        live: &mut Live,
        plan: &Plan<'_>,
        meanwhile: impl FnOnce(&RunningTransfer) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Done, T)> {
        let (client, server) = (self.lab.client(), self.lab.server());
        let transfer = match plan.direction {
            Direction::Down => Transfer::download(client, server, SERVER),
            Direction::Up => Transfer::upload(client, server, SERVER),
        };
        let transfer = transfer.congestion(CONGESTION_CONTROL).duration(plan.duration);
        live.note(noun(plan.direction));
        let full = plan.sum_mbit();
        let mut samples = Vec::new();
        let show = |sample: &mlvpn_lab::Sample| {
            samples.push(sample.clone());
            if samples.len() == SAMPLES_PER_SECOND {
                live.second(&samples, plan.direction, full);
                samples.clear();
            }
        };
        let work = || -> anyhow::Result<_> {
            let running = transfer.start().context("through the tunnel")?;
            let outcome = meanwhile(&running)?;
            Ok((running.finish()?, outcome))
        };
        let (outcome, seen) = Observer::every(SAMPLE).watch(self.lab, show, work)?;
        let (report, outcome) = outcome?;
        Ok((Done { report, seen }, outcome))
    }

    fn finish(&self, running: &RunningTransfer) -> anyhow::Result<()> {
        self.interrupt.wait(Duration::MAX, || Ok(running.is_over())).map(|_| ())
    }

    /// Pings from the settling of the transfer to its end.
    fn ping_beside(&self, running: &RunningTransfer) -> anyhow::Result<PingReport> {
        self.interrupt.wait(self.settled(), || Ok(running.is_over()))?;
        let is_over = AtomicBool::new(false);
        let ping = Ping::to(SERVER).count(u16::MAX).interval(LOADED_PING_INTERVAL);
        thread::scope(|scope| {
            let pinging = scope
                .spawn(|| ping.run_while(self.lab.client(), || !is_over.load(Ordering::Relaxed)));
            let finished = self.finish(running);
            is_over.store(true, Ordering::Relaxed);
            let report = pinging.join().map_err(|_| anyhow!("the pings have panicked"))??;
            finished.map(|()| report)
        })
    }

    fn rate(&self, done: Done, plan: &Plan<'_>, packets: Packets) -> Rate {
        let (from, to) = (self.settled().as_secs_f64(), plan.duration.as_secs_f64());
        let goodput_mbit = done.report.series.mean_mbit_between(from, to);
        let possible_mbit = packets.leave(plan.sum_mbit());
        let wrong_bytes = done.report.wrong_bytes();
        let curves = curves(done.seen, plan.direction);
        let line_rate = |series: &Series| LineRate {
            name: series.name.clone(),
            mbit: series.mean_mbit_between(from, to),
            bytes: series.total(),
        };
        Rate {
            goodput_mbit,
            possible_mbit,
            share: goodput_mbit / possible_mbit,
            lines: curves.iter().map(line_rate).collect(),
            wrong_bytes,
            curves,
        }
    }

    fn packets(&self) -> anyhow::Result<Packets> {
        Ok(Packets::of_mtu(self.lab.client().netlink().link_by_name(INTERFACE)?.mtu))
    }

    fn settled(&self) -> Duration {
        SETTLING.min(self.duration / 2)
    }
}

impl Plan<'_> {
    fn sum_mbit(&self) -> f64 {
        self.lines.iter().map(|line| line.rate(self.direction) as f64 / 1e6).sum()
    }
}

impl LineFacts {
    fn of(line: &Line) -> Self {
        Self {
            name: line.name.clone(),
            spec: line.spec.to_string(),
            description: line.describe(),
            down_mbit: line.down as f64 / 1e6,
            up_mbit: line.up as f64 / 1e6,
        }
    }
}

/// The first of the lines that have the highest rate.
fn fastest<'a>(lines: &[&'a Line], direction: Direction) -> Option<&'a Line> {
    lines.iter().rev().max_by_key(|line| line.rate(direction)).copied()
}

fn times(report: &PingReport) -> PingTimes {
    PingTimes::of(report.sent, &report.rtts_ms)
}

fn curves(seen: Observation, direction: Direction) -> Vec<Series> {
    match direction {
        Direction::Down => seen.down,
        Direction::Up => seen.up,
    }
}

fn noun(direction: Direction) -> &'static str {
    match direction {
        Direction::Down => "download",
        Direction::Up => "upload",
    }
}
