//! Wire formats: what a datagram's bytes mean, without keys and without state.

pub mod v1;
pub mod v2;
