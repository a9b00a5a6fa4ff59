//! Being told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use mlvpn_io::clock::Clock;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(5);

/// Whether a signal said to stop. Every wait asks, so that the way out is the ordinary one: the lab is
/// dropped, and with it all that was made.
#[derive(Debug, Clone)]
pub struct Interrupt {
    is_raised: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes over the signals that would end the program: SIGINT, SIGTERM and SIGHUP.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn watch() -> Result<Self> {
        let is_raised = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&is_raised))?;
        }
        Ok(Self { is_raised })
    }

    /// Whether it is time to stop.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.is_raised.load(Ordering::Relaxed)
    }

    /// Goes on only while no signal said to stop.
    ///
    /// # Errors
    /// When it is time to stop.
    pub fn check(&self) -> Result<()> {
        if self.is_raised() {
            bail!("stopped by a signal; nothing is left behind");
        }
        Ok(())
    }

    /// Waits until `is_done`, or for `limit`; true in the first case.
    ///
    /// # Errors
    /// When it is time to stop, or `is_done` fails.
    pub fn wait(&self, limit: Duration, mut is_done: impl FnMut() -> Result<bool>) -> Result<bool> {
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
