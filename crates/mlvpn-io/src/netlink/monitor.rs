//! Being told that something has changed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use super::NetlinkError;

/// What is listened to: interfaces, and addresses, routes and rules of both families.
const GROUPS: [u32; 7] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV6_RULE,
];

/// Becomes readable when interfaces, addresses, routes or rules of its namespace change.
///
/// It tells that something changed, and not what: who wants to know reads the tables anew, which is
/// right even when notifications were lost.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
}

impl Monitor {
    /// Listens in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel has no rtnetlink or no more sockets.
    pub fn open() -> Result<Self, NetlinkError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.set_non_blocking(true)?;
            GROUPS.iter().try_for_each(|group| socket.add_membership(*group))?;
            Ok(socket)
        };
        let socket = open().map_err(|source| NetlinkError {
            operation: "listen to changes of interfaces and routes".to_owned(),
            source,
        })?;
        Ok(Self { socket })
    }

    /// Forgets all notifications so far; `true` if there were any.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn drain(&mut self) -> io::Result<bool> {
        let mut has_changed = false;
        // Cut off: that there is a message is all that counts.
        let mut buffer = Vec::with_capacity(64);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => has_changed = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(has_changed),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // There were more than it holds, and some are lost: something has changed.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => has_changed = true,
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the socket, which `self` owns and which is
        // borrowed for as long as what is returned.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}
