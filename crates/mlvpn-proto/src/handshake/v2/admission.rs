//! How often one address is answered under load (section 5.5): whoever receives at his address can have a cookie,
//! and with key pairs he needs no secret for it. What he asks for costs Diffie-Hellman computations.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use crate::time::{Duration, Instant};

/// Between two initiations of one address, on average `[H27]`: 20 a second, as WireGuard for Linux has it.
const INTERVAL: Duration = Duration::from_millis(50);
/// So many may come at once `[H27]`.
const BURST: u32 = 5;
/// Addresses at a time to which no session leads `[H27]`: 5,120 initiations a second in all.
const MAX_STRANGERS: usize = 256;
/// Between two looks at whose time is over.
const SWEEP_EVERY: Duration = Duration::from_millis(5);

/// Who may have an initiation opened under load, by address.
#[derive(Debug, Default)]
pub struct Admission {
    /// By when what an address has asked for is paid for: the theoretical arrival time of the generic cell rate
    /// algorithm (ITU-T I.371).
    strangers: BTreeMap<Source, Instant>,
    /// The same of those to which a path of a session leads: strangers do not keep these from having new keys.
    peers: BTreeMap<SocketAddr, Instant>,
    swept: Instant,
}

/// An IPv4 address, or the network of 64 bits that an IPv6 host chooses its addresses from. All that a translator makes
/// of IPv4 addresses are in one.
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

    /// Whether an initiation from `from`, to which a path of a session leads if `is_peer`, may be opened; counts it
    /// if so.
    #[must_use]
    pub fn admit(&mut self, from: SocketAddr, is_peer: bool, now: Instant) -> bool {
        if now.saturating_since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.strangers.retain(|_, paid_at| *paid_at > now);
            self.peers.retain(|_, paid_at| *paid_at > now);
        }
        if is_peer {
            return pay(self.peers.entry(from).or_insert(now), now);
        }
        let source = Source::of(from);
        if !self.strangers.contains_key(&source) && self.strangers.len() >= MAX_STRANGERS {
            return false;
        }
        pay(self.strangers.entry(source).or_insert(now), now)
    }
}

/// Whether there is one more for somebody who has paid until then.
fn pay(paid_at: &mut Instant, now: Instant) -> bool {
    let next = (*paid_at).max(now) + INTERVAL;
    let is_admitted = next <= now + INTERVAL * BURST;
    if is_admitted {
        *paid_at = next;
    }
    is_admitted
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
        let mut admitted = |ms| admission.admit(address(1), false, at(ms));
        let at_once: Vec<_> = (0..7).map(|_| admitted(0)).collect();
        assert_eq!(at_once, [true, true, true, true, true, false, false]);
        assert!(!admitted(49) && admitted(50) && !admitted(50));
        let per_second = (1_000..11_000).filter(|&ms| admitted(ms)).count();
        assert_eq!(per_second, 4 + 200, "what was saved up, and 20 a second");
        assert!(admission.admit(address(2), false, at(0)), "another one");
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
            (0..5).for_each(|_| assert!(admission.admit(one.parse().unwrap(), false, at(0))));
            let is_admitted = admission.admit(other.parse().unwrap(), false, at(0));
            assert_eq!(!is_admitted, is_one, "{one} {other}");
        }
    }

    #[test]
    fn a_flood_from_many_addresses_fills_neither_the_memory_nor_the_second() {
        let mut admission = Admission::new();
        let ms = |n: u32| at(u64::from(n / 100));
        let admitted = (0..100_000).filter(|&n| admission.admit(address(n), false, ms(n)));
        let admitted = admitted.count();
        assert!((4_000..5_500).contains(&admitted), "{admitted}");
        assert_eq!(admission.strangers.len(), MAX_STRANGERS);
        assert!(admission.admit(address(1), false, at(2_000)), "it is over");
    }

    #[test]
    fn strangers_do_not_keep_peers_out_not_even_behind_the_same_address() {
        let mut admission = Admission::new();
        let peer = SocketAddr::from(([0, 0, 0, 1], 5_080));
        for n in 0..10_000 {
            let _ = admission.admit(address(n % 300), false, at(0));
        }
        let at_once: Vec<_> = (0..6).map(|_| admission.admit(peer, true, at(0))).collect();
        assert_eq!(at_once, [true, true, true, true, true, false]);
        assert!(admission.admit(peer, true, at(50)));
        assert!(!admission.admit(address(9_999), false, at(0)), "there is no room");
    }
}
