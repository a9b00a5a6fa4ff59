//! By what both ends of a measured tunnel know each other.

use clap::ValueEnum;
use mlvpn_lab::workload::Forger;
use mlvpn_proto::crypto::keypair::PrivateKey;

const PASSWORD: &str = "only for a measurement on one machine";

/// What the configuration has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::bench) enum Credentials {
    /// The same password at both ends
    Password,
    /// A key pair for each end, which knows the other's public key
    Keys,
}

/// Which end of the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What one end needs.
pub(super) struct Part {
    /// Lines of `[general]`; `KEYFILE` stands for the path of the private key's file.
    pub(super) general: String,
    /// Sections behind it.
    pub(super) sections: String,
    /// Contents of the private key's file.
    pub(super) private_key: Option<String>,
}

impl Credentials {
    /// Somebody whose initiations the server does not know to be worthless from their mac1.
    pub(in crate::bench) fn forger(self) -> Forger {
        match self {
            Self::Password => Forger::insider(PASSWORD),
            Self::Keys => Forger::with_public_key(&Side::Server.private_key().public_key()),
        }
    }

    pub(super) fn part(self, side: Side) -> Part {
        match self {
            Self::Password => Part {
                general: format!("password = \"{PASSWORD}\"\n"),
                sections: String::new(),
                private_key: None,
            },
            Self::Keys => Part {
                general: "private_key_file = \"KEYFILE\"\n".to_owned(),
                sections: format!(
                    "[peer other]\npublic_key = \"{}\"\n",
                    side.other().private_key().public_key()
                ),
                private_key: Some(side.private_key().to_base64().as_str().to_owned()),
            },
        }
    }
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// The same in every measurement: nothing is hidden behind it.
    fn private_key(self) -> PrivateKey {
        match self {
            Self::Client => PrivateKey::take(&mut [1; 32]),
            Self::Server => PrivateKey::take(&mut [2; 32]),
        }
    }
}
