//! How fast bytes arrive, by the receiver's clock.

use std::collections::VecDeque;

use crate::time::{Duration, Instant};

/// Most reports that are remembered; at one in 5 ms, 1.3 s.
const MAX_REPORTS: usize = 256;
/// Reports that come closer together, as gaps cause them, replace one another.
const LEAST_SPACING: Duration = Duration::from_millis(4);

/// The receiver's counter at its latest reports.
///
/// Measured between two arrivals on the receiver's clock, a rate depends neither on when reports
/// were sent nor on how they travelled, and a lost report changes nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct DeliveryWindow {
    reports: VecDeque<Report>,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    /// When the largest packet came, on the receiver's clock, and when it was sent, on ours.
    at: Instant,
    sent_at: Option<Instant>,
    bytes: u64,
}

impl DeliveryWindow {
    /// The receiver had `bytes` when its largest packet came at `at`, which was sent at `sent_at`.
    pub(super) fn on_report(&mut self, at: Instant, sent_at: Option<Instant>, bytes: u64) {
        if let Some(last) = self.reports.back()
            && (at <= last.at || bytes < last.bytes)
        {
            return;
        }
        let previous = self.reports.iter().nth_back(1);
        if previous.is_some_and(|previous| at < previous.at + LEAST_SPACING) {
            self.reports.pop_back();
        } else if self.reports.len() == MAX_REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(Report { at, sent_at, bytes });
    }

    /// Bytes per second over the last `span` and up to one report more, or since `since` when that
    /// is later. None when the reports cover less than `least` of it.
    pub(super) fn rate(&self, span: Duration, since: Instant, least: Duration) -> Option<f64> {
        let (first, last) = self.ends(span, since, least)?;
        let time = last.at.saturating_since(first.at);
        Some((last.bytes - first.bytes) as f64 / time.as_secs_f64())
    }

    /// What arrived in the same time as a share of what was sent to arrive in it: below 1 what is on the
    /// way grows, above 1 it gets less.
    pub(super) fn share(&self, span: Duration, since: Instant, least: Duration) -> Option<f64> {
        let (first, last) = self.ends(span, since, least)?;
        let sending = last.sent_at?.saturating_since(first.sent_at?);
        Some(sending.as_secs_f64() / last.at.saturating_since(first.at).as_secs_f64())
    }

    fn ends(&self, span: Duration, since: Instant, least: Duration) -> Option<(&Report, &Report)> {
        let last = self.reports.back()?;
        let from = self.reports.partition_point(|report| report.at < since);
        let start = self.reports.partition_point(|report| report.at <= last.at - span);
        let first = self.reports.get(from.max(start.saturating_sub(1)))?;
        let time = last.at.saturating_since(first.at);
        (time >= least && !time.is_zero()).then_some((first, last))
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.reports.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_bytes_over_receiver_time() {
        let mut window = DeliveryWindow::default();
        let ms = Duration::from_millis;
        for n in 0..20 {
            window.on_report(Instant::from_millis(n * 10), None, n * 1_000);
        }
        assert_eq!(window.rate(ms(50), Instant::ZERO, ms(50)), Some(100_000.0));
        assert_eq!(window.rate(ms(500), Instant::ZERO, ms(200)), None, "not long enough");
        let since = Instant::from_millis(160);
        assert_eq!(window.rate(ms(100), since, ms(30)), Some(100_000.0));
        assert_eq!(window.rate(ms(100), since, ms(31)), None);
    }

    #[test]
    fn reports_out_of_order_are_ignored() {
        let mut window = DeliveryWindow::default();
        window.on_report(Instant::from_millis(10), None, 1_000);
        window.on_report(Instant::from_millis(20), None, 2_000);
        window.on_report(Instant::from_millis(10), None, 1_000);
        let rate = window.rate(Duration::from_secs(1), Instant::ZERO, Duration::ZERO);
        assert_eq!(rate, Some(100_000.0));
    }
}
