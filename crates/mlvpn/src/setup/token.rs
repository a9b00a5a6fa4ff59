//! The line that is carried from the server to a client: everything that the client has to know.
//!
//! `mlvpn`, a digit for the version, and base64url without padding of the content (postcard) followed by
//! its CRC-32 in big endian, over the version's digit and the content. With the client's private key in
//! it, it is as secret as that.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mlvpn_proto::crypto::keypair::{PresharedKey, PrivateKey, PublicKey};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::config::Host;

/// What every token begins with.
const WORD: &str = "mlvpn";
/// The version that is written, and the only one that is read.
const VERSION: char = '1';
/// The longest token that is looked at, in characters.
const MAX_LEN: usize = 8192;
/// Most addresses, ports, routes and name servers that a token may have, each.
const MAX_ITEMS: usize = 256;

/// What a client has to know.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// By which the server is reached from the internet, the best first.
    pub addresses: Vec<Host>,
    /// A port for each link.
    pub ports: Vec<u16>,
    /// Who the server is.
    pub server_key: PublicKey,
    /// Who the client is.
    pub identity: Identity,
    /// A secret beside the key pairs.
    pub preshared_key: Option<PresharedKey>,
    /// The ends' IPv4 addresses in the tunnel.
    pub ip4: Option<Ends<Ipv4Net, Ipv4Addr>>,
    /// The ends' IPv6 addresses in the tunnel.
    pub ip6: Option<Ends<Ipv6Net, Ipv6Addr>>,
    /// Whether all traffic is to go through the tunnel.
    pub takes_default_route: bool,
    /// What else is reached through the tunnel.
    pub routes: Vec<IpNet>,
    /// Name servers for the client; empty = it keeps its own.
    pub dns: Vec<IpAddr>,
}

/// Who the client is.
#[derive(Clone)]
pub enum Identity {
    /// The server has made its key pair.
    Given(PrivateKey),
    /// It has its key pair already, with this public key.
    Kept(PublicKey),
}

/// Addresses in the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends<N, A> {
    /// The client's address, and the length of the network that it is in.
    pub client: N,
    /// The server's address.
    pub server: A,
}

/// Why a text is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is something else.
    #[error(
        "this is no token: one begins with `{WORD}{VERSION}`, and `mlvpn setup server` prints it"
    )]
    Other,
    /// It is from another version of the program.
    #[error(
        "the token is of version {0}, and this mlvpn reads version {VERSION}: install the server's version of mlvpn here"
    )]
    Version(char),
    /// Characters are missing, too many, or others.
    #[error("the token is damaged ({0} characters were read): copy the whole line again")]
    Damaged(usize),
    /// It is whole, but what it says makes no sense.
    #[error("the token makes no sense: {0}; have the server print another one")]
    Senseless(&'static str),
}

/// What is in a token, in the order in which it is written.
#[derive(Serialize, Deserialize, Zeroize)]
#[zeroize(drop)]
struct Content {
    addresses: Vec<String>,
    ports: Vec<u16>,
    server_key: [u8; 32],
    /// The client's private key, or its public one.
    client_key: [u8; 32],
    has_private_key: bool,
    preshared_key: Option<[u8; 32]>,
    ip4: Option<([u8; 4], u8, [u8; 4])>,
    ip6: Option<([u8; 16], u8, [u8; 16])>,
    takes_default_route: bool,
    routes: Vec<String>,
    dns: Vec<String>,
}

impl Identity {
    /// The client's public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        match self {
            Self::Given(key) => key.public_key(),
            Self::Kept(key) => *key,
        }
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        let is_given = |identity: &Self| matches!(identity, Self::Given(_));
        is_given(self) == is_given(other) && self.public_key() == other.public_key()
    }
}

impl Eq for Identity {}

impl Token {
    /// The token as text, without blanks.
    ///
    /// # Panics
    /// When there are more than 256 items of a kind, which [`Token::from_str`] would refuse.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let content = Content::from(self);
        let mut bytes = Zeroizing::new(
            postcard::to_allocvec(&content).expect("plain values can always be written"),
        );
        let sum = checksum(VERSION, &bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        let body = Zeroizing::new(Base64UrlUnpadded::encode_string(&bytes));
        let text = Zeroizing::new(format!("{WORD}{VERSION}{}", body.as_str()));
        assert!(text.len() <= MAX_LEN, "a token is short enough to be pasted");
        text
    }

    /// What a family of the tunnel's addresses is, as networks: those that the client must not be in already.
    #[must_use]
    pub fn networks(&self) -> Vec<IpNet> {
        let ip4 = self.ip4.map(|ends| IpNet::V4(ends.client.trunc()));
        let ip6 = self.ip6.map(|ends| IpNet::V6(ends.client.trunc()));
        ip4.into_iter().chain(ip6).collect()
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Blanks and line ends within the text, as terminals and mails add them, do not count.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = Zeroizing::new(text.split_whitespace().collect::<String>());
        let body = text.strip_prefix(WORD).ok_or(TokenError::Other)?;
        let version = body.chars().next().ok_or(TokenError::Other)?;
        if !version.is_ascii_digit() {
            return Err(TokenError::Other);
        }
        if version != VERSION {
            return Err(TokenError::Version(version));
        }
        let damaged = || TokenError::Damaged(text.chars().count());
        if text.len() > MAX_LEN {
            return Err(damaged());
        }
        let bytes = Base64UrlUnpadded::decode_vec(&body[1..]).map_err(|_| damaged())?;
        let bytes = Zeroizing::new(bytes);
        let (content, sum) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        if checksum(version, content) != u32::from_be_bytes(*sum) {
            return Err(damaged());
        }
        let (content, rest) =
            postcard::take_from_bytes::<Content>(content).map_err(|_| damaged())?;
        if !rest.is_empty() {
            return Err(TokenError::Senseless("it is longer than it should be"));
        }
        content.check()
    }
}

/// CRC-32 finds every wrong character, and all but one in four thousand million other mistakes.
fn checksum(version: char, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version as u8]);
    hasher.update(content);
    hasher.finalize()
}

impl From<&Token> for Content {
    fn from(token: &Token) -> Self {
        let secret = |text: &str| {
            let mut bytes = [0; 32];
            base64ct::Base64::decode(text, &mut bytes).expect("a key's text holds 32 bytes");
            bytes
        };
        let (client_key, has_private_key) = match &token.identity {
            Identity::Given(key) => (secret(&key.to_base64()), true),
            Identity::Kept(key) => (*key.as_bytes(), false),
        };
        let ip4 = token.ip4.map(|Ends { client, server }| {
            (client.addr().octets(), client.prefix_len(), server.octets())
        });
        let ip6 = token.ip6.map(|Ends { client, server }| {
            (client.addr().octets(), client.prefix_len(), server.octets())
        });
        Self {
            addresses: token.addresses.iter().map(ToString::to_string).collect(),
            ports: token.ports.clone(),
            server_key: *token.server_key.as_bytes(),
            client_key,
            has_private_key,
            preshared_key: token.preshared_key.as_ref().map(|key| secret(&key.to_base64())),
            ip4,
            ip6,
            takes_default_route: token.takes_default_route,
            routes: token.routes.iter().map(ToString::to_string).collect(),
            dns: token.dns.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Content {
    /// The token, if all of it makes sense: it becomes part of a configuration.
    fn check(mut self) -> Result<Token, TokenError> {
        let senseless = TokenError::Senseless;
        let lengths = [self.addresses.len(), self.ports.len(), self.routes.len(), self.dns.len()];
        if lengths.iter().any(|length| *length > MAX_ITEMS) {
            return Err(senseless("there is too much in it"));
        }
        if self.addresses.is_empty() || self.ports.is_empty() || self.ports.contains(&0) {
            return Err(senseless("the server's address or ports are missing"));
        }
        let identity = match self.has_private_key {
            true => Identity::Given(PrivateKey::take(&mut self.client_key)),
            false => Identity::Kept(PublicKey::from_bytes(self.client_key)),
        };
        let ip4 = self.ip4.map(|(client, length, server)| {
            let client = Ipv4Net::new(client.into(), length);
            client.map(|client| Ends { client, server: Ipv4Addr::from(server) })
        });
        let ip6 = self.ip6.map(|(client, length, server)| {
            let client = Ipv6Net::new(client.into(), length);
            client.map(|client| Ends { client, server: Ipv6Addr::from(server) })
        });
        let wrong_length = |_| senseless("a prefix length is too large");
        let (ip4, ip6) =
            (ip4.transpose().map_err(wrong_length)?, ip6.transpose().map_err(wrong_length)?);
        if ip4.is_none() && ip6.is_none() {
            return Err(senseless("there are no addresses for the tunnel"));
        }
        Ok(Token {
            addresses: all(&self.addresses).ok_or(senseless("the server's address is none"))?,
            ports: std::mem::take(&mut self.ports),
            server_key: PublicKey::from_bytes(self.server_key),
            identity,
            preshared_key: self.preshared_key.as_mut().map(PresharedKey::take),
            ip4,
            ip6,
            takes_default_route: self.takes_default_route,
            routes: all(&self.routes).ok_or(senseless("a route is no network"))?,
            dns: all(&self.dns).ok_or(senseless("a name server's address is none"))?,
        })
    }
}

fn all<T: FromStr>(texts: &[String]) -> Option<Vec<T>> {
    texts.iter().map(|text| text.parse().ok()).collect()
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?} for {})", self.addresses, self.identity.public_key())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::setup) fn sample() -> Token {
        Token {
            addresses: vec!["vpn.example.org".parse().unwrap(), "2001:db8:3::2".parse().unwrap()],
            ports: vec![5080, 5081],
            server_key: PrivateKey::take(&mut [1; 32]).public_key(),
            identity: Identity::Given(PrivateKey::take(&mut [2; 32])),
            preshared_key: Some(PresharedKey::take(&mut [3; 32])),
            ip4: Some(Ends {
                client: "10.77.5.2/24".parse().unwrap(),
                server: Ipv4Addr::new(10, 77, 5, 1),
            }),
            ip6: Some(Ends {
                client: "fd12:3456:789a::2/64".parse().unwrap(),
                server: "fd12:3456:789a::1".parse().unwrap(),
            }),
            takes_default_route: true,
            routes: vec!["192.168.50.0/24".parse().unwrap()],
            dns: vec!["9.9.9.9".parse().unwrap()],
        }
    }

    #[test]
    fn a_token_is_read_as_it_was_written_however_it_was_wrapped() {
        let token = sample();
        let text = token.to_text();
        assert!(text.starts_with("mlvpn1") && text.len() < 400, "{}", text.len());
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        assert_eq!(text.parse::<Token>().unwrap(), token);
        let wrapped = format!("  {}\r\n {}\n", &text[..80], &text[80..]);
        assert_eq!(wrapped.parse::<Token>().unwrap(), token);
        let kept = Token { identity: Identity::Kept(token.identity.public_key()), ..token.clone() };
        assert_eq!(kept.to_text().parse::<Token>().unwrap(), kept);
        assert_ne!(kept, token);
    }

    #[test]
    fn every_wrong_missing_or_swapped_character_is_told() {
        let text = sample().to_text();
        for at in 6..text.len() {
            let other = if &text[at..=at] == "x" { "y" } else { "x" };
            let wrong = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            let missing = format!("{}{}", &text[..at], &text[at + 1..]);
            for bad in [wrong, missing, text[..at].to_owned()] {
                assert!(matches!(bad.parse::<Token>(), Err(TokenError::Damaged(_))), "{at}");
            }
            if at + 1 < text.len() && text[at..=at] != text[at + 1..at + 2] {
                let (a, b) = (&text[at..=at], &text[at + 1..at + 2]);
                let swapped = format!("{}{b}{a}{}", &text[..at], &text[at + 2..]);
                assert!(swapped.parse::<Token>().is_err(), "{at}");
            }
        }
        assert_eq!("mlvpn2abc".parse::<Token>(), Err(TokenError::Version('2')));
        for other in ["", "mlvpn", "mlvpnx", "https://example.org", "mlvpné"] {
            assert_eq!(other.parse::<Token>(), Err(TokenError::Other), "{other}");
        }
    }

    #[test]
    fn what_could_become_another_line_of_the_configuration_is_refused() {
        let mut content = Content::from(&sample());
        content.addresses[0] = "x\"\nstatuscommand = \"/bin/sh".to_owned();
        assert!(matches!(content.check(), Err(TokenError::Senseless(_))));
        let changes: [fn(&mut Content); 5] = [
            |content| content.ports = vec![],
            |content| content.ports = vec![0],
            |content| content.ip4 = Some(([10, 0, 0, 1], 33, [10, 0, 0, 2])),
            |content| content.routes = vec!["everything".to_owned()],
            |content| (content.ip4, content.ip6) = (None, None),
        ];
        for change in changes {
            let mut content = Content::from(&sample());
            change(&mut content);
            assert!(matches!(content.check(), Err(TokenError::Senseless(_))));
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let token = sample();
        let shown = format!("{token:?}");
        let Identity::Given(key) = &token.identity else { panic!("it was given") };
        assert!(!shown.contains(key.to_base64().as_str()), "{shown}");
        assert!(shown.contains(&key.public_key().to_string()), "{shown}");
    }

    proptest! {
        #[test]
        fn no_text_and_no_content_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let sum = checksum(VERSION, &bytes).to_be_bytes();
            let whole = [&bytes[..], &sum].concat();
            let _ = format!("mlvpn1{}", Base64UrlUnpadded::encode_string(&whole)).parse::<Token>();
            let _ = String::from_utf8_lossy(&bytes).parse::<Token>();
        }
    }
}
