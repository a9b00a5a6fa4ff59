//! Giving up root.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Uid, User};

/// A user to become, with its primary group.
#[derive(Clone, Debug)]
pub struct Identity {
    name: CString,
    uid: Uid,
    gid: Gid,
}

impl Identity {
    /// Looks a user up by name. Reads the user database: do it before a chroot.
    ///
    /// # Errors
    /// `NotFound` if there is no such user; `InvalidInput` for root, which is no identity to drop
    /// to.
    pub fn lookup(name: &str) -> io::Result<Self> {
        let user = User::from_name(name)?.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("there is no user {name}"))
        })?;
        if user.uid.is_root() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("user {name} is root, which gives nothing up"),
            ));
        }
        let name = CString::new(user.name)?;
        Ok(Self { name, uid: user.uid, gid: user.gid })
    }

    /// The numeric user.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// The numeric group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid.as_raw()
    }

    /// Makes the whole process this user for good, with its primary and supplementary groups, and
    /// checks that there is no way back.
    ///
    /// # Errors
    /// If a step failed, or did not have its effect: the process must not go on then.
    pub fn assume(&self) -> io::Result<()> {
        #[cfg(not(target_os = "macos"))]
        nix::unistd::initgroups(&self.name, self.gid)?;
        #[cfg(not(target_os = "macos"))]
        {
            nix::unistd::setresgid(self.gid, self.gid, self.gid)?;
            nix::unistd::setresuid(self.uid, self.uid, self.uid)?;
        }
        #[cfg(target_os = "macos")]
        {
            nix::unistd::setgid(self.gid)?;
            nix::unistd::setuid(self.uid)?;
        }
        self.verify()
    }

    fn verify(&self) -> io::Result<()> {
        use nix::unistd::{getegid, geteuid, getgid, getuid};
        let is_this =
            [getuid(), geteuid()] == [self.uid; 2] && [getgid(), getegid()] == [self.gid; 2];
        // Succeeds only if root was kept somewhere, and then is a reason to stop.
        let is_final = nix::unistd::setuid(Uid::from_raw(0)).is_err();
        if is_this && is_final {
            Ok(())
        } else {
            Err(io::Error::other("the system did not give root up"))
        }
    }
}

/// Looks a user up and becomes it, see [`Identity`].
///
/// # Errors
/// Those of [`Identity::lookup`] and [`Identity::assume`].
pub fn drop_to_user(name: &str) -> io::Result<()> {
    Identity::lookup(name)?.assume()
}

/// Programs started from now on get no privileges from set-user-ID bits or file capabilities, in
/// this thread and those that it starts. Linux only; elsewhere nothing happens.
///
/// # Errors
/// None on Linux 3.5 and later.
pub fn set_no_new_privs() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

/// Keeps the memory of this process, with the keys in it, from debuggers of the same user and out of core
/// dumps. A change of user or program undoes it. Linux only; elsewhere nothing happens.
///
/// # Errors
/// None on Linux.
pub fn hide_memory() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Ends this process (SIGTERM) when the thread that started it ends. To be called again after a
/// change of user, which clears it. Linux only; elsewhere nothing happens.
///
/// # Errors
/// `NotConnected` if the parent, whose process is `parent`, has ended already.
pub fn end_with_parent(parent: u32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, getppid, set_parent_process_death_signal};
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // In a container the parent may be outside and has no number.
        let current = getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32);
        if current != parent {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "the parent process has ended",
            ));
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent;
    Ok(())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    const IS_CHILD: &str = "MLVPN_IO_PRIVILEGES_CHILD";

    /// Runs a test of this module again in a process of its own.
    fn in_child(test: &str, child: impl FnOnce()) {
        if std::env::var_os(IS_CHILD).is_some() {
            return child();
        }
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("privileges::tests::{test}"), "--nocapture"])
            .env(IS_CHILD, std::process::id().to_string())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
    }

    fn status(key: &str) -> String {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line[key.len()..].split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn root_is_given_up_for_good() {
        in_child("root_is_given_up_for_good", || {
            assert!(Uid::effective().is_root(), "this test needs root");
            let nobody = Identity::lookup("nobody").unwrap();
            let other_thread = std::thread::spawn(|| {
                while Uid::effective().is_root() {
                    std::thread::yield_now();
                }
            });
            nobody.assume().unwrap();
            other_thread.join().unwrap();
            let (uid, gid) = (nobody.uid(), nobody.gid());
            assert_eq!(status("Uid:"), format!("{uid} {uid} {uid} {uid}"));
            assert_eq!(status("Gid:"), format!("{gid} {gid} {gid} {gid}"));
            assert!(!status("Groups:").split(' ').any(|group| group == "0"));
            assert_eq!(status("CapEff:"), "0000000000000000");
            assert!(nobody.assume().is_err(), "initgroups needs root");
        });
    }

    #[test]
    fn only_real_users_but_root_can_be_assumed() {
        assert_eq!(Identity::lookup("no such user").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(Identity::lookup("root").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn new_privileges_are_refused_from_then_on() {
        let set = std::thread::spawn(|| {
            set_no_new_privs().unwrap();
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"));
        });
        set.join().unwrap();
    }

    #[test]
    fn hidden_memory_belongs_to_root() {
        in_child("hidden_memory_belongs_to_root", || {
            assert!(Uid::effective().is_root(), "this test needs root");
            drop_to_user("nobody").unwrap();
            std::thread::spawn(|| hide_memory().unwrap()).join().unwrap();
            let denied = std::fs::File::open("/proc/self/environ").map(drop);
            assert_eq!(denied.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        });
    }

    #[test]
    fn a_child_notices_a_parent_that_is_not_its_own() {
        in_child("a_child_notices_a_parent_that_is_not_its_own", || {
            let parent: u32 = std::env::var(IS_CHILD).unwrap().parse().unwrap();
            end_with_parent(parent).unwrap();
            let signal = rustix::process::parent_process_death_signal().unwrap();
            assert_eq!(signal, Some(rustix::process::Signal::TERM));
            assert_eq!(end_with_parent(1).unwrap_err().kind(), io::ErrorKind::NotConnected);
        });
    }
}
