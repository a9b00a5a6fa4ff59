//! Cuts IPv4 packets that are too long for the tunnel (RFC 791 section 3.2).

use super::{IPV4_HEADER_LEN, Packet, checksum};

/// The longest IPv4 header, in bytes: its length field counts 4-byte words up to 15.
const MAX_HEADER_LEN: usize = 60;
/// The flag "more fragments follow" in the flags and offset field.
const MORE_FRAGMENTS: u16 = 0x2000;
/// The longest fragment that an IPv4 length field can name, in bytes.
const MAX_PACKET_LEN: usize = 65_535;

/// Cuts `packet` into fragments of at most `mtu` bytes, header included, and hands each to `emit` in order.
///
/// A packet that fits is handed over whole. A packet that is itself a fragment is cut further. The options are
/// copied into all fragments or stay in the first one, as their copy bit says.
///
/// Returns `false`, without a call of `emit`, where RFC 791 forbids or does not allow it: the bytes are no valid
/// IPv4 packet, the packet is too long and says "don't fragment", it is a fragment that reaches beyond the
/// 65,535 bytes of a packet, or `mtu` is too small for the header and 8 bytes.
pub fn fragment_ipv4(packet: &[u8], mtu: usize, emit: &mut dyn FnMut(&[u8])) -> bool {
    let Ok(parsed) = Packet::parse(packet) else { return false };
    if !parsed.is_ipv4() {
        return false;
    }
    if parsed.bytes().len() <= mtu {
        emit(parsed.bytes());
        return true;
    }
    let first_len = parsed.payload_offset();
    let mut offset = parsed.fragment().map_or(0, |f| f.offset);
    let is_beyond_a_packet = usize::from(offset) + parsed.bytes().len() > MAX_PACKET_LEN;
    if parsed.dont_fragment() || is_beyond_a_packet || mtu < first_len + 8 {
        return false;
    }
    let (later_header, later_len) = header_of_later_fragments(&parsed.bytes()[..first_len]);
    let mut fragment = Vec::with_capacity(mtu.min(MAX_PACKET_LEN));
    let mut rest = parsed.payload();
    let is_last_of_original = parsed.fragment().is_none_or(|f| !f.more);
    let mut header = &parsed.bytes()[..first_len];
    while !rest.is_empty() {
        let room = mtu.min(MAX_PACKET_LEN) - header.len();
        let (piece, tail) = rest.split_at(if rest.len() > room { room & !7 } else { rest.len() });
        fragment.clear();
        fragment.extend_from_slice(header);
        fragment.extend_from_slice(piece);
        let more = !tail.is_empty() || !is_last_of_original;
        finish_header(&mut fragment, header.len(), offset, more);
        emit(&fragment);
        offset += piece.len() as u16;
        rest = tail;
        header = &later_header[..later_len];
    }
    true
}

/// Writes length, fragment offset (in bytes), flag and checksum into the header of `fragment`.
fn finish_header(fragment: &mut [u8], header_len: usize, offset: u16, more: bool) {
    let total_len = fragment.len() as u16;
    let flag = if more { MORE_FRAGMENTS } else { 0 };
    fragment[0] = 0x40 | (header_len / 4) as u8;
    fragment[2..4].copy_from_slice(&total_len.to_be_bytes());
    fragment[6..8].copy_from_slice(&(flag | (offset >> 3)).to_be_bytes());
    fragment[10..12].fill(0);
    let sum = checksum(&[&fragment[..header_len]]);
    fragment[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// The header with those options alone that have the copy bit, padded to a multiple of 4 bytes; and its length.
fn header_of_later_fragments(first: &[u8]) -> ([u8; MAX_HEADER_LEN], usize) {
    let mut header = [0; MAX_HEADER_LEN];
    header[..IPV4_HEADER_LEN].copy_from_slice(&first[..IPV4_HEADER_LEN]);
    let mut len = IPV4_HEADER_LEN;
    let mut options = &first[IPV4_HEADER_LEN..];
    while let [kind, tail @ ..] = options {
        let option_len = match kind {
            0 => break,
            1 => 1,
            _ => usize::from(tail.first().copied().unwrap_or(0)),
        };
        // A broken length makes the rest of the options unreadable, so none of it can be copied.
        if option_len == 0 || option_len > options.len() || (*kind != 1 && option_len < 2) {
            break;
        }
        let (option, rest) = options.split_at(option_len);
        if kind & 0x80 != 0 {
            header[len..len + option_len].copy_from_slice(option);
            len += option_len;
        }
        options = rest;
    }
    (header, len.next_multiple_of(4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An IPv4 packet from 10.0.0.1 to 10.0.0.2, UDP, with these options and `payload_len` counting bytes.
    fn packet(options: &[u8], payload_len: usize) -> Vec<u8> {
        let header_len = IPV4_HEADER_LEN + options.len();
        let mut bytes =
            vec![0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        bytes.extend_from_slice(options);
        bytes.extend((0..payload_len).map(|i| (i * 7) as u8));
        finish_header(&mut bytes, header_len, 0, false);
        bytes
    }

    fn fragments(bytes: &[u8], mtu: usize) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        assert!(fragment_ipv4(bytes, mtu, &mut |fragment| all.push(fragment.to_vec())));
        all
    }

    #[test]
    fn the_headers_are_those_computed_by_hand() {
        // 20 + 50 bytes into an MTU of 45: 24 bytes of payload each (45 - 20 = 25, cut to a multiple of 8).
        let all = fragments(&packet(&[], 50), 45);
        let headers: Vec<_> = all.iter().map(|f| f[..20].to_vec()).collect();
        // The sum of the fixed words is 4500+1234+4011+0a00+0001+0a00+0002 = ab48, to which the total length and
        // the flags and offset are added.
        #[rustfmt::skip]
        let expected = [
            // ab48 + 002c + 2000 = cb74, complement 348b
            [0x45, 0, 0, 44, 0x12, 0x34, 0x20, 0, 64, 17, 0x34, 0x8b, 10, 0, 0, 1, 10, 0, 0, 2],
            // ab48 + 002c + 2003 = cb77, complement 3488
            [0x45, 0, 0, 44, 0x12, 0x34, 0x20, 3, 64, 17, 0x34, 0x88, 10, 0, 0, 1, 10, 0, 0, 2],
            // ab48 + 0016 + 0006 = ab64, complement 549b
            [0x45, 0, 0, 22, 0x12, 0x34, 0x00, 6, 64, 17, 0x54, 0x9b, 10, 0, 0, 1, 10, 0, 0, 2],
        ];
        assert_eq!(headers, expected.map(|h| h.to_vec()));
    }

    #[test]
    fn options_are_copied_by_their_copy_bit() {
        // Record route (7, not copied, 7 bytes), loose source route (131, copied, 7 bytes), no-operation, end.
        let options = [7, 7, 4, 0, 0, 0, 0, 131, 7, 4, 192, 0, 2, 1, 1, 0];
        let all = fragments(&packet(&options, 32), 60);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0][20..36], options);
        assert_eq!(all[1][0], 0x47);
        assert_eq!(all[1][20..28], [131, 7, 4, 192, 0, 2, 1, 0]);
        assert_eq!(all[1].len(), 28 + 8);
    }

    #[test]
    fn a_packet_that_fits_stays_whole() {
        let bytes = packet(&[], 10);
        assert_eq!(fragments(&bytes, 30), [bytes]);
    }

    #[test]
    fn a_fragment_is_cut_further_and_keeps_its_place() {
        let mut bytes = packet(&[], 40);
        finish_header(&mut bytes, 20, 1480, true);
        let places: Vec<_> = fragments(&bytes, 44)
            .iter()
            .map(|f| Packet::parse(f).unwrap().fragment().unwrap())
            .collect();
        let expected = [(1480, true), (1504, true)];
        assert_eq!(places.iter().map(|f| (f.offset, f.more)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_may_not_be_cut_is_not_cut() {
        let mut never = |_: &[u8]| panic!("nothing may be emitted");
        let mut whole = packet(&[], 40);
        assert!(!fragment_ipv4(&whole, 27, &mut never), "no room for 8 bytes");
        whole[6] = 0x40;
        assert!(!fragment_ipv4(&whole, 44, &mut never), "don't fragment");
        assert!(!fragment_ipv4(&whole[..30], 44, &mut never), "shorter than it says");
        finish_header(&mut whole, 20, 65_496, false);
        assert!(!fragment_ipv4(&whole, 44, &mut never), "beyond the longest packet");
        let mut ipv6 = [0u8; 40];
        ipv6[0] = 0x60;
        assert!(!fragment_ipv4(&ipv6, 1500, &mut never));
    }

    proptest! {
        #[test]
        fn fragments_reassemble_to_the_original(
            options in proptest::collection::vec(any::<u8>(), 0..11)
                .prop_map(|words| words.iter().flat_map(|w| [*w, 4, *w, 4]).take(40).collect::<Vec<_>>()),
            payload_len in 0usize..4000,
            mtu in 68usize..1600,
        ) {
            let original = packet(&options, payload_len);
            let all = fragments(&original, mtu);
            let mut payload = Vec::new();
            for (index, bytes) in all.iter().enumerate() {
                let piece = Packet::parse(bytes).unwrap();
                prop_assert!(bytes.len() <= mtu);
                prop_assert_eq!(checksum(&[&bytes[..piece.payload_offset()]]), 0);
                prop_assert_eq!(piece.fragment().map_or(0, |f| usize::from(f.offset)), payload.len());
                prop_assert_eq!(piece.fragment().is_some_and(|f| f.more), index + 1 < all.len());
                payload.extend_from_slice(piece.payload());
            }
            prop_assert_eq!(&payload[..], &original[original.len() - payload_len..]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 1..300),
            words in 0u8..16,
            mtu in 0usize..300,
        ) {
            bytes[0] = 0x40 | words;
            if bytes.len() > 7 {
                let len = bytes.len() as u16;
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
                bytes[6] &= 0xbf;
            }
            fragment_ipv4(&bytes, mtu, &mut |fragment| assert!(fragment.len() <= mtu));
        }
    }
}
