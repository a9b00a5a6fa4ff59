//! The package under a real systemd: two machines, set up as README.md tells a new user, with an internet
//! between them.
//!
//! ```text
//!  client                        internet                    server
//!   eth0 198.51.100.2 ─ client0 ┐                       ┌─ eth0 192.0.2.10
//!   eth1 203.0.113.2  ─ client1 ┴─ 198.18.0.1, no way ──┴─ server0
//!                                  for clients' own addresses
//! ```
//!
//! A machine is this system with a layer of its own over its files, systemd as its first process, and
//! namespaces around it. The program runs itself again in a world of namespaces, with which everything ends.

mod machine;
mod story;

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use machine::{Machine, World};

/// Programs that are needed, and the Debian packages that have them.
const NEEDED: [(&str, &str); 7] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("ping", "iputils-ping"),
    ("systemctl", "systemd"),
];

/// What there is between the machines, for `sh`: networks, and a host that a client reaches through
/// the tunnel only.
const INTERNET: &str = "
set -e
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
ip address add 198.18.0.1/32 dev lo
ip address add 2001:db8:ffff::1/128 dev lo
for link in client0 client1; do
    ip rule add iif $link to 198.18.0.1 blackhole
    ip -6 rule add iif $link to 2001:db8:ffff::1 blackhole
done";

/// The server's device.
const SERVER_LINKS: [Link; 1] =
    [Link { name: "server0", device: "eth0", ip4: "192.0.2", ip6: "2001:db8:0", host: 10 }];
/// The client's devices.
const CLIENT_LINKS: [Link; 2] = [
    Link { name: "client0", device: "eth0", ip4: "198.51.100", ip6: "2001:db8:1", host: 2 },
    Link { name: "client1", device: "eth1", ip4: "203.0.113", ip6: "2001:db8:2", host: 2 },
];

/// A machine's way to the internet, whose end has the number 1 in both networks.
#[derive(Debug)]
struct Link {
    /// The device at the internet's end.
    name: &'static str,
    /// That at the machine's.
    device: &'static str,
    /// A /24.
    ip4: &'static str,
    /// A /64.
    ip6: &'static str,
    /// The machine's number.
    host: u8,
}

impl Link {
    /// Has systemd-networkd set the machine's end up. The first device has the smallest metric.
    fn network(&self, index: usize) -> String {
        let Self { device, ip4, ip6, host, .. } = self;
        let metric = 100 * (index + 1);
        format!(
            "[Match]\nName={device}\n[Network]\nLinkLocalAddressing=ipv6\nIPv6AcceptRA=no\n\
             Address={ip4}.{host}/24\nAddress={ip6}::{host}/64\n\
             [Route]\nGateway={ip4}.1\nMetric={metric}\n[Route]\nGateway={ip6}::1\nMetric={metric}\n"
        )
    }

    /// Sets the internet's end up, for `sh`.
    fn far_end(&self) -> String {
        let Self { name, ip4, ip6, .. } = self;
        format!(
            "set -e; ip link set {name} up; ip address add {ip4}.1/24 dev {name}; \
             ip address add {ip6}::1/64 dev {name} nodad"
        )
    }
}

/// Checks two versions of the package.
///
/// # Errors
/// When something is not as it should be, or machines cannot be made here.
pub(super) fn run(root: &Path, first: &Path, second: &Path) -> anyhow::Result<()> {
    for (program, package) in NEEDED {
        if !crate::run::is_installed(program) {
            bail!("{program} is missing, which machines need (Debian: {package})");
        }
    }
    eprintln!("\n== two machines, {} under systemd", first.display());
    let scripts = root.join("packaging/debian/machine");
    // With this program, whichever way it ends, the machines end.
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "sh"])
        .arg(scripts.join("world.sh"))
        .arg(env::current_exe()?)
        .args(["deb", "machines"])
        .args([&scripts, first, second])
        .status()
        .context("setpriv does not start")?;
    if !status.success() {
        bail!("the package does not do under systemd what it should: {status}");
    }
    Ok(())
}

/// The same, inside of the world.
///
/// # Errors
/// When something is not as it should be.
pub(super) fn run_inside(scripts: &str, first: &str, second: &str) -> anyhow::Result<()> {
    let world = World::of_environment(Path::new(scripts), [Path::new(first), Path::new(second)])?;
    machine::shell(INTERNET)?;
    let server = Machine::boot(&world, "server", &SERVER_LINKS)?;
    let client = Machine::boot(&world, "client", &CLIENT_LINKS)?;
    let mut story = story::Story::new(server, client);
    let told = story.tell();
    if told.is_err() {
        eprintln!("{}", story.journals());
    }
    told
}
