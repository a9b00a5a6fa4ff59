//! `cargo xtask deb`: a package for Debian and what descends from it, made with `dpkg-deb`.

mod check;
mod machines;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::run::{cargo, step};
use tree::Tree;

/// What becomes of the tilde is that 3.0.0-alpha.1 is older than 3.0.0 (deb-version(7)).
fn debian_version(version: &str) -> String {
    version.replacen('-', "~", 1)
}

/// Builds the program for release, and the package in `target/deb`.
///
/// # Errors
/// When a program that is needed fails or is missing.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    match arguments {
        [] => {
            step(&mut cargo(root, &["build", "--release", "--locked", "--package", "mlvpn"]))?;
            let package = build(
                root,
                &Build { profile: "release", compression: "xz", version: version(root)? },
            )?;
            println!("{}", package.display());
            Ok(())
        }
        ["check"] => check::run(root),
        // What `check` runs in a world of its own.
        ["machines", scripts, first, second] => machines::run_inside(scripts, first, second),
        _ => bail!("usage: cargo xtask deb [check]"),
    }
}

/// The version of the workspace, as Debian writes it.
fn version(root: &Path) -> anyhow::Result<String> {
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \""));
    let version = line.and_then(|rest| rest.strip_suffix('"'));
    Ok(debian_version(version.context("Cargo.toml has no version")?))
}

/// What a package is made of.
struct Build {
    /// The folder of `target` that the program is in.
    profile: &'static str,
    /// As `dpkg-deb -Z` has it.
    compression: &'static str,
    /// As Debian writes it.
    version: String,
}

/// Makes a package. Returns its path.
fn build(root: &Path, build: &Build) -> anyhow::Result<PathBuf> {
    let Build { profile, compression, version } = build;
    let program = root.join("target").join(profile).join("mlvpn");
    let folder = root.join("target/deb");
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    let architecture = String::from_utf8(architecture)?.trim().to_owned();
    let tree = Tree::make(&folder.join("root"))?;
    fill(&tree, root, &program)?;
    let size = tree.kibibytes()?;
    let libc = needed_libc(&fs::read(&program)?).context("the program names no glibc")?;
    let control = format!(
        "Package: mlvpn\nVersion: {version}\nArchitecture: {architecture}\n\
         Maintainer: {}\nInstalled-Size: {size}\nSection: net\n\
         Priority: optional\nHomepage: https://github.com/mlvpn/mlvpn\n\
         Depends: libc6 (>= 2.{libc}), libgcc-s1, passwd\n\
         Recommends: nftables, iproute2\n\
         Description: VPN that bonds several internet links into one\n \
         mlvpn joins DSL, LTE, satellite and other uplinks into one encrypted tunnel: one\n \
         connection runs over all of them at once, and goes on when one fails.\n .\n \
         A tunnel per file in /etc/mlvpn: systemctl enable --now mlvpn@NAME\n",
        maintainer()
    );
    tree.write("DEBIAN/control", &control, 0o644)?;
    for script in ["postinst", "prerm", "postrm"] {
        tree.copy(&root.join("packaging/debian").join(script), &format!("DEBIAN/{script}"), 0o755)?;
    }
    tree.write_sums()?;
    let package = folder.join(format!("mlvpn_{version}_{architecture}.deb"));
    output(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Z", compression, "--build"])
            .arg(tree.root())
            .arg(&package),
    )?;
    Ok(package)
}

/// Who builds the package, by the variables that Debian's own tools look at.
fn maintainer() -> String {
    let variable = |name: &str, otherwise: &str| {
        std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or(otherwise.to_owned())
    };
    let name = variable("DEBFULLNAME", "the mlvpn authors");
    format!("{name} <{}>", variable("DEBEMAIL", "root@localhost"))
}

/// Puts everything into its place.
fn fill(tree: &Tree, root: &Path, program: &Path) -> anyhow::Result<()> {
    tree.copy(program, "usr/bin/mlvpn", 0o755)?;
    output(Command::new("strip").arg("--strip-unneeded").arg(tree.root().join("usr/bin/mlvpn")))?;
    tree.folder("etc/mlvpn", 0o700)?;
    let packaging = root.join("packaging");
    tree.copy(
        &packaging.join("systemd/mlvpn@.service"),
        "usr/lib/systemd/system/mlvpn@.service",
        0o644,
    )?;
    for (shell, path) in [
        ("bash", "usr/share/bash-completion/completions/mlvpn"),
        ("zsh", "usr/share/zsh/vendor-completions/_mlvpn"),
        ("fish", "usr/share/fish/vendor_completions.d/mlvpn.fish"),
    ] {
        let script = output(Command::new(program).args(["completions", shell]))?;
        tree.write(path, &String::from_utf8(script)?, 0o644)?;
    }
    let pages = tree.folder("usr/share/man/man1", 0o755)?;
    output(Command::new(program).args(["man", "--dir"]).arg(&pages))?;
    tree.compress("usr/share/man/man1")?;
    document(tree, root)
}

fn document(tree: &Tree, root: &Path) -> anyhow::Result<()> {
    let folder = "usr/share/doc/mlvpn";
    let license = fs::read_to_string(root.join("LICENSE"))?;
    let holders = license.lines().find_map(|line| line.strip_prefix("Copyright (c) "));
    let text = license.split("\n\n").skip(2).collect::<Vec<_>>().join("\n\n");
    let text =
        text.lines().map(|line| if line.is_empty() { " .".into() } else { format!(" {line}") });
    let copyright = fs::read_to_string(root.join("packaging/debian/copyright"))?
        .replace("@HOLDERS@", holders.context("LICENSE names no holder")?)
        .replace("@LICENSE@", &text.collect::<Vec<_>>().join("\n"));
    tree.write(&format!("{folder}/copyright"), &copyright, 0o644)?;
    tree.copy(&root.join("CHANGELOG.md"), &format!("{folder}/changelog"), 0o644)?;
    tree.compress_file(&format!("{folder}/changelog"))?;
    tree.copy_all(&root.join("docs"), folder, "md")?;
    let packaging = root.join("packaging");
    tree.copy_all(&packaging.join("examples"), &format!("{folder}/examples"), "conf")?;
    tree.copy_all(&packaging.join("examples"), &format!("{folder}/examples"), "sh")?;
    tree.copy_all(&packaging.join("grafana"), &format!("{folder}/examples/grafana"), "json")?;
    // Not in /etc/init.d, where systemd would make a unit of it.
    tree.copy(&packaging.join("openrc/mlvpn"), &format!("{folder}/examples/openrc/mlvpn"), 0o755)
}

/// The newest glibc 2.N of which a program uses something, as its table of symbol versions tells.
fn needed_libc(program: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"GLIBC_2.";
    let after = program.windows(NAME.len()).enumerate().filter(|(_, bytes)| *bytes == NAME);
    let numbers = after.filter_map(|(at, _)| {
        let rest = &program[at + NAME.len()..];
        let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        str::from_utf8(&rest[..end]).ok()?.parse().ok()
    });
    numbers.max()
}

/// Runs a program and returns what it wrote to its standard output.
///
/// # Errors
/// When it cannot be started or fails; with what it complained of.
fn output(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{name} does not start; is it installed?"))?;
    if !output.status.success() {
        bail!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_before_a_release_sorts_before_it() {
        assert_eq!(debian_version("3.0.0-alpha.1"), "3.0.0~alpha.1");
        assert_eq!(debian_version("3.1.0"), "3.1.0");
    }

    #[test]
    fn the_newest_symbol_version_counts() {
        assert_eq!(needed_libc(b"\0GLIBC_2.9\0x\0GLIBC_2.34\0GLIBC_2.2.5\0"), Some(34));
        assert_eq!(needed_libc(b"GLIBC_2"), None);
    }
}
