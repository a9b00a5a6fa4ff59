//! Tests of the filter language; the verdicts are compared with libpcap's in `tests/filter_libpcap.rs`.

use super::*;
use proptest::prelude::*;

fn error(text: &str) -> (usize, String) {
    let error = Filter::parse(text).expect_err(text);
    (error.column, error.message)
}

#[test]
fn an_empty_filter_matches_everything() {
    for text in ["", "  \t"] {
        let filter = Filter::parse(text).unwrap();
        assert!(filter.matches(&[], PacketKind::Ip));
        assert!(filter.matches(&[0; 60], PacketKind::Ethernet));
    }
}

#[test]
fn a_filter_remembers_its_text() {
    let filter: Filter = "port 80 or 443".parse().unwrap();
    assert_eq!(filter.as_str(), "port 80 or 443");
    assert_eq!(filter.to_string(), "port 80 or 443");
}

#[test]
fn errors_point_at_the_fault_and_say_what_was_expected() {
    #[rustfmt::skip]
    let table = [
        // Words.
        ("prot 80", 0, "expected a condition such as `host`, `net`, `port` or `tcp`, found `prot`; did you mean `port`?"),
        ("tcp adn port 80", 4, "expected `and`, `or` or the end, found `adn`; did you mean `and`?"),
        ("tcp[tcpflag] = 2", 4, "expected a number, `len` or a byte access such as `ip[0]`, found `tcpflag`; did you mean `tcpflags`?"),
        ("tcp prot 80", 4, "expected `and`, `or` or the end, found `prot`; did you mean `port`?"),
        ("udp port domian", 9, "unknown service `domian`; use the number of the port; did you mean `domain`?"),
        ("ip proto sctpp", 9, "unknown IP protocol `sctpp`; use its number; did you mean `sctp`?"),
        ("host", 4, "expected an address, but the filter ends here"),
        ("tcp and", 7, "expected a condition such as `host`, `net`, `port` or `tcp`, but the filter ends here"),
        ("port tcp", 5, "expected a port number or a service name, found `tcp`"),
        ("tcp or 443", 7, "expected a qualifier such as `host` or `port` in front, found `443`"),
        ("10.0.0.1", 0, "expected `host`, `net`, `src` or `dst` in front of an address, found `10.0.0.1`"),
        ("src or port 80", 7, "expected `dst`, found `port`"),
        ("ether", 0, "expected `host`, `src`, `dst`, `proto`, `broadcast`, `multicast` or `[` after it"),
        // What is left out.
        ("host example.org", 5, "host names are not looked up: use the address of `example.org`"),
        ("tcp and vlan 5", 8, "`vlan` is not supported in filters"),
        ("inbound", 0, "`inbound` is not supported in filters"),
        ("ip gateway 10.0.0.1", 3, "`gateway` is not supported in filters"),
        ("ip protochain 6", 3, "`protochain` is not supported in filters"),
        ("net loopback", 4, "`loopback` is no network; write an address with a prefix length, as in 10.0.0.0/8"),
        // Numbers and addresses.
        ("port 70000", 5, "port 70000 is beyond 65535"),
        ("port 08", 5, "`08` is octal because of its leading 0, and cannot contain `8`"),
        ("len > 4294967296", 6, "`4294967296` does not fit 32 bits"),
        ("host 300.1.1.1", 5, "`300.1.1.1` is no IPv4 address: `300` is beyond 255"),
        ("host 1::2::3", 5, "`1::2::3` is neither an IPv6 nor a hardware address"),
        ("net 10.0.0.1/8", 4, "the address has bits outside of its mask; the network is 10.0.0.0"),
        ("net 2001:db8::1/32", 4, "the address has bits outside of its mask; the network is 2001:db8::"),
        ("net 10.0.0.0/33", 13, "expected a prefix length from 0 to 32, found `33`"),
        ("net 10.0.0.0 mask 8", 18, "expected a mask such as 255.255.0.0, found `8`"),
        ("src 10.0.0.0/8", 4, "a network needs `net`: write `net ADDRESS/LENGTH`, `src net` or `dst net`"),
        ("host 2001:db8::/32", 5, "a network needs `net`: write `net ADDRESS/LENGTH`, `src net` or `dst net`"),
        ("host 02:00:00:00:00:01", 5, "a hardware address needs `ether host`, `ether src` or `ether dst`"),
        ("portrange 80-x", 10, "`80-x` is no range of ports, as in 8000-8080"),
        ("ether proto 5", 12, "an ethertype is at least 0x600 and at most 0xffff"),
        // Qualifiers that do not go together.
        ("tcp host 10.0.0.1", 9, "`tcp` does not go with an address; write `tcp and host ADDRESS`"),
        ("ip host ::1", 8, "an IPv6 address does not go with `ip`"),
        ("ip6 host 10.0.0.1", 9, "an IPv4 address does not go with `ip6`"),
        ("ip port 80", 8, "`ip` has no ports; `tcp`, `udp` and `sctp` do (write `ip and port NUMBER`)"),
        ("udp port ssh", 9, "this service runs over tcp; use the number of the port"),
        ("tcp proto 6", 10, "`tcp` carries no protocol number"),
        ("ip6 broadcast", 0, "`ip6` has no broadcast; `ip` and `ether` do"),
        ("tcp multicast", 0, "`tcp` has no multicast; `ip`, `ip6` and `ether` do"),
        // Arithmetic.
        ("ip[0]", 5, "expected an operator or a comparison such as `=` or `>`, but the filter ends here"),
        ("ip[0:3] = 1", 5, "expected a size of 1, 2 or 4 bytes, found `3`"),
        ("ip[0 = 1", 5, "expected `]`, `:` or an operator, found `=`"),
        ("esp[0] = 1", 0, "the bytes of `esp` cannot be accessed; use `ip[...]`"),
        ("ip[0] / 0 = 1", 8, "division by zero"),
        ("7 % 4 % 2 = 1", 4, "division by zero"),
        ("ip[0] << 32 = 1", 9, "a shift goes by 31 bits at most"),
        ("len = 5-3", 6, "`5-3` reads as one word; put spaces around `-`"),
        ("len = 1 = 1", 8, "expected `and`, `or` or the end, found `=`"),
        ("less tcp", 5, "expected a length in bytes, found `tcp`"),
        // Characters and parentheses.
        ("tcp and (port 80", 16, "expected `and`, `or` or `)`, but the filter ends here"),
        ("tcp)", 3, "expected `and`, `or` or the end, found `)`"),
        ("tcp; udp", 3, "the character `;` has no place in a filter"),
        ("port 80 \u{20ac}", 8, "the character `\\u{20ac}` has no place in a filter"),
        ("ip proto \\", 9, "expected a name after `\\`"),
    ];
    for (text, column, message) in table {
        assert_eq!(error(text), (column, message.to_string()), "{text}");
    }
    let shown = Filter::parse("tcp; udp").unwrap_err().to_string();
    assert_eq!(shown, "column 4: the character `;` has no place in a filter");
}

#[test]
fn protocol_names_need_no_backslash_after_proto() {
    assert_eq!(parse("ip proto udp"), parse("ip proto \\udp"));
    assert_eq!(parse("proto (tcp or udp)"), parse("proto (6 or 17)"));
    assert_eq!(parse("ip proto 6 or udp"), parse("(ip proto 6) or udp"));
}

#[test]
fn operands_inherit_qualifiers() {
    assert_eq!(parse("tcp src port 80 or 443"), parse("tcp src port 80 or tcp src port 443"));
    assert_eq!(
        parse("not host 10.0.0.1 and 10.0.0.2"),
        parse("(not host 10.0.0.1) and host 10.0.0.2")
    );
    assert_eq!(
        parse("host 10.0.0.1 and (port 80 or 443)"),
        parse("host 10.0.0.1 and (port 80 or port 443)")
    );
}

#[test]
fn what_is_known_already_is_computed_once() {
    assert_eq!(parse("len = 4 * 1024 - 1"), parse("len = 4095"));
    assert_eq!(parse("tcp[13] & (tcp-syn | tcp-ack) != 0"), parse("tcp[13] & 0x12 != 0"));
}

#[test]
fn nesting_is_bounded() {
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{}{}{}", open.repeat(depth), "tcp", close.repeat(depth))
    };
    assert!(Filter::parse(&nested("(", ")", MAX_DEPTH - 2)).is_ok());
    assert_eq!(error(&nested("(", ")", MAX_DEPTH + 1)).1, "nested deeper than 64 levels");
    assert!(Filter::parse(&nested("not ", "", 1000)).is_ok());
    for text in [
        format!("len = {}1", "1 ^ ".repeat(500)),
        format!("len = {}1", "- ".repeat(500)),
        format!("{}0] = 1", "ip[".repeat(500)),
        "(".repeat(MAX_TEXT_LEN),
        format!("port {}", "(".repeat(1000)),
        format!("port 80 or {}", "(not ".repeat(500)),
        format!("{}1{} > 1", "(".repeat(1000), ")".repeat(1000)),
    ] {
        assert!(Filter::parse(&text).is_err());
    }
    assert!(Filter::parse(&format!("len = 0{}", " + len".repeat(600))).is_ok());
    assert!(Filter::parse(&format!("tcp{}", " or tcp".repeat(500))).is_ok());
    assert_eq!(error(&" ".repeat(MAX_TEXT_LEN + 1)).0, MAX_TEXT_LEN);
}

#[test]
fn the_stack_is_bounded_below_the_nesting() {
    // Every parenthesis leaves one number waiting on the stack.
    let waiting = |count: usize| format!("len = {}0{}", "len + (".repeat(count), ")".repeat(count));
    let filter = Filter::parse(&waiting(MAX_STACK / 2 - 2)).unwrap();
    assert!(!filter.matches(&[0; 10], PacketKind::Ip));
    assert!(Filter::parse(&waiting(MAX_STACK)).is_err());
}

fn parse(text: &str) -> Box<[Instruction]> {
    Filter::parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).instructions
}

/// A small generator of pseudo-random numbers (Marsaglia, "Xorshift RNGs", 2003), for speed.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

const SEEDS: &str = include_str!("../../tests/data/filter/expressions.txt");

#[test]
fn a_hundred_thousand_random_filters_neither_panic_nor_loop() {
    let seeds: Vec<&str> = SEEDS.lines().filter(|l| !l.starts_with('#')).collect();
    let words: Vec<&str> = seeds.iter().flat_map(|l| l.split(' ')).collect();
    let packet: Vec<u8> = (0..80).map(|i| if i == 0 { 0x45 } else { i * 3 }).collect();
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    let (mut accepted, mut refused) = (0u32, 0u32);
    for _ in 0..100_000 {
        let text = match random.below(3) {
            0 => mutate(seeds[random.below(seeds.len())], &mut random),
            1 => (0..random.below(20))
                .map(|_| words[random.below(words.len())])
                .fold(String::new(), |text, word| text + word + " "),
            _ => {
                let joint = [" and ", " or ", " and not ", " or ("][random.below(4)];
                [seeds[random.below(seeds.len())], joint, seeds[random.below(seeds.len())]].concat()
            }
        };
        match Filter::parse(&text) {
            Ok(filter) => {
                accepted += 1;
                let len = random.below(packet.len() + 1);
                let _ = filter.matches(&packet[..len], PacketKind::Ip);
                let _ = filter.matches(&packet[..len], PacketKind::Ethernet);
            }
            Err(error) => {
                refused += 1;
                assert!(error.column <= text.len() && !error.message.is_empty(), "{text}");
            }
        }
    }
    assert!(accepted > 10_000 && refused > 10_000, "{accepted} accepted, {refused} refused");
}

/// Changes, inserts or removes a few characters.
fn mutate(seed: &str, random: &mut Xorshift) -> String {
    const CHARACTERS: &[u8] = b" ()[]!&|<>=+-*/%^:.\\_09afxtcpor\x00\x7f";
    let mut bytes = seed.as_bytes().to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() + 1);
        let new = CHARACTERS[random.below(CHARACTERS.len())];
        match random.below(3) {
            0 => bytes.insert(at, new),
            1 if at < bytes.len() => bytes[at] = new,
            _ if at < bytes.len() => {
                bytes.remove(at);
            }
            _ => {}
        }
    }
    String::from_utf8(bytes).expect("only ASCII goes in")
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = Filter::parse(&text);
    }

    #[test]
    fn arbitrary_packets_never_panic(
        seed in 0usize..1000,
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let seeds: Vec<&str> = SEEDS.lines().filter(|l| !l.starts_with('#')).collect();
        let filter = Filter::parse(seeds[seed % seeds.len()]).unwrap();
        let _ = (filter.matches(&bytes, PacketKind::Ip), filter.matches(&bytes, PacketKind::Ethernet));
    }
}
