//! What the service manager is told, if there is one that wants to know (sd_notify(3)).

use std::time::Duration;

use tracing::debug;

/// Longest line for the service manager, in characters.
const STATUS_CHARS: usize = 200;
/// Signs of life in the time after which it takes the program for dead.
const HEARTBEATS: u32 = 4;

/// How often it wants to see that the program lives; none: it does not watch.
pub(super) fn heartbeat() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / HEARTBEATS)
}

pub(super) fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "the service manager was not told");
    }
}

/// One line for the service manager, which takes every line for a statement of its own.
pub(super) fn status_line(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(STATUS_CHARS).map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_gets_one_short_line() {
        assert_eq!(status_line("up\nMAINPID=1\r\0"), "up MAINPID=1  ");
        assert_eq!(status_line(&"\u{e9}".repeat(300)), "\u{e9}".repeat(200));
    }
}
