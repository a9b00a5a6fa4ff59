//! What somebody must know who asks for the status over HTTP.

use std::fmt;

use mlvpn_proto::crypto::keypair::{KeyError, PresharedKey};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// 256 bits in base64, as `mlvpn genpsk` prints them. Wiped when dropped, and not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ControlToken(Zeroizing<String>);

impl ControlToken {
    /// Reads one.
    ///
    /// # Errors
    /// When the text is something else.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        PresharedKey::from_base64(text)?;
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// Whether `candidate` is the token; how long that takes does not tell how much of it is right.
    #[must_use]
    pub fn is(&self, candidate: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(candidate).into()
    }
}

impl fmt::Debug for ControlToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControlToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=";

    #[test]
    fn only_the_whole_token_is_right() {
        let token = ControlToken::parse(TOKEN).unwrap();
        assert!(token.is(TOKEN.as_bytes()));
        for wrong in ["", &TOKEN[1..], &TOKEN[..43], &TOKEN.to_lowercase(), &format!("{TOKEN}=")] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
        assert!(!format!("{token:?}").contains("XasI"));
    }

    #[test]
    fn a_word_is_no_token() {
        for text in ["", "secret", &TOKEN[1..]] {
            assert!(ControlToken::parse(text).is_err(), "{text}");
        }
    }
}
