//! A witness of every inner packet: nothing may be duplicated, altered, made up or hoarded.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};

use mlvpn_proto::time::Instant;

use crate::packet::{FlowAddress, Side, classify};
use crate::rng::{fnv1a, fnv1a_extend};

/// Violations remembered in words; all are counted.
const REMEMBERED: usize = 20;

/// Knows each inner packet that entered the world by its contents, which the IPv4 identification
/// makes unique, and compares what leaves.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    packets: HashMap<u64, Witnessed>,
    flows: BTreeMap<(Side, FlowAddress), FlowRecord>,
    violations: Vec<String>,
    violation_count: u64,
    entered: u64,
    left: u64,
    held_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Witnessed {
    number: u64,
    at: Instant,
    copies_entered: u32,
    copies_left: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct FlowRecord {
    entered: u64,
    highest_left: Option<u64>,
    left: u64,
    reordered: u64,
    delay_max: Duration,
}

impl Oracle {
    /// `packet` enters at `side`.
    pub fn on_entered(&mut self, side: Side, packet: &[u8], now: Instant) {
        self.entered += 1;
        let record = self.flows.entry(key(side, packet)).or_default();
        let number = record.entered;
        record.entered += 1;
        self.packets
            .entry(fingerprint(side, packet))
            .and_modify(|witnessed| witnessed.copies_entered += 1)
            .or_insert(Witnessed { number, at: now, copies_entered: 1, copies_left: 0 });
    }

    /// `packet` leaves towards the host of `side`.
    pub fn on_left(&mut self, side: Side, packet: &[u8], now: Instant) {
        self.left += 1;
        let from = side.other();
        let Some(witnessed) = self.packets.get_mut(&fingerprint(from, packet)) else {
            let length = packet.len();
            self.violate(now, &format!("{length} bytes at {side:?} were never sent like that"));
            return;
        };
        witnessed.copies_left += 1;
        let Witnessed { number, at, copies_entered, copies_left } = *witnessed;
        let flow = key(from, packet);
        if copies_left > copies_entered {
            self.violate(now, &format!("packet {number} of {flow:?} came {copies_left} times"));
        }
        let record = self.flows.entry(flow).or_default();
        record.left += 1;
        record.reordered += u64::from(record.highest_left > Some(number));
        record.highest_left = record.highest_left.max(Some(number));
        record.delay_max = record.delay_max.max(now.saturating_since(at));
    }

    /// The endpoint at `side` holds `packets` back; more than `limit` is a violation.
    pub fn on_held(&mut self, side: Side, packets: usize, limit: usize, now: Instant) {
        self.held_max = self.held_max.max(packets);
        if packets > limit {
            self.violate(now, &format!("{side:?} holds {packets} packets"));
        }
    }

    /// Notes that `what` must not have happened.
    pub fn violate(&mut self, now: Instant, what: &str) {
        self.violation_count += 1;
        if self.violations.len() < REMEMBERED {
            self.violations.push(format!("{now:?}: {what}"));
        }
    }

    /// The most packets that an endpoint was seen to hold back.
    #[must_use]
    pub fn held_max(&self) -> usize {
        self.held_max
    }

    /// Inner packets that entered.
    #[must_use]
    pub fn entered(&self) -> u64 {
        self.entered
    }

    /// Inner packets that left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Inner packets that left after a later one of their flow had.
    #[must_use]
    pub fn reordered(&self) -> u64 {
        self.flows.values().map(|record| record.reordered).sum()
    }

    /// The longest time that an inner packet took.
    #[must_use]
    pub fn delay_max(&self) -> Duration {
        self.flows.values().map(|record| record.delay_max).max().unwrap_or_default()
    }

    /// What must not have happened and did: the first of it, in words.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Insists on no duplicate, altered or invented packet, and on bounded memory.
    ///
    /// # Panics
    /// With the first violations.
    pub fn assert_clean(&self) {
        assert!(self.violation_count == 0, "{}: {:#?}", self.violation_count, self.violations);
    }

    /// Insists on order within each flow.
    ///
    /// # Panics
    /// With the flows out of order.
    pub fn assert_ordered(&self) {
        let disordered: Vec<_> =
            self.flows.iter().filter(|(_, record)| record.reordered > 0).collect();
        assert!(disordered.is_empty(), "{disordered:#?}");
    }
}

fn fingerprint(side: Side, packet: &[u8]) -> u64 {
    fnv1a_extend(fnv1a(&[side as u8]), packet)
}

fn key(side: Side, packet: &[u8]) -> (Side, FlowAddress) {
    let nowhere = "0.0.0.0:0".parse().expect("a literal address");
    let unknown = FlowAddress { source: nowhere, destination: nowhere };
    (side, classify(packet).map_or(unknown, |(address, _)| address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{PacketMaker, UDP};
    use crate::traffic::FlowId;

    const LIMIT: usize = 100;

    #[test]
    fn order_is_counted_and_lies_are_found() {
        let mut oracle = Oracle::default();
        let mut maker = PacketMaker::new(FlowId(0).address(Side::Client, 7), UDP);
        let (first, second) = (maker.make(60), maker.make(60));
        for packet in [&first, &second] {
            oracle.on_entered(Side::Client, packet, Instant::ZERO);
        }
        oracle.on_left(Side::Server, &second, Instant::from_millis(3));
        oracle.on_left(Side::Server, &first, Instant::from_millis(7));
        oracle.assert_clean();
        assert_eq!((oracle.reordered(), oracle.delay_max()), (1, Duration::from_millis(7)));
        oracle.on_left(Side::Server, &first, Instant::from_millis(8));
        assert_eq!(oracle.violations().len(), 1, "a duplicate");
        let mut altered = second.clone();
        altered[40] ^= 1;
        oracle.on_left(Side::Server, &altered, Instant::from_millis(9));
        oracle.on_left(Side::Client, &second, Instant::from_millis(9));
        assert_eq!(oracle.violations().len(), 3, "altered, and sent back");
        oracle.on_held(Side::Client, LIMIT, LIMIT, Instant::from_millis(10));
        assert_eq!(oracle.violations().len(), 3);
        oracle.on_held(Side::Client, LIMIT + 1, LIMIT, Instant::from_millis(11));
        assert_eq!((oracle.violations().len(), oracle.held_max()), (4, LIMIT + 1));
    }
}
