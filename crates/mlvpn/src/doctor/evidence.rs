//! Everything that is judged, as it was at one moment.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use mlvpn_io::netlink::Netlink;
use serde_json::Value;

use super::probe;
use crate::config::{Config, Host, Mode};
use crate::console::document::{History, Status};
use crate::console::socket::ControlSocket;
use crate::network::command;
use crate::network::present::Present;
use crate::network::sysctl::Sysctls;

/// What was seen.
#[derive(Debug)]
pub(super) struct Evidence {
    /// The configuration's file.
    pub(super) file: PathBuf,
    pub(super) config: Config,
    /// The host's network; or why the kernel does not tell.
    pub(super) present: Result<Present, String>,
    pub(super) sysctls: Sysctls,
    /// The program.
    pub(super) program: Program,
    /// Addresses of the names in the configuration; or why there are none.
    pub(super) names: BTreeMap<String, Result<Vec<IpAddr>, String>>,
    /// All rules of nftables, as `nft -j` prints them; none where that cannot be had.
    pub(super) rules: Option<Value>,
    /// Whether `nft` is installed.
    pub(super) has_nft: bool,
    /// Whether rules, devices and the like may be changed from here.
    pub(super) is_root: bool,
}

/// The running program.
#[derive(Debug)]
pub(super) enum Program {
    /// It answers.
    Running(Box<Status>, Box<History>),
    /// It does not run; what was tried instead, by a client.
    Stopped { why: String, attempts: Vec<probe::Attempt> },
    /// It has no control socket that could be asked.
    Unknown,
    /// It may run, but does not answer to us.
    Silent(String),
}

impl Evidence {
    /// Looks at everything. `socket`: the control socket, when another than the configuration says.
    pub(super) fn look(file: &Path, config: Config, socket: Option<&Path>) -> Self {
        let path = socket.map(Path::to_owned).or(config.general.control.unix_path.clone());
        let names = resolve(&config);
        let program = path.map_or(Program::Unknown, |path| program(path, &config, &names));
        let has_nft = command::find("nft").is_some();
        Self {
            file: file.to_owned(),
            present: present(),
            sysctls: Sysctls::of_kernel(),
            program,
            names,
            rules: rules(),
            has_nft,
            is_root: nix::unistd::geteuid().is_root(),
            config,
        }
    }

    /// What the running program tells.
    pub(super) fn status(&self) -> Option<&Status> {
        match &self.program {
            Program::Running(status, _) => Some(status),
            _ => None,
        }
    }

    /// The network of the host, if the kernel tells.
    pub(super) fn present(&self) -> Option<&Present> {
        self.present.as_ref().ok()
    }

    /// The addresses of a host; none when its name has none.
    pub(super) fn addresses_of(&self, host: &Host) -> Vec<IpAddr> {
        match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => match self.names.get(name) {
                Some(Ok(addresses)) => addresses.clone(),
                _ => Vec::new(),
            },
        }
    }

    /// The service's name as its manager knows it: that of the file.
    pub(super) fn instance(&self) -> String {
        self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }
}

fn present() -> Result<Present, String> {
    let read = || Present::read(&mut Netlink::open()?);
    read().map_err(|error| error.to_string())
}

fn program(
    path: PathBuf,
    config: &Config,
    names: &BTreeMap<String, Result<Vec<IpAddr>, String>>,
) -> Program {
    let is_there = path.exists();
    let is_refused = is_there
        && std::os::unix::net::UnixStream::connect(&path)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
    let socket = ControlSocket::at(path);
    match socket.ask_for::<Status>("status") {
        Ok(status) => {
            let history = socket.ask_for::<History>("history").unwrap_or_default();
            Program::Running(Box::new(status), Box::new(history))
        }
        Err(error) if is_there && !is_refused => Program::Silent(format!("{error:#}")),
        Err(error) => {
            let attempts = match config.general.mode {
                Mode::Client => probe::try_all(config, names),
                Mode::Server => Vec::new(),
            };
            Program::Stopped { why: format!("{error:#}"), attempts }
        }
    }
}

fn resolve(config: &Config) -> BTreeMap<String, Result<Vec<IpAddr>, String>> {
    let hosts = config.links.iter().flat_map(|link| link.remote_host.iter().chain(&link.bind_host));
    let mut names = BTreeMap::new();
    for host in hosts {
        if let Host::Name(name) = host {
            names.entry(name.clone()).or_insert_with(|| {
                let found = (name.as_str(), 0).to_socket_addrs();
                found
                    .map(|found| found.map(|at| at.ip()).collect())
                    .map_err(|error| error.to_string())
            });
        }
    }
    names
}

/// Reading all rules needs the rights to change them.
fn rules() -> Option<Value> {
    let nft = command::find("nft")?;
    let text = command::output(&nft, &["-j", "list", "ruleset"]).ok()?;
    serde_json::from_str(&text).ok()
}
