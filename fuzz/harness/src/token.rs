//! The line that `mlvpn setup` prints and reads, and the text of keys.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use mlvpn::setup::token::Token;
use mlvpn_proto::crypto::keypair::{PresharedKey, PrivateKey, PublicKey};

/// Pieces of tokens and of keys.
pub const WORDS: &[&[u8]] = &[
    b"mlvpn1",
    b"mlvpn2",
    b"mlvpn",
    b" \r\n",
    b"=",
    b"\x01\x0fvpn.example.org",
    b"\x01\x0a10.0.0.0/8",
    b"3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
];

/// Runs the target: the bytes as text, and as what is in a token whose checksum is right.
///
/// # Panics
/// When a token that was read is not read again as it is written.
pub fn run(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        read(text);
        keys(text);
    }
    read(&with_right_checksum(bytes));
}

fn read(text: &str) {
    match text.parse::<Token>() {
        Ok(token) => {
            let written = token.to_text();
            assert_eq!(written.parse::<Token>().as_ref(), Ok(&token));
            let _ = (token.networks(), format!("{token:?}"));
        }
        Err(error) => assert!(!error.to_string().is_empty(), "a reason"),
    }
}

fn keys(text: &str) {
    if let Ok(key) = PrivateKey::from_base64(text) {
        assert_eq!(key.to_base64().as_str(), text);
    }
    if let Ok(key) = PresharedKey::from_base64(text) {
        assert_eq!(key.to_base64().as_str(), text);
    }
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string(), text);
    }
}

fn with_right_checksum(content: &[u8]) -> String {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(b"1");
    hasher.update(content);
    let body = [content, &hasher.finalize().to_be_bytes()].concat();
    format!("mlvpn1{}", Base64UrlUnpadded::encode_string(&body))
}
