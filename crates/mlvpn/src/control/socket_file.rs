//! The unix socket and its file: made for the owner only, replaced only when dead, removed at the
//! end.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tracing::debug;

use super::ControlError;

/// Connections that may wait for accept.
const BACKLOG: i32 = 64;

/// A listening socket and the file that names it. Dropping it removes the file, unless another
/// one has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
    listener: Option<UnixListener>,
}

impl SocketFile {
    /// Listens on `path`, whose folder is made if only that is missing. What a dead process left there is
    /// replaced.
    pub(super) fn bind(path: &Path) -> Result<Self, ControlError> {
        let io_error = |source| ControlError::Unix { path: path.to_owned(), source };
        let address = SockAddr::unix(path).map_err(io_error)?;
        make_folder(path).map_err(io_error)?;
        remove_dead_socket(path, &address)?;
        let (listener, identity) = listen(path, &address).map_err(io_error)?;
        Ok(Self { path: path.to_owned(), identity, listener: Some(listener) })
    }

    /// The socket, which does not block; none when taken before.
    pub(super) fn take_listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            debug!(path = %self.path.display(), %error, "control socket not removed");
        }
    }
}

/// A folder such as `/run/mlvpn` is gone with every start of the system.
fn make_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Some(folder) = folder.filter(|folder| !folder.exists()) else { return Ok(()) };
    match fs::DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The mode is set before listening, for nobody can connect until then.
fn listen(path: &Path, address: &SockAddr) -> io::Result<(UnixListener, (u64, u64))> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(address)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    let file = fs::symlink_metadata(path)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), (file.dev(), file.ino())))
}

fn remove_dead_socket(path: &Path, address: &SockAddr) -> Result<(), ControlError> {
    let io_error = |source| ControlError::Unix { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(error)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(ControlError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(io_error)?;
    probe.set_nonblocking(true).map_err(io_error)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(io_error)
        }
        // Somebody answers, but has its hands full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(ControlError::InUse(path.to_owned()))
        }
        Err(error) => Err(io_error(error)),
        Ok(()) => Err(ControlError::InUse(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of this test's own, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("mlvpn-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_socket_is_the_owners_alone_and_goes_with_the_server() {
        let scratch = Scratch::new("mode");
        let path = scratch.0.join("s");
        let socket = SocketFile::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn only_the_last_folder_is_made() {
        let scratch = Scratch::new("folder");
        let socket = SocketFile::bind(&scratch.0.join("run/s"));
        assert!(socket.is_ok(), "{socket:?}");
        assert!(SocketFile::bind(&scratch.0.join("a/b/s")).is_err());
    }

    #[test]
    fn a_dead_socket_is_replaced_a_live_one_is_not() {
        let scratch = Scratch::new("stale");
        let path = scratch.0.join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves the file behind");
        let live = SocketFile::bind(&path).unwrap();
        assert!(matches!(SocketFile::bind(&path), Err(ControlError::InUse(_))));
        assert!(path.exists(), "the live one is left alone");
        drop(live);
    }

    #[test]
    fn a_file_that_is_no_socket_is_never_removed() {
        let scratch = Scratch::new("file");
        let path = scratch.0.join("precious");
        fs::write(&path, "x").unwrap();
        assert!(matches!(SocketFile::bind(&path), Err(ControlError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"x");
    }

    #[test]
    fn a_file_that_took_our_place_stays() {
        let scratch = Scratch::new("taken");
        let path = scratch.0.join("s");
        let socket = SocketFile::bind(&path).unwrap();
        fs::rename(&path, scratch.0.join("away")).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
        drop(other);
    }

    #[test]
    fn a_path_that_is_too_long_or_has_no_directory_is_an_error_that_names_it() {
        for path in [PathBuf::from("x".repeat(200)), PathBuf::from("/nonexistent/dir/sock")] {
            let error = SocketFile::bind(&path).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }
}
