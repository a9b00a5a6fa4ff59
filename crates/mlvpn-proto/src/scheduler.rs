//! Which link carries a packet.

pub mod earliest;
pub mod weighted;
