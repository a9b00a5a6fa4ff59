//! What CI runs, runnable by anyone: `cargo xtask ci`, `cargo xtask tidy`, `cargo xtask deb`.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod bench;
mod ci;
mod deb;
mod fuzz;
mod nightly;
mod run;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND
  ci                     format, lints, documentation, tidy, licences, all tests
  tidy                   the rules that no other tool checks
  fuzz [TARGET [SECS]]   fuzzes one target, or all, for SECS (60) each; needs cargo-fuzz
  nightly [SECS]         the same tests with many more seeds and inputs, all of the grid, and the fuzzer
                         for SECS (300) on each target; takes hours, and needs cargo-fuzz
  deb [check]            makes the Debian package; or checks it, and the unit for systemd, as root
  bench tunnel [OPTION]  throughput beside other tunnels; needs root and Linux; --help tells more
  bench bond [OPTION]    what bonding makes of emulated links; the same
  bench flood [OPTION]   a session beside a flood of handshakes; the same";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["ci"] => ci::run(&root()),
        ["tidy"] => tidy::run(&root()),
        ["fuzz", ref rest @ ..] if rest.len() <= 2 => fuzz::run(&root(), rest),
        ["nightly", ref rest @ ..] if rest.len() <= 1 => nightly::run(&root(), rest),
        ["deb", ref rest @ ..] => deb::run(&root(), rest),
        #[cfg(target_os = "linux")]
        ["bench", ref rest @ ..] => bench::run(&root(), rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = outcome {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The workspace's folder.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("xtask lies in the workspace").to_owned()
}
