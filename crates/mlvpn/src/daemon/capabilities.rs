//! Giving up single rights of root.

use caps::errors::CapsError;
use caps::{CapSet, Capability};
use tracing::debug;

/// Gives up for good, in the calling thread, what is not in `kept`. What is not there is not gained.
///
/// # Errors
/// What the kernel says; without rights that could be given up it has no objections.
pub(super) fn keep_only(kept: &[Capability]) -> Result<(), CapsError> {
    let kept: std::collections::HashSet<_> = kept.iter().copied().collect();
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set)?;
    }
    let permitted = caps::read(None, CapSet::Permitted)?;
    let left = permitted.intersection(&kept).copied().collect();
    caps::set(None, CapSet::Effective, &left)?;
    caps::set(None, CapSet::Permitted, &left)
}

/// Keeps programs that are started from having what is not in `kept`, root's among them. Without the right to
/// do so (`CAP_SETPCAP`) there are no rights of root either, and nothing happens.
pub(super) fn keep_possible(kept: &[Capability]) {
    let bounding = caps::read(None, CapSet::Bounding).unwrap_or_default();
    for capability in bounding.into_iter().filter(|capability| !kept.contains(capability)) {
        if let Err(error) = caps::drop(None, CapSet::Bounding, capability) {
            debug!(%capability, %error, "not taken out of the bounding set");
            return;
        }
    }
}
