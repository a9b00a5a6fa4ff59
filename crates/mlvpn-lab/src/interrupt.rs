//! Being told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use mlvpn_io::clock::Clock;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(5);

/// Whether a signal said to stop. Every wait of the demo asks, so that the way out is the ordinary
/// one: what was made is dropped.
#[derive(Debug, Clone)]
pub(super) struct Interrupt {
    is_raised: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes over the signals that would end the program.
    pub(super) fn watch() -> anyhow::Result<Self> {
        let is_raised = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&is_raised))?;
        }
        Ok(Self { is_raised })
    }

    pub(super) fn is_raised(&self) -> bool {
        self.is_raised.load(Ordering::Relaxed)
    }

    /// # Errors
    /// When it is time to stop.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.is_raised() {
            bail!("stopped by a signal; nothing is left behind");
        }
        Ok(())
    }

    /// Waits until `is_done`, or for `limit`; true in the first case.
    ///
    /// # Errors
    /// When it is time to stop, or `is_done` fails.
    pub(super) fn wait(
        &self,
        limit: Duration,
        mut is_done: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<bool> {
        let clock = Clock::new();
        let limit_us = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        let end = clock.now_us().saturating_add(limit_us);
        loop {
            self.check()?;
            if is_done()? {
                return Ok(true);
            }
            if clock.now_us() >= end {
                return Ok(false);
            }
            std::thread::sleep(LOOK);
        }
    }
}
