//! Control messages beside a datagram (cmsg(3)), as Linux lays them out.

use std::mem::size_of;

/// Length of the header, and what everything is aligned to (`CMSG_ALIGN` of the kernel).
const HEADER_LEN: usize = size_of::<libc::cmsghdr>();
const ALIGN: usize = size_of::<usize>();

/// Room for the control messages of one datagram.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Control<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Control<N> {
    pub(super) const EMPTY: Self = Self([0; N]);
}

/// Appends a message at `len` and returns the length then. The buffer must have the room: all
/// messages are known when it is sized.
pub(super) fn push(buffer: &mut [u8], len: usize, level: i32, kind: i32, value: &[u8]) -> usize {
    let total = HEADER_LEN + value.len();
    let slot = &mut buffer[len..len + total.next_multiple_of(ALIGN)];
    slot.fill(0);
    slot[..ALIGN].copy_from_slice(&total.to_ne_bytes());
    slot[HEADER_LEN - 8..HEADER_LEN - 4].copy_from_slice(&level.to_ne_bytes());
    slot[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&kind.to_ne_bytes());
    slot[HEADER_LEN..total].copy_from_slice(value);
    len + slot.len()
}

/// The messages in a buffer as level, type and value.
pub(super) fn iter(mut buffer: &[u8]) -> impl Iterator<Item = (i32, i32, &[u8])> {
    std::iter::from_fn(move || {
        let header = buffer.get(..HEADER_LEN)?;
        let total = usize::from_ne_bytes(header[..ALIGN].try_into().ok()?);
        let value = buffer.get(HEADER_LEN..total)?;
        let level = int(&header[HEADER_LEN - 8..])?;
        let kind = int(&header[HEADER_LEN - 4..])?;
        buffer = buffer.get(total.next_multiple_of(ALIGN)..).unwrap_or(&[]);
        Some((level, kind, value))
    })
}

/// The `int` that a value starts with.
pub(super) fn int(value: &[u8]) -> Option<i32> {
    value.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

/// Nanoseconds since 1970 of a `SCM_TIMESTAMPNS`, whose seconds have 32 or 64 bits.
pub(super) fn timespec_ns(value: &[u8]) -> Option<u64> {
    let (seconds, nanoseconds) = match value.len() {
        8 => (i64::from(int(value)?), i64::from(int(&value[4..])?)),
        16 => (
            i64::from_ne_bytes(*value.first_chunk()?),
            i64::from_ne_bytes(*value[8..].first_chunk()?),
        ),
        _ => return None,
    };
    u64::try_from(seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_pushed_is_read() {
        let mut buffer = Control::<128>::EMPTY;
        let len = push(&mut buffer.0, 0, 1, 2, &[3]);
        let len = push(&mut buffer.0, len, -4, 5, &[6; 9]);
        let seen: Vec<_> = iter(&buffer.0[..len]).collect();
        assert_eq!(seen, [(1, 2, &[3][..]), (-4, 5, &[6; 9][..])]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for (_, _, value) in iter(&bytes) {
                prop_assert!(value.len() <= bytes.len());
                let _ = (int(value), timespec_ns(value));
            }
        }
    }
}
