//! Version 2's test vectors, `data/v2-handshake.json`: whole handshakes with fixed keys. They are
//! for whoever writes another implementation, and keep this one from changing its bytes.
//!
//! `BLESS=1 cargo test -p mlvpn-proto --test v2_handshake` writes the file anew.

use std::fmt::Write as _;
use std::net::SocketAddr;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use mlvpn_proto::crypto::keypair::PublicKey;
use mlvpn_proto::crypto::password::PasswordKey;
use mlvpn_proto::crypto::v2::Cipher;
use mlvpn_proto::handshake::v2::{
    Answer, CookieJar, CookieReply, CookieStore, Credentials, ExpectResponse, Initiation,
    LatestTimes, Offer, Secret, SessionId,
};
use mlvpn_proto::id::{PathId, SessionIndex};
use mlvpn_proto::time::Instant;
use rand_core::Rng as _;
use serde::{Deserialize, Serialize};

use crate::ends::{Ends, do_match, keys, private, public, rng, take};
use crate::payloads::{Payload, payloads};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/v2-handshake.json");
const ABOUT: &str = "Handshakes of docs/protocol-v2.md section 5. Byte strings are in hexadecimal. \
    An ephemeral key is the private key that its owner drew. Of a payload without \"understood\" the handshake ends.";
const PASSWORD: &str = "correct horse battery staple";

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Vectors {
    about: String,
    handshakes: Vec<Handshake>,
    payloads: Vec<Payload>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Handshake {
    given: Given,
    initiation: String,
    response: String,
    /// From a responder under load, and what the initiation then is with its mac2.
    cookie_reply: String,
    initiation_with_mac2: String,
    initiator_sends_under: Direction,
    responder_sends_under: Direction,
}

/// What the ends know and choose.
#[derive(Clone, Serialize, Deserialize, PartialEq, Debug)]
struct Given {
    protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    preshared_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    static_keys: Option<StaticKeys>,
    initiator_ephemeral_key: String,
    responder_ephemeral_key: String,
    initiator_index: u32,
    responder_index: u32,
    path: u8,
    session_id: String,
    ciphers: Vec<u8>,
    cipher: u8,
    initiator_flags: u8,
    responder_flags: u8,
    time: u64,
    resumed: bool,
}

#[derive(Clone, Serialize, Deserialize, PartialEq, Debug)]
struct StaticKeys {
    initiator_private: String,
    initiator_public: String,
    responder_private: String,
    responder_public: String,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Direction {
    secret: String,
    key: String,
    iv: String,
}

impl Direction {
    fn of(secret: &Secret) -> Self {
        let expand = |label: &[u8], len| {
            let prk = Prk::new_less_safe(HKDF_SHA256, secret.as_bytes());
            let mut out = vec![0; len];
            prk.expand(&[label], Len(len)).and_then(|okm| okm.fill(&mut out)).unwrap();
            hex(&out)
        };
        let (key, iv) = (expand(b"mlvpn v2 key", 32), expand(b"mlvpn v2 iv", 12));
        Self { secret: hex(secret.as_bytes()), key, iv }
    }
}

struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

impl Given {
    fn offer(&self) -> Offer {
        Offer {
            index: SessionIndex(self.initiator_index),
            path: PathId::new(self.path).unwrap(),
            session_id: SessionId(unhex(&self.session_id)),
            ciphers: self.ciphers.iter().map(|code| Cipher::from_code(*code).unwrap()).collect(),
            wants_cleartext: self.initiator_flags & 1 != 0,
            ethernet: self.initiator_flags & 2 != 0,
            time_micros: self.time,
        }
    }

    fn answer(&self) -> Answer {
        Answer {
            index: SessionIndex(self.responder_index),
            is_resumed: self.resumed,
            wants_cleartext: self.responder_flags & 1 != 0,
            ethernet: self.responder_flags & 2 != 0,
            has_fast_aes: self.cipher == 1,
        }
    }

    fn ends(&self) -> Ends {
        let Some(known) = &self.static_keys else {
            let key = || PasswordKey::take(&mut unhex(&self.preshared_key));
            return Ends {
                initiator: Credentials::Password(key()),
                responder: Credentials::Password(key()),
            };
        };
        let seed = |text: &str| unhex::<32>(text)[0];
        let preshared = Some(seed(&self.preshared_key)).filter(|seed| *seed != 0);
        let public = |text: &str| PublicKey::from_bytes(unhex(text));
        Ends {
            initiator: keys(
                seed(&known.initiator_private),
                public(&known.responder_public),
                preshared,
            ),
            responder: keys(
                seed(&known.responder_private),
                public(&known.initiator_public),
                preshared,
            ),
        }
    }

    fn run(self) -> Handshake {
        let ends = self.ends();
        let (mut expect, initiation) =
            ExpectResponse::start(&ends.initiator, self.offer(), &mut rng(40)).unwrap();
        let parsed = Initiation::parse(&initiation, &ends.responder).unwrap();
        let accepted = parsed.open(&ends.responder, &mut LatestTimes::new(), &mut rng(41)).unwrap();
        let (response, theirs) = accepted.respond(&self.answer()).unwrap();
        let ours = take(&mut expect, &response).unwrap();
        assert!(do_match(&ours, &theirs));
        assert_eq!(ours.cipher.code(), self.cipher);
        let (cookie_reply, with_mac2) = with_cookie(&ends, &initiation);
        Handshake {
            given: self,
            initiation: hex(&initiation),
            response: hex(&response),
            cookie_reply: hex(&cookie_reply),
            initiation_with_mac2: hex(&with_mac2),
            initiator_sends_under: Direction::of(&ours.send_secret),
            responder_sends_under: Direction::of(&ours.receive_secret),
        }
    }
}

fn with_cookie(ends: &Ends, initiation: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let from: SocketAddr = "192.0.2.7:4000".parse().unwrap();
    let mut signed = initiation.to_vec();
    let mut store = CookieStore::new();
    store.sign(&mut signed, Instant::ZERO);
    let parsed = Initiation::parse(&signed, &ends.responder).unwrap();
    let mut jar = CookieJar::new();
    let reply = jar.reply(&parsed, &ends.responder.recipient(), from, Instant::ZERO, &mut rng(42));
    let parsed = CookieReply::parse(&reply).unwrap();
    store.handle(&parsed, &ends.initiator, Instant::ZERO).unwrap();
    store.sign(&mut signed, Instant::ZERO);
    (reply.to_vec(), signed)
}

/// A password; a password, data in clear and the other cipher; key pairs; key pairs and a pre-shared
/// key, resumed, with flags.
fn given() -> [Given; 4] {
    let ephemeral = |seed| {
        let mut key = [0; 32];
        rng(seed).fill_bytes(&mut key);
        hex(&key)
    };
    let with_password = Given {
        protocol: "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s".into(),
        password: Some(PASSWORD.into()),
        preshared_key: hex(PasswordKey::derive(PASSWORD.as_bytes()).as_bytes()),
        static_keys: None,
        initiator_ephemeral_key: ephemeral(40),
        responder_ephemeral_key: ephemeral(41),
        initiator_index: 0x0102_0304,
        responder_index: 0xFFFE_FDFC,
        path: 0,
        session_id: "a0a1a2a3a4a5a6a7".into(),
        ciphers: vec![1, 2],
        cipher: 1,
        initiator_flags: 0,
        responder_flags: 0,
        time: 1_700_000_000_000_000,
        resumed: false,
    };
    let with_keys = Given {
        protocol: "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s".into(),
        password: None,
        preshared_key: hex(&[0; 32]),
        static_keys: Some(StaticKeys {
            initiator_private: hex(&[1; 32]),
            initiator_public: hex(private(1).public_key().as_bytes()),
            responder_private: hex(&[2; 32]),
            responder_public: hex(public(2).as_bytes()),
        }),
        path: 3,
        ..with_password.clone()
    };
    let resumed = Given {
        preshared_key: hex(&[7; 32]),
        path: 15,
        cipher: 2,
        initiator_flags: 3,
        responder_flags: 2,
        resumed: true,
        ..with_keys.clone()
    };
    let in_clear = Given {
        path: 7,
        ciphers: vec![2],
        cipher: 2,
        initiator_flags: 1,
        responder_flags: 1,
        ..with_password.clone()
    };
    [with_password, in_clear, with_keys, resumed]
}

#[test]
fn handshakes_are_those_of_the_vectors() {
    let handshakes = given().map(Given::run).into();
    let now = Vectors { about: ABOUT.into(), handshakes, payloads: payloads() };
    if std::env::var_os("BLESS").is_some() {
        let text = serde_json::to_string_pretty(&now).unwrap();
        std::fs::write(FILE, text + "\n").unwrap();
    }
    let then: Vectors = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    assert_eq!(now, then);
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) fn unhex<const N: usize>(text: &str) -> [u8; N] {
    assert_eq!(text.len(), N * 2);
    core::array::from_fn(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap())
}
