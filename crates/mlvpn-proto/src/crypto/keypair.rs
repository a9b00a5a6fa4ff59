//! X25519 key pairs (RFC 7748), and their text form, which is that of WireGuard.

use core::fmt;
use core::str::FromStr;

use base64ct::{Base64, Encoding as _};
use curve25519_dalek::montgomery::MontgomeryPoint;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

/// Bytes of every key here.
const KEY_LEN: usize = 32;
/// Characters of a key in base64, with its padding.
const TEXT_LEN: usize = 44;

/// Who an end is: the secret half of a key pair.
///
/// Erased when dropped; its `Debug` output shows only the public half.
#[derive(Clone)]
pub struct PrivateKey {
    secret: Zeroizing<[u8; KEY_LEN]>,
    public: PublicKey,
}

/// The half of a key pair that others may know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; KEY_LEN]);

/// A secret that two ends share beside their key pairs.
///
/// Erased when dropped; its `Debug` output does not show it. Comparison takes constant time.
#[derive(Clone)]
pub struct PresharedKey(Zeroizing<[u8; KEY_LEN]>);

/// A text is not a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a key is 32 bytes in base64: 43 characters and a \"=\"")]
pub struct KeyError;

impl PrivateKey {
    /// The key with the bytes `secret`, any 32 that nobody can guess. They need not be clamped:
    /// X25519 does that itself. Erases `secret`.
    #[must_use]
    pub fn take(secret: &mut [u8; KEY_LEN]) -> Self {
        let public = PublicKey(MontgomeryPoint::mul_base_clamped(*secret).to_bytes());
        let key = Self { secret: Zeroizing::new(*secret), public };
        secret.zeroize();
        key
    }

    /// Reads what [`Self::to_base64`] or `wg genkey` wrote.
    ///
    /// # Errors
    /// [`KeyError`] when `text` is anything but a key: blanks, line ends, missing padding and
    /// bits that base64 leaves unused count.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        decode(text).map(|mut bytes| Self::take(&mut bytes))
    }

    /// The key as text, for a file that only its owner may read.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(Base64::encode_string(self.secret.as_slice()))
    }

    /// The other half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    /// X25519 with a peer's key; none when the result is all zero, which `[H4]` forbids: the
    /// peer's key is then one of the few for which every private key gives the same.
    pub(crate) fn agree(&self, peer: &PublicKey) -> Option<Zeroizing<[u8; KEY_LEN]>> {
        let shared = Zeroizing::new(MontgomeryPoint(peer.0).mul_clamped(*self.secret).to_bytes());
        (!bool::from(shared.ct_eq(&[0; KEY_LEN]))).then_some(shared)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(secret of {})", self.public)
    }
}

impl PublicKey {
    /// The key with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// Reads what `Display` or `wg pubkey` wrote, as strictly as [`PrivateKey::from_base64`].
    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(|bytes| Self(*bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64::encode_string(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl PresharedKey {
    /// The key with these bytes. Erases `bytes`.
    #[must_use]
    pub fn take(bytes: &mut [u8; KEY_LEN]) -> Self {
        let key = Self(Zeroizing::new(*bytes));
        bytes.zeroize();
        key
    }

    /// Reads what [`Self::to_base64`] or `wg genpsk` wrote.
    ///
    /// # Errors
    /// As [`PrivateKey::from_base64`].
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        decode(text).map(Self)
    }

    /// The key as text, for a file that only its owner may read.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(Base64::encode_string(self.0.as_slice()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl PartialEq for PresharedKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for PresharedKey {}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(secret)")
    }
}

fn decode(text: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, KeyError> {
    // The decoder wants room for whole groups of three bytes.
    let mut room = Zeroizing::new([0; KEY_LEN + 1]);
    if text.len() != TEXT_LEN {
        return Err(KeyError);
    }
    let bytes = Base64::decode(text, room.as_mut_slice()).map_err(|_| KeyError)?;
    let bytes = <&[u8; KEY_LEN]>::try_from(bytes).map_err(|_| KeyError)?;
    Ok(Zeroizing::new(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> [u8; 32] {
        core::array::from_fn(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap())
    }

    /// RFC 7748 section 6.1.
    const ALICE: &str = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
    const ALICE_PUBLIC: &str = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    const BOB: &str = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
    const BOB_PUBLIC: &str = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
    const SHARED: &str = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";

    #[test]
    fn agreement_is_that_of_rfc_7748() {
        let (alice, bob) = (PrivateKey::take(&mut hex(ALICE)), PrivateKey::take(&mut hex(BOB)));
        assert_eq!(alice.public_key().as_bytes(), &hex(ALICE_PUBLIC));
        assert_eq!(bob.public_key().as_bytes(), &hex(BOB_PUBLIC));
        assert_eq!(*alice.agree(&bob.public_key()).unwrap(), hex(SHARED));
        assert_eq!(*bob.agree(&alice.public_key()).unwrap(), hex(SHARED));
    }

    /// The u-coordinates of the points of small order, reduced or not (RFC 7748 section 7).
    #[test]
    fn keys_of_small_order_are_refused() {
        let key = PrivateKey::take(&mut hex(ALICE));
        let max = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
        let small = [
            "00".repeat(32),
            format!("01{}", "00".repeat(31)),
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800".into(),
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157".into(),
            format!("ec{max}7f"),
            format!("ed{max}7f"),
            format!("ee{max}7f"),
        ];
        for text in small {
            assert!(key.agree(&PublicKey(hex(&text))).is_none(), "{text}");
        }
    }

    #[test]
    fn text_is_that_of_wireguard_and_comes_back() {
        let key = PrivateKey::take(&mut hex(ALICE));
        assert_eq!(*key.to_base64(), "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=");
        let again = PrivateKey::from_base64(&key.to_base64()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(again.to_base64(), key.to_base64());

        let public = key.public_key().to_string();
        assert_eq!(public, "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=");
        assert_eq!(public.parse(), Ok(key.public_key()));
        let shared = PresharedKey::take(&mut hex(BOB));
        assert_eq!(PresharedKey::from_base64(&shared.to_base64()), Ok(shared));
    }

    #[test]
    fn the_decoder_takes_nothing_but_keys() {
        let good = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
        let bad = [
            String::new(),
            good.replace('=', ""),
            good.replace('/', "_"),
            good.replace("o=", "p="),
            format!("{good}\n"),
            format!(" {good}"),
            good.replace("o=", "=="),
            format!("{good}{good}"),
            good.replace("hS", "h\u{e9}"),
        ];
        for text in bad {
            assert_eq!(text.parse::<PublicKey>(), Err(KeyError), "{text:?}");
        }
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let key = PrivateKey::take(&mut hex(ALICE));
        assert_eq!(format!("{key:?}"), format!("PrivateKey(secret of {})", key.public_key()));
        let shared = PresharedKey::take(&mut hex(BOB));
        assert_eq!(format!("{shared:?}"), "PresharedKey(secret)");
    }
}
