//! The device of each link.

use std::net::IpAddr;

use mlvpn_io::netlink::{Link as Device, TABLE_MAIN};

use super::evidence::Evidence;
use super::finding::Finding;
use crate::config::{Host, Link, Mode};
use crate::network::present::Present;

/// The smallest MTU with which a link carries the 1280 bytes of IPv6 in the tunnel: 60 for version 2 over IPv4 and
/// a few to spare.
const ROOM_FOR_IPV6: u32 = 1360;
/// The smallest that version 2 works with (RFC 9000 has the same limit for its datagrams: 1200 and headers).
const SMALLEST: u32 = 1248;

/// What there is to say of the links' devices.
pub(super) fn findings(evidence: &Evidence) -> Vec<Finding> {
    let present = match &evidence.present {
        Ok(present) => present,
        Err(error) => {
            let text = format!("the kernel does not tell of the host's network: {error}");
            return vec![Finding::fault("host", "network", text)];
        }
    };
    let mut findings = Vec::new();
    for link in &evidence.config.links {
        let about = format!("link {}", link.name);
        findings.extend(name(&about, link, evidence));
        if link.bind_dev.is_none() && !has_address(link) {
            continue;
        }
        match device(&about, link, present) {
            Err(fault) => findings.push(fault),
            Ok(device) => {
                let view = View { about: &about, link, device, evidence, present };
                findings.extend(view.findings());
            }
        }
    }
    findings.extend(unbound(evidence, present));
    findings
}

fn has_address(link: &Link) -> bool {
    matches!(&link.bind_host, Some(Host::Address(address)) if !address.is_unspecified())
}

fn name(about: &str, link: &Link, evidence: &Evidence) -> Option<Finding> {
    let Some(Host::Name(name)) = &link.remote_host else { return None };
    match evidence.names.get(name)? {
        Ok(addresses) if !addresses.is_empty() => None,
        Ok(_) => Some(Finding::fault(about, "name", format!("{name} has no address"))),
        Err(error) => {
            let text = format!("the server's name {name} is not found: {error}");
            let remedy = format!("getent hosts {name}; or write its address in place of the name");
            Some(Finding::fault(about, "name", text).remedy(remedy))
        }
    }
}

/// The device of a link that is bound to one, or to an address.
fn device<'a>(about: &str, link: &Link, present: &'a Present) -> Result<&'a Device, Finding> {
    if let Some(name) = &link.bind_dev {
        return present.link(name).ok_or_else(|| {
            let text = format!("there is no device {name}");
            Finding::fault(about, "device", text)
                .remedy("plug it in, or mend binddev: `ip link` shows what there is")
        });
    }
    let Some(Host::Address(address)) = link.bind_host else {
        return Err(Finding::fault(about, "address", "its bindhost is no address of this host"));
    };
    present.link_with(address).ok_or_else(|| {
        let text = format!("no device has the address {address}");
        Finding::fault(about, "address", text)
            .remedy("mend bindhost (`ip address` shows what there is), or use binddev, which follows changes")
    })
}

/// Several links that leave where the routing table says leave by the same device.
fn unbound(evidence: &Evidence, present: &Present) -> Option<Finding> {
    let links = &evidence.config.links;
    let is_unbound =
        |link: &&Link| link.bind_dev.is_none() && !has_address(link) && link.bind_fib.is_none();
    let names: Vec<_> = links.iter().filter(is_unbound).map(|link| link.name.as_str()).collect();
    if evidence.config.general.mode == Mode::Server || names.len() < 2 {
        return None;
    }
    let default =
        present.routes.iter().filter(|r| r.table == TABLE_MAIN && r.destination.length == 0);
    let default = default.min_by_key(|route| route.metric.unwrap_or(0))?;
    let device = present.links.iter().find(|device| Some(device.index) == default.link)?;
    let text = format!("the links {} all leave by {}", names.join(", "), device.name);
    Some(Finding::warning("host", "uplinks", text).remedy("give each link its device with binddev"))
}

/// A link with its device.
struct View<'a> {
    about: &'a str,
    link: &'a Link,
    device: &'a Device,
    evidence: &'a Evidence,
    present: &'a Present,
}

impl View<'_> {
    fn findings(&self) -> Vec<Finding> {
        let name = &self.device.name;
        if !self.device.is_up {
            let fault = Finding::fault(self.about, "device", format!("{name} is down"));
            return vec![fault.remedy(format!("ip link set {name} up"))];
        }
        if !self.device.has_carrier {
            let text = format!("{name} is up, but nothing is at the other end of its cable");
            return vec![
                Finding::fault(self.about, "carrier", text)
                    .remedy("look at the cable, or the modem"),
            ];
        }
        let mut findings = vec![Finding::ok(self.about, "device", format!("{name} is up"))];
        findings.push(self.address());
        findings.extend(self.gateway());
        findings.extend(self.reverse_path());
        findings.extend(self.mtu());
        findings
    }

    /// The families in which the link has to reach the server; both for a server.
    fn families(&self) -> Vec<bool> {
        let remote = self.link.remote_host.iter().flat_map(|host| self.evidence.addresses_of(host));
        let mut families: Vec<_> = remote.map(|address| address.is_ipv6()).collect();
        if let Some(Host::Address(own)) = &self.link.bind_host {
            families.push(own.is_ipv6());
        }
        families.sort_unstable();
        families.dedup();
        if families.is_empty() { vec![false, true] } else { families }
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        let own = self.present.addresses.iter().filter(|a| a.link == self.device.index);
        let own = own.map(|address| address.prefix.address);
        own.filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())).collect()
    }

    fn address(&self) -> Finding {
        let (name, families) = (&self.device.name, self.families());
        let mut own = self.own_addresses();
        own.retain(|address| families.contains(&address.is_ipv6()));
        let Some(first) = own.first() else {
            let word = if families == [true] { "IPv6" } else { "IPv4" };
            let text = format!("{name} has no {word} address");
            let remedy = format!(
                "dhcpcd {name}, or as the provider says: ip address add ADDRESS/LENGTH dev {name}"
            );
            return Finding::fault(self.about, "address", text).remedy(remedy);
        };
        match nat(*first) {
            Some(how) => Finding::note(self.about, "nat", format!("its address {first} is {how}")),
            None => Finding::ok(self.about, "address", format!("its address {first} is public")),
        }
    }

    /// A way out by the device.
    fn gateway(&self) -> Option<Finding> {
        let name = &self.device.name;
        let remote = self.link.remote_host.iter().flat_map(|host| self.evidence.addresses_of(host));
        let remote: Vec<_> = remote.collect();
        if remote.is_empty() {
            return None;
        }
        let reaches = |to: &IpAddr| {
            self.present.main_routes(self.device.index).find(|route| {
                let net = ipnet::IpNet::new(route.destination.address, route.destination.length);
                net.is_ok_and(|net| net.trunc().contains(to))
            })
        };
        let Some(route) = remote.iter().find_map(reaches) else {
            let text = format!("no route by {name} leads to the server ({})", remote[0]);
            let v6 = if remote[0].is_ipv6() { "-6 " } else { "" };
            let remedy = format!(
                "ip {v6}route add default via ROUTER dev {name} metric 200, in the host's network set-up"
            );
            return Some(Finding::fault(self.about, "gateway", text).remedy(remedy));
        };
        let by = route.gateway.map_or_else(String::new, |gateway| format!(" by {gateway}"));
        Some(Finding::ok(
            self.about,
            "gateway",
            format!("the server is reached through {name}{by}"),
        ))
    }

    /// Strict filters drop what comes in by another device than the best route's.
    fn reverse_path(&self) -> Option<Finding> {
        let name = &self.device.name;
        if !self.evidence.sysctls.is_strict(name) {
            return None;
        }
        let is_managed = self.evidence.config.general.network.is_managed;
        if is_managed && self.evidence.has_nft {
            let text =
                format!("{name} filters strictly (rp_filter = 1), which mlvpn takes into account");
            return Some(Finding::ok(self.about, "rp_filter", text));
        }
        let default = self.present.routes.iter().filter(|route| {
            route.table == TABLE_MAIN
                && route.destination.length == 0
                && !route.destination.is_ipv6()
        });
        let best =
            default.min_by_key(|route| route.metric.unwrap_or(0)).and_then(|route| route.link);
        if best == Some(self.device.index) {
            return None;
        }
        let text =
            format!("{name} drops the server's answers: it filters strictly (rp_filter = 1)");
        let remedy = format!(
            "sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.{name}.rp_filter=2, and the same in \
             /etc/sysctl.d"
        );
        Some(Finding::fault(self.about, "rp_filter", text).remedy(remedy))
    }

    fn mtu(&self) -> Option<Finding> {
        let (name, mtu) = (&self.device.name, self.device.mtu);
        let remedy = format!("ip link set {name} mtu 1500, if the line carries that");
        let general = &self.evidence.config.general;
        if mtu < SMALLEST {
            let text =
                format!("the MTU of {name} is {mtu}, which is too small for any packet of mlvpn");
            return Some(Finding::fault(self.about, "mtu", text).remedy(remedy));
        }
        if mtu < ROOM_FOR_IPV6 && general.addresses.ip6.is_some() {
            let text =
                format!("the MTU of {name} is {mtu}: full IPv6 packets do not fit this link");
            return Some(Finding::warning(self.about, "mtu", text).remedy(remedy));
        }
        Some(Finding::ok(self.about, "mtu", format!("the MTU of {name} is {mtu}")))
    }
}

/// How an address is translated on the way; none when it is a public one.
fn nat(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(ip) if ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64 => {
            Some("shared by the provider's customers, who are behind its NAT (RFC 6598)")
        }
        IpAddr::V4(ip) if ip.is_private() => {
            Some("private: a router on the way translates it (NAT)")
        }
        IpAddr::V4(ip) if ip.is_link_local() => {
            Some("made up, for nobody gave it one (169.254.0.0/16)")
        }
        IpAddr::V6(ip) if ip.is_unique_local() => Some("private: it reaches nobody without NAT"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_nat_is_seen_by_the_address() {
        let kind = |text: &str| nat(text.parse().unwrap()).map(|how| &how[..6]);
        assert_eq!(kind("192.168.1.2"), Some("privat"));
        assert_eq!(kind("100.64.7.7"), Some("shared"));
        assert_eq!(kind("100.128.0.1"), None);
        assert_eq!(kind("169.254.3.3"), Some("made u"));
        assert_eq!(kind("fd00::1"), Some("privat"));
        assert_eq!((kind("203.0.113.2"), kind("2001:db8::1")), (None, None));
    }
}
