//! Configuration files as `mlvpn setup` writes them. The same content is always the same text.

use std::fmt::{Display, Write as _};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mlvpn_proto::crypto::keypair::{PresharedKey, PublicKey};
use zeroize::Zeroizing;

use super::token::Token;
use super::uplinks::Uplink;
use crate::config::Host;

const FITS: &str = "a string takes everything";

/// A server's configuration.
#[derive(Debug)]
pub(super) struct ServerDocument {
    /// The file with its private key.
    pub(super) key_file: String,
    /// The tunnel's interface.
    pub(super) interface: String,
    /// Its address and network.
    pub(super) ip4: Option<Ipv4Net>,
    /// Its address and network.
    pub(super) ip6: Option<Ipv6Net>,
    /// Whether it translates addresses.
    pub(super) has_nat: bool,
    /// The control socket.
    pub(super) socket: String,
    /// Its links.
    pub(super) links: Vec<ServerLink>,
    /// Its clients.
    pub(super) peers: Vec<PeerSection>,
}

/// A link of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerLink {
    pub(super) name: String,
    /// The address that it listens on; none: every IPv4 address.
    pub(super) host: Option<Host>,
    pub(super) port: u16,
}

/// A client in a server's configuration.
#[derive(Debug, Clone)]
pub(super) struct PeerSection {
    pub(super) name: String,
    pub(super) public_key: PublicKey,
    pub(super) preshared_key: Option<PresharedKey>,
    /// Its networks, its own addresses among them.
    pub(super) networks: Vec<IpNet>,
}

/// A client's configuration.
#[derive(Debug)]
pub(super) struct ClientDocument<'a> {
    pub(super) token: &'a Token,
    pub(super) key_file: String,
    pub(super) interface: String,
    pub(super) socket: String,
    pub(super) has_nat: bool,
    pub(super) links: Vec<ClientLink>,
}

/// A link of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientLink {
    pub(super) uplink: Uplink,
    pub(super) host: Host,
    pub(super) port: u16,
}

impl ServerDocument {
    /// The ports of its links, none twice.
    pub(super) fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<_> = self.links.iter().map(|link| link.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The file.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        let mut out = Writer::new("server");
        out.line("");
        out.line("[general]");
        out.key("mode", "server");
        out.comment("The private key of this end; `mlvpn pubkey FILE` prints the public one.");
        out.key("private_key_file", &self.key_file);
        out.comment("The tunnel. Each client has an address of the same networks.");
        out.key("interface_name", &self.interface);
        out.optional("ip4", self.ip4);
        out.optional("ip6", self.ip6);
        if self.has_nat {
            out.comment("What leaves by another interface gets this host's address.");
            out.key("nat", "yes");
        }
        out.comment("Where `mlvpn status` and `mlvpn doctor` ask.");
        out.key("control_unix_path", &self.socket);
        out.comment(
            "A link for each uplink that a client may have; UDP must be let in on these ports.",
        );
        for link in &self.links {
            out.line(&format!("[{}]", link.name));
            out.optional("bindhost", link.host.as_ref());
            out.line(&format!("bindport = {}", link.port));
        }
        for peer in &self.peers {
            out.peer(peer);
        }
        out.0
    }
}

impl PeerSection {
    /// The section, to be put at a file's end.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        let mut out = Writer(Zeroizing::new(String::new()));
        out.peer(self);
        out.0
    }
}

impl ClientDocument<'_> {
    /// The file.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        let token = self.token;
        let mut out = Writer::new("client");
        out.line("");
        out.line("[general]");
        out.key("mode", "client");
        out.comment("The private key of this end; `mlvpn pubkey FILE` prints the public one.");
        out.key("private_key_file", &self.key_file);
        out.comment("The tunnel: this end's addresses, and the server's.");
        out.key("interface_name", &self.interface);
        out.optional("ip4", token.ip4.map(|ends| ends.client));
        out.optional("ip4_gateway", token.ip4.map(|ends| ends.server));
        out.optional("ip6", token.ip6.map(|ends| ends.client));
        out.optional("ip6_gateway", token.ip6.map(|ends| ends.server));
        self.routes(&mut out);
        if self.has_nat {
            out.comment("Networks behind this host use the tunnel with this host's address.");
            out.key("nat", "yes");
        }
        out.comment("Where `mlvpn status` and `mlvpn doctor` ask.");
        out.key("control_unix_path", &self.socket);
        out.comment("A link for each uplink. `fallback_only = 1` spares one while another works.");
        for link in &self.links {
            out.line(&format!("[{}]", link.uplink.name));
            out.key("binddev", &link.uplink.device);
            out.key("remotehost", &link.host);
            out.line(&format!("remoteport = {}", link.port));
        }
        out.comment("Who the server is.");
        out.line("[peer server]");
        out.key("public_key", token.server_key);
        out.secret("preshared_key", token.preshared_key.as_ref());
        out.0
    }

    fn routes(&self, out: &mut Writer) {
        let token = self.token;
        if token.takes_default_route {
            out.comment("All traffic goes through the tunnel while it is up.");
            out.key("default_route", "yes");
        }
        let (v4, v6): (Vec<_>, Vec<_>) =
            token.routes.iter().partition(|net| matches!(net, IpNet::V4(_)));
        if !token.routes.is_empty() {
            out.comment("Networks behind the server.");
        }
        out.list("ip4_routes", &v4);
        out.list("ip6_routes", &v6);
        if !token.dns.is_empty() {
            out.comment("The name servers while the tunnel is up.");
            out.list("dns", &token.dns.iter().collect::<Vec<_>>());
        }
    }
}

/// Lines of a configuration file.
struct Writer(Zeroizing<String>);

impl Writer {
    fn new(mode: &str) -> Self {
        let mut out = Self(Zeroizing::new(String::with_capacity(4096)));
        out.line(&format!("# An mlvpn {mode}, written by `mlvpn setup {mode}`; yours to change."));
        out.line(
            "# docs/config.md explains every key. `mlvpn check FILE` finds mistakes in it, and",
        );
        out.line("# `mlvpn doctor --config FILE` what is wrong around it. For its owner's eyes only: mode 0600.");
        out
    }

    fn line(&mut self, text: &str) {
        writeln!(self.0, "{text}").expect(FITS);
    }

    /// A comment that begins a paragraph.
    fn comment(&mut self, text: &str) {
        writeln!(self.0, "\n# {text}").expect(FITS);
    }

    fn key(&mut self, key: &str, value: impl Display) {
        writeln!(self.0, "{key} = \"{value}\"").expect(FITS);
    }

    fn optional(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.key(key, value);
        }
    }

    fn secret(&mut self, key: &str, value: Option<&PresharedKey>) {
        if let Some(value) = value {
            self.key(key, value.to_base64().as_str());
        }
    }

    fn list(&mut self, key: &str, values: &[&impl Display]) {
        let values: Vec<_> = values.iter().map(ToString::to_string).collect();
        if !values.is_empty() {
            self.key(key, values.join(" "));
        }
    }

    fn peer(&mut self, peer: &PeerSection) {
        self.line("");
        self.line(&format!("[peer {}]", peer.name));
        self.key("public_key", peer.public_key);
        self.secret("preshared_key", peer.preshared_key.as_ref());
        let (v4, v6): (Vec<_>, Vec<_>) =
            peer.networks.iter().copied().partition(|net| matches!(net, IpNet::V4(_)));
        self.list("ip4", &shown(&v4).iter().collect::<Vec<_>>());
        self.list("ip6", &shown(&v6).iter().collect::<Vec<_>>());
    }
}

/// Networks as people write them: an address alone without its length.
fn shown(nets: &[IpNet]) -> Vec<String> {
    let is_host = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
    let text = |net: &IpNet| if is_host(net) { net.addr().to_string() } else { net.to_string() };
    nets.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use mlvpn_proto::crypto::keypair::PrivateKey;

    use super::*;
    use crate::config::{self, KeyFiles};
    use crate::setup::token::tests::sample;

    fn read(text: &str, key: &PrivateKey, file: &str) -> config::Parsed {
        let line = format!("{} {file}\n", key.to_base64().as_str());
        let mut keys = KeyFiles::from_bytes(line.as_bytes()).unwrap();
        config::parse_with_keys("t", text.as_bytes(), &mut keys).unwrap()
    }

    fn link(name: &str, host: Option<&str>, port: u16) -> ServerLink {
        let host = host.map(|host| host.parse().unwrap());
        ServerLink { name: name.to_owned(), host, port }
    }

    fn server() -> ServerDocument {
        let token = sample();
        ServerDocument {
            key_file: "mlvpn.key".to_owned(),
            interface: "mlvpn0".to_owned(),
            ip4: Some("10.77.5.1/24".parse().unwrap()),
            ip6: Some("fd12:3456:789a::1/64".parse().unwrap()),
            has_nat: true,
            socket: "/run/mlvpn/mlvpn.sock".to_owned(),
            links: vec![link("link1", None, 5080), link("link1-ipv6", Some("::"), 5080)],
            peers: vec![PeerSection {
                name: "camper".to_owned(),
                public_key: token.identity.public_key(),
                preshared_key: token.preshared_key,
                networks: vec![
                    "10.77.5.2/32".parse().unwrap(),
                    "fd12:3456:789a::2/128".parse().unwrap(),
                ],
            }],
        }
    }

    #[test]
    fn a_servers_file_is_read_without_a_warning() {
        let document = server();
        let key = PrivateKey::take(&mut [1; 32]);
        let text = document.to_text();
        let parsed = read(&text, &key, "mlvpn.key");
        assert_eq!(parsed.warnings.warnings(), 0, "{}", parsed.warnings);
        let config = parsed.config;
        assert!(config.general.network.is_managed && config.general.network.has_nat);
        assert_eq!(config.links.len(), 2);
        assert_eq!(config.peers[0].ip4[0].to_string(), "10.77.5.2/32");
        let (secret, shown) = ("AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=", "SECRET");
        insta::assert_snapshot!(text.replace(secret, shown));
        // A section at the end is the same as one that was there from the start.
        let mut shorter = server();
        let peer = shorter.peers.pop().unwrap();
        assert_eq!(*text, format!("{}{}", shorter.to_text().as_str(), peer.to_text().as_str()));
    }

    #[test]
    fn a_clients_file_is_read_without_a_warning() {
        let token = sample();
        let uplink = |name: &str, device: &str| Uplink {
            name: name.to_owned(),
            device: device.to_owned(),
            has_v4: true,
            has_v6: false,
            gateways: Vec::new(),
        };
        let links = [("eth1", "eth1"), ("lte", "wwan0")].into_iter().zip(&token.ports);
        let document = ClientDocument {
            token: &token,
            key_file: "mlvpn.key".to_owned(),
            interface: "mlvpn0".to_owned(),
            socket: "/run/mlvpn/mlvpn.sock".to_owned(),
            has_nat: true,
            links: links
                .map(|((name, device), port)| ClientLink {
                    uplink: uplink(name, device),
                    host: token.addresses[0].clone(),
                    port: *port,
                })
                .collect(),
        };
        let text = document.to_text();
        let parsed = read(&text, &PrivateKey::take(&mut [2; 32]), "mlvpn.key");
        assert_eq!(parsed.warnings.warnings(), 0, "{}", parsed.warnings);
        assert!(parsed.config.general.network.takes_default_route);
        assert_eq!(parsed.config.peers[0].public_key, token.server_key);
        let (secret, shown) = ("AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=", "SECRET");
        insta::assert_snapshot!(text.replace(secret, shown));
    }
}
