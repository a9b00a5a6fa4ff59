//! What bonding reaches over many links, as a table: `cargo run --release -p mlvpn-sim --example grid`.
//!
//! ```text
//! grid [--checked] [--update] [--worst] [--seeds=N] [WORD...]
//!
//! --checked   only the cells whose rows are kept
//! --update    the same, and writes their rows to tests/grid.txt
//! --worst     sorts by the ratio to the best link alone, the lowest first
//! --seeds=N   each cell N times, with the seeds from 1; one row then has the means, and the lowest ratios
//! WORD        only cells with this word in their name; several with commas are alternatives:
//!             grid 2:1,5:1 +30ms 1% cubic-1
//! ```

use mlvpn_sim::grid::{
    Cell, HEADER, Row, SEEDS_HEADER, all_cells, checked_cells, row_text, run_all, seeds_text,
};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grid.txt");

fn main() -> std::io::Result<()> {
    let (options, words): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let has = |option: &str| options.iter().any(|other| other == option);
    let seeds = options.iter().find_map(|option| option.strip_prefix("--seeds="));
    let seeds: Option<u64> = seeds.map(|seeds| seeds.parse().unwrap_or(0));
    let known = ["--checked", "--update", "--worst"];
    let is_known =
        |option: &String| known.contains(&option.as_str()) || option.starts_with("--seeds=");
    let is_wrong = !options.iter().all(is_known)
        || (has("--update") && !(words.is_empty() && seeds.is_none()))
        || seeds == Some(0);
    if is_wrong {
        eprintln!("usage: grid [--checked] [--worst] [--seeds=N] [WORD...], or grid --update");
        std::process::exit(2);
    }
    let cells = if has("--checked") || has("--update") { checked_cells() } else { all_cells() };
    let cells: Vec<Cell> = cells.into_iter().filter(|cell| cell.is_called(&words)).collect();
    if let Some(seeds) = seeds {
        run_seeds(&cells, seeds);
        return Ok(());
    }
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

/// Prints what each cell comes to with each of so many seeds.
fn run_seeds(cells: &[Cell], seeds: u64) {
    println!("{SEEDS_HEADER}");
    for cell in cells {
        let seeded: Vec<Cell> = (1..=seeds).map(|seed| Cell { seed, ..cell.clone() }).collect();
        println!("{}", seeds_text(cell, &run_all(&seeded, |_, _| {})));
    }
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
