//! `mlvpn status`, `mlvpn top` and `mlvpn link`: a program that runs, looked at and switched.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::console::document::Status;
use crate::console::screen::{self, Colour};
use crate::console::socket::Target;
use crate::control::LinkSwitch;

#[derive(Debug, Args)]
pub(super) struct StatusOptions {
    #[command(flatten)]
    target: Target,
    /// Print everything that the program tells, as JSON
    ///
    /// docs/status.md lists the fields.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TopOptions {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(super) struct LinkOptions {
    /// The link's section in the configuration
    name: String,
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    change: LinkChange,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum LinkChange {
    /// Use the link again
    Up,
    /// Close the link; the peer is told, and the other links carry its packets
    Down,
    /// Use the link only while no other one is usable, as with fallback_only = 1
    Fallback {
        /// Whether that is wanted
        #[arg(value_enum, default_value = "on")]
        wanted: Wanted,
    },
    /// Use the link as if it were slower, as with cost = MILLISECONDS
    Cost {
        /// What is added to its delay when links are compared; 0: nothing
        #[arg(value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(0..=10_000))]
        millis: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Wanted {
    On,
    Off,
}

/// Prints the status of a running program.
pub(super) fn status(options: &StatusOptions) -> anyhow::Result<()> {
    let socket = options.target.find()?;
    let text = if options.json {
        socket.ask("status")?
    } else {
        screen::render(&socket.ask_for::<Status>("status")?, colour())
    };
    super::pages::print(text.as_bytes())
}

/// Colours are for terminals whose owner has nothing against them.
fn colour() -> Colour {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if std::io::stdout().is_terminal() && !is_unwanted { Colour::On } else { Colour::Off }
}

/// Switches a link of a running program.
pub(super) fn link(options: &LinkOptions) -> anyhow::Result<()> {
    let switch = match options.change {
        LinkChange::Up => LinkSwitch::Up,
        LinkChange::Down => LinkSwitch::Down,
        LinkChange::Fallback { wanted } => LinkSwitch::Fallback(wanted == Wanted::On),
        LinkChange::Cost { millis } => LinkSwitch::Cost(Duration::from_millis(millis)),
    };
    let name = &options.name;
    let done = options.target.find()?.switch_link(name, switch);
    let text = done.with_context(|| name.clone())?;
    super::pages::print(format!("{name}: {text}\n").as_bytes())
}

/// Shows a running program until its user has seen enough.
pub(super) fn top(options: &TopOptions) -> anyhow::Result<()> {
    crate::console::top::run(options.target.find()?, colour())
}
