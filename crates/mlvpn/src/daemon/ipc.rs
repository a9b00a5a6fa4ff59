//! What the privileged process and the worker say to each other.
//!
//! One JSON message per packet of a `SOCK_SEQPACKET` pair, with descriptors beside it. The worker
//! is not trusted: it can name a link of the configuration or an event, and nothing else that the
//! privileged process would act on.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use mlvpn_io::fdpass::Channel;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::{self, Config, KeyFiles, Loaded, MAX_FILE_BYTES, MAX_KEYS_BYTES};
use crate::hook::HookEvent;

/// From the privileged process to the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// Begin. Descriptors: those of [`files_as_fds`], the tunnel interface.
    Start(Box<StartOrder>),
    /// The socket asked for. Descriptor: the socket.
    Link { link: String, attempt: u64 },
    /// The socket asked for could not be opened.
    LinkFailed { link: String, attempt: u64, error: String },
    /// Use another configuration. Descriptors: those of [`files_as_fds`].
    Reload,
    /// Say goodbye to the peer and end.
    Stop,
}

/// How the worker is to run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StartOrder {
    /// The configuration file's name, for messages.
    pub(super) config_name: String,
    /// Whose rights to take on; none: keep those it has.
    pub(super) user: Option<String>,
    /// `--name`.
    pub(super) name: Option<String>,
    /// Log to standard error.
    pub(super) debug: bool,
    /// `-D`.
    pub(super) debug_tokens: Vec<String>,
    /// `-v` less `-q`.
    pub(super) verbosity: i8,
    /// Leave the process title alone.
    pub(super) natural_title: bool,
    /// How often [`ToPrivileged::Alive`] is wanted at least; none: never.
    pub(super) heartbeat: Option<Duration>,
}

/// From the worker to the privileged process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToPrivileged {
    /// The worker is set up and has given up its rights.
    Ready,
    /// A socket is wanted for a link, bound to this address.
    OpenLink { link: String, attempt: u64, bind: SocketAddr },
    /// Something happened that the status command is to be told.
    Hook { event: HookEvent, link: Option<String> },
    /// The interface is to have this MTU.
    SetMtu { mtu: u16 },
    /// One line for the service manager.
    Status { text: String },
    /// The threads of the worker make progress.
    Alive,
}

/// One end of the conversation.
#[derive(Debug)]
pub(super) struct Peer(Channel);

/// A message that came, with its descriptors.
#[derive(Debug)]
pub(super) struct Received<M> {
    pub(super) message: M,
    pub(super) fds: Vec<OwnedFd>,
}

impl Peer {
    pub(super) fn pair() -> io::Result<(Self, Channel)> {
        let (ours, theirs) = Channel::pair()?;
        Ok((Self(ours), theirs))
    }

    pub(super) fn new(channel: Channel) -> Self {
        Self(channel)
    }

    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        self.0.set_nonblocking(true)
    }

    /// Sends a message.
    pub(super) fn send<M: Serialize>(&self, message: &M, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.0.send(&serde_json::to_vec(message)?, fds)
    }

    /// The next message; none when the other end is gone.
    ///
    /// # Errors
    /// `WouldBlock` on a non-blocking end; `InvalidData` for what is no message.
    pub(super) fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<Received<M>>> {
        let Some((bytes, fds)) = self.0.receive()? else { return Ok(None) };
        Ok(Some(Received { message: serde_json::from_slice(&bytes)?, fds }))
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Puts a configuration and the keys that it names into files without names, for the worker, which
/// could not read those on disk.
pub(super) fn files_as_fds(loaded: &Loaded) -> io::Result<[OwnedFd; 2]> {
    Ok([bytes_as_fd(&loaded.bytes)?, bytes_as_fd(&loaded.keys.to_bytes())?])
}

/// Reads what [`files_as_fds`] wrote; `name` is that of the configuration file.
pub(super) fn fds_as_config(name: &str, [file, keys]: [OwnedFd; 2]) -> anyhow::Result<Config> {
    let bytes = fd_as_bytes(file, MAX_FILE_BYTES as u64)?;
    let keys = KeyFiles::from_bytes(&fd_as_bytes(keys, MAX_KEYS_BYTES as u64)?);
    let mut keys = keys.context("what came with the configuration are no keys")?;
    let parsed = config::parse_with_keys(name, &bytes, &mut keys);
    parsed.map(|parsed| parsed.config).map_err(|findings| anyhow!("{findings}"))
}

/// Puts bytes into a file without a name, for another process to read.
fn bytes_as_fd(bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::io::{Seek as _, Write as _};
    let fd = rustix::fs::memfd_create("mlvpn", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// Reads what [`bytes_as_fd`] wrote; more than `limit` bytes are refused.
fn fd_as_bytes(fd: OwnedFd, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    use std::io::Read as _;
    let file = std::fs::File::from(fd);
    let length = file.metadata()?.len();
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes came")));
    }
    // Room for all of it, so that nothing is moved and left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_travel_up_to_the_limit() {
        assert_eq!(fd_as_bytes(bytes_as_fd(b"mlvpn").unwrap(), 5).unwrap().as_slice(), b"mlvpn");
        assert!(fd_as_bytes(bytes_as_fd(b"mlvpn").unwrap(), 4).is_err());
        assert_eq!(fd_as_bytes(bytes_as_fd(b"").unwrap(), 0).unwrap().len(), 0);
    }
}
