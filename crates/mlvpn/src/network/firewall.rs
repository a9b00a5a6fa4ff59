//! The one nftables table that is ours: what is in it, as text for `nft -f -`.
//!
//! The text, and not a library: the language is stable and documented, every host that filters packets
//! has the program, a transaction replaces the whole table or nothing, and what is sent can be read in
//! the log and tried by hand. Only checked names, addresses and numbers of the configuration get into it.

use std::fmt::Write as _;

use mlvpn_io::netlink::Prefix;

use super::desired;
use super::numbers::{MARK, MARK_MASK, Slot};
use super::present::Present;
use super::setup::{Nat, Setup};

/// Link-local addresses and multicast: never leave the link.
const LINK_SCOPE_V4: &str = "169.254.0.0/16, 224.0.0.0/24, 255.255.255.255";
const LINK_SCOPE_V6: &str = "fe80::/10, ff02::/16";

/// What the table depends on beside the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The networks that the host's interfaces are in, without the tunnel's.
    pub local_networks: Vec<Prefix>,
    /// Devices of links on which the kernel drops packets that would be answered by another one.
    pub strict_devices: Vec<String>,
}

impl Surroundings {
    /// As the kernel tells; `is_strict` says of a device whether it has strict reverse-path filtering.
    #[must_use]
    pub fn of(setup: &Setup, present: &Present, is_strict: impl Fn(&str) -> bool) -> Self {
        let devices = setup.links.iter().filter_map(|link| desired::device(link, setup, present));
        let mut strict_devices: Vec<_> =
            devices.filter(|link| is_strict(&link.name)).map(|link| link.name.clone()).collect();
        strict_devices.sort();
        strict_devices.dedup();
        let local_networks = match setup.has_kill_switch {
            true => present.local_networks(&setup.interface),
            false => Vec::new(),
        };
        Self { local_networks, strict_devices }
    }
}

/// The name of the table of the program in this slot, in the family `inet`.
#[must_use]
pub fn table_name(slot: Slot) -> String {
    format!("mlvpn_{}", slot.number())
}

/// What removes the table, whether it is there or not.
#[must_use]
pub fn removal(slot: Slot) -> String {
    let name = table_name(slot);
    format!("table inet {name} {{\n}}\ndelete table inet {name}\n")
}

/// What replaces the table with the one that `setup` wants; `None` when it wants none.
#[must_use]
pub fn script(setup: &Setup, slot: Slot, around: &Surroundings) -> Option<String> {
    let mut chains = String::new();
    if let Some(nat) = &setup.nat {
        chains.push_str(&clamp(&setup.interface));
        chains.push_str(&masquerade(setup, nat));
    }
    if setup.has_kill_switch {
        chains.push_str(&kill_switch(setup, around));
    }
    if !around.strict_devices.is_empty() {
        chains.push_str(&marks(around));
    }
    let table = format!("table inet {} {{\n{chains}}}\n", table_name(slot));
    (!chains.is_empty()).then(|| removal(slot) + &table)
}

/// The segment size of TCP connections through the tunnel is what fits.
fn clamp(interface: &str) -> String {
    let rule = "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu";
    chain(
        "clamp",
        "type filter hook forward priority mangle; policy accept;",
        &[format!("oifname \"{interface}\" {rule}"), format!("iifname \"{interface}\" {rule}")],
    )
}

fn masquerade(setup: &Setup, nat: &Nat) -> String {
    let interface = &setup.interface;
    let mut rules = Vec::new();
    for (word, is_ipv6) in [("ip", false), ("ip6", true)] {
        match nat {
            Nat::FromTunnel(networks) => {
                if let Some(set) = set(networks.iter().filter(|net| net.is_ipv6() == is_ipv6)) {
                    rules.push(format!("{word} saddr {set} oifname != \"{interface}\" masquerade"));
                }
            }
            Nat::IntoTunnel => {
                let own = setup.addresses.iter().find(|own| own.is_ipv6() == is_ipv6);
                rules.extend(own.map(|own| {
                    format!("oifname \"{interface}\" {word} saddr != {} masquerade", own.address)
                }));
            }
        }
    }
    chain("nat", "type nat hook postrouting priority srcnat; policy accept;", &rules)
}

/// Nothing but what is accepted here leaves the host or passes through it, be the tunnel up or not.
fn kill_switch(setup: &Setup, around: &Surroundings) -> String {
    let interface = &setup.interface;
    let mut common = vec![format!("oifname \"{interface}\" accept")];
    common.push(format!("ip daddr {{ {LINK_SCOPE_V4} }} accept"));
    common.push(format!("ip6 daddr {{ {LINK_SCOPE_V6} }} accept"));
    for (word, is_ipv6) in [("ip", false), ("ip6", true)] {
        let networks = around.local_networks.iter().filter(|net| net.is_ipv6() == is_ipv6);
        common.extend(set(networks).map(|set| format!("{word} daddr {set} accept")));
    }
    let refusal = "counter reject with icmpx admin-prohibited".to_owned();
    let mut output = vec![
        "oifname \"lo\" accept".to_owned(),
        format!("meta l4proto udp meta mark & {MARK_MASK:#x} == {MARK:#x} accept"),
        "udp sport 68 udp dport 67 accept".to_owned(),
        "udp sport 546 udp dport 547 accept".to_owned(),
    ];
    let user_marks = setup.links.iter().filter_map(|link| link.user_mark);
    output.extend(user_marks.map(|mark| format!("meta l4proto udp meta mark {mark:#x} accept")));
    output.extend(common.iter().cloned());
    output.push(refusal.clone());
    let mut forward = common;
    forward.push(refusal);
    chain("kill_output", "type filter hook output priority filter; policy accept;", &output)
        + &chain(
            "kill_forward",
            "type filter hook forward priority filter; policy accept;",
            &forward,
        )
}

/// What comes for a link's socket gets the mark of what it sends, before the kernel looks whether it
/// came in by where an answer would leave.
fn marks(around: &Surroundings) -> String {
    let devices: Vec<_> = around.strict_devices.iter().map(|name| format!("\"{name}\"")).collect();
    let devices = devices.join(", ");
    let rule = format!(
        "iifname {{ {devices} }} meta l4proto udp socket mark & {MARK_MASK:#x} == {MARK:#x} \
         meta mark set socket mark"
    );
    chain("links", "type filter hook prerouting priority mangle; policy accept;", &[rule])
}

fn chain(name: &str, hook: &str, rules: &[String]) -> String {
    let mut text = format!("\tchain {name} {{\n\t\t{hook}\n");
    for rule in rules {
        writeln!(text, "\t\t{rule}").expect("a string takes everything");
    }
    text + "\t}\n"
}

/// A set of networks without those that others contain; `None` when there is none.
fn set<'a>(networks: impl Iterator<Item = &'a Prefix>) -> Option<String> {
    let nets = networks.filter_map(|net| ipnet::IpNet::new(net.address, net.length).ok());
    let nets: Vec<_> = ipnet::IpNet::aggregate(&nets.map(|net| net.trunc()).collect::<Vec<_>>());
    let shown: Vec<_> = nets.iter().map(ToString::to_string).collect();
    (!shown.is_empty()).then(|| format!("{{ {} }}", shown.join(", ")))
}

#[cfg(test)]
mod tests;
