//! `cargo xtask deb check`: the package is installed, upgraded, removed and purged, on a copy of this system
//! that exists in memory only; then under systemd, on machines that are such copies.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use super::{Build, build, machines, version};
use crate::run::{cargo, step};

/// Mounts a layer over the root of a mount namespace, and runs the rest in it.
const LAYER: &str = r#"
set -e
layer=$(mktemp -d)
trap 'umount --recursive --lazy "$layer"; rmdir "$layer"' EXIT
mount -t tmpfs tmpfs "$layer"
mkdir "$layer/changes" "$layer/work" "$layer/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layer/changes,workdir=$layer/work" "$layer/root"
mount -t tmpfs tmpfs "$layer/root/run"
mount -t proc proc "$layer/root/proc"
mount --rbind /dev "$layer/root/dev"
mkdir -p "$layer/root/run/packages"
cp "$1" "$layer/root/run/packages/1.deb"
cp "$2" "$layer/root/run/packages/2.deb"
chroot "$layer/root" /bin/sh -s < "$3"
"#;

/// Checks the unit and the package; that of the program as the tests have built it, which is quicker.
///
/// # Errors
/// When something is not as it should be.
pub(super) fn run(root: &Path) -> anyhow::Result<()> {
    unit(root)?;
    step(&mut cargo(root, &["build", "--locked", "--package", "mlvpn"]))?;
    let package = |version| build(root, &Build { profile: "debug", compression: "gzip", version });
    let first = package(version(root)?)?;
    let second = package(version(root)? + "+1")?;
    eprintln!("\n== install, upgrade, remove, purge {}", first.display());
    let script = root.join("packaging/debian/check.sh");
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", LAYER, "layer"])
        .args([&first, &second, &script])
        .status()
        .context("unshare does not start")?;
    if !status.success() {
        bail!("the package does not do what it should: {status}");
    }
    machines::run(root, &first, &second)
}

/// A tenth of what `systemd-analyze security` may find fault with at most.
const EXPOSURE: &str = "23";

/// What systemd thinks of the unit.
fn unit(root: &Path) -> anyhow::Result<()> {
    let unit = root.join("packaging/systemd/mlvpn@.service");
    let exposure = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE])
        .arg(&unit)
        .output()
        .context("systemd-analyze does not start; is systemd installed?")?;
    let text = String::from_utf8_lossy(&exposure.stdout);
    let verdict = text.lines().rfind(|line| line.contains("exposure level")).unwrap_or_default();
    eprintln!("\n== {verdict}");
    if !exposure.status.success() || verdict.is_empty() {
        bail!("{}{text}", String::from_utf8_lossy(&exposure.stderr));
    }
    Ok(())
}
