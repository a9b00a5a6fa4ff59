//! Real traffic from real sockets inside the hosts.
//!
//! A workload is described by a builder, and either run to its end or started and watched. Its threads
//! end by themselves, also when a link is cut under them.

mod content;
mod copier;
mod delays;
mod exchange;
mod flood;
mod initiation;
mod ping;
mod tcp;
mod udp;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use mlvpn_io::clock::Clock;
use socket2::{Domain, Protocol, Socket, Type};

pub use content::Content;
pub use copier::{Copier, CopierReport};
pub use delays::Delays;
pub use exchange::{Exchange, ExchangeReport};
pub use flood::{Flood, FloodReport, RunningFlood};
pub use initiation::Forger;
pub use ping::{Ping, PingReport};
pub use tcp::{FlowReport, RunningTransfer, Transfer, TransferDirection, TransferReport};
pub use udp::{DatagramReport, DatagramStream};

/// Blocking calls return at least this often, to see whether it is time to stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// Connecting gives up after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How a socket is to leave its host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Binding {
    pub(crate) device: Option<String>,
    pub(crate) source: Option<IpAddr>,
}

impl Binding {
    fn apply(&self, socket: &Socket) -> io::Result<()> {
        if let Some(device) = &self.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Ok(())
    }
}

/// A socket for packets to or from `address`.
fn open_socket(address: IpAddr, kind: Type) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, kind, Some(protocol))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Takes a connection that has been made already.
fn accept(listener: &Socket, timeout: Duration) -> Result<Socket> {
    let clock = Clock::new();
    let start = clock.now_us();
    listener.set_read_timeout(Some(PATIENCE))?;
    while clock.now_us() - start < timeout.as_micros() as u64 {
        match listener.accept() {
            Ok((socket, _)) => return Ok(socket),
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(error).context("cannot accept a connection"),
        }
    }
    bail!("a connection was made but did not arrive at the listening host")
}

/// Whether a blocking call ended without result, because of the time limit or a signal.
fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// What the thread returned.
fn join<T>(thread: std::thread::JoinHandle<Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread of a workload has panicked"))?
}
