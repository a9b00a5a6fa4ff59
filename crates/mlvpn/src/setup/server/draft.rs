//! The server's configuration: as it is, with what the options say otherwise; or a new one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::bail;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mlvpn_io::netlink::TABLE_MAIN;
use mlvpn_proto::crypto::keypair::{PresharedKey, PrivateKey};

use super::{Client, Setting};
use crate::config::{Host, Link, Peer};
use crate::setup::document::{PeerSection, ServerDocument, ServerLink};
use crate::setup::questions::Questions;
use crate::setup::token::Identity;
use crate::setup::{existing, networks};

const FIRST_PORT: u16 = 5080;
const LINKS: u16 = 4;
/// The first client, when nobody names it.
const FIRST_CLIENT: &str = "client";

impl Setting<'_> {
    /// The configuration as it is, with what the options say otherwise; or a new one.
    pub(super) fn document(&self, questions: &Questions) -> anyhow::Result<ServerDocument> {
        let options = self.options;
        let general = self.existing.as_ref().map(|config| &config.general);
        let interface = match general {
            Some(general) => general.interface.name.clone(),
            None => existing::free_interface(&self.place, |name| self.present.link(name).is_some()),
        };
        let known = networks::known(&self.present, &interface);
        let (ip4, ip6) = self.addresses(&known)?;
        let socket = general.and_then(|general| general.control.unix_path.as_ref());
        let has_nat = general.is_none_or(|general| general.network.has_nat);
        Ok(ServerDocument {
            key_file: self.place.key_name(),
            interface,
            ip4,
            ip6,
            has_nat: has_nat && !options.no_nat,
            socket: socket.map_or_else(|| self.place.socket(), |path| path.display().to_string()),
            links: self.links(questions)?,
            peers: self.peers(ip4, ip6),
        })
    }

    fn addresses(&self, known: &[IpNet]) -> anyhow::Result<(Option<Ipv4Net>, Option<Ipv6Net>)> {
        let Self { options, existing, key, .. } = self;
        let public = key.public_key();
        if let Some(config) = existing {
            let own = &config.general.addresses;
            // The same network is the same, whatever the server's address in it.
            let is_new4 = |net: &Ipv4Net| own.ip4.is_none_or(|own| own.trunc() != net.trunc());
            let is_new6 = |net: &Ipv6Net| own.ip6.is_none_or(|own| own.trunc() != net.trunc());
            let ip4 = options.ip4.filter(is_new4).map(networks::server_v4).or(own.ip4);
            let ip6 = options.ip6.filter(is_new6).map(networks::server_v6).or(own.ip6);
            return Ok((ip4, ip6));
        }
        for net in options.ip4.map(IpNet::V4).into_iter().chain(options.ip6.map(IpNet::V6)) {
            if let Some(other) = networks::clash(net.trunc(), known) {
                bail!("{net} cannot be the tunnel's: this host knows a way to {other} already");
            }
        }
        let ip4 = options.ip4.map_or_else(|| networks::choose_v4(&public, known), Ok)?;
        let ip6 = options.ip6.map_or_else(|| networks::choose_v6(&public, known), Ok)?;
        Ok((Some(networks::server_v4(ip4)), Some(networks::server_v6(ip6))))
    }

    /// The clients that there are. Where the tunnel's network is another one, they keep their numbers in it.
    fn peers(&self, ip4: Option<Ipv4Net>, ip6: Option<Ipv6Net>) -> Vec<PeerSection> {
        let Some(config) = &self.existing else { return Vec::new() };
        let own = &config.general.addresses;
        let moved = |net: IpNet| match net {
            IpNet::V4(net) => {
                IpNet::V4(own.ip4.zip(ip4).map_or(net, |(from, to)| moved_v4(net, from, to)))
            }
            IpNet::V6(net) => {
                IpNet::V6(own.ip6.zip(ip6).map_or(net, |(from, to)| moved_v6(net, from, to)))
            }
        };
        let mut peers: Vec<_> = config.peers.iter().map(section).collect();
        for peer in &mut peers {
            peer.networks = peer.networks.iter().copied().map(moved).collect();
        }
        peers
    }

    /// The links: as they are, or as the options say.
    fn links(&self, questions: &Questions) -> anyhow::Result<Vec<ServerLink>> {
        let options = self.options;
        let existing: Vec<_> =
            self.existing.iter().flat_map(|config| &config.links).filter_map(server_link).collect();
        let mut ports: Vec<_> = existing.iter().map(|link| link.port).collect();
        ports.sort_unstable();
        ports.dedup();
        let (first, count) = match ports.first() {
            Some(first) => {
                let count = ports.len() as u16;
                (options.port.unwrap_or(*first), options.links.unwrap_or(count))
            }
            None => {
                let first = match options.port {
                    Some(port) => port,
                    None => questions.value("First UDP port", FIRST_PORT)?,
                };
                let count = match options.links {
                    Some(count) => count,
                    None => questions.value("The most uplinks that a client has", LINKS)?,
                };
                (first, count)
            }
        };
        if u32::from(first) + u32::from(count) > 65_536 || first == 0 || count == 0 {
            bail!(
                "{count} ports from {first} on are not possible: choose another --port or --links"
            );
        }
        if ports.first() == Some(&first) && ports.len() == usize::from(count) {
            return Ok(existing);
        }
        Ok(self.new_links(first, count))
    }

    /// Links on these ports, for each family that the host has a default route of: a socket has one family.
    fn new_links(&self, first: u16, count: u16) -> Vec<ServerLink> {
        let has = |is_ipv6: bool| {
            self.present.routes.iter().any(|route| {
                route.table == TABLE_MAIN
                    && route.destination.length == 0
                    && route.destination.is_ipv6() == is_ipv6
            })
        };
        let is_only_v6 = has(true) && !has(false);
        let any: Host = Host::Address(Ipv6Addr::UNSPECIFIED.into());
        let mut links = Vec::new();
        for number in 0..count {
            let (name, port) = (format!("link{}", number + 1), first + number);
            if !is_only_v6 {
                links.push(ServerLink { name: name.clone(), host: None, port });
            }
            if has(true) {
                let name = format!("{name}-ipv6");
                links.push(ServerLink { name, host: Some(any.clone()), port });
            }
        }
        links
    }

    /// The client that is to be added, if there is one.
    pub(super) fn client(
        &self,
        document: &ServerDocument,
        questions: &Questions,
    ) -> anyhow::Result<Option<Client>> {
        let options = self.options;
        let name = match (&options.add_client, &self.existing) {
            (Some(name), _) => name.clone(),
            (None, None) => questions.value("Name of the first client", FIRST_CLIENT.to_owned())?,
            (None, Some(_)) => return Ok(None),
        };
        let known = document.peers.iter().find(|peer| peer.name == name);
        if known.is_some() && !options.common.force {
            bail!(
                "the client {name} is there already, and its line was shown when it was added. With --force \
                 it gets another key, and the one that it has is of no use any more"
            );
        }
        let networks = match known {
            Some(peer) => peer.networks.clone(),
            None => {
                let taken: Vec<_> =
                    document.peers.iter().flat_map(|peer| peer.networks.iter().copied()).collect();
                let (v4, v6) = networks::next_client((document.ip4, document.ip6), &taken)?;
                let v4 = v4.map(|ip| IpNet::from(IpAddr::V4(ip)));
                v4.into_iter().chain(v6.map(|ip| IpNet::from(IpAddr::V6(ip)))).collect()
            }
        };
        let identity = match options.public_key {
            Some(key) => Identity::Kept(key),
            None => Identity::Given(PrivateKey::take(&mut *crate::cli::random_bytes()?)),
        };
        let preshared_key = match options.preshared_key {
            true => Some(PresharedKey::take(&mut *crate::cli::random_bytes()?)),
            false => None,
        };
        let public_key = identity.public_key();
        let section = PeerSection { name, public_key, preshared_key, networks };
        Ok(Some(Client { section, identity }))
    }
}

/// A link that has a port, as every one of a server.
pub(super) fn server_link(link: &Link) -> Option<ServerLink> {
    let (name, host) = (link.name.clone(), link.bind_host.clone());
    Some(ServerLink { name, host, port: link.bind_port? })
}

fn section(peer: &Peer) -> PeerSection {
    let v4 = peer.ip4.iter().copied().map(IpNet::V4);
    let v6 = peer.ip6.iter().copied().map(IpNet::V6);
    PeerSection {
        name: peer.name.clone(),
        public_key: peer.public_key,
        preshared_key: peer.preshared_key.clone(),
        networks: v4.chain(v6).collect(),
    }
}

/// An address of one network as that with the same number in another; anything else as it is.
fn moved_v4(net: Ipv4Net, from: Ipv4Net, to: Ipv4Net) -> Ipv4Net {
    let number = u32::from(net.addr()).wrapping_sub(u32::from(from.network()));
    let new = Ipv4Addr::from(u32::from(to.network()).wrapping_add(number));
    let is_own = net.prefix_len() == 32 && from.contains(&net.addr()) && to.contains(&new);
    if is_own { Ipv4Net::from(new) } else { net }
}

/// As [`moved_v4`].
fn moved_v6(net: Ipv6Net, from: Ipv6Net, to: Ipv6Net) -> Ipv6Net {
    let number = u128::from(net.addr()).wrapping_sub(u128::from(from.network()));
    let new = Ipv6Addr::from(u128::from(to.network()).wrapping_add(number));
    let is_own = net.prefix_len() == 128 && from.contains(&net.addr()) && to.contains(&new);
    if is_own { Ipv6Net::from(new) } else { net }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_keep_their_numbers_when_the_network_is_another_one() {
        let (from, to) = ("10.9.0.1/24".parse().unwrap(), "10.8.7.1/24".parse().unwrap());
        let moved = |text: &str| moved_v4(text.parse().unwrap(), from, to).to_string();
        assert_eq!(moved("10.9.0.5/32"), "10.8.7.5/32");
        assert_eq!(moved("192.168.7.0/24"), "192.168.7.0/24");
        assert_eq!(moved("192.168.7.5/32"), "192.168.7.5/32");
        let (from, to) = ("fd00::1/64".parse().unwrap(), "fd77::1/64".parse().unwrap());
        assert_eq!(moved_v6("fd00::5/128".parse().unwrap(), from, to).to_string(), "fd77::5/128");
    }
}
