//! Rows as text.

use core::time::Duration;

use super::{Cell, Row};

/// The heading of [`row_text`], as a table of Markdown.
pub const HEADER: &str = "\
| cell                            | share | start | settled |  p95 |  p99 | lost, ppm | out of order | silence | resent |
|---------------------------------|------:|------:|--------:|-----:|-----:|----------:|-------------:|--------:|-------:|";

/// The heading of [`seeds_text`].
pub const SEEDS_HEADER: &str = "\
| cell                            | share | start | least | settled | least |  p95 |  p99 | out of order | silence | resent |
|---------------------------------|------:|------:|------:|--------:|------:|-----:|-----:|-------------:|--------:|-------:|";

/// What the runs of `cell` with several seeds came to: means, the lowest ratios, the longest silence.
#[must_use]
pub fn seeds_text(cell: &Cell, rows: &[Row]) -> String {
    let mean = |of: &dyn Fn(&Row) -> f64| rows.iter().map(of).sum::<f64>() / rows.len() as f64;
    let least = |of: fn(&Row) -> f64| rows.iter().map(of).fold(f64::INFINITY, f64::min);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    format!(
        "| {:<31} | {:>4.1}% | {:>5.2} | {:>5.2} | {:>7.2} | {:>5.2} | {:>4.1} | {:>4.1} | {:>12.0} | {:>7.0} | {:>5.2}% |",
        cell.name,
        100.0 * mean(&|row| row.share.unwrap_or(0.0)),
        mean(&|row| row.start_ratio),
        least(|row| row.start_ratio),
        mean(&|row| row.settled_ratio),
        least(|row| row.settled_ratio),
        mean(&|row| ms(row.bonded.sparse[0])),
        mean(&|row| ms(row.bonded.sparse[1])),
        mean(&|row| row.bonded.reordered as f64),
        rows.iter().map(|row| ms(row.bonded.silence)).fold(0.0, f64::max),
        100.0 * mean(&|row| row.bonded.resent),
    )
}

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
