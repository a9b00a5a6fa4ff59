//! The sign of life for the service manager's watchdog.

use std::time::Duration;

use tokio::time::Instant;

/// When the privileged process is to be told that the worker lives. It is asked whenever the data
/// thread's numbers have come: a data thread that hangs sends none, and a control thread that hangs does
/// not pass them on.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Option<Duration>,
    last: Option<Instant>,
}

impl Heartbeat {
    /// Beats once per `interval`, as near as it is asked; without one never.
    pub(super) fn new(interval: Option<Duration>) -> Self {
        Self { interval, last: None }
    }

    /// Whether it beats now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let Some(interval) = self.interval else { return false };
        let is_due = self.last.is_none_or(|last| now - last >= interval);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_beats_once_per_interval_and_not_unasked() {
        let start = Instant::now();
        let beats = |interval| {
            let mut heartbeat = Heartbeat::new(interval);
            let at = |n: u64| start + Duration::from_millis(500 * n);
            (0..8).filter(|n| heartbeat.is_due(at(*n))).collect::<Vec<_>>()
        };
        assert_eq!(beats(Some(Duration::from_millis(1_200))), [0, 3, 6]);
        assert_eq!(beats(None), [0; 0]);
    }
}
