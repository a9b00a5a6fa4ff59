//! What describes a link.

use core::time::Duration;

use super::Loss;

/// The properties of one direction of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkSpec {
    /// Bits per second of IP packets, their IP headers included; 0 stalls the link, `None` is
    /// unlimited.
    pub rate: Option<u64>,
    /// One way, from the last bit sent to arrival.
    pub delay: Duration,
    /// Standard deviation of the delay. Packets bunch and spread but never overtake.
    pub jitter: Duration,
    /// What is lost after it was sent.
    pub loss: Loss,
    /// How much may wait for its turn.
    pub queue: Queue,
    /// The largest IP packet in bytes; larger ones vanish without a word. `None` is no limit.
    pub mtu: Option<usize>,
}

/// The capacity of a drop-tail queue, not counting the packet in service.
///
/// One packet may always wait, however large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// As much as takes this long to send at the link's rate.
    Time(Duration),
    /// This many bytes of IP packets.
    Bytes(usize),
}

impl Queue {
    /// The capacity in bytes at `rate` bits per second.
    #[must_use]
    pub fn bytes(self, rate: Option<u64>) -> usize {
        match (self, rate) {
            (Self::Bytes(bytes), _) => bytes,
            (Self::Time(_), None) => usize::MAX,
            (Self::Time(time), Some(rate)) => {
                usize::try_from(time.as_nanos() * u128::from(rate) / 8_000_000_000)
                    .unwrap_or(usize::MAX)
            }
        }
    }
}

impl LinkSpec {
    /// Unlimited, without delay or loss.
    pub const PERFECT: Self = Self {
        rate: None,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: Loss::None,
        queue: Queue::Bytes(usize::MAX),
        mtu: None,
    };

    /// `mbit` Mbit/s and `delay_ms` milliseconds, with 100 ms of queue and no loss.
    #[must_use]
    pub fn new(mbit: f64, delay_ms: u64) -> Self {
        Self {
            rate: Some((mbit * 1e6).round() as u64),
            delay: Duration::from_millis(delay_ms),
            queue: Queue::Time(Duration::from_millis(100)),
            ..Self::PERFECT
        }
    }

    /// The same with `queue_ms` milliseconds of queue.
    #[must_use]
    pub fn with_queue_ms(self, queue_ms: u64) -> Self {
        Self { queue: Queue::Time(Duration::from_millis(queue_ms)), ..self }
    }

    /// The same with each packet lost with probability `loss`.
    #[must_use]
    pub fn with_loss(self, loss: f64) -> Self {
        Self { loss: Loss::Random(loss), ..self }
    }

    /// The same with `jitter_ms` milliseconds of jitter.
    #[must_use]
    pub fn with_jitter_ms(self, jitter_ms: u64) -> Self {
        Self { jitter: Duration::from_millis(jitter_ms), ..self }
    }

    /// The same with the queue fixed at its present size in bytes, as that of a modem whose rate
    /// changes is. A queue without a limit stays without.
    #[must_use]
    pub fn with_pinned_queue(self) -> Self {
        Self { queue: Queue::Bytes(self.queue.bytes(self.rate)), ..self }
    }
}

/// A direction of a subscriber's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Towards the subscriber.
    Down,
    /// From the subscriber.
    Up,
}

/// Both directions of a subscriber's link.
#[derive(Clone, Debug, PartialEq)]
pub struct WanLink {
    /// What reports call it; may be empty.
    pub name: String,
    /// Towards the subscriber.
    pub down: LinkSpec,
    /// From the subscriber.
    pub up: LinkSpec,
}

impl WanLink {
    /// A nameless link with different directions.
    #[must_use]
    pub fn new(down: LinkSpec, up: LinkSpec) -> Self {
        Self { name: String::new(), down, up }
    }

    /// The properties of one direction.
    #[must_use]
    pub fn spec(&self, direction: Direction) -> &LinkSpec {
        match direction {
            Direction::Down => &self.down,
            Direction::Up => &self.up,
        }
    }

    /// A nameless link with the same properties both ways.
    #[must_use]
    pub fn symmetric(spec: LinkSpec) -> Self {
        Self::new(spec, spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_of_time_depends_on_the_rate_until_it_is_pinned() {
        let spec = LinkSpec::new(8.0, 10).with_queue_ms(50);
        assert_eq!(spec.queue.bytes(spec.rate), 50_000);
        assert_eq!(spec.queue.bytes(Some(16_000_000)), 100_000);
        assert_eq!(spec.queue.bytes(None), usize::MAX);
        assert_eq!(spec.with_pinned_queue().queue, Queue::Bytes(50_000));
    }
}
