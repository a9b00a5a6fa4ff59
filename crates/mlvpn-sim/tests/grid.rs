//! What bonding makes of links is as it was when it was looked at last, and never worse than is known.
//!
//! `cargo run --release -p mlvpn-sim --example grid -- --update` writes the rows anew, and prints what is to
//! be put into the table of exceptions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use mlvpn_sim::grid::{Cell, HEADER, Row, checked_cells, row_text, run_all};

const KEPT: &str = include_str!("grid.txt");
/// The least ratio to the best link alone, within the noise.
const RATIO: f64 = 0.98;

/// Cells that do not keep what is promised: the least ratio to the best link alone, and the most packets that
/// came out of order. To be worked down: a cell that does better must be raised or taken out.
const EXCEPTIONS: &[(&str, f64, u64)] = &[
    ("2:1 +0ms 1% cubic-1", 0.98, 1),
    ("5:1 +0ms 1% cubic-1", 0.98, 1),
    ("10:1 +0ms 1% cubic-1", 0.98, 1),
    ("2:1 +30ms 1% calls", 0.98, 5),
    ("article up cubic-1", 0.98, 1),
    ("dsl+lte+starlink down bbr-1", 0.98, 1),
    ("five down cubic-1", 0.98, 36),
    ("handovers down cubic-1", 0.98, 95),
];

static ROWS: LazyLock<Vec<(Cell, Row)>> = LazyLock::new(|| {
    let cells = checked_cells();
    let rows = run_all(&cells, |_, _| {});
    cells.into_iter().zip(rows).collect()
});

/// By the name of the cell.
fn by_name(table: &str) -> BTreeMap<&str, &str> {
    let rows = table.lines().filter(|line| !HEADER.contains(line));
    rows.map(|row| (row.split('|').nth(1).unwrap_or("").trim(), row)).collect()
}

/// The rows that differ, old above new.
fn differences(old: &str, new: &str) -> String {
    let (old, new) = (by_name(old), by_name(new));
    let mut text = String::new();
    for (name, row) in &old {
        if new.get(name) != Some(row) {
            let _ = writeln!(text, "- {row}");
            let _ = new.get(name).map(|row| writeln!(text, "+ {row}"));
        }
    }
    for (_, row) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        let _ = writeln!(text, "+ {row}");
    }
    text
}

#[test]
fn rows_are_those_that_are_kept() {
    let rows = ROWS.iter().map(|(cell, row)| row_text(cell, row) + "\n");
    let table = format!("{HEADER}\n{}", rows.collect::<String>());
    let differences = differences(KEPT, &table);
    assert!(
        differences.is_empty() && KEPT == table,
        "kept in tests/grid.txt (-) and found (+):\n  {}\n{differences}\nIf that is meant:\n    \
         cargo run --release -p mlvpn-sim --example grid -- --update",
        HEADER.lines().next().unwrap_or_default()
    );
}

#[test]
fn no_cell_is_worse_than_its_best_link_or_than_is_known() {
    let mut wrong = Vec::new();
    for (cell, row) in ROWS.iter() {
        let exception = EXCEPTIONS.iter().find(|(name, ..)| *name == cell.name);
        let &(_, ratio, reordered) = exception.unwrap_or(&("", RATIO, 0));
        let (found, out_of_order) = (row.ratio(), row.bonded.reordered);
        if found < ratio || out_of_order > reordered {
            wrong.push(format!("{}: {found:.3}, {out_of_order} out of order", cell.name));
        }
        if exception.is_some() && found >= RATIO && out_of_order == 0 {
            wrong.push(format!("{} is no exception any more", cell.name));
        }
    }
    let is_known = |name: &str| ROWS.iter().any(|(cell, _)| cell.name == name);
    wrong.extend(
        EXCEPTIONS
            .iter()
            .filter(|(name, ..)| !is_known(name))
            .map(|(name, ..)| format!("there is no cell {name}")),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}
