//! Keeps passwords out of what is printed.

use crate::config::Span;

/// Whether the value of a key must not be printed, be the key misspelt.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.contains("pass")
        || key.contains("secret")
        || strsim::damerau_levenshtein(&key, "password") <= 3
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
