//! How much a session keeps.

use super::path::Path;
use super::{Session, control, copies};
use crate::path::{flight, rate};
use crate::stats::{Footprint, Traffic};
use crate::{epochs, recovery};

/// Packets of flows without a queue, probes and those of the session itself are sent although as much is on its way as may be.
const BEYOND_CAP: u64 = 1 << 20;

impl Session {
    /// The most of it.
    pub(crate) const MOST_KEPT: Footprint = Footprint {
        indices: 0,
        epochs: 1 + epochs::MAX_FORMER + epochs::MAX_PENDING,
        messages: 0,
        controls: control::MAX_OUTBOX,
        in_flight: Traffic {
            packets: flight::MAX_PACKETS as u64,
            bytes: rate::MOST_IN_FLIGHT + BEYOND_CAP,
        },
        repairs: recovery::MAX_WAITING,
        skips: recovery::MAX_SKIPS,
        copies: copies::MAX_WAITING + copies::MAX_ARRIVED,
    };

    /// What is kept for this peer, but for what the endpoint keeps.
    pub(crate) fn footprint(&self) -> Footprint {
        let in_flight = self.paths().map(Path::on_its_way);
        Footprint {
            epochs: self.indices().count(),
            controls: self.outbox.len(),
            in_flight: in_flight.fold(Traffic::default(), Traffic::max),
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
