//! Being told that somebody has changed an nftables table.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};

use super::NetlinkError;

/// NFNL_SUBSYS_NFTABLES: the upper byte of the type of nftables' messages (linux/netfilter/nfnetlink.h).
const SUBSYSTEM: u8 = 10;
/// NFT_MSG_NEWTABLE and NFT_MSG_DELTABLE: its lower byte (linux/netfilter/nf_tables.h).
const NEW_TABLE: u8 = 0;
const DELETE_TABLE: u8 = 2;
/// The attribute that names the table, in messages about tables, chains, sets, rules and objects alike.
const TABLE_NAME: u16 = 1;
/// Bits of an attribute's type that are flags (NLA_TYPE_MASK).
const TYPE_MASK: u16 = 0x3fff;
/// Bytes of `nlmsghdr`, and of `nfgenmsg` behind it.
const HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;

/// Becomes readable when nftables of its namespace change, and tells whether that concerns one table.
#[derive(Debug)]
pub struct TableMonitor {
    socket: Socket,
    table: Vec<u8>,
}

/// What has become of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableNews {
    /// Whether there were changes to the table or to what is in it.
    pub is_touched: bool,
    /// Whether the last of them left it without the table; `None` when it was neither made nor deleted.
    pub is_there: Option<bool>,
}

impl TableMonitor {
    /// Listens in the network namespace of the calling thread to what happens to the tables called
    /// `table`, of whichever family.
    ///
    /// # Errors
    /// When the kernel has no nftables, or the caller may not administer the network.
    pub fn open(table: &str) -> Result<Self, NetlinkError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.set_non_blocking(true)?;
            socket.add_membership(libc::NFNLGRP_NFTABLES as u32)?;
            Ok(socket)
        };
        let socket = open().map_err(|source| NetlinkError {
            operation: "listen to changes of nftables".to_owned(),
            source,
        })?;
        Ok(Self { socket, table: table.as_bytes().to_vec() })
    }

    /// Takes in all notifications so far. Where some were lost, the table counts as touched.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn drain(&mut self) -> io::Result<TableNews> {
        let mut news = TableNews::default();
        loop {
            match self.socket.recv_from_full() {
                Ok((datagram, _)) => self.read(&datagram, &mut news),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(news),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => news.is_touched = true,
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&self, mut datagram: &[u8], news: &mut TableNews) {
        while let Some((message, rest)) = next_message(datagram) {
            datagram = rest;
            let [kind, subsystem] = u16_at(message, 4).to_le_bytes();
            let attributes = message.get(HEADER + FAMILY_HEADER..).unwrap_or_default();
            if subsystem != SUBSYSTEM || table_name(attributes) != Some(&self.table[..]) {
                continue;
            }
            news.is_touched = true;
            match kind {
                NEW_TABLE => news.is_there = Some(true),
                DELETE_TABLE => news.is_there = Some(false),
                _ => {}
            }
        }
    }
}

impl AsFd for TableMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the socket, which `self` owns and which is
        // borrowed for as long as what is returned.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |two| u16::from_ne_bytes([two[0], two[1]]))
}

/// The first message, and what comes after it.
fn next_message(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_ne_bytes(*datagram.first_chunk::<4>()?) as usize;
    let message = datagram.get(..length).filter(|_| length >= HEADER)?;
    let rest = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((message, rest))
}

/// The value of the first attribute of this type, without the byte 0 at its end.
fn table_name(mut attributes: &[u8]) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(attributes, 0));
        let value = attributes.get(4..length)?;
        if u16_at(attributes, 2) & TYPE_MASK == TABLE_NAME {
            return Some(value.strip_suffix(&[0]).unwrap_or(value));
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}
