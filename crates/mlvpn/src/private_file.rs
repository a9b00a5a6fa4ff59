//! Files that are written whole or not at all, and are for nobody else's eyes at any time.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The permissions of a file with a secret.
pub(crate) const OWNER_ONLY: u32 = 0o600;

/// Writes a file that was not there.
///
/// # Errors
/// `AlreadyExists`; and whatever the disk says.
pub(crate) fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// Writes a file in place of the one that may be there, which stays until the new one is complete: its
/// owner, its mode and who has it open do not matter to the new one.
///
/// # Errors
/// `IsADirectory`; and whatever the disk says. The former file is as it was then.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(name);
    create(&beside, content, mode)?;
    let renamed = fs::rename(&beside, path);
    if renamed.is_err() {
        let _ = fs::remove_file(&beside);
    }
    renamed
}
