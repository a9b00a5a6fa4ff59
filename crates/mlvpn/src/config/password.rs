//! The shared secret.

use std::fmt;

use zeroize::Zeroizing;

/// The password as bytes; wiped when dropped, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes over the bytes of a password.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes from which the key is derived.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What a password is for, which is how fast it can be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// The key is a plain hash of it: whoever has recorded one packet can try millions of passwords
    /// per second.
    Version1,
    /// The key is derived with Argon2id: whoever has recorded one handshake can try some tens per
    /// second and processor core.
    Version2,
}

/// Shortest password that is not called weak, in bytes.
const MIN_LENGTH: usize = 16;
/// The same where version 1 is not spoken.
const MIN_LENGTH_VERSION_2: usize = 12;
/// Fewest different bytes in a password that is not called weak.
const MIN_DISTINCT: usize = 8;
/// Passwords of example configurations.
const EXAMPLES: [&str; 4] = [
    "pleasechangeme!",
    "changeme",
    "password",
    "apoziecxjvpoxkvpzeoirjdskpoezroizepzdlpojfoiezjrzanzaoinzoi",
];

/// Why a password is easy to guess; `None` if nothing speaks against it.
pub(super) fn weakness(password: &str, password_use: Use) -> Option<&'static str> {
    let mut seen = [false; 256];
    password.bytes().for_each(|b| seen[usize::from(b)] = true);
    let distinct = seen.iter().filter(|s| **s).count();
    let (min_length, is_short) = match password_use {
        Use::Version1 => (MIN_LENGTH, "it is shorter than 16 characters"),
        Use::Version2 => (MIN_LENGTH_VERSION_2, "it is shorter than 12 characters"),
    };
    if EXAMPLES.iter().any(|e| password.eq_ignore_ascii_case(e)) {
        Some("it is published in an example")
    } else if password.len() < min_length {
        Some(is_short)
    } else if distinct < MIN_DISTINCT {
        Some("it repeats a few characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_password() {
        let shown = format!("{:?}", Password::new(b"correct horse".to_vec()));
        assert_eq!(shown, "Password(..)");
    }

    #[test]
    fn weak_passwords_are_told_from_strong_ones() {
        for password_use in [Use::Version1, Use::Version2] {
            let is_weak = |password| weakness(password, password_use).is_some();
            assert!(is_weak("PleaseChangeMe!") && is_weak("short"));
            assert!(is_weak("abababababababababababab"));
            assert!(!is_weak("apoziecxjvpoxkvpzeoirjdskpoezroizepzdlpojfoiezjr"));
        }
        assert!(weakness("w3nMzb8eTqLf", Use::Version1).is_some());
        assert!(weakness("w3nMzb8eTqLf", Use::Version2).is_none());
    }
}
