//! Which ciphers there are, and which one suits this machine.

use aws_lc_rs::aead::{AES_256_GCM, Algorithm, CHACHA20_POLY1305};

/// How packets are sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cipher {
    /// AES-256 in Galois/Counter Mode (NIST SP 800-38D).
    Aes256Gcm,
    /// RFC 8439.
    ChaCha20Poly1305,
}

impl Cipher {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Aes256Gcm, Self::ChaCha20Poly1305];

    /// The one that is fast on this machine `[H10]`: AES-256-GCM where the processor has
    /// instructions for AES and for carry-less multiplication.
    #[must_use]
    pub fn preferred() -> Self {
        if Self::Aes256Gcm.is_at_full_speed() { Self::Aes256Gcm } else { Self::ChaCha20Poly1305 }
    }

    /// Whether this machine runs it as fast as it can be had: AES-256-GCM needs hardware for it,
    /// ChaCha20-Poly1305 needs none `[H10]`.
    #[must_use]
    pub fn is_at_full_speed(self) -> bool {
        match self {
            Self::Aes256Gcm => has_aes_instructions(),
            Self::ChaCha20Poly1305 => true,
        }
    }

    /// Its number in the handshake (section 5.3).
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }

    /// The one with that number in the handshake.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Aes256Gcm),
            2 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    pub(super) fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes256Gcm => &AES_256_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes_instructions() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

/// The feature `aes` of Rust is both `FEAT_AES` and `FEAT_PMULL`.
#[cfg(target_arch = "aarch64")]
fn has_aes_instructions() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes_instructions() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_cipher_runs_at_full_speed() {
        assert!(Cipher::preferred().is_at_full_speed());
        let aes = Cipher::preferred() == Cipher::Aes256Gcm;
        assert_eq!(aes, Cipher::Aes256Gcm.is_at_full_speed());
    }

    #[test]
    fn numbers_in_the_handshake_are_unique() {
        for code in 0..=255 {
            assert!(Cipher::from_code(code).is_none_or(|cipher| cipher.code() == code));
        }
        assert!(Cipher::ALL.iter().all(|c| Cipher::from_code(c.code()) == Some(*c)));
    }
}
