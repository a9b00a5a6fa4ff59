//! Systems whose tun devices are not opened yet. A descriptor opened elsewhere, which carries bare
//! packets, can be used already; opening and configuring are what a port fills in here.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::coalesce::Merge;
use super::{Kind, Opened, TunOptions};

pub(super) fn open(_: &TunOptions) -> io::Result<OwnedFd> {
    unsupported()
}

pub(super) fn examine(_: BorrowedFd<'_>, _: bool) -> io::Result<Opened> {
    Ok(Opened {
        name: String::new(),
        kind: Kind::Tun,
        has_virtio_header: false,
        merge: Merge::default(),
    })
}

pub(super) fn mtu(_: &str) -> io::Result<u32> {
    unsupported()
}

pub(super) fn set_mtu(_: &str, _: u32) -> io::Result<()> {
    unsupported()
}

pub(super) fn set_up(_: &str) -> io::Result<()> {
    unsupported()
}

pub(super) fn read_error(errno: rustix::io::Errno) -> io::Error {
    errno.into()
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "tun devices of this system are not supported"))
}
