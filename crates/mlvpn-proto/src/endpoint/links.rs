//! The configured links, and what the owner was told of them.

use std::net::SocketAddr;

use super::Endpoint;
use crate::config::{LinkConfig, Role, Treatment, Versions};
use crate::event::{DownReason, Event};
use crate::id::{LinkIndex, PathId};
use crate::ip::PacketKind;
use crate::policy::Policy;
use crate::session::v2::path::{Path, PathState};
use crate::session::v2::{self, Move, PathTerms};
use crate::session::{LinkChange, v1};
use crate::time::{Duration, Instant};

/// A link that was up counts as up for this long while its path is validated anew: a peer that was
/// restarted, or another version, is no outage.
const GRACE: Duration = Duration::from_secs(1);
/// What is configured as a link's bandwidth limits it if it is at least this much, in bytes per second:
/// smaller numbers are weights that somebody chose for version 1.
const LEAST_RATE: u64 = 12_500;
/// A larger MTU is believed when it has been possible for this long `[Z4]`.
const MTU_RISES_AFTER: Duration = Duration::from_secs(600);

/// All links, by their slots.
#[derive(Debug, Default)]
pub(super) struct Links {
    slots: Vec<Option<Link>>,
    mtu: MtuReport,
}

/// A link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) config: LinkConfig,
    /// It has a socket.
    pub(super) is_open: bool,
    /// Version 1 may use the socket.
    pub(super) is_v1_open: bool,
    /// The path that an initiator makes of it.
    pub(super) path: PathId,
    /// Whether the owner was told that it is up, and since when what it was told holds.
    pub(super) is_up: bool,
    pub(super) since: Instant,
    /// When it was seen to be not up, while the owner thinks that it is.
    missing_since: Option<Instant>,
    /// Why it will not be up, if that is known.
    pub(super) reason: Option<DownReason>,
    /// Why it was not up last.
    pub(super) last_reason: DownReason,
    pub(super) disconnects: u64,
}

/// The MTU that the owner was told of.
#[derive(Debug, Default)]
struct MtuReport {
    told: Option<u16>,
    higher_since: Option<Instant>,
}

impl Links {
    /// Puts a link into the first slot that is free, also for `is_taken`.
    pub(super) fn add(
        &mut self,
        config: LinkConfig,
        is_taken: impl Fn(LinkIndex) -> bool,
        now: Instant,
    ) -> LinkIndex {
        let is_free = |slot: &usize| {
            self.slots.get(*slot).is_none_or(Option::is_none) && !is_taken(LinkIndex(*slot as u16))
        };
        let slot = (0..usize::from(u16::MAX)).find(is_free);
        let slot = slot.expect("a configuration has fewer than 65,535 links");
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        // A session has 16 paths; further links share the ids, and the last to come has it.
        let path = PathId::from_low_bits(slot as u8);
        self.slots[slot] = Some(Link::new(config, path, now));
        LinkIndex(slot as u16)
    }

    pub(super) fn remove(&mut self, link: LinkIndex) {
        if let Some(slot) = self.slots.get_mut(link.slot()) {
            *slot = None;
        }
    }

    pub(super) fn get(&self, link: LinkIndex) -> Option<&Link> {
        self.slots.get(link.slot())?.as_ref()
    }

    pub(super) fn get_mut(&mut self, link: LinkIndex) -> Option<&mut Link> {
        self.slots.get_mut(link.slot())?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkIndex, &Link)> {
        let with_index =
            |(slot, link): (usize, &'_ Option<Link>)| link.as_ref().map(|_| LinkIndex(slot as u16));
        self.slots.iter().enumerate().filter_map(with_index).zip(self.slots.iter().flatten())
    }

    /// The link of that name.
    pub(super) fn named(&self, name: &str) -> Option<LinkIndex> {
        self.iter().find(|(_, link)| link.config.name == name).map(|(index, _)| index)
    }

    /// What the configuration says of the paths of a link.
    pub(super) fn terms(&self, link: LinkIndex) -> PathTerms {
        let Some(link) = self.get(link) else { return PathTerms::default() };
        let is_rate = |rate: &u64| *rate >= LEAST_RATE;
        PathTerms {
            is_backup: link.config.fallback_only,
            max_rate: link.config.weight.filter(is_rate),
            link: link.config.terms,
        }
    }

    /// Gives a link other settings; the peer's address stays when they have none.
    pub(super) fn reconfigure(&mut self, link: LinkIndex, mut config: LinkConfig) {
        if let Some(link) = self.get_mut(link) {
            config.remote = config.remote.or(link.config.remote);
            link.config = config;
        }
    }

    /// Returns whether there is such a link.
    pub(super) fn on_change(&mut self, link: LinkIndex, change: LinkChange) -> bool {
        let Some(link) = self.get_mut(link) else { return false };
        match change {
            LinkChange::Opened => (link.is_open, link.reason) = (true, None),
            LinkChange::Closed => (link.is_open, link.is_v1_open) = (false, false),
            LinkChange::Blocked | LinkChange::Unblocked => {}
        }
        true
    }

    /// Whether version 1 may use the link's socket.
    pub(super) fn may_speak_v1(&self, link: LinkIndex) -> bool {
        self.get(link).is_some_and(|link| link.is_v1_open)
    }

    /// Notes why a link goes down.
    pub(super) fn explain(&mut self, link: LinkIndex, reason: DownReason) {
        if let Some(link) = self.get_mut(link) {
            link.reason = Some(reason);
        }
    }

    pub(super) fn explain_all(&mut self, reason: DownReason) {
        self.slots.iter_mut().flatten().for_each(|link| link.reason = Some(reason));
    }

    /// Links with a socket and a peer to send to, and their paths.
    pub(super) fn open(&self) -> impl Iterator<Item = (LinkIndex, PathId, SocketAddr)> {
        let usable = |(index, link): (LinkIndex, &Link)| {
            Some((index, link.path, link.config.remote.filter(|_| link.is_open)?))
        };
        self.iter().filter_map(usable)
    }

    /// When a link that is missing is to be given up.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let missing = self.iter().filter_map(|(_, link)| link.missing_since).min();
        let rise = self.mtu.higher_since.map(|since| since + MTU_RISES_AFTER);
        [missing.map(|since| since + GRACE), rise].into_iter().flatten().min()
    }

    /// The largest IP packet that TCP is to make `[Z6]`: the MTU of the interface, or what every path in
    /// use carries where IPv6 keeps the interface's above that.
    pub(super) fn segment_mtu(&self, interface: u16, kind: PacketKind) -> u16 {
        let packet = |carried: u16| carried.saturating_sub(kind.header_len());
        self.mtu.told.map_or(interface, |carried| interface.min(packet(carried)))
    }

    pub(super) fn up(&self) -> usize {
        self.iter().filter(|(_, link)| link.is_up).count()
    }
}

impl Link {
    fn new(config: LinkConfig, path: PathId, now: Instant) -> Self {
        Self {
            config,
            is_open: false,
            is_v1_open: false,
            path,
            is_up: false,
            since: now,
            missing_since: None,
            reason: None,
            last_reason: DownReason::NeverUp,
            disconnects: 0,
        }
    }

    /// Why the owner is to be told now that the link, which is not up, is down; none while it may come
    /// back before anybody has to know, for which `is_coming` gives hope.
    fn is_gone(&mut self, is_coming: bool, now: Instant) -> Option<DownReason> {
        let since = *self.missing_since.get_or_insert(now);
        let is_over = now.saturating_since(since) >= GRACE || self.reason.is_some() || !is_coming;
        is_over.then(|| self.reason.take().unwrap_or(DownReason::Timeout))
    }
}

impl Endpoint {
    /// A link has a socket: version 1 may ask on it, version 2 begins or goes on with its path.
    pub(super) fn on_link_opened(&mut self, link: LinkIndex, now: Instant) {
        let is_v1_only = self.config.versions == Versions::V1 || self.initiator.is_none();
        if is_v1_only || self.has_fallen_back() {
            self.open_v1(link, now);
        }
        self.open_path(link, now);
        if self.initiator.is_some() && self.sessions.is_empty() {
            self.begin_handshake(now);
        }
    }

    /// Lets version 1 use a link.
    pub(super) fn open_v1(&mut self, link: LinkIndex, now: Instant) {
        let Some(known) = self.links.get_mut(link).filter(|link| link.is_open) else { return };
        if let Some(v1) = &mut self.v1
            && !known.is_v1_open
        {
            known.is_v1_open = true;
            v1.handle_link_change(link, LinkChange::Opened, now);
        }
    }

    /// The link or the policy to which the first filter that matches gives a packet.
    pub(super) fn treatment_of(&self, packet: &[u8]) -> (Option<LinkIndex>, Option<Policy>) {
        let is_up = |link: &LinkIndex| self.links.get(*link).is_some_and(|link| link.is_up);
        for rule in &self.config.filters {
            let treatment = match &rule.treatment {
                Treatment::Link(name) => match self.links.named(name).filter(is_up) {
                    Some(link) => (Some(link), None),
                    None => continue,
                },
                Treatment::Policy(policy) => (None, Some(*policy)),
            };
            if rule.filter.matches(packet, self.config.inner) {
                return treatment;
            }
        }
        (None, None)
    }

    /// Tells the owner what has changed.
    pub(super) fn reconcile(&mut self, now: Instant) {
        self.take_v1_events();
        self.take_moves();
        self.impose_terms(now);
        for slot in 0..self.links.slots.len() {
            self.reconcile_link(LinkIndex(slot as u16), now);
        }
        self.report_mtu(now);
    }

    fn take_moves(&mut self) {
        let Self { sessions, events, .. } = self;
        for Move { link, from, to } in sessions.iter_mut().flat_map(v2::Session::take_moves) {
            events.push_back(Event::PeerAddressChanged { link, from, to });
        }
    }

    /// A responder's paths come to be by what the peer sends; the configuration of their links holds for
    /// them as well.
    fn impose_terms(&mut self, now: Instant) {
        let Self { sessions, links, config, .. } = self;
        for session in sessions.iter_mut() {
            session.set_policy(config.policy, now);
            let present = session.paths().filter(|path| path.state != PathState::Absent);
            let paths: Vec<_> = present.map(|path| (path.id, path.route.link)).collect();
            for (id, link) in paths {
                if links.get(link).is_some() {
                    session.set_terms(id, links.terms(link), now);
                }
            }
        }
    }

    fn reconcile_link(&mut self, index: LinkIndex, now: Instant) {
        let is_v1_up = self.v1.as_ref().is_some_and(|v1| v1.is_up(index));
        let paths =
            || self.sessions.iter().flat_map(v2::Session::paths).filter(|p| p.route.link == index);
        let is_up = is_v1_up || paths().any(Path::is_usable);
        let is_coming = paths().any(|path| path.state == PathState::Joining) || self.is_changing();
        let Some(link) = self.links.get_mut(index) else { return };
        if is_up {
            link.missing_since = None;
            if !link.is_up && !self.is_closed {
                (link.is_up, link.since, link.reason) = (true, now, None);
                self.events.push_back(Event::LinkUp { link: index });
                if self.links.up() == 1 {
                    self.events.push_back(Event::SessionUp);
                }
            }
        } else if link.is_up
            && let Some(reason) = link.is_gone(is_coming, now)
        {
            (link.is_up, link.since, link.missing_since) = (false, now, None);
            link.last_reason = reason;
            link.disconnects += 1;
            self.events.push_back(Event::LinkDown { link: index, reason });
            if self.links.up() == 0 {
                self.events.push_back(Event::SessionDown);
            }
        }
    }

    /// Whether another session or version is about to take over.
    fn is_changing(&self) -> bool {
        self.config.role == Role::Client && self.sessions.is_empty() && !self.is_closed
    }

    fn take_v1_events(&mut self) {
        while let Some(event) = self.v1.as_mut().and_then(v1::Session::poll_event) {
            match event {
                // What is up is worked out from both versions.
                Event::LinkDown { link, reason } => self.links.explain(link, reason),
                event => self.events.push_back(event),
            }
        }
    }

    /// The MTU falls at once and rises late, but for the first search `[Z4]`.
    fn report_mtu(&mut self, now: Instant) {
        let mut sizes = self.sessions.iter().filter_map(v2::Session::mtu);
        let Some(first) = sizes.next() else {
            self.links.mtu = MtuReport::default();
            return;
        };
        let smallest = sizes.fold(first, |a, b| if b.packet < a.packet { b } else { a });
        let report = &mut self.links.mtu;
        let is_told = match report.told {
            _ if !smallest.is_final => false,
            None => true,
            Some(told) if smallest.packet < told => true,
            Some(told) if smallest.packet == told => {
                report.higher_since = None;
                false
            }
            Some(_) => {
                let since = *report.higher_since.get_or_insert(now);
                now.saturating_since(since) >= MTU_RISES_AFTER
            }
        };
        if is_told {
            *report = MtuReport { told: Some(smallest.packet), higher_since: None };
            self.events.push_back(Event::TunnelMtu { mtu: smallest.packet });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_fit_every_path_though_the_interface_takes_more() {
        let measured =
            |told| Links { mtu: MtuReport { told, ..MtuReport::default() }, ..Links::default() };
        let (ip, ethernet) = (PacketKind::Ip, PacketKind::Ethernet);
        assert_eq!(measured(None).segment_mtu(1_280, ip), 1_280);
        assert_eq!(measured(Some(1_220)).segment_mtu(1_280, ip), 1_220);
        assert_eq!(measured(Some(1_440)).segment_mtu(1_400, ip), 1_400);
        assert_eq!(measured(Some(1_220)).segment_mtu(1_280, ethernet), 1_206);
        assert_eq!(measured(Some(1_440)).segment_mtu(1_426, ethernet), 1_426);
    }
}
