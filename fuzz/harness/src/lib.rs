//! The bodies of the fuzz targets: each takes any bytes and panics when an invariant breaks.
//!
//! They live in a library so that the fuzzer (`cargo xtask fuzz TARGET`) and the ordinary tests
//! (`cargo test -p mlvpn-fuzz-harness`) run the same code. The tests replay the committed corpora
//! and a hundred thousand mutated inputs per target.
//!
//! | target | what the bytes are |
//! |---|---|
//! | [`wire`] | a version 1 datagram |
//! | [`frames`] | the body of a version 2 packet |
//! | [`handshake`] | a version 2 handshake message of somebody without credentials |
//! | [`payload`] | what such a message of a peer holds once it is opened |
//! | [`hostile`] | a program for one session whose peer knows the key and means ill |
//! | [`hostile_v2`] | the same for version 2: any frames, handshakes, addresses and times |
//! | [`honest`] | a program for two sessions and the attacker between them |
//! | [`config`] | a configuration file |
//! | [`control`] | how a client came to the control server, and what it sends |
//! | [`filter`] | a filter expression, a line feed, a packet |
//! | [`inner`] | a packet out of the tunnel interface: viewed, sorted, marked, clamped, cut, answered |
//! | [`token`] | the line that `mlvpn setup` prints, or the text of a key |
//! | [`tun_split`] | a read of a tun device: virtio header and packet |
//! | [`coalesce`] | a program that makes packets to be written to a tun device |
#![forbid(unsafe_code)]

pub mod coalesce;
pub mod config;
pub mod control;
mod events;
pub mod filter;
pub mod frames;
pub mod handshake;
pub mod honest;
pub mod hostile;
pub mod hostile_v2;
pub mod inner;
pub mod input;
pub mod payload;
pub mod token;
pub mod tun_split;
pub mod wire;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of the binary in `fuzz/fuzz_targets` and of the folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Runs it on any bytes. Panics when an invariant is broken.
    pub run: fn(&[u8]),
    /// Pieces of text or bytes that mean something to it, for mutations.
    pub words: &'static [&'static [u8]],
    /// How much longer one input takes than those of most targets.
    pub cost: u64,
}

/// All targets.
pub const TARGETS: [Target; 14] = [
    Target { name: "wire", run: wire::run, words: wire::WORDS, cost: 1 },
    Target { name: "frames", run: frames::run, words: frames::WORDS, cost: 1 },
    Target { name: "handshake", run: handshake::run, words: handshake::WORDS, cost: 1 },
    Target { name: "payload", run: payload::run, words: payload::WORDS, cost: 1 },
    Target { name: "hostile", run: hostile::run, words: &[], cost: 1 },
    Target { name: "hostile_v2", run: hostile_v2::run, words: &[], cost: 10 },
    Target { name: "honest", run: honest::run, words: &[], cost: 1 },
    Target { name: "config", run: config::run, words: config::WORDS, cost: 1 },
    Target { name: "control", run: control::run, words: control::WORDS, cost: 1 },
    Target { name: "filter", run: filter::run, words: filter::WORDS, cost: 1 },
    Target { name: "inner", run: inner::run, words: inner::WORDS, cost: 1 },
    Target { name: "token", run: token::run, words: token::WORDS, cost: 1 },
    Target { name: "tun_split", run: tun_split::run, words: tun_split::WORDS, cost: 1 },
    Target { name: "coalesce", run: coalesce::run, words: &[], cost: 1 },
];
