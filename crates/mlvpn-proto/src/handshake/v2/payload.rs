//! What the two messages say inside (section 5.3): entries of key, length and value.

use super::{HandshakeError, SessionId};
use crate::crypto::v2::Cipher;

/// The keys of the entries.
mod key {
    pub(super) const END: u8 = 0x00;
    pub(super) const SESSION: u8 = 0x01;
    pub(super) const CIPHERS: u8 = 0x02;
    pub(super) const CIPHER: u8 = 0x03;
    pub(super) const FLAGS: u8 = 0x04;
    pub(super) const TIME: u8 = 0x05;
    pub(super) const RESUMED: u8 = 0x06;
    pub(super) const HEADER: u8 = 0x07;
}

/// Bytes of the response's header, which its payload repeats `[H5]`.
pub(super) const RESPONSE_HEADER_LEN: usize = 12;

/// What an end wants a session to be (entry 0x04).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flags {
    pub(super) wants_cleartext: bool,
    pub(super) ethernet: bool,
}

/// The payload of an initiation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Proposal {
    pub(super) session: SessionId,
    /// Those that we know, best first.
    pub(super) ciphers: Vec<Cipher>,
    pub(super) flags: Flags,
    /// Microseconds since 1970 on the initiator's clock.
    pub(super) time: Option<u64>,
}

/// The payload of a response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reply {
    pub(super) session: SessionId,
    pub(super) cipher: Cipher,
    pub(super) flags: Flags,
    pub(super) is_resumed: bool,
    pub(super) header: [u8; RESPONSE_HEADER_LEN],
}

impl Proposal {
    /// Appends the entries to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let ciphers: Vec<u8> = self.ciphers.iter().map(|cipher| cipher.code()).collect();
        put(out, key::SESSION, &self.session.0);
        put(out, key::CIPHERS, &ciphers);
        put(out, key::FLAGS, &[self.flags.code()]);
        if let Some(time) = self.time {
            put(out, key::TIME, &time.to_be_bytes());
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, HandshakeError> {
        let entries = Entries::read(bytes)?;
        let ciphers = entries.required(key::CIPHERS)?;
        Ok(Self {
            session: SessionId(entries.required_array(key::SESSION)?),
            ciphers: ciphers.iter().copied().filter_map(Cipher::from_code).collect(),
            flags: Flags::from_code(entries.required_array(key::FLAGS)?),
            time: entries.array(key::TIME)?.map(u64::from_be_bytes),
        })
    }
}

impl Reply {
    /// Appends the entries to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put(out, key::SESSION, &self.session.0);
        put(out, key::CIPHER, &[self.cipher.code()]);
        put(out, key::FLAGS, &[self.flags.code()]);
        put(out, key::RESUMED, &[u8::from(self.is_resumed)]);
        put(out, key::HEADER, &self.header);
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, HandshakeError> {
        let entries = Entries::read(bytes)?;
        let [cipher] = entries.required_array(key::CIPHER)?;
        let is_resumed = match entries.required_array(key::RESUMED)? {
            [0] => false,
            [1] => true,
            [_] => return Err(HandshakeError::BadPayload),
        };
        Ok(Self {
            session: SessionId(entries.required_array(key::SESSION)?),
            cipher: Cipher::from_code(cipher).ok_or(HandshakeError::BadPayload)?,
            flags: Flags::from_code(entries.required_array(key::FLAGS)?),
            is_resumed,
            header: entries.required_array(key::HEADER)?,
        })
    }
}

/// The payload of an initiation, written as this version writes it.
///
/// # Errors
/// [`HandshakeError::BadPayload`] when the bytes are none.
pub fn rewrite_proposal(bytes: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    let mut out = Vec::new();
    Proposal::read(bytes)?.write(&mut out);
    Ok(out)
}

/// The payload of a response, likewise.
///
/// # Errors
/// [`HandshakeError::BadPayload`] when the bytes are none.
pub fn rewrite_reply(bytes: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    let mut out = Vec::new();
    Reply::read(bytes)?.write(&mut out);
    Ok(out)
}

impl Flags {
    fn code(self) -> u8 {
        u8::from(self.wants_cleartext) | u8::from(self.ethernet) << 1
    }

    fn from_code([code]: [u8; 1]) -> Self {
        Self { wants_cleartext: code & 1 != 0, ethernet: code & 2 != 0 }
    }
}

/// The values of the keys that this version knows.
#[derive(Default)]
struct Entries<'a> {
    values: [Option<&'a [u8]>; key::HEADER as usize + 1],
}

impl<'a> Entries<'a> {
    /// Reads entries in ascending order of their keys, up to the end or to a key 0x00, after
    /// which there are only zeros. Unknown keys are ignored `[H7]`.
    fn read(mut bytes: &'a [u8]) -> Result<Self, HandshakeError> {
        let mut entries = Self::default();
        let mut last = key::END;
        while let [key, rest @ ..] = bytes {
            if *key == key::END {
                return if rest.iter().all(|byte| *byte == 0) { Ok(entries) } else { Err(BAD) };
            }
            let [len, rest @ ..] = rest else { return Err(BAD) };
            let (value, rest) = rest.split_at_checked(usize::from(*len)).ok_or(BAD)?;
            if *key <= last {
                return Err(BAD);
            }
            if let Some(slot) = entries.values.get_mut(usize::from(*key)) {
                *slot = Some(value);
            }
            last = *key;
            bytes = rest;
        }
        Ok(entries)
    }

    fn required(&self, key: u8) -> Result<&'a [u8], HandshakeError> {
        self.values[usize::from(key)].ok_or(BAD)
    }

    fn array<const N: usize>(&self, key: u8) -> Result<Option<[u8; N]>, HandshakeError> {
        self.values[usize::from(key)].map(|value| value.try_into().map_err(|_| BAD)).transpose()
    }

    fn required_array<const N: usize>(&self, key: u8) -> Result<[u8; N], HandshakeError> {
        self.array(key)?.ok_or(BAD)
    }
}

const BAD: HandshakeError = HandshakeError::BadPayload;

fn put(out: &mut Vec<u8>, key: u8, value: &[u8]) {
    let len = u8::try_from(value.len()).expect("no value of ours is above 255 bytes");
    out.extend([key, len]);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proposal() -> Proposal {
        Proposal {
            session: SessionId(*b"eight by"),
            ciphers: Cipher::ALL.to_vec(),
            flags: Flags { wants_cleartext: true, ethernet: false },
            time: Some(0x0102_0304_0506_0708),
        }
    }

    fn reply() -> Reply {
        Reply {
            session: SessionId(*b"eight by"),
            cipher: Cipher::ChaCha20Poly1305,
            flags: Flags { wants_cleartext: false, ethernet: true },
            is_resumed: true,
            header: *b"twelve bytes",
        }
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn payloads_come_back_as_they_were_written() {
        assert_eq!(Proposal::read(&written(|out| proposal().write(out))), Ok(proposal()));
        assert_eq!(Reply::read(&written(|out| reply().write(out))), Ok(reply()));
        let timeless = Proposal { time: None, ..proposal() };
        assert_eq!(Proposal::read(&written(|out| timeless.write(out))), Ok(timeless));
    }

    #[test]
    fn every_truncation_of_a_reply_is_refused() {
        let bytes = written(|out| reply().write(out));
        for len in 0..bytes.len() {
            assert_eq!(Reply::read(&bytes[..len]), Err(BAD), "{len}");
        }
    }

    #[test]
    fn unknown_entries_ciphers_and_flags_are_ignored_and_zeros_end_it() {
        let mut bytes = written(|out| {
            put(out, 0x01, b"eight by");
            put(out, 0x02, &[9, 1, 0, 2]);
            put(out, 0x03, b"of the response, any length");
            put(out, 0x04, &[0b1111_1101]);
            put(out, 0x05, &0x0102_0304_0506_0708_u64.to_be_bytes());
            put(out, 0x77, b"future");
            put(out, 0xFF, b"");
        });
        assert_eq!(Proposal::read(&bytes), Ok(proposal()));
        bytes.extend([0; 30]);
        assert_eq!(Proposal::read(&bytes), Ok(proposal()));
        bytes.push(1);
        assert_eq!(Proposal::read(&bytes), Err(BAD), "something after the end");
    }

    #[test]
    fn odd_entries_are_refused() {
        let good = written(|out| reply().write(out));
        let broken: [(&str, Vec<u8>); 5] = [
            ("repeated", [good.clone(), written(|out| put(out, 7, b"twelve bytes"))].concat()),
            ("descending", [written(|out| put(out, 8, b"")), good.clone()].concat()),
            (
                "flags of two bytes",
                written(|out| {
                    put(out, 0x01, b"eight by");
                    put(out, 0x03, &[1]);
                    put(out, 0x04, &[1, 1]);
                }),
            ),
            ("neither begun nor resumed", {
                let at = good.windows(3).position(|w| w == [6, 1, 1]).unwrap();
                [&good[..at + 2], &[2], &good[at + 3..]].concat()
            }),
            ("an unknown cipher", {
                let at = good.windows(3).position(|w| w == [3, 1, 2]).unwrap();
                [&good[..at + 2], &[3], &good[at + 3..]].concat()
            }),
        ];
        for (what, bytes) in broken {
            assert_eq!(Reply::read(&bytes), Err(BAD), "{what}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Proposal::read(&bytes);
            let _ = Reply::read(&bytes);
        }
    }
}
