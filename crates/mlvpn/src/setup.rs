//! `mlvpn setup`: from nothing to a tunnel, with a command on each host.
//!
//! ```text
//!  server: mlvpn setup server            asks, or takes options; prints a line for the client
//!  client: mlvpn setup client TOKEN      finds the uplinks by itself
//! ```
//!
//! What is to be done is put together first, as a `Plan`, and only then shown (`--dry-run`) or done.
//! What is there already is no part of it, so that a second run does nothing; and nothing that differs
//! is replaced without `--force`.
//!
//! | module | purpose |
//! |---|---|
//! | `options` | the command line |
//! | `questions` | what the options do not say is asked for on a terminal |
//! | `token` | the line from the server to the client |
//! | `server`, `client` | what each end needs |
//! | `existing` | what an earlier set-up has left |
//! | `uplinks` | by which devices the client reaches the internet |
//! | `networks` | addresses for the tunnel that clash with nothing |
//! | `document` | configuration files with their comments |
//! | `plan` | files and commands, shown or done |
//! | `account`, `service`, `firewall` | the user, the start, the open ports |

mod account;
mod client;
mod document;
mod existing;
mod firewall;
mod networks;
mod options;
mod plan;
mod questions;
mod server;
mod service;
pub mod token;
mod uplinks;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use mlvpn_io::netlink::Netlink;

pub use options::SetupOptions;
use options::{CommonOptions, End};
use plan::{Kind, Plan};
use questions::Questions;
use service::Service;

use crate::network::present::Present;

/// Where configurations are that a service manager starts.
const FOLDER: &str = "/etc/mlvpn";

/// Does what the command line says.
///
/// # Errors
/// When something is missing, in the way, or fails.
pub fn run(options: &SetupOptions) -> anyhow::Result<()> {
    match &options.end {
        End::Server(options) => server::run(options),
        End::Client(options) => client::run(options),
    }
}

/// The files of one configuration.
#[derive(Debug, Clone)]
struct Place {
    name: String,
    folder: PathBuf,
}

impl Place {
    fn of(options: &CommonOptions) -> Self {
        Self { name: options.name.clone(), folder: options.config_dir.clone() }
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join(format!("{}.conf", self.name))
    }

    /// The key's file, relative to the folder.
    fn key_name(&self) -> String {
        format!("{}.key", self.name)
    }

    fn key(&self) -> PathBuf {
        self.folder.join(self.key_name())
    }

    /// What the server has told its clients, for the next one.
    fn choices(&self) -> PathBuf {
        self.folder.join(format!("{}.setup.json", self.name))
    }

    /// The control socket. The program makes its folder.
    fn socket(&self) -> String {
        format!("/run/mlvpn/{}.sock", self.name)
    }

    /// Whether a service manager finds the configuration.
    fn is_standard(&self) -> bool {
        self.folder == Path::new(FOLDER)
    }
}

/// The host's network as it is.
fn look_at_network() -> anyhow::Result<Present> {
    let read = || Present::read(&mut Netlink::open()?);
    read().context("the kernel does not tell of the host's network")
}

/// Whether users and services can be set up.
fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Plans a configuration. In place of one that differs it needs `--force`, or somebody's consent.
fn write_configuration(
    path: &Path,
    text: &str,
    plan: &mut Plan,
    questions: &Questions,
) -> anyhow::Result<()> {
    let Err(difference) = plan.file(path, text, Kind::Configuration) else { return Ok(()) };
    if !questions.is_asking() {
        return Err(difference);
    }
    eprintln!("{difference:#}");
    if !questions.is_wanted("Replace it, and keep the former one beside it", false)? {
        bail!("{} was left as it is", path.display());
    }
    plan.allow_replacing();
    plan.file(path, text, Kind::Configuration)
}

/// What starts the program, where that was not done; and what looks at it.
fn tell_start(place: &Place, was_left: bool, plan: &Plan) {
    let service = Service::of(place);
    let configuration = place.configuration();
    if was_left || service == Service::ByHand {
        eprintln!("\nstart it with: {}", service.command_to_start(place));
        if plan.writes(&configuration) && !was_left {
            eprintln!("if it runs already, have it read its configuration again: kill -HUP PID");
        }
    }
    let shown = configuration.display();
    eprintln!("see how it is with: mlvpn status --config {shown}, mlvpn doctor --config {shown}");
}
