//! Two ends with fixed keys, and what one of them would say.

use chacha20::ChaCha12Rng;
use mlvpn_proto::crypto::keypair::{PresharedKey, PrivateKey, PublicKey};
use mlvpn_proto::crypto::password::PasswordKey;
use mlvpn_proto::crypto::v2::Cipher;
use mlvpn_proto::handshake::v2::{
    Answer, Credentials, Established, ExpectResponse, HandshakeError, Initiation, LatestTimes,
    Offer, PeerKeys, Response, SessionId,
};
use mlvpn_proto::id::{PathId, SessionIndex};
use rand_core::SeedableRng as _;

/// Two ends that know each other.
pub(crate) struct Ends {
    pub(crate) initiator: Credentials,
    pub(crate) responder: Credentials,
}

pub(crate) fn rng(seed: u8) -> ChaCha12Rng {
    ChaCha12Rng::from_seed([seed; 32])
}

pub(crate) fn private(seed: u8) -> PrivateKey {
    PrivateKey::take(&mut [seed; 32])
}

pub(crate) fn public(seed: u8) -> PublicKey {
    private(seed).public_key()
}

/// A password's key; deriving it is too slow to be done in every test.
pub(crate) fn password(seed: u8) -> Credentials {
    Credentials::Password(PasswordKey::take(&mut [seed; 32]))
}

/// Who has the private key `ours` and knows one peer.
pub(crate) fn keys(ours: u8, theirs: PublicKey, preshared: Option<u8>) -> Credentials {
    let preshared = preshared.map(|seed| PresharedKey::take(&mut [seed; 32]));
    let peer = PeerKeys { name: "peer".into(), public: theirs, preshared };
    Credentials::Keys { private: private(ours), peers: vec![peer] }
}

impl Ends {
    pub(crate) fn with_password() -> Self {
        Self { initiator: password(1), responder: password(1) }
    }

    pub(crate) fn with_keys() -> Self {
        Self { initiator: keys(1, public(2), None), responder: keys(2, public(1), None) }
    }

    pub(crate) fn with_keys_and_preshared() -> Self {
        Self { initiator: keys(1, public(2), Some(3)), responder: keys(2, public(1), Some(3)) }
    }

    pub(crate) fn all() -> [Self; 3] {
        [Self::with_password(), Self::with_keys(), Self::with_keys_and_preshared()]
    }

    pub(crate) fn start(&self, offer: Offer) -> (ExpectResponse, Vec<u8>) {
        ExpectResponse::start(&self.initiator, offer, &mut rng(10)).unwrap()
    }

    /// The responder's part with a memory of its own.
    pub(crate) fn respond(
        &self,
        initiation: &[u8],
        answer: &Answer,
    ) -> Result<(Vec<u8>, Established), HandshakeError> {
        self.respond_again(initiation, answer, &mut LatestTimes::new())
    }

    pub(crate) fn respond_again(
        &self,
        initiation: &[u8],
        answer: &Answer,
        latest: &mut LatestTimes,
    ) -> Result<(Vec<u8>, Established), HandshakeError> {
        let initiation = Initiation::parse(initiation, &self.responder)?;
        initiation.open(&self.responder, latest, &mut rng(20))?.respond(answer)
    }

    /// A handshake over a network that changes nothing.
    pub(crate) fn shake(&self, offer: Offer, answer: &Answer) -> (Established, Established) {
        let (mut expect, initiation) = self.start(offer);
        let (response, theirs) = self.respond(&initiation, answer).unwrap();
        (take(&mut expect, &response).unwrap(), theirs)
    }
}

/// The initiator's last step.
pub(crate) fn take(
    expect: &mut ExpectResponse,
    response: &[u8],
) -> Result<Established, HandshakeError> {
    Response::parse(response).and_then(|response| expect.handle(&response))
}

pub(crate) fn offer() -> Offer {
    Offer {
        index: SessionIndex(0x0102_0304),
        path: PathId::new(5).unwrap(),
        session_id: SessionId(*b"session!"),
        ciphers: Cipher::ALL.to_vec(),
        wants_cleartext: false,
        ethernet: false,
        time_micros: 1_700_000_000_000_000,
    }
}

pub(crate) fn answer() -> Answer {
    Answer {
        index: SessionIndex(0x0A0B_0C0D),
        is_resumed: false,
        wants_cleartext: false,
        ethernet: false,
        has_fast_aes: true,
    }
}

/// Whether what each end sends, the other can open.
pub(crate) fn do_match(ours: &Established, theirs: &Established) -> bool {
    ours.send_secret.as_bytes() == theirs.receive_secret.as_bytes()
        && ours.receive_secret.as_bytes() == theirs.send_secret.as_bytes()
        && ours.send_secret.as_bytes() != ours.receive_secret.as_bytes()
}
