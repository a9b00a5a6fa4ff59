//! Why a packet was dropped. Nothing is ever dropped without one of these being counted.

/// The reason for refusing or losing a packet; each has a counter that the user can see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum DropReason {
    /// The datagram is no packet of a known version.
    Malformed,
    /// The payload did not open under our key.
    NotAuthentic,
    /// The packet number was seen before, on any link, or is older than the replay window; or the
    /// packet is one of our own.
    Replayed,
    /// The packet belongs to a process of the peer that is not, or no longer, the current one.
    UnknownFlow,
    /// Data came on a link that is not up.
    LinkNotUp,
    /// Unauthenticated data came from an address that is not the peer's.
    WrongAddress,
    /// What came out of the tunnel or for it is neither an IPv4 or IPv6 packet nor, with tap, a frame.
    NotAnIpPacket,
    /// An IP packet that is larger than the tunnel's MTU; its sender was told.
    TooBig,
    /// No link is up to carry the packet.
    NoPath,
    /// The link's transmit queue is full.
    TransmitQueueFull,
    /// A second copy of a data packet.
    Duplicate,
    /// The tunnel's ingress queue is full.
    QueueFull,
    /// The packet's flow kept a standing queue: its sender was told to slow down.
    QueueDelay,
    /// An acknowledgement of TCP that still waited when a later one, which says more, took its place.
    Superseded,
    /// A sealed packet for a session that is not, or no longer, known.
    UnknownSession,
    /// A handshake message that is damaged, forged, a replay, or from somebody who is not configured.
    Handshake,
    /// An initiation that came, while many do, without proof that its sender receives at its address;
    /// it was told how to prove that.
    NoCookie,
    /// An initiation that came, while many do, from an address that has asked too often of late.
    HandshakeRate,
    /// The peer has spoken, or is configured for, the other version of the protocol.
    OtherVersion,
    /// The packet's address belongs to no peer that is there.
    NoPeer,
    /// The packet's source address is not one of the peer that sent it.
    ForeignSource,
}

impl DropReason {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [Self; 21] = [
        Self::Malformed,
        Self::NotAuthentic,
        Self::Replayed,
        Self::UnknownFlow,
        Self::LinkNotUp,
        Self::WrongAddress,
        Self::NotAnIpPacket,
        Self::TooBig,
        Self::NoPath,
        Self::TransmitQueueFull,
        Self::Duplicate,
        Self::QueueFull,
        Self::QueueDelay,
        Self::Superseded,
        Self::UnknownSession,
        Self::Handshake,
        Self::NoCookie,
        Self::HandshakeRate,
        Self::OtherVersion,
        Self::NoPeer,
        Self::ForeignSource,
    ];

    /// The name under which it is counted.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotAuthentic => "not_authentic",
            Self::Replayed => "replayed",
            Self::UnknownFlow => "unknown_flow",
            Self::LinkNotUp => "link_not_up",
            Self::WrongAddress => "wrong_address",
            Self::NotAnIpPacket => "not_an_ip_packet",
            Self::TooBig => "too_big",
            Self::NoPath => "no_path",
            Self::TransmitQueueFull => "transmit_queue_full",
            Self::Duplicate => "duplicate",
            Self::QueueFull => "queue_full",
            Self::QueueDelay => "queue_delay",
            Self::Superseded => "superseded",
            Self::UnknownSession => "unknown_session",
            Self::Handshake => "handshake",
            Self::NoCookie => "no_cookie",
            Self::HandshakeRate => "handshake_rate",
            Self::OtherVersion => "other_version",
            Self::NoPeer => "no_peer",
            Self::ForeignSource => "foreign_source",
        }
    }
}

/// How often each [`DropReason`] occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropCounts([u64; DropReason::ALL.len()]);

impl DropCounts {
    /// Counts one packet.
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// Counts as many packets.
    pub fn add(&mut self, reason: DropReason, packets: u64) {
        self.0[reason as usize] += packets;
    }

    /// Counts all that `others` counted.
    pub fn add_all(&mut self, others: &Self) {
        others.iter().for_each(|(reason, packets)| self.add(reason, packets));
    }

    /// How often `reason` occurred.
    #[must_use]
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().map(|reason| (reason, self.of(reason)))
    }

    /// All dropped packets.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_discriminants() {
        for (at, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
        }
    }
}
