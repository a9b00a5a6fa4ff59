//! What is known about one local/remote address pair, each part by itself.
//!
//! | module | what it knows | version |
//! |---|---|---|
//! | [`flight`], [`receipt`] | feedback: what is on its way, what has come | 2 |
//! | [`validation`] | whether the peer receives at an address | 2 |
//! | [`mtu`] | how large a datagram may be | 2 |
//! | [`rate`], [`pacer`] | how fast to send | 2 |
//! | [`dispersion`] | what a path carries at the most, while nothing has loaded it | 2 |
//! | [`rtt`] | round-trip time | 1, 2 |
//! | [`loss`] | share of packets that did not come | 1 |

pub(crate) mod clock;
pub mod dispersion;
pub mod flight;
pub(crate) mod flows;
pub mod loss;
pub mod mtu;
pub mod pacer;
pub mod rate;
pub mod receipt;
pub mod rtt;
pub mod validation;
