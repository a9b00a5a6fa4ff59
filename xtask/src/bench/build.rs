//! Where the programs come from.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;

/// Which mlvpn is measured.
#[derive(Debug, Args)]
pub(super) struct Program {
    /// Measure this program instead of building mlvpn
    #[arg(long, value_name = "PATH")]
    mlvpn: Option<PathBuf>,
}

impl Program {
    /// Its path. A debug build of this process is replaced by a release build, for the emulated links, the
    /// workload and its counting are a part of what is measured.
    ///
    /// # Errors
    /// When something cannot be built, or there is no such program.
    pub(super) fn find(&self, root: &Path, arguments: &[&str]) -> Result<PathBuf> {
        let mlvpn = match &self.mlvpn {
            Some(path) => super::absolute(path)?,
            None => release(root, "mlvpn")?,
        };
        if cfg!(debug_assertions) {
            replace_by_release(root, arguments, &mlvpn)?;
        }
        Ok(mlvpn)
    }
}

/// Builds a package of the workspace at `root` with the release profile and returns its program.
///
/// # Errors
/// When it does not compile.
pub(super) fn release(root: &Path, package: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args([
            "build",
            "--release",
            "--message-format=json-render-diagnostics",
            "--package",
            package,
        ])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "{package} does not compile");
    executable(&String::from_utf8_lossy(&output.stdout), package)
        .with_context(|| format!("cargo has built no program {package}"))
}

/// Replaces this process by the same with the release profile, which measures `mlvpn`.
///
/// # Errors
/// When it cannot be built or executed; otherwise it does not return.
fn replace_by_release(root: &Path, arguments: &[&str], mlvpn: &Path) -> Result<()> {
    let mut command = Command::new(release(root, "xtask")?);
    command.arg("bench").args(arguments);
    if !arguments.iter().any(|argument| argument.starts_with("--mlvpn")) {
        command.arg("--mlvpn").arg(mlvpn);
    }
    Err(command.exec()).context("cannot execute the release build of xtask")
}

/// The first program of that name in PATH.
pub(super) fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found =
        std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())?;
    found.canonicalize().ok()
}

/// The path of program `name` in cargo's messages, one JSON object per line.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        (message["target"]["name"] == name).then(|| PathBuf::from(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"mlvpn"},"executable":null}
            {"reason":"compiler-artifact","target":{"name":"xtask"},"executable":"/t/release/xtask"}
            {"reason":"compiler-artifact","target":{"name":"mlvpn"},"executable":"/t/release/mlvpn"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "mlvpn"), Some(PathBuf::from("/t/release/mlvpn")));
        assert_eq!(executable(messages, "other"), None);
    }
}
