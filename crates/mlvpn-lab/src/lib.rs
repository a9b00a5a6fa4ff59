//! Hosts in network namespaces joined by emulated WAN links.
//!
//! A [`Lab`] is a client with several links to a server, each host with a network stack of its own.
//! What runs in it are real programs ([`Daemon`]) and real sockets ([`workload`]); the links behave as
//! those of the simulator, since they are the same model on the real clock ([`emulator`]). Everything
//! is done by system calls, so that no tool need be installed, and disappears with the lab.
//!
//! ```no_run
//! use std::time::Duration;
//! use mlvpn_lab::{Lab, Observer, workload::Transfer};
//!
//! # fn main() -> anyhow::Result<()> {
//! let lab = Lab::builder()
//!     .link("dsl1", "down=50,up=10,delay=15".parse()?)
//!     .link("lte1", "lte".parse()?)
//!     .build()?;
//! let transfer = Transfer::download(lab.client(), lab.server(), lab.server_v4())
//!     .by_device("dsl1")
//!     .congestion("cubic")
//!     .duration(Duration::from_secs(3));
//! let show = |sample: &mlvpn_lab::Sample| println!("{:.1} Mbit/s", sample.down_mbit());
//! let (report, _seen) =
//!     Observer::every(Duration::from_millis(500)).watch(&lab, show, || transfer.run())?;
//! println!("{:.1} Mbit/s on average", report?.mbit());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

pub mod daemon;
pub mod emulator;
mod host;
mod interrupt;
mod lab;
pub mod report;
mod series;
pub mod workload;

pub use daemon::Daemon;
pub use host::Host;
pub use interrupt::Interrupt;
pub use lab::{Lab, LabBuilder, LabLink, LinkSample, Observation, Observer, Sample, Stranger};
pub use report::Report;
pub use series::Series;
