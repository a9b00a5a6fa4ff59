//! From the paths: sealed packets, and the frames in them.

use super::path::{Path, PathState, Route};
use super::promise::Promise;
use super::{Answered, Session, Shared};
use crate::config::Role;
use crate::drop::DropReason;
use crate::event::DownReason;
use crate::id::{PacketNumber, PathId};
use crate::ip::{PacketKind, addresses, is_whole};
use crate::lanes::Arrival;
use crate::path::receipt::Received;
use crate::time::{Duration, Instant};
use crate::wire::v2::{
    DataHeader, Feedback, Frame, Frames, PathStatus, SealedHeader, SendTime, Settings, Transit,
    TruncatedNumber, is_data_alone,
};

/// A datagram that came.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) route: Route,
    pub(crate) header: SealedHeader,
    pub(crate) data: &'a mut [u8],
    /// When it came, which may be some time before it is looked at.
    pub(crate) arrived_at: Instant,
    /// Whether it came with ECN-CE.
    pub(crate) is_marked: bool,
}

/// Where an authentic packet came from, and when.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    /// The path whose number it bears.
    pub(super) path: PathId,
    /// Where the datagram came, which may not be where the path leads.
    pub(super) route: Route,
    /// Bytes of UDP payload.
    pub(super) len: usize,
    /// When the datagram came.
    pub(super) arrived_at: Instant,
}

/// What the frames of a packet ask for.
#[derive(Clone, Copy, Default)]
struct Wants {
    feedback: bool,
    ack: bool,
    transit: Option<Transit>,
}

impl Session {
    /// Takes a sealed packet whose index names an epoch of this session.
    ///
    /// # Errors
    /// Why it was dropped.
    pub(crate) fn handle_sealed(
        &mut self,
        incoming: Incoming<'_>,
        shared: &mut Shared<'_>,
        now: Instant,
    ) -> Result<(), DropReason> {
        let Incoming { route, header, data, arrived_at, is_marked } = incoming;
        let origin = Origin { path: header.path, route, len: data.len(), arrived_at };
        let path = self.paths[header.path.slot()].as_deref();
        let number = header.number.after(path.and_then(|path| path.window.largest()));
        if path.is_some_and(|path| !path.window.is_new(number)) {
            return Err(DropReason::Replayed);
        }
        let opened =
            self.epochs.open(&header, number, data, now).map_err(|_| DropReason::NotAuthentic)?;
        let body: &[u8] = opened.body;
        if header.is_clear && !(opened.may_be_clear && is_data_alone(body)) {
            return Err(DropReason::Malformed);
        }
        if opened.begins_epoch && self.promises.is_new() {
            self.promises.make(Promise::Settings, now);
        }
        // What comes under a former epoch does not show that the peer has the keys that this end seals under.
        if opened.is_current {
            self.last_received = Some(now);
        }
        let is_latest = self.note_arrival(origin, number, now);
        self.confirm_handshake(&header, now);
        if is_latest {
            self.follow(origin, now);
        }
        let wants = self.handle_body(origin, body, shared, now);
        let Some(path) = self.path_mut(header.path) else { return Ok(()) };
        if wants.ack {
            path.acknowledge(number);
        }
        let received = Received {
            number,
            len: path.wire_len(origin.len),
            transit: wants.transit,
            is_marked,
            is_eliciting: wants.feedback,
        };
        path.receipt.on_received(received, arrived_at);
        path.count_missing(now);
        Ok(())
    }

    /// Counts an authentic packet; returns whether its number is the highest of its path so far.
    fn note_arrival(&mut self, origin: Origin, number: PacketNumber, now: Instant) -> bool {
        let Origin { path: id, route, len, .. } = origin;
        let slot = &mut self.paths[id.slot()];
        let path = slot.get_or_insert_with(|| Box::new(Path::new(id, route, now)));
        let is_latest = path.window.largest().is_none_or(|largest| number > largest);
        if let Some((sequence, status)) = self.early_status[id.slot()].take() {
            path.status.peer_sequence = Some(sequence);
            path.status.peers = status;
        }
        path.window.mark(number);
        path.counters.received.count(len);
        path.times.received = Some(now);
        is_latest
    }

    /// The first packet under an epoch on the path of its handshake: the peer receives where the answer
    /// went `[P1]`, wherever this packet seems to come from.
    fn confirm_handshake(&mut self, header: &SealedHeader, now: Instant) {
        let is_it = |known: &Answered| known.index == header.receiver && known.path == header.path;
        let Some(at) = self.answered.iter().position(is_it) else { return };
        let Some(Answered { route, .. }) = self.answered.remove(at) else { return };
        let Some(path) = self.path_mut(header.path) else { return };
        if path.route != route && !path.is_usable() {
            path.reopen(route, now);
        }
        if path.route == route {
            self.on_handshake_path(header.path, now);
        }
    }

    /// The latest packet of a path may come from another address than the path leads to `[P4]`.
    fn follow(&mut self, origin: Origin, now: Instant) {
        let Origin { path: id, route: from, len, .. } = origin;
        let role = self.role;
        let Some(path) = self.path_mut(id) else { return };
        if path.route == from {
            path.validation.on_received(len);
            // The responder learns from the initiator that a path is worth another try.
            if role == Role::Server && matches!(path.state, PathState::Absent | PathState::Down) {
                path.reopen(from, now);
                path.validation.on_received(len);
                self.revive(id, now);
            }
            return;
        }
        if path.is_usable() {
            path.begin_migration(from, len, now);
        } else if role == Role::Server {
            // Nothing is sent there as yet, so that there is nothing to steal. An initiator knows
            // where its peer is.
            let former = path.route.remote;
            let was_up = path.was_usable();
            path.reopen(from, now);
            path.validation.on_received(len);
            self.revive(id, now);
            if was_up {
                self.note_move(from.link, former, from.remote);
            }
        }
    }

    /// A path whose link was removed and has come back is not gone any more.
    fn revive(&mut self, id: PathId, now: Instant) {
        if self.path(id).is_some_and(|path| path.status.ours == PathStatus::Gone) {
            self.set_status(id, PathStatus::Available, now);
        }
    }

    fn handle_body(
        &mut self,
        origin: Origin,
        body: &[u8],
        shared: &mut Shared<'_>,
        now: Instant,
    ) -> Wants {
        let mut wants = Wants::default();
        let mut frames = Frames::new(body);
        for frame in frames.by_ref() {
            wants.feedback |= frame.is_eliciting();
            wants.ack |= frame.is_acknowledged();
            if let Frame::Data(header, packet) = frame {
                wants.transit = Some(header.sent.until(SendTime::at(origin.arrived_at)));
                self.handle_data(origin.path, header, packet, shared, now);
            } else {
                self.handle_frame(origin, &frame, shared, now);
            }
        }
        if frames.is_stopped() {
            shared.drops.count(DropReason::Malformed);
        }
        wants
    }

    fn handle_data(
        &mut self,
        id: PathId,
        header: DataHeader,
        packet: &[u8],
        shared: &mut Shared<'_>,
        now: Instant,
    ) {
        self.last_data = Some(now);
        let mut bytes = shared.pool.take();
        bytes.extend_from_slice(packet);
        if let Some(reason) = self.refusal(packet) {
            shared.drops.count(reason);
            // Its number is used up all the same: nothing is to wait for it.
            bytes.clear();
        }
        if let Some(path) = self.path_mut(id) {
            path.times.data_sent = Some((header.sent, now));
        }
        let arrival = Arrival { lane: header.lane, seq: header.seq, path: id, sent: header.sent };
        let before = shared.to_tun.len();
        if let Err(copy) = self.order.insert(arrival, bytes, now, shared.to_tun) {
            shared.pool.give(copy);
            shared.drops.count(DropReason::Duplicate);
        }
        drop_empty(shared, before);
    }

    /// Why a packet is not passed on.
    fn refusal(&self, packet: &[u8]) -> Option<DropReason> {
        if !is_whole(packet, self.kind) {
            return Some(DropReason::NotAnIpPacket);
        }
        if self.sources.is_empty() || self.kind == PacketKind::Ethernet {
            return None;
        }
        let (source, _) = addresses(packet)?;
        let is_behind = self.sources.iter().any(|network| network.contains(source));
        (!is_behind).then_some(DropReason::ForeignSource)
    }

    fn handle_frame(
        &mut self,
        origin: Origin,
        frame: &Frame<'_>,
        shared: &mut Shared<'_>,
        now: Instant,
    ) {
        let id = origin.path;
        match *frame {
            Frame::Padding(_) | Frame::Ping | Frame::Skippable(_) | Frame::Data(..) => {}
            Frame::Feedback(feedback) => {
                self.on_feedback(&feedback, (id, origin.arrived_at), shared, now);
                self.clear_path(&feedback, id, shared, now);
            }
            Frame::PathChallenge { path, token } if path == id => {
                self.answer_challenge(origin, token);
            }
            Frame::PathResponse { path, token } if path == id => {
                self.on_response(id, origin.route, token, now);
            }
            Frame::PathChallenge { .. } | Frame::PathResponse { .. } => {
                shared.drops.count(DropReason::Malformed);
            }
            Frame::PathStatus { path, sequence, status } => {
                self.on_status(path, (sequence, status), shared, now);
            }
            Frame::MtuProbe { probe } => {
                let frame = Frame::MtuAck { path: id, probe, size: origin.len as u16 };
                if let Some(way) = self.carrier() {
                    self.push_frame(way, &frame);
                }
            }
            Frame::MtuAck { path, probe, .. } => {
                if let Some(path) = self.path_mut(path)
                    && let Some((size, sent)) = path.mtu.on_probe_acked(probe, now)
                {
                    let len = path.wire_len(size.into());
                    path.dispersion.on_arrival(len, sent, origin.arrived_at);
                }
            }
            Frame::Skip { lane, first, count } => {
                let before = shared.to_tun.len();
                self.order.on_skip(lane, first, count, now, shared.to_tun);
                drop_empty(shared, before);
            }
            Frame::Settings(settings) => self.on_settings(&settings),
            Frame::Terms(terms) => self.on_terms(&terms),
            Frame::Ack { path, numbers } => {
                let Some(known) = self.path(path) else { return };
                let acked: Vec<_> = numbers.iter().filter_map(|n| known.own_number(n)).collect();
                acked.into_iter().for_each(|number| self.promises.on_acked(path, number));
            }
            Frame::Close(_) => self.end(DownReason::PeerDisconnected),
        }
    }

    /// The peer sent nothing on a path that has not come: nothing is to be expected from it until the
    /// latest packet that came over the path of the feedback was sent.
    fn clear_path(
        &mut self,
        feedback: &Feedback,
        carrier: PathId,
        shared: &mut Shared<'_>,
        now: Instant,
    ) {
        // The clock in packets goes round in four seconds: what is older has no meaning.
        const FRESH: Duration = Duration::from_secs(1);
        let sent = self.path(carrier).and_then(|path| path.times.data_sent);
        let fresh = sent.filter(|(_, came)| now.saturating_since(*came) < FRESH);
        let as_of = fresh.map(|(sent, _)| sent);
        let Some(path) = self.path(feedback.path) else { return };
        let largest = path.receipt.largest().map(TruncatedNumber::from);
        if let Some(as_of) = as_of.filter(|_| largest == Some(feedback.largest_sent)) {
            let before = shared.to_tun.len();
            self.order.on_path_clear(feedback.path, as_of, now, shared.to_tun);
            drop_empty(shared, before);
        }
    }

    fn on_settings(&mut self, settings: &Settings<'_>) {
        if settings.max_ip_packet.is_some() {
            self.peer_max_packet = settings.max_ip_packet;
        }
        if let Some(software) = settings.software {
            self.peer_software = Some(software.as_str().to_owned());
        }
    }

    fn on_status(
        &mut self,
        id: PathId,
        (sequence, status): (u16, PathStatus),
        shared: &mut Shared<'_>,
        now: Instant,
    ) {
        let Some(path) = self.path_mut(id) else {
            // It may overtake the first packet of the path.
            let is_news = |known: (u16, _)| is_later(sequence, known.0);
            if self.early_status[id.slot()].is_none_or(is_news) {
                self.early_status[id.slot()] = Some((sequence, status));
            }
            return;
        };
        let is_news = path.status.peer_sequence.is_none_or(|known| is_later(sequence, known));
        if !is_news {
            return;
        }
        path.status.peer_sequence = Some(sequence);
        path.status.peers = status;
        let is_absent = path.state == PathState::Absent;
        if status == PathStatus::Gone && !is_absent {
            // An initiator tries again: the peer's socket may be opened anew.
            let is_initiator = self.role == Role::Client;
            let state = if is_initiator { PathState::Down } else { PathState::Absent };
            self.take_down(id, state, shared, now);
        }
    }
}

/// Whether a status of that sequence number was sent after the known one: the numbers go round.
pub(super) fn is_later(sequence: u16, known: u16) -> bool {
    (sequence.wrapping_sub(known) as i16) > 0
}

/// What was no packet held a place in its lane, and is not passed on.
fn drop_empty(shared: &mut Shared<'_>, from: usize) {
    if shared.to_tun.iter().skip(from).any(Vec::is_empty) {
        let mut rest = shared.to_tun.split_off(from);
        rest.retain(|packet| !packet.is_empty());
        shared.to_tun.append(&mut rest);
    }
}
