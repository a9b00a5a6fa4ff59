//! What the running program tells of its links and peers; or what can be said when none runs.

use mlvpn_proto::crypto::keypair::PublicKey;

use super::evidence::{Evidence, Program};
use super::finding::Finding;
use super::probe::{Attempt, Outcome};
use crate::config::{Config, Mode};
use crate::console::document::{History, Link, Status};
use crate::console::figure::{megabits, millis, percent};
use crate::status::Condition;

/// A share of lost packets that is more than radio links lose on a good day.
const MUCH_LOSS: f64 = 0.05;
/// A round trip that people hear in a call, in milliseconds.
const LONG_DELAY: f64 = 300.0;
/// What a datagram has around it: IPv4 and UDP headers.
const HEADERS_V4: u32 = 28;
const HEADERS_V6: u32 = 48;
/// Drops of these are looked at; `docs/status.md` explains all.
const TELLING_DROPS: [(&str, u64, &str); 4] = [
    (
        "foreign_source",
        20,
        "a peer sends from addresses that are not in its ip4 or ip6: add them to its [peer] section",
    ),
    (
        "no_peer",
        100,
        "packets go to addresses that belong to no peer with a session: see ip4 and ip6 of the [peer] sections",
    ),
    (
        "other_version",
        20,
        "another version of the protocol is spoken at the other end: compare protocol_version",
    ),
    (
        "socket_queue_full",
        1000,
        "this machine is too slow for what comes: see what else uses its processors",
    ),
];

/// What there is to say.
pub(super) fn findings(evidence: &Evidence) -> Vec<Finding> {
    match &evidence.program {
        Program::Running(status, history) => running(status, history, &evidence.config),
        Program::Stopped { why, attempts } => stopped(why, attempts, evidence),
        Program::Silent(why) => {
            let text = format!("mlvpn does not tell how it is: {why}");
            vec![Finding::warning("session", "program", text).remedy("run mlvpn doctor as root")]
        }
        Program::Unknown => {
            let text = "there is no control_unix_path, so that the running mlvpn cannot be asked";
            let remedy = format!(
                "add control_unix_path = \"/run/mlvpn/{}.sock\" to [general] of {}, and start mlvpn again",
                evidence.instance(),
                evidence.file.display()
            );
            vec![Finding::warning("session", "program", text).remedy(remedy)]
        }
    }
}

fn stopped(why: &str, attempts: &[Attempt], evidence: &Evidence) -> Vec<Finding> {
    let name = evidence.instance();
    let text = format!("mlvpn does not run ({why})");
    let remedy = format!(
        "systemctl start mlvpn@{name}, or: mlvpn -c {} --user mlvpn; why it ended: journalctl -u mlvpn@{name}",
        evidence.file.display()
    );
    let mut findings = vec![Finding::fault("session", "program", text).remedy(remedy)];
    let is_any_up = attempts.iter().any(|attempt| attempt.outcome == Outcome::Answered);
    for attempt in attempts {
        let about = format!("link {}", attempt.link);
        findings.push(match &attempt.outcome {
            Outcome::Answered => Finding::ok(about, "reachable", "the server answers with its key"),
            Outcome::Refused(why) => {
                let text = format!("the server's host answers that nobody listens there: {why}");
                let remedy =
                    "start mlvpn at the server, and compare remoteport with bindport there";
                Finding::fault(about, "reachable", text).remedy(remedy)
            }
            Outcome::NoSocket(why) => Finding::fault(about, "socket", why.clone()),
            Outcome::Misfit(why) => Finding::fault(about, "credentials", why.clone()),
            Outcome::Silence => silence(about, is_any_up, &attempt.to, &evidence.config),
        });
    }
    findings
}

/// No answer at all: what the reason is depends on whether other links have one.
fn silence(about: String, is_any_up: bool, to: &str, config: &Config) -> Finding {
    if is_any_up {
        let text = format!("no answer from {to}, while the server answers on other links");
        let remedy = "let this UDP port in at the server (and forward it, behind a router); see whether the \
                      device's network lets UDP out";
        return Finding::fault(about, "reachable", text).remedy(remedy);
    }
    let text = format!("no answer from {to}");
    Finding::fault(about, "reachable", text).remedy(format!(
        "at the server: `mlvpn doctor` tells whether mlvpn runs, and whether messages with {} came; let the UDP port \
         in there",
        match own_key(config) {
            Some(key) => format!("another key than it knows came (this end's is {key})"),
            None => "another password came".to_owned(),
        }
    ))
}

fn own_key(config: &Config) -> Option<PublicKey> {
    config.general.credentials.key_pair.as_ref().map(|pair| pair.0.public_key())
}

fn running(status: &Status, history: &History, config: &Config) -> Vec<Finding> {
    let text = format!("mlvpn {} runs as {}", status.version, status.mode);
    let mut findings = vec![Finding::ok("session", "program", text)];
    findings.extend(versions(status));
    let is_up = |link: &Link| condition(link).is_some_and(is_connected);
    let is_any_up = status.tunnels.iter().any(is_up);
    findings.extend(credentials(status, history, config, is_any_up));
    for link in &status.tunnels {
        let about = format!("link {}", link.name);
        if is_up(link) {
            findings.extend(quality(&about, link));
        } else {
            findings.push(idle(about, link, is_any_up, config));
        }
    }
    if config.general.mode == Mode::Server && !is_any_up {
        let ports: Vec<_> = config.links.iter().filter_map(|link| link.bind_port).collect();
        let text = "no client has come on any link";
        let first = ports.iter().min().copied().unwrap_or_default();
        let last = ports.iter().max().copied().unwrap_or_default();
        findings.push(Finding::warning("session", "clients", text).remedy(format!(
            "see that UDP {first} to {last} is let in here and forwarded by a router before: tcpdump -ni any udp \
             portrange {first}-{last}"
        )));
    }
    findings.extend(drops(status));
    findings
}

fn condition(link: &Link) -> Option<Condition> {
    Condition::ALL.into_iter().find(|known| known.as_str() == link.condition)
}

fn is_connected(condition: Condition) -> bool {
    !matches!(condition, Condition::Waiting | Condition::Down | Condition::Off)
}

fn versions(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    let this = env!("CARGO_PKG_VERSION");
    if status.version != this {
        let text =
            format!("the running mlvpn is version {}, the installed one {this}", status.version);
        findings.push(Finding::warning("session", "version", text).remedy("start mlvpn again"));
    }
    if status.protocol_version == Some(1) {
        let text = "version 1 of the protocol is spoken: no rates are found out, nothing lost is sent again, \
                    and keys never change";
        let remedy = "install this program at the other end too, if it is an mlvpn 2.x there";
        findings.push(Finding::note("session", "protocol", text).remedy(remedy));
    }
    for peer in &status.peers {
        let who = peer.name.as_deref().unwrap_or("the peer");
        let software = peer.software.as_deref().unwrap_or("an unnamed program");
        let text = format!("{who} runs {software}");
        let is_same = software == format!("mlvpn {}", status.version);
        findings.push(match is_same {
            true => Finding::ok("session", "version", text),
            false => Finding::note(
                "session",
                "version",
                format!("{text}, this end mlvpn {}", status.version),
            ),
        });
    }
    findings
}

/// Whether the ends know each other, as far as this one can tell.
fn credentials(
    status: &Status,
    history: &History,
    config: &Config,
    is_any_up: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let told =
        history.events.iter().rev().find(|event| event.kind == "peer" && event.link.is_none());
    if let Some(event) = told.filter(|_| !is_any_up) {
        findings.push(Finding::note(
            "session",
            "events",
            format!("the latest of the peer: {}", event.text),
        ));
    }
    let drops = |reason: &str| status.session.drops.get(reason).copied().unwrap_or(0);
    let strangers = drops("handshake") + drops("not_authentic");
    if strangers == 0 {
        return findings;
    }
    let (what, compare) = match own_key(config) {
        Some(key) => (
            "keys that this end does not know",
            format!(
                "compare: this end's public key is {key}, which belongs in the other end's [peer] section; the \
                 other end's, which `mlvpn pubkey FILE` prints there, belongs in the one here"
            ),
        ),
        None => ("another password", "write the same password at both ends".to_owned()),
    };
    let text = format!("{strangers} messages came with {what}, or damaged or repeated");
    findings.push(match is_any_up {
        true => Finding::note("session", "credentials", text),
        false => Finding::fault("session", "credentials", text).remedy(compare),
    });
    findings
}

/// A link that carries nothing.
fn idle(about: String, link: &Link, is_any_up: bool, config: &Config) -> Finding {
    let remark = link.remark.clone().unwrap_or_else(|| link.condition.clone());
    match condition(link) {
        Some(Condition::Off) => {
            let remedy = format!("mlvpn link {} up", link.name);
            Finding::note(about, "link", "it was switched off by hand").remedy(remedy)
        }
        // A server's link waits for a client with as many uplinks.
        Some(Condition::Waiting) if config.general.mode == Mode::Server => {
            Finding::note(about, "link", remark)
        }
        Some(Condition::Waiting) => {
            let to =
                link.remote_address.map_or_else(|| "the server".to_owned(), |at| at.to_string());
            silence(about, is_any_up, &to, config)
        }
        _ => Finding::fault(about, "link", remark)
            .remedy("see the lines above of its device and address"),
    }
}

/// A link that is up: how good it is.
fn quality(about: &str, link: &Link) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut facts = Vec::new();
    facts.extend(link.srtt_ms.map(|ms| format!("round trip {} ms", millis(ms))));
    facts.extend(link.capacity_sent().map(|rate| format!("{} Mbit/s up", megabits(rate))));
    facts.extend(link.received_peak.map(|rate| format!("{} Mbit/s down seen", megabits(rate))));
    facts.extend(link.received_loss().map(|loss| format!("{} % lost down", percent(loss))));
    facts.extend(link.sent_loss().map(|loss| format!("{} % lost up", percent(loss))));
    facts.extend(link.remote_address.map(|at| format!("peer at {at}")));
    let text = format!("it is {}: {}", link.condition, facts.join(", "));
    findings.push(match condition(link) {
        Some(Condition::Up | Condition::Standby) => Finding::ok(about, "link", text),
        _ => {
            let remark = link.remark.clone().unwrap_or_default();
            Finding::warning(about, "link", format!("{text} ({remark})"))
        }
    });
    let losses = [("down", link.received_loss()), ("up", link.sent_loss())];
    let losses = losses.into_iter().filter_map(|(way, loss)| Some((way, loss?)));
    for (way, loss) in losses.filter(|(_, loss)| *loss > MUCH_LOSS) {
        let text = format!("it loses {} % of its packets {way}, which is much", percent(loss));
        let remedy = format!(
            "see the signal of the modem or Wi-Fi; `mlvpn link {} fallback` spares it meanwhile",
            link.name
        );
        findings.push(Finding::warning(about, "loss", text).remedy(remedy));
    }
    if let Some(delay) = link.srtt_ms.filter(|delay| *delay > LONG_DELAY) {
        let text = format!("its round trip takes {} ms", millis(delay));
        findings.push(Finding::note(about, "delay", text));
    }
    if let Some(path) = &link.path {
        let is_v6 = link.remote_address.is_some_and(|at| at.is_ipv6());
        let whole = path.mtu + if is_v6 { HEADERS_V6 } else { HEADERS_V4 };
        let text = format!("the way carries packets of {whole} bytes whole");
        findings.push(Finding::ok(about, "path_mtu", text));
    }
    findings
}

fn drops(status: &Status) -> Vec<Finding> {
    let telling = TELLING_DROPS.iter().filter_map(|(reason, most, remedy)| {
        let count = status.session.drops.get(*reason).copied().unwrap_or(0);
        let text = format!("{count} packets were dropped as {reason}");
        (count > *most).then(|| Finding::warning("session", "drops", text).remedy(*remedy))
    });
    telling.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn config(mode: &str) -> Config {
        let links = match mode {
            "server" => "[a]\nbindport = 5080\n[b]\nbindport = 5081\n",
            _ => {
                "[a]\nremotehost = 192.0.2.1\nremoteport = 5080\n[b]\nremotehost = 192.0.2.1\nremoteport = 5081\n"
            }
        };
        let text =
            format!("[general]\nmode = {mode}\npassword = a-long-and-quite-secret-one\n{links}");
        config::parse("t", text.as_bytes()).unwrap().config
    }

    fn status(json: &str) -> Status {
        serde_json::from_str(json).unwrap()
    }

    fn ids(json: &str, mode: &str) -> Vec<String> {
        let findings = running(&status(json), &History::default(), &config(mode));
        findings.iter().map(Finding::id).collect()
    }

    const NOW: &str = concat!(r#""version": ""#, env!("CARGO_PKG_VERSION"), r#"""#);

    #[test]
    fn a_silent_link_beside_one_that_is_up_is_another_fault_than_two_silent_ones() {
        let one = format!(
            r#"{{{NOW}, "tunnels": [{{"name": "a", "condition": "up"}}, {{"name": "b", "condition": "waiting"}}]}}"#
        );
        assert_eq!(ids(&one, "client"), ["program ok", "link ok", "reachable FAULT"]);
        let findings = running(&status(&one), &History::default(), &config("client"));
        assert!(format!("{:?}", findings[2]).contains("on other links"));
        let none = one.replace("\"up\"", "\"waiting\"");
        let findings = running(&status(&none), &History::default(), &config("client"));
        assert!(format!("{:?}", findings[1]).contains("another password"));
        // A server's links wait for clients.
        assert_eq!(ids(&one, "server"), ["program ok", "link ok", "link note"]);
        let server = ["program ok", "link note", "link note", "clients warning"];
        assert_eq!(ids(&none, "server"), server);
    }

    #[test]
    fn strangers_are_a_fault_only_while_nobody_else_comes() {
        let with = |condition: &str| {
            format!(
                r#"{{{NOW}, "session": {{"drops": {{"handshake": 7}}}}, "tunnels": [{{"name": "a", "condition": "{condition}"}}]}}"#
            )
        };
        assert_eq!(ids(&with("up"), "server"), ["program ok", "credentials note", "link ok"]);
        assert_eq!(ids(&with("waiting"), "server")[1], "credentials FAULT");
    }

    #[test]
    fn loss_old_programs_and_version_1_are_told() {
        let json = r#"{"version": "2.9", "protocol_version": 1, "peers": [{"name": "x", "software": "other 1"}],
            "session": {"drops": {"foreign_source": 50}},
            "tunnels": [{"name": "a", "condition": "up", "loss_ratio": 0.2, "srtt_ms": 700},
                        {"name": "b", "condition": "off"}]}"#;
        let expected = [
            "program ok",
            "version warning",
            "protocol note",
            "version note",
            "link ok",
            "loss warning",
            "delay note",
            "link note",
            "drops warning",
        ];
        assert_eq!(ids(json, "client"), expected);
    }
}
