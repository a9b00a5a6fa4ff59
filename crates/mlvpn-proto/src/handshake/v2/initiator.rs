//! The end that begins.

use core::fmt;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::mac::RecipientKeys;
use super::message::{
    INITIATION_HEADER_LEN, INITIATION_LEN, MACS_LEN, Response, initiation_header, write_mac1,
};
use super::noise::{Noise, Side};
use super::payload::{Flags, Proposal, Reply};
use super::{Credentials, Established, HandshakeError, SessionId};
use crate::crypto::keypair::PublicKey;
use crate::crypto::v2::Cipher;
use crate::id::{PathId, SessionIndex};

/// What an initiator offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// By what the responder shall name the epoch: random, not 0, and not in use `[H16]`.
    pub index: SessionIndex,
    /// The path on which the initiation goes.
    pub path: PathId,
    /// The session that the epoch is for.
    pub session_id: SessionId,
    /// What it can use, best first: one at least, none twice.
    pub ciphers: Vec<Cipher>,
    /// Whether data should go in clear if the responder wants that, too.
    pub wants_cleartext: bool,
    /// Whether the session carries Ethernet frames instead of IP packets.
    pub ethernet: bool,
    /// Microseconds since 1970 on our clock; later in each initiation than in those before `[H11]`.
    pub time_micros: u64,
}

/// An initiator that has sent its initiation. It can be given any number of responses; each may be
/// a forgery. A repetition is a handshake of its own, and the response to an earlier one may still
/// come.
pub struct ExpectResponse {
    noise: Noise,
    offer: Offer,
    ours: RecipientKeys,
    peer: Option<PublicKey>,
    /// How the header of a response begins.
    expected: [u8; 3],
}

impl ExpectResponse {
    /// Begins a handshake; returns it and the initiation to send, [`INITIATION_LEN`] bytes whose
    /// mac2 is zeros (see [`super::CookieStore::sign`]). Draws 32 bytes.
    ///
    /// # Errors
    /// [`HandshakeError::NoPeer`], and [`HandshakeError::SmallOrder`] when the public key that is
    /// configured for the peer is of no use.
    ///
    /// # Panics
    /// When the offer holds more ciphers than there are.
    pub fn start(
        credentials: &Credentials,
        offer: Offer,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Vec<u8>), HandshakeError> {
        assert!(offer.ciphers.len() <= Cipher::ALL.len(), "no cipher is offered twice");
        let peer = credentials.responder()?.map(|peer| peer.public);
        let header = initiation_header(credentials.code(), offer.path, offer.index);
        let mut noise = Noise::new(Side::Initiator, credentials, &header, rng)?;

        let noise_len = INITIATION_LEN - INITIATION_HEADER_LEN - MACS_LEN;
        let payload_len = noise_len - credentials.initiation_overhead();
        let mut payload = Zeroizing::new(Vec::with_capacity(payload_len));
        offer.proposal().write(&mut payload);
        payload.resize(payload_len, 0);

        let mut datagram = Vec::with_capacity(INITIATION_LEN);
        datagram.extend_from_slice(&header);
        noise.write(&payload, &mut datagram)?;
        datagram.resize(datagram.len() + MACS_LEN, 0);
        assert_eq!(datagram.len(), INITIATION_LEN, "the payload is padded to fill the initiation");
        write_mac1(&mut datagram, &credentials.keys_of(peer.as_ref()));

        let expected = [0xC2, header[1], header[2]];
        let ours = credentials.our_keys();
        Ok((Self { noise, offer, ours, peer, expected }, datagram))
    }

    /// The index that the response to this must name.
    #[must_use]
    pub fn our_index(&self) -> SessionIndex {
        self.offer.index
    }

    /// The path that the initiation named.
    #[must_use]
    pub fn path(&self) -> PathId {
        self.offer.path
    }

    /// Takes a response. After the first that is good, all are [`HandshakeError::NotOurs`].
    ///
    /// # Errors
    /// All leave the handshake as it was. Those whose [`HandshakeError::blame`] is not the network come from
    /// the responder itself.
    pub fn handle(&mut self, response: &Response<'_>) -> Result<Established, HandshakeError> {
        if response.header()[..3] != self.expected || response.receiver() != self.offer.index {
            return Err(HandshakeError::NotOurs);
        }
        response.verify_mac1(&self.ours)?;
        let offer = &self.offer;
        let reply = self.noise.read(response.noise(), |payload| {
            let reply = Reply::read(payload)?;
            offer.check(&reply, response)?;
            Ok(reply)
        })?;
        let (send_secret, receive_secret) = self.noise.split();
        Ok(Established {
            our_index: self.offer.index,
            peer_index: response.index(),
            path: self.offer.path,
            session_id: self.offer.session_id,
            is_resumed: reply.is_resumed,
            cipher: reply.cipher,
            cleartext: self.offer.wants_cleartext && reply.flags.wants_cleartext,
            ethernet: self.offer.ethernet,
            send_secret,
            receive_secret,
            peer: self.peer,
        })
    }
}

impl fmt::Debug for ExpectResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpectResponse").field("offer", &self.offer).finish_non_exhaustive()
    }
}

impl Offer {
    fn proposal(&self) -> Proposal {
        Proposal {
            session: self.session_id,
            ciphers: self.ciphers.clone(),
            flags: Flags { wants_cleartext: self.wants_cleartext, ethernet: self.ethernet },
            time: Some(self.time_micros),
        }
    }

    fn check(&self, reply: &Reply, response: &Response<'_>) -> Result<(), HandshakeError> {
        if reply.header != *response.header() {
            return Err(HandshakeError::HeaderChanged);
        }
        let is_offered = self.ciphers.contains(&reply.cipher);
        if !is_offered || reply.session != self.session_id {
            return Err(HandshakeError::BadPayload);
        }
        if reply.flags.ethernet != self.ethernet {
            return Err(HandshakeError::OtherFrames);
        }
        Ok(())
    }
}
