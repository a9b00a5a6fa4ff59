//! Network namespaces: separate network stacks on one machine.
//!
//! A [`NetNs`] is anonymous: it lives as long as a handle, a thread, a process or a socket in it, and
//! then the kernel removes it with all its interfaces. Nothing is mounted under `/run/netns`.
//!
//! `/proc/sys/net` and `/proc/net` show the namespace of the thread that opens them. `/sys/class/net`
//! does not: a mount of sysfs shows the namespace in which it was mounted, so that in a thread or
//! program of another namespace it still lists the old interfaces. Interfaces and their counters are
//! therefore read by netlink here; a program that insists on sysfs has to mount its own.

mod user;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, setns, unshare};

use crate::netlink::{Netlink, NetlinkError};

pub use user::{UserNamespaceError, is_in_user_namespace, reexec_in_user_namespace};

/// A handle to a network namespace, which keeps it alive.
#[derive(Debug, Clone)]
pub struct NetNs {
    file: Arc<File>,
}

/// What can go wrong with a network namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetNsError {
    /// The kernel would not make one.
    #[error("cannot create a network namespace: {source}{}", privilege_hint(.source))]
    Create {
        /// The kernel's answer.
        source: io::Error,
    },
    /// A thread could not be started in it.
    #[error("cannot enter a network namespace: {source}{}", privilege_hint(.source))]
    Enter {
        /// The kernel's answer.
        source: io::Error,
    },
    /// A setting could not be read or written.
    #[error("cannot set {key}: {source}")]
    Sysctl {
        /// The setting's path below `/proc/sys`.
        key: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A request to its network stack failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl NetNs {
    /// Makes a namespace that has only a loopback interface, which is up.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`; see [`reexec_in_user_namespace`] for a way to get it.
    pub fn new() -> Result<Self, NetNsError> {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        };
        let file = thread::scope(|scope| {
            let scratch = thread::Builder::new().name("new-netns".to_owned());
            scratch.spawn_scoped(scope, make).and_then(|t| t.join().expect("the thread returns"))
        })
        .map_err(|source| NetNsError::Create { source })?;
        let namespace = Self { file: Arc::new(file) };
        let mut netlink = namespace.netlink()?;
        let loopback = netlink.link_by_name("lo")?;
        netlink.set_link_up(loopback.index, true)?;
        Ok(namespace)
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn current() -> Result<Self, NetNsError> {
        let file = File::open("/proc/thread-self/ns/net")
            .map_err(|source| NetNsError::Enter { source })?;
        Ok(Self { file: Arc::new(file) })
    }

    /// The kernel's number for the namespace: the same for all handles to it, another for any other
    /// that exists at the same time.
    ///
    /// # Errors
    /// When the handle cannot be examined.
    pub fn id(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.ino())
    }

    /// Runs `work` on a fresh thread inside the namespace and waits for what it returns; a panic of
    /// `work` goes on in the caller.
    ///
    /// Sockets and tun devices that `work` opens belong to the namespace for good and may be used
    /// from any thread.
    ///
    /// # Errors
    /// When the thread cannot be started or may not enter.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetNsError> {
        let enter_and_work = || self.enter().map(|()| work());
        let result = thread::scope(|scope| {
            let thread = thread::Builder::new().name("in-netns".to_owned());
            thread.spawn_scoped(scope, enter_and_work).map(thread::ScopedJoinHandle::join)
        });
        match result {
            Ok(Ok(outcome)) => outcome.map_err(|source| NetNsError::Enter { source }),
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(source) => Err(NetNsError::Enter { source }),
        }
    }

    /// Starts `work` on a fresh thread that is inside the namespace before this returns.
    ///
    /// # Errors
    /// When the thread cannot be started or may not enter.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, NetNsError> {
        let namespace = self.clone();
        let (entered, when_entered) = mpsc::sync_channel(1);
        let body = move || {
            let outcome = namespace.enter();
            // Only a thread that works may keep the namespace alive by being in it.
            drop(namespace);
            let is_inside = outcome.is_ok();
            let _ = entered.send(outcome);
            is_inside.then(work).expect("nobody joins a thread that did not enter")
        };
        let enter = || -> io::Result<JoinHandle<T>> {
            let thread = thread::Builder::new().name(name.to_owned()).spawn(body)?;
            when_entered.recv().map_err(io::Error::other)??;
            Ok(thread)
        };
        enter().map_err(|source| NetNsError::Enter { source })
    }

    /// A command whose program will run inside the namespace.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let namespace = self.clone();
        // SAFETY: between fork and exec the closure makes one system call, `setns`, on a descriptor
        // that it owns; it neither allocates nor locks.
        unsafe {
            command.pre_exec(move || namespace.enter());
        }
        command
    }

    /// A routing socket of the namespace, usable from any thread.
    ///
    /// # Errors
    /// When the namespace may not be entered.
    pub fn netlink(&self) -> Result<Netlink, NetNsError> {
        Ok(self.run(Netlink::open)??)
    }

    /// Writes a setting of the namespace; `key` is its path below `/proc/sys`, such as
    /// `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// When the namespace has no such setting or refuses the value.
    pub fn set_sysctl(&self, key: &str, value: &str) -> Result<(), NetNsError> {
        let path = format!("/proc/sys/{key}");
        self.run(|| std::fs::write(path, value))?
            .map_err(|source| NetNsError::Sysctl { key: key.to_owned(), source })
    }

    /// Reads a setting of the namespace, without the newline at its end.
    ///
    /// # Errors
    /// When the namespace has no such setting.
    pub fn sysctl(&self, key: &str) -> Result<String, NetNsError> {
        let path = format!("/proc/sys/{key}");
        let value = self
            .run(|| std::fs::read_to_string(path))?
            .map_err(|source| NetNsError::Sysctl { key: key.to_owned(), source })?;
        Ok(value.trim_end().to_owned())
    }

    /// Moves the calling thread into the namespace, for good.
    fn enter(&self) -> io::Result<()> {
        Ok(setns(&self.file, CloneFlags::CLONE_NEWNET)?)
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for NetNs {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.file.as_raw_fd()
    }
}

fn privilege_hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM) => " (this needs root, or CAP_SYS_ADMIN in a user namespace)",
        Some(libc::ENOSPC) => " (raise the sysctl user.max_net_namespaces)",
        Some(libc::EINVAL) => " (this kernel is built without CONFIG_NET_NS)",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
