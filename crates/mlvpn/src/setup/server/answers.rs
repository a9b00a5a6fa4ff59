//! What clients are told: by options, from an earlier set-up, or asked for.

use std::net::IpAddr;

use mlvpn_io::netlink::TABLE_MAIN;

use super::Setting;
use crate::config::Host;
use crate::network::present::Present;
use crate::setup::existing::Choices;
use crate::setup::options::YesNo;
use crate::setup::questions::Questions;

/// Files in which the name servers are, the first that has some counts; that of systemd-resolved has the ones
/// behind its own.
const RESOLVER_FILES: [&str; 2] = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];

impl Setting<'_> {
    /// What clients are told. What was kept counts, and the options more.
    pub(super) fn choices(&self, questions: &mut Questions) -> anyhow::Result<Choices> {
        let Self { options, kept, .. } = self;
        let is_first = self.existing.is_none();
        let mut addresses = options.address.clone();
        if addresses.is_empty() {
            addresses = kept.hosts();
        }
        if addresses.is_empty() {
            let suggested = if questions.is_asking() || options.common.yes {
                public_addresses(&self.present)
            } else {
                Vec::new()
            };
            addresses = questions.list(
                "Address or name by which clients reach this server",
                "--address HOST (how clients reach this server)",
                suggested,
                is_first || options.add_client.is_some(),
            )?;
        }
        let default_route = match options.default_route.map(|wanted| wanted == YesNo::Yes) {
            Some(wanted) => Some(wanted),
            None if is_first => Some(questions.is_wanted(
                "Shall all traffic of clients go through this server",
                kept.default_route.unwrap_or(true),
            )?),
            None => kept.default_route,
        };
        let mut routes = options.routes.clone();
        if routes.is_empty() {
            routes = kept.nets();
        }
        let dns = self.name_servers(questions, default_route.unwrap_or(true), is_first)?;
        let routes = routes.iter().map(ToString::to_string).collect();
        let addresses = addresses.iter().map(ToString::to_string).collect();
        Ok(Choices { addresses, default_route, routes, dns })
    }

    fn name_servers(
        &self,
        questions: &mut Questions,
        takes_default_route: bool,
        is_first: bool,
    ) -> anyhow::Result<Option<Vec<IpAddr>>> {
        let options = self.options;
        if options.no_dns {
            return Ok(Some(Vec::new()));
        }
        if !options.dns.is_empty() {
            return Ok(Some(options.dns.clone()));
        }
        if self.kept.dns.is_some() || !is_first || !takes_default_route {
            return Ok(self.kept.dns.clone());
        }
        let suggested = name_servers_of_host();
        let question = "Name servers for clients (empty: they keep their own)";
        questions.list(question, "--dns ADDRESS", suggested, false).map(Some)
    }
}

/// Addresses by which hosts elsewhere may reach this one: those of the device of each family's default
/// route that are not private.
fn public_addresses(present: &Present) -> Vec<Host> {
    let default_link = |is_ipv6: bool| {
        let routes = present.routes.iter().filter(move |route| {
            route.table == TABLE_MAIN
                && route.destination.length == 0
                && route.destination.is_ipv6() == is_ipv6
        });
        routes.min_by_key(|route| route.metric.unwrap_or(0)).and_then(|route| route.link)
    };
    let first = |is_ipv6: bool| {
        let link = default_link(is_ipv6)?;
        let own = present.addresses.iter().filter(|address| address.link == link);
        own.map(|address| address.prefix.address)
            .find(|ip| ip.is_ipv6() == is_ipv6 && is_public(*ip))
    };
    [first(false), first(true)].into_iter().flatten().map(Host::Address).collect()
}

/// Whether an address may be reached from anywhere.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let is_shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || is_shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local())
        }
    }
}

/// The name servers of this host that others can use too.
fn name_servers_of_host() -> Vec<IpAddr> {
    let servers = |file: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let servers = name_servers(&text);
        (!servers.is_empty()).then_some(servers)
    };
    RESOLVER_FILES.iter().find_map(|file| servers(file)).unwrap_or_default()
}

fn name_servers(text: &str) -> Vec<IpAddr> {
    let values = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = values.filter_map(|value| value.trim().parse::<IpAddr>().ok());
    addresses.filter(|ip| is_public(*ip)).take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_that_only_this_host_reaches_are_no_suggestion() {
        let text = "search x\nnameserver 127.0.0.53\nnameserver 192.168.1.1\n nameserver\t9.9.9.9\n\
                    nameserver fd00::1\nnameserver 2620:fe::fe\n#nameserver 8.8.8.8\n";
        let shown: Vec<_> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["9.9.9.9", "2620:fe::fe"]);
        for private in ["10.0.0.1", "100.64.0.1", "169.254.1.1", "fe80::1", "::1"] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }
}
