//! A deterministic network to run the protocol in.
//!
//! | module | what it is |
//! |---|---|
//! | [`link`], [`preset`] | the links of access providers, by their properties or by name |
//! | [`packet`], [`tcp`], [`traffic`] | the hosts behind the tunnel and what they send |
//! | [`world`] | two endpoints over links, on a virtual clock |
//! | [`grid`] | what bonding makes of many links and loads, as a table |
//! | [`oracle`] | what must hold whatever happens |
//! | [`rng`] | chance, from one seed |
//!
//! Nothing here reads a clock or draws from the system: the same seed gives the same run.
#![forbid(unsafe_code)]

pub mod grid;
pub mod link;
pub mod oracle;
pub mod packet;
pub mod preset;
pub mod rng;
pub mod tcp;
pub mod traffic;
pub mod world;
