//! What the routing table says about a destination.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

use super::options::{connected_mtu, select_route};

/// The MTU in bytes, IP header included, of the route to `remote` from a socket that is bound to
/// `local` and `device` and has routing mark `mark`: the device's, or less if the route or an
/// earlier ICMP message says so. Nothing is sent.
///
/// # Errors
/// As of binding and connecting such a socket: unreachable if there is no route, permission.
pub fn route_mtu(
    local: Option<SocketAddr>,
    device: Option<&str>,
    mark: Option<u32>,
    remote: SocketAddr,
) -> io::Result<u32> {
    let socket =
        Socket::new(Domain::for_address(remote), Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
    select_route(&socket, device, mark)
        .map_err(|e| io::Error::new(e.io().kind(), e.to_string()))?;
    if let Some(mut local) = local {
        // The port may be in use, and does not matter for the route.
        local.set_port(0);
        socket.bind(&local.into())?;
    }
    socket.connect(&remote.into())?;
    connected_mtu(&socket, remote.is_ipv6())
}
