//! Rules, default routes and forwarding: whether ours are there, and whether others' are in the way.

use mlvpn_io::netlink::{Link as Device, Route, Rule, RuleAction, TABLE_MAIN};

use super::evidence::{Evidence, Program};
use super::finding::Finding;
use crate::config::Mode;
use crate::network::numbers::{PROTOCOL, Slot};
use crate::network::present::Present;

/// The table of the host's own addresses, which is asked first.
const TABLE_LOCAL: u32 = 255;
/// Interfaces of other VPNs.
const VPN_KINDS: [&str; 6] = ["wireguard", "tun", "ipip", "gre", "vti", "xfrm"];

/// What there is to say.
pub(super) fn findings(evidence: &Evidence) -> Vec<Finding> {
    let Some(present) = evidence.present() else { return Vec::new() };
    let mut findings = Vec::new();
    findings.extend(other_vpns(evidence, present));
    findings.extend(earlier_rules(evidence, present));
    findings.extend(own_rules(evidence, present));
    findings.extend(forwarding(evidence));
    findings
}

/// Other tunnels that want all traffic, too.
fn other_vpns(evidence: &Evidence, present: &Present) -> Vec<Finding> {
    let own = &evidence.config.general.interface.name;
    let is_vpn = |device: &&Device| {
        device.kind.as_deref().is_some_and(|kind| VPN_KINDS.contains(&kind)) && device.name != *own
    };
    let is_ours = |route: &Route| {
        route.protocol == PROTOCOL && Slot::all().any(|slot| slot.has_table(route.table))
    };
    // OpenVPN covers everything with two halves.
    let leads = |device: &Device| {
        present.routes.iter().any(|route| {
            route.link == Some(device.index) && route.destination.length <= 1 && !is_ours(route)
        })
    };
    let others = present.links.iter().filter(is_vpn).filter(|device| leads(device));
    others
        .map(|device| {
            let kind = device.kind.as_deref().unwrap_or("tunnel");
            let text = format!("{} ({kind}) takes all traffic as well", device.name);
            let remedy = format!(
                "stop the other VPN, or take its default route away: ip route show dev {}",
                device.name
            );
            Finding::warning("host", "other_vpn", text).remedy(remedy)
        })
        .collect()
}

/// Rules of others that come before ours.
fn earlier_rules(evidence: &Evidence, present: &Present) -> Vec<Finding> {
    if !evidence.config.general.network.is_managed {
        return Vec::new();
    }
    let first = Slot::all().map(|slot| slot.exemption_priority(0)).min().unwrap_or_default();
    let is_other = |rule: &&Rule| {
        rule.protocol != PROTOCOL
            && rule.priority < first
            && matches!(rule.action, RuleAction::Lookup(table) if table != TABLE_LOCAL && table != TABLE_MAIN)
    };
    let others = present.rules.iter().filter(is_other);
    others
        .map(|rule| {
            let is_for_all = rule.mark.is_none()
                && rule.from.is_none()
                && rule.input.is_none()
                && rule.output.is_none();
            let v6 = if rule.is_ipv6 { "-6 " } else { "" };
            let remedy = format!("ip {v6}rule show; ip {v6}rule del pref {}", rule.priority);
            let text = format!("somebody's {rule} comes before mlvpn's");
            match is_for_all {
                true => Finding::warning("host", "rules", text).remedy(remedy),
                false => Finding::note("host", "rules", text),
            }
        })
        .collect()
}

/// Our rules: there while the tunnel is up, gone when nothing runs.
fn own_rules(evidence: &Evidence, present: &Present) -> Option<Finding> {
    let network = &evidence.config.general.network;
    let count = present.rules.iter().filter(|rule| rule.protocol == PROTOCOL).count();
    match &evidence.program {
        Program::Stopped { .. } if count > 0 => {
            let text =
                format!("{count} rules of an mlvpn are there that runs no more, or is another one");
            let remedy = format!(
                "if no other mlvpn runs here: ip rule flush protocol {PROTOCOL}; ip -6 rule flush protocol {PROTOCOL}; \
                 or start and stop mlvpn once"
            );
            Some(Finding::warning("host", "leftovers", text).remedy(remedy))
        }
        Program::Running(status, _) if network.is_managed => {
            let is_up = status.protocol_version.is_some();
            let leads = |rule: &&Rule| {
                rule.protocol == PROTOCOL
                    && Slot::all().any(|slot| slot.leads_into_tunnel(rule.priority))
            };
            let is_led = present.rules.iter().any(|rule| leads(&rule));
            let wants = !evidence.config.tunnel_routes().is_empty();
            if !(is_up && wants) {
                return None;
            }
            Some(if is_led {
                Finding::ok("host", "routes", "the rules that lead into the tunnel are there")
            } else {
                let text =
                    "the rules that lead into the tunnel are gone: somebody has removed them";
                Finding::fault("host", "routes", text).remedy(reload(evidence))
            })
        }
        _ => None,
    }
}

/// What has the running program set everything up again.
pub(super) fn reload(evidence: &Evidence) -> String {
    format!("systemctl restart mlvpn@{}, or stop and start mlvpn", evidence.instance())
}

/// Address translation needs forwarding.
fn forwarding(evidence: &Evidence) -> Option<Finding> {
    let general = &evidence.config.general;
    let is_running = evidence.status().is_some();
    if !general.network.has_nat || !is_running {
        return None;
    }
    let is_off = |key: &str| evidence.sysctls.read(key).is_ok_and(|value| value == "0");
    let v4 = general.addresses.ip4.is_some() && is_off("net/ipv4/ip_forward");
    let v6 = general.addresses.ip6.is_some() && is_off("net/ipv6/conf/all/forwarding");
    if !v4 && !v6 {
        return Some(Finding::ok("host", "forwarding", "packets are forwarded"));
    }
    let who = if general.mode == Mode::Server { "clients" } else { "networks behind this host" };
    let text = format!("packets of {who} are not forwarded: somebody has switched that off");
    let mut settings = Vec::new();
    settings.extend(v4.then_some("net.ipv4.ip_forward=1"));
    settings.extend(v6.then_some("net.ipv6.conf.all.forwarding=1"));
    let remedy = format!("sysctl -w {}", settings.join(" "));
    Some(Finding::fault("host", "forwarding", text).remedy(remedy))
}
