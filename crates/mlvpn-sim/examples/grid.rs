//! What bonding reaches over many links, as a table: `cargo run --release -p mlvpn-sim --example grid`.
//!
//! ```text
//! grid [--checked] [--update] [--worst] [WORD...]
//!
//! --checked   only the cells whose rows are kept
//! --update    the same, and writes their rows to tests/grid.txt
//! --worst     sorts by the ratio to the best link alone, the lowest first
//! WORD        only cells with this word in their name; several with commas are alternatives:
//!             grid 2:1,5:1 +30ms 1% cubic-1
//! ```

use mlvpn_sim::grid::{Cell, HEADER, Row, all_cells, checked_cells, row_text, run_all};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grid.txt");

fn main() -> std::io::Result<()> {
    let (options, words): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let has = |option: &str| options.iter().any(|other| other == option);
    let known = ["--checked", "--update", "--worst"];
    let is_wrong = options.iter().any(|option| !known.contains(&option.as_str()))
        || (has("--update") && !words.is_empty());
    if is_wrong {
        eprintln!("usage: grid [--checked] [--worst] [WORD...], or grid --update");
        std::process::exit(2);
    }
    let cells = if has("--checked") || has("--update") { checked_cells() } else { all_cells() };
    let cells: Vec<Cell> = cells.into_iter().filter(|cell| cell.is_called(&words)).collect();
    let rows = run_all(&cells, |cell, row| eprintln!("{}", row_text(cell, row)));
    let mut table: Vec<(&Cell, &Row)> = cells.iter().zip(&rows).collect();
    if has("--worst") {
        table.sort_by(|(_, one), (_, other)| one.ratio().total_cmp(&other.ratio()));
    }
    let lines = table.iter().map(|(cell, row)| row_text(cell, row) + "\n");
    let text = format!("{HEADER}\n{}", lines.collect::<String>());
    print!("{text}");
    if has("--update") {
        std::fs::write(SNAPSHOT, &text)?;
        print_exceptions(&table);
    }
    Ok(())
}

/// The cells that do not keep what is promised, as the table of exceptions in tests/grid.rs has them.
fn print_exceptions(table: &[(&Cell, &Row)]) {
    println!("\nexceptions for tests/grid.rs:");
    let has_fault = |row: &Row| row.ratio() < 0.98 || row.bonded.reordered > 0;
    for (cell, row) in table.iter().filter(|(_, row)| has_fault(row)) {
        let ratio = (row.ratio().min(0.98) * 100.0).floor() / 100.0;
        println!("    ({:?}, {ratio:.2}, {}),", cell.name, row.bonded.reordered);
    }
}
