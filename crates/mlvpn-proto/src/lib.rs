//! The mlvpn protocol as a sans-IO state machine: no sockets, no clock, no global randomness.
//!
//! [`Endpoint`] is the one public machine. Its owner drives it with bytes and the time, and drains
//! what comes out; its module documentation shows how. Everything else is a part of it:
//!
//! | module | what it knows |
//! |---|---|
//! | [`endpoint`], [`session`] | which peers there are and in which version each is spoken to; what is agreed with one |
//! | [`wire`], [`crypto`] | what bytes mean; how they are sealed, and replays are noticed |
//! | [`handshake`] | how a link comes up, stays up and goes down; how two ends agree on keys |
//! | [`epochs`] | the keys of a session, from one handshake to the next |
//! | [`path`] | what is measured about one link |
//! | [`recovery`] | what is sent once more |
//! | [`scheduler`], [`filter`] | which link carries a packet |
//! | [`flow`], [`queue`] | which packets belong together; where they wait for a link, and when they are told to slow down |
//! | [`delay`], [`resequencer`] | how version 1 restores the order at the other end |
//! | [`transit`], [`lanes`] | how version 2 does, lane by lane |
//! | [`ip`], [`icmp`] | the packets in the tunnel |
//! | [`event`], [`stats`], [`mod@drop`] | what the owner gets to know |
#![forbid(unsafe_code)]

pub(crate) mod buffer;
pub mod config;
pub mod crypto;
pub mod delay;
pub mod drop;
pub mod endpoint;
pub mod epochs;
pub mod event;
pub mod filter;
pub mod flow;
pub mod handshake;
pub mod icmp;
pub mod id;
pub mod ip;
pub mod lanes;
mod oversize;
pub mod path;
pub mod policy;
mod power;
pub mod queue;
pub mod recovery;
pub mod resequencer;
pub mod scheduler;
pub mod session;
pub mod stats;
pub mod time;
pub mod transit;
pub mod transmit;
pub mod wire;

pub use config::{
    EndpointConfig, FilterRule, IpPrefix, LinkConfig, PeerRoutes, Role, Treatment, Versions,
};
pub use endpoint::Endpoint;
pub use event::{DownReason, Event, Quality};
pub use id::LinkIndex;
pub use ip::PacketKind;
pub use policy::{LinkTerms, Policy};
pub use resequencer::ReorderPolicy;
pub use session::{LinkChange, Timer};
pub use stats::{LinkStats, SessionStats};
pub use time::{Duration, Instant};
pub use transmit::{Transmit, TransmitBuf};
