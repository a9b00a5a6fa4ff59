//! What happens to the links while something is transferred.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use mlvpn_io::clock::Clock;
use mlvpn_lab::{Interrupt, Lab, LabLink};
use mlvpn_sim::link::Schedule;

use super::scenario::Link;

/// Does `work`, which takes `length`, while the links change as their weather says from now on. Afterwards they are as
/// they were.
///
/// # Errors
/// Those of the work; when a link cannot be changed, or a signal says to stop.
pub(super) fn under_weather<T>(
    lab: &Lab,
    links: &[Link],
    length: Duration,
    interrupt: &Interrupt,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let is_over = &AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        let change = |link: &Link| {
            let (schedule, link) = (link.line.schedule(length), lab.link(&link.name));
            scope.spawn(move || follow(schedule, link, interrupt, is_over))
        };
        let changing: Vec<_> = links.iter().map(change).collect();
        let outcome = work();
        is_over.store(true, Ordering::Relaxed);
        let changed = changing.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_| anyhow!("what changes a link has panicked"))?
        });
        outcome.and_then(|outcome| changed.map(|()| outcome))
    });
    links.iter().try_for_each(|link| lab.link(&link.name).set_spec(&link.line.link))?;
    outcome
}

fn follow(
    mut schedule: Schedule,
    link: &LabLink,
    interrupt: &Interrupt,
    is_over: &AtomicBool,
) -> Result<()> {
    let (clock, start) = (Clock::new(), Clock::new().now_us());
    while let Some(at) = schedule.next_at() {
        let left = at.saturating_sub(Duration::from_micros(clock.now_us() - start));
        if interrupt.wait(left, || Ok(is_over.load(Ordering::Relaxed)))? {
            return Ok(());
        }
        while let Some(change) = schedule.poll(at) {
            link.apply(&change)?;
        }
    }
    Ok(())
}
