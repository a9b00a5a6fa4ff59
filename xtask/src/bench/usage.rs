//! What processes, and the whole machine, have used of the processors.

use std::fs;

use anyhow::{Context, Result};

/// Ticks per second of the kernel's counters for programs (`USER_HZ`, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// One line of `/proc/PID/stat`, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    /// User and system time.
    ticks: u64,
}

/// Seconds of user and system time of these processes and all that descend from them. It has a
/// resolution of 10 ms.
///
/// # Errors
/// When there is no `/proc`.
pub(super) fn cpu_seconds(pids: &[u32]) -> Result<f64> {
    Ok(ticks_of_trees(&processes()?, pids) as f64 / TICKS_PER_SECOND)
}

/// Memory that this process and all that descend from it have in use (`VmRSS`, proc(5)), in bytes. What
/// they share counts for each of them.
///
/// # Errors
/// When there is no `/proc`.
pub(super) fn resident_bytes(pid: u32) -> Result<u64> {
    let members = tree(&processes()?, &[pid]);
    let resident = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        resident_kib(&status).unwrap_or(0) * 1_024
    };
    Ok(members.iter().map(resident).sum())
}

/// A moment of the machine's processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Processors {
    busy: u64,
    total: u64,
}

impl Processors {
    /// Reads `/proc/stat`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        Self::parse(&text).context("/proc/stat does not begin with the line `cpu`")
    }

    /// How much of all processors was busy since `earlier`, or taken by other virtual machines: 0 to 1.
    pub(super) fn busy_since(self, earlier: Self) -> f64 {
        let total = self.total.saturating_sub(earlier.total).max(1);
        (self.busy.saturating_sub(earlier.busy) as f64 / total as f64).min(1.0)
    }

    /// Fields of proc(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are in user.
    fn parse(text: &str) -> Option<Self> {
        let fields = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
        let fields: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
        let total = fields.iter().sum();
        Some(Self { busy: total - fields.get(3)? - fields.get(4)?, total })
    }
}

fn processes() -> Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot list the processes")? {
        let path = entry?.path().join("stat");
        // Others end while the list is read.
        all.extend(fs::read_to_string(path).ok().and_then(|line| parse_process(&line)));
    }
    Ok(all)
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn parse_process(line: &str) -> Option<Process> {
    // The name may contain anything, so the fields count from its end: 3 is the state, 4 the parent,
    // 14 and 15 are the times.
    let (start, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Process {
        pid: start.split_once(' ')?.0.parse().ok()?,
        parent: u32::try_from(number(4)?).ok()?,
        ticks: number(14)? + number(15)?,
    })
}

fn ticks_of_trees(all: &[Process], roots: &[u32]) -> u64 {
    let members = tree(all, roots);
    all.iter().filter(|process| members.contains(&process.pid)).map(|process| process.ticks).sum()
}

/// The roots, and all that descend from them.
fn tree(all: &[Process], roots: &[u32]) -> Vec<u32> {
    let mut members = roots.to_vec();
    let mut next = 0;
    while let Some(&parent) = members.get(next) {
        let children = all.iter().filter(|process| process.parent == parent).map(|child| child.pid);
        members.extend(children.filter(|child| !roots.contains(child)).collect::<Vec<_>>());
        next += 1;
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let line = "42 (a) b ) S 7 42 42 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 1 0 1000 0 0";
        assert_eq!(parse_process(line), Some(Process { pid: 42, parent: 7, ticks: 300 }));
        assert_eq!(parse_process("42 (cut short) S 7"), None);
    }

    #[test]
    fn descendants_count_and_others_do_not() {
        let process = |pid, parent, ticks| Process { pid, parent, ticks };
        let all = [process(1, 0, 1000), process(5, 1, 1), process(6, 5, 10), process(7, 6, 100)];
        assert_eq!(ticks_of_trees(&all, &[5]), 111);
        assert_eq!(ticks_of_trees(&all, &[5, 6]), 111);
        assert_eq!(ticks_of_trees(&all, &[9]), 0);
    }

    #[test]
    fn memory_is_read_from_its_line() {
        assert_eq!(resident_kib("Name:\tx\nVmHWM:\t   9 kB\nVmRSS:\t  5120 kB\n"), Some(5_120));
        assert_eq!(resident_kib("Name:\tkernel\n"), None);
    }

    #[test]
    fn waiting_is_not_busy_and_stolen_time_is() {
        let earlier = Processors::parse("cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 1").unwrap();
        let later = Processors::parse("cpu  10 10 10 50 10 5 3 2 10 0\n").unwrap();
        assert!((later.busy_since(earlier) - 0.4).abs() < 1e-9);
        assert_eq!(Processors::parse("intr 5"), None);
    }
}
