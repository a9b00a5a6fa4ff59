//! Finds the control socket of a running program, asks it, and reads what it answers.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config;
use crate::control::LinkSwitch;

/// Where configurations lie that nobody names.
const FOLDER: &str = "/etc/mlvpn";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;

/// Says which program is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct Target {
    /// The configuration file that the program runs with [default: the only one in /etc/mlvpn]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The program's control socket, when the configuration cannot be read
    #[arg(short, long, global = true, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
}

/// The control socket of a program.
#[derive(Clone, Debug)]
pub struct ControlSocket(PathBuf);

impl Target {
    /// The configuration file that is meant.
    ///
    /// # Errors
    /// When it is not clear which one.
    pub fn configuration(&self) -> anyhow::Result<PathBuf> {
        match &self.config {
            Some(file) => Ok(file.clone()),
            None => only_configuration(Path::new(FOLDER)),
        }
    }

    /// The socket that was named in place of a configuration.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// The socket that is meant.
    ///
    /// # Errors
    /// When it is not clear which one, or the configuration has none.
    pub fn find(&self) -> anyhow::Result<ControlSocket> {
        if let Some(path) = &self.socket {
            return Ok(ControlSocket(path.clone()));
        }
        let file = self.configuration()?;
        let shown = file.display();
        let loaded = config::load(&file).map_err(|findings| {
            anyhow::anyhow!("{shown} is of no use:\n{findings}\nIf it is not yours to read, name the socket with --socket")
        })?;
        loaded.into_config().general.control.unix_path.map(ControlSocket).with_context(|| {
            format!(
                "{shown} has no control_unix_path, so that the program cannot be asked; add a line \
                 such as control_unix_path = \"/run/mlvpn.sock\" and restart it"
            )
        })
    }
}

/// The only `.conf` file in a folder.
fn only_configuration(folder: &Path) -> anyhow::Result<PathBuf> {
    let shown = folder.display();
    let entries = std::fs::read_dir(folder).with_context(|| {
        format!("cannot look into {shown}; name the configuration with --config")
    })?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.sort();
    match files.as_slice() {
        [file] => Ok(file.clone()),
        [] => bail!("there is no configuration in {shown}; name one with --config"),
        several => {
            let names: Vec<_> = several.iter().map(|path| path.display().to_string()).collect();
            bail!("there are several configurations; name one with --config: {}", names.join(", "))
        }
    }
}

impl ControlSocket {
    /// The socket at `path`.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The answer to a command of the line protocol, as text.
    ///
    /// # Errors
    /// When nobody answers, or not in time.
    pub fn ask(&self, command: &str) -> anyhow::Result<String> {
        let shown = self.0.display();
        let mut stream = UnixStream::connect(&self.0).map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    "mlvpn does not run, or without control_unix_path; look at its log"
                }
                io::ErrorKind::PermissionDenied => "only its owner may use it: try as root",
                _ => "see whether mlvpn runs",
            };
            anyhow::anyhow!("{shown}: {error}: {remedy}")
        })?;
        let exchange = |stream: &mut UnixStream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.write_all(format!("{command}\n").as_bytes())?;
            stream.shutdown(std::net::Shutdown::Write)?;
            let mut answer = String::new();
            stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
            Ok::<_, io::Error>(answer)
        };
        exchange(&mut stream).with_context(|| format!("{shown}: no whole answer"))
    }

    /// The answer to a command whose answer is JSON.
    ///
    /// # Errors
    /// As [`Self::ask`]; and when the program does not know the command, or answers something else.
    pub fn ask_for<T: DeserializeOwned>(&self, command: &str) -> anyhow::Result<T> {
        let answer = self.ask(command)?;
        if answer.contains("\"unknown command\"") {
            bail!("the running mlvpn is older than this one: restart it");
        }
        serde_json::from_str(&answer)
            .with_context(|| format!("{}: this is no answer of mlvpn", self.0.display()))
    }
}

/// What comes of switching a link.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Switched {
    Done(String),
    Error(String),
}

impl ControlSocket {
    /// Has a link switched, and returns what came of it in words.
    ///
    /// # Errors
    /// As [`Self::ask_for`]; and when the program refuses, with its words.
    pub fn switch_link(&self, name: &str, switch: LinkSwitch) -> anyhow::Result<String> {
        match self.ask_for(&format!("link {} {name}", switch.as_word()))? {
            Switched::Done(text) => Ok(text),
            Switched::Error(text) => bail!(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("mlvpn-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_only_configuration_of_a_folder_is_meant() {
        let scratch = Scratch::new("only");
        let write = |name: &str| std::fs::write(scratch.0.join(name), "").unwrap();
        let found = || only_configuration(&scratch.0);
        assert!(found().unwrap_err().to_string().contains("no configuration"));
        write("a.conf");
        write("b.conf.old");
        assert_eq!(found().unwrap(), scratch.0.join("a.conf"));
        write("b.conf");
        let error = found().unwrap_err().to_string();
        assert!(error.contains("a.conf") && error.contains("--config"), "{error}");
        assert!(only_configuration(&scratch.0.join("none")).is_err());
    }

    #[test]
    fn a_socket_where_nobody_answers_is_told_with_a_remedy() {
        let scratch = Scratch::new("nobody");
        let error = ControlSocket(scratch.0.join("s")).ask("status").unwrap_err().to_string();
        assert!(error.contains("mlvpn does not run"), "{error}");
    }
}
