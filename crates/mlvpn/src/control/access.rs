//! Who may ask over TCP, where there is a token.

use base64ct::{Base64, Encoding as _};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};
use zeroize::Zeroizing;

use crate::config::ControlToken;

/// Has browsers ask for the token.
pub(super) const CHALLENGE: HeaderValue = HeaderValue::from_static(
    "Basic realm=\"mlvpn: any name, the token as password\", charset=\"UTF-8\"",
);

/// Whether a request brings the token: as a bearer (RFC 6750 section 2.1), or as the password of any user
/// (RFC 7617 section 2).
pub(super) fn is_granted(headers: &HeaderMap, token: &ControlToken) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let Some((scheme, proof)) = value.split_once(' ') else { return false };
    let proof = proof.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return token.is(proof.as_bytes());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return false;
    }
    let Ok(pair) = Base64::decode_vec(proof).map(Zeroizing::new) else { return false };
    let colon = pair.iter().position(|&byte| byte == b':');
    colon.is_some_and(|at| token.is(&pair[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=";

    fn granted(values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        is_granted(&headers, &ControlToken::parse(TOKEN).unwrap())
    }

    #[test]
    fn the_token_is_taken_as_bearer_and_as_password_of_anybody() {
        assert!(granted(&[&format!("Bearer {TOKEN}")]));
        assert!(granted(&[&format!("bearer  {TOKEN} ")]));
        for user in ["", "admin", "a b"] {
            let pair = Base64::encode_string(format!("{user}:{TOKEN}").as_bytes());
            assert!(granted(&[&format!("Basic {pair}")]), "{user}");
        }
    }

    #[test]
    fn nothing_else_is_taken() {
        let pair = |text: &str| format!("Basic {}", Base64::encode_string(text.as_bytes()));
        let right = format!("Bearer {TOKEN}");
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            TOKEN,
            &format!("Digest {TOKEN}"),
            &format!("Bearer {}", &TOKEN[1..]),
            &format!("Basic {TOKEN}"),
            "Basic ???",
            &pair(TOKEN),
            &pair(&format!("{TOKEN}:")),
            &pair(&format!("user:{TOKEN}x")),
        ] {
            assert!(!granted(&[wrong]), "{wrong}");
        }
        assert!(!granted(&[]));
        assert!(!granted(&[&right, &right]), "one of two would do for a proxy, and another for us");
    }
}
