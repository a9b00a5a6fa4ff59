//! From a password to a pre-shared key (version 2).

use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `[H2]` Salt of the derivation. It is fixed because the ends have nothing in common but the
/// password.
const SALT: &[u8] = b"mlvpn v2 password";
/// `[H2]` Memory that one derivation takes, in KiB.
const MEMORY_KIB: u32 = 19_456;
/// `[H2]` Passes over that memory.
const PASSES: u32 = 2;
/// `[H2]` Lanes of that memory.
const LANES: u32 = 1;

/// What both ends of a session with a password know: the pre-shared key of the handshake.
///
/// Erased when dropped; its `Debug` output does not show it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PasswordKey([u8; 32]);

impl PasswordKey {
    /// The key of `password`: Argon2id (RFC 9106) with the parameters of `[H2]`.
    ///
    /// Slow by intent: tens of milliseconds and 19 MiB. To be called once per password, not in
    /// the loop that carries packets.
    ///
    /// # Panics
    /// When the password is longer than 4 GiB, or there is no memory.
    #[must_use]
    pub fn derive(password: &[u8]) -> Self {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32))
            .expect("the parameters are within Argon2's limits");
        let mut key = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password, SALT, &mut key)
            .expect("salt and output are within Argon2's limits, and the password is below 4 GiB");
        Self::take(&mut key)
    }

    /// A key that was derived before, perhaps in another process. Erases `bytes`.
    #[must_use]
    pub fn take(bytes: &mut [u8; 32]) -> Self {
        let key = Self(*bytes);
        bytes.zeroize();
        key
    }

    /// Whether both come from the same password. Takes the same time whatever they are.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// The key itself: to be handed to another process, never to be shown.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl core::fmt::Debug for PasswordKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PasswordKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_passwords_give_equal_keys_and_others_do_not() {
        let key = PasswordKey::derive(b"correct horse");
        assert_eq!(key.as_bytes(), PasswordKey::derive(b"correct horse").as_bytes());
        assert_ne!(key.as_bytes(), PasswordKey::derive(b"correct horsf").as_bytes());
        assert_ne!(key.as_bytes(), PasswordKey::derive(b"").as_bytes());
    }

    #[test]
    fn taking_a_key_erases_where_it_was() {
        let mut bytes = [7; 32];
        assert_eq!(PasswordKey::take(&mut bytes).as_bytes(), &[7; 32]);
        assert_eq!(bytes, [0; 32]);
    }

    #[test]
    fn the_key_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", PasswordKey::take(&mut [7; 32])), "PasswordKey(secret)");
    }
}
