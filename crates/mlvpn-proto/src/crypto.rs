//! Sealing and opening: keys, nonces, replay.

pub mod replay;
pub mod v1;
