//! Share of packets lost, from gaps in the packet numbers received.

use crate::id::PacketNumber;
use crate::time::{Duration, Instant};

/// How many of the latest packet numbers are looked at (as the C program does).
const WINDOW: u64 = 64;
/// A path that lost nothing for this long is not lossy, however few packets it carried since.
///
/// A link that was taken out of the balancing carries one or two keepalives a second; without
/// this it would take up to a minute for 64 of them to push the old losses out.
const FORGET_AFTER: Duration = Duration::from_secs(10);

/// Loss over the last 64 packet numbers.
#[derive(Clone, Debug, Default)]
pub struct LossWindow {
    largest: Option<u64>,
    /// Bit n: the packet `largest - n` was not received.
    missing: u64,
    last_gap: Instant,
}

impl LossWindow {
    /// A packet was received. Late ones fill their gap.
    pub fn on_received(&mut self, number: PacketNumber, now: Instant) {
        let number = number.0;
        let Some(largest) = self.largest else {
            self.largest = Some(number);
            return;
        };
        if number <= largest {
            let age = largest - number;
            if age < WINDOW {
                self.missing &= !(1 << age);
            }
            return;
        }
        let step = number - largest;
        self.largest = Some(number);
        if step > WINDOW {
            self.missing = 0;
            return;
        }
        // The `step` lowest bits are the new numbers; all but the one received are missing.
        let fresh = if step == WINDOW { u64::MAX } else { (1 << step) - 1 };
        self.missing = self.missing.checked_shl(step as u32).unwrap_or(0) | (fresh & !1);
        if step > 1 {
            self.last_gap = now;
        }
    }

    /// Lost packets in percent of the window.
    #[must_use]
    pub fn percent(&self, now: Instant) -> u8 {
        if now.saturating_since(self.last_gap) > FORGET_AFTER {
            return 0;
        }
        (self.missing.count_ones() * 100 / WINDOW as u32) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(window: &mut LossWindow, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            window.on_received(PacketNumber(number), Instant::ZERO);
        }
    }

    #[test]
    fn every_second_packet_lost_is_half() {
        let mut window = LossWindow::default();
        receive(&mut window, (0..200).step_by(2));
        assert_eq!(window.percent(Instant::ZERO), 50);
    }

    #[test]
    fn reordered_packets_are_not_lost() {
        let mut window = LossWindow::default();
        receive(&mut window, (0..100).flat_map(|pair| [2 * pair + 1, 2 * pair]));
        assert_eq!(window.percent(Instant::ZERO), 0);
    }

    #[test]
    fn a_jump_beyond_the_window_starts_afresh() {
        let mut window = LossWindow::default();
        receive(&mut window, [0, 65]);
        assert_eq!(window.percent(Instant::ZERO), 0);
        receive(&mut window, [129]);
        assert_eq!(window.percent(Instant::ZERO), 98, "63 of 64 are missing");
    }

    #[test]
    fn losses_are_forgotten_after_ten_quiet_seconds() {
        let mut window = LossWindow::default();
        receive(&mut window, [0, 33]);
        assert_eq!(window.percent(Instant::from_secs(10)), 50);
        assert_eq!(window.percent(Instant::from_millis(10_001)), 0);
    }
}
