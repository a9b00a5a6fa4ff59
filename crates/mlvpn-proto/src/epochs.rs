//! The keys of a session, from one handshake to the next. See docs/protocol-v2.md section 5.
//!
//! An epoch is what one handshake agreed on. At any time a session seals under one and opens under
//! up to three kinds: the present one, the one before it for a minute, and at the responder those
//! that the initiator has not used yet.

pub mod negotiation;

use std::collections::VecDeque;

use crate::crypto::v2::{
    Exhausted, MAX_PACKETS, NotAuthentic, OpeningKey, SealingKey, UnusedNumber,
};
use crate::handshake::v2::Established;
use crate::id::{PacketNumber, SessionIndex};
use crate::time::{Duration, Instant};
use crate::wire::v2::SealedHeader;

/// How long an epoch opens packets after its successor became usable `[H14]`.
const OVERLAP: Duration = Duration::from_secs(60);
/// How long a responder waits for the first packet under an epoch `[H21]`.
const PENDING_TIME: Duration = Duration::from_secs(5);
/// How many epochs of a session may wait for their first packet `[H21]`.
pub(crate) const MAX_PENDING: usize = 4;
/// How many former epochs of a session open packets at most `[H14]`: those of more than a second, where initiations with a
/// time follow each other as fast as `[H25]` lets them. Usually there is one.
pub(crate) const MAX_FORMER: usize = 64;

/// One epoch of a session: a key for each direction.
#[derive(Debug)]
pub struct Epoch {
    our_index: SessionIndex,
    sealing: SealingKey,
    opening: OpeningKey,
    /// Packets that opened: so many the peer has sealed at least.
    opened: u32,
    is_cleartext: bool,
}

impl Epoch {
    /// The epoch that a handshake established at `now`.
    #[must_use]
    pub fn new(established: &Established, now: Instant) -> Self {
        let Established { our_index, peer_index, cipher, .. } = *established;
        Self {
            our_index,
            sealing: SealingKey::new(cipher, established.send_secret.as_bytes(), peer_index, now),
            opening: OpeningKey::new(cipher, established.receive_secret.as_bytes()),
            opened: 0,
            is_cleartext: established.cleartext,
        }
    }

    /// Whether `datagram`, whose body is of no use afterwards, is authentic under this epoch.
    #[must_use]
    pub fn opens(&self, number: PacketNumber, datagram: &mut [u8]) -> bool {
        self.opening.open(number, datagram).is_ok()
    }

    /// By what the peer names it.
    #[must_use]
    pub fn our_index(&self) -> SessionIndex {
        self.our_index
    }

    /// Seals a packet; see [`SealingKey::seal`].
    ///
    /// # Errors
    /// [`Exhausted`] when the epoch has sealed as many packets as it may.
    pub fn seal(
        &self,
        number: UnusedNumber,
        is_clear: bool,
        datagram: &mut [u8],
    ) -> Result<(), Exhausted> {
        self.sealing.seal(number, is_clear, datagram)
    }

    /// Whether [`Self::seal`] refuses.
    #[must_use]
    pub fn is_worn_out(&self) -> bool {
        self.sealing.sealed() >= MAX_PACKETS
    }

    /// Whether data goes in clear.
    #[must_use]
    pub fn is_cleartext(&self) -> bool {
        self.is_cleartext
    }
}

/// The epochs of a session.
#[derive(Debug)]
pub struct Epochs {
    /// After how many packets the next is due.
    rekey_packets: u32,
    current: Option<Epoch>,
    /// Former epochs, with the time until which they open packets.
    former: VecDeque<(Epoch, Instant)>,
    /// Epochs that the peer has not used yet, with the time until which it may begin.
    pending: VecDeque<(Epoch, Instant)>,
}

/// A packet that opened.
#[derive(Debug)]
pub struct Opened<'a> {
    /// Its frames.
    pub body: &'a mut [u8],
    /// Whether it is the first under an epoch that is the current one from now on `[H12]`.
    pub begins_epoch: bool,
    /// Whether it is of the current epoch: the peer has its keys.
    pub is_current: bool,
    /// Whether bodies in clear are agreed on in its epoch `[S6]`.
    pub may_be_clear: bool,
}

/// Why a packet did not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// No epoch has the index that it names.
    #[error("no epoch of this session has the index")]
    UnknownIndex,
    /// It was not sealed by the peer for this epoch, or was changed.
    #[error(transparent)]
    NotAuthentic(#[from] NotAuthentic),
}

impl Epochs {
    /// No epochs as yet; the next one is due when either end has sealed so many packets under one.
    #[must_use]
    pub fn new(rekey_packets: u32) -> Self {
        let (former, pending) = (VecDeque::new(), VecDeque::new());
        Self { rekey_packets, current: None, former, pending }
    }

    /// Seals under `epoch` from now on: the initiator's epoch is usable at once.
    pub fn install(&mut self, epoch: Epoch, now: Instant) {
        if let Some(former) = self.current.replace(epoch) {
            if self.former.len() == MAX_FORMER {
                self.former.pop_front();
            }
            self.former.push_back((former, now + OVERLAP));
        }
    }

    /// Keeps `epoch` until the peer seals its first packet under it: the responder's way `[H12]`.
    pub fn await_first_packet(&mut self, epoch: Epoch, now: Instant) {
        if self.pending.len() == MAX_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back((epoch, now + PENDING_TIME));
    }

    /// The epoch to seal under; none before the first handshake and after its end `[H14]`.
    #[must_use]
    pub fn current(&self, now: Instant) -> Option<&Epoch> {
        self.current.as_ref().filter(|epoch| !epoch.sealing.is_exhausted(now))
    }

    /// When [`Self::current`] becomes too old to seal under.
    #[must_use]
    pub fn ends_at(&self) -> Option<Instant> {
        self.current.as_ref().map(|epoch| epoch.sealing.ends_at())
    }

    /// Whether the initiator is to begin the next handshake `[H13]`.
    #[must_use]
    pub fn needs_handshake(&self, now: Instant) -> bool {
        self.rekey_at().is_none_or(|at| at <= now)
    }

    /// When [`Self::needs_handshake`] becomes true, as far as is known.
    #[must_use]
    pub fn rekey_at(&self) -> Option<Instant> {
        let rekey_at = |epoch: &Epoch| epoch.sealing.rekey_at(epoch.opened, self.rekey_packets);
        self.current.as_ref().map(rekey_at)
    }

    /// All indices under which the peer may send, for a table that leads to this session.
    pub fn indices(&self) -> impl Iterator<Item = SessionIndex> + '_ {
        let others = self.former.iter().chain(&self.pending).map(|(epoch, _)| epoch);
        self.current.iter().chain(others).map(Epoch::our_index)
    }

    /// Opens `datagram`, whose header is `header` and whose full number is `number`.
    ///
    /// # Errors
    /// [`OpenError`]; nothing has changed then.
    pub fn open<'a>(
        &mut self,
        header: &SealedHeader,
        number: PacketNumber,
        datagram: &'a mut [u8],
        now: Instant,
    ) -> Result<Opened<'a>, OpenError> {
        self.handle_timeout(now);
        let is_named = |epoch: &Epoch| epoch.our_index == header.receiver;
        if let Some(at) = self.pending.iter().position(|(epoch, _)| is_named(epoch)) {
            return self.begin(at, number, datagram, now);
        }
        let is_current = self.current.as_ref().is_some_and(is_named);
        let former = self.former.iter_mut().map(|(epoch, _)| epoch);
        let epoch = self.current.iter_mut().chain(former).find(|epoch| is_named(epoch));
        let epoch = epoch.ok_or(OpenError::UnknownIndex)?;
        let body = epoch.opening.open(number, datagram)?;
        epoch.opened = epoch.opened.saturating_add(1);
        let may_be_clear = epoch.is_cleartext;
        Ok(Opened { body, begins_epoch: false, is_current, may_be_clear })
    }

    /// When [`Self::handle_timeout`] has something to forget.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.former.iter().chain(&self.pending).map(|(_, until)| *until).min()
    }

    /// Forgets, and so erases, the keys whose time is over `[H15]`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.former.retain(|(_, until)| *until > now);
        self.pending.retain(|(_, until)| *until > now);
    }

    /// The first packet under a pending epoch came, if it opens.
    fn begin<'a>(
        &mut self,
        at: usize,
        number: PacketNumber,
        datagram: &'a mut [u8],
        now: Instant,
    ) -> Result<Opened<'a>, OpenError> {
        let body = self.pending[at].0.opening.open(number, datagram)?;
        let (epoch, _) = self.pending.remove(at).ok_or(OpenError::UnknownIndex)?;
        let may_be_clear = epoch.is_cleartext;
        self.install(epoch, now);
        Ok(Opened { body, begins_epoch: true, is_current: true, may_be_clear })
    }
}

#[cfg(test)]
pub(crate) mod tests;
