//! The server's handshakes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::Endpoint;
use super::answers::Answers;
use crate::crypto::v2::Cipher;
use crate::drop::DropReason;
use crate::epochs::Epoch;
use crate::event::Event;
use crate::handshake::v2::{
    Accepted, Admission, Answer, Blame, CookieJar, Credentials, HandshakeError, Initiation,
    LatestTimes, Recipient,
};
use crate::id::{LinkIndex, PathId, SessionIndex};
use crate::ip::PacketKind;
use crate::session::v2::path::Route;
use crate::session::v2::{Identity, Session};
use crate::time::{Duration, Instant};
use crate::wire::v2::SealedHeader;

/// How long a new session waits for its first packet, and how many may `[H21]`.
const PENDING_TIME: Duration = Duration::from_secs(5);
const MAX_PENDING: usize = 4_096;
/// At most so often the owner is told of a peer that does not fit.
const TROUBLE_PAUSE: Duration = Duration::from_secs(60);

/// The server's side of handshakes.
#[derive(Debug)]
pub(super) struct Responder {
    recipient: Recipient,
    jar: CookieJar,
    admission: Admission,
    latest: LatestTimes,
    answers: Answers,
    /// Sessions whose initiator has not sent a packet yet, by our index.
    pending: BTreeMap<SessionIndex, Pending>,
    told: Option<Instant>,
}

/// A session that may come to be.
#[derive(Debug)]
pub(super) struct Pending {
    epoch: Epoch,
    identity: Identity,
    /// The path on which the handshake ran, and where the answer went.
    path: PathId,
    route: Route,
    /// That of the initiation.
    time_micros: Option<u64>,
    until: Instant,
}

impl Responder {
    pub(super) fn new(credentials: &Credentials) -> Self {
        Self {
            recipient: credentials.recipient(),
            jar: CookieJar::new(),
            admission: Admission::new(),
            latest: LatestTimes::default(),
            answers: Answers::default(),
            pending: BTreeMap::new(),
            told: None,
        }
    }

    /// Remembers what another one did of the peers.
    pub(super) fn inherit(&mut self, former: &Self) {
        self.latest = former.latest.clone();
    }

    /// Keeps a session until its first packet comes; where there are too many, the oldest makes room.
    fn keep(&mut self, index: SessionIndex, pending: Pending) {
        if self.pending.len() >= MAX_PENDING {
            let oldest = self.pending.iter().min_by_key(|(_, pending)| pending.until);
            if let Some(oldest) = oldest.map(|(index, _)| *index) {
                self.pending.remove(&oldest);
            }
        }
        self.pending.insert(index, pending);
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.pending.retain(|_, pending| pending.until > now);
        self.answers.expire(now);
    }

    pub(super) fn has(&self, index: SessionIndex) -> bool {
        self.pending.contains_key(&index)
    }

    /// Takes out the session that may come to be and whose packets bear `index`, if there is one.
    pub(super) fn take(&mut self, index: SessionIndex) -> Option<Pending> {
        self.pending.remove(&index)
    }

    pub(super) fn give_back(&mut self, index: SessionIndex, pending: Pending) {
        self.pending.insert(index, pending);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.until).min()
    }
}

impl Pending {
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether a packet is authentic under its epoch. The body is of no use afterwards.
    pub(super) fn opens(&self, header: &SealedHeader, datagram: &mut [u8]) -> bool {
        self.epoch.opens(header.number.after(None), datagram)
    }

    /// The session that it becomes.
    pub(super) fn into_session(self, mut session: Session, now: Instant) -> Session {
        session.note_offer(self.time_micros, now);
        session.await_first_packet(self.epoch, (self.path, self.route), now);
        session
    }
}

impl Endpoint {
    /// Takes an initiation, and answers it if it is one of a peer's.
    pub(super) fn handle_initiation(
        &mut self,
        link: LinkIndex,
        from: SocketAddr,
        data: &[u8],
        now: Instant,
    ) -> Result<(), DropReason> {
        if self.is_closed {
            return Err(DropReason::Handshake);
        }
        self.respond(link, from, data, now).map_err(|error| {
            self.report_misfit(error, from, now);
            DropReason::Handshake
        })
    }

    fn respond(
        &mut self,
        link: LinkIndex,
        from: SocketAddr,
        data: &[u8],
        now: Instant,
    ) -> Result<(), HandshakeError> {
        let Self { responder, config, rng, sessions, .. } = self;
        let (Some(responder), Some(credentials)) = (responder, &config.credentials) else {
            return Err(HandshakeError::NotOurs);
        };
        let initiation = Initiation::parse_for(data, &responder.recipient)?;
        responder.jar.on_initiation(now);
        let is_under_load = responder.jar.is_under_load(responder.pending.len(), now);
        if is_under_load && !responder.jar.verify_mac2(&initiation, from, now) {
            let reply = responder.jar.reply(&initiation, &responder.recipient, from, now, rng);
            self.say(link, from, reply.to_vec());
            self.drops.count(DropReason::NoCookie);
            return Ok(());
        }
        let is_peer = || sessions.iter().flat_map(Session::paths).any(|p| p.route.remote == from);
        if is_under_load && !responder.admission.admit(from, is_peer(), now) {
            self.drops.count(DropReason::HandshakeRate);
            return Ok(());
        }
        let (mac1, route) = (initiation.mac1(), Route { link, remote: from });
        let is_again = responder.answers.is_due_again(&mac1, route, now);
        // Its time has been remembered.
        let mut nobodys = LatestTimes::new();
        let latest = if is_again { &mut nobodys } else { &mut responder.latest };
        let accepted = initiation.open(credentials, latest, rng)?;
        let known = sessions.of_identity(&identity_of(&accepted));
        let is_late = known
            .and_then(|slot| sessions.get(slot))
            .is_some_and(|session| !session.accepts_offer(accepted.time_micros(), now));
        if is_late && !is_again {
            return Err(HandshakeError::NotOurs);
        }
        self.accept(route, accepted, known, now)?;
        if let Some(responder) = &mut self.responder {
            responder.answers.note(mac1, route, now);
        }
        Ok(())
    }

    fn accept(
        &mut self,
        route: Route,
        accepted: Accepted,
        known: Option<usize>,
        now: Instant,
    ) -> Result<(), HandshakeError> {
        let index = self.draw_free_index();
        let answer = Answer {
            index,
            is_resumed: known.is_some(),
            wants_cleartext: self.config.cleartext_data,
            ethernet: self.config.inner == PacketKind::Ethernet,
            has_fast_aes: Cipher::Aes256Gcm.is_at_full_speed(),
        };
        let (identity, time_micros) = (identity_of(&accepted), accepted.time_micros());
        let (datagram, established) = accepted.respond(&answer)?;
        let epoch = Epoch::new(&established, now);
        let path = established.path;
        match known.and_then(|slot| Some((slot, self.sessions.get_mut(slot)?))) {
            Some((slot, session)) => {
                session.note_offer(time_micros, now);
                session.await_first_packet(epoch, (path, route), now);
                self.sessions.index(slot);
            }
            None => {
                if let Some(responder) = &mut self.responder {
                    let until = now + PENDING_TIME;
                    let pending = Pending { epoch, identity, path, route, time_micros, until };
                    responder.keep(index, pending);
                }
            }
        }
        self.say(route.link, route.remote, datagram);
        Ok(())
    }

    /// Tells the owner, seldom, that somebody who may be a peer is configured otherwise.
    fn report_misfit(&mut self, error: HandshakeError, from: SocketAddr, now: Instant) {
        // Beside a peer that is there a replay is nothing to be told of.
        let is_there =
            |peer| self.sessions.iter().any(|s| s.identity().peer == Some(peer) && s.is_usable());
        let is_nothing = matches!(error, HandshakeError::Replayed(peer) if is_there(peer));
        let Some(responder) = &mut self.responder else { return };
        let was_told = responder.told.is_some_and(|at| now.saturating_since(at) < TROUBLE_PAUSE);
        if error.blame() != Blame::Network && !is_nothing && !was_told {
            responder.told = Some(now);
            self.events.push_back(Event::PeerMisfit { error, from });
        }
    }
}

fn identity_of(accepted: &Accepted) -> Identity {
    Identity { id: accepted.session_id(), peer: accepted.peer() }
}
