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

/// Shortest password that is not called weak, in bytes.
const MIN_LENGTH: usize = 16;
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
///
/// The key of protocol version 1 is a plain hash of the password: whoever has recorded one packet can try
/// millions of passwords per second.
pub(super) fn weakness(password: &str) -> Option<&'static str> {
    let mut seen = [false; 256];
    password.bytes().for_each(|b| seen[usize::from(b)] = true);
    let distinct = seen.iter().filter(|s| **s).count();
    if EXAMPLES.iter().any(|e| password.eq_ignore_ascii_case(e)) {
        Some("it is published in an example")
    } else if password.len() < MIN_LENGTH {
        Some("it is shorter than 16 characters")
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
        assert!(weakness("PleaseChangeMe!").is_some());
        assert!(weakness("short").is_some());
        assert!(weakness("abababababababababababab").is_some());
        assert!(weakness("apoziecxjvpoxkvpzeoirjdskpoezroizepzdlpojfoiezjr").is_none());
    }
}
