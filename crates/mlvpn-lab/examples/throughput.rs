//! How much TCP one emulated link carries on this machine, and what that costs.
//!
//! `cargo run --release -p mlvpn-lab --example throughput -- [LINK [SECONDS [FLOWS]]]`, where LINK is
//! `cable` or as in `down=1000,delay=5`; unlimited unless given.

use std::time::Duration;

use mlvpn_lab::workload::Transfer;
use mlvpn_lab::{Lab, Observer};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let link = arguments.next().unwrap_or_else(|| "down=unlimited".to_owned());
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let flows: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let builder = Lab::builder();
    let lab = match link.as_str() {
        "cable" => builder.direct_link("link"),
        text => builder.link("link", text.parse()?),
    }
    .build()?;
    let duration = Duration::from_secs(seconds);
    let transfer = Transfer::download(lab.client(), lab.server(), lab.server_v4())
        .flows(flows)
        .congestion("cubic")
        .duration(duration);
    let before = thread_times()?;
    let (report, seen) =
        Observer::every(Duration::from_millis(500)).watch(&lab, |_| {}, || transfer.run())?;
    let report = report?;
    println!(
        "{link}: {:.0} Mbit/s of payload, {} wrong bytes",
        report.mbit(),
        report.wrong_bytes()
    );
    println!("{:.0} Mbit/s of IP packets arrived", seen.down[0].mean_mbit());
    if let Some(traffic) = lab.link("link").traffic() {
        println!("{traffic:?}");
    }
    let total = std::fs::read_to_string("/proc/self/stat")?;
    println!("CPU of the whole process: {:.2} s", ticks(&total).unwrap_or(0.0));
    for (name, spent) in thread_times()? {
        let earlier = before.iter().find(|(other, _)| *other == name).map_or(0.0, |t| t.1);
        let share = (spent - earlier) / seconds as f64 * 100.0;
        println!("thread {name}: {share:.0} % of a core");
    }
    Ok(())
}

/// Names and seconds of CPU of the threads that there are.
fn thread_times() -> std::io::Result<Vec<(String, f64)>> {
    let mut times = Vec::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let stat = std::fs::read_to_string(path.join("stat"))?;
        let name = std::fs::read_to_string(path.join("comm"))?.trim().to_owned();
        times.push((name, ticks(&stat).unwrap_or(0.0)));
    }
    Ok(times)
}

/// Seconds of user and system time in a line as of /proc/PID/stat (proc(5): fields 14 and 15, in
/// hundredths).
fn ticks(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let user: f64 = fields.get(11)?.parse().ok()?;
    let system: f64 = fields.get(12)?.parse().ok()?;
    Some((user + system) / 100.0)
}
