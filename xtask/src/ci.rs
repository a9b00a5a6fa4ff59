//! Everything that has to pass before a change goes in, the quickest first.

use std::env;
use std::path::Path;

use anyhow::bail;

use crate::run::{cargo, has_subcommand, step};
use crate::tidy;

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    step(&mut cargo(root, &["fmt", "--all", "--check"]))?;
    eprintln!("\n== xtask tidy");
    tidy::run(root)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    step(&mut cargo(root, &clippy))?;
    let doc = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
    step(cargo(root, &doc).env("RUSTDOCFLAGS", "-D warnings"))?;
    licences(root)?;
    step(&mut cargo(root, &["test", "--workspace", "--locked"]))
}

/// Licences, banned crates and sources as deny.toml has them. Advisories need a database from
/// elsewhere and are left to `cargo deny check advisories`.
fn licences(root: &Path) -> anyhow::Result<()> {
    if has_subcommand(root, "deny") {
        return step(&mut cargo(root, &["deny", "check", "licenses", "bans", "sources"]));
    }
    if env::var_os("CI").is_some() {
        bail!("cargo-deny is not installed: cargo install cargo-deny --locked");
    }
    eprintln!("\n== skipped: cargo deny (cargo install cargo-deny --locked)");
    Ok(())
}
