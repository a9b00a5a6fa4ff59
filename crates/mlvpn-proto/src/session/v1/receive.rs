//! From the links to the tunnel interface.

use std::net::SocketAddr;

use super::Session;
use super::path::{Estimates, Path};
use crate::config::Role;
use crate::delay::RelativeDelay;
use crate::drop::DropReason;
use crate::event::Event;
use crate::id::LinkIndex;
use crate::ip::is_whole;
use crate::path::flows::{Admission, ClearAdmission};
use crate::resequencer::Arrival;
use crate::time::Instant;
use crate::wire::v1::{Datagram, Header, Kind, NO_TIMESTAMP};

/// Between two judgements of a link's quality lie this many data packets.
const JUDGE_EVERY: u64 = 16;

impl Session {
    /// Takes a datagram that came from the network over `link`.
    ///
    /// Whatever it holds, this does not panic; what is refused is counted under a
    /// [`DropReason`].
    pub(crate) fn handle_datagram(
        &mut self,
        link: LinkIndex,
        from: SocketAddr,
        data: &mut [u8],
        now: Instant,
    ) {
        if let Err(reason) = self.receive(link, from, data, now) {
            self.count_drop(reason);
        }
    }

    fn receive(
        &mut self,
        link: LinkIndex,
        from: SocketAddr,
        data: &[u8],
        now: Instant,
    ) -> Result<(), DropReason> {
        let datagram = Datagram::parse(data).map_err(|_| DropReason::Malformed)?;
        let header = *datagram.header();
        let mut plain = self.pool.take();
        let accepted = if header.kind == Kind::Data && self.config.cleartext_data {
            self.accept_clear(link, from, &datagram, &mut plain)
        } else {
            self.open(link, from, &datagram, &mut plain, now)
        };
        if let Err(reason) = accepted {
            self.pool.give(plain);
            return Err(reason);
        }
        let delay = self.measure(link, &header, data.len(), now);
        if header.kind == Kind::Data {
            return self.deliver(link, &header, delay, plain, now);
        }
        self.pool.give(plain);
        let Some(path) = self.path_mut(link) else { return Err(DropReason::LinkNotUp) };
        if header.kind == Kind::Disconnect {
            path.peer.on_ended();
        }
        let reaction = path.conversation.on_packet(header.kind, now);
        self.apply(link, reaction, now);
        self.update_quality(link, now);
        Ok(())
    }

    /// Clear-text data is nobody's word: it is taken only from where the authenticated packets
    /// of a link that is up come from, and changes no address and no link.
    fn accept_clear(
        &mut self,
        link: LinkIndex,
        from: SocketAddr,
        datagram: &Datagram<'_>,
        plain: &mut Vec<u8>,
    ) -> Result<(), DropReason> {
        let path = self.path_mut(link).ok_or(DropReason::LinkNotUp)?;
        if !path.conversation.is_up() {
            return Err(DropReason::LinkNotUp);
        }
        if path.heard_from != Some(from) {
            return Err(DropReason::WrongAddress);
        }
        let header = datagram.header();
        match path.peer.admit_clear(header.flow_id, header.packet_number) {
            ClearAdmission::New => {
                plain.extend_from_slice(datagram.payload());
                Ok(())
            }
            ClearAdmission::Replayed => Err(DropReason::Replayed),
            ClearAdmission::UnknownFlow => Err(DropReason::UnknownFlow),
        }
    }

    /// Opens a sealed packet and finds out whether its sender is the one we talk to.
    fn open(
        &mut self,
        link: LinkIndex,
        from: SocketAddr,
        datagram: &Datagram<'_>,
        plain: &mut Vec<u8>,
        now: Instant,
    ) -> Result<(), DropReason> {
        let Header { flow_id, packet_number, kind, .. } = *datagram.header();
        // A flow belongs to one link and one end, but nothing in a datagram says to which: it may
        // have been redirected from another link, or be one of our own sent back to us.
        let is_known = |path: &Path| {
            path.peer.is_replay(flow_id, packet_number) || path.outbox.flow() == flow_id
        };
        if self.paths.iter().flatten().any(is_known) {
            return Err(DropReason::Replayed);
        }
        let Self { paths, config, .. } = self;
        let path = paths.get_mut(link.slot()).and_then(Option::as_mut);
        let path = path.ok_or(DropReason::LinkNotUp)?;
        config
            .key
            .open(flow_id, packet_number, datagram.payload(), plain)
            .map_err(|_| DropReason::NotAuthentic)?;
        let may_start = matches!(kind, Kind::Auth | Kind::AuthOk);
        match path.peer.admit(flow_id, packet_number, may_start, now) {
            None => {
                if let Some(kind) = path.conversation.on_stranger(now) {
                    path.outbox.push_control(kind, from);
                }
                return Err(DropReason::UnknownFlow);
            }
            Some(Admission::Current { is_latest: false }) => {}
            Some(Admission::Current { is_latest: true }) => self.follow(link, from),
            Some(Admission::NewFlow) => self.on_new_flow(link, from),
        }
        let is_up = self.path_mut(link).is_some_and(|path| path.conversation.is_up());
        if kind == Kind::Data && !is_up {
            return self.refuse_data(link, now);
        }
        Ok(())
    }

    fn refuse_data(&mut self, link: LinkIndex, now: Instant) -> Result<(), DropReason> {
        if let Some(path) = self.path_mut(link) {
            let reaction = path.conversation.on_packet(Kind::Data, now);
            self.apply(link, reaction, now);
        }
        Err(DropReason::LinkNotUp)
    }

    /// A server answers to where its client was heard from last.
    fn follow(&mut self, link: LinkIndex, from: SocketAddr) {
        let role = self.config.role;
        let Some(path) = self.path_mut(link) else { return };
        path.heard_from = Some(from);
        if role != Role::Server {
            return;
        }
        let former = path.remote.replace(from);
        if former == Some(from) {
            return;
        }
        if let Some(former) = former.filter(|_| path.conversation.is_up()) {
            self.delays.forget(link);
            self.events.push_back(Event::PeerAddressChanged { link, from: former, to: from });
        }
        self.update_eligible();
    }

    /// Another process of the peer speaks now: what was measured of the former does not hold.
    fn on_new_flow(&mut self, link: LinkIndex, from: SocketAddr) {
        self.follow(link, from);
        let Some(path) = self.path_mut(link) else { return };
        path.estimates = Estimates::default();
        path.expects_restart = true;
        if path.conversation.is_up() {
            self.events.push_back(Event::PeerRestarted { link });
        }
        self.delays.forget(link);
    }

    fn measure(
        &mut self,
        link: LinkIndex,
        header: &Header,
        len: usize,
        now: Instant,
    ) -> RelativeDelay {
        let Self { paths, delays, .. } = self;
        if let Some(path) = paths.get_mut(link.slot()).and_then(Option::as_mut) {
            path.counters.received.count(len);
            path.counters.last_received = Some(now);
            path.estimates.loss.on_received(header.packet_number, now);
            let (timestamp, reply) = (header.timestamp, header.timestamp_reply);
            if let Some(rtt) = path.estimates.echo.on_received(timestamp, reply, now) {
                path.estimates.rtt.on_sample(rtt);
            }
        }
        if header.timestamp == NO_TIMESTAMP {
            return RelativeDelay::default();
        }
        delays.on_packet(link, header.timestamp, now)
    }

    fn deliver(
        &mut self,
        link: LinkIndex,
        header: &Header,
        delay: RelativeDelay,
        plain: Vec<u8>,
        now: Instant,
    ) -> Result<(), DropReason> {
        if !is_whole(&plain, self.config.inner) {
            self.pool.give(plain);
            return Err(DropReason::NotAnIpPacket);
        }
        if header.packet_number.0.is_multiple_of(JUDGE_EVERY) {
            self.update_quality(link, now);
        }
        if !header.reorder {
            self.to_tun.push_back(plain);
            return Ok(());
        }
        let may_restart =
            self.path_mut(link).is_some_and(|path| std::mem::take(&mut path.expects_restart));
        let arrival = Arrival { seq: header.data_seq, link, delay, may_restart };
        let Self { resequencer, delays, to_tun, pool, .. } = self;
        resequencer.insert(arrival, plain, delays, now, to_tun).map_err(|copy| {
            pool.give(copy);
            DropReason::Duplicate
        })
    }
}
