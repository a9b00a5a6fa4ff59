//! The largest packet that no link fragments.

use std::net::IpAddr;

use super::{Config, Host, InterfaceKind, Link};

/// What nearly every link carries, in bytes.
const LINK_MTU: u16 = 1500;
const IP4_HEADER: u16 = 20;
const IP6_HEADER: u16 = 40;
const UDP_HEADER: u16 = 8;
/// Our header, protocol version 1.
const HEADER: u16 = 28;
/// The authentication code of an encrypted packet.
const AUTHENTICATION: u16 = 16;
/// In tap mode the Ethernet header travels with the packet.
const ETHERNET_HEADER: u16 = 14;

impl Config {
    /// The largest MTU of the interface with which no datagram is fragmented on links of 1500 bytes.
    ///
    /// 1428 for encrypted data over IPv4. A link is taken for an IPv6 one when its addresses are; what
    /// a host name stands for is not known here.
    pub fn unfragmented_mtu(&self) -> u16 {
        let ip_header = if self.links.iter().any(is_ip6) { IP6_HEADER } else { IP4_HEADER };
        let authentication = if self.general.cleartext_data { 0 } else { AUTHENTICATION };
        let ethernet = match self.general.interface.kind {
            InterfaceKind::Tun => 0,
            InterfaceKind::Tap => ETHERNET_HEADER,
        };
        LINK_MTU - ip_header - UDP_HEADER - HEADER - authentication - ethernet
    }
}

fn is_ip6(link: &Link) -> bool {
    [&link.bind_host, &link.remote_host]
        .into_iter()
        .any(|host| matches!(host, Some(Host::Address(IpAddr::V6(_)))))
}
