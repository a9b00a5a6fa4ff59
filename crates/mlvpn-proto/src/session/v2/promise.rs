//! Frames that are sent again until they are acknowledged `[F4]`.
//!
//! What is promised is that the peer gets to know something. What it is, is looked up when the frame is
//! written: a repetition says what holds then.

use crate::id::{PacketNumber, PathId};
use crate::time::{Duration, Instant};

/// How often a frame is sent `[F4]`.
const MAX_SENDS: u8 = 8;
/// Packets of a promise that are remembered, any of which may be acknowledged.
const REMEMBERED: usize = 4;

/// What the peer is to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Promise {
    /// What this end tells of itself.
    Settings,
    /// What a path is to be used for.
    Status(PathId),
    /// How packets are to be given to the paths, and what is wanted of them.
    Terms,
}

#[derive(Debug)]
struct Open {
    promise: Promise,
    due: Instant,
    sends: u8,
    /// The packets that carried it.
    packets: Vec<(PathId, PacketNumber)>,
}

/// The promises that are not kept yet.
#[derive(Debug, Default)]
pub(super) struct Promises {
    open: Vec<Open>,
    has_begun: bool,
}

impl Promises {
    /// Whether nothing was ever promised.
    pub(super) fn is_new(&self) -> bool {
        !self.has_begun
    }

    /// The peer is to know this, as of now: what was sent before does not count.
    pub(super) fn make(&mut self, promise: Promise, now: Instant) {
        self.has_begun = true;
        self.open.retain(|open| open.promise != promise);
        self.open.push(Open { promise, due: now, sends: 0, packets: Vec::new() });
    }

    /// What is due, to be sent now and again after `wait`.
    pub(super) fn poll(&mut self, wait: Duration, now: Instant) -> Vec<Promise> {
        self.open.retain(|open| open.due > now || open.sends < MAX_SENDS);
        let mut due = Vec::new();
        for open in self.open.iter_mut().filter(|open| open.due <= now) {
            open.due = now + wait;
            open.sends += 1;
            due.push(open.promise);
        }
        due
    }

    /// The packet `number` of `path` carries it.
    pub(super) fn on_sent(&mut self, promise: Promise, path: PathId, number: PacketNumber) {
        if let Some(open) = self.open.iter_mut().find(|open| open.promise == promise) {
            if open.packets.len() == REMEMBERED {
                open.packets.remove(0);
            }
            open.packets.push((path, number));
        }
    }

    /// The peer has the packet `number` of `path`.
    pub(super) fn on_acked(&mut self, path: PathId, number: PacketNumber) {
        self.open.retain(|open| !open.packets.contains(&(path, number)));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.open.iter().map(|open| open.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(100);

    #[test]
    fn a_promise_is_repeated_until_any_of_its_packets_is_acknowledged() {
        let path = PathId::default();
        let mut promises = Promises::default();
        promises.make(Promise::Settings, Instant::ZERO);
        assert_eq!(promises.poll(WAIT, Instant::ZERO), [Promise::Settings]);
        promises.on_sent(Promise::Settings, path, PacketNumber(3));
        assert_eq!(promises.poll(WAIT, Instant::from_millis(99)), []);
        assert_eq!(promises.poll(WAIT, Instant::from_millis(100)), [Promise::Settings]);
        promises.on_sent(Promise::Settings, path, PacketNumber(9));
        promises.on_acked(path, PacketNumber(4));
        assert!(promises.poll_timeout().is_some());
        promises.on_acked(path, PacketNumber(3));
        assert_eq!(promises.poll_timeout(), None);
    }

    #[test]
    fn it_is_given_up_after_eight_times() {
        let mut promises = Promises::default();
        promises.make(Promise::Status(PathId::default()), Instant::ZERO);
        let sends =
            (0..20u64).filter(|n| !promises.poll(WAIT, Instant::from_millis(100 * n)).is_empty());
        assert_eq!(sends.count(), 8);
        assert_eq!(promises.poll_timeout(), None);
    }

    #[test]
    fn an_acknowledgement_of_what_held_before_keeps_no_promise() {
        let (path, status) = (PathId::default(), Promise::Status(PathId::default()));
        let mut promises = Promises::default();
        promises.make(status, Instant::ZERO);
        promises.on_sent(status, path, PacketNumber(1));
        promises.make(status, Instant::ZERO);
        promises.on_acked(path, PacketNumber(1));
        assert!(promises.poll_timeout().is_some());
    }
}
