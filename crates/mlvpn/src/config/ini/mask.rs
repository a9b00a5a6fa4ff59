//! Keeps passwords and keys out of what is printed.

use crate::config::Span;

/// Characters from which on a text may be a key that lost some of its 44.
const KEY_LIKE_LEN: usize = 40;

/// Whether the value of a key must not be printed, be the key misspelt.
pub(super) fn is_secret(key: &str, value: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let is_named_secret = ["private", "preshared", "psk"].iter().any(|word| key.contains(word))
        && !key.contains("file");
    key.contains("pass")
        || key.contains("secret")
        || strsim::damerau_levenshtein(&key, "password") <= 3
        || is_named_secret
        || (is_key_like(value) && !key.contains("pub"))
}

/// Whether a text looks like a key in base64, where the path of a file with one is expected, say.
pub(in crate::config) fn is_key_like(value: &str) -> bool {
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
    value.len() >= KEY_LIKE_LEN
        && value.bytes().all(is_base64)
        && (value.ends_with('=') || !value.starts_with('/'))
}

/// The text with each of `spans` replaced by as many asterisks as it has bytes.
pub(super) fn mask(text: &str, spans: &[Span]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for span in spans {
        out.push_str(&text[from..span.start]);
        out.extend(std::iter::repeat_n('*', span.end - span.start));
        from = span.end;
    }
    out.push_str(&text[from..]);
    out
}
