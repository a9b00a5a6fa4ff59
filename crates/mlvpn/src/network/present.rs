//! What there is: interfaces, addresses, routes and rules, as the kernel tells.

use std::net::IpAddr;

use mlvpn_io::netlink::{
    Address, Link, Netlink, NetlinkError, PROTOCOL_KERNEL, Prefix, Route, Rule, TABLE_MAIN,
};

use super::numbers::{PROTOCOL, Slot};

/// The host's network at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Present {
    /// All interfaces.
    pub links: Vec<Link>,
    /// Their addresses.
    pub addresses: Vec<Address>,
    /// The unicast routes of all tables.
    pub routes: Vec<Route>,
    /// The rules that choose tables.
    pub rules: Vec<Rule>,
}

impl Present {
    /// Asks the kernel.
    ///
    /// # Errors
    /// When it refuses to tell.
    pub fn read(netlink: &mut Netlink) -> Result<Self, NetlinkError> {
        Ok(Self {
            links: netlink.links()?,
            addresses: netlink.addresses()?,
            routes: netlink.routes()?,
            rules: netlink.rules()?,
        })
    }

    /// The interface called `name`.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The interface that has this address.
    #[must_use]
    pub fn link_with(&self, address: IpAddr) -> Option<&Link> {
        let found = self.addresses.iter().find(|found| found.prefix.address == address)?;
        self.links.iter().find(|link| link.index == found.link)
    }

    /// The routes that the program in `slot` has made.
    pub fn own_routes(&self, slot: Slot) -> impl Iterator<Item = &Route> {
        let is_own = move |r: &&Route| r.protocol == PROTOCOL && slot.has_table(r.table);
        self.routes.iter().filter(is_own)
    }

    /// The rules that the program in `slot` has made.
    pub fn own_rules(&self, slot: Slot) -> impl Iterator<Item = &Rule> {
        let is_own = move |r: &&Rule| r.protocol == PROTOCOL && slot.has_priority(r.priority);
        self.rules.iter().filter(is_own)
    }

    /// The routes of the main table that lead to an interface.
    pub fn main_routes(&self, link: u32) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter(move |r| r.table == TABLE_MAIN && r.link == Some(link))
    }

    /// The networks that interfaces other than the one called `tunnel` are in. Sorted, none twice.
    #[must_use]
    pub fn local_networks(&self, tunnel: &str) -> Vec<Prefix> {
        let tunnel = self.link(tunnel).map(|link| link.index);
        let is_local = |r: &&Route| {
            r.table == TABLE_MAIN
                && r.protocol == PROTOCOL_KERNEL
                && r.gateway.is_none()
                && r.destination.length > 0
                && r.link != tunnel
        };
        let mut networks: Vec<_> =
            self.routes.iter().filter(is_local).map(|r| r.destination).collect();
        networks.sort();
        networks.dedup();
        networks
    }
}
