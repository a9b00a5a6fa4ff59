//! The kernel, rights, programs, users and the clock.

use std::fs::OpenOptions;
use std::io;
use std::net::{Ipv4Addr, UdpSocket as Probe};
use std::time::Duration;

use caps::{CapSet, Capability};
use mlvpn_io::clock::{Clock, unix_time};
use mlvpn_io::privileges::Identity;
use mlvpn_io::udp::{UdpOptions, UdpSocket};

use super::evidence::{Evidence, Program};
use super::finding::Finding;
use crate::config::{Config, Host, Link, Mode};
use crate::hook::StatusCommand;

/// 2026-01-01: this program is not older.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);
const RELEASE: &str = "/proc/sys/kernel/osrelease";
const TUN: &str = "/dev/net/tun";
const USER: &str = "mlvpn";
/// The size of the datagrams by which it is looked whether the kernel cuts batches up.
const SEGMENT: usize = 1200;

/// What there is to say; without `evidence` what does not depend on the configuration.
pub(super) fn findings(evidence: Option<&Evidence>) -> Vec<Finding> {
    let mut findings = vec![tun()];
    findings.extend(rights());
    findings.push(clock(unix_time()));
    findings.push(segmentation());
    findings.extend(kernel(&std::fs::read_to_string(RELEASE).unwrap_or_default()));
    let Some(evidence) = evidence else { return findings };
    let is_running = evidence.status().is_some();
    if !is_running && Identity::lookup(USER).is_err() {
        let text = format!("there is no user {USER}, as which the larger part of the program runs");
        let remedy = format!(
            "useradd --system --no-create-home --shell /usr/sbin/nologin {USER}; or start with --user NAME"
        );
        findings.push(Finding::warning("host", "user", text).remedy(remedy));
    }
    if let Some(Err(error)) =
        evidence.config.general.status_command.as_deref().map(StatusCommand::new)
    {
        findings.push(Finding::fault("host", "statuscommand", error.to_string()));
    }
    if matches!(evidence.program, Program::Stopped { .. }) {
        findings.extend(ports(&evidence.config));
    }
    findings
}

fn tun() -> Finding {
    let opened = OpenOptions::new().read(true).write(true).open(TUN);
    match opened {
        Ok(_) => Finding::ok("host", "tun", format!("{TUN} can be opened")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let text = format!("{TUN} must not be opened: {error}");
            Finding::fault("host", "tun", text)
                .remedy("run as root; in a container: --cap-add NET_ADMIN --device /dev/net/tun")
        }
        Err(error) => {
            let text = format!("there are no tun interfaces ({TUN}: {error})");
            Finding::fault("host", "tun", text)
                .remedy("modprobe tun; in a container: --device /dev/net/tun")
        }
    }
}

/// Root in a container may lack what root elsewhere has.
fn rights() -> Option<Finding> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    if !nix::unistd::geteuid().is_root() {
        let text = "not everything can be seen without root's rights";
        return Some(Finding::note("host", "rights", text).remedy("sudo mlvpn doctor"));
    }
    if has(Capability::CAP_NET_ADMIN) {
        return None;
    }
    let text = "this root must not set up networks (CAP_NET_ADMIN is missing)";
    Some(Finding::fault("host", "rights", text).remedy("in a container: --cap-add NET_ADMIN"))
}

/// A handshake of version 2 is refused when it seems older than the one before.
fn clock(now: Duration) -> Finding {
    if now < EARLIEST {
        let text =
            "the clock is years behind: handshakes look like old ones, and servers refuse them";
        return Finding::fault("host", "clock", text)
            .remedy("timedatectl set-ntp true; or: date -s 'YYYY-MM-DD hh:mm'");
    }
    Finding::ok("host", "clock", "the clock is plausible")
}

fn segmentation() -> Finding {
    let options = UdpOptions::new((Ipv4Addr::LOCALHOST, 0).into());
    let socket = UdpSocket::open(&options, Clock::new());
    if socket.is_ok_and(|socket| socket.is_segmenting(SEGMENT)) {
        return Finding::ok(
            "host",
            "offload",
            "the kernel sends many datagrams at once (UDP_SEGMENT)",
        );
    }
    let text =
        "the kernel sends one datagram at a time, which costs several times the processor time";
    Finding::note("host", "offload", text)
        .remedy("Linux 4.18 or later has UDP_SEGMENT, 5.0 UDP_GRO")
}

/// What the version tells.
fn kernel(release: &str) -> Option<Finding> {
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next()?, numbers.next().unwrap_or(0));
    if version >= (6, 2) {
        let text = format!("Linux {release} hands over UDP of the tunnel in bulk, too (USO)");
        return Some(Finding::ok("host", "kernel", text));
    }
    let text = format!(
        "Linux {release} hands over UDP of the tunnel packet by packet; from 6.2 on in bulk"
    );
    Some(Finding::note("host", "kernel", text))
}

/// Ports that another program has.
fn ports(config: &Config) -> Vec<Finding> {
    if config.general.mode == Mode::Client {
        return Vec::new();
    }
    let taken = |link: &Link| {
        let port = link.bind_port?;
        let address = match &link.bind_host {
            Some(Host::Address(address)) => *address,
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        let error = Probe::bind((address, port)).err()?;
        (error.kind() == io::ErrorKind::AddrInUse).then_some((link.name.clone(), port))
    };
    let all = config.links.iter().filter_map(taken);
    all.map(|(name, port)| {
        let text = format!("another program listens on UDP {port}");
        Finding::fault(format!("link {name}"), "port", text).remedy(format!(
            "ss -ulpn 'sport = :{port}' shows which; stop it, or choose another bindport"
        ))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_of_the_past_and_an_old_kernel_are_told() {
        assert_eq!(clock(Duration::from_secs(3_600)).id(), "clock FAULT");
        assert_eq!(clock(EARLIEST).id(), "clock ok");
        assert_eq!(kernel("5.15.0-91-generic\n").unwrap().id(), "kernel note");
        assert_eq!(kernel("6.12.1").unwrap().id(), "kernel ok");
        assert!(kernel("").is_none());
    }
}
