//! The largest packet that no link fragments.

use std::net::IpAddr;

use mlvpn_proto::crypto::v1::TAG_LEN;
use mlvpn_proto::wire::v1::HEADER_LEN;

use super::{Config, Host, InterfaceKind, Link};

/// What nearly every link carries, in bytes.
const LINK_MTU: u16 = 1500;
const IP4_HEADER: u16 = 20;
const IP6_HEADER: u16 = 40;
const UDP_HEADER: u16 = 8;
/// In tap mode the Ethernet header travels with the packet.
const ETHERNET_HEADER: u16 = 14;

impl Config {
    /// The largest MTU of the interface with which no datagram is fragmented on links of 1500 bytes.
    ///
    /// 1428 for encrypted data over IPv4. A link is taken for an IPv6 one when its addresses are; what
    /// a host name stands for is not known here.
    pub fn unfragmented_mtu(&self) -> u16 {
        let ip_header = if self.links.iter().any(is_ip6) { IP6_HEADER } else { IP4_HEADER };
        LINK_MTU - ip_header - self.overhead()
    }

    /// Bytes between a packet of the interface (counted as its MTU does) and the IP packet on a
    /// link that carries it, without the latter's IP header.
    pub fn overhead(&self) -> u16 {
        let authentication = if self.general.cleartext_data { 0 } else { TAG_LEN as u16 };
        let ethernet = match self.general.interface.kind {
            InterfaceKind::Tun => 0,
            InterfaceKind::Tap => ETHERNET_HEADER,
        };
        UDP_HEADER + HEADER_LEN as u16 + authentication + ethernet
    }
}

fn is_ip6(link: &Link) -> bool {
    [&link.bind_host, &link.remote_host]
        .into_iter()
        .any(|host| matches!(host, Some(Host::Address(IpAddr::V6(_)))))
}
