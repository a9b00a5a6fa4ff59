//! Numbers of which only the low bits are sent.

/// What restored numbers stay below: packet numbers are 62 bits wide `[S2]`.
pub const LIMIT: u64 = 1 << 62;

/// The number nearest to `expected` whose low `bits` bits are those of `low` (RFC 9000 section
/// A.3). Of two that are equally near it is the larger one; none is taken below 0, nor one from
/// [`LIMIT`] on while there is one below. `bits` is 1 to 61, `expected` at most [`LIMIT`].
#[must_use]
pub fn nearest(low: u64, bits: u32, expected: u64) -> u64 {
    let window = 1u64 << bits;
    let half = window / 2;
    let candidate = (expected & !(window - 1)) | (low & (window - 1));
    if candidate + half <= expected && candidate < LIMIT - window {
        candidate + window
    } else if candidate > expected + half && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}
