//! A model of TCP as Linux speaks it, in real packets.
//!
//! Modelled: CUBIC (RFC 9438) with slow start ended by delay (RFC 9406), initial window 10, SACK
//! and reports of duplicates (RFC 2018, 2883), loss detection by RACK with Linux's rule of three
//! segments until reordering is seen and its reordering window that grows with reported duplicates
//! (RFC 8985), tail loss probes, proportional rate reduction (RFC 6937), retransmission timeout of
//! at least 200 ms with backoff (RFC 6298), undoing of unnecessary reductions by timestamps and
//! duplicate reports (RFC 3522, 3708), delayed acknowledgements, a fixed receive buffer.
//!
//! Not modelled: handshake and teardown (connections are born established), ECN, receive buffer
//! tuning, segmentation and receive offloads, pacing, path MTU discovery, the ack-train half of
//! HyStart. Reordering hurts as it does in Linux: each misjudged segment costs a retransmission,
//! a reduction of the window, and an RTT until it is undone.

mod cubic;
mod rack;
mod receiver;
mod recovery;
mod rtt;
mod scoreboard;
mod sender;
mod wire;

pub use receiver::TcpReceiver;
pub use sender::{TcpSender, TcpStats};
pub use wire::DATA_OVERHEAD;
