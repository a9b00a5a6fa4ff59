//! What starting needs: rights, a user to give them up to, and the tunnel interface.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, bail};
use caps::Capability;
use mlvpn_io::privileges;
use mlvpn_io::tun::{Kind, Tun, TunOptions};

use super::super::capabilities;
use crate::cli::RunArgs;
use crate::config::{Config, InterfaceKind};

/// How often an interface that somebody holds is tried again, and after what time each.
const BUSY_TRIES: u32 = 20;
const BUSY_WAIT: Duration = Duration::from_millis(150);

/// Says what is missing before anything fails half way.
pub(super) fn check_rights(args: &RunArgs) -> anyhow::Result<()> {
    let is_root = nix::unistd::geteuid().is_root();
    let can_administer = caps::has_cap(None, caps::CapSet::Effective, Capability::CAP_NET_ADMIN);
    if !can_administer.unwrap_or(is_root) {
        bail!(
            "the right to administer the network is missing (CAP_NET_ADMIN), which opening the \
             tunnel interface needs; start mlvpn as root"
        );
    }
    if !is_root || args.run_as_root {
        return Ok(());
    }
    let user = worker_user(args).unwrap_or_default();
    match nix::unistd::User::from_name(&user) {
        Ok(Some(found)) if !found.uid.is_root() => Ok(()),
        Ok(Some(_)) => bail!("--user {user} is root; choose another, or --yes-run-as-root"),
        Ok(None) => bail!(
            "there is no user {user} to run the worker as; create it \
             (useradd --system --no-create-home --shell /usr/sbin/nologin {user}), \
             name another one with --user, or run it as root with --yes-run-as-root"
        ),
        Err(error) => bail!("cannot look up user {user}: {error}"),
    }
}

/// What is needed after the start when there is no status command: the network, sockets with low ports
/// and bound to devices, files whatever their owner, and a worker that becomes another user, without
/// rights, and may have to be killed where no service manager does that.
const KEPT: [Capability; 8] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_KILL,
];

/// Gives up the rights that are of no use from now on, in this thread and those that it starts.
///
/// # Errors
/// What the kernel says.
pub(super) fn give_up_rest() -> anyhow::Result<()> {
    capabilities::keep_possible(&KEPT);
    capabilities::keep_only(&KEPT).context("cannot give up capabilities")?;
    privileges::set_no_new_privs().context("cannot forbid new privileges")
}

/// What is known about the end of the worker.
pub(super) fn cause(status: std::process::ExitStatus) -> &'static str {
    use std::os::unix::process::ExitStatusExt as _;
    if status.signal() == Some(nix::sys::signal::Signal::SIGSYS as i32) {
        "it made a system call that its sandbox forbids: an attack, or a bug worth a report; the kernel's \
         log (`dmesg`, `journalctl -k`) has the number of the call"
    } else {
        "the log says why"
    }
}

/// The user of the worker; none when it keeps the rights that it has.
pub(super) fn worker_user(args: &RunArgs) -> Option<String> {
    let drops = nix::unistd::geteuid().is_root() && !args.run_as_root;
    drops.then(|| args.user.clone().unwrap_or_else(|| "mlvpn".to_owned()))
}

/// Opens the tunnel interface. A predecessor that is still saying goodbye may hold it for a moment.
pub(super) fn open_tun(config: &Config) -> anyhow::Result<Tun> {
    let interface = &config.general.interface;
    let kind = match interface.kind {
        InterfaceKind::Tun => Kind::Tun,
        InterfaceKind::Tap => Kind::Tap,
    };
    let options = TunOptions { name: Some(interface.name.clone()), kind, ..TunOptions::default() };
    let mut opened = Tun::open(&options);
    for _ in 0..BUSY_TRIES {
        match &opened {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(BUSY_WAIT);
                opened = Tun::open(&options);
            }
            _ => break,
        }
    }
    opened.with_context(|| {
        let hint = if std::path::Path::new("/dev/net/tun").exists() {
            "is another program using it?"
        } else {
            "there is no /dev/net/tun; run: modprobe tun"
        };
        format!("cannot open the interface {} ({hint})", interface.name)
    })
}
