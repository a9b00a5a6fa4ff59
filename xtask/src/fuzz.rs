//! Runs the fuzz targets with cargo-fuzz, on the stable compiler.

use std::path::Path;
use std::{env, fs};

use anyhow::{Context as _, bail};

use crate::run::{cargo, has_subcommand, step};

const SECS: &str = "60";

pub(crate) fn run(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let secs = arguments.get(1).unwrap_or(&SECS);
    match arguments.first() {
        Some(target) => fuzz(root, &[(*target).to_owned()], secs),
        None => run_all(root, secs),
    }
}

/// Fuzzes all targets, each for `secs` seconds.
///
/// # Errors
/// When one fails, or cannot be run.
pub(crate) fn run_all(root: &Path, secs: &str) -> anyhow::Result<()> {
    fuzz(root, &targets(root)?, secs)
}

fn fuzz(root: &Path, targets: &[String], secs: &str) -> anyhow::Result<()> {
    if !has_subcommand(root, "fuzz") {
        bail!("cargo-fuzz is not installed: cargo install cargo-fuzz --locked");
    }
    secs.parse::<u32>().with_context(|| format!("`{secs}` is no number of seconds"))?;
    for target in targets {
        let limit = format!("-max_total_time={secs}");
        let arguments = ["fuzz", "run", target, "--", &limit, "-max_len=4096", "-timeout=10"];
        let mut command = cargo(root, &arguments);
        // The sanitizer's flags are unstable; this lets a stable compiler take them.
        command.env("RUSTC_BOOTSTRAP", "1");
        if let Some(folder) = env::var_os("CARGO_TARGET_DIR") {
            command.env("CARGO_TARGET_DIR", Path::new(&folder).join("fuzz"));
        }
        step(&mut command)?;
    }
    Ok(())
}

fn targets(root: &Path) -> anyhow::Result<Vec<String>> {
    let folder = root.join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for file in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        if let Some(name) = file?.path().file_stem() {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
