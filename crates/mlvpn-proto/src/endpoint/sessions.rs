//! Which session a datagram and an IP packet belong to.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;

use rand_core::Rng;

use super::Endpoint;
use super::links::Links;
use crate::config::{EndpointConfig, IpPrefix};
use crate::drop::DropReason;
use crate::event::{DownReason, Event};
use crate::id::{LinkIndex, SessionIndex};
use crate::ip::{self, PacketKind};
use crate::session::v2::path::Route;
use crate::session::v2::receive::Incoming;
use crate::session::v2::{Identity, Session, Shared};
use crate::time::{Duration, Instant};
use crate::wire::v2::{CloseReason, SealedHeader};

/// An index is not given out again for this long after its last use `[H16]`.
const RETIRED_FOR: Duration = Duration::from_secs(240);
/// Of more than so many the oldest are: by chance alone one is drawn again once in 65,536 times.
pub(super) const MAX_RETIRED: usize = 1 << 16;
/// Between two looks at which indices are still in use.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// So many indices more than after the last look are another reason for one: a peer with the keys may begin
/// handshakes as fast as it likes.
pub(super) const SWEEP_AFTER: usize = 4_096;

/// The sessions of version 2.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    slots: Vec<Option<Session>>,
    /// Sessions that ended and have goodbyes left to send.
    ended: Vec<Session>,
    /// Where packets with that index go.
    indices: HashMap<SessionIndex, usize>,
    retired: Retired,
    swept: Instant,
    /// How many indices were in use then.
    used_then: usize,
    is_ending: bool,
}

/// Indices that are not given out again for a while `[H16]`.
#[derive(Clone, Debug, Default)]
struct Retired {
    order: VecDeque<(SessionIndex, Instant)>,
    set: HashSet<SessionIndex>,
}

impl Retired {
    fn contains(&self, index: SessionIndex) -> bool {
        self.set.contains(&index)
    }

    /// Adds those that were in use until now, and frees those whose time is over.
    fn keep(&mut self, mut gone: Vec<SessionIndex>, now: Instant) {
        while self.order.front().is_some_and(|(_, until)| *until <= now) {
            self.free_oldest();
        }
        gone.sort_unstable();
        for index in gone {
            if self.set.insert(index) {
                self.order.push_back((index, now + RETIRED_FOR));
            }
            if self.order.len() > MAX_RETIRED {
                self.free_oldest();
            }
        }
    }

    fn free_oldest(&mut self) {
        if let Some((index, _)) = self.order.pop_front() {
            self.set.remove(&index);
        }
    }
}

impl Sessions {
    /// None, after others whose indices are not to be given out again for a while.
    pub(super) fn after(former: &Self, now: Instant) -> Self {
        let mut retired = former.retired.clone();
        retired.keep(former.indices.clone().into_keys().collect(), now);
        Self { retired, ..Self::default() }
    }

    /// All that live, and those that say goodbye.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.slots.iter_mut().flatten().chain(&mut self.ended)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().flatten()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }

    /// One more than the highest slot.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Session> {
        self.slots.get(slot)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Session> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// The only session of an initiator.
    pub(super) fn first(&self) -> Option<&Session> {
        self.get(0)
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut Session> {
        self.get_mut(0)
    }

    /// An initiator's session is replaced: the peer knows nothing of the former one.
    pub(super) fn replace_only(&mut self, session: Session, now: Instant) {
        self.slots = vec![Some(session)];
        self.sweep(now);
    }

    /// Adds a session; returns its slot.
    pub(super) fn add(&mut self, session: Session) -> usize {
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(session);
        self.index(slot);
        slot
    }

    /// The session of that identity.
    pub(super) fn of_identity(&self, identity: &Identity) -> Option<usize> {
        let is_it =
            |slot: &Option<Session>| slot.as_ref().is_some_and(|s| s.identity() == identity);
        self.slots.iter().position(is_it)
    }

    /// Other sessions with the same peer as that one: a peer has one session.
    fn rivals(&self, slot: usize) -> Vec<usize> {
        let Some(peer) = self.get(slot).map(|session| session.identity().peer) else {
            return Vec::new();
        };
        let is_rival = |(other, session): &(usize, &Option<Session>)| {
            *other != slot && session.as_ref().is_some_and(|s| s.identity().peer == peer)
        };
        self.slots.iter().enumerate().filter(is_rival).map(|(other, _)| other).collect()
    }

    /// Notes under which indices the session's peer sends.
    pub(super) fn index(&mut self, slot: usize) {
        let Self { slots, indices, .. } = self;
        if let Some(session) = slots.get(slot).and_then(Option::as_ref) {
            indices.extend(session.indices().map(|index| (index, slot)));
        }
    }

    fn slot_of(&self, index: SessionIndex) -> Option<usize> {
        self.indices.get(&index).copied()
    }

    /// A random index that is not, and was not lately, in use `[H16]`.
    pub(super) fn draw_index(&self, rng: &mut impl Rng) -> SessionIndex {
        loop {
            let index = SessionIndex(rng.next_u32());
            let is_used = self.indices.contains_key(&index) || self.retired.contains(index);
            if index.0 != 0 && !is_used {
                return index;
            }
        }
    }

    /// The session that carries `packet`: the only one, or that of the peer behind which its
    /// destination is.
    pub(super) fn of_packet(&self, packet: &[u8], config: &EndpointConfig) -> Option<usize> {
        if config.routes.is_empty() || config.inner == PacketKind::Ethernet {
            return self
                .slots
                .iter()
                .rposition(|slot| slot.as_ref().is_some_and(Session::is_usable));
        }
        let (_, destination) = ip::addresses(packet)?;
        let holds = |networks: &[IpPrefix]| {
            let matching = networks.iter().filter(|network| network.contains(destination));
            matching.map(|network| network.len).max()
        };
        let best = config.routes.iter().filter_map(|r| Some((holds(&r.networks)?, r.peer)));
        let (_, peer) = best.max_by_key(|(len, _)| *len)?;
        self.slots.iter().position(|slot| {
            slot.as_ref().is_some_and(|s| s.identity().peer == Some(peer) && s.is_usable())
        })
    }

    /// Why no session carries a packet.
    pub(super) fn why_none(&self) -> DropReason {
        if self.iter().any(Session::is_usable) { DropReason::NoPeer } else { DropReason::NoPath }
    }

    /// Takes out the sessions that have ended; they may have goodbyes left to send.
    pub(super) fn reap(&mut self, links: &mut Links) {
        if !std::mem::take(&mut self.is_ending) && self.iter().all(|s| s.ended().is_none()) {
            return;
        }
        for slot in &mut self.slots {
            let Some(session) = slot.take_if(|session| session.ended().is_some()) else { continue };
            let reason = session.ended().expect("it was taken for that");
            for path in session.paths().filter(|path| path.was_usable()) {
                links.explain(path.route.link, reason);
            }
            self.ended.push(session);
        }
    }

    /// Forgets sessions that ended and have said so.
    pub(super) fn bury(&mut self) {
        self.ended.clear();
    }

    /// Sweeps out indices that are not in use any more.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.sweeps_at() <= now {
            self.sweep(now);
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.swept = now;
        let mut used = BTreeMap::new();
        for (slot, session) in self.slots.iter().enumerate() {
            used.extend(session.iter().flat_map(Session::indices).map(|index| (index, slot)));
        }
        self.used_then = used.len();
        let former =
            std::mem::replace(&mut self.indices, used.iter().map(|(i, s)| (*i, *s)).collect());
        let gone = former.into_keys().filter(|index| !used.contains_key(index));
        self.retired.keep(gone.collect(), now);
    }

    /// Indices that are in use, and those that are kept back.
    pub(super) fn index_count(&self) -> usize {
        self.indices.len() + self.retired.order.len()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.indices.is_empty()).then(|| self.sweeps_at())
    }

    fn sweeps_at(&self) -> Instant {
        let has_grown = self.indices.len() > self.used_then + SWEEP_AFTER;
        let pause = if has_grown { Duration::ZERO } else { SWEEP_EVERY };
        self.swept + pause
    }
}

impl Endpoint {
    /// Takes a sealed packet.
    pub(super) fn handle_sealed(
        &mut self,
        (link, remote): (LinkIndex, SocketAddr),
        data: &mut [u8],
        arrived_at: Instant,
        now: Instant,
    ) -> Result<(), DropReason> {
        let header = SealedHeader::parse(data).map_err(|_| DropReason::Malformed)?;
        let route = Route { link, remote };
        let incoming = Incoming { route, header, data, arrived_at, is_marked: false };
        let Some(slot) = self.sessions.slot_of(header.receiver) else {
            return self.handle_first_packet(incoming, now);
        };
        let Self { sessions, rng, pool, to_tun, drops, .. } = self;
        let session = sessions.get_mut(slot).ok_or(DropReason::UnknownSession)?;
        let mut shared = Shared { rng, pool, to_tun, drops };
        let result = session.handle_sealed(incoming, &mut shared, now);
        if session.take_changed() {
            self.after_change(now);
        }
        result
    }

    /// The first packet of a session that was agreed on, if it is authentic.
    fn handle_first_packet(
        &mut self,
        incoming: Incoming<'_>,
        now: Instant,
    ) -> Result<(), DropReason> {
        let index = incoming.header.receiver;
        let responder = self.responder.as_mut().ok_or(DropReason::UnknownSession)?;
        let pending = responder.take(index).ok_or(DropReason::UnknownSession)?;
        // A session is made only for a packet that opens: what does not leaves no trace.
        let mut copy = incoming.data.to_vec();
        if !pending.opens(&incoming.header, &mut copy) {
            responder.give_back(index, pending);
            return Err(DropReason::NotAuthentic);
        }
        let setup = self.setup(pending.identity().clone());
        let session = pending.into_session(Session::new(setup, now), now);
        let slot = self.sessions.add(session);
        for rival in self.sessions.rivals(slot) {
            if let Some(session) = self.sessions.get_mut(rival) {
                let peer = session.identity().peer;
                session.close(CloseReason::Replaced, DownReason::PeerDisconnected);
                self.events.push_back(Event::PeerReplaced { peer });
            }
        }
        let Self { sessions, rng, pool, to_tun, drops, .. } = self;
        let session = sessions.get_mut(slot).expect("it was added just now");
        let mut shared = Shared { rng, pool, to_tun, drops };
        let result = session.handle_sealed(incoming, &mut shared, now);
        self.leave_v1(now);
        self.after_change(now);
        result
    }

    /// A random index that neither a session nor a handshake has `[H16]`.
    pub(super) fn draw_free_index(&mut self) -> SessionIndex {
        loop {
            let index = self.sessions.draw_index(&mut self.rng);
            let is_pending = self.responder.as_ref().is_some_and(|responder| responder.has(index))
                || self.initiator.as_ref().is_some_and(|initiator| initiator.has(index));
            if !is_pending {
                return index;
            }
        }
    }

    pub(super) fn after_change(&mut self, now: Instant) {
        let had_session = !self.sessions.is_empty();
        self.settle(now);
        if had_session && self.sessions.is_empty() && !self.is_closed {
            self.renew_session_id(now);
        }
    }

    /// The address of a link's peer.
    pub(super) fn remote_of(&self, link: LinkIndex) -> Option<SocketAddr> {
        let of_session = self.sessions.iter().find_map(|session| session.remote_of(link));
        of_session.or_else(|| self.links.get(link)?.config.remote)
    }
}

#[cfg(test)]
mod tests;
