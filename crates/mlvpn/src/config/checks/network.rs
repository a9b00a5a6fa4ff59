//! What the keys about the host's network get wrong together with others.

use crate::config::reader::Sections;
use crate::config::{Config, Finding, Findings, Host, InterfaceKind, Mode, Span};

/// The smallest MTU with which an interface has IPv6, in bytes (RFC 8200 section 5).
const MIN_MTU_IP6: u16 = 1280;

/// Compares them with addresses, interface and links. Nothing is found where the network is left to
/// others.
pub(in crate::config) fn check(config: &Config, sections: &Sections<'_>, findings: &mut Findings) {
    if !config.general.network.is_managed {
        return;
    }
    let place = |key: &str| {
        let entry = sections.general.as_ref().and_then(|general| general.entry(key));
        entry.filter(|entry| !entry.value.text.is_empty()).map(|entry| entry.value.span)
    };
    check_addresses(config, &place, findings);
    check_gateways(config, &place, findings);
    check_names(config, &place, findings);
    check_server(config, &place, findings);
    if let (Some(mtu), Some(span), Some(_)) =
        (config.general.interface.mtu, place("mtu"), config.general.addresses.ip6)
        && mtu < MIN_MTU_IP6
    {
        findings.push(
            Finding::error(span, format!("an mtu of {mtu} is too small for ip6"))
                .label("at least 1280 with ip6")
                .help("remove the line, or remove ip6"),
        );
    }
}

/// What goes through the tunnel needs an address of its own there.
fn check_addresses(config: &Config, place: &dyn Fn(&str) -> Option<Span>, findings: &mut Findings) {
    let (network, addresses) = (&config.general.network, &config.general.addresses);
    if addresses.ip4.is_some() || addresses.ip6.is_some() {
        return;
    }
    for (key, is_set) in [("default_route", network.takes_default_route), ("nat", network.has_nat)]
    {
        if let Some(span) = place(key).filter(|_| is_set) {
            findings.push(
                Finding::error(span, format!("{key} needs an address of the interface"))
                    .label("for which of IPv4 and IPv6?")
                    .help("set ip4, ip6 or both, such as ip4 = \"10.42.43.1/30\""),
            );
        }
    }
}

/// On an Ethernet there is no telling who is behind it.
fn check_gateways(config: &Config, place: &dyn Fn(&str) -> Option<Span>, findings: &mut Findings) {
    if config.general.interface.kind != InterfaceKind::Tap {
        return;
    }
    let addresses = &config.general.addresses;
    let routes = config.tunnel_routes();
    let has = |is_ip6: bool| routes.iter().any(|net| net.addr().is_ipv6() == is_ip6);
    for (key, gateway, is_missing) in [
        ("ip4_routes", "ip4_gateway", has(false) && addresses.ip4_gateway.is_none()),
        ("ip6_routes", "ip6_gateway", has(true) && addresses.ip6_gateway.is_none()),
    ] {
        if let Some(span) = place(key).or_else(|| place("default_route")).filter(|_| is_missing) {
            findings.push(
                Finding::error(span, format!("with tuntap = \"tap\" routes need {gateway}"))
                    .label("by which host?")
                    .help(format!("set {gateway} to the peer's address, or use tuntap = \"tun\"")),
            );
        }
    }
}

/// A name cannot be looked up past a kill switch, unless the name server is a neighbour.
fn check_names(config: &Config, place: &dyn Fn(&str) -> Option<Span>, findings: &mut Findings) {
    let named = config.links.iter().find(|link| matches!(link.remote_host, Some(Host::Name(_))));
    if let (Some(link), Some(span)) = (named, place("kill_switch"))
        && config.general.network.has_kill_switch
        && config.general.mode == Mode::Client
    {
        findings.push(
            Finding::warning(
                span,
                format!("the kill switch may keep the server of link {} from being found", link.name),
            )
            .label("no name server but a neighbour is reached while the tunnel is down")
            .help("write the server's address as remotehost, or use a name server in the local network"),
        );
    }
}

/// A server sends what comes from its peers on to others, which a kill switch is there to prevent.
fn check_server(config: &Config, place: &dyn Fn(&str) -> Option<Span>, findings: &mut Findings) {
    if let Some(span) = place("kill_switch")
        && config.general.network.has_kill_switch
        && config.general.mode == Mode::Server
    {
        findings.push(
            Finding::error(span, "a server cannot have a kill switch")
                .label("would refuse what comes out of the tunnel, and every login")
                .help(
                    "remove the line here, and set kill_switch in the configuration of the client",
                ),
        );
    }
}
