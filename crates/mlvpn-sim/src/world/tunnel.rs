//! The protocol's own sessions as endpoints.

use std::collections::VecDeque;
use std::net::SocketAddr;

use mlvpn_proto::crypto::keypair::PrivateKey;
use mlvpn_proto::crypto::password::PasswordKey;
use mlvpn_proto::crypto::v1::Key;
use mlvpn_proto::handshake::v2::{Credentials, PeerKeys};
use mlvpn_proto::time::{Duration, Instant};
use mlvpn_proto::{
    Endpoint as Machine, EndpointConfig, Event, LinkChange, LinkConfig, LinkIndex, LinkTerms, Role,
    SessionStats, TransmitBuf, Versions, lanes, resequencer,
};

use super::endpoint::{Endpoint, Outgoing};
use super::network::server_address;
use super::{World, secs};
use crate::link::{Direction, WanLink};
use crate::packet::Side;
use crate::rng::Seed;

/// How both ends are configured, and the links between them.
#[derive(Clone, Debug)]
pub struct Tunnel {
    links: Vec<WanLink>,
    client: End,
    server: End,
}

#[derive(Clone, Debug)]
struct End {
    session: EndpointConfig,
    links: Vec<LinkConfig>,
}

impl Tunnel {
    /// A tunnel of version 1 over `links` whose weights are the links' rates, with a link timeout of
    /// 5 s, an MTU of 1400 and adaptive reordering.
    #[must_use]
    pub fn v1(links: Vec<WanLink>) -> Self {
        Self::new(links, Versions::V1)
    }

    /// A tunnel of version 2 over `links`, of whose rates nobody knows anything, with an MTU of 1400.
    #[must_use]
    pub fn v2(links: Vec<WanLink>) -> Self {
        let forget = |end: &mut End| end.links.iter_mut().for_each(|link| link.weight = None);
        let mut tunnel = Self::new(links, Versions::V2);
        forget(&mut tunnel.client);
        forget(&mut tunnel.server);
        tunnel
    }

    /// A tunnel whose ends speak `versions`.
    #[must_use]
    pub fn new(links: Vec<WanLink>, versions: Versions) -> Self {
        let client = End::new(Role::Client, versions, &links);
        let server = End::new(Role::Server, versions, &links);
        Self { links, client, server }
    }

    /// Changes the settings of the session at `side`.
    #[must_use]
    pub fn with_side(mut self, side: Side, change: impl Fn(&mut EndpointConfig)) -> Self {
        match side {
            Side::Client => change(&mut self.client.session),
            Side::Server => change(&mut self.server.session),
        }
        self
    }

    /// Changes the settings of both sessions.
    #[must_use]
    pub fn with(mut self, change: impl Fn(&mut EndpointConfig)) -> Self {
        change(&mut self.client.session);
        change(&mut self.server.session);
        self
    }

    /// Lets the ends know each other by key pairs instead of a password.
    #[must_use]
    pub fn with_key_pairs(self) -> Self {
        let key = |byte| PrivateKey::take(&mut [byte; 32]);
        let credentials = |own: u8, other: u8| {
            let public = key(other).public_key();
            let peer = PeerKeys { name: "peer".into(), public, preshared: None };
            Some(Credentials::Keys { private: key(own), peers: vec![peer] })
        };
        self.with_side(Side::Client, |config| config.credentials = credentials(3, 4))
            .with_side(Side::Server, |config| config.credentials = credentials(4, 3))
    }

    /// Changes the settings of link `index` at both ends.
    #[must_use]
    pub fn with_link(mut self, index: usize, change: impl Fn(&mut LinkConfig)) -> Self {
        change(&mut self.client.links[index]);
        change(&mut self.server.links[index]);
        self
    }

    /// Changes the settings of link `index` at the client, which the server is not told of otherwise.
    #[must_use]
    pub fn with_client_link(mut self, index: usize, change: impl Fn(&mut LinkConfig)) -> Self {
        change(&mut self.client.links[index]);
        self
    }

    /// Starts both ends at time zero.
    #[must_use]
    pub fn start(&self, seed: u64) -> World<SessionEndpoint> {
        let end = |side| self.endpoint(side, Seed(seed), Instant::ZERO);
        World::new(seed, self.links.clone(), end(Side::Client), end(Side::Server))
    }

    /// Starts both ends and lets all links come up.
    ///
    /// # Panics
    /// When a link is not up within 10 s.
    #[must_use]
    pub fn start_up(&self, seed: u64) -> World<SessionEndpoint> {
        let mut world = self.start(seed);
        let links = self.links.len();
        let is_up = world.run_while_not(secs(10), |world| {
            [Side::Client, Side::Server].iter().all(|&side| world.links_up(side) == links)
        });
        assert!(is_up, "not up after {:?}: {:?}", world.now(), world.events());
        world
    }

    /// Lets `side` crash and start anew, with all links; `seed` is the new process's own.
    pub fn restart(&self, world: &mut World<SessionEndpoint>, side: Side, seed: Seed) {
        let ahead = world.endpoint(side).ahead;
        let mut reborn = self.endpoint(side, seed, world.now() + ahead);
        // The clock is the host's, and goes on.
        reborn.ahead = ahead;
        world.restart(side, reborn);
    }

    /// Adds a link that was removed again, at both ends.
    pub fn add_link(&self, world: &mut World<SessionEndpoint>, link: usize) {
        for (side, end) in [(Side::Client, &self.client), (Side::Server, &self.server)] {
            world.with_endpoint(side, |endpoint, now| {
                let index = endpoint.session.add_link(end.links[link].clone(), now);
                endpoint.session.handle_link_change(index, LinkChange::Opened, now);
            });
        }
    }

    /// A new session for `side`, as a process that starts at `now` makes it; `seed` is its own.
    #[must_use]
    pub fn endpoint(&self, side: Side, seed: Seed, now: Instant) -> SessionEndpoint {
        let (end, stream) = match side {
            Side::Client => (&self.client, "client session"),
            Side::Server => (&self.server, "server session"),
        };
        let mut bytes = [0; 32];
        seed.stream(stream).fill(&mut bytes);
        let speaks_v1_only = end.session.versions == Versions::V1;
        let mut session = Machine::new(end.session.clone(), bytes);
        for link in &end.links {
            let index = session.add_link(link.clone(), now);
            session.handle_link_change(index, LinkChange::Opened, now);
        }
        SessionEndpoint {
            session,
            buf: TransmitBuf::new(),
            batch: VecDeque::new(),
            up: 0,
            ahead: Duration::ZERO,
            pauses: None,
            kept: VecDeque::new(),
            speaks_v1_only,
        }
    }
}

impl End {
    fn new(role: Role, versions: Versions, links: &[WanLink]) -> Self {
        let session = EndpointConfig {
            versions,
            v1_key: Some(Key::from_password(b"a password for simulations")),
            credentials: Some(Credentials::Password(PasswordKey::take(&mut [7; 32]))),
            unix_micros: 1_800_000_000_000_000,
            software: "simulated".to_owned(),
            ..EndpointConfig::new(role, 1_400)
        };
        let sends = if role == Role::Client { Direction::Up } else { Direction::Down };
        let link = |(index, link): (usize, &WanLink)| LinkConfig {
            name: format!("link{index}"),
            weight: link.spec(sends).rate.map(|rate| rate / 8),
            timeout: Duration::from_secs(5),
            loss_tolerance: None,
            latency_tolerance: None,
            fallback_only: false,
            terms: LinkTerms::default(),
            remote: (role == Role::Client).then(|| server_address(index)),
        };
        Self { session, links: links.iter().enumerate().map(link).collect() }
    }
}

/// An endpoint of the protocol in the simulated world.
#[derive(Debug)]
pub struct SessionEndpoint {
    session: Machine,
    buf: TransmitBuf,
    speaks_v1_only: bool,
    /// What is left of the last batch.
    batch: VecDeque<Outgoing>,
    up: usize,
    /// By how much its clock is before the world's.
    ahead: Duration,
    pauses: Option<Pauses>,
    /// What has come and was not looked at, with its time and the link.
    kept: VecDeque<(Instant, usize, SocketAddr, Vec<u8>)>,
}

/// When a host has no processor to look at what comes.
#[derive(Clone, Copy, Debug)]
struct Pauses {
    every: Duration,
    length: Duration,
}

impl Pauses {
    /// When the host looks next, at `now` or later.
    fn next_look(self, now: Instant) -> Instant {
        let every = self.every.as_micros();
        let began = Instant::from_micros((u128::from(now.as_micros()) / every * every) as u64);
        now.max(began + self.length)
    }
}

impl SessionEndpoint {
    /// The endpoint.
    #[must_use]
    pub fn session(&self) -> &Machine {
        &self.session
    }

    /// The endpoint, to be changed; see [`World::with_endpoint`].
    pub fn session_mut(&mut self) -> &mut Machine {
        &mut self.session
    }
}

impl SessionEndpoint {
    fn next_look(&self, now: Instant) -> Instant {
        self.pauses.map_or(now, |pauses| pauses.next_look(now))
    }
}

impl World<SessionEndpoint> {
    /// How many links are up at `side`, going by its events.
    #[must_use]
    pub fn links_up(&self, side: Side) -> usize {
        self.endpoint(side).up
    }

    /// The numbers of the endpoint at `side`.
    #[must_use]
    pub fn stats(&self, side: Side) -> SessionStats {
        let end = self.endpoint(side);
        end.session.stats(end.clock(self.now()))
    }

    /// The clock of `side` alone jumps forward.
    pub fn jump_clock(&mut self, side: Side, time: Duration) {
        self.with_endpoint(side, |end, _| end.ahead += time);
    }

    /// From now on the host of `side` leaves what comes where it is for the first `length` of each `every`. It
    /// knows when it came.
    pub fn pause(&mut self, side: Side, every: Duration, length: Duration) {
        self.with_endpoint(side, |end, _| end.pauses = Some(Pauses { every, length }));
    }

    /// How many events of `side` are `wanted`.
    #[must_use]
    pub fn count_events(&self, side: Side, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events().iter().filter(|(_, at, event)| *at == side && wanted(event)).count()
    }

    /// Takes a link away at both ends.
    pub fn remove_link(&mut self, link: usize) {
        for side in [Side::Client, Side::Server] {
            self.with_endpoint(side, |end, now| {
                end.session.remove_link(LinkIndex(link as u16), now);
            });
        }
    }
}

impl Endpoint for SessionEndpoint {
    type Event = Event;

    fn handle_datagram(&mut self, link: usize, from: SocketAddr, data: &mut [u8], now: Instant) {
        if self.next_look(now) > now {
            self.kept.push_back((now, link, from, data.to_vec()));
            return;
        }
        self.session.handle_datagram(LinkIndex(link as u16), from, data, self.clock(now));
    }

    fn handle_ip_packet(&mut self, packet: &[u8], now: Instant) {
        self.session.handle_ip_packet(packet, self.clock(now));
    }

    fn handle_timeout(&mut self, now: Instant) {
        while self.next_look(now) <= now
            && let Some((arrived_at, link, from, mut data)) = self.kept.pop_front()
        {
            let (link, arrived_at) = (LinkIndex(link as u16), self.clock(arrived_at));
            let now = self.clock(now);
            self.session.handle_kept_datagram(link, from, &mut data, arrived_at, now);
        }
        self.session.handle_timeout(self.clock(now));
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Outgoing> {
        if self.batch.is_empty() {
            let now = self.clock(now);
            let transmit = self.session.poll_transmit(&mut self.buf, now)?;
            let datagrams = self.buf.bytes()[..transmit.len].chunks(transmit.segment_size);
            self.batch.extend(datagrams.map(|datagram| {
                Outgoing::udp(transmit.link.slot(), transmit.to, datagram.to_vec())
            }));
        }
        self.batch.pop_front()
    }

    fn poll_ip_packet(&mut self) -> Option<Vec<u8>> {
        self.session.poll_ip_packet().map(<[u8]>::to_vec)
    }

    fn poll_event(&mut self) -> Option<Event> {
        let event = self.session.poll_event()?;
        match event {
            Event::LinkUp { .. } => self.up += 1,
            Event::LinkDown { .. } => self.up -= 1,
            _ => {}
        }
        Some(event)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let look = self.kept.front().map(|&(arrived_at, ..)| self.next_look(arrived_at));
        let due = self.session.poll_timeout().map(|(due, _)| due - self.ahead);
        look.into_iter().chain(due).min()
    }

    fn clock(&self, now: Instant) -> Instant {
        now + self.ahead
    }

    fn held_packets(&self, now: Instant) -> usize {
        let stats = self.session.stats(self.clock(now));
        let lanes: usize = stats.peers.iter().map(|peer| peer.lanes.held_packets).sum();
        stats.resequencer.held + lanes + self.batch.len() + self.kept.len()
    }

    fn held_limit(&self) -> usize {
        if self.speaks_v1_only { resequencer::MAX_PACKETS } else { lanes::MAX_PACKETS }
    }
}
