//! Creating and binding a UDP socket.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

#[cfg(target_os = "linux")]
use self::linux as system;
#[cfg(not(target_os = "linux"))]
use self::other as system;

pub(super) use self::system::connected_mtu;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

/// What to do with datagrams larger than the route's MTU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pmtu {
    /// Never fragment, and ignore what ICMP claims about the MTU: whoever sends probes for it.
    #[default]
    Probe,
    /// Never set "don't fragment": the network may cut datagrams up.
    Dont,
}

/// How to open a UDP socket.
#[derive(Clone, Debug)]
pub struct UdpOptions {
    /// Address and port; the wildcard address and port 0 let the kernel choose. Its family is that
    /// of the socket: IPv6 sockets take no IPv4.
    pub bind: SocketAddr,
    /// Send and receive through this device only.
    pub device: Option<String>,
    /// Routing mark (Linux), FIB (FreeBSD) or routing table (OpenBSD).
    pub mark: Option<u32>,
    /// Whether other sockets may bind to the same address and port.
    pub reuse: bool,
    /// Receive buffer in bytes; privileged processes may exceed the system's limit, others get what
    /// it allows.
    pub receive_buffer: Option<usize>,
    /// Send buffer in bytes, likewise.
    pub send_buffer: Option<usize>,
    /// Fragmentation.
    pub pmtu: Pmtu,
    /// Whether to send segmented and receive merged where the system can.
    pub offload: bool,
}

/// The step of opening a socket that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {source}")]
pub struct OpenError {
    step: String,
    source: io::Error,
}

impl OpenError {
    pub(super) fn new(step: impl Into<String>, source: io::Error) -> Self {
        Self { step: step.into(), source }
    }

    /// The system's error.
    #[must_use]
    pub fn io(&self) -> &io::Error {
        &self.source
    }
}

impl UdpOptions {
    /// The defaults, bound to `bind`.
    #[must_use]
    pub fn new(bind: SocketAddr) -> Self {
        Self {
            bind,
            device: None,
            mark: None,
            reuse: false,
            receive_buffer: None,
            send_buffer: None,
            pmtu: Pmtu::default(),
            offload: true,
        }
    }

    /// Any address and port of the family that `peer` is of.
    #[must_use]
    pub fn towards(peer: SocketAddr) -> Self {
        Self::new(match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        })
    }

    /// Makes and binds the socket, all that may need privileges. The descriptor can be passed to
    /// another process and used there with [`super::UdpSocket::from_fd`].
    ///
    /// # Errors
    /// Which step failed, and why.
    pub fn bind_fd(&self) -> Result<OwnedFd, OpenError> {
        let socket = Socket::new(
            Domain::for_address(self.bind),
            Type::DGRAM.cloexec().nonblocking(),
            Some(Protocol::UDP),
        )
        .map_err(|e| OpenError::new("create a socket", e))?;
        if self.bind.is_ipv6() {
            socket.set_only_v6(true).map_err(|e| OpenError::new("refuse IPv4", e))?;
        }
        if self.reuse {
            socket.set_reuse_address(true).map_err(|e| OpenError::new("share the address", e))?;
        }
        select_route(&socket, self.device.as_deref(), self.mark)?;
        system::set_pmtu(&socket, self.bind.is_ipv6(), self.pmtu)
            .map_err(|e| OpenError::new("set fragmentation", e))?;
        if let Some(bytes) = self.receive_buffer {
            system::set_receive_buffer(&socket, bytes)
                .map_err(|e| OpenError::new("size the receive buffer", e))?;
        }
        if let Some(bytes) = self.send_buffer {
            system::set_send_buffer(&socket, bytes)
                .map_err(|e| OpenError::new("size the send buffer", e))?;
        }
        socket
            .bind(&self.bind.into())
            .map_err(|e| OpenError::new(format!("bind to {}", self.bind), e))?;
        Ok(socket.into())
    }
}

/// Binds to a device and sets the routing mark.
pub(super) fn select_route(
    socket: &Socket,
    device: Option<&str>,
    mark: Option<u32>,
) -> Result<(), OpenError> {
    if let Some(device) = device {
        system::bind_device(socket, device)
            .map_err(|e| OpenError::new(format!("bind to device {device}"), e))?;
    }
    if let Some(mark) = mark {
        system::set_mark(socket, mark)
            .map_err(|e| OpenError::new(format!("set routing mark {mark}"), e))?;
    }
    Ok(())
}

pub(super) fn set_pmtu(fd: BorrowedFd<'_>, is_v6: bool, pmtu: Pmtu) -> io::Result<()> {
    system::set_pmtu(&SockRef::from(&fd), is_v6, pmtu)
}

pub(super) fn local_addr(fd: BorrowedFd<'_>) -> Result<SocketAddr, OpenError> {
    let address = SockRef::from(&fd).local_addr();
    let address = address.map_err(|e| OpenError::new("read the bound address", e))?;
    address.as_socket().ok_or_else(|| {
        OpenError::new("use the socket", io::Error::other("its address is no IP address"))
    })
}
