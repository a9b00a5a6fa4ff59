//! Which link carries a packet.

pub mod weighted;
