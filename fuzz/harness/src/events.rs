//! What an endpoint says about its links.

use std::collections::BTreeSet;

use mlvpn_proto::{Event, LinkIndex};

/// Checks that every event follows from those before it.
#[derive(Debug, Default)]
pub(crate) struct EventOracle {
    up: BTreeSet<LinkIndex>,
}

impl EventOracle {
    /// Takes the next event.
    ///
    /// # Panics
    /// When it contradicts an earlier one.
    pub(crate) fn follow(&mut self, event: Event) {
        match event {
            Event::LinkUp { link } => assert!(self.up.insert(link), "{link} came up twice"),
            Event::LinkDown { link, .. } => assert!(self.up.remove(&link), "{link} was not up"),
            Event::SessionUp => assert_eq!(self.up.len(), 1, "not with the first link"),
            Event::SessionDown => assert!(self.up.is_empty(), "{:?} are up", self.up),
            Event::PeerAddressChanged { from, to, .. } => assert_ne!(from, to),
            _ => {}
        }
    }
}
