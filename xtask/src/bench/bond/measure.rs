//! The measurement itself.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use mlvpn_lab::workload::{Ping, PingReport, RunningTransfer, Transfer, TransferReport};
use mlvpn_lab::{Interrupt, Lab};
use mlvpn_sim::link::Direction;

use super::credentials::Credentials;
use super::scenario::{Link, fastest, possible_mbit};
use super::tunnel::{SERVER, Tunnel};
use super::weather::under_weather;

/// Both ways.
pub(super) const DIRECTIONS: [Direction; 2] = [Direction::Down, Direction::Up];
/// The beginning of a flow that is compared with single links; also how long many flows take.
pub(super) const START: Duration = Duration::from_secs(10);
/// How many flows are many.
const MANY: usize = 8;
/// A flow goes on for this long before a link is cut under it, and after that.
const BEFORE_CUT: Duration = Duration::from_secs(5);
const AFTER_CUT: Duration = Duration::from_secs(8);
/// From one transfer to the next, for what is still queued.
const PAUSE: Duration = Duration::from_secs(1);
/// More of them would be a load themselves: at 50 a second they take 4 % of 1.6 Mbit/s.
const PING_INTERVAL: Duration = Duration::from_millis(100);
const IDLE_PINGS: u16 = 50;
const IDLE_PING_INTERVAL: Duration = Duration::from_millis(20);

/// With what is measured.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    pub(super) program: &'a Path,
    pub(super) lab: &'a Lab,
    pub(super) links: &'a [Link],
    /// Of the senders inside the tunnel.
    pub(super) congestion: &'a str,
    /// How long the one flow takes.
    pub(super) long: Duration,
    pub(super) interrupt: &'a Interrupt,
}

/// The links one by one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alone {
    /// What the best of them carried, per direction.
    best_mbit: [f64; DIRECTIONS.len()],
    /// Typical round trip by the quickest of them without other traffic.
    idle_ms: f64,
}

/// One direction through all links.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    /// Payload of one flow in its second half.
    pub(super) settled_mbit: f64,
    /// The same as a share of what is possible: 0 to 1.
    pub(super) settled: f64,
    /// Payload of one flow in its beginning, to that of the best link alone.
    pub(super) start: f64,
    /// Of what is possible, by many flows: 0 to 1.
    pub(super) many: f64,
    /// Round trips beside one flow, above those of the quickest link when idle; infinite when too few
    /// were answered.
    pub(super) ping_p50_ms: f64,
    pub(super) ping_p95_ms: f64,
    /// The longest time without payload after the fastest link was cut.
    pub(super) silence_ms: f64,
}

impl Bench<'_> {
    /// Measures each link alone, in both directions, each time through a new tunnel.
    ///
    /// # Errors
    /// When a tunnel or a transfer fails, or a signal says to stop.
    pub(super) fn alone(&self) -> Result<Alone> {
        let mut alone = Alone { best_mbit: [0.0; DIRECTIONS.len()], idle_ms: f64::INFINITY };
        for link in self.links {
            for (direction, best) in DIRECTIONS.into_iter().zip(&mut alone.best_mbit) {
                let (idle, report) = self.through(std::slice::from_ref(link), || {
                    Ok((self.idle_pings()?, self.transfer(direction, 1, START)?))
                })?;
                alone.idle_ms = alone.idle_ms.min(percentile(&idle.rtts_ms, 50));
                *best = best.max(report.mbit());
            }
        }
        Ok(alone)
    }

    /// Measures all links together in one direction, through a new tunnel.
    ///
    /// # Errors
    /// When the tunnel or a transfer fails, or a signal says to stop.
    pub(super) fn together(&self, direction: Direction, alone: &Alone) -> Result<Figures> {
        let long = self.long;
        let possible = |from, to| possible_mbit(self.links, direction, from, to);
        let best_mbit = match direction {
            Direction::Down => alone.best_mbit[0],
            Direction::Up => alone.best_mbit[1],
        };
        self.through(self.links, || {
            let (one, pings) = self.transfer_beside_pings(direction)?;
            self.pause()?;
            let many = self.transfer(direction, MANY, START)?;
            self.pause()?;
            let silence_ms = self.silence(direction)?;
            let seconds = long.as_secs_f64();
            let settled_mbit = one.series.mean_mbit_between(seconds / 2.0, seconds);
            Ok(Figures {
                settled_mbit,
                settled: settled_mbit / possible(long / 2, long)?,
                start: one.series.mean_mbit_between(0.0, START.as_secs_f64()) / best_mbit,
                many: many.mbit() / possible(Duration::ZERO, START)?,
                ping_p50_ms: percentile(&pings.rtts_ms, 50) - alone.idle_ms,
                ping_p95_ms: percentile(&pings.rtts_ms, 95) - alone.idle_ms,
                silence_ms,
            })
        })
    }

    /// Does `work` while there is a tunnel over these links. An error comes with the ends of the logs.
    fn through<T>(&self, links: &[Link], work: impl FnOnce() -> Result<T>) -> Result<T> {
        let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
        let mut tunnel =
            Tunnel::start(self.program, self.lab, &names, Credentials::Password, self.interrupt)?;
        let outcome = work();
        self.interrupt.check()?;
        tunnel.check().and(outcome).map_err(|error| tunnel.explain(&error))
    }

    /// A transfer of one flow.
    pub(super) fn plan(&self, direction: Direction, duration: Duration) -> Transfer {
        let (client, server) = (self.lab.client(), self.lab.server());
        let transfer = match direction {
            Direction::Down => Transfer::download(client, server, SERVER),
            Direction::Up => Transfer::upload(client, server, SERVER),
        };
        transfer.congestion(self.congestion).duration(duration)
    }

    fn transfer(
        &self,
        direction: Direction,
        flows: usize,
        duration: Duration,
    ) -> Result<TransferReport> {
        under_weather(self.lab, self.links, duration, self.interrupt, || {
            let running = self.plan(direction, duration).flows(flows).start()?;
            self.await_end(&running, duration)?;
            checked(running)
        })
    }

    fn transfer_beside_pings(&self, direction: Direction) -> Result<(TransferReport, PingReport)> {
        let ping = Ping::to(SERVER).count(u16::MAX).interval(PING_INTERVAL).steadily();
        under_weather(self.lab, self.links, self.long, self.interrupt, || {
            let running = self.plan(direction, self.long).start()?;
            let is_over = &AtomicBool::new(false);
            let pings = thread::scope(|scope| {
                let is_going_on = || !is_over.load(Ordering::Relaxed);
                let client = self.lab.client();
                let pinging = scope.spawn(move || ping.run_while(client, is_going_on));
                let ended = self.await_end(&running, self.long);
                is_over.store(true, Ordering::Relaxed);
                let report = pinging.join().map_err(|_| anyhow!("the pings have panicked"))?;
                ended.and(report)
            })?;
            Ok((checked(running)?, pings))
        })
    }

    fn idle_pings(&self) -> Result<PingReport> {
        let ping = Ping::to(SERVER).count(IDLE_PINGS).interval(IDLE_PING_INTERVAL).steadily();
        let report = ping.run_while(self.lab.client(), || !self.interrupt.is_raised())?;
        self.interrupt.check()?;
        ensure!(report.answered() > 0, "{SERVER} does not answer");
        Ok(report)
    }

    /// Cuts the fastest link under a flow, in fair weather. Returns the longest time without payload from then on, in ms.
    fn silence(&self, direction: Direction) -> Result<f64> {
        let victim = self.lab.link(&fastest(self.links, direction)?.name);
        let running = self.plan(direction, BEFORE_CUT + AFTER_CUT).start()?;
        self.interrupt.wait(BEFORE_CUT, || Ok(running.is_over()))?;
        victim.cut()?;
        let silence = running.longest_silence(self.interrupt);
        victim.restore()?;
        checked(running)?;
        Ok(silence?.as_secs_f64() * 1e3)
    }

    fn await_end(&self, running: &RunningTransfer, duration: Duration) -> Result<()> {
        self.interrupt.wait(duration * 2, || Ok(running.is_over())).map(|_| ())
    }

    fn pause(&self) -> Result<()> {
        self.interrupt.wait(PAUSE, || Ok(false)).map(|_| ())
    }
}

/// The report of a transfer whose time is over, or is to be.
pub(in crate::bench) fn checked(running: RunningTransfer) -> Result<TransferReport> {
    let report = running.stop()?;
    ensure!(report.bytes() > 0, "nothing arrived");
    ensure!(report.wrong_bytes() == 0, "{} wrong bytes arrived", report.wrong_bytes());
    Ok(report)
}

/// By nearest rank; what was not answered took infinitely long.
pub(in crate::bench) fn percentile(times_ms: &[Option<f64>], percent: usize) -> f64 {
    let mut times: Vec<f64> = times_ms.iter().map(|time| time.unwrap_or(f64::INFINITY)).collect();
    times.sort_by(f64::total_cmp);
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_answered_counts_as_late() {
        let mut times: Vec<_> = (1..=18).rev().map(|ms| Some(f64::from(ms))).collect();
        times.extend([None, Some(19.0)]);
        assert_eq!((percentile(&times, 50), percentile(&times, 95)), (10.0, 19.0));
        assert_eq!((percentile(&times, 100), percentile(&[], 50)), (f64::INFINITY, f64::INFINITY));
    }
}
