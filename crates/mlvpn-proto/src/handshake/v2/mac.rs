//! mac1, mac2 and cookies: keyed BLAKE2s (RFC 7693), as WireGuard uses it.

use blake2::digest::consts::{U16, U32};
use blake2::digest::{KeyInit as _, Mac as _};
use blake2::{Blake2s, Blake2sMac, Digest as _};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

/// Bytes of mac1, mac2 and a cookie.
pub(super) const MAC_LEN: usize = 16;

/// Such a code.
pub(crate) type Mac = [u8; MAC_LEN];

/// What belongs to the recipient of a message: the key of its mac1 `[H17]`, and of the cookies that
/// it gives.
#[derive(zeroize::Zeroize, ZeroizeOnDrop)]
pub(super) struct RecipientKeys {
    pub(super) mac1: [u8; 32],
    pub(super) cookie: [u8; 32],
}

impl RecipientKeys {
    /// `recipient` is its static public key, or with a password the pre-shared key.
    pub(super) fn new(recipient: &[u8; 32]) -> Self {
        Self {
            mac1: hash(b"mlvpn v2 mac1", recipient),
            cookie: hash(b"mlvpn v2 cookie", recipient),
        }
    }
}

/// Keyed BLAKE2s with 16 bytes of output. `key` has at most 32 bytes.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> Mac {
    let mut state = Blake2sMac::<U16>::new_from_slice(key).expect("no key here is above 32 bytes");
    parts.iter().for_each(|part| state.update(part));
    state.finalize().into_bytes().into()
}

/// Comparison in constant time.
pub(super) fn is_same(a: &Mac, b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

fn hash(label: &[u8], recipient: &[u8; 32]) -> [u8; 32] {
    let mut digest = Blake2s::<U32>::new().chain_update(label).chain_update(recipient).finalize();
    let bytes = digest.into();
    digest.as_mut_slice().zeroize();
    bytes
}
