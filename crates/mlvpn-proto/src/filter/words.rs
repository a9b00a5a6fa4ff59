//! The vocabulary of filters: keywords, named numbers, services and protocols.

use super::program::EtherType;
use crate::ip::protocol as number;

/// A word with a meaning of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Protocol(Protocol),
    Src,
    Dst,
    Host,
    Net,
    Mask,
    Port,
    PortRange,
    Proto,
    Less,
    Greater,
    Length,
    Broadcast,
    Multicast,
    And,
    Or,
    Not,
    /// A word of the language that these filters do not know what to do with.
    Unsupported,
}

/// A protocol that can stand alone, before a qualifier or before a bracket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Link,
    Ip,
    Ip6,
    Arp,
    Rarp,
    /// A protocol over IPv4 and IPv6.
    AnyIp(u8),
    /// A protocol over IPv4.
    Ip4Only(u8),
    Icmp6,
}

const AH: u8 = 51;
const ESP: u8 = 50;
const IGMP: u8 = 2;
const IGRP: u8 = 9;
const PIM: u8 = 103;
const VRRP: u8 = 112;

#[rustfmt::skip]
const KEYWORDS: &[(&str, Keyword)] = {
    use Keyword::{And, Broadcast, Dst, Greater, Host, Length, Less, Mask, Multicast, Net, Not, Or, Port, PortRange, Proto, Src, Unsupported};
    use Keyword::Protocol as K;
    use Protocol as P;
    &[
        ("src", Src), ("dst", Dst), ("host", Host), ("net", Net), ("mask", Mask), ("port", Port),
        ("portrange", PortRange), ("proto", Proto), ("less", Less), ("greater", Greater),
        ("len", Length), ("length", Length), ("broadcast", Broadcast), ("multicast", Multicast),
        ("and", And), ("or", Or), ("not", Not),
        ("ip", K(P::Ip)), ("ip6", K(P::Ip6)), ("arp", K(P::Arp)),
        ("rarp", K(P::Rarp)), ("ether", K(P::Link)), ("link", K(P::Link)),
        ("tcp", K(P::AnyIp(number::TCP))), ("udp", K(P::AnyIp(number::UDP))),
        ("sctp", K(P::AnyIp(number::SCTP))), ("ah", K(P::AnyIp(AH))),
        ("esp", K(P::AnyIp(ESP))), ("pim", K(P::AnyIp(PIM))),
        ("icmp", K(P::Ip4Only(number::ICMP))), ("igmp", K(P::Ip4Only(IGMP))),
        ("igrp", K(P::Ip4Only(IGRP))), ("vrrp", K(P::Ip4Only(VRRP))),
        ("carp", K(P::Ip4Only(VRRP))), ("icmp6", K(P::Icmp6)),
        ("vlan", Unsupported), ("mpls", Unsupported), ("pppoed", Unsupported), ("pppoes", Unsupported),
        ("geneve", Unsupported), ("gateway", Unsupported), ("inbound", Unsupported), ("outbound", Unsupported),
        ("ifindex", Unsupported), ("ifname", Unsupported), ("on", Unsupported), ("protochain", Unsupported),
        ("byte", Unsupported), ("type", Unsupported), ("subtype", Unsupported), ("dir", Unsupported),
        ("direction", Unsupported), ("wlan", Unsupported), ("fddi", Unsupported), ("tr", Unsupported),
        ("ppp", Unsupported), ("slip", Unsupported), ("radio", Unsupported), ("ra", Unsupported),
        ("ta", Unsupported), ("addr1", Unsupported), ("addr2", Unsupported), ("addr3", Unsupported),
        ("addr4", Unsupported), ("address1", Unsupported), ("address2", Unsupported),
        ("address3", Unsupported), ("address4", Unsupported), ("atalk", Unsupported), ("aarp", Unsupported),
        ("decnet", Unsupported), ("lat", Unsupported), ("sca", Unsupported), ("moprc", Unsupported),
        ("mopdl", Unsupported), ("iso", Unsupported), ("esis", Unsupported), ("isis", Unsupported),
        ("clnp", Unsupported), ("stp", Unsupported), ("ipx", Unsupported), ("netbeui", Unsupported),
        ("llc", Unsupported), ("lane", Unsupported), ("vpi", Unsupported), ("vci", Unsupported),
        ("rulenum", Unsupported), ("reason", Unsupported), ("rset", Unsupported),
        ("ruleset", Unsupported), ("action", Unsupported),
    ]
};

/// Offsets, types and flags by name: RFC 792, RFC 4443, RFC 4861, RFC 9293.
#[rustfmt::skip]
const CONSTANTS: &[(&str, u32)] = &[
    ("icmptype", 0), ("icmpcode", 1), ("icmp6type", 0), ("icmp6code", 1), ("tcpflags", 13),
    ("icmp-echoreply", 0), ("icmp-unreach", 3), ("icmp-sourcequench", 4), ("icmp-redirect", 5),
    ("icmp-echo", 8), ("icmp-routeradvert", 9), ("icmp-routersolicit", 10), ("icmp-timxceed", 11),
    ("icmp-paramprob", 12), ("icmp-tstamp", 13), ("icmp-tstampreply", 14), ("icmp-ireq", 15),
    ("icmp-ireqreply", 16), ("icmp-maskreq", 17), ("icmp-maskreply", 18),
    ("icmp6-destinationunreach", 1), ("icmp6-packettoobig", 2), ("icmp6-timeexceeded", 3),
    ("icmp6-parameterproblem", 4), ("icmp6-echo", 128), ("icmp6-echoreply", 129),
    ("icmp6-multicastlistenerquery", 130), ("icmp6-multicastlistenerreportv1", 131),
    ("icmp6-multicastlistenerdone", 132), ("icmp6-routersolicit", 133), ("icmp6-routeradvert", 134),
    ("icmp6-neighborsolicit", 135), ("icmp6-neighboradvert", 136), ("icmp6-redirect", 137),
    ("icmp6-routerrenum", 138), ("icmp6-nodeinformationquery", 139),
    ("icmp6-nodeinformationresponse", 140), ("icmp6-ineighbordiscoverysolicit", 141),
    ("icmp6-ineighbordiscoveryadvert", 142), ("icmp6-multicastlistenerreportv2", 143),
    ("icmp6-homeagentdiscoveryrequest", 144), ("icmp6-homeagentdiscoveryreply", 145),
    ("icmp6-mobileprefixsolicit", 146), ("icmp6-mobileprefixadvert", 147),
    ("icmp6-certpathsolicit", 148), ("icmp6-certpathadvert", 149),
    ("icmp6-multicastrouteradvert", 151), ("icmp6-multicastroutersolicit", 152),
    ("icmp6-multicastrouterterm", 153),
    ("tcp-fin", 0x01), ("tcp-syn", 0x02), ("tcp-rst", 0x04), ("tcp-push", 0x08),
    ("tcp-ack", 0x10), ("tcp-urg", 0x20), ("tcp-ece", 0x40), ("tcp-cwr", 0x80),
];

/// A service's port, and its transport protocol where it has but one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) port: u16,
    pub(super) protocol: Option<u8>,
}

/// Ports by name, as in the IANA "Service Name and Transport Protocol Port Number Registry"; which of them are
/// used over one protocol alone follows common practice.
#[rustfmt::skip]
const SERVICES: &[(&str, u16, Option<u8>)] = {
    const TCP: Option<u8> = Some(number::TCP);
    const UDP: Option<u8> = Some(number::UDP);
    const ANY: Option<u8> = None;
    &[
        ("ftp-data", 20, TCP), ("ftp", 21, TCP), ("ssh", 22, TCP), ("telnet", 23, TCP), ("smtp", 25, TCP),
        ("mail", 25, TCP), ("domain", 53, ANY), ("bootps", 67, UDP), ("bootpc", 68, UDP), ("tftp", 69, UDP),
        ("http", 80, TCP), ("www", 80, TCP), ("kerberos", 88, ANY), ("pop3", 110, TCP), ("sunrpc", 111, ANY),
        ("ntp", 123, UDP), ("netbios-ns", 137, UDP), ("imap", 143, TCP), ("imap2", 143, TCP),
        ("snmp", 161, ANY), ("bgp", 179, TCP), ("ldap", 389, ANY), ("https", 443, ANY),
        ("microsoft-ds", 445, TCP), ("submissions", 465, TCP), ("smtps", 465, TCP), ("isakmp", 500, UDP),
        ("syslog", 514, UDP), ("rtsp", 554, ANY), ("submission", 587, TCP), ("ldaps", 636, ANY),
        ("domain-s", 853, ANY), ("rsync", 873, TCP), ("imaps", 993, TCP), ("pop3s", 995, TCP),
        ("socks", 1080, TCP), ("openvpn", 1194, ANY), ("l2tp", 1701, UDP), ("radius", 1812, ANY),
        ("nfs", 2049, ANY), ("mysql", 3306, TCP), ("svn", 3690, TCP), ("ipsec-nat-t", 4500, UDP),
        ("sip", 5060, ANY), ("sip-tls", 5061, ANY), ("xmpp-client", 5222, TCP), ("mdns", 5353, UDP),
        ("postgresql", 5432, TCP), ("postgres", 5432, TCP), ("x11", 6000, TCP), ("http-alt", 8080, TCP),
        ("webcache", 8080, TCP), ("git", 9418, TCP),
    ]
};

/// IP protocol numbers by name (IANA "Assigned Internet Protocol Numbers").
#[rustfmt::skip]
const IP_PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", 1), ("igmp", 2), ("ipencap", 4), ("tcp", 6), ("egp", 8), ("igp", 9), ("igrp", 9), ("udp", 17),
    ("dccp", 33), ("ipv6", 41), ("ipv6-route", 43), ("ipv6-frag", 44), ("rsvp", 46), ("gre", 47), ("esp", 50),
    ("ah", 51), ("ipv6-icmp", 58), ("icmp6", 58), ("ipv6-nonxt", 59), ("ipv6-opts", 60), ("eigrp", 88),
    ("ospf", 89), ("ipip", 94), ("etherip", 97), ("pim", 103), ("ipcomp", 108), ("vrrp", 112), ("carp", 112),
    ("l2tp", 115), ("sctp", 132), ("udplite", 136), ("mpls-in-ip", 137), ("hip", 139), ("shim6", 140),
];

const ETHER_TYPES: &[(&str, EtherType)] = &[
    ("ip", EtherType::IP),
    ("ip6", EtherType::IP6),
    ("arp", EtherType::ARP),
    ("rarp", EtherType::RARP),
];

pub(super) fn keyword(word: &str) -> Option<Keyword> {
    find(KEYWORDS, word)
}

pub(super) fn constant(word: &str) -> Option<u32> {
    find(CONSTANTS, word)
}

pub(super) fn service(name: &str) -> Option<Service> {
    let (_, port, protocol) = SERVICES.iter().find(|(known, ..)| *known == name)?;
    Some(Service { port: *port, protocol: *protocol })
}

pub(super) fn ip_protocol(name: &str) -> Option<u8> {
    find(IP_PROTOCOLS, name)
}

pub(super) fn ether_type(name: &str) -> Option<EtherType> {
    find(ETHER_TYPES, name)
}

/// The keyword of a protocol that has but one transport number, for messages.
pub(super) fn protocol_name(protocol: Protocol) -> &'static str {
    let is_it = |(_, keyword): &&(&'static str, Keyword)| *keyword == Keyword::Protocol(protocol);
    KEYWORDS.iter().find(is_it).map_or("protocol", |(name, _)| name)
}

/// The keyword or named number that `word` may have been meant to be, as an addition to a message.
pub(super) fn suggest_word(word: &str) -> String {
    let keywords =
        KEYWORDS.iter().filter(|(_, k)| *k != Keyword::Unsupported).map(|(name, _)| *name);
    suggest(word, keywords.chain(CONSTANTS.iter().map(|(name, _)| *name)))
}

/// The service that `word` may have been meant to be, as an addition to a message.
pub(super) fn suggest_service(word: &str) -> String {
    suggest(word, SERVICES.iter().map(|(name, ..)| *name))
}

/// The IP protocol that `word` may have been meant to be, as an addition to a message.
pub(super) fn suggest_ip_protocol(word: &str) -> String {
    suggest(word, IP_PROTOCOLS.iter().map(|(name, _)| *name))
}

/// The nearest of `known`, if it is at most two typing errors away and shares more than that with `word`.
fn suggest(word: &str, known: impl Iterator<Item = &'static str>) -> String {
    // Longer than every known word by more than two letters: nothing can be near.
    if word.len() > 40 {
        return String::new();
    }
    known
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= 2 && *distance * 2 < name.len().max(word.len()))
        .map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}

fn find<T: Copy>(table: &[(&str, T)], word: &str) -> Option<T> {
    table.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
}
