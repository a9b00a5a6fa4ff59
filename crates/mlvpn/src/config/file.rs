//! The file on disk: bounded, and for nobody else's eyes.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::{Finding, Findings, MAX_FILE_BYTES};

/// Any access by the group or by others, which the C program refuses too.
const FORBIDDEN_MODE: u32 = 0o077;

/// Reads the file at `path` after checking who owns it and who may read it.
///
/// # Errors
/// One error: it cannot be read, is no regular file, belongs to somebody else, is accessible to the
/// group or to others, or is larger than [`MAX_FILE_BYTES`].
pub fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Findings> {
    let shown = path.display().to_string();
    open_and_read(path, &shown).map_err(|finding| Findings::only(&shown, finding))
}

fn open_and_read(path: &Path, shown: &str) -> Result<Zeroizing<Vec<u8>>, Finding> {
    let unreadable = |cause: std::io::Error| {
        Finding::whole_file(format!("cannot read the file: {cause}"))
            .help("check the path, and that the user who starts mlvpn may read it")
    };
    // Opening a FIFO would wait for a writer, so its kind is looked at first; what is then read is judged
    // by the metadata of the opened file, which nobody can swap.
    let kind = std::fs::metadata(path).map_err(unreadable)?;
    check_kind(&kind)?;
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    check_kind(&metadata)?;
    check_access(&metadata, nix::unistd::geteuid().as_raw(), shown)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len().min(1 << 20) as usize + 1));
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Finding::whole_file("the file is larger than 1 MiB")
            .help("this is hardly an mlvpn.conf; check the path"));
    }
    Ok(bytes)
}

fn check_kind(metadata: &Metadata) -> Result<(), Finding> {
    if metadata.is_file() {
        Ok(())
    } else {
        Err(Finding::whole_file("not a regular file").help("give the path of an mlvpn.conf"))
    }
}

fn check_access(metadata: &Metadata, me: u32, shown: &str) -> Result<(), Finding> {
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.uid() != 0 && metadata.uid() != me {
        return Err(Finding::whole_file(format!(
            "the file belongs to user {}, who could change it",
            metadata.uid()
        ))
        .help(format!(
            "it must belong to root or to the user who starts mlvpn: chown root {shown}"
        )));
    }
    if mode & FORBIDDEN_MODE != 0 {
        return Err(Finding::whole_file(format!(
            "the group or others have access to the file (mode {mode:04o}), and it holds the password"
        ))
        .help(format!("chmod 600 {shown}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct TempFile(std::path::PathBuf);

    impl TempFile {
        fn new(name: &str, content: &[u8], mode: u32) -> Self {
            let path = std::env::temp_dir().join(format!("mlvpn-{}-{name}", std::process::id()));
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Self(path)
        }
    }

    impl Drop for TempFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_private_file_is_read() {
        let file = TempFile::new("private", b"[general]\n", 0o600);
        assert_eq!(&read_file(&file.0).unwrap()[..], b"[general]\n");
    }

    #[test]
    fn a_file_open_to_group_or_others_is_refused_with_the_remedy() {
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let file = TempFile::new(&format!("open-{mode:o}"), b"", mode);
            let findings = read_file(&file.0).unwrap_err();
            let text = findings.to_string();
            assert!(text.contains("chmod 600"), "{mode:o}: {text}");
            assert!(text.contains(&format!("{mode:04o}")), "{mode:o}: {text}");
        }
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        let file = TempFile::new("foreign", b"", 0o600);
        let metadata = std::fs::metadata(&file.0).unwrap();
        let owner = metadata.uid();
        assert!(check_access(&metadata, owner, "x").is_ok());
        if owner != 0 {
            assert!(check_access(&metadata, owner + 1, "x").is_err());
        }
    }

    #[test]
    fn a_missing_file_says_why() {
        let text = read_file(Path::new("/nonexistent/mlvpn.conf")).unwrap_err().to_string();
        assert!(text.contains("No such file"), "{text}");
    }

    #[test]
    fn a_directory_or_device_is_refused_without_waiting() {
        for path in ["/", "/dev/zero"] {
            let text = read_file(Path::new(path)).unwrap_err().to_string();
            assert!(text.contains("not a regular file"), "{text}");
        }
    }

    #[test]
    fn a_file_above_the_limit_is_refused() {
        let file = TempFile::new("big", &vec![b'#'; MAX_FILE_BYTES + 1], 0o600);
        assert!(read_file(&file.0).unwrap_err().to_string().contains("1 MiB"));
    }
}
