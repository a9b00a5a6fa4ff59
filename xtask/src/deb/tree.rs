//! The files of a package, as they will lie on disk.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::output;

/// A folder that stands for `/`. Paths are relative to it.
#[derive(Debug)]
pub(super) struct Tree(PathBuf);

impl Tree {
    /// An empty one, in place of what there may be.
    pub(super) fn make(root: &Path) -> anyhow::Result<Self> {
        match fs::remove_dir_all(root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| root.display().to_string())?;
            }
            _ => {}
        }
        fs::DirBuilder::new().recursive(true).mode(0o755).create(root)?;
        Ok(Self(root.to_owned()))
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    /// Makes a folder with this mode, and those above it for everybody to read.
    pub(super) fn folder(&self, path: &str, mode: u32) -> anyhow::Result<PathBuf> {
        let folder = self.0.join(path);
        let mut made = self.0.clone();
        for part in Path::new(path) {
            made.push(part);
            if !made.is_dir() {
                fs::create_dir(&made)?;
                fs::set_permissions(&made, fs::Permissions::from_mode(0o755))?;
            }
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode))?;
        Ok(folder)
    }

    pub(super) fn write(&self, path: &str, content: &str, mode: u32) -> anyhow::Result<()> {
        let file = self.place(path)?;
        fs::write(&file, content)?;
        Ok(fs::set_permissions(&file, fs::Permissions::from_mode(mode))?)
    }

    pub(super) fn copy(&self, from: &Path, path: &str, mode: u32) -> anyhow::Result<()> {
        let file = self.place(path)?;
        fs::copy(from, &file).with_context(|| from.display().to_string())?;
        Ok(fs::set_permissions(&file, fs::Permissions::from_mode(mode))?)
    }

    /// Copies the files of a folder whose names end with `extension`.
    pub(super) fn copy_all(&self, from: &Path, to: &str, extension: &str) -> anyhow::Result<()> {
        for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.extension().is_some_and(|ending| ending == extension) {
                self.copy(&path, &format!("{to}/{name}"), 0o644)?;
            }
        }
        Ok(())
    }

    /// Compresses the files of a folder, the same way each time.
    pub(super) fn compress(&self, folder: &str) -> anyhow::Result<()> {
        for path in self.files()?.iter().filter(|path| path.starts_with(folder)) {
            self.compress_file(path)?;
        }
        Ok(())
    }

    pub(super) fn compress_file(&self, path: &str) -> anyhow::Result<()> {
        output(Command::new("gzip").args(["-9n", "--force"]).arg(self.0.join(path))).map(drop)
    }

    /// Sums by which `dpkg --verify` finds what was changed.
    pub(super) fn write_sums(&self) -> anyhow::Result<()> {
        let files = self.files()?;
        let files = files.iter().filter(|path| !path.starts_with("DEBIAN/"));
        let sums = output(Command::new("md5sum").args(files).current_dir(&self.0))?;
        self.write("DEBIAN/md5sums", &String::from_utf8(sums)?, 0o644)
    }

    /// Size of all files in units of 1,024 bytes, rounded up file by file.
    pub(super) fn kibibytes(&self) -> anyhow::Result<u64> {
        let sizes = self.files()?.into_iter().map(|path| fs::metadata(self.0.join(path)));
        sizes.map(|size| Ok(size?.len().div_ceil(1024))).sum()
    }

    fn place(&self, path: &str) -> anyhow::Result<PathBuf> {
        let place = self.0.join(path);
        if let Some((folder, _)) = path.rsplit_once('/')
            && !self.0.join(folder).is_dir()
        {
            self.folder(folder, 0o755)?;
        }
        Ok(place)
    }

    /// All files, sorted.
    fn files(&self) -> anyhow::Result<Vec<String>> {
        let listed = output(
            Command::new("find").args([".", "-type", "f", "-printf", "%P\\n"]).current_dir(&self.0),
        )?;
        let mut files: Vec<_> = String::from_utf8(listed)?.lines().map(str::to_owned).collect();
        files.sort();
        Ok(files)
    }
}
