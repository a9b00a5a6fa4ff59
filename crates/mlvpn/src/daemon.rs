//! The daemon: two processes, and two threads in the one that works.
//!
//! ```text
//!  privileged process ── socket pair ── worker: control thread ── channels ── data thread
//!  opens tun and sockets,               names, retries, status,               session, tun,
//!  runs the status command              reload                                sockets
//! ```
//!
//! The worker is this program, executed again: nothing of the privileged process's memory is in
//! it. It finds its end of the socket pair on standard input.

mod capabilities;
mod data;
mod ipc;
mod links;
mod mtu;
mod plan;
mod privileged;
mod title;
mod worker;

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};

use mlvpn_proto::{EndpointConfig, LinkConfig};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::cli::RunArgs;
use crate::config::{Config, Link};

/// Set in the environment of a worker.
const WORKER_VARIABLE: &str = "MLVPN_INTERNAL_WORKER";
/// Room in the worker's arguments for its process title.
const TITLE_ROOM: usize = 256;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// What kept it from starting, or made it end.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    privileged::run(args)
}

/// The end of the protocol that `config` describes, for a handshake without the rest of the daemon.
pub(crate) fn endpoint_config(config: &Config) -> EndpointConfig {
    plan::endpoint_config(config, config.unfragmented_mtu())
}

/// A link's settings for the protocol; its peer is at `remote`, where that is known.
pub(crate) fn link_config(link: &Link, remote: Option<SocketAddr>) -> LinkConfig {
    plan::link_config(link, remote)
}

/// If this process was started as a worker: does its work and returns the exit code.
#[must_use]
pub fn run_if_worker() -> Option<ExitCode> {
    std::env::var_os(WORKER_VARIABLE)?;
    Some(match worker_main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("mlvpn: {error:#}");
            ExitCode::FAILURE
        }
    })
}

fn worker_main() -> anyhow::Result<()> {
    // The privileged process decides when to end: it hears the terminal's and the service
    // manager's signals, too.
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        signal_hook::flag::register(signal, std::sync::Arc::default())?;
    }
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    worker::run(ipc::Peer::new(mlvpn_io::fdpass::Channel::from_fd(socket)?))
}

fn spawn_worker(channel: OwnedFd) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg0(format!("mlvpn: worker{}", " ".repeat(TITLE_ROOM)))
        .env_clear()
        .env(WORKER_VARIABLE, "1")
        .stdin(Stdio::from(channel))
        .spawn()
}
