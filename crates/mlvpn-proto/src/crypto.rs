//! Sealing and opening: keys, nonces, replay.

pub mod keypair;
pub mod password;
pub(crate) mod random;
pub mod replay;
pub mod v1;
pub mod v2;
