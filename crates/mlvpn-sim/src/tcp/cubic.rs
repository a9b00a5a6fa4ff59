//! CUBIC (RFC 9438) with slow start that ends before the first loss.

mod hystart;

use core::time::Duration;

use mlvpn_proto::time::Instant;

use hystart::HyStart;

/// RFC 9438 section 5: segments per cubic second.
const C: f64 = 0.4;
/// Multiplicative decrease, RFC 9438 section 4.6.
const BETA: f64 = 0.7;
/// Additive increase that Reno with [`BETA`] would need to be as fast, RFC 9438 section 4.3.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// RFC 6928.
pub(super) const INITIAL_WINDOW: f64 = 10.0;
const MIN_WINDOW: f64 = 2.0;
/// Round trips are not looked at for so long after congestion avoidance began.
const HYSTART_PAUSE: Duration = Duration::from_secs(1);

/// The congestion window. All windows are in segments.
///
/// Like Linux's, the window grows by whole segments, and a reduction forfeits the parts gained
/// since the last one, also when it is undone: frequent false alarms stop its growth.
#[derive(Clone, Debug)]
pub(super) struct Cubic {
    pub(super) window: f64,
    pub(super) slow_start_threshold: f64,
    last_max: f64,
    /// The window when it was last reduced.
    before: f64,
    /// Parts of a segment gained.
    gained: f64,
    epoch: Option<Epoch>,
    hystart: HyStart,
}

/// A period of congestion avoidance.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    start: Instant,
    /// Seconds until the window is back at `origin`.
    k: f64,
    origin: f64,
    /// What Reno would have.
    reno: f64,
}

/// A window to go back to when a reduction turns out to have been unnecessary.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Saved {
    window: f64,
    slow_start_threshold: f64,
}

impl Cubic {
    pub(super) fn new() -> Self {
        Self {
            window: INITIAL_WINDOW,
            slow_start_threshold: f64::INFINITY,
            last_max: 0.0,
            before: 0.0,
            gained: 0.0,
            epoch: None,
            hystart: HyStart::default(),
        }
    }

    pub(super) fn is_in_slow_start(&self) -> bool {
        self.window < self.slow_start_threshold
    }

    /// Grows after `acked` segments were acknowledged by a sender that used its whole window.
    pub(super) fn on_ack(&mut self, acked: u64, rtt: Duration, now: Instant) {
        let mut acked = acked as f64;
        if self.is_in_slow_start() {
            let grown = (self.window + acked).min(self.slow_start_threshold);
            acked -= grown - self.window;
            self.window = grown;
        }
        if acked > 0.0 {
            self.avoid_congestion(acked, rtt, now);
        }
    }

    fn avoid_congestion(&mut self, acked: f64, rtt: Duration, now: Instant) {
        let window = self.window;
        let last_max = self.last_max;
        let epoch = self.epoch.get_or_insert_with(|| Epoch {
            start: now,
            k: cube_root((last_max - window).max(0.0) / C),
            origin: last_max.max(window),
            reno: window,
        });
        let t = (now.saturating_since(epoch.start) + rtt).as_secs_f64();
        let distance = t - epoch.k;
        let target = epoch.origin + C * (distance * distance * distance);
        // RFC 9438 section 4.2: at most one and a half windows per RTT.
        let target = target.clamp(window, 1.5 * window);
        // As Linux: before the first loss nothing is known, and it grows by 5 % in a round trip.
        let target = if last_max == 0.0 { target.max(1.05 * window) } else { target };
        let alpha = if epoch.reno < self.before { ALPHA } else { 1.0 };
        epoch.reno += alpha * acked / window;
        let reno = epoch.reno.floor().min(window + acked);
        self.gained += (target - window) * acked / window;
        self.window = (window + self.gained.floor()).max(reno);
        self.gained = self.gained.fract();
    }

    /// Looks at an RTT sample; `una` and `next` delimit the data in flight.
    pub(super) fn on_rtt(&mut self, rtt: Duration, una: u64, next: u64, now: Instant) {
        let is_after_recovery = self.epoch.is_some_and(|epoch| now < epoch.start + HYSTART_PAUSE);
        if is_after_recovery {
            return;
        }
        self.hystart.on_min_rtt(rtt);
        if self.is_in_slow_start() && self.hystart.ends_slow_start(rtt, self.window, una, next, now)
        {
            self.slow_start_threshold = self.window;
        }
    }

    /// What to go back to when nothing is to be reduced.
    pub(super) fn saved(&self) -> Saved {
        Saved { window: self.window, slow_start_threshold: self.slow_start_threshold }
    }

    /// Halves, nearly, after a loss (RFC 9438 sections 4.6 and 4.7).
    pub(super) fn on_congestion(&mut self) -> Saved {
        let saved = self.saved();
        self.last_max = if self.window < self.last_max {
            // Fast convergence: leave room for a new flow.
            self.window * (1.0 + BETA) / 2.0
        } else {
            self.window
        };
        self.before = self.window;
        self.slow_start_threshold = (self.window * BETA).floor().max(MIN_WINDOW);
        self.epoch = None;
        self.gained = 0.0;
        saved
    }

    /// Starts anew from one segment after a retransmission timeout.
    pub(super) fn on_timeout(&mut self) {
        self.window = 1.0;
        self.epoch = None;
        self.hystart = HyStart::default();
    }

    /// Takes a reduction back.
    pub(super) fn undo(&mut self, saved: Saved) {
        self.window = self.window.max(saved.window);
        self.slow_start_threshold = self.slow_start_threshold.max(saved.slow_start_threshold);
        self.epoch = None;
    }

    /// Restarts after the connection was idle for a retransmission timeout (RFC 5681 section 4.1).
    pub(super) fn on_idle(&mut self) {
        self.window = self.window.min(INITIAL_WINDOW);
        self.epoch = None;
    }
}

/// The cube root of `x`, which is not negative, by Newton's method: additions, multiplications and
/// divisions only, so that every platform finds exactly the same.
fn cube_root(x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let mut root = 1.0_f64.max(x);
    loop {
        let next = (2.0 * root + x / (root * root)) / 3.0;
        // From above, it falls until it is as close as numbers are.
        if next >= root {
            return root;
        }
        root = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    /// The window after each RTT of full use.
    fn grow(cubic: &mut Cubic, rounds: u64) -> Vec<f64> {
        (0..rounds)
            .map(|round| {
                for _ in 0..cubic.window as u64 {
                    cubic.on_ack(1, RTT, Instant::from_millis(round * 50));
                }
                cubic.window
            })
            .collect()
    }

    #[test]
    fn slow_start_doubles() {
        let mut cubic = Cubic::new();
        assert_eq!(grow(&mut cubic, 3), [20.0, 40.0, 80.0]);
    }

    #[test]
    fn before_the_first_loss_it_grows_by_a_twentieth_in_a_round_trip() {
        let mut cubic = Cubic { window: 200.0, slow_start_threshold: 200.0, ..Cubic::new() };
        let windows = grow(&mut cubic, 10);
        let all = 200.0 * 1.05f64.powi(10);
        assert!((windows[9] - all).abs() < 5.0, "{windows:?}");
    }

    #[test]
    fn a_loss_takes_thirty_percent_and_growth_is_concave_then_convex() {
        let mut cubic = Cubic { window: 1_000.0, ..Cubic::new() };
        cubic.on_congestion();
        cubic.window = cubic.slow_start_threshold;
        assert_eq!(cubic.window, 700.0);
        // K = cbrt(300 / 0.4) = 9.09 s = 182 rounds.
        let windows = grow(&mut cubic, 300);
        assert!((windows[181] - 1_000.0).abs() < 10.0, "{}", windows[181]);
        assert!(windows[20] - windows[0] > windows[170] - windows[150]);
        assert!(windows[299] - windows[280] > windows[190] - windows[171]);
    }

    #[test]
    fn small_windows_grow_as_reno_would() {
        let mut cubic = Cubic { window: 10.0, ..Cubic::new() };
        cubic.on_congestion();
        cubic.window = cubic.slow_start_threshold;
        let windows = grow(&mut cubic, 10);
        assert!(windows[9] >= (7.0 + 9.0 * ALPHA).floor(), "{}", windows[9]);
    }

    #[test]
    fn a_growing_delay_ends_slow_start() {
        let mut cubic = Cubic { window: 100.0, ..Cubic::new() };
        let at = |ms| Instant::from_millis(ms);
        cubic.on_rtt(RTT, 0, 1_000, at(0));
        for ms in 0..9 {
            cubic.on_rtt(Duration::from_millis(55), 1_001, 2_000, at(100 + 10 * ms));
        }
        assert!(cubic.is_in_slow_start(), "5 ms are within the margin");
        for ms in 0..9 {
            cubic.on_rtt(Duration::from_millis(60), 2_001, 3_000, at(200 + 10 * ms));
        }
        assert!(!cubic.is_in_slow_start());
    }

    #[test]
    fn cube_roots_are_as_close_as_numbers_are() {
        for root in [0.0, 1e-3, 0.5, 1.0, 1.7, 9.0, 123.456, 4e3] {
            let found = cube_root(root * root * root);
            assert!((found - root).abs() <= 4e-16 * root, "{root}: {found}");
        }
    }

    #[test]
    fn an_unnecessary_reduction_is_taken_back() {
        let mut cubic = Cubic { window: 100.0, ..Cubic::new() };
        let saved = cubic.on_congestion();
        cubic.on_timeout();
        cubic.undo(saved);
        assert_eq!(cubic.window, 100.0);
        assert!(cubic.is_in_slow_start());
    }
}
