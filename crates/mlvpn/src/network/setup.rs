//! What a configuration wants of the host's network, in the words of this module.

use std::net::IpAddr;

use ipnet::IpNet;
use mlvpn_io::netlink::Prefix;

use super::numbers::{LinkNumber, LinkNumbers};
use crate::config::{Config, Host, InterfaceKind, Mode};

/// Everything of a configuration that concerns the host's network. The default wants nothing at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// The tunnel's interface.
    pub interface: String,
    /// Whether the program looks after the network at all.
    pub is_managed: bool,
    /// The interface's addresses, at most one of each family.
    pub addresses: Vec<Prefix>,
    /// What is reached through the tunnel while it is up.
    pub routes: Vec<TunnelRoute>,
    /// The links.
    pub links: Vec<LinkSetup>,
    /// Which traffic between the tunnel and the rest of the world gets another source address.
    pub nat: Option<Nat>,
    /// Whether only the links' own packets may go past the tunnel.
    pub has_kill_switch: bool,
    /// The name servers while the tunnel is up.
    pub name_servers: Vec<IpAddr>,
}

/// A network that is reached through the tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelRoute {
    /// The network.
    pub destination: Prefix,
    /// The next hop; none on an interface without neighbours.
    pub gateway: Option<IpAddr>,
    /// The interface's address in this family, from which packets come that have none yet.
    pub source: Option<IpAddr>,
}

/// How a link leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSetup {
    /// Its name.
    pub name: String,
    /// Its number; one without has no table of its own.
    pub number: Option<LinkNumber>,
    /// The device that it is bound to.
    pub device: Option<String>,
    /// The address that it is bound to.
    pub address: Option<IpAddr>,
    /// The firewall mark that the user has chosen: by it, the user's rules lead the link.
    pub user_mark: Option<u32>,
}

/// Masquerading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nat {
    /// What comes from these networks and leaves by another interface than the tunnel's.
    FromTunnel(Vec<Prefix>),
    /// What goes into the tunnel and comes from other addresses than the interface's.
    IntoTunnel,
}

impl Setup {
    /// What `config` wants, with these numbers for its links.
    #[must_use]
    pub fn of(config: &Config, numbers: &LinkNumbers) -> Self {
        let general = &config.general;
        let network = &general.network;
        if !network.is_managed {
            return Self { interface: general.interface.name.clone(), ..Self::default() };
        }
        let own = &general.addresses;
        let addresses = own.ip4.map(IpNet::V4).into_iter().chain(own.ip6.map(IpNet::V6));
        let nat = match general.mode {
            Mode::Server => {
                Nat::FromTunnel(config.tunnel_networks().into_iter().map(prefix).collect())
            }
            Mode::Client => Nat::IntoTunnel,
        };
        Self {
            interface: general.interface.name.clone(),
            is_managed: true,
            addresses: addresses.map(prefix).collect(),
            routes: config.tunnel_routes().into_iter().map(|net| route(config, net)).collect(),
            links: config.links.iter().map(|link| link_setup(link, numbers)).collect(),
            nat: network.has_nat.then_some(nat),
            has_kill_switch: network.has_kill_switch,
            name_servers: network.dns.clone(),
        }
    }

    /// Whether the interface has an address of this family.
    #[must_use]
    pub fn has_family(&self, is_ipv6: bool) -> bool {
        self.addresses.iter().any(|prefix| prefix.is_ipv6() == is_ipv6)
    }
}

fn prefix(net: IpNet) -> Prefix {
    Prefix::new(net.addr(), net.prefix_len())
}

fn route(config: &Config, net: IpNet) -> TunnelRoute {
    let addresses = &config.general.addresses;
    let (source, gateway) = match net {
        IpNet::V4(_) => {
            (addresses.ip4.map(|net| net.addr().into()), addresses.ip4_gateway.map(IpAddr::V4))
        }
        IpNet::V6(_) => {
            (addresses.ip6.map(|net| net.addr().into()), addresses.ip6_gateway.map(IpAddr::V6))
        }
    };
    let is_tap = config.general.interface.kind == InterfaceKind::Tap;
    TunnelRoute { destination: prefix(net), gateway: gateway.filter(|_| is_tap), source }
}

fn link_setup(link: &crate::config::Link, numbers: &LinkNumbers) -> LinkSetup {
    LinkSetup {
        name: link.name.clone(),
        number: numbers.of(&link.name),
        device: link.bind_dev.clone(),
        address: match link.bind_host {
            Some(Host::Address(address)) if !address.is_unspecified() => Some(address),
            _ => None,
        },
        user_mark: link.bind_fib,
    }
}
