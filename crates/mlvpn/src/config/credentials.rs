//! By what this end and its peers know each other.

use std::fmt;

use ipnet::{Ipv4Net, Ipv6Net};
use mlvpn_proto::crypto::keypair::{PresharedKey, PrivateKey, PublicKey};

use super::{General, Password};

/// `protocol_version`: which versions of the protocol may be spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolVersion {
    /// Every one for which there are credentials.
    Auto,
    /// That of the C program.
    V1,
    /// The other one.
    V2,
}

/// `password` and `private_key_file`: who this end is. There is at least one of the two, and a
/// password where version 1 may be spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `password`, never empty: for version 1, and for version 2 where there is no key pair.
    pub password: Option<Password>,
    /// What `private_key_file` holds: for version 2. There are peers then.
    pub key_pair: Option<KeyPair>,
}

/// The key pair of this end. Equal where the public keys are equal.
#[derive(Clone)]
pub struct KeyPair(pub PrivateKey);

/// `[peer NAME]`: another end with a key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// NAME.
    pub name: String,
    /// `public_key`.
    pub public_key: PublicKey,
    /// `preshared_key`, or what `preshared_key_file` holds.
    pub preshared_key: Option<PresharedKey>,
    /// `ip4`: networks that are reached through this peer.
    pub ip4: Vec<Ipv4Net>,
    /// `ip6`: networks that are reached through this peer.
    pub ip6: Vec<Ipv6Net>,
}

impl General {
    /// Whether version 1 may be spoken: not without a password.
    pub fn speaks_v1(&self) -> bool {
        self.protocol != ProtocolVersion::V2 && self.credentials.password.is_some()
    }

    /// Whether version 2 may be spoken.
    pub fn speaks_v2(&self) -> bool {
        self.protocol != ProtocolVersion::V1
    }
}

impl PartialEq for KeyPair {
    fn eq(&self, other: &Self) -> bool {
        self.0.public_key() == other.0.public_key()
    }
}

impl Eq for KeyPair {}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.0.public_key())
    }
}
