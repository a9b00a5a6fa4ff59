//! The measurement itself.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mlvpn_lab::workload::Transfer;
use mlvpn_lab::{Interrupt, Lab};
use serde::Serialize;

use super::tunnel::{Carrier, Tunnel};
use super::usage::{self, Processors};

/// How many connections at the same time: both columns of the table.
pub(super) const FLOWS: [usize; 2] = [1, 8];
/// How long to watch what else the machine does, before each start.
const LOOK_AROUND: Duration = Duration::from_secs(1);

/// What one carrier did in one round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Run {
    /// Its name.
    pub(super) carrier: &'static str,
    /// From 0.
    pub(super) round: u32,
    /// Of the device that the traffic goes into, in bytes.
    pub(super) mtu: u32,
    /// Share of all processors that others used just before: 0 to 1.
    pub(super) other_load: f64,
    /// One per entry of [`FLOWS`].
    pub(super) transfers: [Figures; FLOWS.len()],
}

/// What one transfer achieved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Figures {
    /// Payload at the receiver.
    pub(super) mbit: f64,
    /// CPU seconds of the programs at both ends per 10^9 bytes of payload.
    pub(super) tunnel_cpu_per_gb: f64,
    /// The same of the workload that sends, receives and verifies.
    pub(super) workload_cpu_per_gb: f64,
}

/// Measures every carrier once per round, and every second round in reverse order, so that a machine
/// that slowly changes favours none.
///
/// # Errors
/// When something cannot be set up, a transfer fails or delivers other bytes than were sent, or a
/// signal says to stop.
pub(super) fn run_rounds(
    carriers: &[Carrier],
    rounds: u32,
    duration: Duration,
) -> Result<Vec<Run>> {
    let interrupt = Interrupt::watch()?;
    let lab = Lab::builder().direct_link("direct").build()?;
    let mut runs = Vec::new();
    for round in 0..rounds {
        let mut order: Vec<_> = carriers.iter().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for carrier in order {
            interrupt.check()?;
            let run = run_once(carrier, round, duration, &lab);
            let run = run.with_context(|| format!("round {round}: {}", carrier.name()))?;
            eprintln!(
                "round {round}: {:26} {:7.0} Mbit/s, {:7.0} Mbit/s",
                run.carrier, run.transfers[0].mbit, run.transfers[1].mbit
            );
            runs.push(run);
        }
    }
    Ok(runs)
}

/// The share of all processors that is busy while nothing of a measurement runs: 0 to 1.
///
/// # Errors
/// When the system does not tell.
pub(super) fn other_load() -> Result<f64> {
    let before = Processors::now()?;
    std::thread::sleep(LOOK_AROUND);
    Ok(Processors::now()?.busy_since(before))
}

fn run_once(carrier: &Carrier, round: u32, duration: Duration, lab: &Lab) -> Result<Run> {
    let other_load = other_load()?;
    let tunnel = carrier.start(lab)?;
    let mut transfers = [Figures::default(); FLOWS.len()];
    for (figures, flows) in transfers.iter_mut().zip(FLOWS) {
        *figures = transfer(&tunnel, flows, duration, lab)?;
    }
    let mtu = tunnel.mtu;
    tunnel.stop()?;
    Ok(Run { carrier: carrier.name(), round, mtu, other_load, transfers })
}

fn transfer(tunnel: &Tunnel, flows: usize, duration: Duration, lab: &Lab) -> Result<Figures> {
    let transfer = Transfer::download(lab.client(), lab.server(), tunnel.server)
        .flows(flows)
        .congestion("cubic")
        .duration(duration);
    let pids = tunnel.pids();
    let workload = [std::process::id()];
    // The programs descend from this process.
    let cpu = || -> Result<(f64, f64)> {
        let of_tunnel = usage::cpu_seconds(&pids)?;
        Ok((of_tunnel, usage::cpu_seconds(&workload)? - of_tunnel))
    };
    let before = cpu()?;
    let report = transfer.run()?;
    let after = cpu()?;
    ensure!(report.bytes() > 0, "nothing arrived");
    ensure!(report.wrong_bytes() == 0, "{} wrong bytes arrived", report.wrong_bytes());
    let gigabytes = report.bytes() as f64 / 1e9;
    Ok(Figures {
        mbit: report.mbit(),
        tunnel_cpu_per_gb: (after.0 - before.0) / gigabytes,
        workload_cpu_per_gb: (after.1 - before.1) / gigabytes,
    })
}
