//! The link model: what a line of an access provider does to packets.
//!
//! One direction is a [`Pipe`]: drop-tail queue, serialisation at the link's rate, loss, delay with
//! jitter, arrival. Nothing overtakes inside a pipe. The same code is run by the simulator with a
//! virtual clock and by the laboratory's emulator with a real one.

mod jitter;
mod loss;
mod pipe;
mod schedule;
mod spec;

pub use loss::Loss;
pub use pipe::{Pipe, PipeCounters};
pub use schedule::{Change, Handovers, RateWalk, Schedule, Stalls};
pub use spec::{Direction, LinkSpec, Queue, WanLink};

use mlvpn_proto::time::Instant;

use crate::rng::Seed;

/// Both directions of a link.
#[derive(Debug)]
pub struct Duplex<T> {
    /// Towards the subscriber.
    pub down: Pipe<T>,
    /// From the subscriber.
    pub up: Pipe<T>,
}

impl<T> Duplex<T> {
    /// An idle link. The directions draw their losses and jitter independently.
    #[must_use]
    pub fn new(link: &WanLink, seed: u64) -> Self {
        let seed = Seed(seed);
        Self {
            down: Pipe::new(link.down, seed.derive("down").0),
            up: Pipe::new(link.up, seed.derive("up").0),
        }
    }

    /// The pipe of one direction.
    pub fn pipe_mut(&mut self, direction: Direction) -> &mut Pipe<T> {
        match direction {
            Direction::Down => &mut self.down,
            Direction::Up => &mut self.up,
        }
    }

    /// Gives both directions the properties of `link`.
    pub fn set_spec(&mut self, link: &WanLink, now: Instant) {
        self.down.set_spec(link.down, now);
        self.up.set_spec(link.up, now);
    }

    /// Cuts or restores both directions.
    pub fn set_cut(&mut self, cut: bool, now: Instant) {
        self.down.set_cut(cut, now);
        self.up.set_cut(cut, now);
    }

    /// When the next packet may arrive in either direction.
    #[must_use]
    pub fn next_event(&self) -> Option<Instant> {
        self.down.next_event().into_iter().chain(self.up.next_event()).min()
    }

    /// Makes one scheduled change.
    pub fn apply(&mut self, change: &Change, now: Instant) {
        match *change {
            Change::Spec(direction, spec) => self.pipe_mut(direction).set_spec(spec, now),
            Change::Rate(direction, rate) => {
                let pipe = self.pipe_mut(direction);
                let spec = pipe.spec().with_pinned_queue();
                pipe.set_spec(LinkSpec { rate, ..spec }, now);
            }
            Change::Loss(direction, loss) => {
                let pipe = self.pipe_mut(direction);
                let spec = *pipe.spec();
                pipe.set_spec(LinkSpec { loss, ..spec }, now);
            }
            Change::Delay(direction, delay) => {
                let pipe = self.pipe_mut(direction);
                let spec = *pipe.spec();
                pipe.set_spec(LinkSpec { delay, ..spec }, now);
            }
            Change::Cut(direction, cut) => self.pipe_mut(direction).set_cut(cut, now),
            Change::Hold(direction, time) => self.pipe_mut(direction).hold(time, now),
        }
    }
}
