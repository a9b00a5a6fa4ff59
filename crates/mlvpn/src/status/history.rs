//! The last five minutes: what each link carried, second by second, and the latest events.
//!
//! It is fed with every snapshot and keeps one in a second. What it may hold is bounded by
//! [`STEPS`], [`EVENTS`] and the number of links.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{LinkStatus, Rates, StatusSnapshot, Volume};

pub use event::{Event, EventKind};

mod event;
mod json;

/// Steps that are kept: five minutes of seconds.
pub const STEPS: usize = 300;
/// Events that are kept.
pub const EVENTS: usize = 100;
/// Time from one step to the next, at least: snapshots come twice in it.
const STEP: Duration = Duration::from_secs(1);

/// What was, up to now.
#[derive(Debug, Default)]
pub struct History {
    /// When each step was taken, as time since the start; the latest comes last.
    times: VecDeque<Duration>,
    tunnel: Track,
    links: BTreeMap<String, Track>,
    events: VecDeque<Event>,
}

/// One thing that is measured at each step. It may be younger than the history: its last point belongs to
/// the last step.
#[derive(Debug, Default)]
struct Track {
    counted: Option<Volume>,
    points: VecDeque<Point>,
}

/// What was measured at a step; none where it was not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Point {
    rates: Option<Rates>,
    srtt: Option<Duration>,
    /// 0 to 1.
    loss: Option<f64>,
}

impl History {
    /// Takes a step if one is due; and adds the present rates to `status`.
    pub fn on_snapshot(&mut self, status: &mut StatusSnapshot) {
        let elapsed = self.times.back().map(|last| status.uptime.saturating_sub(*last));
        if elapsed.is_none_or(|elapsed| elapsed >= STEP) {
            self.step(status, elapsed.unwrap_or_default().as_secs_f64());
        }
        status.rates = self.tunnel.latest().rates;
        for link in &mut status.links {
            if let Some(track) = self.links.get(&link.name) {
                link.rates = track.latest().rates;
                link.received_peak = track.received_peak();
            }
        }
    }

    /// Notes that something happened at `unix`, a time since 1970. The oldest event makes room.
    pub fn on_event(&mut self, unix: Duration, kind: EventKind, link: Option<&str>, text: String) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event { unix, kind, link: link.map(str::to_owned), text });
    }

    /// The latest events, the last one last.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    fn step(&mut self, status: &StatusSnapshot, seconds: f64) {
        push_bounded(&mut self.times, status.uptime);
        let session = &status.session;
        let volume = Volume { sent: session.bytes_from_tun, received: session.bytes_to_tun };
        self.tunnel.push(volume, seconds, Point::default());
        self.links.retain(|name, _| status.links.iter().any(|link| link.name == *name));
        for link in &status.links {
            let track = self.links.entry(link.name.clone()).or_default();
            track.push(link.volume, seconds, Point::of(link));
        }
    }
}

impl Track {
    fn push(&mut self, volume: Volume, seconds: f64, point: Point) {
        let former = self.counted.replace(volume);
        let rates = former.and_then(|former| volume.rates_since(former, seconds));
        push_bounded(&mut self.points, Point { rates, ..point });
    }

    fn latest(&self) -> Point {
        self.points.back().copied().unwrap_or_default()
    }

    /// The most that came in a second, in bytes.
    fn received_peak(&self) -> Option<u64> {
        self.points.iter().filter_map(|point| point.rates).map(|rates| rates.received).max()
    }
}

impl Point {
    fn of(link: &LinkStatus) -> Self {
        let is_measured = link.state.is_up();
        Self {
            rates: None,
            srtt: link.quality.srtt.filter(|_| is_measured),
            loss: is_measured.then(|| link.loss_ratio()),
        }
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == STEPS {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests;
