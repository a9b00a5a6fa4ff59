//! A model of TCP as Linux speaks it, in real packets.
//!
//! Modelled: CUBIC (RFC 9438) with HyStart by delay and by trains of acknowledgements, or BBR
//! version 1 with pacing and samples of the delivery rate; initial window 10, SACK and reports of
//! duplicates (RFC 2018, 2883), loss detection by RACK with Linux's rule of three segments until
//! reordering is seen and its reordering window that grows with reported duplicates (RFC 8985), tail
//! loss probes, proportional rate reduction (RFC 6937), retransmission timeout of at least 200 ms with
//! backoff (RFC 6298), undoing of unnecessary reductions by timestamps and duplicate reports (RFC
//! 3522, 3708), delayed acknowledgements, a fixed receive buffer.
//!
//! Not modelled: handshake and teardown (connections are born established), ECN, receive buffer
//! tuning, segmentation and receive offloads, path MTU discovery. CUBIC is not paced, as on hosts
//! whose queueing discipline is not `fq`. Reordering hurts as it does in Linux: each misjudged segment
//! costs a retransmission, a reduction of the window, and an RTT until it is undone.

mod bbr;
mod congestion;
mod cubic;
mod delivery_rate;
mod pacing;
mod rack;
mod receiver;
mod recovery;
mod rtt;
mod scoreboard;
mod sender;
mod wire;

pub use congestion::CongestionControl;
pub use receiver::TcpReceiver;
pub use sender::{TcpSender, TcpStats};
pub use wire::DATA_OVERHEAD;
