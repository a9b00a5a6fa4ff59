//! Against floods (section 5.5): a responder under load makes initiators prove that they receive
//! at their address, before it computes anything for them.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;

use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{Tag, XChaCha20Poly1305};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::credentials::Recipient;
use super::mac::{MAC_LEN, Mac, RecipientKeys, mac};
use super::message::{index_at, mac1_of, write_mac2};
use super::{Credentials, HandshakeError, INITIATION_LEN, Initiation};
use crate::id::SessionIndex;
use crate::time::{Duration, Instant};

/// Bytes of a cookie reply.
pub const COOKIE_REPLY_LEN: usize = 64;
/// How long a cookie is good, and how long the responder keeps the secret behind it `[H20]`.
pub const COOKIE_LIFETIME: Duration = Duration::from_secs(120);
/// More initiations than this within [`LOAD_WINDOW`] are load `[H19]`.
pub const MAX_INITIATIONS: usize = 50;
/// See [`MAX_INITIATIONS`].
pub const LOAD_WINDOW: Duration = Duration::from_millis(100);
/// More pending epochs than this are load `[H19]`.
pub const MAX_PENDING: usize = 1_000;

const TYPE_COOKIE_REPLY: u8 = 0xC3;
const NONCE_AT: usize = 8;
const COOKIE_AT: usize = 32;

/// The responder's side: it notices load and gives cookies, remembering none.
pub struct CookieJar {
    /// What cookies are made under, and since when.
    secret: Option<(Zeroizing<[u8; 32]>, Instant)>,
    /// When the latest initiations came, one more than may come within [`LOAD_WINDOW`].
    recent: VecDeque<Instant>,
}

/// The initiator's side on one path: it keeps the cookie that the responder gave.
#[derive(Default)]
pub struct CookieStore {
    /// Index and mac1 of the latest initiation.
    sent: Option<(SessionIndex, Mac)>,
    cookie: Option<(Zeroizing<Mac>, Instant)>,
}

/// A cookie reply, of which nothing is known to be true.
#[derive(Clone, Copy, Debug)]
pub struct CookieReply<'a>(&'a [u8; COOKIE_REPLY_LEN]);

impl CookieJar {
    /// Without load; the secret is drawn when the first cookie is asked for.
    #[must_use]
    pub fn new() -> Self {
        Self { secret: None, recent: VecDeque::with_capacity(MAX_INITIATIONS + 1) }
    }

    /// An initiation came whose mac1 is right.
    pub fn on_initiation(&mut self, now: Instant) {
        if self.recent.len() > MAX_INITIATIONS {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
    }

    /// Whether to answer only initiations with a good mac2 `[H19]`; `pending` is the number of
    /// pending epochs.
    #[must_use]
    pub fn is_under_load(&self, pending: usize, now: Instant) -> bool {
        let is_many = self.recent.len() > MAX_INITIATIONS;
        let oldest = self.recent.front().filter(|_| is_many);
        pending > MAX_PENDING || oldest.is_some_and(|at| now.saturating_since(*at) < LOAD_WINDOW)
    }

    /// Whether mac2 of `initiation` was made with a cookie that we gave to the address `from`,
    /// and that is still good.
    #[must_use]
    pub fn verify_mac2(&self, initiation: &Initiation<'_>, from: SocketAddr, now: Instant) -> bool {
        // The code is computed over the whole message: only for those who claim to have a cookie.
        let secret = self.secret.as_ref().filter(|_| initiation.has_mac2());
        let secret = secret.filter(|(_, since)| is_fresh(*since, now));
        secret.is_some_and(|(secret, _)| initiation.has_mac2_of(&bake(secret, from)))
    }

    /// The cookie reply to `initiation`, which came to `recipient` from the address `from`. Draws 24 bytes, and
    /// 32 more when the secret is to be renewed.
    pub fn reply(
        &mut self,
        initiation: &Initiation<'_>,
        recipient: &Recipient,
        from: SocketAddr,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> [u8; COOKIE_REPLY_LEN] {
        let cookie = bake(self.fresh_secret(now, rng), from);
        let mut reply = [0; COOKIE_REPLY_LEN];
        reply[0] = TYPE_COOKIE_REPLY;
        reply[4..NONCE_AT].copy_from_slice(&initiation.index().0.to_be_bytes());
        rng.fill_bytes(&mut reply[NONCE_AT..COOKIE_AT]);
        let (head, sealed) = reply.split_at_mut(COOKIE_AT);
        let (body, tag) = sealed.split_at_mut(MAC_LEN);
        body.copy_from_slice(&cookie);
        let made = aead(&recipient.keys)
            .encrypt_inout_detached(&nonce(head), &initiation.mac1(), body.into())
            .expect("a cookie is shorter than the limit of XChaCha20");
        tag.copy_from_slice(&made);
        reply
    }

    fn fresh_secret(&mut self, now: Instant, rng: &mut impl CryptoRng) -> &[u8; 32] {
        if !self.secret.as_ref().is_some_and(|(_, since)| is_fresh(*since, now)) {
            self.secret = None;
        }
        let (secret, _) = self.secret.get_or_insert_with(|| {
            let mut secret = Zeroizing::new([0; 32]);
            rng.fill_bytes(secret.as_mut_slice());
            (secret, now)
        });
        secret
    }
}

impl Default for CookieJar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieJar").field("recent", &self.recent.len()).finish_non_exhaustive()
    }
}

impl CookieStore {
    /// Without a cookie.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes mac2 into an initiation that is about to be sent on this path, when there is a
    /// cookie, and remembers to which initiation a cookie reply may come.
    ///
    /// # Panics
    /// When `initiation` is not one of ours.
    pub fn sign(&mut self, initiation: &mut [u8], now: Instant) {
        assert_eq!(initiation.len(), INITIATION_LEN, "an initiation of ours");
        self.cookie.take_if(|(_, since)| !is_fresh(*since, now));
        if let Some((cookie, _)) = &self.cookie {
            write_mac2(initiation, cookie);
        }
        self.sent = Some((index_at(initiation, 4), mac1_of(initiation)));
    }

    /// Takes the cookie out of a reply to the latest initiation that was signed. The initiator
    /// need not repeat it at once: its next one comes soon enough `[H13]`.
    ///
    /// # Errors
    /// [`HandshakeError::NotOurs`] when it answers another, [`HandshakeError::NotAuthentic`]
    /// when it does not come from who got the initiation, [`HandshakeError::NoPeer`].
    pub fn handle(
        &mut self,
        reply: &CookieReply<'_>,
        credentials: &Credentials,
        now: Instant,
    ) -> Result<(), HandshakeError> {
        let sent = self.sent.filter(|(index, _)| *index == reply.receiver());
        let (_, mac1) = sent.ok_or(HandshakeError::NotOurs)?;
        let responder = credentials.responder()?.map(|peer| &peer.public);
        let cookie = reply.open(&credentials.keys_of(responder), &mac1)?;
        self.cookie = Some((cookie, now));
        self.sent = None;
        Ok(())
    }
}

impl fmt::Debug for CookieStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.cookie.as_ref().map(|(_, since)| since);
        f.debug_struct("CookieStore").field("cookie_since", &since).finish_non_exhaustive()
    }
}

impl<'a> CookieReply<'a> {
    /// Looks at a datagram that came.
    ///
    /// # Errors
    /// [`HandshakeError::Malformed`] when it is no cookie reply.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, HandshakeError> {
        let bytes: &[u8; COOKIE_REPLY_LEN] =
            datagram.try_into().map_err(|_| HandshakeError::Malformed)?;
        match bytes {
            [TYPE_COOKIE_REPLY, 0, 0, 0, ..] => Ok(Self(bytes)),
            _ => Err(HandshakeError::Malformed),
        }
    }

    /// The index of the initiation that it answers.
    #[must_use]
    pub fn receiver(&self) -> SessionIndex {
        index_at(self.0, 4)
    }

    fn open(&self, keys: &RecipientKeys, mac1: &Mac) -> Result<Zeroizing<Mac>, HandshakeError> {
        let (head, sealed) = self.0.split_at(COOKIE_AT);
        let (body, tag) = sealed.split_at(MAC_LEN);
        let mut cookie = Zeroizing::new([0; MAC_LEN]);
        cookie.copy_from_slice(body);
        let tag = Tag::try_from(tag).expect("the reply ends with 16 bytes of tag");
        aead(keys)
            .decrypt_inout_detached(&nonce(head), mac1, cookie.as_mut_slice().into(), &tag)
            .map_err(|_| HandshakeError::NotAuthentic)?;
        Ok(cookie)
    }
}

fn aead(keys: &RecipientKeys) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&keys.cookie).into())
}

/// The nonce in the part of a cookie reply that is not sealed.
fn nonce(head: &[u8]) -> chacha20poly1305::XNonce {
    head[NONCE_AT..COOKIE_AT].try_into().expect("the nonce has 24 bytes")
}

/// The cookie of an address and port `[H20]`.
fn bake(secret: &[u8; 32], from: SocketAddr) -> Mac {
    let ip = match from.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    mac(secret, &[&ip.octets(), &from.port().to_be_bytes()])
}

fn is_fresh(since: Instant, now: Instant) -> bool {
    now.saturating_since(since) < COOKIE_LIFETIME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_more_than_50_initiations_in_100_ms_or_1000_pending_epochs() {
        let mut jar = CookieJar::new();
        let at = Instant::from_millis;
        for n in 0..50 {
            jar.on_initiation(at(n));
        }
        assert!(!jar.is_under_load(0, at(50)));
        assert!(!jar.is_under_load(1_000, at(50)));
        assert!(jar.is_under_load(1_001, at(50)));
        jar.on_initiation(at(99));
        assert!(jar.is_under_load(0, at(99)));
        assert!(!jar.is_under_load(0, at(100)), "the first is 100 ms ago");
        for n in 0..1_000 {
            jar.on_initiation(at(1_000 + n * 2));
            assert!(!jar.is_under_load(0, at(1_000 + n * 2)), "one each 2 ms is no load: {n}");
        }
    }

    #[test]
    fn cookies_differ_by_secret_address_and_port_but_not_by_how_an_address_is_written() {
        let [a, b, c] = ["192.0.2.1:5", "192.0.2.1:6", "192.0.2.2:5"].map(|a| a.parse().unwrap());
        let baked = [bake(&[1; 32], a), bake(&[1; 32], b), bake(&[1; 32], c), bake(&[2; 32], a)];
        for (n, one) in baked.iter().enumerate() {
            assert!(!baked[n + 1..].contains(one));
        }
        let mapped = "[::ffff:192.0.2.1]:5".parse().unwrap();
        assert_eq!(bake(&[1; 32], a), bake(&[1; 32], mapped));
    }
}
