//! A program under test, inside a host.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mlvpn_io::clock::Clock;
use nix::unistd::Pid;

pub use nix::sys::signal::Signal;

use crate::host::Host;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// A running program. Dropping it kills it and removes its directory.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    name: String,
    directory: RunDirectory,
}

/// Says how to start a program.
#[derive(Debug)]
pub struct DaemonBuilder {
    command: Command,
    name: String,
    directory: RunDirectory,
}

impl DaemonBuilder {
    /// The program's own directory, which exists already: for its configuration and sockets.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory.path
    }

    /// Writes a file into the directory and returns its path.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_file(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.directory.path.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.command.args(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Keeps the directory after the end, to be looked at.
    #[must_use]
    pub fn keep_directory(mut self) -> Self {
        self.directory.is_kept = true;
        self
    }

    /// Starts the program with its directory as working directory; its output goes to the files
    /// `stdout` and `stderr` there.
    ///
    /// # Errors
    /// When there is no such program, or it cannot be executed.
    pub fn start(mut self) -> Result<Daemon> {
        let file = |name| File::create(self.directory.path.join(name));
        self.command
            .current_dir(&self.directory.path)
            .stdin(Stdio::null())
            .stdout(file("stdout")?)
            .stderr(file("stderr")?);
        let child = self
            .command
            .spawn()
            .with_context(|| format!("cannot start {:?}", self.command.get_program()))?;
        Ok(Daemon { child, name: self.name, directory: self.directory })
    }
}

impl Daemon {
    /// A program to start inside `host`. A `program` with a slash is a path; make it absolute, since
    /// the program has a working directory of its own.
    ///
    /// # Errors
    /// When its directory cannot be made.
    pub fn builder(host: &Host, program: impl AsRef<OsStr>) -> Result<DaemonBuilder> {
        let program = program.as_ref();
        let base = Path::new(program).file_name().unwrap_or(program).to_string_lossy();
        let name = format!("{base} on {}", host.name());
        let directory = RunDirectory::create(&format!("{}-{base}", host.name()))?;
        Ok(DaemonBuilder { command: host.command(program), name, directory })
    }

    /// The program's own directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory.path
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has written to its standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.output("stderr")
    }

    /// The last `lines` of what it has written to its standard error.
    #[must_use]
    pub fn stderr_tail(&self, lines: usize) -> String {
        let log = self.stderr();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// All that it has written to its standard output.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.output("stdout")
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} has ended ({status}), before {signal}", self.name);
        }
        // Not reaped yet, so the number is still its own.
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, signal)
            .with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Waits until `condition` holds.
    ///
    /// # Errors
    /// When that takes longer than `timeout`, or the program ends first; with its standard error.
    pub fn wait_until(
        &mut self,
        what: &str,
        timeout: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<()> {
        let clock = Clock::new();
        let start = clock.now_us();
        loop {
            if condition(self) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}) before {what}:\n{}", self.name, self.stderr());
            }
            if clock.now_us() - start >= timeout.as_micros() as u64 {
                bail!("{}: not {what} within {timeout:?}:\n{}", self.name, self.stderr());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until its standard error contains `text`.
    ///
    /// # Errors
    /// As [`Self::wait_until`].
    pub fn wait_for_stderr(&mut self, text: &str, timeout: Duration) -> Result<()> {
        self.wait_until(&format!("logging `{text}`"), timeout, |daemon| {
            daemon.stderr().contains(text)
        })
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let clock = Clock::new();
        let start = clock.now_us();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if clock.now_us() - start >= timeout.as_micros() as u64 {
                bail!("{} still runs after {timeout:?}:\n{}", self.name, self.stderr());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Asks it to end (SIGTERM) and waits for that.
    ///
    /// # Errors
    /// When it has ended before, or still runs after `timeout`.
    pub fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(timeout)
    }

    fn output(&self, file: &str) -> String {
        let bytes = fs::read(self.directory.path.join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only when it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory that is removed with its content.
#[derive(Debug)]
struct RunDirectory {
    path: PathBuf,
    is_kept: bool,
}

impl RunDirectory {
    fn create(name: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Short, since the path of a unix socket has at most 107 bytes.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unique = format!("mlvpn-lab-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().join(unique);
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, is_kept: false })
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}
