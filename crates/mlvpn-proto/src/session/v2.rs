//! A session of version 2: keys, paths and lanes. See docs/protocol-v2.md.
//!
//! | module | what it does |
//! |---|---|
//! | [`path`], [`migration`] | a path, and its change of address |
//! | `receive` | sealed packets and the frames in them |
//! | `control` | what is sent beside data: challenges, feedback, acknowledgements, probes |
//! | `feedback` | what the peer tells of the paths, and how much this end may tell |
//! | `terms` | what both ends want the paths used for |
//! | `life`, `progress` | when paths come up, are suspect, and go down; what tells that they carry something |
//! | `send` | what goes to the paths next: sealed, in batches |
//! | `reinjection` | what goes over another path as well, since its own is silent or slow |
//! | `field` | among which paths is chosen |
//! | `upload` | data that waits to be sent, and its lanes' numbers |
//! | `copies` | second copies, for paths that have room |
//! | [`promise`] | frames that are sent again until they are acknowledged |

mod control;
mod copies;
mod feedback;
mod field;
mod footprint;
mod life;
pub(crate) mod migration;
mod offers;
pub(crate) mod path;
mod progress;
mod promise;
pub(crate) mod receive;
mod reinjection;
mod send;
mod terms;
mod upload;

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::Timer;
use crate::buffer::Pool;
use crate::config::{IpPrefix, Role};
use crate::crypto::keypair::PublicKey;
use crate::crypto::random::ErasingRng;
use crate::drop::DropCounts;
use crate::epochs::{Epoch, Epochs};
use crate::event::DownReason;
use crate::handshake::v2::SessionId;
use crate::id::{LinkIndex, PathId, SessionIndex};
use crate::ip::PacketKind;
use crate::lanes::LaneResequencer;
use crate::policy::LinkTerms;
use crate::stats::PeerStats;
use crate::time::{Duration, Instant};
use crate::transit::TransitTable;
use crate::wire::v2::{CloseReason, Frame, PathStatus};
use control::Control;
use feedback::FeedbackSent;
use offers::Offers;
use path::{Path, PathState, Route};
use promise::{Promise, Promises};
use terms::TermsTable;
pub(crate) use upload::Refused;
use upload::Upload;

/// The session is active for this long after an IP packet `[P7]`.
const ACTIVE_TIME: Duration = Duration::from_secs(10);

/// Handshakes that may be confirmed still `[H21]`.
const MAX_ANSWERED: usize = 4;

/// What all sessions of an endpoint use.
pub(crate) struct Shared<'a> {
    pub(crate) rng: &'a mut ErasingRng,
    pub(crate) pool: &'a mut Pool,
    /// Packets for the tunnel interface.
    pub(crate) to_tun: &'a mut VecDeque<Vec<u8>>,
    pub(crate) drops: &'a mut DropCounts,
}

/// With whom a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: SessionId,
    /// None with a password.
    pub(crate) peer: Option<PublicKey>,
}

/// The association with one peer.
#[derive(Debug)]
pub(crate) struct Session {
    role: Role,
    kind: PacketKind,
    identity: Identity,
    software: String,
    epochs: Epochs,
    paths: Box<[Option<Box<Path>>; PathId::COUNT]>,
    outbox: VecDeque<Control>,
    promises: Promises,
    terms: TermsTable,
    upload: Upload,
    order: LaneResequencer,
    /// What a change of paths released from it.
    released: VecDeque<Vec<u8>>,
    feedback: FeedbackSent,
    /// What the peer takes.
    peer_max_packet: Option<u16>,
    peer_software: Option<String>,
    ended: Option<DownReason>,
    /// A path came up or went down, or the session ended, since that was asked.
    has_changed: bool,
    /// Paths that lead elsewhere since that was asked.
    moves: Vec<Move>,
    sources: Vec<IpPrefix>,
    /// What a peer told of paths that it has not used yet.
    early_status: [Option<(u16, PathStatus)>; PathId::COUNT],
    /// The responder's: handshakes that were not confirmed yet.
    answered: VecDeque<Answered>,
    /// The initiations for this session that were accepted.
    offers: Offers,
    /// When an IP packet came from either side last.
    last_data: Option<Instant>,
    last_received: Option<Instant>,
    born: Instant,
}

/// The peer has another address on a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Move {
    pub(crate) link: LinkIndex,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
}

/// What the configuration says of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PathTerms {
    /// Only for when no other path is up.
    pub(crate) is_backup: bool,
    /// Bytes per second that this end may send at most, with all headers.
    pub(crate) max_rate: Option<u64>,
    /// What the peer is told, too.
    pub(crate) link: LinkTerms,
}

/// Where the answer to an initiation went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Answered {
    index: SessionIndex,
    path: PathId,
    route: Route,
}

/// How a session is made.
#[derive(Clone, Debug)]
pub(crate) struct SessionSetup {
    pub(crate) role: Role,
    pub(crate) kind: PacketKind,
    pub(crate) identity: Identity,
    pub(crate) software: String,
    /// What flows are hashed into lanes with.
    pub(crate) lane_key: [u8; 16],
    /// The networks behind the peer, from which its packets come `[F14]`; any address when there are none.
    pub(crate) sources: Vec<IpPrefix>,
    /// After how many packets an initiator takes new keys.
    pub(crate) rekey_packets: u32,
}

impl Session {
    /// A session that has agreed on its first epoch. It has no paths.
    pub(crate) fn new(setup: SessionSetup, now: Instant) -> Self {
        Self {
            role: setup.role,
            kind: setup.kind,
            identity: setup.identity,
            software: setup.software,
            epochs: Epochs::new(setup.rekey_packets),
            paths: Box::new(std::array::from_fn(|_| None)),
            outbox: VecDeque::new(),
            promises: Promises::default(),
            terms: TermsTable::default(),
            upload: Upload::new(setup.lane_key, setup.kind),
            order: LaneResequencer::default(),
            released: VecDeque::new(),
            feedback: FeedbackSent::default(),
            peer_max_packet: None,
            peer_software: None,
            ended: None,
            has_changed: true,
            moves: Vec::new(),
            sources: setup.sources,
            early_status: [None; PathId::COUNT],
            answered: VecDeque::new(),
            offers: Offers::default(),
            last_data: None,
            last_received: None,
            born: now,
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether an initiation of that time may be for this session.
    pub(crate) fn accepts_offer(&self, time_micros: Option<u64>, now: Instant) -> bool {
        self.offers.accepts(time_micros, now)
    }

    /// An initiation of that time was accepted for this session.
    pub(crate) fn note_offer(&mut self, time_micros: Option<u64>, now: Instant) {
        self.offers.note(time_micros, now);
    }

    /// Whether the owner has to look at the paths again.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// Paths that lead elsewhere now.
    pub(crate) fn take_moves(&mut self) -> Vec<Move> {
        std::mem::take(&mut self.moves)
    }

    fn note_move(&mut self, link: LinkIndex, from: SocketAddr, to: SocketAddr) {
        if from != to {
            self.has_changed = true;
            self.moves.push(Move { link, from, to });
        }
    }

    /// One-way delays from the peer.
    pub(crate) fn transit(&self) -> &TransitTable {
        self.order.transit()
    }

    /// The largest IP packet that any path in use carries, once that is known.
    pub(crate) fn largest_packet(&self) -> Option<u16> {
        let used = || self.paths().filter(|path| path.is_usable());
        if used().any(|path| !path.mtu.is_complete()) {
            return None;
        }
        used().map(|path| path.max_packet() as u16).max()
    }

    /// Numbers about the session.
    pub(crate) fn stats(&self) -> PeerStats {
        PeerStats {
            peer: self.identity.peer,
            software: self.peer_software.clone(),
            since: self.born,
            lanes: self.order.stats(),
            queued: self.upload.queued(),
            marked: self.upload.marked(),
            recovery: self.upload.recovery.stats(),
            striped: self.upload.striped(),
            policy: self.upload.policy,
            copies: self.upload.copies.stats(),
            feedback: self.feedback.traffic,
        }
    }

    /// Why it ended, once it has.
    pub(crate) fn ended(&self) -> Option<DownReason> {
        self.ended
    }

    /// The indices under which the peer may send.
    pub(crate) fn indices(&self) -> impl Iterator<Item = SessionIndex> + '_ {
        self.epochs.indices()
    }

    /// The initiator's: seals under `epoch` from now on.
    pub(crate) fn install_epoch(&mut self, epoch: Epoch, now: Instant) {
        self.epochs.install(epoch, now);
        self.last_received = Some(now);
        // The responder waits for a packet under the epoch: this one is repeated until it came `[H28]`.
        self.promises.make(Promise::Settings, now);
    }

    /// The responder's: seals under `epoch` once the peer has.
    pub(crate) fn await_first_packet(
        &mut self,
        epoch: Epoch,
        (path, route): (PathId, Route),
        now: Instant,
    ) {
        if self.answered.len() == MAX_ANSWERED {
            self.answered.pop_front();
        }
        self.answered.push_back(Answered { index: epoch.our_index(), path, route });
        self.epochs.await_first_packet(epoch, now);
    }

    /// Whether the initiator is to begin a handshake: the epoch wears out, or the peer is silent and
    /// may have lost its keys.
    pub(crate) fn needs_handshake(&self, now: Instant) -> bool {
        self.epochs.needs_handshake(now) || self.is_deserted(now)
    }

    /// When [`Self::needs_handshake`] may become true.
    pub(crate) fn handshake_due(&self) -> Option<Instant> {
        let desertion = self.deserted_at();
        [self.epochs.rekey_at(), desertion].into_iter().flatten().min()
    }

    /// Begins a path for a socket, or gives a known one other addresses. Only the initiator does this.
    pub(crate) fn open_path(&mut self, id: PathId, route: Route, terms: PathTerms, now: Instant) {
        let slot = &mut self.paths[id.slot()];
        match slot {
            Some(path) => path.reopen(route, now),
            None => *slot = Some(Box::new(Path::new(id, route, now))),
        }
        if let Some(path) = slot {
            path.home = Some(route);
            path.validation.trust();
        }
        self.set_terms(id, terms, now);
    }

    /// The handshake proved that the peer receives where the path leads `[P1]`.
    pub(crate) fn on_handshake_path(&mut self, id: PathId, now: Instant) {
        if let Some(path) = self.path_mut(id)
            && matches!(path.state, PathState::Joining | PathState::Down)
        {
            path.validation.assume_validated();
            self.bring_up(id, now);
        }
    }

    pub(super) fn set_status(&mut self, id: PathId, status: PathStatus, now: Instant) {
        let Some(path) = self.path_mut(id) else { return };
        if path.status.ours != status {
            path.status.ours = status;
            path.status.our_sequence = path.status.our_sequence.wrapping_add(1);
            self.promises.make(Promise::Status(id), now);
        }
    }

    /// The socket of a link was closed: its paths carry nothing more `[P13]`.
    pub(crate) fn on_link_closed(
        &mut self,
        link: LinkIndex,
        shared: &mut Shared<'_>,
        now: Instant,
    ) {
        for id in self.paths_of(link) {
            self.take_down(id, PathState::Absent, shared, now);
        }
    }

    /// The link is gone for good: the peer is told.
    pub(crate) fn on_link_removed(
        &mut self,
        link: LinkIndex,
        shared: &mut Shared<'_>,
        now: Instant,
    ) {
        for id in self.paths_of(link) {
            self.take_down(id, PathState::Absent, shared, now);
            self.set_status(id, PathStatus::Gone, now);
        }
    }

    /// A link's socket takes nothing at the moment, or does again.
    pub(crate) fn set_blocked(&mut self, link: LinkIndex, is_blocked: bool) {
        for path in self.paths.iter_mut().flatten().filter(|path| path.route.link == link) {
            path.is_blocked = is_blocked;
        }
    }

    /// The paths that a link carries.
    pub(crate) fn paths_of(&self, link: LinkIndex) -> Vec<PathId> {
        self.paths().filter(|path| path.route.link == link).map(|path| path.id).collect()
    }

    /// All paths that there ever were.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().flatten().map(|path| &**path)
    }

    pub(crate) fn path(&self, id: PathId) -> Option<&Path> {
        self.paths[id.slot()].as_deref()
    }

    fn path_mut(&mut self, id: PathId) -> Option<&mut Path> {
        self.paths[id.slot()].as_deref_mut()
    }

    /// Whether some path may carry data.
    pub(crate) fn is_usable(&self) -> bool {
        self.paths().any(Path::is_usable)
    }

    /// The largest IP packet that every path in use carries, and whether the search for larger ones is
    /// over; none while no path is up.
    pub(crate) fn mtu(&self) -> Option<SessionMtu> {
        let used = || self.paths().filter(|path| path.is_usable() && !path.is_backup());
        let smallest = used()
            .map(Path::max_packet)
            .min()
            .or_else(|| self.paths().filter(|path| path.is_usable()).map(Path::max_packet).min())?;
        let limit = self.peer_max_packet.map_or(usize::from(u16::MAX), usize::from);
        Some(SessionMtu {
            packet: smallest.min(limit) as u16,
            is_final: used().all(|path| path.mtu.is_complete()),
        })
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, shared: &mut Shared<'_>, now: Instant) {
        self.epochs.handle_timeout(now);
        self.tend_paths(shared, now);
        self.tend_recovery(shared, now);
        if self.report_due().is_some_and(|at| at <= now) {
            self.report(now);
        }
        if self.order.poll_timeout().is_some_and(|at| at <= now) {
            self.order.handle_timeout(now, &mut self.released);
        }
        self.pass_released(shared);
        if self.abandoned_at().is_some_and(|at| at <= now) {
            self.end(DownReason::Timeout);
        }
        if self.paths().any(|path| path.numbers.is_running_out()) {
            self.close(CloseReason::OutOfPacketNumbers, DownReason::OutOfPacketNumbers);
        }
    }

    /// When [`Self::handle_timeout`] is due, and why.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let active_until = self.active_until();
        let paths = self.paths().filter_map(|path| self.path_timeout(path, active_until)).min();
        [
            (self.epochs.poll_timeout(), Timer::Keys),
            (self.epochs.ends_at().filter(|_| self.is_usable()), Timer::Keys),
            (paths, Timer::Paths),
            (self.report_due(), Timer::Feedback),
            (self.order.poll_timeout(), Timer::Reorder),
            (self.pull_due(), Timer::Pace),
            (self.abandoned_at(), Timer::Paths),
        ]
        .into_iter()
        .filter_map(|(at, timer)| Some((at?, timer)))
        .min_by_key(|&(at, _)| at)
    }

    /// When a session without a path that is up ends `[P9]`. The initiator's goes on looking for its
    /// peer.
    fn abandoned_at(&self) -> Option<Instant> {
        let is_over = self.role == Role::Server && !self.is_usable();
        let last = self.paths().map(|path| path.since).max().unwrap_or(self.born);
        is_over.then(|| last + life::ABANDONED)
    }

    fn pass_released(&mut self, shared: &mut Shared<'_>) {
        self.released.retain(|packet| !packet.is_empty());
        shared.to_tun.append(&mut self.released);
    }

    fn active_until(&self) -> Option<Instant> {
        self.last_data.map(|at| at + ACTIVE_TIME)
    }

    /// Ends the session; the peer is told on every path that is up `[F11]`.
    pub(crate) fn close(&mut self, reason: CloseReason, why: DownReason) {
        self.outbox.clear();
        for id in
            self.paths().filter(|path| path.is_usable()).map(|path| path.id).collect::<Vec<_>>()
        {
            self.push_frame(id, &Frame::Close(reason));
        }
        self.end(why);
    }

    fn end(&mut self, why: DownReason) {
        self.has_changed = true;
        self.ended.get_or_insert(why);
    }

    /// Where the peer is on a link, while a path there is up.
    pub(crate) fn remote_of(&self, link: LinkIndex) -> Option<SocketAddr> {
        self.paths()
            .find(|path| path.route.link == link && path.is_usable())
            .map(|p| p.route.remote)
    }
}

/// How large an IP packet may be, in bytes, and whether the search for larger ones is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SessionMtu {
    pub(crate) packet: u16,
    pub(crate) is_final: bool,
}
