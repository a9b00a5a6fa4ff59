//! What bonding makes of many links and loads: one row per cell, of which snapshots are kept.
//!
//! A [`Cell`] is some links, what happens to them, and a load. It is run once over all links and once over
//! each link alone, through the same tunnel. Everything follows from the seed of the cell, so that a table is
//! the same whenever and wherever it is computed.

mod cell;
mod load;
mod outcome;
mod table;

pub use cell::{Cell, Line, Weather, all_cells, checked_cells};
pub use load::Load;
pub use outcome::{Outcome, Row, Running};
pub use table::{HEADER, SEEDS_HEADER, row_text, seeds_text};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

/// The seed of the cells whose rows are kept, and of what happens to links in any cell.
pub const SEED: u64 = 1;

/// Outcomes over single links, which many cells share.
#[derive(Debug, Default)]
struct Singles {
    known: Mutex<BTreeMap<String, Arc<OnceLock<Outcome>>>>,
}

impl Singles {
    fn outcome(&self, cell: &Cell, line: &Line) -> Outcome {
        let alone = cell.over(line);
        let slot = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(alone.key()).or_default())
        };
        slot.get_or_init(|| outcome::run(&alone)).clone()
    }
}

/// Runs `cells` on all processors and returns their rows in the same order. `on_row` hears of each as it
/// is found.
///
/// # Panics
/// When a cell does: a link does not come up, or something was duplicated, altered or hoarded.
pub fn run_all(cells: &[Cell], on_row: impl Fn(&Cell, &Row) + Sync) -> Vec<Row> {
    let singles = Singles::default();
    let next = AtomicUsize::new(0);
    let rows: Vec<OnceLock<Row>> = cells.iter().map(|_| OnceLock::new()).collect();
    let work = || {
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            let (Some(cell), Some(slot)) = (cells.get(position), rows.get(position)) else { break };
            let bonded = outcome::run(cell);
            let alone: Vec<_> = cell.lines.iter().map(|line| singles.outcome(cell, line)).collect();
            let row = Row::new(cell, &bonded, &alone);
            on_row(cell, &row);
            slot.get_or_init(|| row);
        }
    };
    let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        (0..workers).for_each(|_| drop(scope.spawn(work)));
    });
    rows.into_iter().map(|row| row.into_inner().expect("a worker ran each cell")).collect()
}
