//! What a session needs to know from its owner.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::crypto::v1::{Key, TAG_LEN};
use crate::filter::Filter;
use crate::ip::PacketKind;
use crate::resequencer::ReorderPolicy;
use crate::time::Duration;
use crate::wire::v1::{HEADER_LEN, MAX_DATAGRAM};

/// Which end of the session this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Takes links up by asking for them.
    Client,
    /// Waits for the client and answers to where it is heard from.
    Server,
}

/// A session's settings.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Which end this is.
    pub role: Role,
    /// IP packets or Ethernet frames.
    pub inner: PacketKind,
    /// The shared key.
    pub key: Key,
    /// Data packets are neither encrypted nor authenticated. Both ends must agree.
    pub cleartext_data: bool,
    /// How the order of packets is restored.
    pub reorder: ReorderPolicy,
    /// The largest IP packet that is taken; at most [`SessionConfig::max_mtu`].
    pub mtu: u16,
    /// Where ICMP errors come from: an address in the tunnel that is not this host's, which would
    /// drop them.
    pub local_ip4: Option<Ipv4Addr>,
    /// Where ICMPv6 errors come from, likewise.
    pub local_ip6: Option<Ipv6Addr>,
    /// Rules that give packets to a certain link, in order of precedence.
    pub filters: Vec<FilterRule>,
}

impl SessionConfig {
    /// The largest MTU whose packets fit into a datagram that the peer takes.
    #[must_use]
    pub const fn max_mtu(inner: PacketKind, cleartext_data: bool) -> u16 {
        let tag = if cleartext_data { 0 } else { TAG_LEN };
        (MAX_DATAGRAM - HEADER_LEN - tag - inner_header_len(inner)) as u16
    }
}

/// Bytes in front of the IP packet that the MTU does not count.
const fn inner_header_len(inner: PacketKind) -> usize {
    match inner {
        PacketKind::Ip => 0,
        PacketKind::Ethernet => 14,
    }
}

/// Packets that match go over a link, as long as it is up.
#[derive(Clone, Debug)]
pub struct FilterRule {
    /// Which packets.
    pub filter: Filter,
    /// The name of the link.
    pub link: String,
}

/// A link's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// The name in the configuration; filters refer to it.
    pub name: String,
    /// Bytes per second that this end may send: the link's weight. When any link has none, all
    /// weigh the same.
    pub weight: Option<u64>,
    /// The link is down when no keepalive came for this long; at least 2 s.
    pub timeout: Duration,
    /// Loss in percent at which the link is taken out of the balancing; none: never.
    pub loss_tolerance: Option<u8>,
    /// Round-trip time at which the link is taken out of the balancing; none: never.
    pub latency_tolerance: Option<Duration>,
    /// Carries data only while no other link can.
    pub fallback_only: bool,
    /// The peer's address; a server learns it from the client.
    pub remote: Option<SocketAddr>,
}
