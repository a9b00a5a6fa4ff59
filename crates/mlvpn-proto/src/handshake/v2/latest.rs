//! Which initiations of a peer are replays.

use std::collections::BTreeMap;

use crate::crypto::keypair::PublicKey;

/// The latest time that each peer's initiations named `[H11]`. It holds one number per peer
/// that was ever configured and heard of, and must live as long as the process: who forgets it accepts replays.
#[derive(Clone, Debug, Default)]
pub struct LatestTimes {
    /// Microseconds since 1970 on the peer's clock.
    times: BTreeMap<PublicKey, u64>,
}

impl LatestTimes {
    /// Of no peer yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers `time`, in microseconds since 1970, when it is later than all before.
    /// Returns whether it is.
    #[must_use]
    pub fn advance(&mut self, peer: PublicKey, time: u64) -> bool {
        let is_later = self.times.get(&peer).is_none_or(|latest| time > *latest);
        if is_later {
            self.times.insert(peer, time);
        }
        is_later
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_later_times_advance_and_each_peer_has_its_own() {
        let [a, b] = [1, 2].map(|byte| PublicKey::from_bytes([byte; 32]));
        let mut latest = LatestTimes::new();
        assert!(latest.advance(a, 10));
        assert!(!latest.advance(a, 10));
        assert!(!latest.advance(a, 9));
        assert!(latest.advance(b, 9));
        assert!(latest.advance(a, 11));
        assert!(!latest.advance(b, 9));
    }
}
