//! Socket options on Linux (ip(7), ipv6(7), socket(7)).

use std::io;
use std::os::fd::AsFd;

use socket2::Socket;

use super::Pmtu;
use crate::udp::sys;

pub(in crate::udp) fn set_pmtu(socket: &Socket, is_v6: bool, pmtu: Pmtu) -> io::Result<()> {
    let (level, name, value) = match (is_v6, pmtu) {
        (false, Pmtu::Probe) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        (false, Pmtu::Dont) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT),
        (true, Pmtu::Probe) => {
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)
        }
        (true, Pmtu::Dont) => {
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)
        }
    };
    sys::set_option(socket.as_fd(), level, name, value)
}

pub(in crate::udp) fn bind_device(socket: &Socket, device: &str) -> io::Result<()> {
    socket.bind_device(Some(device.as_bytes()))
}

pub(in crate::udp) fn set_mark(socket: &Socket, mark: u32) -> io::Result<()> {
    socket.set_mark(mark)
}

pub(in crate::udp) fn set_receive_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    let forced = sys::set_option(
        socket.as_fd(),
        libc::SOL_SOCKET,
        libc::SO_RCVBUFFORCE,
        i32::try_from(bytes).unwrap_or(i32::MAX),
    );
    forced.or_else(|_| socket.set_recv_buffer_size(bytes))
}

pub(in crate::udp) fn set_send_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    let forced = sys::set_option(
        socket.as_fd(),
        libc::SOL_SOCKET,
        libc::SO_SNDBUFFORCE,
        i32::try_from(bytes).unwrap_or(i32::MAX),
    );
    forced.or_else(|_| socket.set_send_buffer_size(bytes))
}

/// The MTU of the route of a connected socket.
pub(in crate::udp) fn connected_mtu(socket: &Socket, is_v6: bool) -> io::Result<u32> {
    let (level, name) =
        if is_v6 { (libc::IPPROTO_IPV6, libc::IPV6_MTU) } else { (libc::IPPROTO_IP, libc::IP_MTU) };
    sys::option(socket.as_fd(), level, name).map(|mtu| mtu as u32)
}
