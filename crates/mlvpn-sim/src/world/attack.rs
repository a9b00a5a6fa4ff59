//! Somebody on the way who can read, repeat, alter and delay datagrams.

use core::time::Duration;
use std::net::SocketAddr;

use mlvpn_proto::time::Instant;
use mlvpn_proto::wire::v2::DatagramKind;

use crate::packet::Side;
use crate::rng::Stream;

/// What an attacker does to datagrams before they enter the links, each with a probability of 0 to
/// 1 per datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Attack {
    /// Sends it twice.
    pub duplicate: f64,
    /// Flips one bit.
    pub corrupt: f64,
    /// Keeps it for [`Self::hold_time`], so that later ones overtake it.
    pub hold: f64,
    /// How long.
    pub hold_time: Duration,
    /// Somebody who is always faster: a copy from this address goes ahead of every datagram.
    pub copy_from: Option<SocketAddr>,
    /// Takes initiations of version 2 off the network.
    pub takes_initiations: bool,
    /// Takes all of version 2 off the network.
    pub takes_version_2: bool,
}

impl Attack {
    /// Whether no such datagram gets through.
    fn takes(&self, kind: DatagramKind) -> bool {
        match kind {
            DatagramKind::V1 => false,
            DatagramKind::Initiation => self.takes_initiations || self.takes_version_2,
            _ => self.takes_version_2,
        }
    }
}

/// A datagram as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// When.
    pub at: Instant,
    /// On which link.
    pub link: usize,
    /// Towards which side.
    pub to: Side,
    /// The source address.
    pub from: SocketAddr,
    /// The destination address.
    pub to_address: SocketAddr,
    /// Bytes of outer headers.
    pub overhead: usize,
    /// The contents.
    pub payload: Vec<u8>,
}

/// An [`Attack`] in progress.
#[derive(Debug)]
pub(super) struct Attacker {
    attack: Attack,
    rng: Stream,
    /// By time of release.
    held: Vec<(Instant, Recording)>,
}

impl Attacker {
    pub(super) fn new(rng: Stream) -> Self {
        Self { attack: Attack::default(), rng, held: Vec::new() }
    }

    pub(super) fn set(&mut self, attack: Attack) {
        self.attack = attack;
    }

    /// What is sent instead of `datagram`, now.
    pub(super) fn meddle(&mut self, mut datagram: Recording, now: Instant) -> Vec<Recording> {
        let Attack { duplicate, corrupt, hold, hold_time, copy_from, .. } = self.attack;
        if self.attack.takes(DatagramKind::of(&datagram.payload)) {
            return Vec::new();
        }
        if corrupt > 0.0 && self.rng.chance(corrupt) && !datagram.payload.is_empty() {
            let bit = self.rng.below(datagram.payload.len() as u64 * 8) as usize;
            datagram.payload[bit / 8] ^= 1 << (bit % 8);
        }
        let mut sent = Vec::with_capacity(2);
        sent.extend(copy_from.map(|from| Recording { from, ..datagram.clone() }));
        if duplicate > 0.0 && self.rng.chance(duplicate) {
            sent.push(datagram.clone());
        }
        if hold > 0.0 && self.rng.chance(hold) {
            let until = now + hold_time;
            let position = self.held.partition_point(|&(at, _)| at <= until);
            self.held.insert(position, (until, datagram));
        } else {
            sent.push(datagram);
        }
        sent
    }

    /// What was held until `now`.
    pub(super) fn release(&mut self, now: Instant) -> Vec<Recording> {
        let due = self.held.partition_point(|&(at, _)| at <= now);
        self.held.drain(..due).map(|(_, datagram)| datagram).collect()
    }

    pub(super) fn next_release(&self) -> Option<Instant> {
        self.held.first().map(|&(at, _)| at)
    }
}
