//! `[H15]`: what a handshake worked with, and what its keys are made of, is not in the memory that is given back.
//!
//! The allocator of this program keeps a copy of every block that a thread frees while it asks for that, as it
//! was at that moment. The copy is then searched for the secrets.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use blake2::digest::consts::U32;
use blake2::{Blake2s, Digest as _};
use chacha20::ChaCha12Rng;
use mlvpn_io::freed::Keeping;
use mlvpn_proto::crypto::keypair::{PresharedKey, PrivateKey, PublicKey};
use mlvpn_proto::crypto::password::PasswordKey;
use mlvpn_proto::crypto::v2::{Cipher, OpeningKey, SealingKey};
use mlvpn_proto::handshake::v2::{
    Answer, Credentials, ExpectResponse, Initiation, LatestTimes, Offer, PeerKeys, Response,
    SessionId,
};
use mlvpn_proto::id::{PathId, SessionIndex};
use mlvpn_proto::time::Instant;
use rand_core::{Rng as _, SeedableRng as _, TryCryptoRng, TryRng};

type Key = [u8; 32];

#[global_allocator]
static ALLOCATOR: Keeping = Keeping::new();

/// Randomness that shows what was drawn.
struct Drawn {
    rng: ChaCha12Rng,
    last: Key,
}

impl TryRng for Drawn {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.rng.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.rng.try_next_u64()
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        self.rng.fill_bytes(out);
        self.last.copy_from_slice(out);
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

fn drawn(seed: u8) -> Drawn {
    Drawn { rng: ChaCha12Rng::from_seed([seed; 32]), last: [0; 32] }
}

fn key(seed: u8) -> Key {
    let mut key = [0; 32];
    drawn(seed).fill_bytes(&mut key);
    key
}

fn public(private: u8) -> PublicKey {
    PrivateKey::take(&mut key(private)).public_key()
}

fn with_keys(ours: u8, theirs: u8) -> Credentials {
    let preshared = Some(PresharedKey::take(&mut key(3)));
    let peer = PeerKeys { name: "peer".into(), public: public(theirs), preshared };
    Credentials::Keys { private: PrivateKey::take(&mut key(ours)), peers: vec![peer] }
}

fn with_password() -> Credentials {
    Credentials::Password(PasswordKey::take(&mut key(4)))
}

/// What was secret in a handshake.
#[derive(Default)]
struct Secrets {
    ephemeral: [Key; 2],
    epoch: [Key; 2],
}

/// A handshake and the first packet, after which nothing of it is left.
fn shake(ends: impl FnOnce() -> [Credentials; 2], secrets: &mut Secrets) {
    let [initiator, responder] = ends();
    let offer = Offer {
        index: SessionIndex(1),
        path: PathId::new(0).unwrap(),
        session_id: SessionId(*b"session!"),
        ciphers: Cipher::ALL.to_vec(),
        wants_cleartext: false,
        ethernet: false,
        time_micros: 1,
    };
    let answer = Answer {
        index: SessionIndex(2),
        is_resumed: false,
        wants_cleartext: false,
        ethernet: false,
        has_fast_aes: true,
    };
    let mut randomness = [drawn(5), drawn(6)];
    let (mut expect, initiation) =
        ExpectResponse::start(&initiator, offer, &mut randomness[0]).unwrap();
    let initiation = Initiation::parse(&initiation, &responder).unwrap();
    let mut latest = LatestTimes::new();
    let accepted = initiation.open(&responder, &mut latest, &mut randomness[1]).unwrap();
    let (response, theirs) = accepted.respond(&answer).unwrap();
    // Moved about, as a list that grows does it.
    let mut expecting = Vec::with_capacity(1);
    expecting.push(expect);
    expecting.reserve_exact(100);
    expect = expecting.pop().unwrap();
    let ours = expect.handle(&Response::parse(&response).unwrap()).unwrap();

    let sealing =
        SealingKey::new(ours.cipher, ours.send_secret.as_bytes(), ours.peer_index, Instant::ZERO);
    let opening = OpeningKey::new(theirs.cipher, theirs.receive_secret.as_bytes());
    drop((Box::new(sealing), Box::new(opening)));
    secrets.ephemeral = randomness.map(|drawn| drawn.last);
    secrets.epoch = [*ours.send_secret.as_bytes(), *ours.receive_secret.as_bytes()];
}

/// Key and IV of a direction (section 5.4).
fn expanded(secret: &Key) -> (Key, [u8; 12]) {
    struct Len(usize);
    impl KeyType for Len {
        fn len(&self) -> usize {
            self.0
        }
    }
    let secret = Prk::new_less_safe(HKDF_SHA256, secret);
    let (mut key, mut iv) = ([0; 32], [0; 12]);
    let parts: [(&[u8], &mut [u8]); 2] = [(b"mlvpn v2 key", &mut key), (b"mlvpn v2 iv", &mut iv)];
    for (label, out) in parts {
        secret.expand(&[label], Len(out.len())).unwrap().fill(out).unwrap();
    }
    (key, iv)
}

/// A half of a secret is as bad as the whole.
fn holds(freed: &[u8], secret: &Key) -> bool {
    let halves = secret.as_chunks::<16>().0;
    freed.windows(16).any(|window| halves.iter().any(|half| window == half))
}

/// Whether both secrets of an epoch can be made of something in `freed`: Split() of the Noise
/// specification (section 5.2) with any 32 bytes for the chaining key.
fn holds_chaining_key(freed: &[u8], epoch: &[Key; 2]) -> bool {
    freed.windows(32).any(|window| {
        let extracted = hmac(window, &[]);
        hmac(&extracted, &[1]) == epoch[0]
    })
}

/// HMAC (RFC 2104) with BLAKE2s.
fn hmac(key: &[u8], message: &[u8]) -> Key {
    let padded = |with: u8| -> [u8; 64] {
        core::array::from_fn(|at| key.get(at).copied().unwrap_or(0) ^ with)
    };
    let inner = Blake2s::<U32>::new_with_prefix(padded(0x36)).chain_update(message).finalize();
    Blake2s::<U32>::new_with_prefix(padded(0x5C)).chain_update(inner).finalize().into()
}

#[test]
fn memory_that_a_handshake_gives_back_holds_no_secret() {
    let ends: [fn() -> [Credentials; 2]; 2] =
        [|| [with_keys(1, 2), with_keys(2, 1)], || [with_password(), with_password()]];
    for ends in ends {
        let mut secrets = Secrets::default();
        let freed = &ALLOCATOR.freed_by(|| shake(ends, &mut secrets));
        assert!(holds(freed, &[0; 32]), "what is erased is kept as well");
        let known = [key(1), key(2), key(3), key(4)];
        for (at, secret) in known.iter().enumerate() {
            assert!(!holds(freed, secret), "key {at} of the configuration");
        }
        for secret in &secrets.ephemeral {
            assert_ne!(*secret, [0; 32]);
            assert!(!holds(freed, secret), "an ephemeral key");
        }
        for secret in &secrets.epoch {
            assert_ne!(*secret, [0; 32]);
            assert!(!holds(freed, secret), "a secret of an epoch");
            let (key, iv) = expanded(secret);
            assert!(!holds(freed, &key), "a key of an epoch");
            assert!(!freed.windows(iv.len()).any(|window| window == iv), "an IV of an epoch");
        }
        assert!(!holds_chaining_key(freed, &secrets.epoch), "the chaining key");
    }
}

#[test]
fn the_search_finds_what_was_not_erased() {
    let secret = key(7);
    let chaining_key = key(8);
    let epoch = [hmac(&hmac(&chaining_key, &[]), &[1]), [0; 32]];
    let memory = [&[9; 5][..], &secret[16..], &chaining_key, &[9; 5]].concat();
    assert!(holds(&memory, &secret));
    assert!(!holds(&memory, &key(9)));
    assert!(holds_chaining_key(&memory, &epoch));
    assert!(!holds_chaining_key(&memory, &[key(9), key(9)]));
}
