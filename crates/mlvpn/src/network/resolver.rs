//! The host's name servers, while the tunnel is up.
//!
//! Where systemd-resolved answers the host's questions, it is told which servers are behind the
//! interface. Elsewhere `resolv.conf` is replaced by one of ours, and the one that was there is kept
//! beside it, to be put back unless somebody has written another one meanwhile.

use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::command;

/// What the kept file is called in addition.
const KEPT: &str = ".before-mlvpn";

/// What was done, to be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// systemd-resolved knows servers behind this interface.
    Resolved {
        /// The interface.
        interface: String,
        /// The servers.
        servers: Vec<IpAddr>,
    },
    /// The file has this content.
    File {
        /// What was written.
        content: String,
        /// The servers.
        servers: Vec<IpAddr>,
    },
}

impl Applied {
    /// The servers that are in use.
    #[must_use]
    pub fn servers(&self) -> &[IpAddr] {
        match self {
            Self::Resolved { servers, .. } | Self::File { servers, .. } => servers,
        }
    }
}

/// How the host finds addresses of names.
#[derive(Debug, Clone)]
pub struct Resolver {
    /// `/etc/resolv.conf`.
    file: PathBuf,
    /// `resolvectl`, where systemd-resolved runs and `file` leads to it.
    resolvectl: Option<PathBuf>,
}

impl Resolver {
    /// That of this host.
    #[must_use]
    pub fn of_host() -> Self {
        Self::with(Path::new("/etc/resolv.conf"), Path::new("/run/systemd/resolve"))
    }

    /// `runtime` is the folder in which systemd-resolved keeps its files while it runs.
    fn with(file: &Path, runtime: &Path) -> Self {
        let leads_there = fs::canonicalize(file).is_ok_and(|path| path.starts_with(runtime))
            || fs::read_to_string(file).is_ok_and(|text| names_stub(&text));
        let is_used = leads_there && runtime.is_dir();
        let resolvectl = is_used.then(|| command::find("resolvectl")).flatten();
        Self { file: file.to_owned(), resolvectl }
    }

    /// What will be done for name servers, as a phrase.
    #[must_use]
    pub fn plan(&self) -> String {
        match &self.resolvectl {
            Some(_) => "with systemd-resolved".to_owned(),
            None => format!("in {}", self.file.display()),
        }
    }

    /// Has the host ask these servers. Nothing is changed when that fails.
    ///
    /// # Errors
    /// What failed; the error says what to do.
    pub fn apply(&self, interface: &str, servers: &[IpAddr]) -> io::Result<Applied> {
        let servers = servers.to_vec();
        let applied = match &self.resolvectl {
            Some(resolvectl) => {
                if let Err(error) = tell_resolved(resolvectl, interface, &servers) {
                    let _ = command::run(resolvectl, &["revert", interface], "");
                    return Err(error);
                }
                Applied::Resolved { interface: interface.to_owned(), servers }
            }
            None => {
                let content = content(interface, &servers);
                self.replace_file(&content)?;
                Applied::File { content, servers }
            }
        };
        info!(servers = ?applied.servers(), "network: name servers set {}", self.plan());
        Ok(applied)
    }

    /// Has the host ask the servers that it asked before.
    pub fn undo(&self, applied: &Applied) {
        let done = match (applied, &self.resolvectl) {
            (Applied::Resolved { interface, .. }, Some(resolvectl)) => {
                command::run(resolvectl, &["revert", interface], "")
            }
            // It has ended, and knows nothing any more.
            (Applied::Resolved { .. }, None) => Ok(()),
            (Applied::File { content, .. }, _) => self.put_file_back(content),
        };
        match done {
            Ok(()) => info!("network: name servers as before"),
            Err(error) => warn!(%error, "network: name servers are not as before"),
        }
    }

    fn replace_file(&self, content: &str) -> io::Result<()> {
        let advice = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!(
                    "cannot replace {}: {error}; set the name servers by hand and remove dns from \
                     the configuration",
                    self.file.display()
                ),
            )
        };
        let kept = self.kept();
        let _ = fs::remove_file(&kept);
        // A symbolic link is kept as one; the former file as it is, with owner and permissions.
        match fs::hard_link(&self.file, &kept) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            linked => linked.map_err(advice)?,
        }
        let written = self.write_new(content);
        if written.is_err() {
            let _ = fs::remove_file(&kept);
        }
        written.map_err(advice)
    }

    fn write_new(&self, content: &str) -> io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let new = self.beside(".mlvpn-new");
        let _ = fs::remove_file(&new);
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o644).open(&new)?;
        let written = file
            .write_all(content.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&new, &self.file));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }

    fn put_file_back(&self, content: &str) -> io::Result<()> {
        let kept = self.kept();
        let is_ours = fs::read_to_string(&self.file).is_ok_and(|now| now == content);
        if !is_ours {
            let _ = fs::remove_file(&kept);
            return Err(io::Error::other(format!(
                "somebody else has written {}; it stays",
                self.file.display()
            )));
        }
        match fs::rename(&kept, &self.file) {
            // There was none before.
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(&self.file),
            renamed => renamed,
        }
    }

    fn kept(&self) -> PathBuf {
        self.beside(KEPT)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.file.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    }
}

/// Whether the file has the host ask systemd-resolved, which listens there.
fn names_stub(text: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("nameserver") && words.next() == Some("127.0.0.53")
    })
}

fn tell_resolved(resolvectl: &Path, interface: &str, servers: &[IpAddr]) -> io::Result<()> {
    let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
    let mut arguments = vec!["dns", interface];
    arguments.extend(servers.iter().map(String::as_str));
    command::run(resolvectl, &arguments, "")?;
    // All names are asked for there, whatever other interfaces say.
    command::run(resolvectl, &["domain", interface, "~."], "")?;
    command::run(resolvectl, &["default-route", interface, "yes"], "")
}

fn content(interface: &str, servers: &[IpAddr]) -> String {
    let mut text = format!(
        "# Written by mlvpn while {interface} is up; what was here before is in resolv.conf{KEPT}.\n"
    );
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    text
}
