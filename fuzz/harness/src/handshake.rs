//! Messages of a version 2 handshake by somebody who knows the key of mac1, but no secret: both
//! ends refuse them. The first bit of the bytes chooses between a password and key pairs.

use blake2::digest::consts::U16;
use blake2::digest::{KeyInit as _, Mac as _};
use blake2::{Blake2s256, Blake2sMac, Digest as _};
use mlvpn_proto::crypto::keypair::PrivateKey;
use mlvpn_proto::crypto::password::PasswordKey;
use mlvpn_proto::crypto::v2::Cipher;
use mlvpn_proto::handshake::v2::{
    CookieReply, CookieStore, Credentials, ExpectResponse, INITIATION_LEN, Initiation, LatestTimes,
    Offer, PeerKeys, Response, SessionId,
};
use mlvpn_proto::id::{PathId, SessionIndex};
use mlvpn_proto::time::Instant;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng as _;

/// Beginnings of the messages.
pub const WORDS: &[&[u8]] = &[
    &[0xC1, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04],
    &[0xC1, 0x01, 0x03, 0x00, 0x01, 0x02, 0x03, 0x04],
    &[0xC2, 0x00, 0x00, 0x00, 0xff, 0xfe, 0xfd, 0xfc, 0x01, 0x02, 0x03, 0x04],
    &[0xC2, 0x01, 0x03, 0x00, 0xff, 0xfe, 0xfd, 0xfc, 0x01, 0x02, 0x03, 0x04],
    &[0xC3, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04],
];

/// mac1 and mac2.
const MACS_LEN: usize = 32;

/// Two ends that know each other, and what mac1 of messages to each is keyed with.
struct Ends {
    initiator: Credentials,
    responder: Credentials,
    to_initiator: [u8; 32],
    to_responder: [u8; 32],
}

/// Runs the target.
///
/// # Panics
/// When bytes that nobody with the credentials wrote are accepted.
pub fn run(bytes: &[u8]) {
    let ends = match bytes {
        [first, ..] if first & 0x80 == 0 => Ends::with_keys(),
        _ => Ends::with_password(),
    };
    ends.refuse_initiation(bytes);
    ends.refuse_answer(bytes);
}

impl Ends {
    fn with_password() -> Self {
        let psk = [0xA5; 32];
        let key = || Credentials::Password(PasswordKey::take(&mut psk.clone()));
        Self { initiator: key(), responder: key(), to_initiator: psk, to_responder: psk }
    }

    fn with_keys() -> Self {
        let key = |seed| PrivateKey::take(&mut [seed; 32]);
        let credentials = |ours: PrivateKey, theirs: &PrivateKey| {
            let public = theirs.public_key();
            let peer = PeerKeys { name: "peer".into(), public, preshared: None };
            Credentials::Keys { private: ours, peers: vec![peer] }
        };
        let (ours, theirs) = (key(0xA6), key(0xA7));
        Self {
            to_initiator: *ours.public_key().as_bytes(),
            to_responder: *theirs.public_key().as_bytes(),
            initiator: credentials(ours.clone(), &theirs),
            responder: credentials(theirs, &ours),
        }
    }

    fn code(&self) -> u8 {
        u8::from(matches!(self.initiator, Credentials::Keys { .. }))
    }

    /// The bytes as an initiation, and as the Noise message of one whose mac1 is good.
    fn refuse_initiation(&self, bytes: &[u8]) {
        assert!(Initiation::parse(bytes, &self.responder).is_err());
        let mut forged = vec![0; INITIATION_LEN];
        forged[..8].copy_from_slice(&[0xC1, self.code(), 3, 0, 1, 2, 3, 4]);
        let len = bytes.len().min(INITIATION_LEN - MACS_LEN - 8);
        forged[8..8 + len].copy_from_slice(&bytes[..len]);
        write_mac1(&mut forged, &self.to_responder);
        let initiation = Initiation::parse(&forged, &self.responder).expect("mac1 is good");
        let mut rng = ChaCha12Rng::from_seed([2; 32]);
        let opened = initiation.open(&self.responder, &mut LatestTimes::new(), &mut rng);
        assert!(opened.is_err(), "nobody with the credentials wrote this");
    }

    /// The bytes as a response or cookie reply, and as the Noise message of a response.
    fn refuse_answer(&self, bytes: &[u8]) {
        let (mut expect, mut initiation) = self.start();
        let mut store = CookieStore::new();
        store.sign(&mut initiation, Instant::ZERO);
        if let Ok(reply) = CookieReply::parse(bytes) {
            assert!(store.handle(&reply, &self.initiator, Instant::ZERO).is_err());
        }
        if let Ok(response) = Response::parse(bytes) {
            assert!(expect.handle(&response).is_err());
        }
        let mut forged = vec![0xC2, self.code(), 3, 0, 9, 9, 9, 9, 1, 2, 3, 4];
        forged.extend(bytes.iter().take(INITIATION_LEN - MACS_LEN - forged.len()));
        forged.extend([0; MACS_LEN]);
        write_mac1(&mut forged, &self.to_initiator);
        let response = Response::parse(&forged).expect("its header is good");
        assert!(expect.handle(&response).is_err(), "nobody with the credentials wrote this");
    }

    fn start(&self) -> (ExpectResponse, Vec<u8>) {
        let offer = Offer {
            index: SessionIndex(0x0102_0304),
            path: PathId::from_low_bits(3),
            session_id: SessionId([7; 8]),
            ciphers: Cipher::ALL.to_vec(),
            wants_cleartext: false,
            ethernet: false,
            time_micros: 1,
        };
        let mut rng = ChaCha12Rng::from_seed([1; 32]);
        ExpectResponse::start(&self.initiator, offer, &mut rng).expect("the keys are good")
    }
}

fn write_mac1(datagram: &mut [u8], recipient: &[u8; 32]) {
    let key = Blake2s256::new().chain_update(b"mlvpn v2 mac1").chain_update(recipient).finalize();
    let at = datagram.len() - MACS_LEN;
    let mac = Blake2sMac::<U16>::new_from_slice(&key).expect("a key of 32 bytes");
    let mac = mac.chain_update(&datagram[..at]).finalize().into_bytes();
    datagram[at..at + 16].copy_from_slice(&mac);
}
