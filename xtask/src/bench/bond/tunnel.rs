//! A client and a server with little more than a password and addresses.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use mlvpn_io::netlink::Prefix;
use mlvpn_lab::daemon::Signal;
use mlvpn_lab::{Daemon, Host, Interrupt, Lab};
use serde_json::Value;

use super::credentials::{Credentials, Part, Side};

/// The server inside the tunnel.
pub(in crate::bench) const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 44, 43, 2));
/// The client inside the tunnel.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 44, 43, 1));
/// The device at both ends.
const INTERFACE: &str = "tun0";
/// The first link's port at the server.
pub(in crate::bench) const FIRST_PORT: u16 = 5080;
/// What the tunnel's MTU becomes over links of 1500 bytes.
const MTU: u32 = 1440;

/// How long the daemons may take to start and to connect, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the search for the MTU may take; without an end to it the measurement goes on, too.
const MTU_PATIENCE: Duration = Duration::from_secs(5);
/// How long a daemon may take to end before it is killed.
const END: Duration = Duration::from_secs(5);
/// Lines of a log that are shown.
const TAIL: usize = 20;

/// Two daemons that are connected. Dropping it ends them.
#[derive(Debug)]
pub(in crate::bench) struct Tunnel {
    ends: Vec<End>,
}

#[derive(Debug)]
struct End {
    host: Host,
    daemon: Daemon,
    socket: PathBuf,
}

impl Tunnel {
    /// Starts both daemons with these links of the lab, and waits until all of them are up.
    ///
    /// # Errors
    /// When a daemon fails, the links are not up in time, or another version than 2 is spoken; with the
    /// ends of both logs.
    pub(in crate::bench) fn start(
        program: &Path,
        lab: &Lab,
        links: &[&str],
        credentials: Credentials,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let mut tunnel = Self { ends: Vec::new() };
        match tunnel.connect(program, lab, links, credentials, interrupt) {
            Ok(()) => Ok(tunnel),
            Err(error) => Err(tunnel.explain(&error)),
        }
    }

    /// # Errors
    /// When a daemon has ended.
    pub(in crate::bench) fn check(&mut self) -> Result<()> {
        for end in &mut self.ends {
            if let Some(status) = end.daemon.exit_status()? {
                bail!("mlvpn on the {} has ended: {status}", end.host.name());
            }
        }
        Ok(())
    }

    /// What the server says about itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub(in crate::bench) fn server_status(&self) -> Result<Value> {
        self.server()?.status().context("the server does not tell its status")
    }

    /// What the client says about itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub(in crate::bench) fn client_status(&self) -> Result<Value> {
        let client = self.ends.last().context("the client was not started")?;
        client.status().context("the client does not tell its status")
    }

    /// The server's process; its children belong to it.
    ///
    /// # Errors
    /// When it was not started.
    pub(in crate::bench) fn server_pid(&self) -> Result<u32> {
        Ok(self.server()?.daemon.pid())
    }

    fn server(&self) -> Result<&End> {
        self.ends.first().context("the server was not started")
    }

    /// The error, and how both logs end.
    pub(in crate::bench) fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        let tails: String = self.ends.iter().map(End::tail).collect();
        anyhow!("{error:#}{tails}")
    }

    fn connect(
        &mut self,
        program: &Path,
        lab: &Lab,
        links: &[&str],
        credentials: Credentials,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let sides = [(Side::Server, lab.server(), SERVER), (Side::Client, lab.client(), CLIENT)];
        for (side, host, own) in sides {
            let part = credentials.part(side);
            let config = config(lab, links, side, &part);
            self.ends.push(End::start(program, host, &config, part.private_key.as_deref())?);
            self.wait(interrupt, "has no device", |end| {
                end.host.netlink().link_by_name(INTERFACE).is_ok()
            })?;
            host.configure(INTERFACE, None, &[Prefix::new(own, 30)])?;
        }
        self.wait(interrupt, "is not connected by all links", |end| {
            end.links_up() == Some(links.len())
        })?;
        for end in &self.ends {
            let version = &end.status().unwrap_or_default()["protocol_version"];
            ensure!(*version == 2, "mlvpn on the {} speaks version {version}", end.host.name());
        }
        interrupt.wait(MTU_PATIENCE, || {
            let mtu = |end: &End| end.host.netlink().link_by_name(INTERFACE).map(|link| link.mtu);
            Ok(self.ends.iter().all(|end| mtu(end).is_ok_and(|mtu| mtu == MTU)))
        })?;
        Ok(())
    }

    fn wait(
        &mut self,
        interrupt: &Interrupt,
        otherwise: &str,
        is_done: impl Fn(&End) -> bool,
    ) -> Result<()> {
        let is_in_time = interrupt.wait(PATIENCE, || {
            self.check()?;
            Ok(self.ends.iter().all(&is_done))
        })?;
        ensure!(is_in_time, "mlvpn {otherwise} after {PATIENCE:?}");
        Ok(())
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // The client first, as the server would wait for it; those that do not end are killed.
        for end in self.ends.iter_mut().rev() {
            let _ = end.daemon.signal(Signal::SIGTERM);
        }
        for end in &mut self.ends {
            let _ = end.daemon.wait(END);
        }
    }
}

impl End {
    fn start(program: &Path, host: &Host, config: &str, key: Option<&str>) -> Result<Self> {
        let builder = Daemon::builder(host, program)?;
        let secret = |name: &str, text: &str| -> Result<PathBuf> {
            let file = builder.write_file(name, text)?;
            fs::set_permissions(&file, Permissions::from_mode(0o600))?;
            Ok(file)
        };
        let socket = builder.directory().join("socket");
        let mut config = config.replace("SOCKET", &socket.display().to_string());
        if let Some(key) = key {
            let file = secret("private.key", key)?;
            config = config.replace("KEYFILE", &file.display().to_string());
        }
        let file = secret("mlvpn.conf", &config)?;
        let daemon =
            builder.args(["--debug", "--yes-run-as-root", "--config"]).arg(&file).start()?;
        Ok(Self { host: host.clone(), daemon, socket })
    }

    /// What it says about itself; nothing while it starts.
    fn status(&self) -> Option<Value> {
        let ask = || -> std::io::Result<String> {
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"GET /status HTTP/1.0\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        serde_json::from_str(ask().ok()?.split_once("\r\n\r\n")?.1).ok()
    }

    fn links_up(&self) -> Option<usize> {
        let status = self.status()?;
        let is_up = |link: &&Value| {
            let word = link["status"].as_str();
            word.is_some_and(|word| ["connected", "lossy link", "slow link"].contains(&word))
        };
        Some(status["tunnels"].as_array()?.iter().filter(is_up).count())
    }

    fn tail(&self) -> String {
        let last = self.daemon.stderr_tail(TAIL);
        format!("\n--- the end of the log of mlvpn on the {}:\n{last}", self.host.name())
    }
}

/// The configuration of one end.
fn config(lab: &Lab, links: &[&str], side: Side, credentials: &Part) -> String {
    let mode = if side == Side::Client { "client" } else { "server" };
    let server = lab.server_v4();
    let Part { general, sections, .. } = credentials;
    let mut text = format!(
        "[general]\nmode = \"{mode}\"\n{general}\
         interface_name = \"{INTERFACE}\"\ncontrol_unix_path = \"SOCKET\"\n{sections}"
    );
    for (port, link) in (FIRST_PORT..).zip(links) {
        let addresses = match side {
            Side::Client => {
                let client = lab.link(link).client_v4();
                format!("bindhost = \"{client}\"\nremotehost = \"{server}\"\nremoteport = {port}\n")
            }
            Side::Server => format!("bindhost = \"{server}\"\nbindport = {port}\n"),
        };
        text.push_str(&format!("[{link}]\n{addresses}"));
    }
    text
}
