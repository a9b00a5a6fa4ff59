//! `cargo xtask bench trace`: one flow over bonded links, as it goes, beside what both ends think of the links.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use clap::builder::PossibleValuesParser;
use mlvpn_io::clock::Clock;
use mlvpn_lab::workload::RunningTransfer;
use mlvpn_lab::{Host, Interrupt, Lab, LabLink};
use mlvpn_sim::link::Direction;
use serde_json::Value;

use super::credentials::Credentials;
use super::measure::Bench;
use super::scenario::{SCENARIOS, Scenario, fastest};
use super::tunnel::Tunnel;
use super::weather::under_weather;
use crate::bench::build::Program;

const INTERVAL: Duration = Duration::from_millis(200);
/// A time without payload that is told of.
const SILENCE: Duration = Duration::from_millis(60);

#[derive(Debug, Args)]
pub(in crate::bench) struct Options {
    /// Over which links
    #[arg(value_name = "SCENARIO", value_parser = PossibleValuesParser::new(SCENARIOS.iter().map(|scenario| scenario.name)))]
    scenario: String,
    /// The client sends, not the server
    #[arg(long)]
    up: bool,
    /// How many connections
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    flows: u16,
    /// How long
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Cut the fastest link after half of that time
    #[arg(long)]
    cut: bool,
    /// Congestion control of the hosts inside the tunnel
    #[arg(long, default_value = "cubic", value_parser = ["cubic", "bbr"])]
    congestion: String,
    #[command(flatten)]
    program: Program,
}

/// Sends, and prints a line every 200 ms, and one for each time without payload.
///
/// # Errors
/// When something cannot be built or set up, the transfer failed, or a signal said to stop.
pub(in crate::bench) fn run(options: &Options, root: &Path, arguments: &[&str]) -> Result<()> {
    let mlvpn = options.program.find(root, arguments)?;
    let named = |scenario: &&Scenario| scenario.name == options.scenario;
    let scenario = SCENARIOS.iter().find(named).context("the name was checked")?;
    let links = scenario.links()?;
    let interrupt = Interrupt::watch()?;
    let lab =
        links.iter().fold(Lab::builder(), |lab, link| lab.link(&link.name, link.line.link.clone()));
    let lab = lab.build()?;
    let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
    let tunnel = Tunnel::start(&mlvpn, &lab, &names, Credentials::Password, &interrupt)?;
    let (direction, sender) =
        if options.up { (Direction::Up, lab.client()) } else { (Direction::Down, lab.server()) };
    let long = Duration::from_secs(options.seconds);
    let congestion = options.congestion.as_str();
    let bench = Bench {
        program: &mlvpn,
        lab: &lab,
        links: &links,
        congestion,
        long,
        interrupt: &interrupt,
    };
    let victim = lab.link(&fastest(&links, direction)?.name);
    under_weather(&lab, &links, long, &interrupt, || {
        let running = bench.plan(direction, long).flows(usize::from(options.flows)).start()?;
        thread::scope(|scope| {
            scope.spawn(|| print_silences(&running, &interrupt));
            if options.cut {
                scope.spawn(|| cut_after(long / 2, victim, &running, &interrupt));
            }
            print_all(&running, &tunnel, sender, options.up, &interrupt)
                .map_err(|error| tunnel.explain(&error))
        })
    })
}

fn cut_after(time: Duration, victim: &LabLink, running: &RunningTransfer, interrupt: &Interrupt) {
    match interrupt.wait(time, || Ok(running.is_over())).and_then(|_| victim.cut()) {
        Ok(()) => println!("the fastest link is cut"),
        Err(error) => eprintln!("cannot cut the fastest link: {error:#}"),
    }
}

/// Prints when nothing arrived for [`SILENCE`], as long as the transfer lasts.
fn print_silences(running: &RunningTransfer, interrupt: &Interrupt) {
    let clock = Clock::new();
    let (mut bytes, mut since) = (running.bytes(), clock.now_us());
    // Ends with the transfer, or when a signal says to stop, which the caller notices, too.
    let _ = interrupt.wait(Duration::MAX, || {
        let (seen, now) = (running.bytes(), clock.now_us());
        if seen != bytes {
            let silent = Duration::from_micros(now - since);
            if silent >= SILENCE {
                println!("silent for {} ms until now", silent.as_millis());
            }
            (bytes, since) = (seen, now);
        }
        Ok(running.is_over())
    });
}

fn print_all(
    running: &RunningTransfer,
    tunnel: &Tunnel,
    sender: &Host,
    is_client: bool,
    interrupt: &Interrupt,
) -> Result<()> {
    let clock = Clock::new();
    let (start, mut at, mut bytes) = (clock.now_us(), clock.now_us(), 0);
    loop {
        interrupt.wait(INTERVAL, || Ok(running.is_over()))?;
        if running.is_over() {
            let receiver = if is_client { tunnel.server_status() } else { tunnel.client_status() }?;
            println!("the receiver's order: {}", receiver["peers"][0]["lanes"]);
            return Ok(());
        }
        let (now, seen) = (clock.now_us(), running.bytes());
        let mbit = (seen - bytes) as f64 * 8.0 / (now - at) as f64;
        (at, bytes) = (now, seen);
        let status = if is_client { tunnel.client_status() } else { tunnel.server_status() }?;
        let seconds = (now - start) as f64 / 1e6;
        println!("{seconds:6.2} s {mbit:6.1} Mbit/s | {} | {}", sockets(sender)?, paths(&status));
    }
}

/// The largest of the sender's connections, as the kernel sees it.
fn sockets(sender: &Host) -> Result<String> {
    let output = sender.command("ss").args(["-tinH", "state", "established"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let wanted = ["rtt:", "cwnd:", "ssthresh:", "retrans:"];
    let busiest = text.lines().filter(|line| line.contains("bytes_acked")).max_by_key(|line| {
        let acked = line.split_whitespace().find_map(|word| word.strip_prefix("bytes_acked:"));
        acked.and_then(|acked| acked.parse::<u64>().ok())
    });
    let words = busiest.unwrap_or_default().split_whitespace();
    let kept: Vec<_> =
        words.filter(|word| wanted.iter().any(|name| word.starts_with(name))).collect();
    Ok(kept.join(" "))
}

fn paths(status: &Value) -> String {
    let peers = status["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text: String = peers
        .iter()
        .map(|peer| {
            format!(
                "queue {} kB striped {}",
                peer["queue"]["bytes"].as_u64().unwrap_or(0) / 1000,
                peer["striped_lanes"]
            )
        })
        .collect();
    for link in status["tunnels"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let path = &link["path"];
        text.push_str(&format!(
            " | {} {} {:.1} Mbit/s q {} loss {} flight {} kB",
            path["state"].as_str().unwrap_or("-"),
            path["rate_state"].as_str().unwrap_or("-"),
            path["capacity"].as_f64().unwrap_or(0.0) * 8e-6,
            path["queue_delay_ms"],
            path["loss_ratio"],
            path["in_flight_bytes"].as_u64().unwrap_or(0) / 1000,
        ));
    }
    text
}
