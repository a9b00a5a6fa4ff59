//! The fence around files: landlock.

use std::io;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, LandlockStatus, NetPort, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::Sandbox;

/// Up to where the accesses that are forbidden were looked at, so that a newer kernel forbids no more.
const KNOWN: ABI = ABI::V7;

/// Restricts the calling thread. Returns the version of landlock's interface that is in use.
pub(super) fn restrict(sandbox: &Sandbox) -> io::Result<u8> {
    let status = apply(sandbox).map_err(io::Error::other)?;
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. }
            if status.ruleset != RulesetStatus::NotEnforced =>
        {
            Ok((effective_abi.min(KNOWN)) as u8)
        }
        LandlockStatus::NotEnabled => {
            Err(io::Error::other("switched off in this kernel (lsm= on its command line)"))
        }
        LandlockStatus::NotImplemented => Err(io::Error::other("not in this kernel")),
        LandlockStatus::Available { .. } => Err(io::Error::other("not enforced")),
    }
}

fn apply(sandbox: &Sandbox) -> Result<landlock::RestrictionStatus, RulesetError> {
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let ports = sandbox.tcp_ports.iter();
    let ports = ports.map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp)));
    Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(&sandbox.readable, reading))?
        .add_rules(ports)?
        .restrict_self()
}
