//! What the privileged process and the worker say to each other.
//!
//! One JSON message per packet of a `SOCK_SEQPACKET` pair, with descriptors beside it. The worker
//! is not trusted: it can name a link of the configuration or an event, and nothing else that the
//! privileged process would act on.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use mlvpn_io::fdpass::Channel;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::hook::HookEvent;

/// From the privileged process to the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// Begin. Descriptors: the configuration, the tunnel interface.
    Start(Box<StartOrder>),
    /// The socket asked for. Descriptor: the socket.
    Link { link: String, attempt: u64 },
    /// The socket asked for could not be opened.
    LinkFailed { link: String, attempt: u64, error: String },
    /// Use another configuration. Descriptor: the configuration.
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

/// Puts bytes into a file without a name, for another process to read.
pub(super) fn bytes_as_fd(bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::io::{Seek as _, Write as _};
    let fd = rustix::fs::memfd_create("mlvpn.conf", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// Reads what [`bytes_as_fd`] wrote; `limit` bytes at the most.
pub(super) fn fd_as_bytes(fd: OwnedFd, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::from(fd).take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
