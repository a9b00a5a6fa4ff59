//! Turns a qualified operand, such as `tcp src port 80`, into a test.

use std::net::Ipv6Addr;

use super::program::{Direction, EtherType, IpVersion, Predicate};
use super::words::{self, Protocol};
use crate::ip::protocol;

/// The words in front of an operand. Operands after `and` and `or` inherit those of the operand before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Qualifiers {
    pub(super) protocol: Option<Protocol>,
    /// Either direction where none is given.
    pub(super) direction: Direction,
    pub(super) kind: OperandKind,
}

/// What an operand names; an address where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OperandKind {
    Host,
    Net,
    Port,
    PortRange,
    Protocol,
}

/// An operand as written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Operand<'a> {
    Number(u32),
    Address4 {
        value: u32,
        bits: u32,
    },
    /// An IPv4 network with a prefix length or a mask.
    Network4 {
        network: u32,
        mask: u32,
    },
    Address6(Ipv6Addr),
    /// An IPv6 network with a prefix length.
    Network6 {
        network: u128,
        mask: u128,
    },
    Mac([u8; 6]),
    Name(&'a str),
}

/// The test for one operand.
///
/// # Errors
/// The message for an operand that does not go with its qualifiers.
pub(super) fn predicate(qualifiers: Qualifiers, operand: Operand<'_>) -> Result<Predicate, String> {
    match qualifiers.kind {
        OperandKind::Host | OperandKind::Net => address(qualifiers, operand),
        OperandKind::Port => port(qualifiers, operand),
        OperandKind::PortRange => port_range(qualifiers, operand),
        OperandKind::Protocol => ip_protocol(qualifiers, operand),
    }
}

/// The test of a protocol's name standing alone.
pub(super) fn abbreviation(protocol: Protocol) -> Result<Predicate, String> {
    let over = |version, number: u8| Predicate::IpProtocol { version, number: number.into() };
    Ok(match protocol {
        Protocol::Ip => Predicate::Network(EtherType::IP),
        Protocol::Ip6 => Predicate::Network(EtherType::IP6),
        Protocol::Arp => Predicate::Network(EtherType::ARP),
        Protocol::Rarp => Predicate::Network(EtherType::RARP),
        Protocol::AnyIp(number) => over(IpVersion::Any, number),
        Protocol::Ip4Only(number) => over(IpVersion::V4, number),
        Protocol::Icmp6 => over(IpVersion::V6, protocol::ICMPV6),
        Protocol::Link => {
            return Err(
                "expected `host`, `src`, `dst`, `proto`, `broadcast`, `multicast` or `[` after it"
                    .into(),
            );
        }
    })
}

/// The test of `broadcast`.
pub(super) fn broadcast(protocol: Option<Protocol>) -> Result<Predicate, String> {
    match protocol {
        None | Some(Protocol::Link) => Ok(Predicate::LinkBroadcast),
        Some(Protocol::Ip) => Ok(Predicate::Ip4Broadcast),
        Some(other) => {
            Err(format!("`{}` has no broadcast; `ip` and `ether` do", words::protocol_name(other)))
        }
    }
}

/// The test of `multicast`.
pub(super) fn multicast(protocol: Option<Protocol>) -> Result<Predicate, String> {
    match protocol {
        None | Some(Protocol::Link) => Ok(Predicate::LinkMulticast),
        Some(Protocol::Ip) => Ok(Predicate::Ip4Multicast),
        Some(Protocol::Ip6) => Ok(Predicate::Ip6Multicast),
        Some(other) => Err(format!(
            "`{}` has no multicast; `ip`, `ip6` and `ether` do",
            words::protocol_name(other)
        )),
    }
}

fn address(qualifiers: Qualifiers, operand: Operand<'_>) -> Result<Predicate, String> {
    let is_net = qualifiers.kind == OperandKind::Net;
    match operand {
        Operand::Number(value) if is_net => {
            let shift = if value == 0 { 0 } else { value.leading_zeros() / 8 * 8 };
            host4(qualifiers, value << shift, u32::MAX << shift)
        }
        Operand::Number(value) => host4(qualifiers, value, u32::MAX),
        Operand::Address4 { value, bits } => {
            let shift = 32 - bits;
            host4(qualifiers, value << shift, u32::MAX << shift)
        }
        Operand::Network4 { network, mask } if is_net => host4(qualifiers, network, mask),
        Operand::Address6(address) => host6(qualifiers, address.into(), u128::MAX),
        Operand::Network6 { network, mask } if is_net || mask == u128::MAX => {
            host6(qualifiers, network, mask)
        }
        Operand::Network4 { .. } | Operand::Network6 { .. } => {
            Err("a network needs `net`: write `net ADDRESS/LENGTH`, `src net` or `dst net`".into())
        }
        Operand::Mac(address) => match qualifiers.protocol {
            Some(Protocol::Link) if !is_net => {
                Ok(Predicate::Mac { address, direction: qualifiers.direction })
            }
            _ => Err("a hardware address needs `ether host`, `ether src` or `ether dst`".into()),
        },
        Operand::Name(name) if is_net => Err(format!(
            "`{name}` is no network; write an address with a prefix length, as in 10.0.0.0/8"
        )),
        Operand::Name(name) => {
            let hint = words::suggest_word(name);
            Err(format!("host names are not looked up: use the address of `{name}`{hint}"))
        }
    }
}

fn host4(qualifiers: Qualifiers, network: u32, mask: u32) -> Result<Predicate, String> {
    let carrier = match qualifiers.protocol {
        None => None,
        Some(Protocol::Ip) => Some(EtherType::IP),
        Some(Protocol::Arp) => Some(EtherType::ARP),
        Some(Protocol::Rarp) => Some(EtherType::RARP),
        Some(other) => return Err(not_an_address_of("an IPv4 address", other)),
    };
    Ok(Predicate::Host4 { carrier, network, mask, direction: qualifiers.direction })
}

fn host6(qualifiers: Qualifiers, network: u128, mask: u128) -> Result<Predicate, String> {
    match qualifiers.protocol {
        None | Some(Protocol::Ip6) => {
            Ok(Predicate::Host6 { network, mask, direction: qualifiers.direction })
        }
        Some(other) => Err(not_an_address_of("an IPv6 address", other)),
    }
}

fn not_an_address_of(what: &str, protocol: Protocol) -> String {
    let name = words::protocol_name(protocol);
    match protocol {
        Protocol::Ip | Protocol::Ip6 | Protocol::Arp | Protocol::Rarp | Protocol::Link => {
            format!("{what} does not go with `{name}`")
        }
        _ => format!("`{name}` does not go with an address; write `{name} and host ADDRESS`"),
    }
}

/// The transport protocol that the qualifiers restrict ports to.
fn port_protocol(qualifiers: Qualifiers) -> Result<Option<u8>, String> {
    match qualifiers.protocol {
        None => Ok(None),
        Some(Protocol::AnyIp(number @ (protocol::TCP | protocol::UDP | protocol::SCTP))) => {
            Ok(Some(number))
        }
        Some(other) => {
            let name = words::protocol_name(other);
            Err(format!(
                "`{name}` has no ports; `tcp`, `udp` and `sctp` do (write `{name} and port NUMBER`)"
            ))
        }
    }
}

fn port(qualifiers: Qualifiers, operand: Operand<'_>) -> Result<Predicate, String> {
    let service = match operand {
        Operand::Number(number) => words::Service { port: port_number(number)?, protocol: None },
        Operand::Name(name) => port_name(name)?,
        _ => return Err("expected a port number or a service name".into()),
    };
    ports(qualifiers, service, service)
}

fn port_range(qualifiers: Qualifiers, operand: Operand<'_>) -> Result<Predicate, String> {
    let name = match operand {
        Operand::Number(number) => {
            let service = words::Service { port: port_number(number)?, protocol: None };
            return ports(qualifiers, service, service);
        }
        Operand::Name(name) => name,
        _ => return Err("expected a range of ports, as in 8000-8080".into()),
    };
    // A service's name may contain hyphens itself.
    for (at, _) in name.match_indices('-') {
        if let (Ok(first), Ok(last)) = (port_name(&name[..at]), port_name(&name[at + 1..])) {
            return ports(qualifiers, first, last);
        }
    }
    let service =
        port_name(name).map_err(|_| format!("`{name}` is no range of ports, as in 8000-8080"))?;
    ports(qualifiers, service, service)
}

fn ports(
    qualifiers: Qualifiers,
    first: words::Service,
    last: words::Service,
) -> Result<Predicate, String> {
    let service = if first.protocol == last.protocol { first.protocol } else { None };
    let protocol = match (port_protocol(qualifiers)?, service) {
        (Some(wanted), Some(has)) if wanted != has => {
            let name = if has == protocol::TCP { "tcp" } else { "udp" };
            return Err(format!("this service runs over {name}; use the number of the port"));
        }
        (wanted, has) => wanted.or(has),
    };
    let (low, high) = (first.port.min(last.port), first.port.max(last.port));
    Ok(Predicate::Port { protocol, low, high, direction: qualifiers.direction })
}

fn port_number(number: u32) -> Result<u16, String> {
    number.try_into().map_err(|_| format!("port {number} is beyond 65535"))
}

fn port_name(name: &str) -> Result<words::Service, String> {
    if let Ok(number) = name.parse() {
        return Ok(words::Service { port: port_number(number)?, protocol: None });
    }
    words::service(name).ok_or_else(|| {
        format!(
            "unknown service `{name}`; use the number of the port{}",
            words::suggest_service(name)
        )
    })
}

fn ip_protocol(qualifiers: Qualifiers, operand: Operand<'_>) -> Result<Predicate, String> {
    let version = match qualifiers.protocol {
        None => IpVersion::Any,
        Some(Protocol::Ip) => IpVersion::V4,
        Some(Protocol::Ip6) => IpVersion::V6,
        Some(Protocol::Link) => return ether_type(operand),
        Some(other) => {
            return Err(format!("`{}` carries no protocol number", words::protocol_name(other)));
        }
    };
    let number = match operand {
        Operand::Number(number) => number,
        Operand::Name(name) => words::ip_protocol(name).map(u32::from).ok_or_else(|| {
            format!(
                "unknown IP protocol `{name}`; use its number{}",
                words::suggest_ip_protocol(name)
            )
        })?,
        _ => return Err("expected the number or the name of an IP protocol".into()),
    };
    Ok(Predicate::IpProtocol { version, number })
}

fn ether_type(operand: Operand<'_>) -> Result<Predicate, String> {
    let ether_type = match operand {
        // IEEE 802.3: smaller values are the length of an 802.2 frame.
        Operand::Number(number @ 0x600..=0xffff) => EtherType(number as u16),
        Operand::Number(_) => {
            return Err("an ethertype is at least 0x600 and at most 0xffff".into());
        }
        Operand::Name(name) => words::ether_type(name).ok_or_else(|| {
            format!("unknown ethertype `{name}`; use `ip`, `ip6`, `arp`, `rarp` or a number")
        })?,
        _ => return Err("expected the number or the name of an ethertype".into()),
    };
    Ok(Predicate::Network(ether_type))
}
