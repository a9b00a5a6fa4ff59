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

/// What the kept file is called in addition, before the interface's name.
const KEPT: &str = ".before-mlvpn-";
/// How our file begins, before the interface's name.
const MARK: &str = "# Written by mlvpn while ";

/// What is done, and to be undone.
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
        /// The file.
        path: PathBuf,
        /// The interface.
        interface: String,
        /// What is written.
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

    /// Where they are set, as a phrase.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Resolved { .. } => "with systemd-resolved".to_owned(),
            Self::File { path, .. } => format!("in {}", path.display()),
        }
    }
}

/// How the host finds addresses of names.
#[derive(Debug, Clone)]
pub struct Resolver {
    /// `/etc/resolv.conf`.
    file: PathBuf,
    /// The folder in which systemd-resolved keeps its files while it runs.
    runtime: PathBuf,
}

impl Resolver {
    /// That of this host.
    #[must_use]
    pub fn of_host() -> Self {
        Self::with(Path::new("/etc/resolv.conf"), Path::new("/run/systemd/resolve"))
    }

    fn with(file: &Path, runtime: &Path) -> Self {
        Self { file: file.to_owned(), runtime: runtime.to_owned() }
    }

    /// What [`Self::apply`] is to do on the host as it is now.
    #[must_use]
    pub fn plan(&self, interface: &str, servers: &[IpAddr]) -> Applied {
        let (interface, servers) = (interface.to_owned(), servers.to_vec());
        if self.is_resolved() && resolvectl().is_some() {
            return Applied::Resolved { interface, servers };
        }
        let content = content(&interface, &servers);
        Applied::File { path: self.file.clone(), interface, content, servers }
    }

    /// Whether the host asks systemd-resolved: by its stub, or by the file that it writes.
    fn is_resolved(&self) -> bool {
        let leads_there =
            fs::canonicalize(&self.file).is_ok_and(|path| path.starts_with(&self.runtime));
        let names_it = || fs::read_to_string(&self.file).is_ok_and(|text| names_stub(&text));
        self.runtime.is_dir() && (leads_there || names_it())
    }

    /// Has the host ask these servers. Nothing is changed when that fails.
    ///
    /// # Errors
    /// What failed; the error says what to do.
    pub fn apply(&self, plan: &Applied) -> io::Result<()> {
        match plan {
            Applied::Resolved { interface, servers } => {
                let Some(resolvectl) = resolvectl() else {
                    return Err(io::Error::other("resolvectl is gone"));
                };
                if let Err(error) = tell_resolved(&resolvectl, interface, servers) {
                    let _ = command::run(&resolvectl, &["revert", interface], "");
                    return Err(error);
                }
            }
            Applied::File { path, interface, content, .. } => {
                // What a power failure has left; the record of it is gone.
                self.recover(interface);
                replace_file(path, interface, content)?;
            }
        }
        info!(servers = ?plan.servers(), "network: name servers set {}", plan.place());
        Ok(())
    }

    /// Has the host ask the servers that it asked before.
    pub fn undo(&self, applied: &Applied) {
        let done = match applied {
            Applied::Resolved { interface, .. } => match resolvectl() {
                // With its interface, it forgets the servers.
                Some(resolvectl) if has_interface(interface) => {
                    command::run(&resolvectl, &["revert", interface], "")
                }
                _ => Ok(()),
            },
            Applied::File { path, interface, content, .. } => {
                put_file_back(path, interface, content)
            }
        };
        match done {
            Ok(()) => info!("network: name servers as before"),
            Err(error) => warn!(%error, "network: name servers are not as before"),
        }
    }

    /// Puts back what was there before a program with this interface wrote the file, should the
    /// record of that be lost: the file outlives a restart of the host, and the record does not.
    pub fn recover(&self, interface: &str) {
        let is_ours = |text: &String| text.starts_with(&first_words(interface));
        let Some(content) = fs::read_to_string(&self.file).ok().filter(is_ours) else { return };
        warn!(file = %self.file.display(), "network: name servers were left behind");
        if let Err(error) = put_file_back(&self.file, interface, &content) {
            warn!(%error, "network: name servers are not as before");
        }
    }
}

fn resolvectl() -> Option<PathBuf> {
    command::find("resolvectl")
}

/// In our network namespace, which need not be that of `/sys`.
fn has_interface(name: &str) -> bool {
    nix::net::if_::if_nametoindex(name).is_ok()
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

fn replace_file(file: &Path, interface: &str, content: &str) -> io::Result<()> {
    let kept = kept(file, interface);
    remove(&kept)?;
    // A symbolic link is kept as one; the former file as it is, with owner and permissions.
    match fs::hard_link(file, &kept) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        linked => linked?,
    }
    let written = write_new(file, content);
    if written.is_err() {
        let _ = fs::remove_file(&kept);
    }
    written
}

fn write_new(file: &Path, content: &str) -> io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let new = beside(file, ".mlvpn-new");
    remove(&new)?;
    let mut options = fs::OpenOptions::new();
    let mut open = options.write(true).create_new(true).mode(0o600).open(&new)?;
    // For all who look names up, whatever this process keeps others from by its umask.
    let written = open
        .set_permissions(fs::Permissions::from_mode(0o644))
        .and_then(|()| open.write_all(content.as_bytes()))
        .and_then(|()| open.sync_all())
        .and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn put_file_back(file: &Path, interface: &str, content: &str) -> io::Result<()> {
    let kept = kept(file, interface);
    if is_content(file, content) {
        return match fs::rename(&kept, file) {
            // There was none before.
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(file),
            renamed => renamed,
        };
    }
    // Another program of ours has written it since, and keeps our file: what we keep is what it
    // has to put back.
    if let Some(heir) = kept_files(file).into_iter().find(|heir| is_content(heir, content)) {
        return match fs::rename(&kept, &heir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(&heir),
            renamed => renamed,
        };
    }
    // Killed before it was written, or when it had just been put back: it is as it was before.
    if !kept.exists() || is_same_file(&kept, file) {
        return remove(&kept);
    }
    remove(&kept)?;
    Err(io::Error::other(format!("somebody else has written {}; it stays", file.display())))
}

/// What programs of ours keep beside the file.
fn kept_files(file: &Path) -> Vec<PathBuf> {
    let Some(folder) = file.parent() else { return Vec::new() };
    let start = beside(file, KEPT);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_kept = |path: &PathBuf| {
        path.as_os_str().as_encoded_bytes().starts_with(start.as_os_str().as_encoded_bytes())
    };
    entries.filter(is_kept).collect()
}

fn is_content(file: &Path, content: &str) -> bool {
    let is_link = fs::symlink_metadata(file).is_ok_and(|found| found.is_symlink());
    !is_link && fs::read_to_string(file).is_ok_and(|now| now == content)
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |path| fs::symlink_metadata(path).map(|file| (file.dev(), file.ino())).ok();
    identity(a).is_some() && identity(a) == identity(b)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn kept(file: &Path, interface: &str) -> PathBuf {
    beside(file, &format!("{KEPT}{interface}"))
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.to_owned().into_os_string();
    name.push(ending);
    PathBuf::from(name)
}

fn first_words(interface: &str) -> String {
    format!("{MARK}{interface} is up;")
}

fn content(interface: &str, servers: &[IpAddr]) -> String {
    let mut text = format!(
        "{} what was here before is in resolv.conf{KEPT}{interface}.\n",
        first_words(interface)
    );
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    text
}

#[cfg(test)]
mod tests;
