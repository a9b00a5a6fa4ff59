//! How much may be in flight, and how fast it is sent: CUBIC or BBR behind one face.

use core::time::Duration;

use mlvpn_proto::time::Instant;

use super::bbr::Bbr;
use super::cubic::{Cubic, Saved};

/// An algorithm of congestion control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CongestionControl {
    /// Linux's default; not paced, as without its `fq` queueing discipline.
    #[default]
    Cubic,
    /// Version 1; paced.
    Bbr,
}

/// The algorithm of a connection, at work.
#[derive(Clone, Debug)]
pub(super) enum Congestion {
    /// Loss decides.
    Cubic(Cubic),
    /// A model of the path decides.
    Bbr(Box<Bbr>),
}

impl Congestion {
    /// `seed` decides what is left to chance.
    pub(super) fn new(control: CongestionControl, seed: u64) -> Self {
        match control {
            CongestionControl::Cubic => Self::Cubic(Cubic::new()),
            CongestionControl::Bbr => Self::Bbr(Box::new(Bbr::new(seed))),
        }
    }

    /// Segments that may be in flight.
    pub(super) fn window(&self) -> f64 {
        match self {
            Self::Cubic(cubic) => cubic.window,
            Self::Bbr(bbr) => bbr.window,
        }
    }

    /// Segments a second; `None` is as many as the window allows.
    pub(super) fn pacing_rate(&self) -> Option<f64> {
        match self {
            Self::Cubic(_) => None,
            Self::Bbr(bbr) => Some(bbr.pacing_rate()),
        }
    }

    /// A round trip was measured; `una` and `next` delimit the data in flight.
    pub(super) fn on_rtt(&mut self, rtt: Duration, una: u64, next: u64, now: Instant) {
        if let Self::Cubic(cubic) = self {
            cubic.on_rtt(rtt, una, next, now);
        }
    }

    /// Sending begins again when nothing is in flight. `is_long`: for a retransmission timeout.
    /// `is_app_limited`: there was nothing to send.
    pub(super) fn on_restart(&mut self, is_long: bool, is_app_limited: bool, now: Instant) {
        match self {
            Self::Cubic(cubic) if is_long => cubic.on_idle(),
            Self::Bbr(bbr) if is_app_limited => bbr.on_restart(now),
            Self::Cubic(_) | Self::Bbr(_) => {}
        }
    }

    /// What to go back to when nothing is to be reduced.
    pub(super) fn saved(&self) -> Saved {
        match self {
            Self::Cubic(cubic) => cubic.saved(),
            Self::Bbr(_) => Saved::default(),
        }
    }

    /// A loss was found.
    pub(super) fn on_congestion(&mut self) -> Saved {
        match self {
            Self::Cubic(cubic) => cubic.on_congestion(),
            Self::Bbr(bbr) => {
                bbr.on_congestion();
                Saved::default()
            }
        }
    }

    /// A retransmission timeout came.
    pub(super) fn on_timeout(&mut self) {
        match self {
            Self::Cubic(cubic) => cubic.on_timeout(),
            Self::Bbr(bbr) => bbr.on_timeout(),
        }
    }

    /// The last loss was none.
    pub(super) fn undo(&mut self, saved: Saved) {
        match self {
            Self::Cubic(cubic) => cubic.undo(saved),
            Self::Bbr(bbr) => bbr.on_undo(),
        }
    }

    /// All that was lost is repaired.
    pub(super) fn on_recovered(&mut self) {
        if let Self::Cubic(cubic) = self {
            cubic.window = cubic.slow_start_threshold;
        }
    }
}
