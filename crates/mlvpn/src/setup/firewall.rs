//! The server's ports, in the firewall of this host.

use std::path::PathBuf;

use super::plan::Plan;
use crate::network::command;

/// A firewall that filters packets here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Firewall {
    Ufw(PathBuf),
    Firewalld(PathBuf),
    /// nftables, with a chain `input` of a table `inet filter` that drops what no rule lets in.
    Nftables(PathBuf),
}

/// Lets the ports in if `is_wanted`, else says what would.
pub(super) fn open(ports: &[u16], is_wanted: bool, plan: &mut Plan) {
    let (Some(first), Some(last)) = (ports.first(), ports.last()) else { return };
    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
    let firewall = Firewall::find();
    let is_open = firewall.as_ref().is_some_and(|firewall| firewall.lets_in(&range));
    if is_open {
        return;
    }
    let Some(firewall) = firewall else {
        eprintln!(
            "note: UDP {range} must reach this host: let it in where packets are filtered, such as the \
             provider's firewall"
        );
        return;
    };
    if is_wanted {
        firewall.plan(&range, plan);
    } else {
        eprintln!(
            "note: UDP {range} must be let in; --open-firewall does it here, as does `{}`",
            firewall.command(&range)
        );
    }
    if matches!(firewall, Firewall::Nftables(_)) && is_wanted {
        eprintln!(
            "note: what is let in now is forgotten with the next start of the system; add `udp dport {range} \
             accept` to the chain input in /etc/nftables.conf"
        );
    }
}

impl Firewall {
    fn find() -> Option<Self> {
        let output = |name: &str, arguments: &[&str]| {
            let program = command::find(name)?;
            let text = command::output(&program, arguments).ok()?;
            Some((program, text))
        };
        let is_active = |(program, text): (PathBuf, String)| {
            text.lines().any(|line| line.trim() == "Status: active").then_some(Self::Ufw(program))
        };
        let is_running = |(program, text): (PathBuf, String)| {
            (text.trim() == "running").then_some(Self::Firewalld(program))
        };
        let drops = |(program, text): (PathBuf, String)| {
            text.contains("policy drop").then_some(Self::Nftables(program))
        };
        output("ufw", &["status"])
            .and_then(is_active)
            .or_else(|| output("firewall-cmd", &["--state"]).and_then(is_running))
            .or_else(|| {
                output("nft", &["list", "chain", "inet", "filter", "input"]).and_then(drops)
            })
    }

    fn lets_in(&self, range: &str) -> bool {
        let listing = match self {
            Self::Ufw(program) => command::output(program, &["status"]),
            Self::Firewalld(program) => command::output(program, &["--list-ports"]),
            Self::Nftables(program) => {
                command::output(program, &["list", "chain", "inet", "filter", "input"])
            }
        };
        let wanted = match self {
            Self::Ufw(_) => format!("{}/udp", range.replace('-', ":")),
            Self::Firewalld(_) => format!("{range}/udp"),
            Self::Nftables(_) => format!("udp dport {range} accept"),
        };
        listing.is_ok_and(|text| text.contains(&wanted))
    }

    fn commands(&self, range: &str) -> Vec<(PathBuf, Vec<String>)> {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        match self {
            Self::Ufw(program) => {
                vec![(program.clone(), words(&format!("allow {}/udp", range.replace('-', ":"))))]
            }
            Self::Firewalld(program) => vec![
                (program.clone(), words(&format!("--permanent --add-port={range}/udp"))),
                (program.clone(), words("--reload")),
            ],
            Self::Nftables(program) => {
                let rule = format!("insert rule inet filter input udp dport {range} accept");
                vec![(program.clone(), words(&rule))]
            }
        }
    }

    fn command(&self, range: &str) -> String {
        let line = |(program, arguments): &(PathBuf, Vec<String>)| {
            let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
            format!("{name} {}", arguments.join(" "))
        };
        self.commands(range).iter().map(line).collect::<Vec<_>>().join(" && ")
    }

    fn plan(&self, range: &str, plan: &mut Plan) {
        for (program, arguments) in self.commands(range) {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            plan.command(&program, &arguments, &format!("let UDP {range} in"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_firewall_is_told_in_its_own_words() {
        let all = [Firewall::Ufw, Firewall::Firewalld, Firewall::Nftables];
        let names = ["ufw", "firewall-cmd", "nft"];
        let lines: Vec<_> = all
            .into_iter()
            .zip(names)
            .map(|(kind, name)| kind(PathBuf::from("/usr/sbin").join(name)).command("5080-5083"))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        ufw allow 5080:5083/udp
        firewall-cmd --permanent --add-port=5080-5083/udp && firewall-cmd --reload
        nft insert rule inet filter input udp dport 5080-5083 accept
        ");
    }
}
