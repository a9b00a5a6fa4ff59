//! What happens on the machines, and how everything has to be after each step.

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::machine::{Machine, wait_for};

const UNIT: &str = "mlvpn@mlvpn";
/// A host on the internet, which clients reach through the tunnel only.
const PING: &str = "ping -c 1 -W 2 198.18.0.1 && ping -c 1 -W 2 2001:db8:ffff::1";
/// Everything that the program may change of a host's network, and the files that it may write.
const STATE: &str = r"
for family in -4 -6; do
    ip $family rule
    # Multicast groups come and go with what listens.
    ip $family route show table all | grep -v ^multicast | sed 's/ expires [0-9]*sec//' | sort
done
nft list ruleset
grep -r . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf 2>/dev/null | sort
ls -l /etc/resolv.conf*
cat /etc/resolv.conf";

/// Prints the processes of the service.
const PROCESSES: &str =
    "cat \"/sys/fs/cgroup$(systemctl show --value -p ControlGroup mlvpn@mlvpn)/cgroup.procs\"";

/// The two machines.
pub(super) struct Story {
    server: Machine,
    client: Machine,
}

impl Story {
    pub(super) fn new(server: Machine, client: Machine) -> Self {
        Self { server, client }
    }

    /// From the installation to the removal.
    ///
    /// # Errors
    /// When something is not as it should be.
    pub(super) fn tell(&mut self) -> anyhow::Result<()> {
        let before = self.states()?;
        step("the package is installed, and the tunnel set up");
        self.install()?;
        self.set_up()?;
        self.expect_tunnel()?;
        self.expect_rights()?;
        self.expect_network()?;
        step("a reload keeps the session");
        self.reload()?;
        step("what is killed or hangs is started again");
        self.kill()?;
        self.hang()?;
        self.expect_quiet_journals()?;
        step("after a restart of the machines the tunnel is there");
        self.restart_machines()?;
        step("what is stopped leaves nothing");
        self.stop()?;
        self.expect_states(&before)?;
        step("an upgrade goes on with the tunnel, and a purge ends it");
        self.upgrade()?;
        self.expect_quiet_journals()?;
        self.purge()?;
        self.expect_states(&before)
    }

    /// What the machines' programs have said, for people.
    pub(super) fn journals(&self) -> String {
        let journal = |machine: &Machine| {
            let lines = machine.run("journalctl --no-pager --boot --lines 60");
            format!("-- {}\n{}", machine.name, lines.unwrap_or_else(|error| format!("{error:#}")))
        };
        self.machines().map(journal).concat()
    }

    fn machines(&self) -> [&Machine; 2] {
        [&self.server, &self.client]
    }

    fn on_both(&self, line: &str) -> anyhow::Result<[String; 2]> {
        let [server, client] = self.machines();
        Ok([server.run(line)?, client.run(line)?])
    }

    fn states(&self) -> anyhow::Result<[String; 2]> {
        for machine in self.machines() {
            let is_set_up = "ip -4 route show default | grep . && ip -6 route show default | grep . && \
                             ! ip address | grep tentative";
            machine.wait_for("its addresses", is_set_up)?;
        }
        self.on_both(STATE)
    }

    /// The network and the files are as they were.
    fn expect_states(&self, before: &[String; 2]) -> anyhow::Result<()> {
        for (machine, before) in self.machines().into_iter().zip(before) {
            let now = machine.run(STATE)?;
            let lines = |a: &str, b: &str, sign: &str| -> String {
                let gone = a.lines().filter(|line| !b.lines().any(|other| other == *line));
                gone.map(|line| format!("{sign}{line}\n")).collect()
            };
            let [lost, new] = [lines(before, &now, "-"), lines(&now, before, "+")];
            ensure!(*before == now, "{} is not as it was before:\n{lost}{new}", machine.name);
        }
        Ok(())
    }

    fn install(&self) -> anyhow::Result<()> {
        // What it depends on is not what is checked.
        self.on_both("dpkg --force-depends --install /run/packages/1.deb").map(drop)
    }

    /// As README.md tells it.
    fn set_up(&self) -> anyhow::Result<()> {
        let setup = "mlvpn setup server --address 192.0.2.10 --links 2 --dns 198.18.0.1 --yes";
        let line = self.server.run(setup)?;
        let line = line.trim();
        ensure!(line.starts_with("mlvpn setup client mlvpn1"), "the server prints '{line}'");
        self.client.run(line).map(drop)
    }

    /// The service is up on both machines, both links are, and packets get through.
    fn expect_tunnel(&self) -> anyhow::Result<()> {
        for machine in self.machines() {
            machine.wait_for("the service", &format!("systemctl is-active {UNIT}"))?;
        }
        self.client.wait_for("a host behind the tunnel", PING)?;
        let mut shown = Value::Null;
        wait_for("two links that are up", || {
            shown = status(&self.client)?;
            let links = shown["tunnels"].as_array().context("the status has no links")?;
            Ok(links.len() == 2 && links.iter().all(|link| link["condition"] == "up"))
        })
        .with_context(|| format!("the client's status is {:#}", shown["tunnels"]))
    }

    /// The worker has no rights at all.
    fn expect_rights(&self) -> anyhow::Result<()> {
        for machine in self.machines() {
            let worker = worker(machine)?;
            let uid = machine.run("id -u mlvpn")?;
            let uid = uid.trim();
            let status = machine.run(&format!("cat /proc/{worker}/status"))?;
            let nothing = "0000000000000000";
            for (key, value) in [
                ("Uid", format!("{uid} {uid} {uid} {uid}").as_str()),
                ("CapPrm", nothing),
                ("CapEff", nothing),
                ("CapAmb", nothing),
                ("CapInh", nothing),
                ("NoNewPrivs", "1"),
                ("Seccomp", "2"),
            ] {
                let line = status.lines().find_map(|line| line.strip_prefix(&format!("{key}:")));
                let found = line.unwrap_or("").split_whitespace().collect::<Vec<_>>().join(" ");
                ensure!(found == value, "the worker's {key} is {found} on {}", machine.name);
            }
        }
        Ok(())
    }

    /// Routes, address translation and name servers are as `setup` has configured them.
    fn expect_network(&self) -> anyhow::Result<()> {
        for (machine, line) in [
            (&self.client, "ip route get 198.18.0.1 | grep -q 'dev mlvpn0'"),
            (&self.client, "ip -6 route get 2001:db8:ffff::1 | grep -q 'dev mlvpn0'"),
            (&self.client, "grep -qx 'nameserver 198.18.0.1' /etc/resolv.conf"),
            (&self.client, "[ $(stat -c %a /etc/resolv.conf) = 644 ]"),
            (&self.client, "nft list ruleset | grep -q masquerade"),
            (&self.server, "nft list ruleset | grep -q masquerade"),
            (&self.server, "grep -qx 1 /proc/sys/net/ipv4/conf/eth0/forwarding"),
            (&self.server, "grep -qx 1 /proc/sys/net/ipv6/conf/eth0/forwarding"),
        ] {
            machine.run(line)?;
        }
        Ok(())
    }

    fn reload(&self) -> anyhow::Result<()> {
        let before = status(&self.client)?;
        self.client.run("sed -i '/^\\[eth1\\]/a cost = 20' /etc/mlvpn/mlvpn.conf")?;
        self.client.run(&format!("systemctl reload {UNIT}"))?;
        let mut after = Value::Null;
        wait_for("the changed value", || {
            after = status(&self.client)?;
            let links = after["tunnels"].as_array().context("the status has no links")?;
            Ok(links.iter().any(|link| link["name"] == "eth1" && link["cost_ms"] == 20))
        })?;
        let session = |status: &Value| status["peers"][0]["uptime_seconds"].as_f64();
        ensure!(before["pid"] == after["pid"], "another process carries the data");
        ensure!(session(&before) <= session(&after), "the session is another one");
        self.expect_tunnel()
    }

    /// One process after the other is killed.
    fn kill(&self) -> anyhow::Result<()> {
        for process in [main_process, worker] {
            for machine in self.machines() {
                let former = main_process(machine)?;
                machine.run(&format!("kill -KILL {}", process(machine)?))?;
                self.expect_successor(machine, &former)?;
            }
            self.expect_tunnel()?;
        }
        Ok(())
    }

    /// One process after the other stands still.
    fn hang(&self) -> anyhow::Result<()> {
        let folder = format!("/run/systemd/system/{UNIT}.service.d");
        self.client.run(&format!(
            "mkdir -p {folder} && printf '[Service]\\nWatchdogSec=5\\n' >{folder}/watchdog.conf && \
             systemctl daemon-reload && systemctl restart {UNIT}"
        ))?;
        self.expect_tunnel()?;
        for process in [worker, main_process] {
            let former = main_process(&self.client)?;
            self.client.run(&format!("kill -STOP {}", process(&self.client)?))?;
            self.expect_successor(&self.client, &former)?;
            self.expect_tunnel()?;
        }
        self.client.run(&format!("rm -r {folder} && systemctl daemon-reload"))?;
        Ok(())
    }

    fn expect_successor(&self, machine: &Machine, former: &str) -> anyhow::Result<()> {
        let is_new = format!(
            "systemctl is-active {UNIT} && [ $(systemctl show --value -p MainPID {UNIT}) != {former} ]"
        );
        machine.wait_for("another process", &is_new)?;
        let are_two = format!("[ $({PROCESSES} | wc -l) = 2 ]");
        machine.wait_for("the end of the former processes", &are_two)
    }

    /// The server in order, the client by a power failure.
    fn restart_machines(&mut self) -> anyhow::Result<()> {
        self.server.power_off()?;
        self.client.cut_power()?;
        self.server.boot_again()?;
        self.client.boot_again()?;
        self.expect_tunnel()?;
        self.expect_network()
    }

    /// Also where the worker hangs, which the privileged process may not kill.
    fn stop(&self) -> anyhow::Result<()> {
        self.client.run(&format!("kill -STOP {}", worker(&self.client)?))?;
        self.on_both(&format!("systemctl stop {UNIT}")).map(drop)
    }

    fn upgrade(&self) -> anyhow::Result<()> {
        self.on_both(&format!("systemctl start {UNIT}"))?;
        self.expect_tunnel()?;
        for machine in self.machines() {
            let former = main_process(machine)?;
            machine.run("dpkg --force-depends --install /run/packages/2.deb")?;
            self.expect_successor(machine, &former)?;
        }
        self.expect_tunnel()
    }

    fn purge(&self) -> anyhow::Result<()> {
        self.on_both("dpkg --purge mlvpn")?;
        for machine in self.machines() {
            let left = machine.run(
                "systemctl list-units --all --plain --no-legend 'mlvpn@*'; \
                 ls -d /sys/fs/cgroup/system.slice/*mlvpn*/*mlvpn* /etc/mlvpn /run/mlvpn 2>/dev/null; \
                 find /etc/systemd -name '*mlvpn*'",
            );
            let left = left.unwrap_or_default();
            ensure!(left.trim().is_empty(), "left after a purge on {}: {left}", machine.name);
        }
        Ok(())
    }

    /// Nothing was refused to the program.
    fn expect_quiet_journals(&self) -> anyhow::Result<()> {
        const REFUSED: [&str; 6] =
            ["not permitted", "denied", "Read-only", "SIGSYS", "seccomp", "panicked"];
        // The fences, and the worker that hangs at the end.
        const MEANT: [&str; 2] =
            ["the worker is confined", "the worker is left to the service manager"];
        for machine in self.machines() {
            let journal = format!("journalctl --no-pager --boot --output cat --unit {UNIT}");
            for line in machine.run(&journal)?.lines() {
                let is_meant = MEANT.iter().any(|words| line.contains(words));
                if !is_meant && REFUSED.iter().any(|word| line.contains(word)) {
                    bail!("{} says: {line}", machine.name);
                }
            }
        }
        Ok(())
    }
}

fn step(text: &str) {
    eprintln!("-- {text}");
}

fn status(machine: &Machine) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&machine.run("mlvpn status --json")?)?)
}

/// The privileged process.
fn main_process(machine: &Machine) -> anyhow::Result<String> {
    let id = machine.run(&format!("systemctl show --value -p MainPID {UNIT}"))?;
    Ok(id.trim().to_owned())
}

/// The process that carries the packets.
fn worker(machine: &Machine) -> anyhow::Result<String> {
    let main = main_process(machine)?;
    let id = machine.run(&format!("{PROCESSES} | grep -vx {main}"))?;
    Ok(id.trim().to_owned())
}
