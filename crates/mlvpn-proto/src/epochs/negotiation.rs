//! The initiator's side of getting the next epoch: initiations repeated until one is answered.

use std::collections::{BTreeMap, VecDeque};

use rand_core::CryptoRng;

use super::Epoch;
use crate::handshake::v2::{
    CookieReply, CookieStore, Credentials, Established, ExpectResponse, HandshakeError, Offer,
    Response,
};
use crate::id::{PathId, SessionIndex};
use crate::time::{Duration, Instant};

/// Until the second initiation, and between later ones at the most `[H13]`.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Initiations whose answers are still taken: those on the way over a slow path.
const MAX_OPEN: usize = 8;

/// A handshake that has been begun, perhaps several times, and not been answered.
#[derive(Default)]
pub struct Negotiation {
    /// The initiations that may still be answered, the latest last.
    open: VecDeque<ExpectResponse>,
    /// A cookie is good for one address of ours: each path has its own.
    cookies: BTreeMap<PathId, CookieStore>,
    next: Option<Instant>,
    wait: Duration,
    sent: u32,
}

impl Negotiation {
    /// Begins to look for an answer, unless that is going on already.
    pub fn begin(&mut self, now: Instant) {
        if self.next.is_none() {
            self.next = Some(now);
            self.wait = FIRST_WAIT;
            self.sent = 0;
        }
    }

    /// Initiations sent since the last answer.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// Sends no initiation before `until`.
    pub fn postpone(&mut self, until: Instant) {
        self.next = self.next.map(|next| next.max(until));
    }

    /// When the next initiation is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// The indices by which answers name us.
    pub fn indices(&self) -> impl Iterator<Item = SessionIndex> + '_ {
        self.open.iter().map(ExpectResponse::our_index)
    }

    /// The next initiation, if one is due. `offer` makes what it offers, for the path that is its
    /// turn among `paths`.
    ///
    /// # Errors
    /// When the credentials are of no use for an initiator; nothing is tried again then.
    pub fn poll_initiation(
        &mut self,
        credentials: &Credentials,
        paths: &[PathId],
        offer: impl FnOnce(PathId) -> Offer,
        rng: &mut impl CryptoRng,
        now: Instant,
    ) -> Result<Option<(PathId, Vec<u8>)>, HandshakeError> {
        if paths.is_empty() || self.next.is_none_or(|at| at > now) {
            return Ok(None);
        }
        let path = paths[self.sent as usize % paths.len()];
        let started = ExpectResponse::start(credentials, offer(path), rng);
        let (expect, mut initiation) = started.inspect_err(|_| self.next = None)?;
        self.cookies.entry(path).or_default().sign(&mut initiation, now);
        if self.open.len() == MAX_OPEN {
            self.open.pop_front();
        }
        self.open.push_back(expect);
        self.sent = self.sent.saturating_add(1);
        self.next = Some(now + self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        Ok(Some((path, initiation)))
    }

    /// Takes a response. With the first good one the negotiation is over.
    ///
    /// # Errors
    /// Why it is none; the negotiation goes on.
    pub fn handle_response(
        &mut self,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(Established, Epoch), HandshakeError> {
        let response = Response::parse(datagram)?;
        let is_asked = |expect: &&mut ExpectResponse| expect.our_index() == response.receiver();
        let expect = self.open.iter_mut().find(is_asked).ok_or(HandshakeError::NotOurs)?;
        let established = expect.handle(&response)?;
        self.open.clear();
        self.next = None;
        let epoch = Epoch::new(&established, now);
        Ok((established, epoch))
    }

    /// Takes a cookie reply; the next initiation on the same path bears the cookie.
    ///
    /// # Errors
    /// Why it is none.
    pub fn handle_cookie(
        &mut self,
        datagram: &[u8],
        credentials: &Credentials,
        now: Instant,
    ) -> Result<(), HandshakeError> {
        let reply = CookieReply::parse(datagram)?;
        let mut stores = self.cookies.values_mut();
        stores
            .find_map(|store| store.handle(&reply, credentials, now).ok())
            .ok_or(HandshakeError::NotOurs)
    }
}

impl core::fmt::Debug for Negotiation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Negotiation")
            .field("open", &self.open.len())
            .field("sent", &self.sent)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
