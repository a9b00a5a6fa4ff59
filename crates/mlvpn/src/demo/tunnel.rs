//! A client and a server daemon, from generated mlvpn.conf files.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use mlvpn_io::netlink::Prefix;
use mlvpn_lab::daemon::Signal;
use mlvpn_lab::{Daemon, Host, Interrupt, Lab};
use serde::Deserialize;

use super::lines::Line;
use super::rights::Rights;

/// The tunnel's interface on both hosts.
pub(super) const INTERFACE: &str = "mlvpn0";
/// The server inside the tunnel.
pub(super) const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 44, 43, 2));
/// The client inside the tunnel.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 44, 43, 1));
/// The first line's port at the server.
const FIRST_PORT: u16 = 5080;
/// Where each daemon shows its status, inside its host.
const STATUS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1040);

/// How long the daemons may take to start, to connect, and to end.
const PATIENCE: Duration = Duration::from_secs(15);
/// Lines of a daemon's log that are shown when it failed.
const TAIL: usize = 20;

/// Two daemons that are connected. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Tunnel {
    ends: Vec<End>,
}

/// A daemon, and where it runs.
#[derive(Debug)]
struct End {
    daemon: Daemon,
    host: Host,
}

/// What both ends have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) lab: &'a Lab,
    pub(super) password: &'a str,
    pub(super) rights: Rights,
    pub(super) interrupt: &'a Interrupt,
}

impl Tunnel {
    /// Starts both daemons with these lines, and waits until all of them are up.
    ///
    /// # Errors
    /// When a daemon fails, or the lines are not up in time; with the ends of both logs.
    pub(super) fn start(setting: Setting<'_>, lines: &[&Line]) -> anyhow::Result<Self> {
        let mut tunnel = Self { ends: Vec::new() };
        let (client, server) = (setting.lab.client(), setting.lab.server());
        for (host, own, peer) in [(server, SERVER, CLIENT), (client, CLIENT, SERVER)] {
            let config = config(setting, lines, own, peer);
            tunnel.ends.push(End::start(host, setting.rights, &config)?);
            tunnel.wait(setting.interrupt, "started", |end| Ok(end.status().is_some()))?;
            host.configure(INTERFACE, None, &[Prefix::new(own, 30)])?;
        }
        tunnel.wait(setting.interrupt, "connected by all lines", |end| {
            Ok(end.status().is_some_and(|status| status.lines_up() == lines.len()))
        })?;
        Ok(tunnel)
    }

    /// # Errors
    /// When a daemon has ended; with the end of its log.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        self.ends.iter_mut().try_for_each(End::check)
    }

    /// Ends both daemons in an orderly way.
    ///
    /// # Errors
    /// When one of them fails at that.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        self.check()?;
        for mut end in std::mem::take(&mut self.ends) {
            let status = end.daemon.terminate(PATIENCE)?;
            if !status.success() {
                bail!("mlvpn on the {} failed at its end: {status}{}", end.host.name(), end.tail());
            }
        }
        Ok(())
    }

    fn wait(
        &mut self,
        interrupt: &Interrupt,
        what: &str,
        is_done: impl Fn(&End) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let is_in_time = interrupt.wait(PATIENCE, || {
            self.check()?;
            self.ends.iter().try_fold(true, |all, end| Ok(all && is_done(end)?))
        })?;
        if is_in_time {
            return Ok(());
        }
        let tails: String = self.ends.iter().map(End::tail).collect();
        Err(anyhow!("mlvpn is not {what} after {PATIENCE:?}{tails}"))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // Ended or not: the daemon's own destructor makes sure.
        for end in &mut self.ends {
            let _ = end.daemon.signal(Signal::SIGTERM);
        }
        for end in &mut self.ends {
            let _ = end.daemon.wait(Duration::from_secs(3));
        }
    }
}

impl End {
    fn start(host: &Host, rights: Rights, config: &str) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let builder = Daemon::builder(host, program)?;
        let path = builder.directory().join("mlvpn.conf");
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(config.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        let name = format!("demo-{}", host.name());
        let daemon = builder
            .arg("-c")
            .arg(&path)
            .args(["--debug", "--name", &name])
            .args(rights.daemon_arguments())
            .start()?;
        Ok(Self { daemon, host: host.clone() })
    }

    fn check(&mut self) -> anyhow::Result<()> {
        match self.daemon.exit_status()? {
            None => Ok(()),
            Some(status) => {
                bail!("mlvpn on the {} has ended: {status}{}", self.host.name(), self.tail())
            }
        }
    }

    /// What it says about itself; nothing while it starts.
    fn status(&self) -> Option<Status> {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&STATUS, Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"GET /status HTTP/1.0\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = self.host.run(ask).ok()?.ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    fn tail(&self) -> String {
        let last = self.daemon.stderr_tail(TAIL);
        format!("\n--- the end of the log of mlvpn on the {}:\n{last}", self.host.name())
    }
}

/// The part of `GET /status` that matters here.
#[derive(Debug, Deserialize)]
struct Status {
    tunnels: Vec<LinkState>,
}

#[derive(Debug, Deserialize)]
struct LinkState {
    status: String,
}

impl Status {
    fn lines_up(&self) -> usize {
        let is_up = |link: &&LinkState| {
            ["connected", "lossy link", "slow link"].contains(&link.status.as_str())
        };
        self.tunnels.iter().filter(is_up).count()
    }
}

/// The mlvpn.conf of the end that is `own` inside the tunnel.
fn config(setting: Setting<'_>, lines: &[&Line], own: IpAddr, peer: IpAddr) -> String {
    let is_client = own == CLIENT;
    let (mode, server) = (if is_client { "client" } else { "server" }, setting.lab.server_v4());
    let mut text = format!(
        "[general]\nmode = \"{mode}\"\ntuntap = \"tun\"\ninterface_name = \"{INTERFACE}\"\n\
         ip4 = \"{own}/30\"\nip4_gateway = \"{peer}\"\npassword = \"{}\"\nprotocol_version = 2\n\
         control_bind_host = \"{}\"\ncontrol_bind_port = {}\n",
        setting.password,
        STATUS.ip(),
        STATUS.port()
    );
    for (port, line) in (FIRST_PORT..).zip(lines) {
        text.push_str(&format!("\n[{}]\n", line.name));
        if is_client {
            let address = setting.lab.link(&line.name).client_v4();
            text.push_str(&format!(
                "bindhost = \"{address}\"\nremotehost = \"{server}\"\nremoteport = {port}\n"
            ));
        } else {
            text.push_str(&format!("bindhost = \"{server}\"\nbindport = {port}\n"));
        }
    }
    text
}
