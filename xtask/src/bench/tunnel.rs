//! What carries the traffic.

use std::fs::{self, Permissions};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mlvpn_io::clock::Clock;
use mlvpn_io::netlink::Prefix;
use mlvpn_lab::workload::Ping;
use mlvpn_lab::{Daemon, Host, Lab};

use super::boringtun;

/// Long enough for a busy machine to start a program or a tunnel.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Addresses inside a tunnel: of the client and of the server.
const INNER: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 19, 255, 2)), IpAddr::V4(Ipv4Addr::new(198, 19, 255, 1))];
/// Network of both.
const INNER_PREFIX: u8 = 30;
/// mlvpn's device; each end has a namespace of its own.
const INTERFACE: &str = "tun0";
/// By when version 2 has found out what a link without delay carries.
const SIZES_FOUND: Duration = Duration::from_millis(500);
/// mlvpn's UDP port at the server.
const PORT: u16 = 5080;

/// A way from the client to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Carrier {
    /// The link itself.
    Plain,
    /// mlvpn.
    Mlvpn {
        /// The program.
        program: PathBuf,
        /// What it speaks.
        protocol: Protocol,
    },
    /// WireGuard's protocol.
    Boringtun {
        /// The program.
        program: PathBuf,
    },
}

/// What mlvpn speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    V2,
    V1,
    /// Version 1 without encryption of the payload.
    V1Cleartext,
}

/// A carrier that works. Dropping it ends its programs.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// Where the server is reached through it.
    pub(super) server: IpAddr,
    /// Of the device that the traffic goes into.
    pub(super) mtu: u32,
    ends: Ends,
}

#[derive(Debug)]
enum Ends {
    None,
    Mlvpn(Daemon, Daemon),
    Boringtun(Box<[boringtun::End; 2]>),
}

impl Carrier {
    /// All that can be measured.
    pub(super) fn all(mlvpn: &Path, boringtun: Option<&Path>) -> Vec<Self> {
        let all = [Protocol::V2, Protocol::V1, Protocol::V1Cleartext];
        let mlvpn = all.map(|protocol| Self::Mlvpn { program: mlvpn.to_owned(), protocol });
        let boringtun = boringtun.map(|path| Self::Boringtun { program: path.to_owned() });
        [Self::Plain].into_iter().chain(mlvpn).chain(boringtun).collect()
    }

    /// What the table calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Plain => "no tunnel",
            Self::Mlvpn { protocol: Protocol::V2, .. } => "mlvpn, v2",
            Self::Mlvpn { protocol: Protocol::V1, .. } => "mlvpn, v1",
            Self::Mlvpn { protocol: Protocol::V1Cleartext, .. } => "mlvpn, v1, cleartext_data",
            Self::Boringtun { .. } => "boringtun",
        }
    }

    /// Starts it over the lab's first link, and waits until it carries something.
    ///
    /// # Errors
    /// When a program does not start, or nothing arrives.
    pub(super) fn start(&self, lab: &Lab) -> Result<Tunnel> {
        let link = lab.links().first().context("the lab has a link")?;
        let tunnel = match self {
            Self::Plain => {
                let mtu = lab.client().netlink().link_by_name(link.name())?.mtu;
                Tunnel { server: link.server_end_v4(), mtu, ends: Ends::None }
            }
            Self::Mlvpn { program, protocol } => start_mlvpn(program, *protocol, lab)?,
            Self::Boringtun { program } => {
                let (client, server) = boringtun::start(program, lab, INNER)?;
                let mtu = Some(boringtun::MTU);
                configure(lab.client(), client.interface(), mtu, INNER[0])?;
                let mtu = configure(lab.server(), server.interface(), mtu, INNER[1])?;
                Tunnel { server: INNER[1], mtu, ends: Ends::Boringtun(Box::new([client, server])) }
            }
        };
        await_answer(lab.client(), tunnel.server).with_context(|| self.name())?;
        // mlvpn sizes its device when a link comes up, and again when it knows what the link carries.
        if matches!(self, Self::Mlvpn { protocol: Protocol::V2, .. }) {
            thread::sleep(SIZES_FOUND);
        }
        match &tunnel.ends {
            Ends::Mlvpn(..) => {
                let mtu = lab.server().netlink().link_by_name(INTERFACE)?.mtu;
                Ok(Tunnel { mtu, ..tunnel })
            }
            _ => Ok(tunnel),
        }
    }
}

impl Tunnel {
    /// The processes at both ends; their children belong to them.
    pub(super) fn pids(&self) -> Vec<u32> {
        match &self.ends {
            Ends::None => Vec::new(),
            Ends::Mlvpn(client, server) => vec![client.pid(), server.pid()],
            Ends::Boringtun(ends) => ends.iter().map(boringtun::End::pid).collect(),
        }
    }

    /// Ends its programs in order.
    ///
    /// # Errors
    /// When one does not end.
    pub(super) fn stop(self) -> Result<()> {
        if let Ends::Mlvpn(mut client, mut server) = self.ends {
            client.terminate(PATIENCE)?;
            server.terminate(PATIENCE)?;
        }
        Ok(())
    }
}

fn start_mlvpn(program: &Path, protocol: Protocol, lab: &Lab) -> Result<Tunnel> {
    let link = lab.links().first().context("the lab has a link")?;
    let general = |mode: &str| {
        format!(
            "[general]\nmode = \"{mode}\"\npassword = \"only for a measurement on one machine\"\n\
             interface_name = \"{INTERFACE}\"\nprotocol_version = {}\ncleartext_data = {}\n[{}]\n",
            if protocol == Protocol::V2 { 2 } else { 1 },
            u8::from(protocol == Protocol::V1Cleartext),
            link.name(),
        )
    };
    let remote = link.server_end_v4();
    let server = format!("{}bindhost = \"{remote}\"\nbindport = {PORT}\n", general("server"));
    let client = format!("{}remotehost = \"{remote}\"\nremoteport = {PORT}\n", general("client"));
    let server = start_mlvpn_end(program, lab.server(), &server, INNER[1])?;
    let client = start_mlvpn_end(program, lab.client(), &client, INNER[0])?;
    Ok(Tunnel { server: INNER[1], mtu: 0, ends: Ends::Mlvpn(client, server) })
}

fn start_mlvpn_end(program: &Path, host: &Host, config: &str, inner: IpAddr) -> Result<Daemon> {
    let builder = Daemon::builder(host, program)?;
    let file = builder.write_file("mlvpn.conf", config)?;
    fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    let mut daemon =
        builder.args(["--debug", "--yes-run-as-root", "--config"]).arg(&file).start()?;
    daemon.wait_until("having its device", PATIENCE, |_| {
        host.netlink().link_by_name(INTERFACE).is_ok()
    })?;
    configure(host, INTERFACE, None, inner)?;
    Ok(daemon)
}

/// Sets a tun device up and returns its MTU.
fn configure(host: &Host, interface: &str, mtu: Option<u32>, address: IpAddr) -> Result<u32> {
    host.configure(interface, mtu, &[Prefix::new(address, INNER_PREFIX)])?;
    Ok(host.netlink().link_by_name(interface)?.mtu)
}

fn await_answer(client: &Host, server: IpAddr) -> Result<()> {
    let ping = Ping::to(server).count(1).timeout(Duration::from_millis(200));
    let clock = Clock::new();
    let end = clock.now_us() + PATIENCE.as_micros() as u64;
    while clock.now_us() < end {
        if ping.run(client)?.answered() == 1 {
            return Ok(());
        }
    }
    bail!("{server} does not answer through it within {PATIENCE:?}")
}
