//! A filter expression and a packet: it compiles to the same program again, and matching ends.

use mlvpn_proto::PacketKind;
use mlvpn_proto::filter::Filter;

/// Words of filter expressions.
pub const WORDS: &[&[u8]] = &[
    b" and ",
    b" or ",
    b"not ",
    b"(",
    b")",
    b"tcp",
    b"udp port 53",
    b"ip6",
    b"host 10.0.0.1",
    b"net 10.0.0.0/8",
    b"portrange 80-90",
    b"ip[",
    b":2]",
    b" & 0xf",
    b" = 1",
    b" > len",
    b"tcp[tcpflags]",
    b"greater 100",
    b"ether proto 0x86dd",
    b"\n",
    b"\x45\0\0\x28",
];

/// Runs the target.
///
/// # Panics
/// When an error points beyond the text, or a filter is not the one of its own text.
pub fn run(bytes: &[u8]) {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let (text, packet) = bytes.split_at(end);
    let packet = packet.get(1..).unwrap_or_default();
    let Ok(text) = std::str::from_utf8(text) else { return };
    let filter = match Filter::parse(text) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(error.column <= text.len() && !error.message.is_empty(), "{error:?}");
            assert!(text.is_char_boundary(error.column), "{error:?}");
            return;
        }
    };
    assert_eq!(Filter::parse(filter.as_str()).as_ref(), Ok(&filter));
    for kind in [PacketKind::Ip, PacketKind::Ethernet] {
        let is_match = filter.matches(packet, kind);
        assert_eq!(filter.matches(packet, kind), is_match);
        let negated = format!("not ({text})");
        if let Ok(negated) = Filter::parse(&negated) {
            // An access beyond the packet makes the whole filter fail, negated or not.
            assert!(!(is_match && negated.matches(packet, kind)), "{text} and its negation");
        }
    }
}
