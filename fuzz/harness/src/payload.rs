//! What a version 2 handshake message says once it is opened, by a peer that has the credentials: what is
//! understood says the same once it is written again.

use mlvpn_proto::handshake::v2::{HandshakeError, rewrite_proposal, rewrite_reply};

/// Entries.
pub const WORDS: &[&[u8]] = &[
    b"\x01\x08eight by",
    &[0x02, 2, 1, 2],
    &[0x03, 1, 2],
    &[0x04, 1, 3],
    &[0x05, 8, 0, 0, 0, 0, 0, 0, 0, 1],
    &[0x06, 1, 1],
    b"\x07\x0Ctwelve bytes",
    &[0x77, 0],
    &[0; 8],
];

/// Runs the target.
///
/// # Panics
/// When a payload changes by being written again.
pub fn run(bytes: &[u8]) {
    check(bytes, rewrite_proposal);
    check(bytes, rewrite_reply);
}

fn check(bytes: &[u8], rewrite: fn(&[u8]) -> Result<Vec<u8>, HandshakeError>) {
    if let Ok(written) = rewrite(bytes) {
        assert!(written.len() <= bytes.len(), "nothing is made up");
        assert_eq!(rewrite(&written).as_ref(), Ok(&written));
    }
}
