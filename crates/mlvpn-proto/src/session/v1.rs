//! A session of version 1. It is driven and drained as [`crate::Endpoint`] is, by which it is owned.

pub(crate) mod config;
pub(crate) mod path;
mod receive;
mod send;

use std::collections::VecDeque;

use chacha20::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::{LinkChange, Timer};
use crate::buffer::Pool;
use crate::config::{FilterRule, LinkConfig, Treatment};
use crate::delay::DelayTable;
use crate::drop::{DropCounts, DropReason};
use crate::event::{DownReason, Event, Quality};
use crate::handshake::v1::{Change, Reaction, Wake};
use crate::id::{DataSeq, FlowId, LinkIndex};
use crate::oversize::Oversize;
use crate::resequencer::{ReorderPolicy, Resequencer};
use crate::scheduler::weighted::Weighted;
use crate::stats::{LinkStats, SessionStats, Traffic, Version};
use crate::time::Instant;
use config::SessionConfig;
use path::Path;

/// The association with one peer.
#[derive(Debug)]
pub(crate) struct Session {
    config: SessionConfig,
    rng: ChaCha12Rng,
    paths: Vec<Option<Path>>,
    /// For every slot: whether the scheduler may choose it.
    eligible: Vec<bool>,
    /// For every filter: the slot of its link, while that link exists.
    filter_slots: Vec<Option<usize>>,
    scheduler: Weighted,
    resequencer: Resequencer,
    delays: DelayTable,
    next_seq: DataSeq,
    /// The slot that [`Session::poll_transmit`] looks at first.
    cursor: usize,
    pool: Pool,
    to_tun: VecDeque<Vec<u8>>,
    /// The packet that [`Session::poll_ip_packet`] has lent out.
    lent: Option<Vec<u8>>,
    oversize: Oversize,
    events: VecDeque<Event>,
    counters: SessionCounters,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct SessionCounters {
    from_tun: Traffic,
    to_tun: Traffic,
    drops: DropCounts,
}

impl Session {
    /// A session without links. `seed` must be unpredictable and never used twice: flow ids, and
    /// through them nonces, come from it.
    pub(crate) fn new(config: SessionConfig, seed: [u8; 32]) -> Self {
        Self {
            rng: ChaCha12Rng::from_seed(seed),
            paths: Vec::new(),
            eligible: Vec::new(),
            filter_slots: vec![None; config.filters.len()],
            scheduler: Weighted::default(),
            resequencer: Resequencer::new(config.reorder),
            delays: DelayTable::default(),
            next_seq: DataSeq(0),
            cursor: 0,
            pool: Pool::default(),
            to_tun: VecDeque::new(),
            lent: None,
            oversize: Oversize::default(),
            events: VecDeque::new(),
            counters: SessionCounters::default(),
            is_closed: false,
            config,
        }
    }

    /// Adds a link in the slot `link`, which must be free; it does nothing until its owner says
    /// that it is [`LinkChange::Opened`].
    ///
    /// # Panics
    /// When the slot is not free.
    pub(crate) fn add_link(&mut self, link: LinkIndex, config: LinkConfig, now: Instant) {
        assert!(!self.has_link(link), "a slot holds one link");
        let flow = self.draw_flow_id();
        let path = Path::new(self.config.role, config, flow, now);
        if self.paths.len() <= link.slot() {
            self.paths.resize_with(link.slot() + 1, || None);
        }
        self.paths[link.slot()] = Some(path);
        self.update_weights();
        self.update_eligible();
    }

    /// Whether the slot is taken: also by a link that was removed and has goodbyes left to send.
    pub(crate) fn has_link(&self, link: LinkIndex) -> bool {
        self.paths.get(link.slot()).is_some_and(Option::is_some)
    }

    /// Whether the link is up.
    pub(crate) fn is_up(&self, link: LinkIndex) -> bool {
        let path = self.paths.get(link.slot()).and_then(Option::as_ref);
        path.is_some_and(|path| path.conversation.is_up())
    }

    /// Takes a link away. It says goodbye first: poll once more before its socket is closed.
    pub(crate) fn remove_link(&mut self, link: LinkIndex, now: Instant) {
        if let Some(path) = self.path_mut(link) {
            path.is_removed = true;
            let reaction = path.conversation.close(DownReason::Removed, now);
            self.apply(link, reaction, now);
            self.reap(link.slot());
        }
    }

    /// Gives a link other settings without disturbing what goes on.
    pub(crate) fn reconfigure_link(&mut self, link: LinkIndex, config: LinkConfig, now: Instant) {
        let Some(path) = self.path_mut(link) else { return };
        path.conversation.set_timeout(config.timeout);
        if config.remote.is_some() {
            path.remote = config.remote;
        }
        path.config = config;
        self.update_quality(link, now);
        self.update_weights();
        self.update_eligible();
    }

    /// Replaces the filters.
    pub(crate) fn set_filters(&mut self, filters: Vec<FilterRule>) {
        self.config.filters = filters;
        self.update_eligible();
    }

    /// Changes the largest IP packet that is taken.
    pub(crate) fn set_mtu(&mut self, mtu: u16) {
        self.config.mtu = mtu.min(self.config.max_mtu());
    }

    /// Changes how the order of packets is restored.
    pub(crate) fn set_reorder(&mut self, policy: ReorderPolicy) {
        self.resequencer.set_policy(policy);
    }

    /// A link's socket was opened, closed, or stopped or began taking packets.
    pub(crate) fn handle_link_change(&mut self, link: LinkIndex, change: LinkChange, now: Instant) {
        let Some(path) = self.path_mut(link) else { return };
        match change {
            LinkChange::Opened => {
                path.outbox.is_blocked = false;
                path.conversation.on_opened(now);
            }
            LinkChange::Closed => {
                if path.is_removed {
                    path.outbox.clear();
                }
                let reaction = path.conversation.close(DownReason::SocketClosed, now);
                self.apply(link, reaction, now);
                self.reap(link.slot());
            }
            LinkChange::Blocked => path.outbox.is_blocked = true,
            LinkChange::Unblocked => path.outbox.is_blocked = false,
        }
    }

    /// Does what is due. To be called when [`Session::poll_timeout`] says, harmless otherwise.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for slot in 0..self.paths.len() {
            let link = LinkIndex(slot as u16);
            while let Some(path) = self.path_mut(link)
                && path.poll_timeout().is_some_and(|(at, _)| at <= now)
            {
                let reaction = path.conversation.handle_timeout(now);
                self.apply(link, reaction, now);
                self.update_quality(link, now);
            }
        }
        if self.resequencer.poll_timeout().is_some_and(|at| at <= now) {
            self.resequencer.handle_timeout(&self.delays, now, &mut self.to_tun);
        }
    }

    /// Ends the session: the peer is told on every link that is up. Poll what is to be sent.
    pub(crate) fn close(&mut self, now: Instant) {
        self.is_closed = true;
        for slot in 0..self.paths.len() {
            let link = LinkIndex(slot as u16);
            if let Some(path) = self.path_mut(link) {
                let reaction = path.conversation.close(DownReason::SessionClosed, now);
                self.apply(link, reaction, now);
            }
        }
    }

    /// The next packet for the tunnel interface.
    pub(crate) fn poll_ip_packet(&mut self) -> Option<&[u8]> {
        if let Some(done) = self.lent.take() {
            self.pool.give(done);
        }
        let packet = self.to_tun.pop_front()?;
        self.counters.to_tun.count(packet.len());
        Some(self.lent.insert(packet))
    }

    /// The next thing that happened, but for what is up: the endpoint asks [`Self::is_up`].
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Session::handle_timeout`] is due, and why.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let of_paths = self.paths().filter_map(|(link, path)| {
            let (at, wake) = path.poll_timeout()?;
            Some((
                at,
                match wake {
                    Wake::Ask => Timer::Ask(link),
                    Wake::Keepalive => Timer::Keepalive(link),
                    Wake::Expire => Timer::Expire(link),
                },
            ))
        });
        let of_order = self.resequencer.poll_timeout().map(|at| (at, Timer::Reorder));
        of_paths.chain(of_order).min_by_key(|&(at, _)| at)
    }

    /// Numbers as of `now`.
    pub(crate) fn stats(&self, now: Instant) -> SessionStats {
        SessionStats {
            version: self.paths().any(|(_, path)| path.conversation.is_up()).then_some(Version::V1),
            peers: Vec::new(),
            from_tun: self.counters.from_tun,
            to_tun: self.counters.to_tun,
            drops: self.counters.drops.clone(),
            resequencer: self.resequencer.stats(),
            links: self.paths().map(|(link, path)| self.link_stats(link, path, now)).collect(),
        }
    }

    fn link_stats(&self, link: LinkIndex, path: &Path, now: Instant) -> LinkStats {
        LinkStats {
            link,
            name: path.config.name.clone(),
            state: path.conversation.state(),
            is_asking: path.conversation.is_asking(),
            since: path.conversation.since(),
            reason: path.conversation.reason(),
            quality: path.quality,
            is_used: self.eligible[link.slot()],
            remote: path.remote,
            sent: path.counters.sent,
            received: path.counters.received,
            sent_to_all: path.counters.sent,
            received_from_all: path.counters.received,
            srtt: path.estimates.rtt.smoothed(),
            rttvar: path.estimates.rtt.variation(),
            loss_percent: path.estimates.loss.percent(now),
            delay_behind_fastest_ms: self.delays.behind_fastest_ms(link),
            disconnects: path.counters.disconnects,
            last_received: path.counters.last_received,
            weight: path.config.weight,
            timeout: path.config.timeout,
            fallback_only: path.config.fallback_only,
            path: None,
        }
    }

    /// Carries out what a conversation decided.
    fn apply(&mut self, link: LinkIndex, reaction: Reaction, now: Instant) {
        if let Some(kind) = reaction.send
            && let Some(path) = self.path_mut(link)
        {
            path.send_control(kind);
        }
        match reaction.change {
            Some(Change::Up) => self.on_link_up(link, now),
            Some(Change::Down(reason)) => self.on_link_down(link, reason, now),
            None => {}
        }
    }

    fn on_link_up(&mut self, link: LinkIndex, now: Instant) {
        self.resequencer.set_carrier(link, true, now);
        self.update_eligible();
    }

    fn on_link_down(&mut self, link: LinkIndex, reason: DownReason, now: Instant) {
        self.resequencer.set_carrier(link, false, now);
        self.delays.forget(link);
        self.update_eligible();
        self.events.push_back(Event::LinkDown { link, reason });
        if let Some(path) = self.path_mut(link) {
            path.counters.disconnects += 1;
            path.estimates = path::Estimates::default();
            path.quality = Quality::Good;
            let stranded = std::mem::take(&mut path.outbox.data);
            self.dispatch_again(stranded, now);
        }
        self.resequencer.handle_timeout(&self.delays, now, &mut self.to_tun);
    }

    fn update_quality(&mut self, link: LinkIndex, now: Instant) {
        let Some(path) = self.path_mut(link) else { return };
        let quality = path.judge(now);
        if quality != path.quality && path.conversation.is_up() {
            path.quality = quality;
            self.update_eligible();
            self.events.push_back(Event::LinkQuality { link, quality });
        }
    }

    /// Weights count only when every link has one (as in the C program).
    fn update_weights(&mut self) {
        let is_weighted = self.paths().all(|(_, path)| path.config.weight.is_some());
        for slot in 0..self.paths.len() {
            let weight = self.paths[slot].as_ref().and_then(|path| path.config.weight);
            self.scheduler.set_weight(slot, weight.filter(|_| is_weighted).unwrap_or(1));
        }
    }

    /// Works out which links the scheduler may choose, and where the filters lead.
    fn update_eligible(&mut self) {
        let tiers: Vec<_> =
            self.paths.iter().map(|path| path.as_ref().and_then(Path::tier)).collect();
        let best = tiers.iter().flatten().min().copied();
        self.eligible = tiers.iter().map(|tier| tier.is_some() && *tier == best).collect();
        let slot_of = |name: &str| {
            self.paths().find(|(_, path)| path.config.name == name && !path.is_removed)
        };
        self.filter_slots = self
            .config
            .filters
            .iter()
            .map(|rule| match &rule.treatment {
                Treatment::Link(name) => slot_of(name).map(|(link, _)| link.slot()),
                Treatment::Policy(_) => None,
            })
            .collect();
    }

    /// Frees the slot of a removed link that has nothing left to send.
    fn reap(&mut self, slot: usize) {
        let is_done = |path: &Path| path.is_removed && path.outbox.is_empty();
        if self.paths[slot].as_ref().is_some_and(is_done) {
            self.paths[slot] = None;
            self.update_weights();
            self.update_eligible();
        }
    }

    /// A flow id that no other link of this session has.
    fn draw_flow_id(&mut self) -> FlowId {
        loop {
            let flow = FlowId(self.rng.next_u32());
            if self.paths().all(|(_, path)| path.outbox.flow() != flow) {
                return flow;
            }
        }
    }

    fn paths(&self) -> impl Iterator<Item = (LinkIndex, &Path)> {
        let with_index =
            |(slot, path): (usize, &'_ Option<Path>)| path.as_ref().map(|_| LinkIndex(slot as u16));
        self.paths.iter().enumerate().filter_map(with_index).zip(self.paths.iter().flatten())
    }

    fn path_mut(&mut self, link: LinkIndex) -> Option<&mut Path> {
        self.paths.get_mut(link.slot())?.as_mut()
    }

    fn count_drop(&mut self, reason: DropReason) {
        self.counters.drops.count(reason);
    }
}
