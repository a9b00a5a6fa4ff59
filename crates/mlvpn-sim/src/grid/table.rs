//! Rows as text.

use core::time::Duration;

use super::{Cell, Row};

/// The heading of [`row_text`], as a table of Markdown.
pub const HEADER: &str = "\
| cell                            | share | start | settled |  p95 |  p99 | lost, ppm | out of order | silence | resent |
|---------------------------------|------:|------:|--------:|-----:|-----:|----------:|-------------:|--------:|-------:|";

/// The row of `cell`, for people and for comparison.
#[must_use]
pub fn row_text(cell: &Cell, row: &Row) -> String {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let share = row.share.map_or("-".to_owned(), |share| format!("{:.1}%", 100.0 * share));
    let bonded = &row.bonded;
    format!(
        "| {:<31} | {share:>5} | {:>5.2} | {:>7.2} | {:>4.1} | {:>4.1} | {:>9.0} | {:>12} | {:>7.0} | {:>6} |",
        cell.name,
        row.start_ratio,
        row.settled_ratio,
        ms(bonded.sparse[0]),
        ms(bonded.sparse[1]),
        bonded.residual_ppm,
        bonded.reordered,
        ms(bonded.silence),
        format!("{:.2}%", 100.0 * bonded.resent),
    )
}
