//! Watching the links of a lab while something runs.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use mlvpn_io::clock::Clock;
use serde::Serialize;

use super::Lab;
use crate::series::Series;

/// The rates of all links in one interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the observation began, at the end of the interval.
    pub at_s: f64,
    /// One per link, in the lab's order.
    pub links: Vec<LinkSample>,
}

/// The rates of one link in one interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinkSample {
    /// The link's name.
    pub name: String,
    /// Mbit/s of IP packets that arrived at the client.
    pub down_mbit: f64,
    /// Mbit/s of IP packets that arrived at the server.
    pub up_mbit: f64,
}

impl Sample {
    /// Mbit/s that arrived at the client by all links.
    #[must_use]
    pub fn down_mbit(&self) -> f64 {
        self.links.iter().map(|link| link.down_mbit).sum()
    }

    /// Mbit/s that arrived at the server by all links.
    #[must_use]
    pub fn up_mbit(&self) -> f64 {
        self.links.iter().map(|link| link.up_mbit).sum()
    }
}

/// What was seen: one series per link and direction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Observation {
    /// Bytes of IP packets that arrived at the client, per link.
    pub down: Vec<Series>,
    /// Bytes of IP packets that arrived at the server, per link.
    pub up: Vec<Series>,
}

/// Calls back at every interval, from a thread of its own.
#[derive(Debug)]
pub struct Observer {
    interval: Duration,
}

impl Observer {
    /// An observer that looks at the links every `interval`, of at least 10 ms.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self { interval: interval.max(Duration::from_millis(10)) }
    }

    /// Runs `work`, and meanwhile `on_sample` at every interval with the rates in it. Returns what
    /// `work` did and all that was seen.
    ///
    /// # Errors
    /// When a link cannot be read.
    pub fn watch<T>(
        &self,
        lab: &Lab,
        on_sample: impl FnMut(&Sample) + Send,
        work: impl FnOnce() -> T,
    ) -> Result<(T, Observation)> {
        let (done, when_done) = mpsc::channel();
        thread::scope(|scope| {
            let watcher =
                scope.spawn(move || Watch::new(self.interval, lab)?.run(&when_done, on_sample));
            let stop = StopOnDrop(done);
            let outcome = work();
            drop(stop);
            let observation = match watcher.join() {
                Ok(observation) => observation?,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            Ok((outcome, observation))
        })
    }
}

/// Ends the watch also when the work panics: the scope would wait for it forever.
struct StopOnDrop(Sender<()>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        // The watcher may have ended by itself.
        let _ = self.0.send(());
    }
}

struct Watch<'a> {
    interval: Duration,
    lab: &'a Lab,
    last: Vec<(u64, u64)>,
    observation: Observation,
}

impl<'a> Watch<'a> {
    fn new(interval: Duration, lab: &'a Lab) -> Result<Self> {
        let series = || {
            let empty = |name: &str| Series {
                name: name.to_owned(),
                interval_s: interval.as_secs_f64(),
                bytes: Vec::new(),
            };
            lab.links().iter().map(|link| empty(link.name())).collect()
        };
        let observation = Observation { down: series(), up: series() };
        Ok(Self { interval, lab, last: read(lab)?, observation })
    }

    fn run(
        mut self,
        when_done: &mpsc::Receiver<()>,
        mut on_sample: impl FnMut(&Sample),
    ) -> Result<Observation> {
        let clock = Clock::new();
        let start = clock.now_us();
        let interval_us = self.interval.as_micros() as u64;
        for number in 1.. {
            // From the start, so that late wakeups do not add up.
            let deadline = start + number * interval_us;
            let wait = Duration::from_micros(deadline.saturating_sub(clock.now_us()));
            match when_done.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
            }
            on_sample(&self.sample((deadline - start) as f64 * 1e-6)?);
        }
        Ok(self.observation)
    }

    fn sample(&mut self, at_s: f64) -> Result<Sample> {
        let now = read(self.lab)?;
        let mbit = |bytes: u64| bytes as f64 * 8e-6 / self.interval.as_secs_f64();
        let mut links = Vec::new();
        for (i, ((down, up), (last_down, last_up))) in now.iter().zip(&self.last).enumerate() {
            let (down, up) = (down.saturating_sub(*last_down), up.saturating_sub(*last_up));
            self.observation.down[i].bytes.push(down);
            self.observation.up[i].bytes.push(up);
            let name = self.observation.down[i].name.clone();
            links.push(LinkSample { name, down_mbit: mbit(down), up_mbit: mbit(up) });
        }
        self.last = now;
        Ok(Sample { at_s, links })
    }
}

fn read(lab: &Lab) -> Result<Vec<(u64, u64)>> {
    lab.links().iter().map(super::LabLink::delivered_bytes).collect()
}
