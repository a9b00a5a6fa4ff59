//! From the words of the configuration to the protocol's, and what a reload changes.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use mlvpn_proto::crypto::password::PasswordKey;
use mlvpn_proto::crypto::v1::Key;
use mlvpn_proto::crypto::v2::REKEY_PACKETS;
use mlvpn_proto::filter::Filter;
use mlvpn_proto::handshake::v2::{Credentials, PeerKeys};
use mlvpn_proto::{
    EndpointConfig, FilterRule, IpPrefix, LinkConfig, PacketKind, PeerRoutes, ReorderPolicy, Role,
    Versions,
};

use crate::config::{Config, Host, InterfaceKind, Link, Mode, Peer, ProtocolVersion, Reorder};

/// The endpoint that `config` describes, with `mtu` on the tunnel interface.
pub(super) fn endpoint_config(config: &Config, mtu: u16) -> EndpointConfig {
    let general = &config.general;
    let password = general.credentials.password.as_ref().filter(|_| general.speaks_v1());
    EndpointConfig {
        role: match general.mode {
            Mode::Client => Role::Client,
            Mode::Server => Role::Server,
        },
        versions: match general.protocol {
            ProtocolVersion::Auto => Versions::Auto,
            ProtocolVersion::V1 => Versions::V1,
            ProtocolVersion::V2 => Versions::V2,
        },
        inner: packet_kind(config),
        v1_key: password.map(|password| Key::from_password(password.as_bytes())),
        credentials: credentials(config),
        routes: config.peers.iter().filter_map(peer_routes).collect(),
        cleartext_data: general.cleartext_data,
        reorder: reorder_policy(config),
        mtu,
        // Errors about packets that are too big come from the other end's address: the kernel
        // refuses what comes in with an address of its own as the source.
        local_ip4: general.addresses.ip4_gateway,
        local_ip6: general.addresses.ip6_gateway,
        filters: filters(config),
        policy: general.policy,
        // The thread that has the clock sets it.
        unix_micros: 0,
        software: concat!("mlvpn ", env!("CARGO_PKG_VERSION")).to_owned(),
        rekey_packets: REKEY_PACKETS,
    }
}

/// The networks behind a peer; none when it is the only one and nothing is said.
fn peer_routes(peer: &Peer) -> Option<PeerRoutes> {
    let ip4 = peer.ip4.iter().map(|net| (IpAddr::from(net.addr()), net.prefix_len()));
    let ip6 = peer.ip6.iter().map(|net| (IpAddr::from(net.addr()), net.prefix_len()));
    let networks: Vec<_> = ip4.chain(ip6).map(|(address, len)| IpPrefix { address, len }).collect();
    (!networks.is_empty()).then_some(PeerRoutes { peer: peer.public_key, networks })
}

/// By what version 2 knows the peers; none when it is not to be spoken.
///
/// Slow where there is a password and no key pair: it takes tens of milliseconds and 19 MiB to derive the key. To
/// be called once per configuration, and not by the thread that carries the data.
fn credentials(config: &Config) -> Option<Credentials> {
    let general = &config.general;
    if !general.speaks_v2() {
        return None;
    }
    if let Some(pair) = &general.credentials.key_pair {
        let peers = config.peers.iter().map(peer_keys).collect();
        return Some(Credentials::Keys { private: pair.0.clone(), peers });
    }
    let password = general.credentials.password.as_ref()?;
    Some(Credentials::Password(PasswordKey::derive(password.as_bytes())))
}

fn peer_keys(peer: &Peer) -> PeerKeys {
    PeerKeys {
        name: peer.name.clone(),
        public: peer.public_key,
        preshared: peer.preshared_key.clone(),
    }
}

/// What the tunnel interface carries.
pub(super) fn packet_kind(config: &Config) -> PacketKind {
    match config.general.interface.kind {
        InterfaceKind::Tun => PacketKind::Ip,
        InterfaceKind::Tap => PacketKind::Ethernet,
    }
}

/// How order is restored.
pub(super) fn reorder_policy(config: &Config) -> ReorderPolicy {
    match config.general.reorder {
        Reorder::Off => ReorderPolicy::Off,
        Reorder::Adaptive => ReorderPolicy::Adaptive,
        Reorder::Packets(packets) => ReorderPolicy::Packets(packets),
    }
}

/// The filters, compiled.
pub(super) fn filters(config: &Config) -> Vec<FilterRule> {
    let compile = |rule: &crate::config::FilterRule| FilterRule {
        filter: Filter::parse(&rule.expression)
            .expect("the configuration's expressions were checked when it was read"),
        treatment: rule.treatment.clone(),
    };
    config.filters.iter().map(compile).collect()
}

/// A link's settings for the session; its peer is at `remote`, where that is known.
pub(super) fn link_config(link: &Link, remote: Option<SocketAddr>) -> LinkConfig {
    LinkConfig {
        name: link.name.clone(),
        weight: link.bandwidth_upload,
        timeout: link.timeout,
        loss_tolerance: link.loss_tolerance,
        latency_tolerance: link.latency_tolerance,
        fallback_only: link.fallback_only,
        terms: link.terms,
        remote,
    }
}

/// What a new configuration changes, link by link.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LinkChanges {
    /// Links that are gone.
    pub(super) removed: Vec<String>,
    /// Links that were not there.
    pub(super) added: Vec<String>,
    /// Links that need another socket or another peer.
    pub(super) reattached: Vec<String>,
    /// Links of which only numbers changed.
    pub(super) retuned: Vec<String>,
}

impl LinkChanges {
    pub(super) fn between(old: &Config, new: &Config) -> Self {
        let mut changes = Self::default();
        let names: BTreeSet<_> = new.links.iter().map(|link| &link.name).collect();
        // Its sockets carry marks where the network is managed, and none elsewhere.
        let is_marked_alike = old.general.network.is_managed == new.general.network.is_managed;
        let gone = old.links.iter().filter(|link| !names.contains(&link.name));
        changes.removed = gone.map(|link| link.name.clone()).collect();
        for link in &new.links {
            let name = link.name.clone();
            match old.links.iter().find(|former| former.name == link.name) {
                None => changes.added.push(name),
                Some(former) if !is_marked_alike || !has_same_socket(former, link) => {
                    changes.reattached.push(name);
                }
                Some(former) if former != link => changes.retuned.push(name),
                Some(_) => {}
            }
        }
        changes
    }
}

fn has_same_socket(a: &Link, b: &Link) -> bool {
    a.bind_host == b.bind_host
        && a.bind_port == b.bind_port
        && a.bind_fib == b.bind_fib
        && a.bind_dev == b.bind_dev
        && a.remote_host == b.remote_host
        && a.remote_port == b.remote_port
}

/// What a new configuration changes that only a restart can bring into effect.
pub(super) fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let (old, new) = (&old.general, &new.general);
    let mut keys = Vec::new();
    let mut note = |is_changed: bool, key| {
        if is_changed {
            keys.push(key);
        }
    };
    note(old.mode != new.mode, "mode");
    note(old.interface.kind != new.interface.kind, "tuntap");
    note(old.interface.name != new.interface.name, "interface_name");
    note(old.control.unix_path != new.control.unix_path, "control_unix_path");
    note(old.control.token != new.control.token, "control_token_file");
    note(old.control.http != new.control.http, "control_bind_host, control_bind_port");
    keys
}

/// What a reload cannot change stays as it is in `old`.
pub(super) fn keep_fixed(old: &Config, mut new: Config) -> Config {
    new.general.mode = old.general.mode;
    new.general.interface.kind = old.general.interface.kind;
    new.general.interface.name.clone_from(&old.general.interface.name);
    new.general.control = old.general.control.clone();
    new
}

/// Whether the session itself has to be a new one: everything on the wire changes, or who is at the
/// other end. The order of peers does not count.
pub(super) fn needs_new_session(old: &Config, new: &Config) -> bool {
    let by_name = |config: &Config| {
        let mut peers = config.peers.clone();
        peers.sort_by(|a, b| a.name.cmp(&b.name));
        peers
    };
    old.general.protocol != new.general.protocol
        || old.general.credentials != new.general.credentials
        || old.general.cleartext_data != new.general.cleartext_data
        || by_name(old) != by_name(new)
}

/// The addresses to try for a link: where to bind and, if it has a peer, where that is.
pub(super) async fn resolve(link: Link) -> Result<Vec<Endpoints>, ResolveError> {
    let binds = lookup(link.bind_host.as_ref(), link.bind_port).await?;
    let remotes = match &link.remote_host {
        Some(host) => lookup(Some(host), link.remote_port).await?,
        None => Vec::new(),
    };
    if remotes.is_empty() {
        let bind = binds.first().copied().unwrap_or_else(|| any_like(None, link.bind_port));
        return Ok(vec![Endpoints { bind, remote: None }]);
    }
    let pair = |remote: SocketAddr| {
        let bind = if binds.is_empty() {
            Some(any_like(Some(remote), link.bind_port))
        } else {
            binds.iter().copied().find(|bind| bind.is_ipv4() == remote.is_ipv4())
        };
        bind.map(|bind| Endpoints { bind, remote: Some(remote) })
    };
    let pairs: Vec<_> = remotes.into_iter().filter_map(pair).collect();
    if pairs.is_empty() { Err(ResolveError::Families) } else { Ok(pairs) }
}

/// A pair of addresses for a link's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoints {
    pub(super) bind: SocketAddr,
    pub(super) remote: Option<SocketAddr>,
}

/// Why a link has no addresses.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("cannot resolve {name}: {source}")]
    Lookup { name: String, source: std::io::Error },
    #[error("{0} has no address")]
    Nothing(String),
    #[error("bindhost and remotehost have no address family in common")]
    Families,
}

async fn lookup(host: Option<&Host>, port: Option<u16>) -> Result<Vec<SocketAddr>, ResolveError> {
    let port = port.unwrap_or(0);
    match host {
        None => Ok(Vec::new()),
        Some(Host::Address(address)) => Ok(vec![SocketAddr::new(*address, port)]),
        Some(Host::Name(name)) => {
            let found = tokio::net::lookup_host((name.as_str(), port)).await;
            let found = found
                .map_err(|source| ResolveError::Lookup { name: name.clone(), source })?
                .collect::<Vec<_>>();
            if found.is_empty() { Err(ResolveError::Nothing(name.clone())) } else { Ok(found) }
        }
    }
}

fn any_like(remote: Option<SocketAddr>, port: Option<u16>) -> SocketAddr {
    let any: IpAddr = match remote {
        Some(SocketAddr::V6(_)) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        Some(SocketAddr::V4(_)) | None => std::net::Ipv4Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(any, port.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(links: &str) -> Config {
        let text =
            format!("[general]\nmode = \"client\"\npassword = \"{}\"\n{links}", "x".repeat(40));
        crate::config::parse("test", text.as_bytes()).unwrap().config
    }

    const DSL1: &str = "[dsl1]\nremotehost = \"192.0.2.1\"\nremoteport = 5080\n";
    const DSL2: &str = "[dsl2]\nremotehost = \"192.0.2.1\"\nremoteport = 5081\n";

    #[test]
    fn an_unchanged_file_changes_nothing() {
        let changes = LinkChanges::between(
            &config(&format!("{DSL1}{DSL2}")),
            &config(&format!("{DSL1}{DSL2}")),
        );
        assert_eq!(changes, LinkChanges::default());
    }

    #[test]
    fn each_kind_of_change_is_told_apart() {
        let old = config(&format!("{DSL1}{DSL2}[gone]\nremotehost = \"a\"\nremoteport = 1\n"));
        let new = config(&format!(
            "{DSL1}bandwidth_upload = 1000\n{DSL2}bindhost = \"192.0.2.7\"\n\
             [new]\nremotehost = \"a\"\nremoteport = 1\n"
        ));
        let changes = LinkChanges::between(&old, &new);
        assert_eq!(changes.retuned, ["dsl1"]);
        assert_eq!(changes.reattached, ["dsl2"]);
        assert_eq!(changes.removed, ["gone"]);
        assert_eq!(changes.added, ["new"]);
    }

    const ALICE: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
    const BOB: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";
    const CAROL: &str = "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=";

    /// A server with a private key, `general` below it, and its peers.
    fn with_keys(private: &str, general: &str, peers: &str) -> Config {
        let text = format!(
            "[general]\nmode = server\nprivate_key_file = k\n{general}[l]\nbindport = 1\n{peers}"
        );
        let keys = format!("{private} k\n");
        let mut keys = crate::config::KeyFiles::from_bytes(keys.as_bytes()).unwrap();
        crate::config::parse_with_keys("test", text.as_bytes(), &mut keys).unwrap().config
    }

    fn peer(name: &str, key: &str, more: &str) -> String {
        format!("[peer {name}]\npublic_key = {key}\n{more}\n")
    }

    #[test]
    fn credentials_are_those_of_version_2() {
        let psk = format!("preshared_key = {CAROL}");
        let config = with_keys(ALICE, "", &peer("bob", BOB, &psk));
        let Some(Credentials::Keys { private, peers }) = credentials(&config) else { panic!() };
        assert_eq!(*private.to_base64(), ALICE);
        assert_eq!((peers[0].name.as_str(), peers[0].public.to_string()), ("bob", BOB.to_owned()));
        assert_eq!(*peers[0].preshared.as_ref().unwrap().to_base64(), CAROL);

        let Some(Credentials::Password(key)) = credentials(&config_with("")) else { panic!() };
        assert_eq!(key.as_bytes(), PasswordKey::derive("x".repeat(40).as_bytes()).as_bytes());
        assert!(credentials(&config_with("protocol_version = 1\n")).is_none());
        let both = format!("password = \"{}\"\n", "x".repeat(40));
        let both = with_keys(ALICE, &both, &peer("bob", BOB, ""));
        assert!(matches!(credentials(&both), Some(Credentials::Keys { .. })));
    }

    fn config_with(general: &str) -> Config {
        let password = "x".repeat(40);
        let text = format!("[general]\nmode = client\npassword = {password}\n{general}{DSL1}");
        crate::config::parse("test", text.as_bytes()).unwrap().config
    }

    #[test]
    fn only_what_is_configured_is_spoken() {
        let of = |config: &Config| {
            let endpoint = endpoint_config(config, 1_400);
            (endpoint.versions, endpoint.v1_key.is_some(), endpoint.credentials.is_some())
        };
        assert_eq!(of(&config_with("")), (Versions::Auto, true, true));
        assert_eq!(of(&config_with("protocol_version = 1\n")), (Versions::V1, true, false));
        assert_eq!(of(&config_with("protocol_version = 2\n")), (Versions::V2, false, true));
        let keys = with_keys(ALICE, "", &peer("bob", BOB, "ip4 = 10.0.0.0/24"));
        assert_eq!(of(&keys), (Versions::Auto, false, true));
        let routes = endpoint_config(&keys, 1_400).routes;
        assert!(routes[0].networks[0].contains("10.0.0.7".parse().unwrap()));
    }

    #[test]
    fn who_is_at_the_other_end_and_how_it_is_spoken_with_makes_a_new_session() {
        let (bob, carol) =
            (peer("bob", BOB, "ip4 = 10.0.0.2"), peer("carol", CAROL, "ip4 = 10.0.0.3"));
        let two = with_keys(ALICE, "", &format!("{bob}{carol}"));
        let is_new = |private, general, peers: &str| {
            needs_new_session(&two, &with_keys(private, general, peers))
        };
        assert!(!is_new(ALICE, "timeout = 5\n", &format!("{carol}{bob}")));
        assert!(is_new(
            "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
            "",
            &format!("{bob}{carol}")
        ));
        assert!(is_new(ALICE, "", &bob));
        assert!(is_new(ALICE, "", &format!("{bob}{}", carol.replace("0.3", "0.4"))));
        assert!(is_new(ALICE, "", &format!("{bob}{carol}preshared_key = {CAROL}\n")));
        assert!(is_new(ALICE, "protocol_version = 2\n", &format!("{bob}{carol}")));
        assert!(needs_new_session(&config_with(""), &config_with("protocol_version = 1\n")));
        assert!(needs_new_session(&config_with(""), &config_with("cleartext_data = 1\n")));
        assert!(!needs_new_session(&config_with(""), &config_with("mtu = 1300\n")));
    }

    #[tokio::test]
    async fn a_link_is_bound_in_the_family_of_its_peer() {
        let link = config("[l]\nremotehost = \"2001:db8::1\"\nremoteport = 7\n").links.remove(0);
        let expected =
            Endpoints { bind: "[::]:0".parse().unwrap(), remote: "[2001:db8::1]:7".parse().ok() };
        assert_eq!(resolve(link).await.unwrap(), [expected]);
    }

    #[tokio::test]
    async fn addresses_of_two_families_do_not_meet() {
        let text = "[l]\nbindhost = \"192.0.2.9\"\nremotehost = \"2001:db8::1\"\nremoteport = 7\n";
        let link = config(text).links.remove(0);
        assert!(matches!(resolve(link).await, Err(ResolveError::Families)));
    }
}
