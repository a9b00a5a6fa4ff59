//! What a run of the simulation left behind.

use super::link::Link;

/// What a run left behind, one entry per millisecond.
#[derive(Debug, Default)]
pub(in crate::path::rate) struct Record {
    /// Queue in the network, in ms.
    pub(in crate::path::rate) queue: Vec<f64>,
    /// Bytes delivered so far.
    pub(in crate::path::rate) delivered: Vec<u64>,
    pub(in crate::path::rate) sent: Vec<u64>,
    pub(in crate::path::rate) lost: Vec<u64>,
    /// The controller's estimate, in bytes per second.
    pub(in crate::path::rate) capacity: Vec<u64>,
    pub(in crate::path::rate) rival: Vec<u64>,
}

impl Record {
    /// Mean, 95th percentile and largest queue, in ms, from one ms to another.
    pub(in crate::path::rate) fn queue_in(&self, from_ms: usize, to_ms: usize) -> (f64, f64, f64) {
        let mut queue = self.queue[from_ms..to_ms].to_vec();
        queue.sort_by(f64::total_cmp);
        let mean = queue.iter().sum::<f64>() / queue.len() as f64;
        (mean, queue[queue.len() * 95 / 100], queue[queue.len() - 1])
    }

    pub(in crate::path::rate) fn utilisation(
        &self,
        link: &Link,
        from_ms: usize,
        to_ms: usize,
    ) -> f64 {
        let bytes = self.delivered[to_ms - 1] - self.delivered[from_ms - 1];
        bytes as f64 / link.capacity(from_ms as u64, to_ms as u64)
    }

    pub(in crate::path::rate) fn loss(&self, from_ms: usize, to_ms: usize) -> f64 {
        let lost = self.lost[to_ms - 1] - self.lost[from_ms - 1];
        lost as f64 / (self.sent[to_ms - 1] - self.sent[from_ms - 1]).max(1) as f64
    }

    /// Milliseconds after `from_ms` at which 95 % of the rate has arrived over `span_ms`.
    pub(in crate::path::rate) fn time_to_fill(
        &self,
        link: &Link,
        from_ms: usize,
        span_ms: usize,
    ) -> Option<usize> {
        (from_ms + span_ms + 1..self.delivered.len())
            .find(|&end| self.utilisation(link, end - span_ms, end) >= 0.95)
            .map(|end| end - from_ms)
    }
}
