//! An endpoint: this end of the tunnel, with all its links and peers, in both versions of the protocol.
//!
//! The owner feeds it datagrams, IP packets and the time, and drains what comes of that:
//!
//! ```text
//! handle_datagram ─┐                 ┌─► poll_transmit   batches for the links' sockets
//! handle_ip_packet ├─►  Endpoint  ───┼─► poll_ip_packet  packets for the tunnel interface
//! handle_timeout  ─┘                 ├─► poll_event      what happened
//!                                    └─► poll_timeout    when to call handle_timeout next
//! ```
//!
//! After any input, everything that can be polled is to be polled until it is empty.
//!
//! | module | what it does |
//! |---|---|
//! | `links` | the configured links, and which of them are up |
//! | `initiator`, `responder`, `answers` | handshakes of version 2 |
//! | `sessions` | which session a datagram and an IP packet belong to |
//! | `snapshot` | numbers for the owner |
//! | `successor` | what outlives a change of the configuration |

mod answers;
mod initiator;
mod links;
mod responder;
mod sessions;
mod snapshot;
mod successor;

use std::collections::VecDeque;
use std::net::SocketAddr;

use rand_core::Rng as _;

use crate::buffer::Pool;
use crate::config::{EndpointConfig, FilterRule, LinkConfig, Role, Versions};
use crate::crypto::random::ErasingRng;
use crate::drop::{DropCounts, DropReason};
use crate::event::{DownReason, Event};
use crate::id::LinkIndex;
use crate::ip::is_whole;
use crate::ip::mss::Clamp;
use crate::oversize::{Limits, Oversize, Remedy};
use crate::policy::Policy;
use crate::resequencer::ReorderPolicy;
use crate::session::v1::config::SessionConfig;
use crate::session::{LinkChange, Timer, v1, v2};
use crate::stats::Traffic;
use crate::time::Instant;
use crate::transmit::{Transmit, TransmitBuf};
use crate::wire::v2::{CloseReason, DatagramKind};
use initiator::Initiator;
use links::Links;
use responder::Responder;
use sessions::Sessions;

/// This end of the tunnel.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    rng: ErasingRng,
    links: Links,
    /// Version 1, while it may be spoken.
    v1: Option<v1::Session>,
    initiator: Option<Initiator>,
    responder: Option<Responder>,
    sessions: Sessions,
    /// Handshake messages that wait to be sent.
    messages: VecDeque<Message>,
    pool: Pool,
    to_tun: VecDeque<Vec<u8>>,
    /// The packet that [`Endpoint::poll_ip_packet`] has lent out.
    lent: Option<Vec<u8>>,
    oversize: Oversize,
    events: VecDeque<Event>,
    drops: DropCounts,
    from_tun_count: Traffic,
    to_tun_count: Traffic,
    /// It has spoken version 2 with whoever has these credentials `[V3]`.
    peer_speaks_v2: bool,
    is_closed: bool,
}

/// A datagram that is no packet of a session.
#[derive(Debug)]
struct Message {
    link: LinkIndex,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// Handshake messages that may wait: what comes beyond is lost, and asked for again.
const MAX_MESSAGES: usize = 256;

impl Endpoint {
    /// An endpoint without links. `seed` must be unpredictable and never used twice: keys, and in
    /// version 1 nonces, come from it.
    #[must_use]
    pub fn new(config: EndpointConfig, seed: [u8; 32]) -> Self {
        let mut rng = ErasingRng::new(seed);
        let mut v1_seed = [0; 32];
        rng.fill_bytes(&mut v1_seed);
        let v1_config = SessionConfig::of_endpoint(&config);
        let v1 = v1_config.map(|config| v1::Session::new(config, v1_seed));
        let is_v2 = config.versions != Versions::V1;
        let credentials = config.credentials.as_ref().filter(|_| is_v2);
        let as_role = |role| credentials.filter(|_| config.role == role);
        Self {
            links: Links::default(),
            v1,
            initiator: as_role(Role::Client).map(|_| Initiator::new(&mut rng)),
            responder: as_role(Role::Server).map(Responder::new),
            sessions: Sessions::default(),
            messages: VecDeque::new(),
            pool: Pool::default(),
            to_tun: VecDeque::new(),
            lent: None,
            oversize: Oversize::default(),
            events: VecDeque::new(),
            drops: DropCounts::default(),
            from_tun_count: Traffic::default(),
            to_tun_count: Traffic::default(),
            peer_speaks_v2: false,
            is_closed: false,
            rng,
            config,
        }
    }

    /// Adds a link; it does nothing until its owner says that it is [`LinkChange::Opened`].
    pub fn add_link(&mut self, config: LinkConfig, now: Instant) -> LinkIndex {
        let v1 = &self.v1;
        let is_taken = |link| v1.as_ref().is_some_and(|v1| v1.has_link(link));
        let link = self.links.add(config.clone(), is_taken, now);
        if let Some(v1) = &mut self.v1 {
            v1.add_link(link, config, now);
        }
        link
    }

    /// Takes a link away. It says goodbye first: poll once more before its socket is closed.
    pub fn remove_link(&mut self, link: LinkIndex, now: Instant) {
        self.links.explain(link, DownReason::Removed);
        if let Some(v1) = &mut self.v1 {
            v1.remove_link(link, now);
        }
        let Self { sessions, rng, pool, to_tun, drops, .. } = self;
        let mut shared = v2::Shared { rng, pool, to_tun, drops };
        for session in sessions.iter_mut() {
            session.on_link_removed(link, &mut shared, now);
        }
        self.settle(now);
        self.links.remove(link);
    }

    /// Gives a link other settings without disturbing what goes on.
    pub fn reconfigure_link(&mut self, link: LinkIndex, config: LinkConfig, now: Instant) {
        if let Some(v1) = &mut self.v1 {
            v1.reconfigure_link(link, config.clone(), now);
        }
        self.links.reconfigure(link, config);
        self.settle(now);
    }

    /// Replaces the filters.
    pub fn set_filters(&mut self, filters: Vec<FilterRule>) {
        if let Some(v1) = &mut self.v1 {
            v1.set_filters(filters.clone());
        }
        self.config.filters = filters;
    }

    /// Changes how version 2 gives packets to the paths; none: as the peer wishes.
    pub fn set_policy(&mut self, policy: Option<Policy>, now: Instant) {
        self.config.policy = policy;
        self.settle(now);
    }

    /// Changes the largest IP packet that is taken.
    pub fn set_mtu(&mut self, mtu: u16) {
        if let Some(v1) = &mut self.v1 {
            v1.set_mtu(mtu);
        }
        self.config.mtu = mtu;
    }

    /// Changes how version 1 restores the order of packets.
    pub fn set_reorder(&mut self, policy: ReorderPolicy) {
        if let Some(v1) = &mut self.v1 {
            v1.set_reorder(policy);
        }
    }

    /// A link's socket was opened, closed, or stopped or began taking packets.
    pub fn handle_link_change(&mut self, link: LinkIndex, change: LinkChange, now: Instant) {
        let is_known = self.links.on_change(link, change);
        if let Some(v1) = &mut self.v1
            && (change != LinkChange::Opened || self.links.may_speak_v1(link))
        {
            v1.handle_link_change(link, change, now);
        }
        if !is_known {
            return;
        }
        match change {
            LinkChange::Opened => self.on_link_opened(link, now),
            LinkChange::Closed => {
                self.links.explain(link, DownReason::SocketClosed);
                let Self { sessions, rng, pool, to_tun, drops, .. } = self;
                let mut shared = v2::Shared { rng, pool, to_tun, drops };
                for session in sessions.iter_mut() {
                    session.on_link_closed(link, &mut shared, now);
                }
            }
            LinkChange::Blocked | LinkChange::Unblocked => {
                let is_blocked = change == LinkChange::Blocked;
                self.sessions.iter_mut().for_each(|session| session.set_blocked(link, is_blocked));
            }
        }
        self.settle(now);
    }

    /// Takes a datagram that came from the network over `link` just now.
    ///
    /// Whatever it holds, this does not panic; what is refused is counted under a [`DropReason`].
    pub fn handle_datagram(
        &mut self,
        link: LinkIndex,
        from: SocketAddr,
        data: &mut [u8],
        now: Instant,
    ) {
        self.handle_kept_datagram(link, from, data, now, now);
    }

    /// As [`Self::handle_datagram`], of a datagram that came at `arrived_at` and was kept until now. On a busy
    /// machine that is much later, and would look like a queue in the network.
    pub fn handle_kept_datagram(
        &mut self,
        link: LinkIndex,
        from: SocketAddr,
        data: &mut [u8],
        arrived_at: Instant,
        now: Instant,
    ) {
        let result = match DatagramKind::of(data) {
            DatagramKind::V1 => self.handle_v1(link, from, data, now),
            DatagramKind::Sealed => self.handle_sealed((link, from), data, arrived_at, now),
            DatagramKind::Initiation => self.handle_initiation(link, from, data, now),
            DatagramKind::Response => self.handle_response(data, now),
            DatagramKind::CookieReply => self.handle_cookie(data, now),
            DatagramKind::Reserved => Err(DropReason::Malformed),
        };
        if let Err(reason) = result {
            self.drops.count(reason);
        }
    }

    /// Takes an IP packet (or an Ethernet frame) from the tunnel interface.
    ///
    /// A packet above the MTU is answered with ICMP "packet too big", or sent in fragments where
    /// IPv4 allows it; nothing is ever truncated. In version 2, the segment size that a SYN announces is
    /// lowered to what the MTU allows.
    pub fn handle_ip_packet(&mut self, packet: &[u8], now: Instant) {
        if self.is_closed {
            return;
        }
        if !is_whole(packet, self.config.inner) {
            self.drops.count(DropReason::NotAnIpPacket);
            return;
        }
        let Some(slot) = self.sessions.of_packet(packet, &self.config) else {
            match &mut self.v1 {
                Some(v1) if self.sessions.is_empty() => v1.handle_ip_packet(packet, now),
                _ => self.drops.count(self.sessions.why_none()),
            }
            return;
        };
        let limits = self.limits(slot);
        if !limits.is_above(packet) {
            let mtu = self.links.segment_mtu(limits.mtu, limits.kind);
            match Clamp::find(packet, limits.kind, mtu) {
                None => self.send(slot, packet, now),
                Some(clamp) => {
                    let mut clamped = packet.to_vec();
                    clamp.apply(&mut clamped);
                    self.send(slot, &clamped, now);
                }
            }
            return;
        }
        self.refuse(slot, packet, &limits, now);
    }

    /// Has a packet above the limits sent in pieces, or its sender told.
    fn refuse(&mut self, slot: usize, packet: &[u8], limits: &Limits, now: Instant) {
        match self.oversize.remedy(packet, limits, now) {
            Remedy::Fragments(pieces) => pieces.iter().for_each(|p| self.send(slot, p, now)),
            Remedy::Refusal(reply) => {
                self.drops.count(DropReason::TooBig);
                self.to_tun.extend(reply);
            }
        }
    }

    /// Deals with packets that were taken before the paths became too small for them. Returns whether
    /// there were any: their pieces are to be sent.
    fn refuse_what_fits_no_more(&mut self, now: Instant) -> bool {
        let mut has_any = false;
        for slot in 0..self.sessions.slots() {
            let refused = self.sessions.get_mut(slot).map(v2::Session::take_refused);
            for v2::Refused { packet, was_sent } in refused.unwrap_or_default() {
                has_any = true;
                let limits = self.limits(slot);
                // What fits a path that may not be used now is dropped without a word.
                let is_above = limits.is_above(&packet);
                if is_above && !was_sent {
                    self.refuse(slot, &packet, &limits, now);
                } else {
                    self.drops.count(DropReason::TooBig);
                    if is_above {
                        self.to_tun.extend(self.oversize.refusal(&packet, &limits, now));
                    }
                }
                self.pool.give(packet);
            }
        }
        has_any
    }

    /// Does what is due. To be called when [`Endpoint::poll_timeout`] says, harmless otherwise.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(v1) = &mut self.v1
            && v1.poll_timeout().is_some_and(|(at, _)| at <= now)
        {
            v1.handle_timeout(now);
        }
        let Self { sessions, rng, pool, to_tun, drops, .. } = self;
        let mut shared = v2::Shared { rng, pool, to_tun, drops };
        for session in sessions.iter_mut() {
            if session.poll_timeout().is_some_and(|(at, _)| at <= now) {
                session.handle_timeout(&mut shared, now);
            }
        }
        self.sessions.expire(now);
        if let Some(responder) = &mut self.responder {
            responder.expire(now);
        }
        self.initiate(now);
        self.after_change(now);
    }

    /// Ends everything: the peers are told on every link that is up. Poll what is to be sent.
    pub fn close(&mut self, now: Instant) {
        self.is_closed = true;
        self.links.explain_all(DownReason::SessionClosed);
        if let Some(v1) = &mut self.v1 {
            v1.close(now);
        }
        for session in self.sessions.iter_mut() {
            session.close(CloseReason::ShuttingDown, DownReason::SessionClosed);
        }
        self.settle(now);
    }

    /// Writes the next batch into `out`; none when there is nothing to send.
    pub fn poll_transmit(&mut self, out: &mut TransmitBuf, now: Instant) -> Option<Transmit> {
        out.clear();
        if let Some(message) = self.messages.pop_front() {
            out.push(message.bytes.len()).copy_from_slice(&message.bytes);
            return out.transmit(message.link, message.to);
        }
        loop {
            let Self { sessions, rng, pool, to_tun, drops, .. } = self;
            let mut shared = v2::Shared { rng, pool, to_tun, drops };
            for session in sessions.iter_mut() {
                let transmit = session.poll_transmit(out, &mut shared, now);
                if transmit.is_some() {
                    return transmit;
                }
                out.clear();
            }
            if !self.refuse_what_fits_no_more(now) {
                break;
            }
        }
        self.sessions.bury();
        self.v1.as_mut().and_then(|v1| v1.poll_transmit(out, now))
    }

    /// The next packet for the tunnel interface.
    pub fn poll_ip_packet(&mut self) -> Option<&[u8]> {
        if let Some(done) = self.lent.take() {
            self.pool.give(done);
        }
        if let Some(mut packet) = self.to_tun.pop_front() {
            let mtu = self.links.segment_mtu(self.config.mtu, self.config.inner);
            if let Some(clamp) = Clamp::find(&packet, self.config.inner, mtu) {
                clamp.apply(&mut packet);
            }
            self.to_tun_count.count(packet.len());
            return Some(self.lent.insert(packet));
        }
        self.v1.as_mut().and_then(v1::Session::poll_ip_packet)
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Endpoint::handle_timeout`] is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let v1 = self.v1.as_ref().and_then(v1::Session::poll_timeout);
        let sessions = self.sessions.iter().filter_map(v2::Session::poll_timeout);
        let handshake = self.initiation_due().map(|at| (at, Timer::Handshake));
        let expiry = self.sessions.poll_timeout().map(|at| (at, Timer::Keys));
        let pending = self.responder.as_ref().and_then(Responder::poll_timeout);
        let pending = pending.map(|at| (at, Timer::Handshake));
        let links = self.links.poll_timeout().map(|at| (at, Timer::Paths));
        sessions
            .chain(v1)
            .chain(handshake)
            .chain(expiry)
            .chain(links)
            .chain(pending)
            .min_by_key(|&(at, _)| at)
    }

    fn send(&mut self, slot: usize, packet: &[u8], now: Instant) {
        let treatment = self.treatment_of(packet);
        let Self { sessions, rng, pool, to_tun, drops, .. } = self;
        let mut shared = v2::Shared { rng, pool, to_tun, drops };
        if let Some(session) = sessions.get_mut(slot) {
            self.from_tun_count.count(packet.len());
            session.send(packet, treatment, &mut shared, now);
        }
    }

    fn limits(&self, slot: usize) -> Limits {
        let largest = self.sessions.get(slot).and_then(v2::Session::largest_packet);
        let kind = self.config.inner;
        let packet = |largest: u16| self.config.mtu.min(largest.saturating_sub(kind.header_len()));
        Limits {
            kind,
            mtu: largest.map_or(self.config.mtu, packet),
            local_ip4: self.config.local_ip4,
            local_ip6: self.config.local_ip6,
        }
    }

    fn handle_v1(
        &mut self,
        link: LinkIndex,
        from: SocketAddr,
        data: &mut [u8],
        now: Instant,
    ) -> Result<(), DropReason> {
        let v1 = self.v1.as_mut().ok_or(DropReason::OtherVersion)?;
        v1.handle_datagram(link, from, data, now);
        self.settle(now);
        Ok(())
    }

    /// The peer has spoken version 2: it is not believed to speak version 1 any more `[V3]`.
    fn leave_v1(&mut self, now: Instant) {
        self.peer_speaks_v2 = true;
        if let Some(v1) = &mut self.v1
            && self.config.versions == Versions::Auto
        {
            v1.close(now);
            self.flush_v1(now);
            self.v1 = None;
        }
    }

    /// What version 1 has to say last, and what it counted.
    fn flush_v1(&mut self, now: Instant) {
        let Some(v1) = &mut self.v1 else { return };
        let mut out = TransmitBuf::new();
        while let Some(transmit) = v1.poll_transmit(&mut out, now) {
            for datagram in out.datagrams() {
                let (link, to) = (transmit.link, transmit.to);
                self.messages.push_back(Message { link, to, bytes: datagram.to_vec() });
            }
            out.clear();
        }
        let stats = v1.stats(now);
        self.drops.add_all(&stats.drops);
        self.from_tun_count.add(stats.from_tun);
        self.to_tun_count.add(stats.to_tun);
        // These are counted when they are taken from here.
        while let Some(packet) = v1.poll_ip_packet() {
            let mut copy = self.pool.take();
            copy.extend_from_slice(packet);
            self.to_tun.push_back(copy);
        }
    }

    fn say(&mut self, link: LinkIndex, to: SocketAddr, bytes: Vec<u8>) {
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push_back(Message { link, to, bytes });
        }
    }

    /// Works out what has changed for the owner.
    fn settle(&mut self, now: Instant) {
        self.sessions.reap(&mut self.links);
        self.reconcile(now);
    }
}
