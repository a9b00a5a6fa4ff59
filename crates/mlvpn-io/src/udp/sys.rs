//! The socket calls that no library offers without allocating: each is wrapped here, once.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::SockAddr;

use super::RecvBatch;
use super::cmsg::Control;

/// Room for a socket address of either family.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Name([u8; 32]);

/// Room for the control messages of a received datagram: traffic class, time, segment size.
pub(super) type RecvControl = Control<128>;

/// What the kernel says about a received message.
pub(super) struct Received<'a> {
    pub(super) len: usize,
    pub(super) from: SocketAddr,
    pub(super) control: &'a [u8],
    pub(super) is_truncated: bool,
}

impl Name {
    const EMPTY: Self = Self([0; 32]);

    /// The address, if it is one of IP.
    pub(super) fn decode(bytes: &[u8]) -> Option<SocketAddr> {
        let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
        match family {
            libc::AF_INET => {
                let address: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
                Some((Ipv4Addr::from(address), port).into())
            }
            libc::AF_INET6 => {
                let address: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
                let scope = u32::from_ne_bytes(*bytes.get(24..)?.first_chunk()?);
                Some(SocketAddrV6::new(Ipv6Addr::from(address), port, 0, scope).into())
            }
            _ => None,
        }
    }
}

/// Sends one datagram, or with a segment size among the control messages several.
pub(super) fn send(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    to: &SockAddr,
    control: &[u8],
) -> io::Result<usize> {
    let mut part = iovec(bytes);
    let header = message(&mut part, to, control);
    // SAFETY: the header points to the part, address and control messages, which outlive the call
    // and are only read.
    let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Sends up to [`super::MAX_SEGMENTS`] datagrams and returns how many of them were sent: not all if
/// one failed; an error if it was the first.
pub(super) fn send_many<'a>(
    fd: BorrowedFd<'_>,
    datagrams: impl Iterator<Item = &'a [u8]>,
    to: &SockAddr,
    control: &[u8],
) -> io::Result<usize> {
    let mut parts = [iovec(&[]); super::MAX_SEGMENTS];
    let mut count = 0;
    for (part, datagram) in parts.iter_mut().zip(datagrams) {
        *part = iovec(datagram);
        count += 1;
    }
    let mut nowhere = iovec(&[]);
    let empty = libc::mmsghdr { msg_hdr: message(&mut nowhere, to, control), msg_len: 0 };
    let mut headers = [empty; super::MAX_SEGMENTS];
    for (header, part) in headers.iter_mut().zip(&mut parts) {
        header.msg_hdr.msg_iov = part;
    }
    // SAFETY: the first `count` headers each point to a part, the address and the control messages,
    // which outlive the call and are only read.
    let sent = unsafe {
        libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_NOSIGNAL as _)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives into the slots of a batch and calls `each` for every message, in order.
pub(super) fn receive_many<'a>(
    fd: BorrowedFd<'_>,
    slots: impl Iterator<Item = &'a mut [u8]>,
    mut each: impl FnMut(Received<'_>),
) -> io::Result<usize> {
    const SLOTS: usize = RecvBatch::MAX_SLOTS;
    let mut names = [Name::EMPTY; SLOTS];
    let mut controls = [RecvControl::EMPTY; SLOTS];
    let mut parts = [iovec(&[]); SLOTS];
    // SAFETY: all zeros is a header without any parts.
    let mut headers: [libc::mmsghdr; SLOTS] = unsafe { std::mem::zeroed() };
    let mut count = 0;
    for (slot, part) in slots.zip(&mut parts) {
        *part = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
        let header = &mut headers[count].msg_hdr;
        header.msg_iov = part;
        header.msg_iovlen = 1;
        header.msg_name = names[count].0.as_mut_ptr().cast();
        header.msg_namelen = names[count].0.len() as _;
        header.msg_control = controls[count].0.as_mut_ptr().cast();
        header.msg_controllen = controls[count].0.len() as _;
        count += 1;
    }
    // SAFETY: the first `count` headers each point to a slot, a name and a control buffer of the
    // lengths given, none of which is used otherwise during the call.
    let received = unsafe {
        libc::recvmmsg(
            fd.as_raw_fd(),
            headers.as_mut_ptr(),
            count as _,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (at, header) in headers[..received].iter().enumerate() {
        let control_len = control_len(&header.msg_hdr).min(controls[at].0.len());
        each(Received {
            len: header.msg_len as usize,
            from: Name::decode(&names[at].0).unwrap_or_else(unknown_sender),
            control: &controls[at].0[..control_len],
            is_truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        });
    }
    Ok(received)
}

/// Takes a message off the error queue: the address that the datagram was sent to and the control
/// messages, of which `control` is left with those that came.
pub(super) fn receive_error<'a>(
    fd: BorrowedFd<'_>,
    control: &'a mut Control<256>,
) -> io::Result<(Option<SocketAddr>, &'a [u8])> {
    let mut name = Name::EMPTY;
    // SAFETY: all zeros is a header without any parts: the datagram itself is of no interest.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = name.0.as_mut_ptr().cast();
    header.msg_namelen = name.0.len() as _;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the header points to a name and a control buffer of the lengths given.
    if unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let len = control_len(&header).min(control.0.len());
    Ok((Name::decode(&name.0), &control.0[..len]))
}

/// Sets an option whose value is an `int`.
pub(super) fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value is an int of the length given, and only read.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option whose value is an `int`.
pub(super) fn option(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let mut value = 0_i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value has room for the length given.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len)
    };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// Datagrams that the socket dropped: `SK_MEMINFO_DROPS` of `SO_MEMINFO` (linux/sock_diag.h).
pub(super) fn queue_drops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    const DROPS: usize = 8;
    let mut values = [0_u32; DROPS + 1];
    let mut len = size_of_val(&values) as libc::socklen_t;
    // SAFETY: the array has room for the length given.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(values[DROPS]) } else { Err(io::Error::last_os_error()) }
}

/// A part to be sent. The pointer is mutable only because receiving uses the same type.
fn iovec(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// A header for sending; it points to its arguments.
fn message(part: &mut libc::iovec, to: &SockAddr, control: &[u8]) -> libc::msghdr {
    // SAFETY: all zeros is a header without any parts.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header.msg_name = to.as_ptr().cast_mut().cast();
    header.msg_namelen = to.len();
    if !control.is_empty() {
        header.msg_control = control.as_ptr().cast_mut().cast();
        header.msg_controllen = control.len() as _;
    }
    header
}

#[allow(clippy::unnecessary_cast, reason = "musl and glibc have different types")]
fn control_len(header: &libc::msghdr) -> usize {
    header.msg_controllen as usize
}

/// Stands for a sender without IP address, which an IP socket does not have.
fn unknown_sender() -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, 0).into()
}
