//! What the worker gives up before it reads from the network.

use anyhow::Context as _;
use mlvpn_io::privileges;
use mlvpn_io::sandbox::{Fences, Sandbox};
use tracing::{info, warn};

use super::super::capabilities;

/// Becomes `user`, if there is one, without any capability or a way to gain some. This process must have one
/// thread only.
///
/// # Errors
/// When rights could not be given up.
pub(super) fn give_up_rights(user: Option<&str>) -> anyhow::Result<()> {
    capabilities::keep_possible(&[]);
    if let Some(user) = user {
        privileges::drop_to_user(user).with_context(|| format!("cannot become user {user}"))?;
    }
    capabilities::keep_only(&[]).context("cannot give up the capabilities")?;
    privileges::set_no_new_privs().context("cannot forbid new privileges")?;
    privileges::hide_memory().context("cannot keep others from reading the memory")
}

/// Puts up the fences of the kernel; the log tells of one that it lacks. This process must have one thread
/// only.
pub(super) fn confine() -> Fences {
    let fences = Sandbox::for_resolving_names().enter();
    for missing in &fences.missing {
        warn!("the worker is not confined by {missing}");
    }
    info!(landlock = fences.landlock_abi, seccomp = fences.has_seccomp, "the worker is confined");
    fences
}
