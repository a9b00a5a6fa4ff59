//! Opening and configuring tun devices on Linux (linux/if_tun.h).

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use super::coalesce::Merge;
use super::virtio::HEADER_LEN;
use super::{Kind, Opened, TunOptions};

/// Longest device name, without the terminating zero.
const MAX_NAME: usize = libc::IFNAMSIZ - 1;

const OFFLOAD_TCP: libc::c_uint = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
const OFFLOAD_UDP: libc::c_uint = libc::TUN_F_USO4 | libc::TUN_F_USO6;

pub(super) fn open(options: &TunOptions) -> io::Result<OwnedFd> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")?;
    let fd = OwnedFd::from(file);
    let mut flags = libc::IFF_NO_PI;
    flags |= if options.kind == Kind::Tap { libc::IFF_TAP } else { libc::IFF_TUN };
    if options.kind == Kind::Tun && options.offload {
        flags |= libc::IFF_VNET_HDR;
    }
    let mut request = request(options.name.as_deref().unwrap_or(""))?;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    ioctl(fd.as_fd(), libc::TUNSETIFF as _, (&raw mut request).cast())?;
    let name = name_of(&request);
    if let Some(packets) = options.txqueuelen {
        // Root of a user namespace may not; the default queue merely loses more of a burst.
        if let Err(error) = set_number(&name, libc::SIOCSIFTXQLEN as _, packets) {
            tracing::debug!(device = name, %error, "the transmit queue keeps its length");
        }
    }
    Ok(fd)
}

/// Asks the descriptor what it is, and sets the offloads of the device to what is wanted: the mask
/// belongs to the device and survives on a persistent one, so it is also reset.
pub(super) fn examine(fd: BorrowedFd<'_>, offload: bool) -> io::Result<Opened> {
    let mut request = request("")?;
    ioctl(fd, libc::TUNGETIFF as _, (&raw mut request).cast())?;
    // SAFETY: TUNGETIFF filled in the flags, and any bits make a c_short.
    let flags = libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags });
    let kind = if flags & libc::IFF_TAP != 0 { Kind::Tap } else { Kind::Tun };
    if flags & libc::IFF_NO_PI == 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "tun was opened without IFF_NO_PI",
        ));
    }
    let has_virtio_header = flags & libc::IFF_VNET_HDR != 0;
    if has_virtio_header {
        let mut len = HEADER_LEN as libc::c_int;
        ioctl(fd, libc::TUNSETVNETHDRSZ as _, (&raw mut len).cast())?;
    }
    let merge = if has_virtio_header && offload && kind == Kind::Tun {
        enable_offload(fd)
    } else {
        set_offload(fd, 0)?;
        Merge::default()
    };
    Ok(Opened { name: name_of(&request), kind, has_virtio_header, merge })
}

/// TCP first, then UDP on top (kernel 6.2): older kernels refuse a mask with an unknown bit.
fn enable_offload(fd: BorrowedFd<'_>) -> Merge {
    if set_offload(fd, OFFLOAD_TCP).is_err() {
        // A device that refuses everything is left with nothing enabled.
        let _ = set_offload(fd, 0);
        return Merge::default();
    }
    Merge { tcp: true, udp: set_offload(fd, OFFLOAD_TCP | OFFLOAD_UDP).is_ok() }
}

fn set_offload(fd: BorrowedFd<'_>, mask: libc::c_uint) -> io::Result<()> {
    // This request takes its argument by value.
    ioctl(fd, libc::TUNSETOFFLOAD as _, std::ptr::without_provenance_mut(mask as usize))
}

pub(super) fn mtu(name: &str) -> io::Result<u32> {
    let mut request = request(name)?;
    ioctl(control_socket()?.as_fd(), libc::SIOCGIFMTU as _, (&raw mut request).cast())?;
    // SAFETY: SIOCGIFMTU filled in the MTU, and any bits make a c_int.
    Ok(unsafe { request.ifr_ifru.ifru_mtu } as u32)
}

pub(super) fn set_mtu(name: &str, mtu: u32) -> io::Result<()> {
    set_number(name, libc::SIOCSIFMTU as _, mtu)
}

pub(super) fn set_up(name: &str) -> io::Result<()> {
    let socket = control_socket()?;
    let mut request = request(name)?;
    ioctl(socket.as_fd(), libc::SIOCGIFFLAGS as _, (&raw mut request).cast())?;
    // SAFETY: SIOCGIFFLAGS filled in the flags, and any bits make a c_short.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    ioctl(socket.as_fd(), libc::SIOCSIFFLAGS as _, (&raw mut request).cast())
}

/// For requests whose argument is one number in the union (MTU and queue length share its place).
fn set_number(name: &str, code: libc::Ioctl, number: u32) -> io::Result<()> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_mtu = libc::c_int::try_from(number)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "number too large"))?;
    ioctl(control_socket()?.as_fd(), code, (&raw mut request).cast())
}

/// Any socket of the namespace answers requests about its interfaces.
fn control_socket() -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    Ok(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

fn request(name: &str) -> io::Result<libc::ifreq> {
    if name.len() > MAX_NAME || name.contains('\0') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("device name {name:?} is longer than {MAX_NAME} bytes"),
        ));
    }
    // SAFETY: all zeros is a value of each member of ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = byte as libc::c_char;
    }
    Ok(request)
}

fn name_of(request: &libc::ifreq) -> String {
    let bytes: Vec<u8> =
        request.ifr_name.iter().map(|&c| c as u8).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The kernel's words for a device that was deleted, "file descriptor in bad state", help nobody.
pub(super) fn read_error(errno: rustix::io::Errno) -> io::Error {
    match errno {
        rustix::io::Errno::BADFD => {
            io::Error::new(io::ErrorKind::NotFound, "the interface was removed")
        }
        errno => errno.into(),
    }
}

fn ioctl(fd: BorrowedFd<'_>, code: libc::Ioctl, argument: *mut libc::c_void) -> io::Result<()> {
    // SAFETY: private to this file; every caller passes what its request reads or writes: a live
    // ifreq or c_int, or for TUNSETOFFLOAD a number that is never followed.
    match unsafe { libc::ioctl(fd.as_raw_fd(), code, argument) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
