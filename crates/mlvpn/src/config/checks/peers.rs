//! What key pairs and peers together can get wrong.

use ipnet::IpNet;

use crate::config::reader::{Merged, Sections};
use crate::config::{
    Finding, Findings, InterfaceKind, KeyPair, MAX_PEERS, Mode, Peer, ProtocolVersion, Span,
};

/// What `[general]` says that matters to peers, as far as it could be read.
pub(in crate::config) struct Own<'a> {
    pub(in crate::config) mode: Option<Mode>,
    pub(in crate::config) protocol: ProtocolVersion,
    pub(in crate::config) interface: InterfaceKind,
    pub(in crate::config) key_pair: Option<&'a KeyPair>,
}

/// Compares the sections of peers with `[general]` and with one another. `peers` are those of
/// `sections` in the same order, where they could be read.
pub(in crate::config) fn check(
    own: &Own<'_>,
    sections: &Sections<'_>,
    peers: &[Option<Peer>],
    findings: &mut Findings,
) {
    let entry = sections.general.as_ref().and_then(|general| general.entry("private_key_file"));
    let key_file = entry.filter(|entry| !entry.value.text.is_empty()).map(|entry| entry.value.span);
    let first = sections.peers.first().map(|section| section.name.span);
    if own.protocol == ProtocolVersion::V1 {
        findings.extend(key_file.or(first).map(keys_in_version_1));
        return;
    }
    match (key_file, first) {
        (Some(span), None) => findings.push(key_without_peer(span)),
        (None, Some(span)) => findings.push(peer_without_key(span)),
        _ => {}
    }
    let peers: Vec<_> = sections.peers.iter().zip(peers).collect();
    check_number(own, sections, findings);
    check_keys(own, &peers, findings);
    check_networks(own, &peers, findings);
    check_overlap(&peers, findings);
}

/// A section and what it says.
type Read<'a, 'd> = (&'a Merged<'d>, &'a Option<Peer>);

fn keys_in_version_1(span: Span) -> Finding {
    Finding::error(span, "version 1 of the protocol knows no key pairs")
        .label("of no use with protocol_version = \"1\"")
        .help("set protocol_version = \"2\" or \"auto\", or remove private_key_file and the [peer NAME] sections")
}

fn key_without_peer(span: Span) -> Finding {
    Finding::error(span, "there is a private key, but no peer").label("nobody to speak with").help(
        "add a section [peer NAME] with public_key = what `mlvpn pubkey` prints at the other end",
    )
}

fn peer_without_key(span: Span) -> Finding {
    Finding::error(span, "there is a peer, but no private key of this end")
        .label("cannot be spoken with")
        .help("add to [general] private_key_file = the path of a file that `mlvpn genkey --out` wrote")
}

fn check_number(own: &Own<'_>, sections: &Sections<'_>, findings: &mut Findings) {
    let names = || sections.peers.iter().map(|section| section.name.span);
    if own.mode == Some(Mode::Client) {
        findings.extend(names().skip(1).map(|span| {
            Finding::error(span, "a client has one peer, the server")
                .label("one more")
                .help("remove the other [peer NAME] sections")
        }));
    }
    if let Some(span) = names().nth(MAX_PEERS) {
        findings.push(Finding::error(span, format!("there are more than {MAX_PEERS} peers")));
    }
    if let Some(span) = names().nth(1)
        && own.interface == InterfaceKind::Tap
        && own.mode != Some(Mode::Client)
    {
        findings.push(
            Finding::error(span, "an interface for Ethernet frames has one peer")
                .label("one more")
                .help("set tuntap = \"tun\": which peer a packet is for is told by its IP address"),
        );
    }
}

/// Each key has one owner, and this end is not its own peer.
fn check_keys(own: &Own<'_>, peers: &[Read<'_, '_>], findings: &mut Findings) {
    let own_key = own.key_pair.map(|pair| pair.0.public_key());
    let mut seen = std::collections::BTreeMap::new();
    for (section, peer) in peers {
        let (Some(peer), Some(entry)) = (peer, section.entry("public_key")) else { continue };
        let span = entry.value.span;
        if Some(peer.public_key) == own_key {
            findings.push(
                Finding::error(span, format!("the public key of peer `{}` is that of this end", peer.name))
                    .label("ours")
                    .help("write what `mlvpn pubkey` prints at the other end; each end has a private key of its own"),
            );
        }
        if let Some(other) = seen.insert(peer.public_key, &peer.name) {
            findings.push(
                Finding::error(
                    span,
                    format!("`{other}` and `{}` have the same public key", peer.name),
                )
                .label("taken")
                .help("give each peer a key pair of its own"),
            );
        }
    }
}

/// A server with several peers has to know which of them a packet is for; a client has no choice.
fn check_networks(own: &Own<'_>, peers: &[Read<'_, '_>], findings: &mut Findings) {
    for (section, peer) in peers {
        let Some(peer) = peer else { continue };
        let is_set = |key: &&str| section.entry(key).is_some_and(|e| !e.value.text.is_empty());
        let has_networks = ["ip4", "ip6"].iter().any(is_set);
        if own.mode == Some(Mode::Server) && peers.len() > 1 && !has_networks {
            findings.push(
                Finding::error(
                    section.name.span,
                    format!(
                        "peer `{}` has no networks, which each of several peers needs",
                        peer.name
                    ),
                )
                .label("neither ip4 nor ip6")
                .help("add ip4 = the peer's address in the tunnel, and the networks behind it"),
            );
        }
        for key in ["ip4", "ip6"] {
            if let Some(entry) = section.entry(key)
                && own.mode == Some(Mode::Client)
            {
                findings.push(
                    Finding::warning(
                        entry.key.span,
                        format!("a client sends everything to its one peer: {key} has no effect"),
                    )
                    .label("ignored")
                    .help(format!(
                        "remove the line; {key}_routes in [general] are the networks to reach through the tunnel"
                    )),
                );
            }
        }
    }
}

/// Of two networks, one contains the other or they have nothing in common: sorted, those within a
/// network follow it.
fn check_overlap(peers: &[Read<'_, '_>], findings: &mut Findings) {
    let mut networks: Vec<(IpNet, usize)> = Vec::new();
    for (at, peer) in peers.iter().enumerate().filter_map(|(at, (_, p))| Some((at, p.as_ref()?))) {
        networks.extend(peer.ip4.iter().map(|net| (IpNet::from(*net), at)));
        networks.extend(peer.ip6.iter().map(|net| (IpNet::from(*net), at)));
    }
    networks.sort();
    let mut around: Option<(IpNet, usize)> = None;
    for (network, at) in networks {
        match around {
            Some((outer, owner)) if outer.contains(&network) => {
                if owner != at {
                    findings.extend(overlap(peers, (outer, owner), (network, at)));
                }
            }
            _ => around = Some((network, at)),
        }
    }
}

fn overlap(
    peers: &[Read<'_, '_>],
    outer: (IpNet, usize),
    inner: (IpNet, usize),
) -> Option<Finding> {
    let (first, second) = if outer.1 < inner.1 { (outer, inner) } else { (inner, outer) };
    let name = |at: usize| peers[at].1.as_ref().map(|peer| peer.name.as_str());
    let key = if second.0.addr().is_ipv4() { "ip4" } else { "ip6" };
    let entry = peers[second.1].0.entry(key)?;
    let (one, other) = (name(first.1)?, name(second.1)?);
    Some(
        Finding::error(
            entry.value.span,
            format!("{} of peer `{other}` and {} of peer `{one}` overlap", second.0, first.0),
        )
        .label("which peer is it?")
        .help("give each network to one peer"),
    )
}
