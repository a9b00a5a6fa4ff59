//! How often one address is answered under load (section 5.5): whoever receives at his address can have a cookie,
//! and with key pairs he needs no secret for it. What he asks for costs Diffie-Hellman computations.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use crate::time::{Duration, Instant};

/// Between two initiations of one address, on average `[H27]`: 20 a second, as WireGuard for Linux has it.
const INTERVAL: Duration = Duration::from_millis(50);
/// So many may come at once `[H27]`.
const BURST: u32 = 5;
/// Addresses at a time `[H27]`: 5,120 initiations a second in all.
const MAX_SOURCES: usize = 256;
/// Between two looks at whose time is over, while there is no room.
const SWEEP_EVERY: Duration = Duration::from_millis(5);

/// Who may have an initiation opened under load, by address.
#[derive(Debug, Default)]
pub struct Admission {
    /// By when what an address has asked for is paid for: the theoretical arrival time of the generic cell rate
    /// algorithm (ITU-T I.371).
    paid_at: BTreeMap<Source, Instant>,
    swept: Instant,
}

/// An IPv4 address, or the network of 64 bits that an IPv6 host chooses its addresses from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Admission {
    /// Of nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether an initiation from `from` may be opened; counts it if so.
    #[must_use]
    pub fn admit(&mut self, from: SocketAddr, now: Instant) -> bool {
        let source = Source::of(from);
        if !self.paid_at.contains_key(&source) && !self.has_room(now) {
            return false;
        }
        let paid_at = self.paid_at.entry(source).or_insert(now);
        let next = (*paid_at).max(now) + INTERVAL;
        let is_admitted = next <= now + INTERVAL * BURST;
        if is_admitted {
            *paid_at = next;
        }
        is_admitted
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.paid_at.len() >= MAX_SOURCES && now.saturating_since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.paid_at.retain(|_, paid_at| *paid_at > now);
        }
        self.paid_at.len() < MAX_SOURCES
    }
}

impl Source {
    fn of(from: SocketAddr) -> Self {
        match from.ip().to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(10_000 + ms)
    }

    fn address(number: u32) -> SocketAddr {
        SocketAddr::from((number.to_be_bytes(), 1))
    }

    #[test]
    fn an_address_is_answered_five_times_at_once_and_twenty_times_a_second() {
        let mut admission = Admission::new();
        let mut admitted = |ms| admission.admit(address(1), at(ms));
        let at_once: Vec<_> = (0..7).map(|_| admitted(0)).collect();
        assert_eq!(at_once, [true, true, true, true, true, false, false]);
        assert!(!admitted(49) && admitted(50) && !admitted(50));
        let per_second = (1_000..11_000).filter(|&ms| admitted(ms)).count();
        assert_eq!(per_second, 4 + 200, "what was saved up, and 20 a second");
        assert!(admission.admit(address(2), at(0)), "another one");
    }

    #[test]
    fn ports_and_the_addresses_of_one_ipv6_network_are_one() {
        for (one, other, is_one) in [
            ("192.0.2.1:1", "192.0.2.1:2", true),
            ("192.0.2.1:1", "[::ffff:192.0.2.1]:1", true),
            ("192.0.2.1:1", "192.0.2.2:1", false),
            ("[2001:db8::1]:1", "[2001:db8::ffff:0:0:2]:1", true),
            ("[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false),
        ] {
            let mut admission = Admission::new();
            (0..5).for_each(|_| assert!(admission.admit(one.parse().unwrap(), at(0))));
            let is_admitted = admission.admit(other.parse().unwrap(), at(0));
            assert_eq!(!is_admitted, is_one, "{one} {other}");
        }
    }

    #[test]
    fn a_flood_from_many_addresses_fills_neither_the_memory_nor_the_second() {
        let mut admission = Admission::new();
        let admitted =
            (0..100_000).filter(|&n| admission.admit(address(n), at(u64::from(n / 100))));
        let admitted = admitted.count();
        assert!((4_000..5_500).contains(&admitted), "{admitted}");
        assert_eq!(admission.paid_at.len(), MAX_SOURCES);
        assert!(admission.admit(address(1), at(2_000)), "it is over");
    }
}
