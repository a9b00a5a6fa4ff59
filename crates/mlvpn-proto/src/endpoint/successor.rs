//! What an endpoint leaves to the one that takes its place when the configuration changes.

use super::Endpoint;
use super::sessions::Sessions;
use crate::config::{EndpointConfig, Versions};
use crate::time::Instant;

impl Endpoint {
    /// An endpoint without links that takes the place of this one, which was closed: all as after [`Endpoint::new`],
    /// but for what is to be remembered as long as the program runs. Those are the times of the peers' latest
    /// initiations `[H11]`, the indices that were in use `[H16]`, and that a peer speaks version 2 `[V3]`.
    #[must_use]
    pub fn successor(&self, config: EndpointConfig, seed: [u8; 32], now: Instant) -> Self {
        let mut next = Self::new(config, seed);
        if let (Some(responder), Some(former)) = (&mut next.responder, &self.responder) {
            responder.inherit(former);
        }
        next.sessions = Sessions::after(&self.sessions, now);
        let is_same_peer = match (&self.config.credentials, &next.config.credentials) {
            (Some(former), Some(present)) => former.name_same_peers(present),
            _ => false,
        };
        if self.peer_speaks_v2 && is_same_peer && next.config.versions != Versions::V1 {
            next.peer_speaks_v2 = true;
            next.v1 = None;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LinkConfig, Role};
    use crate::crypto::keypair::PrivateKey;
    use crate::crypto::password::PasswordKey;
    use crate::crypto::v1::Key;
    use crate::drop::DropReason;
    use crate::handshake::v2::{Credentials, PeerKeys};
    use crate::id::LinkIndex;
    use crate::policy::LinkTerms;
    use crate::session::LinkChange;
    use crate::time::Duration;
    use crate::transmit::TransmitBuf;
    use std::net::SocketAddr;

    const NOW: Instant = Instant::from_secs(5);

    fn address(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn private(seed: u8) -> PrivateKey {
        PrivateKey::take(&mut [seed; 32])
    }

    fn keys(ours: u8, theirs: u8) -> Credentials {
        let public = private(theirs).public_key();
        let peer = PeerKeys { name: "peer".into(), public, preshared: None };
        Credentials::Keys { private: private(ours), peers: vec![peer] }
    }

    fn password(seed: u8) -> Credentials {
        Credentials::Password(PasswordKey::take(&mut [seed; 32]))
    }

    fn config(role: Role, credentials: Credentials) -> EndpointConfig {
        let is_password = matches!(credentials, Credentials::Password(_));
        EndpointConfig {
            v1_key: is_password.then(|| Key::from_password(b"the same in all of these tests")),
            credentials: Some(credentials),
            ..EndpointConfig::new(role, 1_400)
        }
    }

    /// Its only link has a socket.
    fn open(mut endpoint: Endpoint, remote: Option<SocketAddr>) -> Endpoint {
        let link = LinkConfig {
            name: "link".into(),
            weight: None,
            timeout: Duration::from_secs(10),
            loss_tolerance: None,
            latency_tolerance: None,
            fallback_only: false,
            terms: LinkTerms::default(),
            remote,
        };
        let link = endpoint.add_link(link, NOW);
        endpoint.handle_link_change(link, LinkChange::Opened, NOW);
        endpoint
    }

    fn datagrams(endpoint: &mut Endpoint) -> Vec<Vec<u8>> {
        endpoint.handle_timeout(NOW);
        let mut out = TransmitBuf::new();
        let mut all = Vec::new();
        while endpoint.poll_transmit(&mut out, NOW).is_some() {
            all.extend(out.datagrams().map(<[u8]>::to_vec));
        }
        all
    }

    /// Gives the datagrams to an endpoint; returns what it answers.
    fn exchange(endpoint: &mut Endpoint, from: u16, datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
        for datagram in datagrams {
            endpoint.handle_datagram(LinkIndex(0), address(from), &mut datagram.clone(), NOW);
        }
        self::datagrams(endpoint)
    }

    fn pair(of: impl Fn(Role) -> Credentials) -> (Endpoint, Endpoint) {
        let new = |role, seed| Endpoint::new(config(role, of(role)), [seed; 32]);
        (open(new(Role::Client, 1), Some(address(1))), open(new(Role::Server, 2), None))
    }

    /// Both have a session afterwards.
    fn meet(client: &mut Endpoint, server: &mut Endpoint) {
        let mut said = datagrams(client);
        for _ in 0..3 {
            let answers = exchange(server, 2, &said);
            said = exchange(client, 1, &answers);
        }
        assert!(!client.sessions.is_empty() && !server.sessions.is_empty());
    }

    #[test]
    fn a_recorded_initiation_is_refused_also_after_a_change_of_the_configuration() {
        let of = |role| if role == Role::Client { keys(1, 2) } else { keys(2, 1) };
        let (mut client, mut server) = pair(of);
        let recorded = datagrams(&mut client);
        assert_eq!(exchange(&mut server, 2, &recorded).len(), 1, "it is answered");
        let mut fresh = open(Endpoint::new(config(Role::Server, of(Role::Server)), [3; 32]), None);
        assert_eq!(exchange(&mut fresh, 2, &recorded).len(), 1, "by who remembers nothing as well");
        let next = server.successor(config(Role::Server, of(Role::Server)), [3; 32], NOW);
        let mut next = open(next, None);
        assert_eq!(exchange(&mut next, 2, &recorded), Vec::<Vec<u8>>::new());
        assert_eq!(next.stats(NOW).drops.of(DropReason::Handshake), 1);
        let others = server.successor(config(Role::Server, keys(2, 9)), [3; 32], NOW);
        let again = others.successor(config(Role::Server, of(Role::Server)), [4; 32], NOW);
        let mut again = open(again, None);
        assert_eq!(exchange(&mut again, 2, &recorded), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_peer_that_spoke_version_2_is_not_spoken_to_in_version_1_again() {
        let (mut client, mut server) = pair(|_| password(1));
        let before = server.successor(config(Role::Server, password(1)), [3; 32], NOW);
        assert!(before.v1.is_some(), "it has not spoken yet");
        meet(&mut client, &mut server);
        server.close(NOW);
        let after = server.successor(config(Role::Server, password(1)), [3; 32], NOW);
        assert!(after.v1.is_none());
        let another = server.successor(config(Role::Server, password(2)), [3; 32], NOW);
        assert!(another.v1.is_some(), "this is another peer");
        let only = |versions| EndpointConfig { versions, ..config(Role::Server, password(1)) };
        let v2_only = server.successor(only(Versions::V2), [3; 32], NOW);
        assert!(v2_only.successor(only(Versions::Auto), [4; 32], NOW).v1.is_none());
        let v1_only = server.successor(only(Versions::V1), [3; 32], NOW);
        assert!(v1_only.v1.is_some());
        assert!(v1_only.successor(only(Versions::Auto), [4; 32], NOW).v1.is_some());
    }
}
