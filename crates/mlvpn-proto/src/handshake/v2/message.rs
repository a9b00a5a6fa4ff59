//! Where what is in the two messages (section 5.2).

use super::HandshakeError;
use super::credentials::{Credentials, Recipient};
use super::mac::{MAC_LEN, Mac, RecipientKeys, is_same, mac};
use super::payload::RESPONSE_HEADER_LEN;
use crate::id::{PathId, SessionIndex};

/// Bytes of every initiation `[H6]`.
pub const INITIATION_LEN: usize = 1_200;
/// No response is longer than what it answers `[H6]`.
pub const MAX_RESPONSE_LEN: usize = INITIATION_LEN;

/// Bytes of an initiation before its Noise message.
pub(super) const INITIATION_HEADER_LEN: usize = 8;
/// mac1 and mac2.
pub(super) const MACS_LEN: usize = 2 * MAC_LEN;

const TYPE_INITIATION: u8 = 0xC1;
const TYPE_RESPONSE: u8 = 0xC2;

/// An initiation from somebody who knows whom it speaks to: its mac1 is right. Nothing else of it
/// is known to be true.
#[derive(Clone, Copy, Debug)]
pub struct Initiation<'a> {
    bytes: &'a [u8],
    path: PathId,
}

/// A response, of which nothing is known to be true.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    bytes: &'a [u8],
}

impl<'a> Initiation<'a> {
    /// Looks at a datagram that came, which must be an initiation for the holder of
    /// `credentials`.
    ///
    /// # Errors
    /// [`HandshakeError::Malformed`] when it is none, [`HandshakeError::OtherCredentials`] when
    /// it is for another kind of them, [`HandshakeError::WrongMac`] when its mac1 is wrong `[H18]`.
    pub fn parse(datagram: &'a [u8], credentials: &Credentials) -> Result<Self, HandshakeError> {
        Self::parse_for(datagram, &credentials.recipient())
    }

    /// The same for whoever expects many.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_for(datagram: &'a [u8], recipient: &Recipient) -> Result<Self, HandshakeError> {
        let path = match datagram {
            [TYPE_INITIATION, 0 | 1, path, 0, ..] if datagram.len() == INITIATION_LEN => {
                PathId::new(*path).ok_or(HandshakeError::Malformed)?
            }
            _ => return Err(HandshakeError::Malformed),
        };
        let initiation = Self { bytes: datagram, path };
        if initiation.index().0 == 0 {
            return Err(HandshakeError::Malformed);
        }
        if datagram[1] != recipient.code {
            return Err(HandshakeError::OtherCredentials);
        }
        verify_mac1(datagram, &recipient.keys)?;
        Ok(initiation)
    }

    /// The path that the initiator wants it to be on.
    #[must_use]
    pub fn path(&self) -> PathId {
        self.path
    }

    /// The initiator's index.
    #[must_use]
    pub fn index(&self) -> SessionIndex {
        index_at(self.bytes, 4)
    }

    pub(super) fn header(&self) -> &'a [u8; INITIATION_HEADER_LEN] {
        self.bytes.first_chunk().expect("an initiation is longer than its header")
    }

    pub(super) fn noise(&self) -> &'a [u8] {
        &self.bytes[INITIATION_HEADER_LEN..INITIATION_LEN - MACS_LEN]
    }

    /// What differs when anything of the message does.
    pub(crate) fn mac1(&self) -> Mac {
        mac1_of(self.bytes)
    }

    /// Whether there is a mac2 at all: somebody who has no cookie leaves zeros.
    pub(super) fn has_mac2(&self) -> bool {
        self.bytes[INITIATION_LEN - MAC_LEN..] != [0; MAC_LEN]
    }

    /// Whether mac2 was made with `cookie`.
    pub(super) fn has_mac2_of(&self, cookie: &Mac) -> bool {
        let (message, mac2) = self.bytes.split_at(INITIATION_LEN - MAC_LEN);
        is_same(&mac(cookie, &[message]), mac2)
    }
}

impl<'a> Response<'a> {
    /// Looks at a datagram that came.
    ///
    /// # Errors
    /// [`HandshakeError::Malformed`] when it is no response.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, HandshakeError> {
        let len = RESPONSE_HEADER_LEN + MACS_LEN..=MAX_RESPONSE_LEN;
        match datagram {
            [TYPE_RESPONSE, 0 | 1, path, 0, ..]
                if len.contains(&datagram.len()) && PathId::new(*path).is_some() =>
            {
                let response = Self { bytes: datagram };
                let is_named = response.index().0 != 0 && response.receiver().0 != 0;
                if is_named { Ok(response) } else { Err(HandshakeError::Malformed) }
            }
            _ => Err(HandshakeError::Malformed),
        }
    }

    /// The initiator's index: which [`super::ExpectResponse`] it is for.
    #[must_use]
    pub fn receiver(&self) -> SessionIndex {
        index_at(self.bytes, 8)
    }

    /// The responder's index.
    #[must_use]
    pub fn index(&self) -> SessionIndex {
        index_at(self.bytes, 4)
    }

    pub(super) fn header(&self) -> &'a [u8; RESPONSE_HEADER_LEN] {
        self.bytes.first_chunk().expect("a response is longer than its header")
    }

    pub(super) fn noise(&self) -> &'a [u8] {
        &self.bytes[RESPONSE_HEADER_LEN..self.bytes.len() - MACS_LEN]
    }

    pub(super) fn verify_mac1(&self, ours: &RecipientKeys) -> Result<(), HandshakeError> {
        verify_mac1(self.bytes, ours)
    }
}

/// The beginning of an initiation; `code` is the kind of credentials.
pub(super) fn initiation_header(
    code: u8,
    path: PathId,
    index: SessionIndex,
) -> [u8; INITIATION_HEADER_LEN] {
    let [a, b, c, d] = index.0.to_be_bytes();
    [TYPE_INITIATION, code, path.number(), 0, a, b, c, d]
}

/// The beginning of the response to `initiation`.
pub(super) fn response_header(
    initiation: &[u8; INITIATION_HEADER_LEN],
    index: SessionIndex,
) -> [u8; RESPONSE_HEADER_LEN] {
    let mut header = [0; RESPONSE_HEADER_LEN];
    header[..4].copy_from_slice(&initiation[..4]);
    header[0] = TYPE_RESPONSE;
    header[4..8].copy_from_slice(&index.0.to_be_bytes());
    header[8..].copy_from_slice(&initiation[4..]);
    header
}

/// Writes mac1 into the room for it, 32 bytes before the end.
pub(super) fn write_mac1(datagram: &mut [u8], recipient: &RecipientKeys) {
    let at = datagram.len() - MACS_LEN;
    let code = mac(&recipient.mac1, &[&datagram[..at]]);
    datagram[at..at + MAC_LEN].copy_from_slice(&code);
}

/// Writes mac2 into the room for it, the last 16 bytes.
pub(super) fn write_mac2(datagram: &mut [u8], cookie: &Mac) {
    let at = datagram.len() - MAC_LEN;
    let code = mac(cookie, &[&datagram[..at]]);
    datagram[at..].copy_from_slice(&code);
}

/// mac1 of a message that has at least both macs.
pub(super) fn mac1_of(datagram: &[u8]) -> Mac {
    let at = datagram.len() - MACS_LEN;
    datagram[at..at + MAC_LEN].try_into().expect("the range is as long as a mac")
}

/// The index that a message of at least `at` + 4 bytes has there.
pub(super) fn index_at(datagram: &[u8], at: usize) -> SessionIndex {
    let bytes = datagram[at..at + 4].try_into().expect("the range has four bytes");
    SessionIndex(u32::from_be_bytes(bytes))
}

fn verify_mac1(datagram: &[u8], ours: &RecipientKeys) -> Result<(), HandshakeError> {
    let message = &datagram[..datagram.len() - MACS_LEN];
    let is_right = is_same(&mac(&ours.mac1, &[message]), &mac1_of(datagram));
    if is_right { Ok(()) } else { Err(HandshakeError::WrongMac) }
}
