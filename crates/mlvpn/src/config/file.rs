//! Files on disk that are for nobody else's eyes: bounded, and judged by who may read them.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::value::Fault;
use super::{Finding, Findings, MAX_FILE_BYTES};

/// Any access by the group or by others, which the C program refuses too.
const FORBIDDEN_MODE: u32 = 0o077;

/// What a file is supposed to be, for messages.
pub(super) struct Kind {
    /// Most bytes of it that are read.
    pub(super) max_bytes: usize,
    /// That limit in words.
    pub(super) max: &'static str,
    /// With its article: `an mlvpn.conf`.
    pub(super) what: &'static str,
    /// Why others must not read it.
    pub(super) holds: &'static str,
}

const CONFIGURATION: Kind =
    Kind { max_bytes: MAX_FILE_BYTES, max: "1 MiB", what: "an mlvpn.conf", holds: "the password" };

/// Reads the file at `path` after checking who owns it and who may read it.
///
/// # Errors
/// One error: it cannot be read, is no regular file, belongs to somebody else, is accessible to the
/// group or to others, or is larger than [`MAX_FILE_BYTES`].
pub(super) fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Findings> {
    read_private(path, &CONFIGURATION).map_err(|fault| {
        let finding = Finding::whole_file(fault.message).help(fault.help);
        Findings::only(&path.display().to_string(), finding)
    })
}

/// Reads a file that only root, or the user who starts mlvpn, may read.
pub(super) fn read_private(path: &Path, kind: &Kind) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let unreadable = |cause: std::io::Error| {
        Fault::new(
            format!("cannot read the file: {cause}"),
            "check the path, and that the user who starts mlvpn may read it",
        )
    };
    // Opening a FIFO would wait for a writer, so its kind is looked at first; what is then read is judged
    // by the metadata of the opened file, which nobody can swap.
    check_kind(&std::fs::metadata(path).map_err(unreadable)?, kind)?;
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    check_kind(&metadata, kind)?;
    check_access(&metadata, nix::unistd::geteuid().as_raw(), path, kind)?;
    // Room for one byte more than there should be, so that nothing is moved and left behind.
    let room = metadata.len().min(kind.max_bytes as u64) as usize + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(kind.max_bytes as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > kind.max_bytes {
        return Err(Fault::new(
            format!("the file is larger than {}", kind.max),
            format!("this is hardly {}; check the path", kind.what),
        ));
    }
    Ok(bytes)
}

fn check_kind(metadata: &Metadata, kind: &Kind) -> Result<(), Fault> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(Fault::new("not a regular file", format!("give the path of {}", kind.what)))
}

fn check_access(metadata: &Metadata, me: u32, path: &Path, kind: &Kind) -> Result<(), Fault> {
    let (owner, shown) = (metadata.uid(), path.display());
    if owner != 0 && owner != me {
        return Err(Fault::new(
            format!("the file belongs to user {owner}, who could change it"),
            format!("it must belong to root or to the user who starts mlvpn: chown root {shown}"),
        ));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & FORBIDDEN_MODE != 0 {
        let holds = kind.holds;
        return Err(Fault::new(
            format!(
                "the group or others have access to the file (mode {mode:04o}), and it holds {holds}"
            ),
            format!("chmod 600 {shown}"),
        ));
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
        assert!(check_access(&metadata, owner, Path::new("x"), &CONFIGURATION).is_ok());
        if owner != 0 {
            assert!(check_access(&metadata, owner + 1, Path::new("x"), &CONFIGURATION).is_err());
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
