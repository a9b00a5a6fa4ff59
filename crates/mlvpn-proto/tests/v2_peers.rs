//! Several peers of one server, who have nothing to do with each other.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use mlvpn_proto::crypto::keypair::{PrivateKey, PublicKey};
use mlvpn_proto::drop::DropReason;
use mlvpn_proto::handshake::v2::{Credentials, PeerKeys};
use mlvpn_proto::stats::PeerStats;
use mlvpn_proto::{
    Duration, Endpoint, EndpointConfig, Event, Instant, IpPrefix, LinkChange, LinkConfig,
    LinkIndex, LinkTerms, PeerRoutes, Role, TransmitBuf,
};

const LINK: LinkIndex = LinkIndex(0);
const TICK: Duration = Duration::from_millis(1);
/// Each byte of the private keys of the server and of both clients.
const KEYS: [u8; 3] = [9, 1, 2];
const SERVER: usize = 0;
const A: usize = 1;
const B: usize = 2;

fn private(end: usize) -> PrivateKey {
    PrivateKey::take(&mut [KEYS[end]; 32])
}

fn public(end: usize) -> PublicKey {
    private(end).public_key()
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, end as u8], 5_080))
}

/// The host behind an end.
fn host(end: usize) -> [u8; 4] {
    [10, 0, end as u8, 1]
}

/// A UDP packet with nothing in it but its number, without checksums.
fn packet(from: usize, to: usize, number: u16) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 28];
    bytes.extend(number.to_be_bytes());
    bytes.extend([0, 0, 64, 17, 0, 0]);
    bytes.extend(host(from));
    bytes.extend(host(to));
    bytes.extend([0x10, 0, 0x10, 0, 0, 8, 0, 0]);
    bytes
}

/// A process that starts.
fn start(end: usize, seed: u8, now: Instant) -> Endpoint {
    let role = if end == SERVER { Role::Server } else { Role::Client };
    let others = if end == SERVER { vec![A, B] } else { vec![SERVER] };
    let keys = |&other: &usize| PeerKeys {
        name: format!("peer{other}"),
        public: public(other),
        preshared: None,
    };
    let peers = others.iter().map(keys).collect();
    let routes = |&other: &usize| PeerRoutes {
        peer: public(other),
        networks: vec![IpPrefix { address: IpAddr::from(host(other)), len: 24 }],
    };
    let config = EndpointConfig {
        credentials: Some(Credentials::Keys { private: private(end), peers }),
        routes: if end == SERVER { others.iter().map(routes).collect() } else { Vec::new() },
        unix_micros: 1_800_000_000_000_000,
        ..EndpointConfig::new(role, 1_400)
    };
    let mut endpoint = Endpoint::new(config, [seed; 32]);
    let link = LinkConfig {
        name: "link".into(),
        weight: None,
        timeout: Duration::from_secs(10),
        loss_tolerance: None,
        latency_tolerance: None,
        fallback_only: false,
        terms: LinkTerms::default(),
        remote: (end != SERVER).then(|| address(SERVER)),
    };
    let link = endpoint.add_link(link, now);
    endpoint.handle_link_change(link, LinkChange::Opened, now);
    endpoint
}

/// A datagram, from one end to another.
struct Datagram {
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

/// A server and two clients. What is sent arrives one tick later.
struct Net {
    ends: [Endpoint; 3],
    now: Instant,
    flying: Vec<Datagram>,
    /// By whom packets are sent that do not arrive but are kept.
    caught: Option<usize>,
    kept: Vec<Datagram>,
    /// Under which indices the server was sent sealed packets, by each end.
    indices: [BTreeSet<[u8; 4]>; 3],
    /// What each host got.
    hosts: [Vec<Vec<u8>>; 3],
    events: Vec<Event>,
}

impl Net {
    /// All have met.
    fn up() -> Self {
        let now = Instant::from_secs(1);
        let mut net = Self {
            ends: [SERVER, A, B].map(|end| start(end, end as u8, now)),
            now,
            flying: Vec::new(),
            caught: None,
            kept: Vec::new(),
            indices: [const { BTreeSet::new() }; 3],
            hosts: [const { Vec::new() }; 3],
            events: Vec::new(),
        };
        net.run(1_000);
        assert_eq!(net.ends[SERVER].stats(net.now).peers.len(), 2);
        net
    }

    fn run(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.now += TICK;
            for Datagram { from, to, mut bytes } in std::mem::take(&mut self.flying) {
                self.ends[to].handle_datagram(LINK, address(from), &mut bytes, self.now);
            }
            for end in [SERVER, A, B] {
                self.ends[end].handle_timeout(self.now);
                self.drain(end);
            }
        }
    }

    fn drain(&mut self, end: usize) {
        let mut out = TransmitBuf::new();
        while let Some(transmit) = self.ends[end].poll_transmit(&mut out, self.now) {
            let to = [SERVER, A, B].into_iter().find(|&to| address(to) == transmit.to).unwrap();
            for bytes in out.datagrams().map(<[u8]>::to_vec) {
                if to == SERVER && bytes[0] & 0xC0 == 0x80 {
                    self.indices[end].insert(bytes[1..5].try_into().unwrap());
                }
                let way = if self.caught == Some(end) { &mut self.kept } else { &mut self.flying };
                way.push(Datagram { from: end, to, bytes });
            }
        }
        while let Some(packet) = self.ends[end].poll_ip_packet() {
            self.hosts[end].push(packet.to_vec());
        }
        while let Some(event) = self.ends[end].poll_event() {
            if end == SERVER {
                self.events.push(event);
            }
        }
    }

    /// The host behind `from` sends a packet to that behind `to`.
    fn send(&mut self, from: usize, to: usize, number: u16) {
        self.ends[from].handle_ip_packet(&packet(from, to, number), self.now);
        self.drain(from);
    }

    /// What the host behind `to` got from that behind `from`.
    fn got(&self, from: usize, to: usize) -> Vec<u16> {
        let is_from = |packet: &&Vec<u8>| packet[12..16] == host(from);
        let number = |packet: &Vec<u8>| u16::from_be_bytes([packet[4], packet[5]]);
        self.hosts[to].iter().filter(is_from).map(number).collect()
    }

    /// The server's session with a client.
    fn session(&self, with: usize) -> PeerStats {
        let peers = self.ends[SERVER].stats(self.now).peers;
        peers.into_iter().find(|peer| peer.peer == Some(public(with))).unwrap()
    }

    /// The index under which a client sends to the server; it has one.
    fn index(&self, client: usize) -> [u8; 4] {
        let mut indices = self.indices[client].iter();
        let index = *indices.next().unwrap();
        assert_eq!(indices.next(), None);
        index
    }
}

#[test]
fn a_peer_cannot_use_the_index_of_another() {
    let mut net = Net::up();
    // Its numbers are beyond those of the other, so that they are not taken for replays.
    for number in 0..200 {
        net.send(B, SERVER, number);
        net.run(1);
    }
    net.run(20);
    assert_eq!(net.got(B, SERVER), (0..200).collect::<Vec<_>>());
    net.caught = Some(B);
    for number in 200..210 {
        net.send(B, SERVER, number);
    }
    net.caught = None;
    assert_eq!(net.kept.len(), 10);
    let (before, drops) = (net.session(A), net.ends[SERVER].stats(net.now).drops);
    for datagram in &net.kept {
        for from in [A, B] {
            let mut bytes = datagram.bytes.clone();
            bytes[1..5].copy_from_slice(&net.index(A));
            net.ends[SERVER].handle_datagram(LINK, address(from), &mut bytes, net.now);
        }
    }
    net.drain(SERVER);
    let stats = net.ends[SERVER].stats(net.now);
    assert_eq!(stats.drops.of(DropReason::NotAuthentic), drops.of(DropReason::NotAuthentic) + 20);
    assert_eq!(stats.drops.total(), drops.total() + 20);
    assert_eq!(net.session(A), before, "it is as if nothing had come");
    assert_eq!(net.got(B, SERVER).len(), 200);
    // The other's numbers, which are below, are not used up, and its own packets are good under its own index.
    net.flying = std::mem::take(&mut net.kept);
    for number in 0..20 {
        net.send(A, SERVER, number);
        net.send(SERVER, A, number);
        net.run(1);
    }
    net.run(20);
    assert_eq!(net.got(A, SERVER), (0..20).collect::<Vec<_>>());
    assert_eq!(net.got(SERVER, A), (0..20).collect::<Vec<_>>());
    assert_eq!(net.got(B, SERVER), (0..210).collect::<Vec<_>>());
    assert_eq!(net.session(A).since, before.since);
}

#[test]
fn one_peer_replaced_disturbs_no_other() {
    let mut net = Net::up();
    let before = [A, B].map(|client| net.session(client).since);
    let index = net.index(B);
    for number in 0..500 {
        if number == 100 {
            net.ends[A] = start(A, 77, net.now);
        }
        net.send(B, SERVER, number);
        net.send(SERVER, B, number);
        net.run(10);
    }
    net.run(20);
    let replaced = Event::PeerReplaced { peer: Some(public(A)) };
    assert_eq!(net.events.iter().filter(|event| **event == replaced).count(), 1);
    assert!(net.session(A).since > before[0], "it is another session");
    assert_eq!(net.indices[A].len(), 2);
    assert_eq!((net.session(B).since, net.index(B)), (before[1], index));
    assert_eq!(net.got(B, SERVER), (0..500).collect::<Vec<_>>());
    assert_eq!(net.got(SERVER, B), (0..500).collect::<Vec<_>>());
    let of_b = |event: &&Event| matches!(event, Event::LinkDown { .. } | Event::SessionDown);
    assert_eq!(net.events.iter().find(of_b), None, "the link is used all the time");
    net.send(A, SERVER, 1);
    net.send(SERVER, A, 2);
    net.run(20);
    assert_eq!((net.got(A, SERVER), net.got(SERVER, A)), (vec![1], vec![2]));
}
