//! `mlvpn demo`: what bonding does, measured on this machine with the real program.
//!
//! ```text
//!  client host                emulated lines              server host
//!  TCP, ping ── mlvpn0 ── mlvpn ── dsl1, dsl2 ... ── mlvpn ── mlvpn0 ── TCP
//! ```
//!
//! `lines` says what the lines are, `tunnel` runs the two daemons, `bench` measures through them,
//! `live` shows it meanwhile and `outcome` afterwards; `rights` makes do without root.

mod bench;
mod lines;
mod live;
mod outcome;
mod rights;
mod show;
mod tunnel;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use mlvpn_lab::{Interrupt, Lab};
use mlvpn_sim::link::WanLink;

use bench::Bench;
use lines::Line;
use live::Live;
use outcome::Outcome;
use rights::Rights;

/// The lines unless others are given: those of the how-to in which this program became known.
const DEFAULT_LINES: [&str; 2] = ["dsl", "dsl,delay=20"];

/// What the command line says.
#[derive(Debug, Clone, Args)]
#[command(after_help = lines::preset_help())]
pub struct DemoOptions {
    /// A line between client and server; give at least two
    ///
    /// A preset's name, or its properties like `down=50,up=20,delay=40,jitter=8,loss=0.5,queue=300`, or
    /// a preset with some of them changed like `lte,loss=2`. Rates are in Mbit/s, delay (one way),
    /// jitter and queue in ms, loss in percent. Unless given: `dsl` and `dsl,delay=20`.
    #[arg(short, long = "link", value_name = "SPEC")]
    links: Vec<WanLink>,
    /// Print the result as one JSON object; what happens meanwhile goes to standard error
    #[arg(long)]
    json: bool,
    /// Write the result to this file, as a page with plots that needs nothing else
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Seconds that each download and each upload takes
    #[arg(short, long, value_name = "SECS", default_value_t = 8,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    duration: u64,
    /// Cut a line in the middle of an upload, instead of a download
    #[arg(long)]
    upload: bool,
}

/// Runs the demo. Without root, this process is replaced by one in a user namespace first.
///
/// # Errors
/// Without the right to make namespaces, and when one of the daemons fails or a signal says to stop;
/// everything is removed before.
pub fn run(options: &DemoOptions) -> anyhow::Result<()> {
    let lines = Line::all(&options.specs()?)?;
    let rights = Rights::obtain()?;
    let interrupt = Interrupt::watch()?;
    let mut live = Live::new(options.json);
    let mut builder = Lab::builder();
    for line in &lines {
        builder = builder.link(&line.name, line.spec.clone());
    }
    let lab = builder.build().context("cannot build the hosts and lines")?;
    live.introduce(&lines);
    let duration = Duration::from_secs(options.duration);
    let bench = Bench::new(&lab, &lines, rights, &interrupt, duration);
    let outcome = bench.run(&mut live, options.upload)?;
    drop(lab);
    options.publish(&outcome)
}

impl DemoOptions {
    fn specs(&self) -> anyhow::Result<Vec<WanLink>> {
        if !self.links.is_empty() {
            return Ok(self.links.clone());
        }
        DEFAULT_LINES
            .iter()
            .map(|text| text.parse().with_context(|| format!("the default line {text}")))
            .collect()
    }

    fn publish(&self, outcome: &Outcome) -> anyhow::Result<()> {
        if let Some(path) = &self.report {
            fs::write(path, outcome.report().to_html())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(outcome)?);
        } else {
            println!("\n{}", outcome.text());
        }
        Ok(())
    }
}
