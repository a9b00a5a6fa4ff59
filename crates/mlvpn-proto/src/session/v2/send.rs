//! From the ingress queue to the paths.

use super::control::Control;
use super::path::{Path, PathState};
use super::upload::{Refused, Taken, Upload};
use super::{Session, Shared};
use crate::epochs::Epoch;
use crate::id::{LinkIndex, PacketNumber, PathId};
use crate::policy::Policy;
use crate::recovery::Parcel;
use crate::scheduler::earliest::PathView;
use crate::time::Instant;
use crate::transmit::{Transmit, TransmitBuf};
use crate::wire::v2::{
    DATA_HEADER_LEN, DATA_OVERHEAD, DataHeader, HEADER_LEN, LaneSeq, SendTime, TAG_LEN,
};

/// Below this rate, in bytes per second, a full packet takes 6 ms and more.
const THIN: u64 = 250_000;
/// Longest packet of feedback and acknowledgements, as a rule, in bytes.
const MOST_TOLD: usize = 300;

impl Session {
    /// Takes a whole IP packet or frame that fits the tunnel's MTU. It goes over the link that it is
    /// bound to as long as that has a path that is up and may be large enough; or is given to the paths under a
    /// policy of its own.
    pub(crate) fn send(
        &mut self,
        packet: &[u8],
        (bound, policy): (Option<LinkIndex>, Option<Policy>),
        shared: &mut Shared<'_>,
        now: Instant,
    ) {
        self.last_data = Some(now);
        let mut bytes = shared.pool.take();
        bytes.extend_from_slice(packet);
        let fits = |path: &Path| packet.len() <= path.max_packet() || !path.mtu.is_complete();
        let is_bound = |path: &&Path| Some(path.route.link) == bound && path.is_up() && fits(path);
        let path = self.paths().find(is_bound).map(|path| path.id);
        self.upload.push(bytes, path, policy, now);
        self.upload.collect_dropped(shared);
    }

    /// Packets that fitted when they were taken and fit no path now: their senders are to be told `[Z5]`.
    pub(crate) fn take_refused(&mut self) -> Vec<Refused> {
        self.upload.take_refused()
    }

    /// Writes the next batch into `out`; none when there is nothing that may be sent now.
    pub(crate) fn poll_transmit(
        &mut self,
        out: &mut TransmitBuf,
        shared: &mut Shared<'_>,
        now: Instant,
    ) -> Option<Transmit> {
        if let Some(transmit) = self.transmit_control(out, now) {
            return Some(transmit);
        }
        self.pull(out, shared, now)
    }

    fn transmit_control(&mut self, out: &mut TransmitBuf, now: Instant) -> Option<Transmit> {
        let Self { paths, epochs, outbox, promises, .. } = self;
        // What cannot be sealed yet waits.
        let epoch = epochs.current(now)?;
        loop {
            let is_sendable = |control: &Control| {
                paths[control.path.slot()].as_ref().is_some_and(|path| !path.is_blocked)
            };
            let at = outbox.iter().position(is_sendable)?;
            let mut control = outbox.remove(at)?;
            control.name_largest_sent(|id| paths[id.slot()].as_ref()?.numbers.largest());
            let path = paths[control.path.slot()].as_deref_mut()?;
            let route = control.to.unwrap_or(path.route);
            let len = HEADER_LEN + control.body.len() + TAG_LEN;
            let datagram = out.push(len);
            datagram[HEADER_LEN..HEADER_LEN + control.body.len()].copy_from_slice(&control.body);
            let Some(number) = seal(path, epoch, false, datagram) else {
                out.pop();
                continue;
            };
            let is_eliciting = control.is_eliciting && control.to.is_none();
            path.flight.on_sent(number, path.wire_len(len) as u16, is_eliciting, None, now);
            if is_eliciting {
                path.times.on_sent(now);
            }
            path.counters.sent.count(len);
            // On a thin path what is told is a part of the rate that counts; a probe for larger packets, which
            // is rare, would keep data waiting.
            let is_thin = path.rate.is_tested() && path.rate.capacity() < THIN;
            if is_thin && len <= MOST_TOLD || path.terms.max_rate.is_some() {
                path.pacer.on_sent(path.wire_len(len), path.rate.rate(), now);
            }
            for promise in control.promises {
                promises.on_sent(promise, control.path, number);
            }
            return out.transmit(route.link, route.remote);
        }
    }

    /// Lets the paths that can send take what they may.
    fn pull(
        &mut self,
        out: &mut TransmitBuf,
        shared: &mut Shared<'_>,
        now: Instant,
    ) -> Option<Transmit> {
        self.upload.pulled_at = now;
        if self.upload.is_idle() {
            self.note_idle(now);
            return None;
        }
        self.view_paths(now);
        for step in 0..PathId::COUNT {
            let slot = (self.upload.cursor + step) % PathId::COUNT;
            let Some(path) = self.paths[slot].as_deref() else { continue };
            // What is bound to a path goes over it also when it is left alone otherwise.
            let is_asked = self.upload.is_chosen(path.id) || self.upload.has_bound(path.id);
            if !path.is_ready() || !is_asked {
                continue;
            }
            let route = path.route;
            self.fill(slot, out, shared, now);
            let transmit = out.transmit(route.link, route.remote);
            if transmit.is_some() {
                self.upload.cursor = slot;
                return transmit;
            }
        }
        self.upload.cursor = (self.upload.cursor + 1) % PathId::COUNT;
        None
    }

    /// Paths that could send and have nothing to are not limited by what they carry.
    fn note_idle(&mut self, now: Instant) {
        for path in self.paths.iter_mut().flatten() {
            if path.is_up() && path.pacer.is_open(now) && !path.is_full() {
                path.demand.idle_at = now;
            }
        }
    }

    /// Fills a batch for one path.
    fn fill(&mut self, slot: usize, out: &mut TransmitBuf, shared: &mut Shared<'_>, now: Instant) {
        let Self { paths, epochs, upload, .. } = self;
        let Some(path) = paths[slot].as_deref_mut() else { return };
        let Some(epoch) = epochs.current(now) else { return };
        let view = path.view(false, now);
        let is_first = upload.field.first() == Some(path.id);
        while path.pacer.is_open(now) {
            let max_packet = path.max_packet();
            let fits = |parcel: &Parcel| {
                let len = parcel.bytes.len();
                let may = is_first || parcel.policy != Policy::Backup || parcel.bound.is_some();
                may && len <= max_packet && out.accepts(len + DATA_OVERHEAD)
            };
            // What keeps no queue adds next to nothing to what is on the way.
            let only_sparse = path.is_full();
            let next = next_parcel(upload, &view, (only_sparse, fits), out, shared, now);
            let is_repair = matches!(next, Next::Repair(_));
            let parcel = match next {
                Next::Repair(parcel) => {
                    path.counters.resent.count(parcel.bytes.len());
                    parcel
                }
                Next::New(parcel) => parcel,
                Next::Full => return,
                Next::Nothing => {
                    // As long as it is not known what the path carries, copies that wait tell as much of it as
                    // originals do.
                    let is_wanted = !path.rate.is_tested() && upload.copies.wait_for(path.id);
                    if !only_sparse && !is_wanted {
                        path.demand.idle_at = now;
                    }
                    let has_room = path.has_room_for_copies();
                    let copy = || upload.copies.pop(path.id, fits, shared.pool, now);
                    let Some(copy) = has_room.then(copy).flatten() else { return };
                    copy
                }
            };
            match send_parcel(path, epoch, parcel, out, now) {
                Ok(None) => {}
                Ok(Some(done)) => shared.pool.give(done),
                Err(refused) => return shared.pool.give(refused.bytes),
            }
            if is_repair {
                path.times.on_repair_sent(now);
            }
        }
    }

    /// When the paths are to be asked again what they can take.
    pub(super) fn pull_due(&self) -> Option<Instant> {
        if self.upload.is_idle() {
            return None;
        }
        let opens = |path: &Path| {
            let at = path.pacer.opens_at();
            let is_later = at > self.upload.pulled_at;
            (path.state == PathState::Up && !path.is_blocked && !path.is_full() && is_later)
                .then_some(at)
        };
        let held = self.paths().filter_map(|path| path.health.held_down_until);
        let held = held.filter(|at| *at > self.upload.pulled_at);
        let waiting = [self.upload.recovery.poll_timeout(), self.upload.copies.poll_timeout()];
        self.paths().filter_map(opens).chain(held).chain(waiting.into_iter().flatten()).min()
    }

    pub(super) fn tend_recovery(&mut self, shared: &mut Shared<'_>, now: Instant) {
        self.upload.copies.expire(shared.pool, now);
        if self.upload.recovery.poll_timeout().is_some_and(|at| at <= now) {
            let mut freed = Vec::new();
            self.upload.recovery.handle_timeout(now, &mut freed);
            let largest = self.largest_packet().map_or(usize::MAX, usize::from);
            for bytes in freed {
                if bytes.len() > largest {
                    self.upload.refuse(bytes, true, shared);
                } else {
                    shared.pool.give(bytes);
                }
            }
        }
    }
}

/// What a path may send next.
enum Next {
    /// What another path lost, or brings too late.
    Repair(Parcel),
    New(Parcel),
    /// It does not go into this batch any more.
    Full,
    Nothing,
}

/// The next packet for a path: of flows that keep no queue before others, and what is sent again before
/// what is new.
fn next_parcel(
    upload: &mut Upload,
    view: &PathView,
    (only_sparse, fits): (bool, impl Fn(&Parcel) -> bool),
    out: &TransmitBuf,
    shared: &mut Shared<'_>,
    now: Instant,
) -> Next {
    // With nothing to be sent again the queue itself gives out sparse ones first.
    let sparse_first = !only_sparse && !upload.recovery.is_empty();
    let turns: &[bool] = if sparse_first { &[true, false] } else { &[only_sparse] };
    for &only_sparse in turns {
        let may_repair = |parcel: &Parcel| (parcel.is_sparse || !only_sparse) && fits(parcel);
        if let Some(parcel) = upload.take_lost(view.id, may_repair, shared, now) {
            return Next::Repair(parcel);
        }
        match upload.take(view, only_sparse, out, shared, now) {
            Taken::Packet(parcel) => return Next::New(parcel),
            Taken::Full => return Next::Full,
            Taken::Nothing => {}
        }
    }
    Next::Nothing
}

impl Path {
    /// See [`PathView::steady_delay`]. While the path carries data its own queue is part of it; afterwards the
    /// smallest round trip of the keepalives counts, so that a queue that is gone keeps nobody away.
    fn steady_delay(&self, now: Instant) -> f64 {
        let carries_data = self.demand.transit.is_some_and(|transit| transit.is_fresh(now));
        let least = self.rtt.min().filter(|_| !carries_data);
        let rtt = least.unwrap_or_else(|| self.srtt());
        let variation = self.rtt.estimator.variation().unwrap_or_default();
        (self.terms.cost + (rtt + variation) / 2).as_micros() as f64
    }

    pub(super) fn view(&self, knows_delays: bool, now: Instant) -> PathView {
        let rtt = self.srtt().as_micros() as f64;
        let opens_at = self.pacer.opens_at();
        let transit = self.demand.transit.filter(|_| knows_delays);
        let (delay, deviation) = transit.map_or((rtt / 2.0, 0.0), |transit| {
            transit.drained(self.rate.queue_delay(), self.rate.unloaded_transit(), now)
        });
        PathView {
            id: self.id,
            opens_in: opens_at.saturating_since(now).as_micros() as f64,
            rate: (self.rate.capacity() as f64).max(1.0),
            delay: self.terms.cost.as_micros() as f64 + delay,
            deviation,
            loss: self.loss.share(now),
            is_lossy: self.loss.is_heavy(now),
            rtt,
            max_packet: self.max_packet(),
            is_full: self.is_full(),
            is_untested: !self.rate.is_tested(),
            may_carry_more: !self.mtu.is_complete(),
            steady_delay: self.steady_delay(now),
            is_metered: self.terms.is_metered,
            rank: self.rank(),
        }
    }
}

/// Seals a parcel into the batch, under a number of its own also when it is sent again `[S9]`, and remembers it; of a
/// copy all but the packet, whose buffer is returned. Gives the parcel back when nothing more can be sealed.
fn send_parcel(
    path: &mut Path,
    epoch: &Epoch,
    parcel: Parcel,
    out: &mut TransmitBuf,
    now: Instant,
) -> Result<Option<Vec<u8>>, Parcel> {
    let header =
        DataHeader { lane: parcel.lane, seq: LaneSeq::of(parcel.seq), sent: SendTime::at(now) };
    let len = parcel.bytes.len() + DATA_OVERHEAD;
    let datagram = out.push(len);
    let body = &mut datagram[HEADER_LEN..len - TAG_LEN];
    body[..DATA_HEADER_LEN].copy_from_slice(&header.encode());
    body[DATA_HEADER_LEN..].copy_from_slice(&parcel.bytes);
    let Some(number) = seal(path, epoch, epoch.is_cleartext(), datagram) else {
        out.pop();
        return Err(parcel);
    };
    let wire_len = path.wire_len(len);
    let (kept, done) = match parcel.is_copy {
        true => (parcel.without_bytes(), Some(parcel.bytes)),
        false => (parcel, None),
    };
    path.flight.on_sent(number, wire_len as u16, true, Some(kept), now);
    path.pacer.on_sent(wire_len, path.rate.rate(), now);
    path.times.on_sent(now);
    path.counters.sent.count(len);
    Ok(done)
}

/// Seals a datagram under the path's next number.
fn seal(
    path: &mut Path,
    epoch: &Epoch,
    is_clear: bool,
    datagram: &mut [u8],
) -> Option<PacketNumber> {
    // No number is drawn that would not be used: a path's numbers have no gaps.
    if epoch.is_worn_out() {
        return None;
    }
    let unused = path.numbers.draw()?;
    let number = unused.number();
    epoch.seal(unused, is_clear, datagram).ok()?;
    Some(number)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::buffer::Pool;
    use crate::config::Role;
    use crate::crypto::random::ErasingRng;
    use crate::crypto::v2::PacketCounter;
    use crate::drop::DropCounts;
    use crate::epochs::tests::epoch;
    use crate::event::DownReason;
    use crate::handshake::v2::SessionId;
    use crate::ip::PacketKind;
    use crate::session::v2::path::Route;
    use crate::session::v2::reinjection::LEAST_REINJECTED;
    use crate::session::v2::{Identity, PathTerms, SessionSetup};
    use crate::time::Duration;
    use crate::wire::v2::{CloseReason, Frame, Lane};

    const PATH: PathId = PathId::from_low_bits(0);
    const NOW: Instant = Instant::from_secs(1);

    /// An initiator's session with one path, and what it shares with others.
    struct Bench {
        session: Session,
        rng: ErasingRng,
        pool: Pool,
        to_tun: VecDeque<Vec<u8>>,
        drops: DropCounts,
        out: TransmitBuf,
    }

    impl Bench {
        fn new() -> Self {
            let setup = SessionSetup {
                role: Role::Client,
                kind: PacketKind::Ip,
                identity: Identity { id: SessionId([1; 8]), peer: None },
                software: String::new(),
                lane_key: [0; 16],
                sources: Vec::new(),
                rekey_packets: u32::MAX,
            };
            let mut session = Session::new(setup, NOW);
            let route = Route { link: LinkIndex(0), remote: ([192, 0, 2, 1], 5080).into() };
            session.open_path(PATH, route, PathTerms::default(), NOW);
            Self {
                session,
                rng: ErasingRng::new([0; 32]),
                pool: Pool::default(),
                to_tun: VecDeque::new(),
                drops: DropCounts::default(),
                out: TransmitBuf::new(),
            }
        }

        /// Calls the session with what it shares with others.
        fn with<T>(
            &mut self,
            call: impl FnOnce(&mut Session, &mut TransmitBuf, &mut Shared<'_>) -> T,
        ) -> T {
            let Self { session, rng, pool, to_tun, drops, out } = self;
            call(session, out, &mut Shared { rng, pool, to_tun, drops })
        }

        fn poll(&mut self) -> Option<Transmit> {
            self.with(|session, out, shared| session.poll_transmit(out, shared, NOW))
        }
    }

    #[test]
    fn a_control_packet_waits_for_an_epoch() {
        let mut bench = Bench::new();
        bench.session.push_frame(PATH, &Frame::Ping);
        assert_eq!(bench.poll(), None);
        bench.session.install_epoch(epoch(NOW), NOW);
        assert_eq!(bench.poll().map(|transmit| transmit.segments()), Some(1));
        bench.out.clear();
        assert_eq!(bench.poll(), None);
    }

    #[test]
    fn nothing_unsealed_is_left_of_what_cannot_be_sealed() {
        let mut bench = Bench::new();
        bench.session.install_epoch(epoch(NOW), NOW);
        let path = bench.session.path_mut(PATH).unwrap();
        path.numbers.advance_to(PacketNumber(PacketCounter::LIMIT));
        bench.session.push_frame(PATH, &Frame::Ping);
        bench.session.push_frame(PATH, &Frame::PathChallenge { path: PATH, token: [0; 8] });
        assert_eq!((bench.poll(), bench.out.bytes().len()), (None, 0));
    }

    #[test]
    fn a_session_whose_numbers_run_out_says_so_and_ends() {
        let mut bench = Bench::new();
        bench.session.install_epoch(epoch(NOW), NOW);
        let path = bench.session.path_mut(PATH).unwrap();
        path.state = PathState::Up;
        path.numbers.advance_to(PacketNumber(PacketCounter::LIMIT - (1 << 32) - 1));
        bench.with(|session, _, shared| session.handle_timeout(shared, NOW));
        assert_eq!(bench.session.ended(), None);
        let path = bench.session.path_mut(PATH).unwrap();
        path.numbers.advance_to(PacketNumber(PacketCounter::LIMIT - (1 << 32)));
        bench.with(|session, _, shared| session.handle_timeout(shared, NOW));
        assert_eq!(bench.session.ended(), Some(DownReason::OutOfPacketNumbers));
        let mut close = Vec::new();
        Frame::Close(CloseReason::OutOfPacketNumbers).encode(&mut close);
        let bodies: Vec<_> =
            bench.session.outbox.iter().map(|packet| packet.body.clone()).collect();
        assert_eq!(bodies, [close]);
        let path = bench.session.path_mut(PATH).unwrap();
        assert!(path.numbers.draw().is_some(), "there are numbers left for it");
    }

    #[test]
    fn marks_are_counted_also_when_their_path_goes_down() {
        let mut bench = Bench::new();
        let mut packet = vec![0; 1_400];
        packet[..4].copy_from_slice(&[0x45, 2, 0x05, 0x78]);
        for _ in 0..20 {
            bench.session.upload.push(packet.clone(), Some(PATH), None, NOW);
        }
        let mut view = bench.session.path(PATH).unwrap().view(false, NOW);
        (view.rate, view.max_packet) = (1e6, 1_400);
        for step in 1..=10 {
            let now = NOW + Duration::from_millis(200 * step);
            let taken = bench
                .with(|session, out, shared| session.upload.take(&view, false, out, shared, now));
            assert!(matches!(taken, Taken::Packet(_)));
        }
        bench.with(|session, _, shared| session.reinject(PATH, shared, NOW));
        assert!(bench.session.upload.marked() > 0);
    }

    #[test]
    fn buffers_of_what_is_given_up_are_used_again() {
        let mut bench = Bench::new();
        let sent = 2 * LEAST_REINJECTED as usize / 1_024;
        for seq in 0..sent as u64 {
            let path = bench.session.path_mut(PATH).unwrap();
            let number = path.numbers.draw().unwrap().number();
            let lane = Lane::default();
            let bytes = vec![0; 1_024];
            let parcel = Parcel {
                lane,
                seq,
                bytes,
                first_sent: NOW,
                tries: 0,
                is_sparse: false,
                bound: None,
                policy: Policy::Bond,
                is_copy: false,
            };
            path.flight.on_sent(number, 1_100, true, Some(parcel), NOW);
        }
        bench.with(|session, _, shared| session.reinject(PATH, shared, NOW));
        assert_eq!(bench.session.upload.recovery.stats().given_up, sent as u64 / 2);
        assert_eq!(bench.pool.spare(), sent / 2);
    }
}
