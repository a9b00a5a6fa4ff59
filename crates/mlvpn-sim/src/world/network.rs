//! The links between the endpoints.

use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mlvpn_proto::time::Instant;

use super::attack::{Attack, Attacker, Recording};
use super::endpoint::Outgoing;
use crate::link::{Direction, Duplex, PipeCounters, Schedule, WanLink};
use crate::packet::Side;
use crate::rng::Seed;

/// The address of the client on `link` at first.
#[must_use]
pub fn client_address(link: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1 + link as u8)), 40_000 + link as u16)
}

/// The address of the server for `link`.
#[must_use]
pub fn server_address(link: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), 5_080 + link as u16)
}

/// All links, their changes to come, and who meddles with them.
#[derive(Debug)]
pub struct Network {
    links: Vec<Line>,
    attacker: Attacker,
    recordings: Option<Vec<Recording>>,
    stray: u64,
}

#[derive(Debug)]
struct Line {
    pipes: Duplex<Flying>,
    client: SocketAddr,
    schedules: Vec<(Instant, Schedule)>,
}

#[derive(Debug)]
struct Flying {
    from: SocketAddr,
    to: SocketAddr,
    payload: Vec<u8>,
}

/// A datagram that arrived.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) to: Side,
    pub(super) link: usize,
    pub(super) from: SocketAddr,
    pub(super) payload: Vec<u8>,
}

impl Network {
    pub(super) fn new(links: Vec<WanLink>, seed: Seed) -> Self {
        let line = |(index, link): (usize, WanLink)| Line {
            pipes: Duplex::new(&link, seed.derive(&format!("link {index}")).0),
            client: client_address(index),
            schedules: Vec::new(),
        };
        Self {
            links: links.into_iter().enumerate().map(line).collect(),
            attacker: Attacker::new(seed.stream("attacker")),
            recordings: None,
            stray: 0,
        }
    }

    /// What one direction of `link` did so far.
    #[must_use]
    pub fn counters(&self, link: usize, direction: Direction) -> &PipeCounters {
        let pipes = &self.links[link].pipes;
        match direction {
            Direction::Down => pipes.down.counters(),
            Direction::Up => pipes.up.counters(),
        }
    }

    /// Bytes that wait before one direction of `link`, what is being sent included.
    #[must_use]
    pub fn waiting_bytes(&self, link: usize, direction: Direction) -> usize {
        let pipes = &self.links[link].pipes;
        match direction {
            Direction::Down => pipes.down.waiting_bytes(),
            Direction::Up => pipes.up.waiting_bytes(),
        }
    }

    /// Datagrams that went to an address at which nobody is any more.
    #[must_use]
    pub fn stray(&self) -> u64 {
        self.stray
    }

    /// The datagrams recorded since [`super::World::record`].
    #[must_use]
    pub fn recordings(&self) -> &[Recording] {
        self.recordings.as_deref().unwrap_or_default()
    }

    pub(super) fn set_cut(&mut self, link: usize, cut: bool, now: Instant) {
        self.links[link].pipes.set_cut(cut, now);
    }

    pub(super) fn set_spec(&mut self, link: usize, spec: &WanLink, now: Instant) {
        self.links[link].pipes.set_spec(spec, now);
    }

    pub(super) fn schedule(&mut self, link: usize, schedule: Schedule, now: Instant) {
        self.links[link].schedules.push((now, schedule));
    }

    pub(super) fn move_client(&mut self, link: usize, address: SocketAddr) {
        self.links[link].client = address;
    }

    pub(super) fn set_attack(&mut self, attack: Attack) {
        self.attacker.set(attack);
    }

    pub(super) fn record(&mut self) {
        self.recordings.get_or_insert_with(Vec::new);
    }

    /// An endpoint sends a datagram.
    pub(super) fn send(&mut self, side: Side, outgoing: Outgoing, now: Instant) {
        let Outgoing { link, to, overhead, payload } = outgoing;
        let from = match side {
            Side::Client => self.links[link].client,
            Side::Server => server_address(link),
        };
        let recording =
            Recording { at: now, link, to: side.other(), from, to_address: to, overhead, payload };
        if let Some(recordings) = &mut self.recordings {
            recordings.push(recording.clone());
        }
        for datagram in self.attacker.meddle(recording, now) {
            self.carry(datagram, now);
        }
    }

    pub(super) fn replay(&mut self, recording: &Recording, from: Option<SocketAddr>, now: Instant) {
        let mut recording = recording.clone();
        recording.from = from.unwrap_or(recording.from);
        self.carry(recording, now);
    }

    fn carry(&mut self, datagram: Recording, now: Instant) {
        let Recording { link, to, from, to_address, overhead, payload, .. } = datagram;
        let len = payload.len() + overhead;
        if to == Side::Client && to_address != self.links[link].client {
            // Nor does it come by the client's line.
            self.stray += 1;
            return;
        }
        let pipe = self.links[link].pipes.pipe_mut(direction(to));
        // A refused datagram is counted by the pipe; its sender does not learn of it.
        let _ = pipe.send(Flying { from, to: to_address, payload }, len, now);
    }

    /// The next datagram that has arrived by `now` at an address where somebody is.
    pub(super) fn poll_arrival(&mut self, now: Instant) -> Option<Arrival> {
        for datagram in self.attacker.release(now) {
            self.carry(datagram, now);
        }
        for (link, line) in self.links.iter_mut().enumerate() {
            for to in [Side::Client, Side::Server] {
                while let Some(flying) = line.pipes.pipe_mut(direction(to)).poll(now) {
                    if to == Side::Client && flying.to != line.client {
                        self.stray += 1;
                        continue;
                    }
                    let Flying { from, payload, .. } = flying;
                    return Some(Arrival { to, link, from, payload });
                }
            }
        }
        None
    }

    pub(super) fn apply_schedules(&mut self, now: Instant) {
        for line in &mut self.links {
            for (start, schedule) in &mut line.schedules {
                while let Some(change) = schedule.poll(now.saturating_since(*start)) {
                    line.pipes.apply(&change, now);
                }
            }
        }
    }

    pub(super) fn next_event(&self) -> Option<Instant> {
        let lines = self.links.iter().flat_map(|line| {
            let changes = line.schedules.iter();
            let changes = changes
                .filter_map(|(start, schedule)| Some(*start + whole_micros(schedule.next_at()?)));
            changes.chain(line.pipes.next_event())
        });
        lines.chain(self.attacker.next_release()).min()
    }
}

/// The clock counts microseconds; what is due between two of them is due at the later.
fn whole_micros(time: Duration) -> Duration {
    Duration::from_micros(time.as_nanos().div_ceil(1_000) as u64)
}

fn direction(to: Side) -> Direction {
    match to {
        Side::Client => Direction::Down,
        Side::Server => Direction::Up,
    }
}
