//! A bulk transfer over TCP.

use mlvpn_proto::time::Instant;

use super::Progress;
use crate::packet::{FlowAddress, Side};
use crate::tcp::{CongestionControl, TcpReceiver, TcpSender, TcpStats};

/// Receive buffer: Linux's default maximum, `net.ipv4.tcp_rmem`, less overhead is about half.
const RECEIVE_BUFFER: u64 = 6 << 20;

/// A connection that carries data one way, both its ends.
#[derive(Clone, Debug)]
pub struct TcpFlow {
    from: Side,
    sender: TcpSender,
    receiver: TcpReceiver,
    progress: Progress,
    wanted: u64,
}

impl TcpFlow {
    /// A transfer of `bytes` ([`u64::MAX`]: endless) from `from`, in packets of at most `mtu`
    /// bytes. `address` is that of the data's packets.
    #[must_use]
    pub fn new(from: Side, address: FlowAddress, mtu: usize, bytes: u64) -> Self {
        let mut sender = TcpSender::new(address, mtu);
        sender.write(bytes);
        Self {
            from,
            sender,
            receiver: TcpReceiver::new(address.reversed(), RECEIVE_BUFFER),
            progress: Progress::default(),
            wanted: bytes,
        }
    }

    /// The same, with `control` instead of CUBIC.
    #[must_use]
    pub fn with_control(mut self, control: CongestionControl) -> Self {
        self.sender.use_control(control);
        self
    }

    /// Supplies more to send.
    pub fn write(&mut self, bytes: u64) {
        self.sender.write(bytes);
        self.wanted = self.wanted.saturating_add(bytes);
    }

    /// Bytes to send in all.
    #[must_use]
    pub fn wanted(&self) -> u64 {
        self.wanted
    }

    /// What the receiving application has, over time.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// When all was received; `None` before.
    #[must_use]
    pub fn finished_at(&self) -> Option<Instant> {
        self.progress.last().filter(|_| self.progress.total() == self.wanted)
    }

    /// What the sender did.
    #[must_use]
    pub fn stats(&self) -> TcpStats {
        self.sender.stats()
    }

    /// The sending end.
    #[must_use]
    pub fn sender(&self) -> &TcpSender {
        &self.sender
    }

    pub(super) fn handle_packet(&mut self, side: Side, packet: &[u8], now: Instant) {
        if side == self.from {
            self.sender.handle_packet(packet, now);
        } else {
            let before = self.receiver.delivered();
            self.receiver.handle_packet(packet, now);
            self.progress.add(self.receiver.delivered() - before, now);
        }
    }

    /// Acknowledgements are never too big.
    pub(super) fn handle_refusal(&mut self, side: Side, mtu: usize, now: Instant) {
        if side == self.from {
            self.sender.handle_refusal(mtu, now);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.sender.handle_timeout(now);
        self.receiver.handle_timeout(now);
    }

    pub(super) fn poll_packet(&mut self, now: Instant) -> Option<(Side, Vec<u8>)> {
        if let Some(packet) = self.receiver.poll_packet(now) {
            return Some((self.from.other(), packet));
        }
        self.sender.poll_packet(now).map(|packet| (self.from, packet))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.sender.poll_timeout().into_iter().chain(self.receiver.poll_timeout()).min()
    }
}
