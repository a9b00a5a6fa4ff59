//! What is sent beside data: challenges, feedback, acknowledgements, probes.

use super::feedback::{Allowed, Urgency};
use super::path::{Path, PathState, Route};
use super::promise::Promise;
use super::receive::Origin;
use super::{Session, Shared};
use crate::config::Role;
use crate::id::{PacketNumber, PathId};
use crate::lanes;
use crate::path::validation::{Token, Validation};
use crate::policy::Policy;
use crate::time::{Duration, Instant};
use crate::wire::v2::{
    AckedNumbers, Feedback, Frame, HEADER_LEN, Held, PathStatus, Settings, SoftwareName, TAG_LEN,
    TruncatedNumber,
};
use rand_core::Rng as _;

/// UDP payload of a packet with a challenge or a response `[F10]`.
pub(super) const PADDED_LEN: usize = 1_200;
/// UDP payload of such a packet without padding.
const LEAST_LEN: usize = HEADER_LEN + 10 + TAG_LEN;
/// Most bytes of frames in one packet.
const MAX_BODY: usize = PADDED_LEN - HEADER_LEN - TAG_LEN;
/// Packets that wait to be sealed.
pub(super) const MAX_OUTBOX: usize = 256;
/// Largest IP packet that this end takes.
const MAX_IP_PACKET: u16 = u16::MAX;

/// A packet that holds no data, ready to be sealed.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) path: PathId,
    /// Where to, when that is not where the path leads.
    pub(super) to: Option<Route>,
    pub(super) body: Vec<u8>,
    pub(super) is_eliciting: bool,
    /// Where the body is to name the largest number sent on a path: it is not known before the packet is sealed.
    largest_sent: Vec<(PathId, usize)>,
    /// What is to be told the packet's number.
    pub(super) promises: Vec<Promise>,
}

impl Control {
    /// A packet that goes where the path leads, elicits nothing and keeps no promise.
    fn new(path: PathId, body: Vec<u8>) -> Self {
        let (largest_sent, promises) = (Vec::new(), Vec::new());
        Self { path, to: None, body, is_eliciting: false, largest_sent, promises }
    }

    /// Writes the largest numbers sent into the body, which a packet that waited would else tell of as they were.
    pub(super) fn name_largest_sent(&mut self, largest: impl Fn(PathId) -> Option<PacketNumber>) {
        for &(path, at) in &self.largest_sent {
            let number = largest(path).map_or(0, |number| number.0 as u32);
            self.body[at..at + 4].copy_from_slice(&number.to_be_bytes());
        }
    }
}

impl Session {
    /// Queues a packet with one frame for a path.
    pub(super) fn push_frame(&mut self, id: PathId, frame: &Frame<'_>) {
        let mut body = Vec::new();
        frame.encode(&mut body);
        let is_eliciting = frame.is_eliciting();
        self.push(Control { is_eliciting, ..Control::new(id, body) });
    }

    fn push(&mut self, control: Control) {
        if self.outbox.len() < MAX_OUTBOX {
            self.outbox.push_back(control);
        }
    }

    pub(super) fn push_mtu_probe(&mut self, id: PathId, probe: u16, size: u16) {
        let mut body = Vec::new();
        Frame::MtuProbe { probe }.encode(&mut body);
        body.resize(usize::from(size) - HEADER_LEN - TAG_LEN, 0);
        self.push(Control::new(id, body));
    }

    /// Challenges the addresses of a path that are to be validated.
    pub(super) fn challenge(&mut self, id: PathId, shared: &mut Shared<'_>, now: Instant) {
        let role = self.role;
        let Some(path) = self.path_mut(id) else { return };
        let mut due: Vec<(Token, Route, usize)> = Vec::new();
        let mut token = || {
            let mut token = Token::default();
            shared.rng.fill_bytes(&mut token);
            token
        };
        let mut take = |validation: &mut Validation, route: Route| {
            if validation.is_due(now) {
                let token = token();
                validation.on_challenge_sent(token, now);
                if let Some(len) = padded_len(validation) {
                    due.push((token, route, len));
                }
            }
        };
        let route = path.route;
        if is_challenged(path, role) {
            take(&mut path.validation, route);
        }
        if let Some(migration) = &mut path.migration {
            take(&mut migration.former, route);
            take(&mut migration.new, migration.to);
        }
        for (token, route, len) in due {
            self.push_padded(id, route, &Frame::PathChallenge { path: id, token }, len);
        }
    }

    /// When a challenge of `path` is due.
    pub(super) fn challenge_timeout(&self, path: &Path) -> Option<Instant> {
        let own = is_challenged(path, self.role).then(|| path.validation.poll_timeout()).flatten();
        let moving = path.migration.as_ref();
        let new = moving.and_then(|migration| migration.new.poll_timeout());
        let former = moving.and_then(|migration| migration.former.poll_timeout());
        [own, new, former].into_iter().flatten().min()
    }

    /// Answers a challenge where it came from `[F9]`, with no more than may be sent there `[P5]`.
    pub(super) fn answer_challenge(&mut self, origin: Origin, token: Token) {
        let Origin { path: id, route: from, len, .. } = origin;
        let Some(path) = self.path_mut(id) else { return };
        let room = match &mut path.migration {
            _ if path.route == from => padded_len(&mut path.validation),
            Some(migration) if migration.to == from => padded_len(&mut migration.new),
            _ => Some(PADDED_LEN.min(len)),
        };
        if let Some(len) = room {
            self.push_padded(id, from, &Frame::PathResponse { path: id, token }, len);
        }
    }

    /// Queues a packet of `len` bytes with that frame and padding.
    fn push_padded(&mut self, id: PathId, to: Route, frame: &Frame<'_>, len: usize) {
        let mut body = Vec::new();
        frame.encode(&mut body);
        body.resize(body.len().max(len - HEADER_LEN - TAG_LEN), 0);
        self.push(Control { to: Some(to), ..Control::new(id, body) });
    }

    /// Queues what is promised, acknowledged and reported, as far as it is due.
    pub(super) fn report(&mut self, now: Instant) {
        let Some(way) = self.carrier() else { return };
        let Some(carrier) = self.path(way) else { return };
        let wait = carrier.probe_timeout();
        let mut packet = Packet::default();
        for promise in self.promises.poll(wait, now) {
            packet.promises.push(promise);
            let frame = self.promised(promise);
            packet.add(&frame);
        }
        self.take_acks(&mut packet);
        self.take_skips(&mut packet);
        let has_loss = self.paths().any(|path| path.receipt.has_loss());
        let urgency = if has_loss { Urgency::Loss } else { Urgency::Usual };
        let ways = [Some(way), self.relief(way)].into_iter().flatten();
        let reporter = ways.into_iter().find(|&way| self.may_report(way, urgency, now));
        if reporter.is_some() {
            self.take_reports(&mut packet, now);
        }
        let way = reporter.unwrap_or(way);
        let second = self.second_way(way);
        for Body { bytes, is_eliciting, largest_sent } in packet.bodies {
            self.feedback.turns += 1;
            if packet.has_reports {
                self.count_reports(way, bytes.len());
                let may = |second: &PathId| self.may_report(*second, Urgency::Copy, now);
                if let Some(second) = second.filter(may) {
                    self.count_reports(second, bytes.len());
                    let largest_sent = largest_sent.clone();
                    let copy = Control::new(second, bytes.clone());
                    self.push(Control { is_eliciting, largest_sent, ..copy });
                }
            }
            let promises = std::mem::take(&mut packet.promises);
            let body = Control::new(way, bytes);
            self.push(Control { is_eliciting, largest_sent, promises, ..body });
        }
    }

    /// Whether feedback may go over a path now.
    fn may_report(&mut self, way: PathId, urgency: Urgency, now: Instant) -> bool {
        let Some(path) = self.path_mut(way) else { return false };
        if path.mtu.is_complete() {
            path.dispersion.on_all_sent(now);
        }
        let allowed = Allowed::on(path);
        path.budget.refill(allowed, now);
        path.budget.is_left(urgency)
    }

    /// A packet with feedback goes over a path.
    fn count_reports(&mut self, way: PathId, len: usize) {
        let Some(path) = self.path_mut(way) else { return };
        let cost = path.wire_len(HEADER_LEN + TAG_LEN) + len;
        path.budget.spend(cost);
        self.feedback.traffic.count(cost);
    }

    /// The path that answers and feedback go over `[F7]`: the fastest that is up. When nothing has come on it
    /// for its probe timeout while something came elsewhere it may be dead without this end knowing,
    /// and they go where the peer was heard last, be that path suspect or not: what is suspect may be
    /// so only because feedback about it was lost.
    pub(super) fn carrier(&self) -> Option<PathId> {
        let open = || self.paths().filter(|path| path.is_usable() && !path.is_blocked);
        // What is told is no reason to pay, nor to wake a path that is to be idle.
        let is_one = self.upload.policy == Policy::Backup;
        let order = |path: &Path| if is_one { path.rank() } else { 0 };
        let by_srtt =
            |path: &&Path| (path.is_backup(), path.terms.is_metered, order(path), path.srtt());
        let fastest = open().filter(|path| path.is_up()).min_by_key(by_srtt);
        let heard_last = open().max_by_key(|path| path.times.received)?;
        let is_deaf = |path: &Path| {
            heard_last.times.received > path.times.received.map(|at| at + path.probe_timeout())
        };
        Some(fastest.filter(|path| !is_deaf(path)).unwrap_or(heard_last).id)
    }

    /// Feedback about a path that died must not depend on it: while any path is not well, and now and
    /// then otherwise, a second path carries a copy `[F18]`.
    fn second_way(&self, way: PathId) -> Option<PathId> {
        let is_unwell = self.paths().any(|path| path.state == PathState::Suspect);
        let is_turn = self.feedback.turns.is_multiple_of(2);
        let is_one = self.upload.policy == Policy::Backup;
        let is_spared = |path: &Path| !is_unwell && (is_one || path.terms.is_metered);
        let is_other = |path: &&Path| {
            path.is_usable() && !path.is_blocked && path.id != way && !is_spared(path)
        };
        let best = |path: &&Path| (!path.is_up(), path.terms.is_metered, path.srtt());
        let others = self.paths().filter(is_other);
        others.min_by_key(best).map(|path| path.id).filter(|_| is_unwell || is_turn)
    }

    /// The path that feedback goes over when the budget of the `way` is used up: where the way back is thin, each
    /// path carries what it may, and the sender is told the sooner.
    fn relief(&self, way: PathId) -> Option<PathId> {
        let is_one = self.upload.policy == Policy::Backup;
        let is_other =
            |path: &&Path| path.id != way && path.is_up() && !path.is_blocked && !path.is_backup();
        let others = self.paths().filter(is_other);
        let others = others.filter(|path| !(is_one || path.terms.is_metered));
        others.min_by_key(|path| path.srtt()).map(|path| path.id)
    }

    fn promised(&self, promise: Promise) -> Frame<'_> {
        match promise {
            Promise::Settings => Frame::Settings(Settings {
                max_ip_packet: Some(MAX_IP_PACKET),
                resequencer_bytes: Some(lanes::MAX_BYTES as u32),
                software: SoftwareName::new(&self.software),
            }),
            Promise::Terms => Frame::Terms(self.terms.frame()),
            Promise::Status(id) => {
                let status = self.path(id).map(|path| path.status);
                Frame::PathStatus {
                    path: id,
                    sequence: status.map_or(0, |status| status.our_sequence),
                    status: status.map_or(PathStatus::Gone, |status| status.ours),
                }
            }
        }
    }

    fn take_acks(&mut self, packet: &mut Packet) {
        for path in self.paths.iter_mut().flatten() {
            let numbers = std::mem::take(&mut path.acks);
            let mut rest = &numbers[..];
            while !rest.is_empty() {
                let (now, later) = AckedNumbers::split(rest);
                packet.add(&Frame::Ack { path: path.id, numbers: now });
                rest = later;
            }
        }
    }

    fn take_skips(&mut self, packet: &mut Packet) {
        while let Some(skip) = self.upload.recovery.poll_skip() {
            packet.add(&Frame::Skip { lane: skip.lane, first: skip.first, count: skip.count });
        }
    }

    fn take_reports(&mut self, packet: &mut Packet, now: Instant) {
        // With every report that is due go those that have news: the packet is paid for.
        let is_due = self.paths().any(|path| report_timeout(path).is_some_and(|at| at <= now));
        if !is_due {
            return;
        }
        for path in self.paths.iter_mut().flatten() {
            if path.receipt.poll_timeout(Duration::ZERO).is_none() {
                continue;
            }
            let silence = path.probe_timeout();
            let Some(report) = path.receipt.report(now) else { continue };
            packet.has_reports = true;
            packet.add(&Frame::Feedback(Feedback {
                path: path.id,
                is_silent: report.delay.is_some_and(|delay| delay > silence),
                largest: TruncatedNumber::from(report.largest),
                received_at: report.largest_at_micros as u32,
                // Written when the packet is sealed.
                largest_sent: TruncatedNumber(0),
                packets: report.packets as u32,
                bytes: report.bytes & ((1 << 48) - 1),
                lowest_transit: report.lowest_transit,
                congestion_marks: report.congestion_marks as u32 & 0xFF_FFFF,
                held: report.delay.map_or(Held::LONGER, Held::from),
                received: report.received,
            }));
        }
    }

    /// When [`Self::report`] has something to do.
    pub(super) fn report_due(&self) -> Option<Instant> {
        let way = self.carrier()?;
        let at_once =
            self.paths().any(|path| !path.acks.is_empty()) || self.upload.recovery.has_skips();
        let carrier = self.path(way)?;
        let relief = self.relief(way).and_then(|way| self.path(way));
        let reports = self.paths().filter_map(|path| {
            let urgency = Urgency::of(&path.receipt);
            let ways = [Some(carrier), relief].into_iter().flatten();
            let refilled_at = |way: &Path| way.budget.refilled_at(urgency, Allowed::on(way));
            Some(report_timeout(path)?.max(ways.map(refilled_at).min()?))
        });
        let reports = reports.min();
        [at_once.then_some(Instant::ZERO), reports, self.promises.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }
}

fn report_timeout(path: &Path) -> Option<Instant> {
    path.receipt.poll_timeout(path.report_rtt())
}

/// How large a packet with a challenge or a response is `[F10]`; none when not even a small one may be
/// sent now.
fn padded_len(validation: &mut Validation) -> Option<usize> {
    let len = validation.allowance().min(PADDED_LEN);
    (len >= LEAST_LEN && validation.try_send(len)).then_some(len)
}

fn is_challenged(path: &Path, role: Role) -> bool {
    match path.state {
        PathState::Joining => true,
        PathState::Down => role == Role::Client,
        PathState::Absent | PathState::Up | PathState::Suspect => false,
    }
}

/// Frames gathered into as few bodies as they fit.
#[derive(Default)]
struct Packet {
    bodies: Vec<Body>,
    promises: Vec<Promise>,
    has_reports: bool,
}

/// The frames of one packet, and whether one of them elicits FEEDBACK `[F12]`.
#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
    is_eliciting: bool,
    largest_sent: Vec<(PathId, usize)>,
}

impl Packet {
    fn add(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        if self.bodies.last().is_none_or(|body| body.bytes.len() + bytes.len() > MAX_BODY) {
            self.bodies.push(Body::default());
        }
        if let Some(body) = self.bodies.last_mut() {
            if let Frame::Feedback(feedback) = frame {
                body.largest_sent
                    .push((feedback.path, body.bytes.len() + Feedback::LARGEST_SENT_AT));
            }
            body.bytes.extend_from_slice(&bytes);
            body.is_eliciting |= frame.is_eliciting();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v2::{Frames, Lane, LaneSeq, ReceivedRuns};

    #[test]
    fn only_the_packet_that_holds_a_skip_asks_for_feedback() {
        let numbers: Vec<_> = (0..250).map(TruncatedNumber).collect();
        let (numbers, _) = AckedNumbers::split(&numbers);
        let mut packet = Packet::default();
        packet.add(&Frame::Ack { path: PathId::default(), numbers });
        packet.add(&Frame::Ack { path: PathId::default(), numbers });
        let (lane, first) = (Lane::default(), LaneSeq::of(7));
        packet.add(&Frame::Skip { lane, first, count: 1 });
        let eliciting: Vec<_> = packet.bodies.iter().map(|body| body.is_eliciting).collect();
        assert_eq!(eliciting, [false, true]);
    }

    #[test]
    fn feedback_that_waited_names_the_largest_numbers_as_they_are_now() {
        let paths = [1, 4].map(PathId::from_low_bits);
        let mut packet = Packet::default();
        for path in paths {
            packet.add(&Frame::Ping);
            packet.add(&Frame::Feedback(Feedback {
                path,
                is_silent: false,
                largest: TruncatedNumber(9),
                received_at: 0,
                largest_sent: TruncatedNumber(0),
                packets: 1,
                bytes: 1,
                lowest_transit: None,
                congestion_marks: 0,
                held: Held::LONGER,
                received: ReceivedRuns::new(1),
            }));
        }
        let Body { bytes, largest_sent, .. } = packet.bodies.pop().unwrap();
        let mut control = Control { largest_sent, ..Control::new(paths[0], bytes) };
        control.name_largest_sent(|path| {
            (path == paths[1]).then_some(PacketNumber((7 << 32) + u64::from(path.number())))
        });
        let told: Vec<_> = Frames::new(&control.body)
            .filter_map(|frame| match frame {
                Frame::Feedback(feedback) => Some((feedback.path, feedback.largest_sent.0)),
                _ => None,
            })
            .collect();
        assert_eq!(told, [(paths[0], 0), (paths[1], 4)]);
    }
}
