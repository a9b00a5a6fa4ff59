//! Sealing and opening: keys, nonces, replay.

pub mod replay;
pub mod v1;
pub mod v2;
