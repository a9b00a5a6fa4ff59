//! What a process that reads from the network may still do. Linux only; elsewhere nothing happens.
//!
//! Two fences of the kernel, one behind the other: landlock says which files can be opened and which TCP
//! ports reached, seccomp which system calls can be made. Descriptors that are open, or come from
//! another process later, are as good as before.

use std::path::PathBuf;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod calls;
#[cfg(target_os = "linux")]
mod files;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

/// What is left allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// Files that can be read, and directories with everything below them. Nothing can be written or
    /// made. What does not exist is left out.
    pub readable: Vec<PathBuf>,
    /// TCP ports, of whatever host, that can be connected to. None can be listened on.
    pub tcp_ports: Vec<u16>,
}

/// Which fences are up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fences {
    /// The version of landlock's interface that is in use; none: the kernel has no landlock.
    pub landlock_abi: Option<u8>,
    /// Whether system calls are filtered.
    pub has_seccomp: bool,
    /// Why a fence is not up.
    pub missing: Vec<String>,
}

/// Where the resolver of the C library keeps its settings, its list of hosts and its modules.
const RESOLVER: [&str; 11] = [
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/nix/store",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/connman",
];
/// Answers that do not fit into a datagram are asked for over TCP (RFC 7766).
const DNS_PORT: u16 = 53;

impl Sandbox {
    /// What resolving names needs. Whole directories, as their files are replaced now and then.
    #[must_use]
    pub fn for_resolving_names() -> Self {
        let mut readable: Vec<_> = RESOLVER.iter().map(PathBuf::from).collect();
        // Where another program keeps it and has left a link.
        let target = std::fs::canonicalize("/etc/resolv.conf").ok();
        let folder = target.as_deref().and_then(std::path::Path::parent);
        readable.extend(folder.filter(|folder| folder.parent().is_some()).map(PathBuf::from));
        Self { readable, tcp_ports: vec![DNS_PORT] }
    }

    /// Puts the fences up around the calling thread and those that it starts, for good. To be called
    /// while there is no other thread.
    ///
    /// A fence that the kernel does not have is left out, which the result tells. A system call that
    /// the filter does not know fails as on a kernel that lacks it (`ENOSYS`), and one whose arguments
    /// ask for too much with `EPERM`. A call that is of use for nothing but taking the machine over,
    /// such as `execve` or `ptrace`, kills the process with `SIGSYS`.
    #[must_use]
    pub fn enter(&self) -> Fences {
        let mut fences = Fences::default();
        #[cfg(target_os = "linux")]
        match files::restrict(self) {
            Ok(abi) => fences.landlock_abi = Some(abi),
            Err(error) => fences.missing.push(format!("landlock: {error}")),
        }
        #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
        match calls::restrict() {
            Ok(()) => fences.has_seccomp = true,
            Err(error) => fences.missing.push(format!("seccomp: {error}")),
        }
        #[cfg(not(all(
            target_os = "linux",
            any(target_arch = "x86_64", target_arch = "aarch64")
        )))]
        fences.missing.push("seccomp: not for this kind of machine".to_owned());
        fences
    }
}
