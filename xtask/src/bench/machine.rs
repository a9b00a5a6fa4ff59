//! Where and with what a figure was measured.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

/// What to say beside every figure.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    /// The processor's name.
    processor: String,
    /// How many processors this process may use.
    processors: usize,
    /// Release of the kernel.
    kernel: String,
    /// Of the workspace, with a word if files differ from it.
    commit: String,
    /// Of the measurement, UTC.
    date: String,
    /// What the programs call themselves.
    versions: Vec<String>,
}

impl Machine {
    /// Asks the system, git and the programs.
    ///
    /// # Errors
    /// When a program does not tell its version.
    pub(super) fn describe(root: &Path, mlvpn: &Path, boringtun: Option<&Path>) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
        let versions = std::iter::once(mlvpn).chain(boringtun).map(version);
        Ok(Self {
            processor: processor(&cpuinfo),
            processors: std::thread::available_parallelism()?.get(),
            kernel: kernel.context("cannot read the kernel's release")?.trim().to_owned(),
            commit: commit(root),
            date: date_of(mlvpn_io::clock::unix_time().as_secs()),
            versions: versions.collect::<Result<_>>()?,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "- machine: {}, {} processors", self.processor, self.processors)?;
        writeln!(f, "- kernel: Linux {}", self.kernel)?;
        writeln!(f, "- commit: {}", self.commit)?;
        writeln!(f, "- date: {}", self.date)?;
        writeln!(f, "- versions: {}", self.versions.join(", "))
    }
}

fn processor(cpuinfo: &str) -> String {
    let names = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let mut names =
        names.filter(|(key, _)| key.trim() == "model name").map(|(_, name)| name.trim());
    format!("{} ({})", names.next().unwrap_or("a processor without name"), std::env::consts::ARCH)
}

/// The short hash; a source tree without git has none.
fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(root).args(arguments).output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(hash) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    match git(&["status", "--porcelain", "--untracked-files=no", "--", "crates", "Cargo.lock"]) {
        Some(changes) if changes.is_empty() => hash,
        _ => format!("{hash} with changes"),
    }
}

fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(output.status.success(), "{} --version: {}", program.display(), output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// The day of a Unix time. The algorithm counts days of the Gregorian calendar in eras of 400 years
/// that begin in March (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn date_of(unix_seconds: u64) -> String {
    let days = unix_seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_the_date_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_767_225_599, "2025-12-31"),
            (1_767_225_600, "2026-01-01"),
        ] {
            assert_eq!(date_of(seconds), date);
        }
    }

    #[test]
    fn the_first_processor_names_the_machine() {
        let cpuinfo =
            "processor\t: 0\nmodel name\t: Fast 9\n\nprocessor\t: 1\nmodel name\t: Slow\n";
        assert!(processor(cpuinfo).starts_with("Fast 9 ("));
        assert!(processor("").starts_with("a processor without name"));
    }
}
