//! Numbers for people: at most three digits matter, and the columns stay narrow.

/// Bytes per second as Mbit/s, the unit of providers: `0.25`, `12.3`, `940`.
#[must_use]
pub fn megabits(bytes_per_second: u64) -> String {
    let megabits = bytes_per_second as f64 * 8.0 / 1e6;
    match megabits {
        0.0 => "0".to_owned(),
        m if m < 9.995 => format!("{m:.2}"),
        m if m < 99.95 => format!("{m:.1}"),
        m => format!("{m:.0}"),
    }
}

/// Milliseconds: `0.4`, `21.4`, `340`.
#[must_use]
pub fn millis(ms: f64) -> String {
    if ms < 99.95 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

/// A share as percent: `0`, `0.4`, `12`.
#[must_use]
pub fn percent(ratio: f64) -> String {
    match ratio * 100.0 {
        p if p < 0.05 => "0".to_owned(),
        p if p < 9.95 => format!("{p:.1}"),
        p => format!("{p:.0}"),
    }
}

/// Bytes: `17 B`, `4.2 MB`, `12.3 GB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1_000 {
        return format!("{count} B");
    }
    let mut number = count as f64 / 1e3;
    let mut unit = 0;
    while number >= 999.95 && unit + 1 < UNITS.len() {
        number /= 1e3;
        unit += 1;
    }
    format!("{number:.1} {}", UNITS[unit])
}

/// `text` without what could drive a terminal: names come from files, reasons from the system.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_in_megabits_with_three_digits() {
        let table = [
            (0, "0"),
            (1_000, "0.01"),
            (31_250, "0.25"),
            (1_249_000, "9.99"),
            (1_250_000, "10.0"),
            (12_500_000, "100"),
            (1_250_000_000, "10000"),
        ];
        for (rate, text) in table {
            assert_eq!(megabits(rate), text);
        }
    }

    #[test]
    fn shares_and_delays_and_sizes_are_short() {
        let shares = [0.0, 0.0004, 0.004, 0.12, 1.0].map(percent);
        assert_eq!(shares, ["0", "0", "0.4", "12", "100"]);
        assert_eq!([0.44, 21.44, 340.2].map(millis), ["0.4", "21.4", "340"]);
        let sizes = [17, 4_200_000, 12_300_000_000, 999_960, u64::MAX].map(bytes);
        assert_eq!(sizes, ["17 B", "4.2 MB", "12.3 GB", "1.0 MB", "18.4 EB"]);
    }

    #[test]
    fn what_drives_a_terminal_is_not_printed() {
        assert_eq!(printable("a\u{1b}[2J\u{9b}b\té"), "a?[2J?b?é");
    }
}
