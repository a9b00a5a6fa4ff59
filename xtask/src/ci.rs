//! Everything that has to pass before a change goes in, the quickest first.

use std::env;
use std::path::Path;

use anyhow::bail;

use crate::run::{self, cargo, has_subcommand, step};
use crate::{deb, tidy};

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    step(&mut cargo(root, &["fmt", "--all", "--check"]))?;
    eprintln!("\n== xtask tidy");
    tidy::run(root)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    step(&mut cargo(root, &clippy))?;
    let doc = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
    step(cargo(root, &doc).env("RUSTDOCFLAGS", "-D warnings"))?;
    licences(root)?;
    step(&mut cargo(root, &["test", "--workspace", "--locked"]))?;
    package(root)
}

/// The package and the unit; where they can be checked, and in CI in any case.
fn package(root: &Path) -> anyhow::Result<()> {
    let is_root = run::is_root();
    if is_root && run::is_installed("dpkg-deb") && run::is_installed("systemd-analyze") {
        return deb::run(root, &["check"]);
    }
    if env::var_os("CI").is_some() {
        bail!("checking the package takes root, dpkg-deb and systemd-analyze");
    }
    eprintln!("\n== skipped: cargo xtask deb check (takes root, dpkg-deb and systemd-analyze)");
    Ok(())
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
