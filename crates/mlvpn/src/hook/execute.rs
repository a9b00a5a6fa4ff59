//! The runner's thread: starts the script, listens to it, and ends it when it must.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{HookCall, HookLimits, HookReport, OutputStream, ReportSink, StatusCommand};

/// A line of output is reported in pieces of at most this many bytes.
const MAX_LINE: usize = 1024;
/// Lines that one call may write into the log.
const MAX_LINES: usize = 200;
/// How long output is waited for after the script's end; what it left running may hold it open.
const OUTPUT_PATIENCE: Duration = Duration::from_millis(250);
/// Outputs that are still read although their script has ended.
const MAX_LINGERING: usize = 32;
/// A script that is being written cannot be executed; that lasts for moments only.
const BUSY_RETRIES: usize = 100;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Executes calls one after the other.
pub(super) struct Executor {
    command: StatusCommand,
    limits: HookLimits,
    report: ReportSink,
    /// Readers of outputs that processes left behind by earlier scripts hold open: closing these
    /// would kill such a process as soon as it writes.
    lingering: VecDeque<JoinHandle<()>>,
}

impl Executor {
    pub(super) fn new(command: StatusCommand, limits: HookLimits, report: ReportSink) -> Self {
        Self { command, limits, report, lingering: VecDeque::new() }
    }

    /// Until the queue is closed and empty. From `stopped` on, for the time that it carries.
    pub(super) async fn run(
        mut self,
        mut calls: mpsc::Receiver<HookCall>,
        stopped: oneshot::Receiver<Duration>,
    ) {
        let mut deadline = std::pin::pin!(async {
            match stopped.await {
                Ok(grace) => sleep(grace).await,
                Err(_) => {
                    debug!("the runner of the status command was dropped");
                }
            }
        });
        let mut is_over = false;
        while let Some(call) = calls.recv().await {
            let call = Arc::new(call);
            if is_over {
                (self.report)(&call, &HookReport::Skipped);
                continue;
            }
            let Some(mut child) = self.spawn(&call).await else { continue };
            let readers = self.listen(&call, &mut child);
            let outcome = tokio::select! {
                outcome = self.attend(&call, &mut child) => outcome,
                () = &mut deadline => {
                    is_over = true;
                    self.kill(&mut child).await
                }
            };
            self.drain(readers).await;
            (self.report)(&call, &outcome);
        }
    }

    async fn spawn(&self, call: &HookCall) -> Option<Child> {
        let failure = match self.command.check() {
            Ok(()) => match self.spawn_unless_busy(call).await {
                Ok(child) => return Some(child),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        (self.report)(call, &HookReport::NotStarted(failure));
        None
    }

    async fn spawn_unless_busy(&self, call: &HookCall) -> std::io::Result<Child> {
        let mut command = Command::new(self.command.path());
        command
            .args([&call.interface, call.event.as_str()])
            .args(&call.link)
            .env_clear()
            .envs(call.environment.variables(&call.interface))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        for _ in 0..BUSY_RETRIES {
            match command.spawn() {
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                    sleep(BUSY_PAUSE).await;
                }
                spawned => return spawned,
            }
        }
        command.spawn()
    }

    /// Waits for the script's end, and reports when that takes long.
    async fn attend(&self, call: &HookCall, child: &mut Child) -> HookReport {
        let mut elapsed = Duration::ZERO;
        let mut patience = self.limits.slow_after.max(Duration::from_millis(1));
        loop {
            match timeout(patience, child.wait()).await {
                Ok(Ok(status)) => return HookReport::Finished(status),
                Ok(Err(error)) => return HookReport::Lost(error),
                Err(_) => {
                    elapsed = elapsed.saturating_add(patience);
                    patience = elapsed;
                    (self.report)(call, &HookReport::Slow(elapsed));
                }
            }
        }
    }

    /// Ends the script and everything that it started and that stayed in its process group.
    async fn kill(&self, child: &mut Child) -> HookReport {
        if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
            let group = Pid::from_raw(id);
            signal_group(group, Signal::SIGTERM);
            let ended = timeout(self.limits.kill_after, child.wait()).await;
            // Whoever of the group is left has been asked already.
            signal_group(group, Signal::SIGKILL);
            if ended.is_err()
                && let Err(error) = child.wait().await
            {
                return HookReport::Lost(error);
            }
        }
        HookReport::Killed
    }

    fn listen(&self, call: &Arc<HookCall>, child: &mut Child) -> Vec<JoinHandle<()>> {
        let lines_left = Arc::new(AtomicUsize::new(MAX_LINES));
        let lines = |stream| Lines {
            call: Arc::clone(call),
            report: Arc::clone(&self.report),
            stream,
            left: Arc::clone(&lines_left),
            pending: Vec::new(),
        };
        let stdout = child.stdout.take();
        let stdout = stdout.map(|pipe| tokio::spawn(lines(OutputStream::Stdout).read(pipe)));
        let stderr = child.stderr.take();
        let stderr = stderr.map(|pipe| tokio::spawn(lines(OutputStream::Stderr).read(pipe)));
        stdout.into_iter().chain(stderr).collect()
    }

    /// Lets the readers come to the end, so that the output of a call precedes its outcome and
    /// the next call.
    async fn drain(&mut self, readers: Vec<JoinHandle<()>>) {
        for mut reader in readers {
            if timeout(OUTPUT_PATIENCE, &mut reader).await.is_err() {
                self.lingering.push_back(reader);
            }
        }
        self.lingering.retain(|reader| !reader.is_finished());
        while self.lingering.len() > MAX_LINGERING {
            let oldest = self.lingering.pop_front();
            oldest.iter().for_each(JoinHandle::abort);
        }
    }
}

fn signal_group(group: Pid, signal: Signal) {
    match killpg(group, signal) {
        // ESRCH: nobody is left.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => warn!(%error, ?signal, "process group of the status command"),
    }
}

/// Turns one output into reports, line by line.
struct Lines {
    call: Arc<HookCall>,
    report: ReportSink,
    stream: OutputStream,
    left: Arc<AtomicUsize>,
    pending: Vec<u8>,
}

impl Lines {
    async fn read(mut self, mut pipe: impl AsyncRead + Unpin) {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
            for &byte in &chunk[..count] {
                if byte == b'\n' {
                    self.end_line();
                } else {
                    self.pending.push(byte);
                    if self.pending.len() == MAX_LINE {
                        self.end_line();
                    }
                }
            }
        }
        if !self.pending.is_empty() {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.pending).trim_end().to_owned();
        self.pending.clear();
        match self.left.load(Ordering::Relaxed) {
            0 => return,
            1 => (self.report)(&self.call, &HookReport::OutputCut),
            _ => (self.report)(&self.call, &HookReport::Output { stream: self.stream, line }),
        }
        self.left.fetch_sub(1, Ordering::Relaxed);
    }
}
