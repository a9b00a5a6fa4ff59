//! What happens to the links and the endpoints of a world.

use core::time::Duration;
use std::net::SocketAddr;

use mlvpn_proto::time::Instant;

use super::{Attack, Endpoint, Recording, World};
use crate::link::{Schedule, WanLink};
use crate::packet::Side;

impl<E: Endpoint> World<E> {
    /// Cuts `link` both ways: a silent black hole.
    pub fn cut(&mut self, link: usize) {
        self.network.set_cut(link, true, self.now);
    }

    /// Restores `link`.
    pub fn restore(&mut self, link: usize) {
        self.network.set_cut(link, false, self.now);
    }

    /// Gives `link` new properties.
    pub fn set_link(&mut self, link: usize, spec: &WanLink) {
        self.network.set_spec(link, spec, self.now);
    }

    /// Makes the changes of `schedule` to `link`, from now on.
    pub fn schedule(&mut self, link: usize, schedule: Schedule) {
        self.network.schedule(link, schedule, self.now);
    }

    /// The client's datagrams on `link` come from `address` from now on; those for its former
    /// address go nowhere.
    pub fn move_client(&mut self, link: usize, address: SocketAddr) {
        self.network.move_client(link, address);
    }

    /// Replaces the endpoint at `side`, as a crash and a new start do. Returns the old one.
    pub fn restart(&mut self, side: Side, endpoint: E) -> E {
        let old = core::mem::replace(&mut self.ends[side as usize], endpoint);
        self.pump();
        old
    }

    /// The clock of everybody jumps forward, as when all hosts sleep.
    pub fn jump(&mut self, time: Duration) {
        self.now += time;
    }

    /// Lets an attacker loose on all links.
    pub fn attack(&mut self, attack: Attack) {
        self.network.set_attack(attack);
    }

    /// Records all datagrams from now on.
    pub fn record(&mut self) {
        self.network.record();
    }

    /// Sends recorded datagrams once more, as if from `from` or from where they came, over the
    /// links on which they were recorded.
    pub fn replay(&mut self, recordings: &[Recording], from: Option<SocketAddr>) {
        for recording in recordings {
            self.network.replay(recording, from, self.now);
        }
    }

    /// Changes the endpoint at `side` by hand, at the time of its own clock, and drains it.
    pub fn with_endpoint<R>(&mut self, side: Side, change: impl FnOnce(&mut E, Instant) -> R) -> R {
        let end = &mut self.ends[side as usize];
        let now = end.clock(self.now);
        let result = change(end, now);
        self.pump();
        result
    }
}
