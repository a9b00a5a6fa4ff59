//! A read of a tun device: every byte of a super-packet's payload comes out once and in order.

use mlvpn_io::tun::split::split;
use mlvpn_io::tun::virtio::{HEADER_LEN, VirtioHeader};

/// Virtio headers and beginnings of super-packets.
pub const WORDS: &[&[u8]] = &[
    &[1, 1, 0, 0, 100, 0, 20, 0, 16, 0],
    &[1, 4, 0, 0, 100, 0, 40, 0, 16, 0],
    &[1, 5, 0, 0, 100, 0, 20, 0, 6, 0],
    &[0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6],
    &[0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 17],
    &[0x60, 0, 0, 0, 0, 0, 6, 64],
];

/// Longest read that a tun device gives.
const MAX_READ: usize = 65_536 + 22;

/// Runs the target.
///
/// # Panics
/// When packets get lost, grow, or come out of a read that was refused.
pub fn run(bytes: &[u8]) {
    let Some((head, packet)) = bytes.split_first_chunk::<HEADER_LEN>() else { return };
    let Some(header) = VirtioHeader::parse(*head) else { return };
    let mut scratch = packet[..packet.len().min(MAX_READ)].to_vec();
    let len = scratch.len();
    let mut sizes = Vec::new();
    let outcome = split(header, &mut scratch, &mut |one| sizes.push(one.len()));
    match outcome {
        Ok(count) => assert_eq!(count, sizes.len()),
        Err(_) => assert!(sizes.is_empty(), "packets out of a malformed read"),
    }
    let Ok(count) = outcome else { return };
    let Some((_, segment)) = header.gso else {
        assert_eq!(sizes, [len]);
        return;
    };
    // All but the last have a full segment behind the same headers.
    let (last, full) = sizes.split_last().expect("a super-packet is at least one packet");
    assert!(full.iter().all(|size| size == &full[0]) && full.iter().all(|size| size >= last));
    if let Some(&size) = full.first() {
        let headers = size - usize::from(segment);
        let payload: usize = sizes.iter().map(|size| size - headers).sum();
        assert_eq!(payload + headers, len);
        assert_eq!(count, (len - headers).div_ceil(usize::from(segment)));
    }
}
