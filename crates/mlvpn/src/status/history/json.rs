//! The history as JSON: columns, all as long as `at_seconds`.

use std::collections::VecDeque;

use serde::Serialize;

use super::{Event, History, Point, Track};

impl History {
    /// The answer to `history`. Ends with a line feed. docs/status.md lists the fields.
    #[must_use]
    pub fn to_json(&self) -> String {
        let steps = self.times.len();
        let document = Document {
            at_seconds: self.times.iter().map(|time| rounded(time.as_secs_f64())).collect(),
            tunnel: Tunnel {
                sent: column(&self.tunnel, steps, sent),
                received: column(&self.tunnel, steps, received),
            },
            links: self.links.iter().map(|(name, track)| Link::new(name, track, steps)).collect(),
            events: self.events.iter().map(Happened::from).collect(),
        };
        let mut text = serde_json::to_string(&document)
            .expect("strings and numbers in lists always serialise");
        text.push('\n');
        text
    }
}

#[derive(Serialize)]
struct Document<'a> {
    at_seconds: Vec<f64>,
    tunnel: Tunnel,
    links: Vec<Link<'a>>,
    events: Vec<Happened<'a>>,
}

#[derive(Serialize)]
struct Tunnel {
    sent: Vec<Option<u64>>,
    received: Vec<Option<u64>>,
}

#[derive(Serialize)]
struct Link<'a> {
    name: &'a str,
    sent: Vec<Option<u64>>,
    received: Vec<Option<u64>>,
    srtt_ms: Vec<Option<f64>>,
    loss_ratio: Vec<Option<f64>>,
}

#[derive(Serialize)]
struct Happened<'a> {
    unix_seconds: f64,
    kind: &'static str,
    link: Option<&'a str>,
    text: &'a str,
}

impl<'a> Link<'a> {
    fn new(name: &'a str, track: &Track, steps: usize) -> Self {
        let srtt_ms = |point: &Point| point.srtt.map(|srtt| rounded(srtt.as_secs_f64() * 1e3));
        Self {
            name,
            sent: column(track, steps, sent),
            received: column(track, steps, received),
            srtt_ms: column(track, steps, srtt_ms),
            loss_ratio: column(track, steps, |point| point.loss),
        }
    }
}

impl<'a> From<&'a Event> for Happened<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            unix_seconds: rounded(event.unix.as_secs_f64()),
            kind: event.kind.as_str(),
            link: event.link.as_deref(),
            text: &event.text,
        }
    }
}

fn sent(point: &Point) -> Option<u64> {
    point.rates.map(|rates| rates.sent)
}

fn received(point: &Point) -> Option<u64> {
    point.rates.map(|rates| rates.received)
}

/// What was measured at each step; nothing at those before the first measurement.
fn column<T>(track: &Track, steps: usize, of: impl Fn(&Point) -> Option<T>) -> Vec<Option<T>> {
    let points: &VecDeque<Point> = &track.points;
    let missing = steps.saturating_sub(points.len());
    let before = std::iter::repeat_with(|| None).take(missing);
    before.chain(points.iter().map(of)).collect()
}

/// To three decimals: milliseconds of seconds, microseconds of milliseconds.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
