//! The client's handshakes, and which version it speaks.

use rand_core::Rng as _;

use super::Endpoint;
use crate::config::Versions;
use crate::crypto::random::ErasingRng;
use crate::crypto::v2::Cipher;
use crate::drop::DropReason;
use crate::epochs::negotiation::Negotiation;
use crate::event::Event;
use crate::handshake::v2::{Blame, Established, HandshakeError, Offer, SessionId};
use crate::id::{LinkIndex, PathId, SessionIndex};
use crate::ip::PacketKind;
use crate::session::v2::path::Route;
use crate::session::v2::{Identity, Session, SessionSetup};
use crate::time::{Duration, Instant};

/// Version 1 is tried with the initiation after those that were not answered `[V2]`.
const UNANSWERED: u32 = 3;
/// Between initiations while version 1 is spoken `[V2]`.
const WHILE_V1: Duration = Duration::from_secs(30);

/// The client's side of handshakes.
#[derive(Debug)]
pub(super) struct Initiator {
    negotiation: Negotiation,
    /// The session that is being negotiated, or goes on.
    session: SessionId,
    /// The last trouble with the peer that the owner was told of.
    trouble: Option<HandshakeError>,
}

impl Initiator {
    pub(super) fn new(rng: &mut ErasingRng) -> Self {
        Self { negotiation: Negotiation::default(), session: draw_session(rng), trouble: None }
    }

    /// Whether an answer to that index would still be taken.
    pub(super) fn has(&self, index: SessionIndex) -> bool {
        self.negotiation.indices().any(|open| open == index)
    }
}

fn draw_session(rng: &mut ErasingRng) -> SessionId {
    let mut id = [0; 8];
    rng.fill_bytes(&mut id);
    SessionId(id)
}

impl Endpoint {
    /// Whether version 1 is to be tried, as version 2 is not answered.
    pub(super) fn has_fallen_back(&self) -> bool {
        let is_unanswered =
            self.initiator.as_ref().is_some_and(|i| i.negotiation.sent() > UNANSWERED);
        self.config.versions == Versions::Auto && self.sessions.is_empty() && is_unanswered
    }

    /// Begins to send initiations, the first at once.
    pub(super) fn begin_handshake(&mut self, now: Instant) {
        if let Some(initiator) = &mut self.initiator {
            initiator.negotiation.begin(now);
        }
    }

    /// When [`Self::initiate`] has something to do.
    pub(super) fn initiation_due(&self) -> Option<Instant> {
        let initiator = self.initiator.as_ref()?;
        if self.is_closed || self.links.open().next().is_none() {
            return None;
        }
        let next = initiator.negotiation.poll_timeout();
        next.or_else(|| match self.sessions.first() {
            Some(session) => session.handshake_due(),
            None => Some(Instant::ZERO),
        })
    }

    /// Sends what is due of handshakes.
    pub(super) fn initiate(&mut self, now: Instant) {
        if self.initiation_due().is_none_or(|at| at > now) {
            return;
        }
        if self.sessions.first().is_none_or(|session| session.needs_handshake(now)) {
            self.begin_handshake(now);
        }
        self.send_initiation(now);
        if self.has_fallen_back() && self.v1.is_some() {
            let links: Vec<_> = self.links.open().map(|(link, ..)| link).collect();
            links.into_iter().for_each(|link| self.open_v1(link, now));
            let is_v1_up = self.links.iter().any(|(_, link)| link.is_up);
            if let Some(initiator) = self.initiator.as_mut().filter(|_| is_v1_up) {
                initiator.negotiation.postpone(now + WHILE_V1);
            }
        }
    }

    fn send_initiation(&mut self, now: Instant) {
        let index = self.draw_free_index();
        let Self { initiator, config, links, rng, .. } = self;
        let (Some(initiator), Some(credentials)) = (initiator, &config.credentials) else { return };
        let open: Vec<_> = links.open().collect();
        let paths: Vec<PathId> = open.iter().map(|(_, path, _)| *path).collect();
        let session_id = initiator.session;
        let offer = |path| Offer {
            index,
            path,
            session_id,
            ciphers: if Cipher::preferred() == Cipher::Aes256Gcm {
                vec![Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305]
            } else {
                vec![Cipher::ChaCha20Poly1305, Cipher::Aes256Gcm]
            },
            wants_cleartext: config.cleartext_data,
            ethernet: config.inner == PacketKind::Ethernet,
            time_micros: config.unix_micros.saturating_add(now.as_micros()),
        };
        match initiator.negotiation.poll_initiation(credentials, &paths, offer, rng, now) {
            Ok(Some((path, bytes))) => {
                let way = open.iter().find(|(_, known, _)| *known == path);
                let (link, _, to) = *way.expect("the path was offered just now");
                self.say(link, to, bytes);
            }
            Ok(None) => {}
            Err(error) => self.report_trouble(error),
        }
    }

    /// Takes the answer to an initiation.
    pub(super) fn handle_response(&mut self, data: &[u8], now: Instant) -> Result<(), DropReason> {
        let initiator = self.initiator.as_mut().ok_or(DropReason::Handshake)?;
        let (established, epoch) = match initiator.negotiation.handle_response(data, now) {
            Ok(agreed) => agreed,
            Err(error) => {
                self.report_trouble(error);
                return Err(DropReason::Handshake);
            }
        };
        initiator.trouble = None;
        let goes_on = established.is_resumed && !self.sessions.is_empty();
        if !goes_on {
            self.begin_session(&established, now);
        }
        if let Some(session) = self.sessions.first_mut() {
            session.install_epoch(epoch, now);
            session.on_handshake_path(established.path, now);
        }
        self.sessions.index(0);
        self.leave_v1(now);
        self.settle(now);
        Ok(())
    }

    /// Takes a cookie, which the next initiation on the same path bears.
    pub(super) fn handle_cookie(&mut self, data: &[u8], now: Instant) -> Result<(), DropReason> {
        let Self { initiator, config, .. } = self;
        let initiator = initiator.as_mut().ok_or(DropReason::Handshake)?;
        let credentials = config.credentials.as_ref().ok_or(DropReason::Handshake)?;
        let taken = initiator.negotiation.handle_cookie(data, credentials, now);
        taken.map_err(|_| DropReason::Handshake)
    }

    fn begin_session(&mut self, established: &Established, now: Instant) {
        if !self.sessions.is_empty() {
            let peer = self.sessions.first().and_then(|session| session.identity().peer);
            self.events.push_back(Event::PeerReplaced { peer });
        }
        let identity = Identity { id: established.session_id, peer: established.peer };
        let setup = self.setup(identity);
        self.sessions.replace_only(Session::new(setup, now), now);
        let links: Vec<_> = self.links.open().map(|(link, ..)| link).collect();
        links.into_iter().for_each(|link| self.open_path(link, now));
    }

    /// What a session with `identity` is made of.
    pub(super) fn setup(&mut self, identity: Identity) -> SessionSetup {
        let mut lane_key = [0; 16];
        self.rng.fill_bytes(&mut lane_key);
        let routes = self.config.routes.iter().find(|routes| Some(routes.peer) == identity.peer);
        SessionSetup {
            role: self.config.role,
            kind: self.config.inner,
            sources: routes.map(|routes| routes.networks.clone()).unwrap_or_default(),
            identity,
            software: self.config.software.clone(),
            lane_key,
            rekey_packets: self.config.rekey_packets,
        }
    }

    /// The initiator's session has a path for each link that has a socket.
    pub(super) fn open_path(&mut self, link: LinkIndex, now: Instant) {
        let way = self.links.open().find(|(open, ..)| *open == link);
        let (Some((_, path, remote)), true) = (way, self.initiator.is_some()) else { return };
        let terms = self.links.terms(link);
        if let Some(session) = self.sessions.first_mut() {
            session.open_path(path, Route { link, remote }, terms, now);
        }
    }

    /// A session that the peer ended is begun anew under another id.
    pub(super) fn renew_session_id(&mut self, now: Instant) {
        if let Some(initiator) = &mut self.initiator {
            initiator.session = draw_session(&mut self.rng);
            initiator.negotiation = Negotiation::default();
            initiator.negotiation.begin(now);
            initiator.negotiation.postpone(now + Duration::from_secs(1));
        }
    }

    /// Tells the owner what is wrong with the peer's configuration or software: once.
    fn report_trouble(&mut self, error: HandshakeError) {
        let Some(initiator) = &mut self.initiator else { return };
        if error.blame() != Blame::Network && initiator.trouble != Some(error) {
            initiator.trouble = Some(error);
            self.events.push_back(Event::HandshakeTrouble { error });
        }
    }
}
