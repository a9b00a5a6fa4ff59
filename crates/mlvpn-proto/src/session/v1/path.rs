//! One local/remote address pair: what is known about it and what waits to be sent on it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::config::{LinkConfig, Role};
use crate::event::Quality;
use crate::handshake::v1::{Conversation, Wake};
use crate::id::{DataSeq, FlowId, PacketNumber};
use crate::path::clock::EchoClock;
use crate::path::flows::PeerFlows;
use crate::path::loss::LossWindow;
use crate::path::rtt::RttEstimator;
use crate::stats::Traffic;
use crate::time::Instant;
use crate::wire::v1::{Header, Kind};

/// Most data packets that wait for one path. The queue is drained after every input; it fills
/// only while the socket cannot take more.
const MAX_QUEUED: usize = 1_024;
/// Most control packets that wait; the conversation produces one or two a second.
const MAX_CONTROL: usize = 8;

/// A path of a v1 session.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) config: LinkConfig,
    pub(crate) remote: Option<SocketAddr>,
    /// Where the last authentic packet came from.
    pub(crate) heard_from: Option<SocketAddr>,
    pub(crate) conversation: Conversation,
    pub(crate) outbox: Outbox,
    pub(crate) peer: PeerFlows,
    pub(crate) quality: Quality,
    /// The next data packet of the peer is the first of a new flow.
    pub(crate) expects_restart: bool,
    pub(crate) estimates: Estimates,
    pub(crate) counters: Counters,
    /// It is to disappear once its last packets are sent.
    pub(crate) is_removed: bool,
}

/// What waits to be sent, and how it is numbered.
#[derive(Debug)]
pub(crate) struct Outbox {
    flow: FlowId,
    next_number: u64,
    pub(crate) control: VecDeque<(Kind, SocketAddr)>,
    pub(crate) data: VecDeque<QueuedPacket>,
    /// The socket takes nothing at the moment.
    pub(crate) is_blocked: bool,
}

/// A data packet with its place in the order.
#[derive(Debug)]
pub(crate) struct QueuedPacket {
    pub(crate) seq: DataSeq,
    pub(crate) bytes: Vec<u8>,
}

/// What was measured from the packets received.
#[derive(Debug, Default)]
pub(crate) struct Estimates {
    pub(crate) echo: EchoClock,
    pub(crate) rtt: RttEstimator,
    pub(crate) loss: LossWindow,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: Traffic,
    pub(crate) received: Traffic,
    pub(crate) disconnects: u64,
    pub(crate) last_received: Option<Instant>,
}

impl Path {
    pub(crate) fn new(role: Role, config: LinkConfig, flow: FlowId, now: Instant) -> Self {
        Self {
            remote: config.remote,
            heard_from: None,
            conversation: Conversation::new(role, config.timeout, now),
            outbox: Outbox::new(flow),
            peer: PeerFlows::default(),
            quality: Quality::Good,
            expects_restart: false,
            estimates: Estimates::default(),
            counters: Counters::default(),
            is_removed: false,
            config,
        }
    }

    /// The tier from which the scheduler picks: the lowest number that has a link is used.
    pub(crate) fn tier(&self) -> Option<u8> {
        if !self.conversation.is_up() || self.remote.is_none() {
            return None;
        }
        let is_bad = self.quality != Quality::Good;
        // This version knows no link that is used only when the others are full.
        let is_last = self.config.fallback_only || self.config.terms.is_metered;
        Some(2 * u8::from(is_bad) + u8::from(is_last))
    }

    /// What the tolerances say about the measurements now.
    pub(crate) fn judge(&self, now: Instant) -> Quality {
        let loss = self.estimates.loss.percent(now);
        if self.config.loss_tolerance.is_some_and(|limit| loss >= limit) {
            return Quality::Lossy;
        }
        let srtt = self.estimates.rtt.smoothed();
        match (self.config.latency_tolerance, srtt) {
            (Some(limit), Some(srtt)) if srtt >= limit => Quality::Slow,
            _ => Quality::Good,
        }
    }

    /// The header of the next packet on this path.
    pub(crate) fn next_header(&mut self, kind: Kind, data_seq: DataSeq, now: Instant) -> Header {
        let packet_number = PacketNumber(self.outbox.next_number);
        self.outbox.next_number += 1;
        Header {
            kind,
            reorder: true,
            timestamp: EchoClock::timestamp(now),
            timestamp_reply: self.estimates.echo.take_reply(now),
            flow_id: self.outbox.flow,
            packet_number,
            data_seq,
        }
    }

    /// Queues a control packet to the peer's address; without one there is nobody to send to.
    pub(crate) fn send_control(&mut self, kind: Kind) {
        if let Some(remote) = self.remote {
            self.outbox.push_control(kind, remote);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, Wake)> {
        if self.remote.is_none() && !self.conversation.is_up() {
            return None;
        }
        self.conversation.poll_timeout()
    }
}

impl Outbox {
    fn new(flow: FlowId) -> Self {
        Self {
            flow,
            next_number: 0,
            control: VecDeque::new(),
            data: VecDeque::new(),
            is_blocked: false,
        }
    }

    /// The flow id that this end sends under.
    pub(crate) fn flow(&self) -> FlowId {
        self.flow
    }

    pub(crate) fn push_control(&mut self, kind: Kind, to: SocketAddr) {
        if self.control.len() < MAX_CONTROL {
            self.control.push_back((kind, to));
        }
    }

    /// Queues a data packet, or returns it when the queue is full.
    pub(crate) fn push_data(&mut self, packet: QueuedPacket) -> Result<(), QueuedPacket> {
        if self.data.len() >= MAX_QUEUED {
            return Err(packet);
        }
        self.data.push_back(packet);
        Ok(())
    }

    /// Gives up what waits: there will be no socket for it.
    pub(crate) fn clear(&mut self) {
        self.control.clear();
        self.data.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.control.is_empty() && self.data.is_empty()
    }
}
