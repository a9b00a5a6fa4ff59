//! How large a datagram may be on a path: datagram packetization layer path MTU discovery, RFC 8899.
//!
//! Each end does this for its own direction, with probes that the peer acknowledges. Nothing that a
//! router says is believed; what arrives counts.

use crate::time::{Duration, Instant};

/// Bytes of UDP payload that every path is taken to carry (`BASE_PLPMTU`, RFC 8899 section 5.1.2).
pub const BASE: u16 = 1_200;
/// Tries for one size before it is taken not to fit (`MAX_PROBES`, RFC 8899 section 5.1.2).
const MAX_TRIES: u8 = 3;
/// After a search, the next begins this much later (`PMTU_RAISE_TIMER`, RFC 8899 section 5.1.1).
const RAISE_AFTER: Duration = Duration::from_secs(600);
/// So many lost in a row, all larger than the base, make a black hole.
const BLACK_HOLE: u8 = 3;
/// UDP payloads that common links carry whole: Ethernet, PPPoE, 6in4, LTE, WireGuard and the minimum
/// of IPv6, each for IPv4 and IPv6 outside; largest first.
const CANDIDATES: [u16; 14] = [
    1_472, 1_464, 1_452, 1_444, 1_432, 1_424, 1_412, 1_400, 1_392, 1_372, 1_352, 1_330, 1_252,
    1_232,
];

/// The search for the largest datagram of a path, in one direction.
#[derive(Clone, Debug)]
pub struct MtuDiscovery {
    /// Largest size worth trying: what the local device sends.
    limit: u16,
    /// Largest size that has arrived.
    confirmed: u16,
    state: State,
    next_id: u16,
    lost_in_row: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Sizes are tried from the largest down.
    Searching { size: u16, tries: u8, probe: Option<Probe> },
    /// The search begins again then.
    Complete { until: Instant },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    id: u16,
    expires: Instant,
}

impl MtuDiscovery {
    /// A path of which nothing is known, behind a device that sends UDP payloads of up to `limit`
    /// bytes.
    #[must_use]
    pub fn new(limit: u16) -> Self {
        let mut discovery = Self {
            limit: limit.max(BASE),
            confirmed: BASE,
            state: State::Complete { until: Instant::ZERO },
            next_id: 0,
            lost_in_row: 0,
        };
        discovery.search_from_top(Instant::ZERO);
        discovery
    }

    /// Largest UDP payload that is known to arrive, in bytes.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.confirmed
    }

    /// Whether the search is over for the time being.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete { .. })
    }

    /// The probe to send now, if one is due: its id, and its size in bytes of UDP payload.
    /// `probe_timeout` is how long to wait for its acknowledgement.
    pub fn poll_probe(&mut self, probe_timeout: Duration, now: Instant) -> Option<(u16, u16)> {
        self.handle_timeout(now);
        let State::Searching { size, probe: probe @ None, .. } = &mut self.state else {
            return None;
        };
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        *probe = Some(Probe { id, expires: now + probe_timeout });
        Some((id, *size))
    }

    /// When [`Self::poll_probe`] has something to do next; at once when there is no probe out.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        Some(match self.state {
            State::Searching { probe: None, .. } => Instant::ZERO,
            State::Searching { probe: Some(probe), .. } => probe.expires,
            State::Complete { until } => until,
        })
    }

    /// The peer acknowledged a probe. Returns whether the size grew.
    pub fn on_probe_acked(&mut self, id: u16, now: Instant) -> bool {
        let State::Searching { size, probe: Some(probe), .. } = self.state else { return false };
        if probe.id != id {
            return false;
        }
        let grew = size > self.confirmed;
        self.confirmed = size;
        self.lost_in_row = 0;
        // Sizes are tried from the largest down: the first that fits is the answer.
        self.state = State::Complete { until: now + RAISE_AFTER };
        grew
    }

    /// A packet of `len` bytes of UDP payload was lost. Congestion loses packets in a row, too, so
    /// that a black hole is believed only when probes are lost as well.
    pub fn on_lost(&mut self, len: u16) {
        if len <= BASE || self.confirmed == BASE {
            return;
        }
        self.lost_in_row += 1;
        if self.lost_in_row < BLACK_HOLE {
            return;
        }
        self.lost_in_row = 0;
        if matches!(self.state, State::Complete { .. }) {
            self.state = State::Searching { size: self.confirmed, tries: 0, probe: None };
        }
    }

    /// A packet of `len` bytes of UDP payload arrived.
    pub fn on_arrived(&mut self, len: u16) {
        if len > BASE {
            self.lost_in_row = 0;
        }
    }

    /// The path leads elsewhere now: what was known does not hold.
    pub fn restart(&mut self, limit: u16) {
        let next_id = self.next_id;
        *self = Self { next_id, ..Self::new(limit) };
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Complete { until } if until <= now => self.search_from_top(now),
            State::Searching { size, tries, probe: Some(probe) } if probe.expires <= now => {
                self.state = if tries + 1 < MAX_TRIES {
                    State::Searching { size, tries: tries + 1, probe: None }
                } else {
                    if size == self.confirmed {
                        self.confirmed = BASE;
                    }
                    self.search_below(size, now)
                };
            }
            State::Complete { .. } | State::Searching { .. } => {}
        }
    }

    fn search_from_top(&mut self, now: Instant) {
        self.state = if self.limit > self.confirmed {
            State::Searching { size: self.limit, tries: 0, probe: None }
        } else {
            State::Complete { until: now + RAISE_AFTER }
        };
    }

    fn search_below(&self, size: u16, now: Instant) -> State {
        let next = CANDIDATES.into_iter().find(|&candidate| candidate < size);
        match next.filter(|&candidate| candidate > self.confirmed) {
            Some(size) => State::Searching { size, tries: 0, probe: None },
            None => State::Complete { until: now + RAISE_AFTER },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(100);

    /// Searches on a path that carries `fits` bytes; returns the probes that it took.
    fn search(discovery: &mut MtuDiscovery, fits: u16, now: &mut Instant) -> usize {
        let mut probes = 0;
        for _ in 0..1_000 {
            if let Some((id, size)) = discovery.poll_probe(TIMEOUT, *now) {
                probes += 1;
                if size <= fits {
                    discovery.on_probe_acked(id, *now);
                }
            }
            if discovery.is_complete() {
                return probes;
            }
            *now += Duration::from_millis(10);
        }
        panic!("the search does not end");
    }

    #[test]
    fn an_ethernet_path_takes_one_probe() {
        let (mut discovery, mut now) = (MtuDiscovery::new(1_472), Instant::from_secs(1));
        assert_eq!(discovery.size(), BASE, "until it is known better");
        assert_eq!(search(&mut discovery, 1_472, &mut now), 1);
        assert_eq!(discovery.size(), 1_472);
    }

    #[test]
    fn every_common_link_is_found_within_twenty_bytes_or_a_candidate() {
        for fits in [1_464, 1_452, 1_444, 1_372, 1_352, 1_252, 1_232, 1_200] {
            let (mut discovery, mut now) = (MtuDiscovery::new(1_472), Instant::from_secs(1));
            search(&mut discovery, fits, &mut now);
            assert_eq!(discovery.size(), fits);
        }
    }

    #[test]
    fn a_lost_probe_is_tried_again() {
        let (mut discovery, now) = (MtuDiscovery::new(1_472), Instant::from_secs(1));
        let (first, size) = discovery.poll_probe(TIMEOUT, now).unwrap();
        assert_eq!(discovery.poll_probe(TIMEOUT, now), None, "one at a time");
        let (second, again) = discovery.poll_probe(TIMEOUT, now + TIMEOUT).unwrap();
        assert_eq!(size, again);
        assert!(!discovery.on_probe_acked(first, now), "it counts as lost already");
        assert!(discovery.on_probe_acked(second, now));
    }

    #[test]
    fn a_path_that_shrinks_is_noticed_without_any_icmp() {
        let (mut discovery, mut now) = (MtuDiscovery::new(1_472), Instant::from_secs(1));
        search(&mut discovery, 1_472, &mut now);
        discovery.on_lost(1_472);
        discovery.on_lost(1_472);
        discovery.on_arrived(1_300);
        discovery.on_lost(1_472);
        assert!(discovery.is_complete(), "a large one arrived in between");
        discovery.on_lost(1_472);
        discovery.on_lost(1_472);
        assert_eq!(discovery.size(), 1_472, "not before a probe was lost");
        search(&mut discovery, 1_372, &mut now);
        assert_eq!(discovery.size(), 1_372);
    }

    #[test]
    fn a_burst_of_losses_is_no_black_hole() {
        let (mut discovery, mut now) = (MtuDiscovery::new(1_472), Instant::from_secs(1));
        search(&mut discovery, 1_472, &mut now);
        (0..100).for_each(|_| discovery.on_lost(1_472));
        assert_eq!(search(&mut discovery, 1_472, &mut now), 1);
        assert_eq!(discovery.size(), 1_472);
    }

    #[test]
    fn small_packets_that_are_lost_say_nothing_about_size() {
        let (mut discovery, mut now) = (MtuDiscovery::new(1_472), Instant::from_secs(1));
        search(&mut discovery, 1_472, &mut now);
        for _ in 0..100 {
            discovery.on_lost(BASE);
            assert!(discovery.is_complete());
        }
    }

    #[test]
    fn it_looks_again_after_ten_minutes() {
        let (mut discovery, mut now) = (MtuDiscovery::new(1_472), Instant::from_secs(1));
        search(&mut discovery, 1_372, &mut now);
        let again = discovery.poll_timeout().unwrap();
        assert!(again >= now + RAISE_AFTER - Duration::from_secs(10));
        let (_, size) = discovery.poll_probe(TIMEOUT, again).unwrap();
        assert_eq!(size, 1_472);
    }
}
