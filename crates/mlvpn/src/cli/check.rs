//! `mlvpn check FILE`.

mod network;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use crate::config::{
    self, Config, Findings, InterfaceKind, Link, Loaded, Mode, Peer, Reorder, Treatment,
};
use crate::hook::StatusCommand;

/// Prints what there is to say about `file`: findings to standard error, the summary to standard output.
pub(super) fn run(file: &Path) -> ExitCode {
    match config::load(file) {
        Ok(Loaded { parsed, .. }) => {
            show(&parsed.warnings);
            print!("{}", summary(&parsed.config));
            warn_of_start(&parsed.config);
            println!("{}: {}", file.display(), verdict(&parsed.warnings));
            ExitCode::SUCCESS
        }
        Err(findings) => {
            show(&findings);
            println!("{}: {}", file.display(), verdict(&findings));
            ExitCode::FAILURE
        }
    }
}

/// Prints findings to standard error, in colour on a terminal unless `NO_COLOR` is set.
pub(super) fn show(findings: &Findings) {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    eprint!("{}", findings.render(!is_plain && std::io::stderr().is_terminal()));
}

/// What is no fault of the file, but keeps the daemon from starting.
fn warn_of_start(config: &Config) {
    let command = config.general.status_command.as_deref().map(StatusCommand::new);
    if let Some(Err(error)) = command {
        eprintln!("mlvpn: on this machine mlvpn would not start: {error}");
    }
    if let Some(program) = network::missing_program(config) {
        eprintln!("mlvpn: on this machine mlvpn would not start: {program}");
    }
}

fn verdict(findings: &Findings) -> String {
    let counted = |n: usize, what: &str| match n {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    format!("{}, {}", counted(findings.errors(), "error"), counted(findings.warnings(), "warning"))
}

/// What the configuration would do, a line per link.
fn summary(config: &Config) -> String {
    let general = &config.general;
    let mode = match general.mode {
        Mode::Client => "client",
        Mode::Server => "server",
    };
    let kind = match general.interface.kind {
        InterfaceKind::Tun => "tun",
        InterfaceKind::Tap => "tap",
    };
    let mut out = format!("{mode}, {kind} interface {}\n", general.interface.name);
    out.push_str(&format!("  protocol {}\n", protocol(config)));
    out.push_str(&format!("  mtu      {}\n", mtu(config)));
    out.push_str(&format!(
        "  data     {}\n",
        if general.cleartext_data { "in clear" } else { "encrypted" }
    ));
    out.push_str(&format!("  order    {}\n", order(config)));
    if let Some(policy) = general.policy.filter(|_| general.speaks_v2()) {
        out.push_str(&format!("  policy   {policy}\n"));
    }
    if let Some(pair) = &general.credentials.key_pair {
        out.push_str(&format!("  own key  {}\n", pair.0.public_key()));
    }
    for peer in &config.peers {
        out.push_str(&format!("  peer     {}\n", peer_line(peer)));
    }
    for link in &config.links {
        out.push_str(&format!("  link     {}\n", line(link, config)));
    }
    for (what, text) in network::lines(config) {
        out.push_str(&format!("  {what:<8} {text}\n"));
    }
    for rule in &config.filters {
        let name = match &rule.treatment {
            Treatment::Link(link) => link.as_str(),
            Treatment::Policy(policy) => policy.as_str(),
        };
        out.push_str(&format!("  filter   {name}: {}\n", rule.expression));
    }
    out
}

/// The versions that may be spoken, and by what the ends know each other in each.
fn protocol(config: &Config) -> String {
    let general = &config.general;
    let has_keys = general.credentials.key_pair.is_some();
    match (general.speaks_v1(), general.speaks_v2()) {
        (true, true) if has_keys => "version 2 with key pairs, or version 1 with the password",
        (true, true) => "version 2 or version 1, with the password",
        (true, false) => "version 1 with the password",
        (false, _) if has_keys => "version 2 with key pairs",
        (false, _) => "version 2 with the password",
    }
    .into()
}

fn peer_line(peer: &Peer) -> String {
    let mut parts = vec![format!("{}: {}", peer.name, peer.public_key)];
    if peer.preshared_key.is_some() {
        parts.push("with a pre-shared key".into());
    }
    let networks = peer.ip4.iter().map(ToString::to_string);
    let networks: Vec<_> = networks.chain(peer.ip6.iter().map(ToString::to_string)).collect();
    if !networks.is_empty() {
        parts.push(format!("has {}", networks.join(" ")));
    }
    parts.join(", ")
}

fn mtu(config: &Config) -> String {
    let general = &config.general;
    if let Some(mtu) = general.interface.mtu {
        return format!("{mtu}");
    }
    let (v1, v2) = (config.unfragmented_mtu(), config.unfragmented_mtu_v2());
    let largest = match (general.speaks_v1(), general.speaks_v2()) {
        (true, false) => format!("{v1}"),
        (true, true) => format!("{v2}, or {v1} with version 1"),
        (false, _) => format!("{v2}"),
    };
    format!("{largest} (the largest that links of 1500 bytes carry whole)")
}

fn order(config: &Config) -> String {
    let adaptive = "restored, waiting as long as the links differ";
    let in_version_1 = match config.general.reorder {
        Reorder::Off => "as it arrives".into(),
        Reorder::Packets(n) => format!("restored, holding back at most {n} packets"),
        Reorder::Adaptive => return adaptive.into(),
    };
    match (config.general.speaks_v1(), config.general.speaks_v2()) {
        (true, false) => in_version_1,
        (true, true) => format!("{adaptive}; with version 1 {in_version_1}"),
        (false, _) => adaptive.into(),
    }
}

fn line(link: &Link, config: &Config) -> String {
    let mut parts = vec![format!("{}: {}", link.name, ends(link))];
    if let Some(device) = &link.bind_dev {
        parts.push(format!("through {device}"));
    }
    if let Some(fib) = link.bind_fib {
        let what = if cfg!(target_os = "linux") { "firewall mark" } else { "routing table" };
        parts.push(format!("{what} {fib}"));
    }
    // In the unit that providers use, to reveal who meant bits.
    parts.extend(link.bandwidth_upload.map(|bytes| format!("sends {} Mbit/s", megabits(bytes))));
    if link.fallback_only {
        parts.push("only while no other link is usable".into());
    }
    if config.general.speaks_v2() {
        parts.extend(terms(link));
    }
    let line = parts.join(", ");
    let in_version_1 = in_version_1(link, config).join(", ");
    match (config.general.speaks_v1(), config.general.speaks_v2()) {
        (true, false) => format!("{line}, {in_version_1}"),
        (true, true) => format!("{line}; with version 1: {in_version_1}"),
        (false, _) => line,
    }
}

/// What only version 2 knows.
fn terms(link: &Link) -> impl Iterator<Item = String> {
    let terms = &link.terms;
    let cost = Some(terms.cost.as_millis()).filter(|millis| *millis > 0);
    [
        terms.max_rate.map(|bytes| format!("at most {} Mbit/s each way", megabits(bytes))),
        cost.map(|millis| format!("costs {millis} ms")),
        terms.is_metered.then(|| "metered: only what the others have no room for".to_owned()),
    ]
    .into_iter()
    .flatten()
}

/// What version 2 finds out by itself.
fn in_version_1(link: &Link, config: &Config) -> Vec<String> {
    let mut parts = Vec::from_iter(share(link, config));
    parts.push(format!("down after {} s", link.timeout.as_secs()));
    if let Some(percent) = link.loss_tolerance {
        parts.push(format!("up to {percent} % loss"));
    }
    if let Some(latency) = link.latency_tolerance {
        parts.push(format!("up to {} ms", latency.as_millis()));
    }
    parts
}

fn ends(link: &Link) -> String {
    let host = link.bind_host.as_ref().map_or("any address".to_owned(), ToString::to_string);
    let local = match link.bind_port {
        Some(port) => format!("{host} port {port}"),
        None => host,
    };
    match (&link.remote_host, link.remote_port) {
        (Some(remote), Some(port)) => format!("{local} to {remote} port {port}"),
        _ => format!("listens on {local}"),
    }
}

/// The share of the traffic that follows from the rates.
fn share(link: &Link, config: &Config) -> Option<String> {
    if link.fallback_only {
        return None;
    }
    let others = || config.links.iter().filter(|l| !l.fallback_only);
    let total: Option<u128> =
        others().map(|l| l.bandwidth_upload.map(u128::from)).sum::<Option<u128>>();
    Some(match (link.bandwidth_upload, total) {
        (Some(bytes), Some(total)) => {
            format!("{} % of the traffic", (u128::from(bytes) * 100 + total / 2) / total)
        }
        _ => format!("1/{} of the traffic", others().count()),
    })
}

/// Bytes per second as Mbit/s with one decimal.
fn megabits(bytes_per_second: u64) -> String {
    let tenths = (u128::from(bytes_per_second) * 8 + 50_000) / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_shows_links_mtu_and_shares() {
        let text = "[general]\nmode=client\npassword=a-long-and-quite-secret-one\n\
            [a]\nremotehost=192.0.2.1\nremoteport=5080\nbandwidth_upload=3000000\n\
            [b]\nremotehost=vpn.example\nremoteport=5081\nbandwidth_upload=1000000\nbinddev=wwan0\n\
            [c]\nremotehost=192.0.2.1\nremoteport=5082\nbandwidth_upload=125000\nfallback_only=1\n\
            [filters]\na=udp port 5060\n";
        let config = config::parse("t", text.as_bytes()).unwrap().config;
        insta::assert_snapshot!(summary(&config), @r"
        client, tun interface mlvpn0
          protocol version 2 or version 1, with the password
          mtu      1440, or 1428 with version 1 (the largest that links of 1500 bytes carry whole)
          data     encrypted
          order    restored, waiting as long as the links differ
          link     a: any address to 192.0.2.1 port 5080, sends 24.0 Mbit/s; with version 1: 75 % of the traffic, down after 60 s
          link     b: any address to vpn.example port 5081, through wwan0, sends 8.0 Mbit/s; with version 1: 25 % of the traffic, down after 60 s
          link     c: any address to 192.0.2.1 port 5082, sends 1.0 Mbit/s, only while no other link is usable; with version 1: down after 60 s
          network  set up by mlvpn: mlvpn0 without an address
          uplinks  a, c leave by the same route; name the device of each with binddev
          filter   a: udp port 5060
        ");
    }

    #[test]
    fn the_summary_shows_only_what_the_version_spoken_uses() {
        let with = |version: u8| {
            let text = format!(
                "[general]\nmode=client\npassword=a-long-and-quite-secret-one\nprotocol_version={version}\n\
                 reorder_buffer_size=64\ntuntap=tap\npolicy=backup\n\
                 [a]\nremotehost=\"2001:db8::1\"\nremoteport=5080\ntimeout=5\nloss_tolerence=9\n\
                 max_rate=1250000\ncost=20\nmetered=yes\n\
                 [filters]\nredundant=udp port 5060\n"
            );
            summary(&config::parse("t", text.as_bytes()).unwrap().config)
        };
        insta::assert_snapshot!(with(1), @r"
        client, tap interface mlvpn0
          protocol version 1 with the password
          mtu      1394 (the largest that links of 1500 bytes carry whole)
          data     encrypted
          order    restored, holding back at most 64 packets
          link     a: any address to 2001:db8::1 port 5080, 1/1 of the traffic, down after 5 s, up to 9 % loss
          network  set up by mlvpn: mlvpn0 without an address
          filter   redundant: udp port 5060
        ");
        insta::assert_snapshot!(with(2), @r"
        client, tap interface mlvpn0
          protocol version 2 with the password
          mtu      1406 (the largest that links of 1500 bytes carry whole)
          data     encrypted
          order    restored, waiting as long as the links differ
          policy   backup
          link     a: any address to 2001:db8::1 port 5080, at most 10.0 Mbit/s each way, costs 20 ms, metered: only what the others have no room for
          network  set up by mlvpn: mlvpn0 without an address
          filter   redundant: udp port 5060
        ");
    }

    #[test]
    fn the_summary_shows_who_the_ends_are_and_no_secrets() {
        let secret = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
        let psk = "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=";
        let text = format!(
            "[general]\nmode=server\nprivate_key_file=k\n[a]\nbindport=5080\n\
             [peer bob]\npublic_key=3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\n\
             preshared_key={psk}\nip4=10.0.0.2 192.168.7.0/24\nip6=fd00::/64\n"
        );
        let mut keys = config::KeyFiles::from_bytes(format!("{secret} k\n").as_bytes()).unwrap();
        let config = config::parse_with_keys("t", text.as_bytes(), &mut keys).unwrap().config;
        insta::assert_snapshot!(summary(&config), @r"
        server, tun interface mlvpn0
          protocol version 2 with key pairs
          mtu      1440 (the largest that links of 1500 bytes carry whole)
          data     encrypted
          order    restored, waiting as long as the links differ
          own key  hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=
          peer     bob: 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=, with a pre-shared key, has 10.0.0.2/32 192.168.7.0/24 fd00::/64
          link     a: listens on any address port 5080
          network  set up by mlvpn: mlvpn0 without an address
          routes   into the tunnel while it is up: 10.0.0.2/32, 192.168.7.0/24, fd00::/64
        ");
    }
}
