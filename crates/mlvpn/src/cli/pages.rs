//! What is generated from the command line's definition: shell completions and manual pages.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;

/// Prints the completion script of `shell`.
pub(super) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "mlvpn", &mut script);
    print(&script)
}

/// Prints the manual page of the program.
pub(super) fn print_man_page() -> anyhow::Result<()> {
    let mut page = Vec::new();
    Man::new(Cli::command()).render(&mut page).expect("writing to a Vec cannot fail");
    print(&page)
}

/// Writes `mlvpn.1` and a page per subcommand to `dir`, which is made if need be.
pub(super) fn write_man_pages(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .with_context(|| format!("cannot write to {}", dir.display()))
}

/// Writes to standard output; a reader that has seen enough is no error.
pub(super) fn print(bytes: &[u8]) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}
