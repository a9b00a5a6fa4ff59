//! What the program does to the host's network by itself.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Config, Mode};

/// The keys that have the program set up the host's network; see `docs/config.md`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostNetwork {
    /// `manage_network`: the program sets addresses, routes and rules itself. Without the key it
    /// does where there is no `statuscommand`; never beside one.
    pub is_managed: bool,
    /// `default_route`: all traffic goes through the tunnel while it is up.
    pub takes_default_route: bool,
    /// `nat`: a server masquerades what comes from the tunnel, a client what goes into it.
    pub has_nat: bool,
    /// `kill_switch`: nothing but the links' own packets goes past the tunnel.
    pub has_kill_switch: bool,
    /// `dns`: name servers while the tunnel is up; empty = those of the host.
    pub dns: Vec<IpAddr>,
}

impl Config {
    /// What is reached through the tunnel: `ip4_routes`, `ip6_routes`, what is behind the peers of a
    /// server, and everything in the families that the interface has an address of if it takes the
    /// default route. Sorted, none twice.
    pub fn tunnel_routes(&self) -> Vec<IpNet> {
        let addresses = &self.general.addresses;
        let ip4 = addresses.ip4_routes.iter().map(|net| IpNet::V4(net.trunc()));
        let ip6 = addresses.ip6_routes.iter().map(|net| IpNet::V6(net.trunc()));
        let mut routes: Vec<_> = ip4.chain(ip6).chain(self.peers_networks()).collect();
        if self.general.network.takes_default_route {
            routes.extend(addresses.ip4.map(|_| IpNet::V4(Ipv4Net::default())));
            routes.extend(addresses.ip6.map(|_| IpNet::V6(Ipv6Net::default())));
        }
        routes.sort();
        routes.dedup();
        routes
    }

    /// What is behind the peers of a server, but for what the interface's own networks lead to. That a
    /// peer may send from anywhere does not make it the way to everywhere.
    fn peers_networks(&self) -> impl Iterator<Item = IpNet> {
        let own4 = self.general.addresses.ip4.map(|net| IpNet::V4(net.trunc()));
        let own6 = self.general.addresses.ip6.map(|net| IpNet::V6(net.trunc()));
        let is_connected =
            move |net: &IpNet| [own4, own6].iter().flatten().any(|own| own.contains(net));
        let peers = self.peers.iter().filter(|_| self.general.mode == Mode::Server);
        let networks = peers.flat_map(|peer| {
            let ip4 = peer.ip4.iter().map(|net| IpNet::V4(net.trunc()));
            ip4.chain(peer.ip6.iter().map(|net| IpNet::V6(net.trunc())))
        });
        networks.filter(move |net| net.prefix_len() > 0 && !is_connected(net))
    }

    /// Who is behind the tunnel, as far as the configuration knows: the interface's own networks, its
    /// routes and those of the peers, without default routes. Sorted, none twice.
    pub fn tunnel_networks(&self) -> Vec<IpNet> {
        let addresses = &self.general.addresses;
        let own4 = addresses.ip4.iter().chain(&addresses.ip4_routes);
        let own6 = addresses.ip6.iter().chain(&addresses.ip6_routes);
        let ip4 = own4.chain(self.peers.iter().flat_map(|peer| &peer.ip4));
        let ip6 = own6.chain(self.peers.iter().flat_map(|peer| &peer.ip6));
        let ip4 = ip4.map(|net| IpNet::V4(net.trunc()));
        let ip6 = ip6.map(|net| IpNet::V6(net.trunc()));
        let networks: Vec<_> = ip4.chain(ip6).filter(|net| net.prefix_len() > 0).collect();
        IpNet::aggregate(&networks)
    }
}

#[cfg(test)]
mod tests {
    use crate::config;

    const PASSWORD: &str = "password = \"w3nMzb8eTqLfYc5hXs2uRj7d\"";

    #[test]
    fn routes_are_what_is_said_and_everything_if_that_is_said() {
        let text = |more: &str| {
            format!(
                "[general]\nmode = client\n{PASSWORD}\nip4 = 10.9.0.1/30\n\
                 ip4_routes = 192.168.7.9/24 10.0.0.0/8 192.168.7.0/24\n{more}\n\
                 [a]\nremotehost = 192.0.2.1\nremoteport = 1\n"
            )
        };
        let routes = |more: &str| {
            let config = config::parse("t", text(more).as_bytes()).unwrap().config;
            config.tunnel_routes().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(routes(""), "10.0.0.0/8 192.168.7.0/24");
        assert_eq!(routes("default_route = yes"), "0.0.0.0/0 10.0.0.0/8 192.168.7.0/24");
        let both = routes("default_route = yes\nip6 = fd00::1/64");
        assert_eq!(both, "0.0.0.0/0 10.0.0.0/8 192.168.7.0/24 ::/0");
    }

    #[test]
    fn what_is_behind_the_peers_of_a_server_is_reached_through_the_tunnel() {
        let secret = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
        let text = "[general]\nmode = server\nprivate_key_file = k\nip4 = 10.9.0.1/24\nip6 = fd00::1/64\n\
             [a]\nbindport = 1\n\
             [peer b]\npublic_key = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\n\
             ip4 = 10.9.0.2 192.168.7.0/24 default\nip6 = fd00::2 fd07::/64\n";
        let mut keys = config::KeyFiles::from_bytes(format!("{secret} k\n").as_bytes()).unwrap();
        let config = config::parse_with_keys("t", text.as_bytes(), &mut keys).unwrap().config;
        let routes: Vec<_> = config.tunnel_routes().iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["192.168.7.0/24", "fd07::/64"]);
    }

    #[test]
    fn networks_of_the_tunnel_are_put_together() {
        let text = format!(
            "[general]\nmode = server\n{PASSWORD}\nip4 = 10.9.0.1/24\nip6 = fd00::1/64\n\
             ip4_routes = 10.9.0.0/25 192.168.7.0/24 default\n[a]\nbindport = 1\n"
        );
        let config = config::parse("t", text.as_bytes()).unwrap().config;
        let networks: Vec<_> = config.tunnel_networks().iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.9.0.0/24", "192.168.7.0/24", "fd00::/64"]);
    }
}
