//! What an endpoint needs to know from its owner.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::crypto::keypair::PublicKey;
use crate::crypto::v1::{Key, TAG_LEN};
use crate::crypto::v2::REKEY_PACKETS;
use crate::filter::Filter;
use crate::handshake::v2::Credentials;
use crate::ip::{PacketKind, ethernet};
use crate::policy::{LinkTerms, Policy};
use crate::resequencer::ReorderPolicy;
use crate::time::Duration;
use crate::wire::v1::{HEADER_LEN, MAX_DATAGRAM};

/// Which end of the tunnel this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Takes links up by asking for them.
    Client,
    /// Waits for the client and answers to where it is heard from.
    Server,
}

/// Which versions of the protocol an endpoint speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Versions {
    /// Version 2, and version 1 with a peer that speaks nothing else.
    #[default]
    Auto,
    /// Version 1 only.
    V1,
    /// Version 2 only.
    V2,
}

/// The settings of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Which end this is.
    pub role: Role,
    /// Which versions it speaks.
    pub versions: Versions,
    /// IP packets or Ethernet frames.
    pub inner: PacketKind,
    /// The shared key of version 1; without it version 1 is not spoken.
    pub v1_key: Option<Key>,
    /// By what peers know each other in version 2; without, version 2 is not spoken.
    pub credentials: Option<Credentials>,
    /// Which addresses are behind which peer, when there are several.
    pub routes: Vec<PeerRoutes>,
    /// Data packets are not encrypted, in version 1 nor authenticated. Both ends must agree.
    pub cleartext_data: bool,
    /// How version 1 restores the order of packets.
    pub reorder: ReorderPolicy,
    /// The largest IP packet that is taken.
    pub mtu: u16,
    /// Where ICMP errors come from: an address in the tunnel that is not this host's, which would
    /// drop them.
    pub local_ip4: Option<Ipv4Addr>,
    /// Where ICMPv6 errors come from, likewise.
    pub local_ip6: Option<Ipv6Addr>,
    /// Rules that give packets to a certain link, or treat them in another way, in order of precedence.
    pub filters: Vec<FilterRule>,
    /// How version 2 gives packets to the paths, in both directions; none: as the peer wishes.
    /// A server's wish goes before a client's.
    pub policy: Option<Policy>,
    /// What the clock of the owner shows at [`crate::Instant::ZERO`], in microseconds since 1970: an
    /// initiator's handshakes bear the time, and it must not go back from one start to the next.
    pub unix_micros: u64,
    /// What this end tells of itself, at most 64 bytes.
    pub software: String,
    /// After how many packets that either end has sealed an initiator takes new keys; at most
    /// [`REKEY_PACKETS`], which it is unless set.
    pub rekey_packets: u32,
}

impl EndpointConfig {
    /// An endpoint without keys, which speaks nothing yet. It takes IP packets of up to `mtu` bytes,
    /// restores their order, knows no addresses of the tunnel, and has no filters.
    #[must_use]
    pub fn new(role: Role, mtu: u16) -> Self {
        Self {
            role,
            versions: Versions::Auto,
            inner: PacketKind::Ip,
            v1_key: None,
            credentials: None,
            routes: Vec::new(),
            cleartext_data: false,
            reorder: ReorderPolicy::Adaptive,
            mtu,
            local_ip4: None,
            local_ip6: None,
            filters: Vec::new(),
            policy: None,
            unix_micros: 0,
            software: String::new(),
            rekey_packets: REKEY_PACKETS,
        }
    }

    /// The largest MTU whose packets fit into a datagram that a peer that speaks version 1 takes, in
    /// bytes.
    #[must_use]
    pub const fn max_mtu_v1(inner: PacketKind, cleartext_data: bool) -> u16 {
        let tag = if cleartext_data { 0 } else { TAG_LEN };
        // The MTU does not count an Ethernet header.
        let header = match inner {
            PacketKind::Ip => 0,
            PacketKind::Ethernet => ethernet::HEADER_LEN,
        };
        (MAX_DATAGRAM - HEADER_LEN - tag - header) as u16
    }
}

/// The networks behind a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRoutes {
    /// The peer.
    pub peer: PublicKey,
    /// Its networks.
    pub networks: Vec<IpPrefix>,
}

/// A network: an address of which only the first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpPrefix {
    /// An address in it.
    pub address: IpAddr,
    /// How many bits count: up to 32 or 128.
    pub len: u8,
}

impl IpPrefix {
    /// Whether `address` lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, bits: u32| {
            let len = u32::from(self.len).min(bits);
            len == 0 || (a ^ b) << (128 - bits) >> (128 - len) == 0
        };
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

/// What is to be done with packets that match.
#[derive(Clone, Debug)]
pub struct FilterRule {
    /// Which packets.
    pub filter: Filter,
    /// What is done with them.
    pub treatment: Treatment,
}

/// What a filter does with packets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Treatment {
    /// They go over the link of that name; while it is not up, the rule does not count.
    Link(String),
    /// They are given to the paths in that way. With version 1 the rule does not count.
    Policy(Policy),
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
    /// What else is wanted of it in version 2.
    pub terms: LinkTerms,
    /// The peer's address; a server learns it from the client.
    pub remote: Option<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_with_its_first_bits() {
        let prefix = |address: &str, len| IpPrefix { address: address.parse().unwrap(), len };
        for (network, len, inside, outside) in [
            ("10.1.2.0", 24, "10.1.2.255", "10.1.3.0"),
            ("10.1.2.3", 32, "10.1.2.3", "10.1.2.2"),
            ("128.0.0.0", 1, "255.0.0.1", "127.255.255.255"),
            ("0.0.0.0", 0, "1.2.3.4", "::"),
            ("2001:db8::", 32, "2001:db8:ffff::1", "2001:db9::"),
            ("::1", 128, "::1", "::2"),
        ] {
            let network = prefix(network, len);
            assert!(network.contains(inside.parse().unwrap()), "{network:?}");
            assert!(!network.contains(outside.parse().unwrap()), "{network:?}");
        }
    }
}
