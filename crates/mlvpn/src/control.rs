//! The control server: tells the status to whoever asks on a unix socket or a TCP port.
//!
//! It runs on the control thread, reads snapshots that the data thread publishes, and never makes
//! that one wait. Both sockets take HTTP and the line protocol of the C program; the first line
//! decides. HTTP and TCP only read; who may write to the unix socket may also switch links.
//! docs/status.md is the reference.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::config::ControlToken;
use crate::status::StatusSnapshot;
use crate::status::history::History;
pub use request::{LinkSwitch, Request};
use socket_file::SocketFile;

mod access;
mod http;
mod line;
mod page;
mod request;
mod socket_file;

/// Where the control server listens, and what it bears.
#[derive(Clone, Debug, Default)]
pub struct ControlConfig {
    /// `control_unix_path`; none: no unix socket.
    pub unix_path: Option<PathBuf>,
    /// `control_bind_host` and `control_bind_port`; none: no TCP port.
    pub tcp: Option<(String, u16)>,
    /// What clients of the TCP port must know; without it, that is opened on addresses of this machine
    /// alone.
    pub token: Option<ControlToken>,
    /// What one client may cost.
    pub limits: ControlLimits,
}

/// What clients may cost.
#[derive(Clone, Copy, Debug)]
pub struct ControlLimits {
    /// Clients served at once on the unix socket, and as many on the TCP port; further ones are refused.
    pub clients: usize,
    /// Time for a whole HTTP exchange, or for one command of the line protocol.
    pub patience: Duration,
}

impl Default for ControlLimits {
    /// 64 clients, 5 seconds.
    fn default() -> Self {
        Self { clients: 64, patience: Duration::from_secs(5) }
    }
}

/// Why a socket of the control server could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Somebody answers on the socket.
    #[error(
        "control_unix_path {}: another process answers on this socket; \
         stop it or choose another path", .0.display()
    )]
    InUse(PathBuf),
    /// What is there is not a socket, and stays.
    #[error(
        "control_unix_path {}: exists and is not a socket; remove it or choose another path",
        .0.display()
    )]
    NotASocket(PathBuf),
    /// The socket could not be made.
    #[error("control_unix_path {}: {source}", path.display())]
    Unix {
        /// The path as configured.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others reach the port, and nothing keeps them from reading.
    #[error(
        "control_bind_host {host}: others may reach {address}, and there is no control_token_file, so \
         that HTTP is not opened; bind to 127.0.0.1 or ::1, or make a token with `mlvpn genpsk --out FILE` \
         and name that file with control_token_file"
    )]
    NoToken {
        /// The host as configured.
        host: String,
        /// An address that it has.
        address: IpAddr,
    },
    /// The port could not be opened.
    #[error("control_bind_host {host}, control_bind_port {port}: {source}")]
    Tcp {
        /// The host as configured.
        host: String,
        /// The port as configured.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
}

/// What the server tells, and whom it asks to do something.
#[derive(Debug)]
pub struct Desk {
    /// What is.
    pub status: watch::Receiver<Arc<StatusSnapshot>>,
    /// What was.
    pub history: Arc<Mutex<History>>,
    /// Takes what people want done.
    pub requests: mpsc::Sender<Request>,
}

/// The open sockets, not served yet. Dropping it removes the unix socket's file.
#[derive(Debug)]
pub struct ControlServer {
    unix: Option<SocketFile>,
    tcp: Option<TcpListener>,
    token: Option<ControlToken>,
    limits: ControlLimits,
}

impl ControlServer {
    /// Opens what `config` names. The second value says what could not be opened; the server
    /// works without, for a tunnel is worth more than its status.
    ///
    /// It may block for as long as the host's name takes to resolve, and needs no async runtime.
    #[must_use]
    pub fn bind(config: &ControlConfig) -> (Self, Vec<ControlError>) {
        let mut failures = Vec::new();
        let unix = config.unix_path.as_deref().map(bind_unix).transpose();
        let unix = unix.unwrap_or_else(|failure| {
            failures.push(failure);
            None
        });
        let token = config.token.clone();
        let mut server = Self { unix, tcp: None, token, limits: config.limits };
        if let Some((host, port)) = &config.tcp {
            failures.extend(server.open_tcp(host, *port).err());
        }
        (server, failures)
    }

    /// Opens the TCP port, in place of the one that is open.
    ///
    /// It may block for as long as the host's name takes to resolve.
    ///
    /// # Errors
    /// Why it could not be opened.
    pub fn open_tcp(&mut self, host: &str, port: u16) -> Result<(), ControlError> {
        self.tcp = Some(bind_tcp(host, port, self.token.is_some())?);
        Ok(())
    }

    /// The address of the TCP port, when there is one.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `stop` resolves; then cuts off all clients and removes the socket's file.
    ///
    /// # Errors
    /// When the runtime cannot take the sockets.
    pub async fn run(mut self, desk: Desk, stop: impl Future<Output = ()>) -> io::Result<()> {
        let tcp = self.tcp.take().map(tokio::net::TcpListener::from_std).transpose()?;
        let unix = self.unix.as_mut().and_then(SocketFile::take_listener);
        let unix = unix.map(tokio::net::UnixListener::from_std).transpose()?;
        let shared = Shared {
            desk: Arc::new(desk),
            token: self.token.take().map(Arc::new),
            patience: self.limits.patience,
            seats: Arc::new(Semaphore::new(self.limits.clients)),
        };
        // Seats of their own: whoever takes all of the port leaves those of the socket to its owner.
        let seats = Arc::new(Semaphore::new(self.limits.clients));
        let over_tcp = Shared { seats, ..shared.clone() };
        tokio::select! {
            never = accept_tcp(tcp, over_tcp) => match never {},
            never = accept_unix(unix, shared) => match never {},
            () = stop => Ok(()),
        }
    }
}

/// What every client's task needs.
#[derive(Clone)]
struct Shared {
    desk: Arc<Desk>,
    /// What clients of the TCP port must know.
    token: Option<Arc<ControlToken>>,
    patience: Duration,
    seats: Arc<Semaphore>,
}

impl Shared {
    fn snapshot(&self) -> Arc<StatusSnapshot> {
        Arc::clone(&self.desk.status.borrow())
    }

    fn history(&self) -> String {
        self.desk.history.lock().unwrap_or_else(PoisonError::into_inner).to_json()
    }
}

/// What kind of socket a client came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The unix socket.
    Unix,
    /// The TCP port.
    Tcp,
}

fn bind_unix(path: &Path) -> Result<SocketFile, ControlError> {
    let socket = SocketFile::bind(path)?;
    info!(path = %path.display(), "control socket open");
    Ok(socket)
}

fn bind_tcp(host: &str, port: u16, has_token: bool) -> Result<TcpListener, ControlError> {
    let failure = |source| ControlError::Tcp { host: host.to_owned(), port, source };
    let addresses: Vec<_> = (host, port).to_socket_addrs().map_err(failure)?.collect();
    let is_reached = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
    if let Some(address) = addresses.iter().find(|address| !has_token && is_reached(address)) {
        return Err(ControlError::NoToken { host: host.to_owned(), address: address.ip() });
    }
    let open = || {
        let listener = TcpListener::bind(addresses.as_slice())?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let listener = open().map_err(failure)?;
    info!(host, port, "control port open");
    Ok(listener)
}

async fn accept_tcp(listener: Option<tokio::net::TcpListener>, shared: Shared) -> Infallible {
    let Some(listener) = listener else { return std::future::pending().await };
    let mut clients = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                debug!(%from, "control client");
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%error, "TCP_NODELAY");
                }
                admit(&mut clients, stream, Transport::Tcp, &shared);
            }
            Err(error) => after_accept_error(&error).await,
        }
    }
}

async fn accept_unix(listener: Option<tokio::net::UnixListener>, shared: Shared) -> Infallible {
    let Some(listener) = listener else { return std::future::pending().await };
    let mut clients = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => admit(&mut clients, stream, Transport::Unix, &shared),
            Err(error) => after_accept_error(&error).await,
        }
    }
}

/// An error of accept is the process's (no descriptors left) or the client's (gone already);
/// the pause keeps the former from spinning.
async fn after_accept_error(error: &io::Error) {
    warn!(%error, "control client not accepted");
    tokio::time::sleep(Duration::from_secs(1)).await;
}

fn admit<S>(clients: &mut JoinSet<()>, mut stream: S, transport: Transport, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    while clients.try_join_next().is_some() {}
    let shared = shared.clone();
    if let Ok(seat) = Arc::clone(&shared.seats).try_acquire_owned() {
        clients.spawn(async move {
            serve_client(stream, transport, &shared).await;
            drop(seat);
        });
    } else {
        debug!(?transport, "control client refused: too many");
        // The buffer of a new socket takes this at once; whoever does not take it gets nothing.
        clients.spawn(async move {
            let refusal = match transport {
                Transport::Unix => line::REFUSAL,
                Transport::Tcp => http::REFUSAL,
            };
            let _ = tokio::time::timeout(REFUSAL_PATIENCE, stream.write_all(refusal)).await;
        });
    }
}

/// How long a refused client is borne.
const REFUSAL_PATIENCE: Duration = Duration::from_millis(100);

/// Longest line of the line protocol, line feed included; the C program's limit.
const MAX_LINE: usize = 1024;

/// Most bytes that are read and thrown away after the answer.
const MAX_DISCARD: u64 = 64 * 1024;

/// Serves one client who came through another stream than those of a [`ControlServer`], as one who came
/// through `transport`, with the default limits.
pub async fn serve_stream<S>(
    stream: S,
    transport: Transport,
    desk: Arc<Desk>,
    token: Option<ControlToken>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ControlLimits { clients, patience } = ControlLimits::default();
    let (token, seats) = (token.map(Arc::new), Arc::new(Semaphore::new(clients)));
    serve_client(stream, transport, &Shared { desk, token, patience, seats }).await;
}

async fn serve_client<S>(stream: S, transport: Transport, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut deadline = std::pin::pin!(tokio::time::sleep(shared.patience));
    let head = tokio::select! {
        head = read_head(&mut reader) => head,
        () = &mut deadline => Err(io::ErrorKind::TimedOut.into()),
    };
    let Ok(head) = head else { return debug!(?transport, "control client said nothing") };
    let mut replayed = head.as_slice().chain(&mut reader);
    match first_speech(&head, transport, shared.token.is_some()) {
        Speech::Line => line::serve(replayed, &mut writer, transport, shared).await,
        Speech::Http => tokio::select! {
            () = http::serve(&mut replayed, &mut writer, transport, shared) => {}
            () = &mut deadline => debug!(?transport, "control client was too slow"),
        },
        Speech::TooLong => debug!(?transport, "control client sent an endless line"),
    }
}

/// Reads until there is a line, the end, or more than a line of the line protocol may have.
async fn read_head(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(MAX_LINE);
    while head.len() < MAX_LINE && !head.iter().any(|&byte| byte == b'\n' || byte == line::EOT) {
        if reader.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(head)
}

/// Closes our half and reads what the client still sends: a socket closed with unread bytes would
/// be reset, and the client might lose the answer.
async fn close(reader: impl AsyncRead + Unpin, writer: &mut (impl AsyncWrite + Unpin)) {
    if writer.shutdown().await.is_ok() {
        let mut rest = reader.take(MAX_DISCARD);
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Line,
    Http,
    TooLong,
}

/// What the client speaks, from its first bytes. On TCP, where the C program speaks HTTP only,
/// what is neither a command nor a request is a malformed request; so is a command there where a token
/// is needed, for which a command has no place.
fn first_speech(head: &[u8], transport: Transport, needs_token: bool) -> Speech {
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if http::looks_like_request(line) {
        Speech::Http
    } else if line.len() >= MAX_LINE {
        match transport {
            Transport::Unix => Speech::TooLong,
            Transport::Tcp => Speech::Http,
        }
    } else if transport == Transport::Unix || (line::is_command(line) && !needs_token) {
        Speech::Line
    } else {
        Speech::Http
    }
}

#[cfg(test)]
mod tests;
