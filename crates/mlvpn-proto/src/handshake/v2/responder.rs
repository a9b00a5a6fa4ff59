//! The end that answers.

use core::fmt;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::mac::RecipientKeys;
use super::message::{
    INITIATION_HEADER_LEN, Initiation, MACS_LEN, MAX_RESPONSE_LEN, response_header, write_mac1,
};
use super::noise::{Noise, Side};
use super::payload::{Flags, Proposal, Reply};
use super::{Credentials, Established, HandshakeError, LatestTimes, SessionId};
use crate::crypto::keypair::PublicKey;
use crate::crypto::v2::Cipher;
use crate::id::{PathId, SessionIndex};

/// What a responder says to an initiation that it accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// By what the initiator shall name the epoch: random, not 0, and not in use `[H16]`.
    pub index: SessionIndex,
    /// Whether we go on with the session of [`Accepted::session_id`], which must have been the
    /// same peer's. Otherwise we begin a new one under that id `[H8]`.
    pub is_resumed: bool,
    /// Whether data should go in clear if the initiator wants that, too.
    pub wants_cleartext: bool,
    /// Whether the session carries Ethernet frames instead of IP packets.
    pub ethernet: bool,
    /// Whether this machine has hardware for AES-256-GCM `[H10]`; see
    /// [`Cipher::is_at_full_speed`].
    pub has_fast_aes: bool,
}

/// An initiation by somebody who has our credentials, or by somebody who replays one: with key
/// pairs that was noticed, with a password it was not `[H11]`.
pub struct Accepted {
    noise: Noise,
    header: [u8; INITIATION_HEADER_LEN],
    path: PathId,
    peer_index: SessionIndex,
    proposal: Proposal,
    peer: Option<PublicKey>,
    recipient: RecipientKeys,
}

impl Initiation<'_> {
    /// Reads the message inside, and remembers its time when it is accepted. Draws 32 bytes.
    ///
    /// # Errors
    /// Whatever is wrong with it: the initiator gets no answer.
    pub fn open(
        &self,
        credentials: &Credentials,
        latest: &mut LatestTimes,
        rng: &mut impl CryptoRng,
    ) -> Result<Accepted, HandshakeError> {
        let mut noise = Noise::new(Side::Responder, credentials, self.header(), rng)?;
        // Who does not know the peer does not look at what it says.
        let payload = noise.read(self.noise(), |payload| Ok(Zeroizing::new(payload.to_vec())))?;
        let peer = noise.peer();
        if let Some(public) = peer {
            let known = credentials.peer(&public).ok_or(HandshakeError::UnknownPeer(public))?;
            noise.set_preshared(known.preshared.as_ref());
        }
        let proposal = Proposal::read(&payload)?;
        if let Some(public) = peer {
            let time = proposal.time.ok_or(HandshakeError::BadPayload)?;
            if !latest.advance(public, time) {
                return Err(HandshakeError::Replayed(public));
            }
        }
        Ok(Accepted {
            noise,
            header: *self.header(),
            path: self.path(),
            peer_index: self.index(),
            proposal,
            peer,
            recipient: credentials.keys_of(peer.as_ref()),
        })
    }
}

impl Accepted {
    /// Who the initiator is; none with a password.
    #[must_use]
    pub fn peer(&self) -> Option<PublicKey> {
        self.peer
    }

    /// The session that the epoch is for.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.proposal.session
    }

    /// The path that the initiation named.
    #[must_use]
    pub fn path(&self) -> PathId {
        self.path
    }

    /// When the initiation was made, in microseconds since 1970 on the initiator's clock; none when it
    /// does not say, which it need not with a password.
    #[must_use]
    pub fn time_micros(&self) -> Option<u64> {
        self.proposal.time
    }

    /// Makes the response, and the epoch, which is pending: nothing may be sent under it before a
    /// packet under it proved authentic `[H12]`.
    ///
    /// # Errors
    /// [`HandshakeError::OtherFrames`], [`HandshakeError::NoCommonCipher`], and
    /// [`HandshakeError::SmallOrder`] when a key in the initiation is of no use: no answer then.
    pub fn respond(mut self, answer: &Answer) -> Result<(Vec<u8>, Established), HandshakeError> {
        if self.proposal.flags.ethernet != answer.ethernet {
            return Err(HandshakeError::OtherFrames);
        }
        let cipher = choose(&self.proposal.ciphers, answer.has_fast_aes)
            .ok_or(HandshakeError::NoCommonCipher)?;
        let datagram = self.write(answer, cipher)?;
        let (receive_secret, send_secret) = self.noise.split();
        let established = Established {
            our_index: answer.index,
            peer_index: self.peer_index,
            path: self.path,
            session_id: self.proposal.session,
            is_resumed: answer.is_resumed,
            cipher,
            cleartext: answer.wants_cleartext && self.proposal.flags.wants_cleartext,
            ethernet: answer.ethernet,
            send_secret,
            receive_secret,
            peer: self.peer,
        };
        Ok((datagram, established))
    }

    fn write(&mut self, answer: &Answer, cipher: Cipher) -> Result<Vec<u8>, HandshakeError> {
        let header = response_header(&self.header, answer.index);
        let reply = Reply {
            session: self.proposal.session,
            cipher,
            flags: Flags { wants_cleartext: answer.wants_cleartext, ethernet: answer.ethernet },
            is_resumed: answer.is_resumed,
            header,
        };
        let mut payload = Zeroizing::new(Vec::new());
        reply.write(&mut payload);
        let mut datagram = header.to_vec();
        self.noise.write(&payload, &mut datagram)?;
        datagram.resize(datagram.len() + MACS_LEN, 0);
        assert!(datagram.len() <= MAX_RESPONSE_LEN, "a response is no longer than what it answers");
        write_mac1(&mut datagram, &self.recipient);
        Ok(datagram)
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted")
            .field("proposal", &self.proposal)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// The first that is fast here, else the first `[H10]`.
fn choose(offered: &[Cipher], has_fast_aes: bool) -> Option<Cipher> {
    let is_fast = |cipher: &&Cipher| has_fast_aes || **cipher != Cipher::Aes256Gcm;
    offered.iter().find(is_fast).or(offered.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cipher_is_the_initiators_best_that_is_fast_at_the_responder() {
        use Cipher::{Aes256Gcm as Aes, ChaCha20Poly1305 as ChaCha};
        let table: [(&[Cipher], bool, Option<Cipher>); 7] = [
            (&[Aes, ChaCha], true, Some(Aes)),
            (&[Aes, ChaCha], false, Some(ChaCha)),
            (&[ChaCha, Aes], true, Some(ChaCha)),
            (&[ChaCha, Aes], false, Some(ChaCha)),
            (&[Aes], false, Some(Aes)),
            (&[ChaCha], true, Some(ChaCha)),
            (&[], true, None),
        ];
        for (offered, has_fast_aes, chosen) in table {
            assert_eq!(choose(offered, has_fast_aes), chosen, "{offered:?} {has_fast_aes}");
        }
    }
}
