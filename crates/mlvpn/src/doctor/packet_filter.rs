//! nftables, as far as rules can be read without a packet: ports that are shut, and our table.

use serde_json::Value;

use super::evidence::Evidence;
use super::finding::Finding;
use super::routing::reload;
use crate::config::Mode;

/// What there is to say.
pub(super) fn findings(evidence: &Evidence) -> Vec<Finding> {
    let mut findings = Vec::new();
    let network = &evidence.config.general.network;
    let wants_table = network.has_nat || network.has_kill_switch;
    if wants_table && !evidence.has_nft {
        let key = if network.has_nat { "nat" } else { "kill_switch" };
        let text = format!("{key} needs the program nft, which is not installed");
        findings.push(Finding::fault("host", "nft", text).remedy("apt install nftables"));
        return findings;
    }
    let Some(rules) = evidence.rules.as_ref().map(Rules::of) else {
        if evidence.has_nft && !evidence.is_root {
            let text = "the rules of the firewall were not looked at";
            findings
                .push(Finding::note("host", "firewall", text).remedy("run mlvpn doctor as root"));
        }
        return findings;
    };
    if wants_table && evidence.status().is_some() {
        findings.push(if rules.has_own_table() {
            Finding::ok("host", "nft", "the nftables table of mlvpn is there")
        } else {
            let text = "the nftables table of mlvpn is gone: somebody has flushed the rules";
            Finding::fault("host", "nft", text).remedy(reload(evidence))
        });
    }
    let ports = |mode: Mode| {
        let links = evidence.config.links.iter();
        let is_mode = evidence.config.general.mode == mode;
        links.filter(move |_| is_mode)
    };
    let mut shut: Vec<(u16, String)> = Vec::new();
    for port in ports(Mode::Server).filter_map(|link| link.bind_port) {
        shut.extend(rules.verdict("input", "dport", port).map(|chain| (port, chain)));
    }
    findings.extend(summary(&shut, "in", "input"));
    let mut shut: Vec<(u16, String)> = Vec::new();
    for port in ports(Mode::Client).filter_map(|link| link.remote_port) {
        shut.extend(rules.verdict("output", "dport", port).map(|chain| (port, chain)));
    }
    findings.extend(summary(&shut, "out", "output"));
    if network.has_nat {
        findings.extend(rules.forward_drop(&evidence.config.general.interface.name));
    }
    findings
}

fn summary(shut: &[(u16, String)], way: &str, hook: &str) -> Option<Finding> {
    let (_, chain) = shut.first()?;
    let mut ports: Vec<_> = shut.iter().map(|(port, _)| port.to_string()).collect();
    ports.dedup();
    let set = ports.join(", ");
    let text = format!("the firewall lets UDP {set} not {way} ({chain})");
    let remedy = format!(
        "nft insert rule {} udp dport {{ {set} }} accept; and the same where your firewall keeps its rules",
        chain.split(", ").next().unwrap_or(hook)
    );
    Some(Finding::fault("host", "firewall", text).remedy(remedy))
}

/// All rules of nftables.
struct Rules<'a>(&'a [Value]);

/// What a rule does with a UDP packet to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accepts,
    Drops,
    /// It does not match, or only under conditions that are not looked at.
    Unknown,
}

impl<'a> Rules<'a> {
    fn of(document: &'a Value) -> Self {
        Self(document["nftables"].as_array().map_or(&[], Vec::as_slice))
    }

    fn has_own_table(&self) -> bool {
        let names = self.0.iter().filter_map(|item| item["table"]["name"].as_str());
        names.into_iter().any(|name| name.starts_with("mlvpn_"))
    }

    /// The chains of a hook, but our own.
    fn chains(&self, hook: &str) -> impl Iterator<Item = &'a Value> {
        let is_of = move |chain: &&Value| {
            chain["hook"] == hook
                && chain["type"] == "filter"
                && !chain["table"].as_str().unwrap_or_default().starts_with("mlvpn_")
        };
        self.0.iter().map(|item| &item["chain"]).filter(is_of).collect::<Vec<_>>().into_iter()
    }

    fn rules_of(&self, chain: &Value) -> impl Iterator<Item = &'a Value> {
        let is_of = move |rule: &&Value| {
            ["family", "table"].iter().all(|key| rule[key] == chain[key])
                && rule["chain"] == chain["name"]
        };
        self.0.iter().map(|item| &item["rule"]).filter(is_of).collect::<Vec<_>>().into_iter()
    }

    /// The first chain that a UDP packet with this port does not pass; named with what drops it.
    fn verdict(&self, hook: &str, field: &str, port: u16) -> Option<String> {
        self.chains(hook).find_map(|chain| {
            let name = |key: &str| chain[key].as_str().unwrap_or_default().to_owned();
            let shown = format!("{} {} {}", name("family"), name("table"), name("name"));
            let verdicts = self.rules_of(chain).map(|rule| verdict(rule, field, port));
            match verdicts.into_iter().find(|verdict| *verdict != Verdict::Unknown) {
                Some(Verdict::Accepts) => None,
                Some(_) => Some(format!("{shown}, a rule of it")),
                // A jump may lead to a rule that accepts it.
                None if chain["policy"] == "drop" && !self.jumps(chain) => {
                    Some(format!("{shown}, policy drop"))
                }
                None => None,
            }
        })
    }

    fn jumps(&self, chain: &Value) -> bool {
        let is_jump = |part: &Value| {
            part.get("jump").is_some() || part.get("goto").is_some() || part.get("vmap").is_some()
        };
        self.rules_of(chain).any(|rule| expressions(rule).iter().any(is_jump))
    }

    /// A policy that drops forwarded packets, as Docker and ufw set it, stops the networks behind this host.
    fn forward_drop(&self, interface: &str) -> Option<Finding> {
        let drops = |chain: &Value| chain["policy"] == "drop";
        let chain =
            self.chains("forward").find(|chain| drops(chain) && !self.names(chain, interface))?;
        let name = |key: &str| chain[key].as_str().unwrap_or_default();
        let shown = format!("{} {} {}", name("family"), name("table"), name("name"));
        let text =
            format!("forwarded packets may be dropped by another firewall ({shown}, policy drop)");
        let remedy = format!(
            "nft insert rule {shown} iifname {interface} accept; nft insert rule {shown} oifname {interface} accept \
             (Docker: in the chain DOCKER-USER; ufw: ufw default allow routed)"
        );
        Some(Finding::warning("host", "forward_policy", text).remedy(remedy))
    }

    /// Whether a chain has a rule for an interface.
    fn names(&self, chain: &Value, interface: &str) -> bool {
        self.rules_of(chain)
            .any(|rule| rule["expr"].to_string().contains(&format!("\"{interface}\"")))
    }
}

fn expressions(rule: &Value) -> &[Value] {
    rule["expr"].as_array().map_or(&[], Vec::as_slice)
}

/// What a rule says of a UDP packet with this port, which begins a conversation.
fn verdict(rule: &Value, field: &str, port: u16) -> Verdict {
    let mut outcome = Verdict::Unknown;
    for part in expressions(rule) {
        if let Some(matched) = part.get("match") {
            if !is_met(matched, field, port) {
                return Verdict::Unknown;
            }
        } else if part.get("accept").is_some() {
            outcome = Verdict::Accepts;
        } else if part.get("drop").is_some() || part.get("reject").is_some() {
            outcome = Verdict::Drops;
        } else if part.get("counter").is_none() && part.get("log").is_none() {
            return Verdict::Unknown;
        }
    }
    outcome
}

/// Whether a condition certainly holds: it asks for UDP, or for the port.
fn is_met(matched: &Value, field: &str, port: u16) -> bool {
    let (left, right) = (&matched["left"], &matched["right"]);
    if matched["op"] != "==" {
        return false;
    }
    let payload = &left["payload"];
    if payload["protocol"] == "udp" && payload["field"] == field {
        return holds(right, port);
    }
    if payload["protocol"] == "th" && payload["field"] == field {
        return holds(right, port);
    }
    let asks_protocol = left["meta"]["key"] == "l4proto"
        || (payload["field"] == "protocol" && payload["protocol"] == "ip");
    asks_protocol
        && (*right == "udp"
            || right["set"].as_array().is_some_and(|set| set.contains(&"udp".into())))
}

/// Whether a port is what is asked for: a number, a range, or one of a set.
fn holds(right: &Value, port: u16) -> bool {
    if let Some(number) = right.as_u64() {
        return number == u64::from(port);
    }
    if let Some([low, high]) = right["range"].as_array().map(Vec::as_slice) {
        let bounds = low.as_u64().zip(high.as_u64());
        return bounds.is_some_and(|(low, high)| (low..=high).contains(&u64::from(port)));
    }
    right["set"].as_array().is_some_and(|set| set.iter().any(|item| holds(item, port)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain(policy: &str, hook: &str) -> Value {
        json!({"chain": {"family": "inet", "table": "filter", "name": "input", "type": "filter",
                         "hook": hook, "prio": 0, "policy": policy}})
    }

    fn rule(parts: &[Value]) -> Value {
        json!({"rule": {"family": "inet", "table": "filter", "chain": "input", "expr": parts}})
    }

    fn port(right: &Value) -> Value {
        json!({"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": right}})
    }

    fn shut(items: &[Value], port: u16) -> Option<String> {
        let document = json!({"nftables": items});
        Rules::of(&document).verdict("input", "dport", port)
    }

    #[test]
    fn ports_are_shut_by_rules_or_by_a_policy_that_no_rule_prevents() {
        let accept = json!({"accept": null});
        let drop = json!({"drop": null});
        let ssh = json!({"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}});
        let policy = chain("drop", "input");
        let on_ssh = rule(&[ssh, accept.clone()]);
        assert!(
            shut(&[policy.clone(), on_ssh.clone()], 5080)
                .unwrap()
                .contains("inet filter input, policy drop")
        );
        for open in [
            json!(5080),
            json!({"range": [5000, 6000]}),
            json!({"set": [53, {"range": [5080, 5081]}]}),
        ] {
            let open = rule(&[port(&open), json!({"counter": {}}), accept.clone()]);
            assert_eq!(shut(&[policy.clone(), on_ssh.clone(), open.clone()], 5080), None);
            assert!(shut(&[policy.clone(), open], 7000).is_some());
        }
        let shut_port = rule(&[port(&json!(5081)), drop]);
        assert!(
            shut(&[chain("accept", "input"), shut_port.clone()], 5081)
                .unwrap()
                .contains("a rule of it")
        );
        assert_eq!(shut(&[chain("accept", "input"), shut_port], 5080), None);
        // What a chain that is jumped to says is not known.
        let jump = rule(&[json!({"jump": {"target": "x"}})]);
        assert_eq!(shut(&[policy, jump], 5080), None);
        assert_eq!(shut(&[chain("drop", "output")], 5080), None);
    }

    #[test]
    fn a_forward_policy_is_no_matter_once_the_interface_is_named() {
        let policy = chain("drop", "forward");
        let document = json!({"nftables": [policy.clone()]});
        assert!(Rules::of(&document).forward_drop("mlvpn0").is_some());
        let named = rule(&[
            json!({"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "mlvpn0"}}),
        ]);
        let document = json!({"nftables": [policy, named]});
        assert!(Rules::of(&document).forward_drop("mlvpn0").is_none());
    }
}
