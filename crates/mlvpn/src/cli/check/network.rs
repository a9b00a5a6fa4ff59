//! What would become of the host's network.

use ipnet::IpNet;

use crate::config::{Config, Link, Mode};
use crate::network::numbers::LinkNumbers;
use crate::network::setup::{Nat, Setup};
use crate::network::{command, resolver::Resolver};

/// A word and what there is to say about it, line by line.
pub(super) fn lines(config: &Config) -> Vec<(&'static str, String)> {
    let general = &config.general;
    if !general.network.is_managed {
        let who = match &general.status_command {
            Some(command) => format!("left to the status command {}", command.display()),
            None => "left to you: manage_network is \"no\"".to_owned(),
        };
        return vec![("network", who)];
    }
    let setup = Setup::of(config, &LinkNumbers::default());
    let mut lines = vec![("network", addresses(&setup))];
    let routes = config.tunnel_routes();
    if !routes.is_empty() {
        let shown: Vec<_> = routes.iter().map(destination).collect();
        lines.push(("routes", format!("into the tunnel while it is up: {}", shown.join(", "))));
    }
    lines.extend(unbound(config));
    lines.extend(setup.nat.as_ref().map(|nat| ("nat", nat_line(nat))));
    if setup.has_kill_switch {
        lines.push((
            "closed",
            "to all but the tunnel, the links, DHCP and the networks that this host is in"
                .to_owned(),
        ));
    }
    if !setup.name_servers.is_empty() {
        let plan = Resolver::of_host().plan(&setup.interface, &setup.name_servers);
        let servers: Vec<_> = plan.servers().iter().map(ToString::to_string).collect();
        let text = format!("{} while the tunnel is up, set {}", servers.join(" "), plan.place());
        lines.push(("dns", text));
    }
    lines
}

/// What keeps the program from starting, if anything does.
pub(super) fn missing_program(config: &Config) -> Option<String> {
    let network = &config.general.network;
    let wanted = [("nat", network.has_nat), ("kill_switch", network.has_kill_switch)];
    let (key, _) = wanted.into_iter().find(|(_, is_wanted)| *is_wanted && network.is_managed)?;
    let is_missing = command::find("nft").is_none();
    is_missing.then(|| format!("{key} needs the program nft; install the package nftables"))
}

fn addresses(setup: &Setup) -> String {
    let shown: Vec<_> = setup.addresses.iter().map(ToString::to_string).collect();
    match shown.is_empty() {
        true => format!("set up by mlvpn: {} without an address", setup.interface),
        false => format!("set up by mlvpn: {} with {}", setup.interface, shown.join(" and ")),
    }
}

fn destination(net: &IpNet) -> String {
    match (net.prefix_len(), net) {
        (0, IpNet::V4(_)) => "all of IPv4".to_owned(),
        (0, IpNet::V6(_)) => "all of IPv6".to_owned(),
        _ => net.to_string(),
    }
}

/// Several links that nothing leads to different uplinks.
fn unbound(config: &Config) -> Option<(&'static str, String)> {
    let is_bound = |link: &Link| {
        link.bind_dev.is_some() || link.bind_host.is_some() || link.bind_fib.is_some()
    };
    let free: Vec<_> = config.links.iter().filter(|link| !is_bound(link)).collect();
    let names: Vec<_> = free.iter().map(|link| link.name.as_str()).collect();
    let is_client = config.general.mode == Mode::Client;
    (is_client && names.len() > 1).then(|| {
        let names = names.join(", ");
        (
            "uplinks",
            format!("{names} leave by the same route; name the device of each with binddev"),
        )
    })
}

fn nat_line(nat: &Nat) -> String {
    match nat {
        Nat::FromTunnel(networks) => {
            let shown: Vec<_> = networks.iter().map(ToString::to_string).collect();
            format!("what comes from {} gets this host's address outside", shown.join(" "))
        }
        Nat::IntoTunnel => "what others send into the tunnel gets this end's address".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const PASSWORD: &str = "password = w3nMzb8eTqLfYc5hXs2uRj7d";

    fn shown(text: &str) -> String {
        let config = config::parse("t", text.as_bytes()).unwrap().config;
        let lines = lines(&config).into_iter();
        lines.map(|(what, text)| format!("{what}: {text}\n")).collect()
    }

    #[test]
    fn a_client_sees_all_that_is_done_to_its_host() {
        let text = format!(
            "[general]\nmode = client\n{PASSWORD}\nip4 = 10.9.0.1/30\nip6 = fd00::1/64\n\
             default_route = yes\nip4_routes = 10.0.0.0/8\nnat = yes\nkill_switch = yes\n\
             [a]\nremotehost = 192.0.2.1\nremoteport = 1\n[b]\nremotehost = 192.0.2.1\nremoteport = 2\n"
        );
        insta::assert_snapshot!(shown(&text), @r"
        network: set up by mlvpn: mlvpn0 with 10.9.0.1/30 and fd00::1/64
        routes: into the tunnel while it is up: all of IPv4, 10.0.0.0/8, all of IPv6
        uplinks: a, b leave by the same route; name the device of each with binddev
        nat: what others send into the tunnel gets this end's address
        closed: to all but the tunnel, the links, DHCP and the networks that this host is in
        ");
    }

    #[test]
    fn a_server_sees_who_is_hidden_and_who_looks_after_the_network() {
        let server = |more: &str| {
            shown(&format!(
                "[general]\nmode = server\n{PASSWORD}\nip4 = 10.9.0.2/24\n{more}\n[a]\nbindport = 1\n"
            ))
        };
        insta::assert_snapshot!(server("nat = yes"), @r"
        network: set up by mlvpn: mlvpn0 with 10.9.0.2/24
        nat: what comes from 10.9.0.0/24 gets this host's address outside
        ");
        assert_eq!(
            server("manage_network = no"),
            "network: left to you: manage_network is \"no\"\n"
        );
        let command = server("statuscommand = /etc/mlvpn/updown.sh");
        assert_eq!(command, "network: left to the status command /etc/mlvpn/updown.sh\n");
    }
}
