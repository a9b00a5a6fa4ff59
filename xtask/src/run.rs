//! Programs that the tasks call.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// `cargo` with these arguments, to be run in the folder `root`.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root).stdin(Stdio::null());
    command
}

/// Whether the subcommand `name` of cargo is installed.
pub(crate) fn has_subcommand(root: &Path, name: &str) -> bool {
    let mut command = cargo(root, &[name, "--version"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Whether the program `name` is in one of the folders of `PATH`.
pub(crate) fn is_installed(name: &str) -> bool {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| folder.join(name).is_file())
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    let own = std::fs::metadata("/proc/self");
    own.is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// Announces the command and runs it.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn step(command: &mut Command) -> anyhow::Result<()> {
    let arguments: Vec<_> = command.get_args().map(|text| text.to_string_lossy()).collect();
    let shown = arguments.join(" ");
    eprintln!("\n== cargo {shown}");
    let status = command.status().with_context(|| format!("cargo {shown} does not start"))?;
    if !status.success() {
        bail!("cargo {shown}: {status}");
    }
    Ok(())
}
