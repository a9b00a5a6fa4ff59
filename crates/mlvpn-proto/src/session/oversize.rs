//! Packets from the tunnel interface that are larger than its MTU.
//!
//! The kernel keeps to the interface's MTU; larger packets come when the MTU was lowered a moment
//! ago, or when somebody else raised it.

use super::Session;
use crate::drop::DropReason;
use crate::icmp;
use crate::ip::PacketKind;
use crate::ip::ethernet::Frame;
use crate::ip::fragment::fragment_ipv4;
use crate::time::Instant;
use crate::wire::v1::MAX_DATAGRAM;

/// ICMP errors per second at the most, and as many at once (RFC 4443 section 2.4 f asks for a
/// limit; 100 is enough for every flow on a host to learn the MTU at once).
const ERRORS_PER_SEC: u64 = 100;
/// Bytes of an Ethernet header with one VLAN tag.
const TAGGED_HEADER_LEN: usize = 18;

/// Limits how many errors are sent: a token bucket.
#[derive(Debug)]
pub(super) struct OversizeReplies {
    /// Microseconds of credit; an error costs a second's worth divided by the rate.
    credit: u64,
    last: Instant,
}

impl Default for OversizeReplies {
    fn default() -> Self {
        Self { credit: Self::FULL, last: Instant::ZERO }
    }
}

impl OversizeReplies {
    const FULL: u64 = 1_000_000;
    const COST: u64 = Self::FULL / ERRORS_PER_SEC;

    fn take(&mut self, now: Instant) -> bool {
        let earned = now.saturating_since(self.last).as_micros().min(u128::from(Self::FULL));
        self.credit = (self.credit + earned as u64).min(Self::FULL);
        self.last = now;
        let has_credit = self.credit >= Self::COST;
        if has_credit {
            self.credit -= Self::COST;
        }
        has_credit
    }
}

impl Session {
    pub(super) fn is_oversize(&self, packet: &[u8]) -> bool {
        let mtu = usize::from(self.config.mtu);
        let is_above_mtu = match self.config.inner {
            PacketKind::Ip => packet.len() > mtu,
            PacketKind::Ethernet => packet.len() > mtu + self.frame_header_len(packet),
        };
        is_above_mtu || self.datagram_len(packet.len()) > MAX_DATAGRAM
    }

    /// Sends what is too big in fragments if its sender allows it, tells the sender if not.
    pub(super) fn handle_oversize(&mut self, packet: &[u8], now: Instant) {
        if self.config.inner == PacketKind::Ip {
            let mut fragments = Vec::new();
            let mtu = usize::from(self.config.mtu);
            if fragment_ipv4(packet, mtu, &mut |piece| fragments.push(piece.to_vec())) {
                for fragment in fragments {
                    self.send_data(&fragment, now);
                }
                return;
            }
        }
        self.count_drop(DropReason::TooBig);
        if self.oversize.take(now) {
            self.reply_too_big(packet);
        }
    }

    fn reply_too_big(&mut self, packet: &[u8]) {
        let mut reply = self.pool.take();
        let (mtu, local4, local6) = (self.config.mtu, self.config.local_ip4, self.config.local_ip6);
        let is_answered = match self.config.inner {
            PacketKind::Ip => icmp::packet_too_big(packet, mtu, local4, local6, &mut reply),
            PacketKind::Ethernet => {
                icmp::packet_too_big_frame(packet, mtu, local4, local6, &mut reply)
            }
        };
        if is_answered {
            self.to_tun.push_back(reply);
        } else {
            self.pool.give(reply);
        }
    }

    /// A VLAN tag does not count against the MTU.
    fn frame_header_len(&self, packet: &[u8]) -> usize {
        let header = Frame::parse(packet).map_or(0, |frame| frame.header().len());
        header.min(TAGGED_HEADER_LEN)
    }
}
