//! From the tunnel interface to the links.

use std::collections::VecDeque;

use super::Session;
use super::path::QueuedPacket;
use crate::crypto::v1::TAG_LEN;
use crate::drop::DropReason;
use crate::id::{DataSeq, LinkIndex};
use crate::ip::is_whole;
use crate::oversize::{Limits, Remedy};
use crate::time::Instant;
use crate::transmit::{Transmit, TransmitBuf};
use crate::wire::v1::{HEADER_LEN, Kind, MAX_DATAGRAM};

impl Session {
    /// Takes an IP packet (or an Ethernet frame) from the tunnel interface.
    ///
    /// A packet above the MTU is answered with ICMP "packet too big", or sent in fragments where
    /// IPv4 allows it; nothing is ever truncated.
    pub(crate) fn handle_ip_packet(&mut self, packet: &[u8], now: Instant) {
        if self.is_closed {
            return;
        }
        if !is_whole(packet, self.config.inner) {
            self.count_drop(DropReason::NotAnIpPacket);
            return;
        }
        let limits = self.limits();
        if !limits.is_above(packet) && self.datagram_len(packet.len()) <= MAX_DATAGRAM {
            self.send_data(packet, now);
            return;
        }
        match self.oversize.remedy(packet, &limits, now) {
            Remedy::Fragments(fragments) => {
                fragments.iter().for_each(|fragment| self.send_data(fragment, now));
            }
            Remedy::Refusal(reply) => {
                self.count_drop(DropReason::TooBig);
                self.to_tun.extend(reply);
            }
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            kind: self.config.inner,
            mtu: self.config.mtu,
            local_ip4: self.config.local_ip4,
            local_ip6: self.config.local_ip6,
        }
    }

    /// Writes the next batch into `out`; none when there is nothing to send.
    pub(crate) fn poll_transmit(
        &mut self,
        out: &mut TransmitBuf,
        now: Instant,
    ) -> Option<Transmit> {
        out.clear();
        let count = self.paths.len();
        for step in 0..count {
            let slot = (self.cursor + step) % count;
            let Some(path) = self.paths[slot].as_mut().filter(|path| !path.outbox.is_blocked)
            else {
                continue;
            };
            let link = LinkIndex(slot as u16);
            let transmit = match path.outbox.control.pop_front() {
                Some((kind, to)) => {
                    self.seal_control(slot, kind, now, out);
                    out.transmit(link, to)
                }
                None => path.remote.and_then(|to| {
                    self.seal_data(slot, now, out);
                    out.transmit(link, to)
                }),
            };
            self.reap(slot);
            if transmit.is_some() {
                self.cursor = (slot + 1) % count;
                return transmit;
            }
        }
        None
    }

    /// Chooses a link for a packet that is known to fit, and queues it there.
    pub(super) fn send_data(&mut self, packet: &[u8], now: Instant) {
        let Some(slot) = self.choose_link(packet, now) else {
            self.count_drop(DropReason::NoPath);
            return;
        };
        let mut bytes = self.pool.take();
        bytes.extend_from_slice(packet);
        let queued = QueuedPacket { seq: self.next_seq, bytes };
        // A number is used only for what is really queued: a hole would be waited for.
        if self.queue(slot, queued) {
            self.next_seq = self.next_seq.next();
            self.counters.from_tun.count(packet.len());
        }
    }

    /// Finds other links for packets whose link went down.
    pub(super) fn dispatch_again(&mut self, packets: VecDeque<QueuedPacket>, now: Instant) {
        for packet in packets {
            match self.choose_link(&packet.bytes, now) {
                Some(slot) => {
                    self.queue(slot, packet);
                }
                None => {
                    self.count_drop(DropReason::NoPath);
                    self.pool.give(packet.bytes);
                }
            }
        }
    }

    /// The first filter that matches and whose link is up decides, otherwise the balance.
    fn choose_link(&mut self, packet: &[u8], now: Instant) -> Option<usize> {
        let wire_len = self.wire_len(packet.len());
        for (rule, slot) in self.config.filters.iter().zip(&self.filter_slots) {
            let Some(slot) = *slot else { continue };
            let is_up = self.paths[slot].as_ref().is_some_and(|path| path.tier().is_some());
            if is_up && rule.filter.matches(packet, self.config.inner) {
                self.scheduler.charge(slot, wire_len);
                return Some(slot);
            }
        }
        self.scheduler.choose(wire_len, |slot| self.eligible.get(slot) == Some(&true), now)
    }

    fn queue(&mut self, slot: usize, packet: QueuedPacket) -> bool {
        let Some(path) = self.paths[slot].as_mut() else { return false };
        match path.outbox.push_data(packet) {
            Ok(()) => true,
            Err(refused) => {
                self.pool.give(refused.bytes);
                self.count_drop(DropReason::TransmitQueueFull);
                false
            }
        }
    }

    /// Bytes that a packet of `len` bytes takes on a link: with our headers, UDP and IPv4.
    fn wire_len(&self, len: usize) -> usize {
        const UDP_AND_IPV4: usize = 28;
        self.datagram_len(len) + UDP_AND_IPV4
    }

    pub(super) fn datagram_len(&self, len: usize) -> usize {
        HEADER_LEN + if self.config.cleartext_data { 0 } else { TAG_LEN } + len
    }

    fn seal_control(&mut self, slot: usize, kind: Kind, now: Instant, out: &mut TransmitBuf) {
        let Some(path) = self.paths[slot].as_mut() else { return };
        let payload: &[u8] = match kind {
            Kind::Auth => b"AU",
            Kind::AuthOk => b"OK",
            Kind::Keepalive | Kind::Data | Kind::Disconnect => b"",
        };
        let header = path.next_header(kind, DataSeq(0), now);
        let datagram = out.push(HEADER_LEN + TAG_LEN + payload.len());
        let (head, body) = datagram.split_at_mut(HEADER_LEN);
        head.copy_from_slice(&header.encode(body.len()));
        self.config.key.seal(header.flow_id, header.packet_number, payload, body);
        path.counters.sent.count(datagram.len());
    }

    /// Seals as much of a path's queue as fits into one batch.
    fn seal_data(&mut self, slot: usize, now: Instant, out: &mut TransmitBuf) {
        let overhead = self.datagram_len(0);
        let Self { paths, config, pool, .. } = self;
        let Some(path) = paths[slot].as_mut() else { return };
        while let Some(front) = path.outbox.data.front()
            && out.accepts(overhead + front.bytes.len())
        {
            let Some(packet) = path.outbox.data.pop_front() else { break };
            let header = path.next_header(Kind::Data, packet.seq, now);
            let datagram = out.push(overhead + packet.bytes.len());
            let (head, body) = datagram.split_at_mut(HEADER_LEN);
            head.copy_from_slice(&header.encode(body.len()));
            if config.cleartext_data {
                body.copy_from_slice(&packet.bytes);
            } else {
                config.key.seal(header.flow_id, header.packet_number, &packet.bytes, body);
            }
            path.counters.sent.count(datagram.len());
            pool.give(packet.bytes);
        }
    }
}
