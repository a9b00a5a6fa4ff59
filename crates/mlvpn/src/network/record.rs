//! What has to be known after a crash, on disk, and who may use which numbers.
//!
//! Each program that sets up the network of a host holds the lock of a slot, and beside the lock
//! writes down what the kernel would not tell its successor. A record without somebody who holds its
//! lock is what a crash left behind.
//!
//! The lock is a file, and beside it a name that there can be once in a network namespace: programs
//! whose service manager gives each a folder of its own do not see each other's files, but share the
//! kernel's tables.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mlvpn_io::netlink::Prefix;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};

use super::numbers::Slot;
use super::operations::Owned;
use super::{resolver, sysctl};

/// What was changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The kernel's number of the network namespace.
    pub namespace: u64,
    /// The tunnel's interface.
    pub interface: String,
    /// Addresses given to it.
    pub addresses: Vec<String>,
    /// Whether it was set up.
    pub is_up: bool,
    /// Whether there is an nftables table.
    pub has_table: bool,
    /// Settings of the kernel, in the order in which they were changed.
    pub sysctls: Vec<sysctl::Change>,
    /// The name servers.
    pub resolver: Option<resolver::Applied>,
}

impl Record {
    /// Whether there is nothing to undo but what the kernel tells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { addresses, is_up, has_table, sysctls, resolver, .. } = self;
        addresses.is_empty() && !is_up && !has_table && sysctls.is_empty() && resolver.is_none()
    }

    /// What of the interface is our doing.
    #[must_use]
    pub fn owned(&self) -> Owned {
        let addresses = self.addresses.iter().filter_map(|text| text.parse::<Prefix>().ok());
        Owned { addresses: addresses.collect(), is_up: self.is_up, was_up: false }
    }
}

/// A slot that is ours until this is dropped.
#[derive(Debug)]
pub struct Claim {
    /// Which.
    pub slot: Slot,
    path: PathBuf,
    /// Locked; the lock goes with the descriptor.
    _lock: File,
    /// Has the slot's name in the network namespace.
    _name: Name,
}

/// A slot whose lock is ours, but not yet its name.
struct Unnamed {
    path: PathBuf,
    lock: File,
    record: Record,
}

/// What a slot is good for, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// It was used for this interface.
    Own,
    /// Nobody has used it.
    Fresh,
    /// It was used for another interface, whose program has ended without cleaning up.
    Stale,
    /// The same, in another namespace.
    Foreign,
}

impl Claim {
    /// Takes the slot of `interface`'s former program, else one that is free, else one that was left
    /// behind; with the record of what is to be undone there.
    ///
    /// # Errors
    /// When the folder cannot be made, or all slots are in use.
    pub fn take(folder: &Path, namespace: u64, interface: &str) -> io::Result<(Self, Record)> {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        // Who looks around holds locks that it will not keep: one at a time, lest two that start
        // together each take the other's for slots in use.
        let _alone = lock(&folder.join("network.lock"), FlockOperation::LockExclusive)?;
        let mut free: Vec<(Use, Slot, Unnamed)> = Vec::new();
        for slot in Slot::all() {
            let path = folder.join(format!("network-{}.json", slot.number()));
            let lock = path.with_extension("lock");
            let Some(lock) = self::lock(&lock, FlockOperation::NonBlockingLockExclusive)? else {
                continue;
            };
            let record = read(&path);
            let purpose = match &record {
                None => Use::Fresh,
                Some(record) if record.namespace != namespace => Use::Foreign,
                Some(record) if record.interface != interface => Use::Stale,
                Some(_) => Use::Own,
            };
            free.push((purpose, slot, Unnamed { path, lock, record: record.unwrap_or_default() }));
        }
        free.sort_by_key(|(purpose, slot, _)| (*purpose, *slot));
        // Names only now, and only the one that is kept: of another folder's programs none waits for us.
        for (purpose, slot, Unnamed { path, lock, record }) in free {
            let Some(name) = Name::take(slot)? else { continue };
            // Of another namespace nothing can be undone from here.
            let record = if purpose == Use::Foreign { Record::default() } else { record };
            return Ok((Self { slot, path, _lock: lock, _name: name }, record));
        }
        Err(io::Error::other(format!("all {} slots are in use", super::numbers::SLOTS)))
    }

    /// Writes down what has to be known after a crash; replaces what was written before.
    ///
    /// # Errors
    /// When the disk is full or the folder is gone.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        file.sync_data()?;
        fs::rename(&new, &self.path)
    }

    /// Everything is undone.
    ///
    /// # Errors
    /// When the record cannot be removed.
    pub fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A name in the network namespace, which goes with its holder. Nobody is ever answered there.
#[derive(Debug)]
struct Name {
    /// None when somebody without our rights is in the way, who is no program of this kind.
    _socket: Option<Socket>,
}

impl Name {
    /// `None` when a program like this has it.
    fn take(slot: Slot) -> io::Result<Option<Self>> {
        // Abstract: it begins with a byte 0, is no file, and belongs to the network namespace (unix(7)).
        let address = SockAddr::unix(format!("\0mlvpn-network-{}", slot.number()))?;
        for _ in 0..NAME_TRIES {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            match socket.bind(&address) {
                Ok(()) => {
                    socket.listen(1)?;
                    return Ok(Some(Self { _socket: Some(socket) }));
                }
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Err(error),
                Err(_) => {}
            }
            match is_held_by_an_equal(&address)? {
                Some(true) => return Ok(None),
                Some(false) => break,
                None => std::thread::sleep(NAME_PAUSE),
            }
        }
        Ok(Some(Self { _socket: None }))
    }
}

/// How often a name is asked for whose holder does not answer: it has ended in between, or is just
/// about to listen.
const NAME_TRIES: u32 = 20;
const NAME_PAUSE: Duration = Duration::from_millis(5);

/// Whether root or our own user has this name; `None` when nobody listens there. Anybody can take it,
/// but not in their name.
fn is_held_by_an_equal(address: &SockAddr) -> io::Result<Option<bool>> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Ok(()) => {
            let holder = rustix::net::sockopt::socket_peercred(&probe)?.uid;
            Ok(Some(holder.is_root() || holder == rustix::process::geteuid()))
        }
        // Its queue is full of others who have asked.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(true)),
        Err(_) => Ok(None),
    }
}

/// `None` when somebody else holds the lock and `operation` is not to wait for it.
fn lock(path: &Path, operation: FlockOperation) -> io::Result<Option<File>> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
    loop {
        match flock(&file, operation) {
            Ok(()) => return Ok(Some(file)),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// `None` when there is none that can be read.
fn read(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests;
