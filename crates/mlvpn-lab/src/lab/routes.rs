//! Which link the client's packets take.

use std::net::IpAddr;

use anyhow::{Context, Result};
use mlvpn_io::netlink::{Prefix, Route, Rule};

use super::{Lab, LabLink};

/// Tables of the client's policy routing: this and the link's number.
const TABLE_BASE: u32 = 1000;
/// The rule for the address of link N has this priority and N, before the main table's.
const ADDRESS_RULE: u32 = 10_000;
/// The rule for the device of link N has this priority and N.
const DEVICE_RULE: u32 = 11_000;
/// The routes by link N in the main table have this metric and N, so that the first one is taken.
const METRIC: u32 = 100;

impl LabLink {
    /// The client's routing table for what goes by this link.
    #[must_use]
    pub fn table(&self) -> u32 {
        TABLE_BASE + u32::from(self.number())
    }
}

impl Lab {
    /// Routes the client's traffic: what is bound to the address or device of the link added last goes
    /// by the link, and the first link is the default.
    pub(super) fn add_routes(&self) -> Result<()> {
        let link = self.links.last().context("a link was just added")?;
        for (own, gateway) in
            [(link.client_v4(), link.server_end_v4()), (link.client_v6(), link.server_end_v6())]
        {
            self.route(link, own, gateway)?;
            let rule = Rule::lookup(link.table(), own.is_ipv6(), device_rule(link));
            self.client.netlink().add_rule(&rule.with_output(link.name()))?;
        }
        Ok(())
    }

    /// Gives the client another address on a link, as a provider does that hands out another one: first
    /// those of the family are taken away, then there is `own`, with the server's end of the link at
    /// `gateway`. What a translator remembered of the former addresses is forgotten, also when `own` is
    /// one of them.
    ///
    /// # Errors
    /// When there is no such link, or an address is refused.
    pub fn readdress(&self, link: &str, own: Prefix, gateway: IpAddr) -> Result<()> {
        let link = self.find(link).with_context(|| format!("no link is called {link}"))?;
        self.server.configure(link.name(), None, &[Prefix::new(gateway, own.length)])?;
        let mut netlink = self.client.netlink();
        let device = netlink.link_by_name(link.name())?.index;
        for known in netlink.addresses()? {
            let is_replaced = known.link == device && known.prefix.is_ipv6() == own.is_ipv6();
            if is_replaced {
                match netlink.delete_address(device, known.prefix) {
                    // It went with the first of its network.
                    Err(error) if error.is_not_found() => {}
                    other => other?,
                }
            }
        }
        netlink.add_address(device, own)?;
        drop(netlink);
        self.route(link, own.address, gateway)
    }

    /// Routes what comes from `own`, and what is bound to the link's device, by the link.
    fn route(&self, link: &LabLink, own: IpAddr, gateway: IpAddr) -> Result<()> {
        let mut netlink = self.client.netlink();
        let device = netlink.link_by_name(link.name())?.index;
        let route = Route::to(Prefix::all_of(own)).via(gateway).by_link(device).from_source(own);
        netlink.replace_route(&route.clone().in_table(link.table()))?;
        netlink.replace_route(&route.with_metric(METRIC + u32::from(link.number())))?;
        let priority = ADDRESS_RULE + u32::from(link.number());
        let rule = Rule::lookup(link.table(), own.is_ipv6(), priority);
        match netlink.add_rule(&rule.with_source(Prefix::host(own))) {
            Err(error) if error.is_already_there() => Ok(()),
            other => Ok(other?),
        }
    }
}

fn device_rule(link: &LabLink) -> u32 {
    DEVICE_RULE + u32::from(link.number())
}
