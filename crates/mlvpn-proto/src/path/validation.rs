//! Whether the peer receives at an address: challenges and their responses, RFC 9000 section 8.2.

use std::net::SocketAddr;

use crate::time::{Duration, Instant};

/// What a challenge carries and its response repeats.
pub type Token = [u8; 8];

/// Between the first two challenges, and between later ones at the most `[P3]`.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Tokens that are still answered: as many challenges as can be on their way.
const REMEMBERED: usize = 8;
/// An end sends at most this many times the bytes that it received from an address that is not
/// validated (RFC 9000 section 8.1).
pub const AMPLIFICATION_LIMIT: u64 = 3;

/// The validation of one address.
#[derive(Clone, Debug)]
pub struct Validation {
    address: SocketAddr,
    tokens: [Option<Token>; REMEMBERED],
    sent: usize,
    next: Instant,
    wait: Duration,
    is_validated: bool,
    /// Nobody but this end chose the address: what is sent there is no amplification.
    is_trusted: bool,
    bytes_received: u64,
    bytes_sent: u64,
}

impl Validation {
    /// Begins to validate `address`.
    #[must_use]
    pub fn new(address: SocketAddr, now: Instant) -> Self {
        Self {
            address,
            tokens: [None; REMEMBERED],
            sent: 0,
            next: now,
            wait: FIRST_WAIT,
            is_validated: false,
            is_trusted: false,
            bytes_received: 0,
            bytes_sent: 0,
        }
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the peer has proved to receive there.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.is_validated
    }

    /// The address proved to be the peer's by other means, such as a handshake.
    pub fn assume_validated(&mut self) {
        self.is_validated = true;
    }

    /// The address is one that this end was configured with: it may be sent anything.
    pub fn trust(&mut self) {
        self.is_trusted = true;
    }

    /// Whether a challenge is due.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.poll_timeout().is_some_and(|at| at <= now)
    }

    /// When the next challenge is due; none once validated.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.is_validated).then_some(self.next)
    }

    /// A challenge with `token`, which must be unpredictable, is being sent.
    pub fn on_challenge_sent(&mut self, token: Token, now: Instant) {
        self.tokens[self.sent % REMEMBERED] = Some(token);
        self.sent += 1;
        self.next = now + self.wait;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }

    /// A response came from `from`. Returns whether it validated the address just now.
    pub fn on_response(&mut self, token: Token, from: SocketAddr) -> bool {
        let is_answer = from == self.address && self.tokens.contains(&Some(token));
        let is_news = is_answer && !self.is_validated;
        self.is_validated |= is_answer;
        is_news
    }

    /// An authentic datagram of `len` bytes came from the address.
    pub fn on_received(&mut self, len: usize) {
        self.bytes_received += len as u64;
    }

    /// How many bytes may be sent there at present.
    #[must_use]
    pub fn allowance(&self) -> usize {
        if self.is_validated || self.is_trusted {
            return usize::MAX;
        }
        let budget = self.bytes_received * AMPLIFICATION_LIMIT;
        budget.saturating_sub(self.bytes_sent) as usize
    }

    /// Whether a datagram of `len` bytes may be sent there; counts it if so.
    pub fn try_send(&mut self, len: usize) -> bool {
        let is_allowed = len <= self.allowance();
        if is_allowed {
            self.bytes_sent += len as u64;
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 5080))
    }

    #[test]
    fn only_the_token_from_the_address_validates_it() {
        let mut validation = Validation::new(addr(1), Instant::ZERO);
        validation.on_challenge_sent([1; 8], Instant::ZERO);
        assert!(!validation.on_response([2; 8], addr(1)));
        assert!(!validation.on_response([1; 8], addr(2)), "from elsewhere");
        assert!(validation.on_response([1; 8], addr(1)));
        assert!(!validation.on_response([1; 8], addr(1)), "no news");
        assert!(validation.is_validated());
        assert_eq!(validation.poll_timeout(), None);
    }

    #[test]
    fn challenges_are_repeated_less_and_less_often() {
        let mut validation = Validation::new(addr(1), Instant::ZERO);
        let mut at = Vec::new();
        for _ in 0..7 {
            let now = validation.poll_timeout().unwrap();
            at.push(now.as_millis());
            validation.on_challenge_sent([0; 8], now);
        }
        assert_eq!(at, [0, 100, 300, 700, 1_500, 3_100, 5_100]);
    }

    #[test]
    fn a_late_answer_to_an_earlier_challenge_counts() {
        let mut validation = Validation::new(addr(1), Instant::ZERO);
        for n in 0..4 {
            validation.on_challenge_sent([n; 8], Instant::ZERO);
        }
        assert!(validation.on_response([0; 8], addr(1)));
    }

    #[test]
    fn an_address_that_is_not_validated_gets_three_times_what_it_sent() {
        let mut validation = Validation::new(addr(1), Instant::ZERO);
        assert!(!validation.try_send(1));
        validation.on_received(100);
        assert!(validation.try_send(300));
        assert!(!validation.try_send(1));
        validation.on_challenge_sent([1; 8], Instant::ZERO);
        validation.on_response([1; 8], addr(1));
        assert!(validation.try_send(100_000));
    }
}
