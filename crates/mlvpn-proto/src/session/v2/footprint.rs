//! How much a session keeps.

use super::Session;
use super::path::Path;
use crate::stats::{Footprint, Traffic};

impl Session {
    /// What is kept for this peer, but for what the endpoint keeps.
    pub(crate) fn footprint(&self) -> Footprint {
        let mut in_flight = Traffic::default();
        self.paths().for_each(|path| in_flight.add(path.on_its_way()));
        Footprint {
            epochs: self.indices().count(),
            controls: self.outbox.len(),
            in_flight,
            repairs: self.upload.recovery.waiting(),
            skips: self.upload.recovery.skips(),
            copies: self.upload.copies.kept(),
            ..Footprint::default()
        }
    }
}

impl Path {
    fn on_its_way(&self) -> Traffic {
        Traffic { packets: self.flight.remembered() as u64, bytes: self.flight.bytes() }
    }
}
