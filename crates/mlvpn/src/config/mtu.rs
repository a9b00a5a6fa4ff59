//! The largest packet that no link fragments.

use std::net::IpAddr;

use mlvpn_proto::crypto::v1::TAG_LEN;
use mlvpn_proto::wire::v1::HEADER_LEN;
use mlvpn_proto::wire::v2::DATA_OVERHEAD;

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
        LINK_MTU - self.ip_header() - self.overhead()
    }

    /// The same for version 2, which finds it out by itself: 1440 over IPv4.
    pub fn unfragmented_mtu_v2(&self) -> u16 {
        LINK_MTU - self.ip_header() - UDP_HEADER - DATA_OVERHEAD as u16 - self.ethernet_header()
    }

    /// Bytes between a packet of the interface (counted as its MTU does) and the IP packet on a
    /// link that carries it, without the latter's IP header.
    pub fn overhead(&self) -> u16 {
        let authentication = if self.general.cleartext_data { 0 } else { TAG_LEN as u16 };
        UDP_HEADER + HEADER_LEN as u16 + authentication + self.ethernet_header()
    }

    fn ip_header(&self) -> u16 {
        if self.links.iter().any(is_ip6) { IP6_HEADER } else { IP4_HEADER }
    }

    /// Bytes that travel with a packet of the interface and that its MTU does not count.
    pub fn ethernet_header(&self) -> u16 {
        match self.general.interface.kind {
            InterfaceKind::Tun => 0,
            InterfaceKind::Tap => ETHERNET_HEADER,
        }
    }
}

fn is_ip6(link: &Link) -> bool {
    [&link.bind_host, &link.remote_host]
        .into_iter()
        .any(|host| matches!(host, Some(Host::Address(IpAddr::V6(_)))))
}
