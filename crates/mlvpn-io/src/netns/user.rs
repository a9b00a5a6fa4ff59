//! A user namespace, in which a user who is not root may make network namespaces.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// Set for the program that [`reexec_in_user_namespace`] starts.
const MARKER: &str = "MLVPN_USER_NAMESPACE";

/// Why the program cannot continue in a user namespace.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {source}{}", advice(.source))]
pub struct UserNamespaceError {
    /// What was being done.
    step: &'static str,
    /// The kernel's answer.
    source: io::Error,
}

/// Whether this process was started by [`reexec_in_user_namespace`].
#[must_use]
pub fn is_in_user_namespace() -> bool {
    std::env::var_os(MARKER).is_some()
}

/// Starts this program again, in place of this process and with the same arguments, as root of a new
/// user namespace with a new network and mount namespace. Returns only when that fails.
///
/// The process may have only one thread: call this first in `main`. When it has failed, the process
/// may be left in a user namespace without an identity and should exit.
///
/// Files keep their permissions: `/dev/net/tun` must be open to the user, as it is on most systems.
///
/// # Errors
/// When the kernel or the system's policy forbids it, or the process is already in one; the text says
/// which setting to change.
pub fn reexec_in_user_namespace() -> Result<Infallible, UserNamespaceError> {
    let failed = |step| move |source| UserNamespaceError { step, source };
    if is_in_user_namespace() {
        let source = io::Error::from_raw_os_error(libc::EPERM);
        return Err(failed("use the user namespace that was made")(source));
    }
    // Afterwards the ids would read as "nobody".
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|e| failed("create a user namespace")(io::Error::from(e)))?;
    // user_namespaces(7): without setgroups denied, an ordinary user may not map a group.
    fs::write("/proc/self/setgroups", "deny")
        .and_then(|()| fs::write("/proc/self/uid_map", format!("0 {user} 1")))
        .and_then(|()| fs::write("/proc/self/gid_map", format!("0 {group} 1")))
        .map_err(failed("become root of a user namespace"))?;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .map_err(|e| failed("create namespaces as root of a user namespace")(io::Error::from(e)))?;

    let mut arguments = std::env::args_os();
    let mut program = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    let source = program.args(arguments).env(MARKER, "1").exec();
    Err(failed("start the program again in a user namespace")(source))
}

/// What the user can do about `source`, from what the system says about itself.
fn advice(source: &io::Error) -> String {
    let setting = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let mut remedies = Vec::new();
    if source.raw_os_error() == Some(libc::EINVAL) {
        remedies.push("the process must have a single thread here".to_owned());
    }
    for (key, forbidding, allowing) in [
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
        ("user.max_user_namespaces", "0", "10000"),
    ] {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        if setting(&path).as_deref() == Some(forbidding) {
            remedies.push(format!("set the sysctl {key} to {allowing} (it is {forbidding})"));
        }
    }
    remedies.push("or run as root".to_owned());
    format!(" ({})", remedies.join(", "))
}
