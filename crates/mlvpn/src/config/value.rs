//! Text to numbers, addresses and names.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::{Ipv4Net, Ipv6Net};
use mlvpn_proto::Policy;
use mlvpn_proto::crypto::keypair::{PresharedKey, PublicKey};

use super::{Host, InterfaceKind, Mode, ProtocolVersion};

/// Why a value was refused, and what to write instead.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: String,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

/// Longest name of a network interface on Linux, in bytes.
const MAX_INTERFACE_NAME: usize = 15;
/// Longest path of a unix socket that every system takes, in bytes.
const MAX_SOCKET_PATH: usize = 103;
/// Longest host name, in bytes (RFC 1035 section 2.3.4).
const MAX_HOST_NAME: usize = 253;

fn fault<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::new(message, help))
}

/// A whole number; anything out of `range` is refused. `what` names it and its unit.
pub(super) fn number(text: &str, range: RangeInclusive<u64>, what: &str) -> Result<u64, Fault> {
    let (low, high) = (range.start(), range.end());
    let help = if *high == u64::MAX {
        format!("write {what} as a plain number, {low} or more")
    } else {
        format!("write {what} as a plain number from {low} to {high}")
    };
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return fault(format!("`{text}` is not a whole number"), help);
    }
    match digits.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => fault(format!("{text} is out of range"), help),
    }
}

/// A number that a `u32` holds.
pub(super) fn number_u32(text: &str, what: &str) -> Result<u32, Fault> {
    number(text, 0..=u64::from(u32::MAX), what)
        .map(|n| u32::try_from(n).expect("the range ends at u32::MAX"))
}

/// A UDP or TCP port; 0 is refused.
pub(super) fn port(text: &str) -> Result<u16, Fault> {
    number(text, 1..=65535, "the port").map(|n| u16::try_from(n).expect("the range ends at 65535"))
}

/// A UDP port, 0 meaning any.
pub(super) fn port_or_any(text: &str) -> Result<Option<u16>, Fault> {
    let port = number(text, 0..=65535, "the port")?;
    Ok(u16::try_from(port).ok().filter(|p| *p != 0))
}

/// `0` or `1`.
pub(super) fn switch(text: &str) -> Result<bool, Fault> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => fault(format!("`{text}` is neither 0 nor 1"), "write 1 for on, 0 for off"),
    }
}

/// `yes` or `no`; `1` and `0` are the same.
pub(super) fn yes_or_no(text: &str) -> Result<bool, Fault> {
    match text {
        "no" | "0" => Ok(false),
        "yes" | "1" => Ok(true),
        _ => fault(format!("`{text}` is neither yes nor no"), "write \"yes\" or \"no\""),
    }
}

/// An address without prefix length, of either family.
pub(super) fn address(text: &str) -> Result<IpAddr, Fault> {
    text.parse().or_else(|_| {
        fault(
            format!("`{text}` is not an address"),
            "write addresses such as 192.0.2.53 or 2001:db8::53",
        )
    })
}

/// `auto`, `1` or `2`.
pub(super) fn protocol_version(text: &str) -> Result<ProtocolVersion, Fault> {
    match text {
        "auto" => Ok(ProtocolVersion::Auto),
        "1" => Ok(ProtocolVersion::V1),
        "2" => Ok(ProtocolVersion::V2),
        _ => fault(
            format!("`{text}` is not a version of the protocol"),
            "write \"auto\", \"1\" or \"2\"",
        ),
    }
}

/// The name of a policy.
pub(super) fn policy(text: &str) -> Result<Policy, Fault> {
    Policy::of_name(text).map_or_else(
        || {
            let names = Policy::ALL.map(|policy| format!("\"{policy}\"")).join(", ");
            fault(format!("`{text}` is not a policy"), format!("write one of {names}"))
        },
        Ok,
    )
}

/// The public key of a peer.
pub(super) fn public_key(text: &str) -> Result<PublicKey, Fault> {
    match text.parse::<PublicKey>() {
        Ok(key) if *key.as_bytes() != [0; 32] => Ok(key),
        Ok(_) => fault("this is nobody's key", "write what `mlvpn pubkey` prints at the other end"),
        Err(error) => fault(
            format!("`{text}` is not a key: {error}"),
            "write what `mlvpn pubkey` prints at the other end",
        ),
    }
}

/// A secret beside key pairs, which messages do not show.
pub(super) fn preshared_key(text: &str) -> Result<PresharedKey, Fault> {
    PresharedKey::from_base64(text).or_else(|error| {
        fault(format!("not a key: {error}"), "`mlvpn genpsk` prints one; both ends need the same")
    })
}

/// `client` or `server`.
pub(super) fn mode(text: &str) -> Result<Mode, Fault> {
    match text {
        "client" => Ok(Mode::Client),
        "server" => Ok(Mode::Server),
        _ => {
            fault(format!("`{text}` is not a mode"), "write mode = \"client\" or mode = \"server\"")
        }
    }
}

/// `tun` or `tap`.
pub(super) fn interface_kind(text: &str) -> Result<InterfaceKind, Fault> {
    match text {
        "tun" => Ok(InterfaceKind::Tun),
        "tap" => Ok(InterfaceKind::Tap),
        _ => fault(
            format!("`{text}` is not a kind of interface"),
            "write tuntap = \"tun\" (IP packets) or tuntap = \"tap\" (Ethernet)",
        ),
    }
}

/// The name of a network interface.
pub(super) fn interface_name(text: &str) -> Result<String, Fault> {
    let is_clean = text.bytes().all(|b| b.is_ascii_graphic() && !b"/:%".contains(&b));
    if text.len() <= MAX_INTERFACE_NAME && is_clean && text != "." && text != ".." {
        Ok(text.to_owned())
    } else {
        fault(
            format!("`{text}` cannot be the name of an interface"),
            "at most 15 letters, digits, dots, dashes and underscores",
        )
    }
}

/// An absolute path.
pub(super) fn absolute_path(text: &str) -> Result<PathBuf, Fault> {
    if text.starts_with('/') {
        Ok(PathBuf::from(text))
    } else {
        fault(format!("`{text}` is not an absolute path"), "write the path from the root: /...")
    }
}

/// The path of a unix socket.
pub(super) fn socket_path(text: &str) -> Result<PathBuf, Fault> {
    if text.len() > MAX_SOCKET_PATH {
        return fault("the path is too long for a unix socket", "at most 103 bytes");
    }
    absolute_path(text)
}

/// An address or a host name.
pub(super) fn host(text: &str) -> Result<Host, Fault> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(Host::Address(address));
    }
    if is_host_name(text) {
        return Ok(Host::Name(text.to_owned()));
    }
    let help = "write an address such as 192.0.2.1 or 2001:db8::1, or a host name; the port has a key of its own";
    fault(format!("`{text}` is neither an address nor a host name"), help)
}

fn is_host_name(text: &str) -> bool {
    let labels = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // A last label of digits only would be read as a mistyped IPv4 address by every resolver.
    let ends_in_name =
        labels.rsplit('.').next().is_some_and(|l| !l.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= MAX_HOST_NAME && labels.split('.').all(is_label) && ends_in_name
}

/// An IPv4 address without prefix length.
pub(super) fn ip4(text: &str) -> Result<Ipv4Addr, Fault> {
    text.parse().or_else(|_| {
        fault(
            format!("`{text}` is not an IPv4 address"),
            "write it without mask, such as 10.42.43.1",
        )
    })
}

/// An IPv6 address without prefix length.
pub(super) fn ip6(text: &str) -> Result<Ipv6Addr, Fault> {
    text.parse().or_else(|_| {
        fault(format!("`{text}` is not an IPv6 address"), "write it without mask, such as fd00::1")
    })
}

/// An IPv4 address with prefix length.
pub(super) fn ip4_net(text: &str) -> Result<Ipv4Net, Fault> {
    text.parse().or_else(|_| {
        fault(
            format!("`{text}` is not an IPv4 address with its prefix length"),
            "write address/length, such as 10.42.43.1/30; the length is 0 to 32",
        )
    })
}

/// An IPv6 address with prefix length.
pub(super) fn ip6_net(text: &str) -> Result<Ipv6Net, Fault> {
    text.parse().or_else(|_| {
        fault(
            format!("`{text}` is not an IPv6 address with its prefix length"),
            "write address/length, such as fd00::1/64; the length is 0 to 128",
        )
    })
}

/// One of `ip4_routes`: a network, an address, or `default`.
pub(super) fn ip4_route(text: &str) -> Result<Ipv4Net, Fault> {
    if text == "default" {
        return Ok(Ipv4Net::default());
    }
    text.parse::<Ipv4Addr>().map(Ipv4Net::from).or_else(|_| ip4_net(text))
}

/// One of `ip6_routes`: a network, an address, or `default`.
pub(super) fn ip6_route(text: &str) -> Result<Ipv6Net, Fault> {
    if text == "default" {
        return Ok(Ipv6Net::default());
    }
    text.parse::<Ipv6Addr>().map(Ipv6Net::from).or_else(|_| ip6_net(text))
}

/// A network that is reached through a peer: a route without bits beyond its length.
pub(super) fn ip4_network(text: &str) -> Result<Ipv4Net, Fault> {
    let net = ip4_route(text)?;
    if net == net.trunc() { Ok(net) } else { beyond_length(text, net.trunc(), net.addr()) }
}

/// As [`ip4_network`].
pub(super) fn ip6_network(text: &str) -> Result<Ipv6Net, Fault> {
    let net = ip6_route(text)?;
    if net == net.trunc() { Ok(net) } else { beyond_length(text, net.trunc(), net.addr()) }
}

fn beyond_length<T>(text: &str, network: impl Display, host: impl Display) -> Result<T, Fault> {
    fault(
        format!("`{text}` is a host in a network"),
        format!("write {network} for the network, or {host} for the host alone"),
    )
}

/// A list separated by blanks or commas.
pub(super) fn list<T>(
    text: &str,
    item: impl Fn(&str) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    text.split([' ', '\t', ',']).filter(|part| !part.is_empty()).map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_plain_and_in_range() {
        for (text, expected) in [("0", Some(0)), ("+7", Some(7)), ("10", Some(10)), ("11", None)] {
            assert_eq!(number(text, 0..=10, "it").ok(), expected, "{text}");
        }
        for text in ["", "+", "-1", "1.5", "0x1", "30s", "1 000", "99999999999999999999999"] {
            assert!(number(text, 0..=u64::MAX, "it").is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_are_addresses_or_names() {
        assert_eq!(host("::1").unwrap(), Host::Address("::1".parse().unwrap()));
        assert_eq!(host("[::1]").unwrap(), Host::Address("::1".parse().unwrap()));
        assert_eq!(host("vpn.example.org.").unwrap(), Host::Name("vpn.example.org.".into()));
        for text in
            ["1.2.3.400", "1.2.3", "a b", "vpn.example.org:5080", "http://x", "a..b", "", "."]
        {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn routes_are_separated_by_blanks_or_commas() {
        let routes = list("10.0.0.0/8, 192.0.2.1\t default", ip4_route).unwrap();
        let shown: Vec<_> = routes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "192.0.2.1/32", "0.0.0.0/0"]);
        assert!(list("10.0.0.0/33", ip4_route).is_err());
    }

    #[test]
    fn own_addresses_keep_their_host_part() {
        assert_eq!(ip4_net("10.44.43.2/30").unwrap().to_string(), "10.44.43.2/30");
        assert!(ip4_net("10.44.43.2").is_err());
        assert!(ip6_net("fd00::1/129").is_err());
    }
}
