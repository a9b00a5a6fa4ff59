//! Socket options on the BSDs and macOS.

use std::io;

use socket2::Socket;

use super::Pmtu;

pub(in crate::udp) fn set_pmtu(socket: &Socket, is_v6: bool, pmtu: Pmtu) -> io::Result<()> {
    let value = libc::c_int::from(pmtu == Pmtu::Probe);
    #[cfg(any(target_os = "freebsd", target_os = "macos"))]
    if !is_v6 {
        return set_option(socket, libc::IPPROTO_IP, libc::IP_DONTFRAG, value);
    }
    // OpenBSD and NetBSD have no such option for IPv4.
    if is_v6 { set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, value) } else { Ok(()) }
}

pub(in crate::udp) fn bind_device(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "sockets are not bound to devices here"))
}

/// The forwarding table of the socket.
#[cfg(target_os = "freebsd")]
pub(in crate::udp) fn set_mark(socket: &Socket, mark: u32) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_SETFIB, to_int(mark)?)
}

/// The routing table of the socket.
#[cfg(target_os = "openbsd")]
pub(in crate::udp) fn set_mark(socket: &Socket, mark: u32) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_RTABLE, to_int(mark)?)
}

#[cfg(not(any(target_os = "freebsd", target_os = "openbsd")))]
pub(in crate::udp) fn set_mark(_: &Socket, _: u32) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "sockets have no routing mark here"))
}

pub(in crate::udp) fn set_receive_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    socket.set_recv_buffer_size(bytes)
}

pub(in crate::udp) fn set_send_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    socket.set_send_buffer_size(bytes)
}

/// The sockets of these systems do not tell the MTU of their route.
pub(in crate::udp) fn connected_mtu(_: &Socket, _is_v6: bool) -> io::Result<u32> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "the MTU of a route is not known here"))
}

#[cfg(any(target_os = "freebsd", target_os = "openbsd"))]
fn to_int(mark: u32) -> io::Result<libc::c_int> {
    libc::c_int::try_from(mark).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn set_option(socket: &Socket, level: i32, name: i32, value: libc::c_int) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is an int of the length given, and only read.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
