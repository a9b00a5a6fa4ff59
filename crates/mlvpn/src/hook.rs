//! The status command: the user's script that is told when a link or the tunnel goes up or down.
//!
//! It runs in the privileged process, for it sets addresses and routes. Calls are executed in
//! order, one at a time, on a thread of their own, so that a slow script delays nothing but the
//! next call.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, info, warn};

mod execute;

/// A script that may be run: it exists, its owner may execute it, and nobody else may touch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusCommand {
    path: PathBuf,
}

impl StatusCommand {
    /// The script at `path`; a relative path is one from the working directory of now.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn new(path: &Path) -> Result<Self, HookError> {
        let unreadable = |source| HookError::Unreadable { path: path.to_owned(), source };
        let command = Self { path: std::path::absolute(path).map_err(unreadable)? };
        command.check()?;
        command.warn_of_strange_owner();
        Ok(command)
    }

    /// Where the script is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the script's permissions as the C program does: no access at all for group and
    /// others, the owner may execute. Done before every run too, for the file may change.
    ///
    /// # Errors
    /// What is wrong, with the remedy.
    pub fn check(&self) -> Result<(), HookError> {
        let path = self.path.clone();
        let file = match std::fs::metadata(&path) {
            Ok(file) => file,
            Err(source) => return Err(HookError::Unreadable { path, source }),
        };
        let mode = file.permissions().mode() & 0o777;
        if !file.is_file() {
            Err(HookError::NotAFile { path })
        } else if mode & 0o077 != 0 {
            Err(HookError::Exposed { path, mode })
        } else if mode & 0o100 == 0 {
            Err(HookError::NotExecutable { path })
        } else {
            Ok(())
        }
    }

    /// The C program does not look at the owner, so this is not refused; but whoever owns the
    /// script can do all that this process can.
    fn warn_of_strange_owner(&self) {
        let own = nix::unistd::geteuid().as_raw();
        let owner = std::fs::metadata(&self.path).map(|file| file.uid());
        if let Ok(owner) = owner
            && owner != 0
            && owner != own
        {
            let path = self.path.display();
            warn!(%path, owner, "statuscommand belongs to another user; chown it to root");
        }
    }
}

/// Why a script is not run.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// Its permissions cannot be read; most often it does not exist.
    #[error("statuscommand {}: {source}", path.display())]
    Unreadable {
        /// The script.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is a directory or a device.
    #[error("statuscommand {}: not a regular file", path.display())]
    NotAFile {
        /// The script.
        path: PathBuf,
    },
    /// Others than its owner may read, write or execute it.
    #[error(
        "statuscommand {path}: group or others have access (mode {mode:04o}), but it runs as \
         root; run: chmod 700 {path}", path = path.display()
    )]
    Exposed {
        /// The script.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its owner may not execute it.
    #[error("statuscommand {path}: not executable; run: chmod 700 {path}", path = path.display())]
    NotExecutable {
        /// The script.
        path: PathBuf,
    },
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookEvent {
    /// A link is up.
    LinkUp,
    /// A link is down.
    LinkDown,
    /// The first link is up.
    TunnelUp,
    /// The last link is down.
    TunnelDown,
}

impl HookEvent {
    /// The second argument of the script.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LinkUp => "rtun_up",
            Self::LinkDown => "rtun_down",
            Self::TunnelUp => "tuntap_up",
            Self::TunnelDown => "tuntap_down",
        }
    }
}

/// One call of the script: `SCRIPT INTERFACE EVENT [LINK]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookCall {
    /// What happened.
    pub event: HookEvent,
    /// The tunnel's interface; also in `DEVICE`.
    pub interface: String,
    /// The link that it happened to; none for the events of the tunnel.
    pub link: Option<String>,
    /// The script's environment.
    pub environment: HookEnvironment,
}

/// The script's environment, besides `DEVICE`: empty where nothing is configured. There is no
/// other variable, not even `PATH`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookEnvironment {
    /// `IP4`: `ip4`.
    pub ip4: String,
    /// `IP6`: `ip6`.
    pub ip6: String,
    /// `IP4_GATEWAY`: `ip4_gateway`.
    pub ip4_gateway: String,
    /// `IP6_GATEWAY`: `ip6_gateway`.
    pub ip6_gateway: String,
    /// `IP4_ROUTES`: `ip4_routes`.
    pub ip4_routes: String,
    /// `IP6_ROUTES`: `ip6_routes`.
    pub ip6_routes: String,
    /// `MTU`: of the interface, in bytes; none leaves it empty.
    pub mtu: Option<u16>,
}

impl HookEnvironment {
    fn variables(&self, interface: &str) -> [(&'static str, String); 8] {
        [
            ("IP4", self.ip4.clone()),
            ("IP6", self.ip6.clone()),
            ("IP4_GATEWAY", self.ip4_gateway.clone()),
            ("IP6_GATEWAY", self.ip6_gateway.clone()),
            ("IP4_ROUTES", self.ip4_routes.clone()),
            ("IP6_ROUTES", self.ip6_routes.clone()),
            ("DEVICE", interface.to_owned()),
            ("MTU", self.mtu.map(|mtu| mtu.to_string()).unwrap_or_default()),
        ]
    }
}

/// What became of a call.
#[derive(Debug)]
pub enum HookReport {
    /// The script wrote a line, without its end; long ones are cut into pieces.
    Output {
        /// Which of its two outputs.
        stream: OutputStream,
        /// The line; bytes that are no UTF-8 are replaced.
        line: String,
    },
    /// It wrote so much that the rest is thrown away.
    OutputCut,
    /// It ended.
    Finished(ExitStatus),
    /// It has been running for this long.
    Slow(Duration),
    /// It was killed with its process group, for the program ends.
    Killed,
    /// The system does not tell how it ended.
    Lost(io::Error),
    /// It could not be started.
    NotStarted(String),
    /// It was not started any more, for the program ends.
    Skipped,
}

/// One of the two outputs of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where reports go; called on the runner's thread, which it should not hold up.
pub type ReportSink = Arc<dyn Fn(&HookCall, &HookReport) + Send + Sync>;

/// Numbers of the runner.
#[derive(Clone, Copy, Debug)]
pub struct HookLimits {
    /// Calls that may wait; further ones are refused.
    pub queue: usize,
    /// A script that runs for longer is reported, and again whenever that time has doubled.
    pub slow_after: Duration,
    /// At the end, time between asking the script to end (SIGTERM) and ending it (SIGKILL).
    pub kill_after: Duration,
}

impl Default for HookLimits {
    /// 256 calls, 30 seconds, 1 second.
    fn default() -> Self {
        Self { queue: 256, slow_after: Duration::from_secs(30), kill_after: Duration::from_secs(1) }
    }
}

/// The queue is full, for a script hangs: the call is lost.
#[derive(Debug, thiserror::Error)]
#[error("the status command does not keep up: {} of {} is not told", .0.event.as_str(), .0.interface)]
pub struct HookQueueFull(pub Box<HookCall>);

/// Executes calls in order, one at a time, on its own thread. Dropping it is
/// [`HookRunner::shutdown`] without any grace.
#[derive(Debug)]
pub struct HookRunner {
    queue: Option<mpsc::Sender<HookCall>>,
    stop: Option<oneshot::Sender<Duration>>,
    thread: Option<JoinHandle<()>>,
}

impl HookRunner {
    /// Starts the thread. Reports are logged.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    pub fn start(command: StatusCommand) -> io::Result<Self> {
        Self::start_with(command, HookLimits::default(), Arc::new(log_report))
    }

    /// [`Self::start`] with limits and a place for the reports.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    pub fn start_with(
        command: StatusCommand,
        limits: HookLimits,
        report: ReportSink,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (queue, calls) = mpsc::channel(limits.queue.max(1));
        let (stop, stopped) = oneshot::channel();
        let executor = execute::Executor::new(command, limits, report);
        let thread = std::thread::Builder::new()
            .name("hook".to_owned())
            .spawn(move || runtime.block_on(executor.run(calls, stopped)))?;
        Ok(Self { queue: Some(queue), stop: Some(stop), thread: Some(thread) })
    }

    /// Queues a call. Never blocks.
    ///
    /// # Errors
    /// When too many wait; the call is given back.
    pub fn run(&self, call: HookCall) -> Result<(), HookQueueFull> {
        let queue = self.queue.as_ref().expect("only shutdown takes it, and consumes the runner");
        queue.try_send(call).map_err(|refused| HookQueueFull(Box::new(refused.into_inner())))
    }

    /// Executes what is queued, and returns when all is done; at the latest some moments after
    /// `grace`, when the script that runs then is killed and the rest is not run.
    pub fn shutdown(mut self, grace: Duration) {
        self.finish(grace);
    }

    fn finish(&mut self, grace: Duration) {
        self.queue = None;
        // The thread may have ended; then there is nobody to tell.
        let _ = self.stop.take().map(|stop| stop.send(grace));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread of the status command panicked");
        }
    }
}

impl Drop for HookRunner {
    fn drop(&mut self) {
        self.finish(Duration::ZERO);
    }
}

/// Writes a report to the log.
pub fn log_report(call: &HookCall, report: &HookReport) {
    let event = call.event.as_str();
    let link = call.link.as_deref().unwrap_or_default();
    match report {
        HookReport::Output { stream: OutputStream::Stdout, line } => {
            info!(event, link, "status command: {line}");
        }
        HookReport::Output { stream: OutputStream::Stderr, line } => {
            warn!(event, link, "status command: {line}");
        }
        HookReport::OutputCut => warn!(event, link, "status command writes too much, not logged"),
        HookReport::Finished(status) if status.success() => {
            debug!(event, link, "status command done");
        }
        HookReport::Finished(status) => warn!(event, link, %status, "status command failed"),
        HookReport::Slow(time) => {
            warn!(event, link, seconds = time.as_secs_f64(), "status command still runs");
        }
        HookReport::Killed => warn!(event, link, "status command killed, the program ends"),
        HookReport::Lost(error) => error!(event, link, %error, "status command lost"),
        HookReport::NotStarted(why) => error!(event, link, why, "status command not started"),
        HookReport::Skipped => warn!(event, link, "status command not run, the program ends"),
    }
}

#[cfg(test)]
mod tests;
