//! Waiting without a clock that a busy machine could make wrong.

use std::time::Duration;

use mlvpn_io::clock::Clock;

/// Long enough for any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `condition` holds.
///
/// # Panics
/// When that takes longer than [`PATIENCE`].
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = Clock::new();
    let start = clock.now_us();
    while !condition() {
        let waited = Duration::from_micros(clock.now_us() - start);
        assert!(waited < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(LOOK);
    }
}
