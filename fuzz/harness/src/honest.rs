//! Two sessions and an attacker between them who does not know the key: he drops, delays, repeats,
//! redirects and changes what they send. Whatever he does, what comes out of one end went into the
//! other, once; and when he stops, the links come up again.
//!
//! Data is encrypted here: with `cleartext_data` the attacker may say what he likes.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use mlvpn_proto::crypto::v1::Key;
use mlvpn_proto::{
    Duration, Endpoint, EndpointConfig, Instant, LinkChange, LinkConfig, LinkIndex, LinkTerms,
    ReorderPolicy, Role, TransmitBuf, Versions,
};

use crate::input::Input;

/// Most operations of one program.
const MAX_OPERATIONS: usize = 100;
const LINKS: usize = 2;
/// Datagrams that the attacker remembers.
const RECORDED: usize = 256;
/// One in so many programs ends with the attacker going away, which takes longer to run.
const HEALED: u8 = 32;
/// Within this time after the attacker stopped, all links are up: the timeout of a link, the
/// silence after which a new process may take over, and a few requests.
const HEALING: Duration = Duration::from_secs(15);
const MTU: u16 = 1_400;
const CLIENT: usize = 0;
const SERVER: usize = 1;

/// Runs the target.
///
/// # Panics
/// When a session gives out a packet that its peer was not given, or one twice; or when a link
/// stays down although nobody interferes any more.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut world = World::new(input.byte());
    let heals = input.byte().is_multiple_of(HEALED);
    for _ in 0..MAX_OPERATIONS {
        if input.is_empty() {
            break;
        }
        world.operate(&mut input);
        world.drain();
    }
    if heals {
        world.heal();
    }
}

/// A datagram on its way.
#[derive(Clone, Debug)]
struct Flying {
    /// The end that receives it.
    to_end: usize,
    link: LinkIndex,
    from: SocketAddr,
    bytes: Vec<u8>,
}

struct World {
    ends: [End; 2],
    now: Instant,
    flying: VecDeque<Flying>,
    recorded: VecDeque<Flying>,
    client_port: u16,
    /// How many processes there have been: each needs a seed of its own.
    processes: u16,
    next_id: u32,
    out: TransmitBuf,
}

/// A session and what it may give out.
struct End {
    session: Endpoint,
    role: Role,
    reorder: ReorderPolicy,
    /// Ids of packets that the other end was given and that have not come out here.
    expected: BTreeSet<u32>,
}

impl End {
    fn new(role: Role, reorder: ReorderPolicy, process: u16, now: Instant) -> Self {
        let config = EndpointConfig {
            versions: Versions::V1,
            v1_key: Some(Key::from_password(b"fuzz")),
            reorder,
            ..EndpointConfig::new(role, MTU)
        };
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&process.to_be_bytes());
        let mut session = Endpoint::new(config, seed);
        for slot in 0..LINKS as u16 {
            let link = session.add_link(link_config(role, slot), now);
            session.handle_link_change(link, LinkChange::Opened, now);
        }
        Self { session, role, reorder, expected: BTreeSet::new() }
    }

    /// Another process takes its place. It knows nothing, so that an old conversation can be
    /// played to it again: all that was ever sent to it is expected.
    fn restart(&mut self, ever_sent: u32, process: u16, now: Instant) {
        *self = Self::new(self.role, self.reorder, process, now);
        self.expected = (0..ever_sent).collect();
    }
}

impl World {
    fn new(flags: u8) -> Self {
        let now = Instant::from_secs(60);
        let reorder = [ReorderPolicy::Adaptive, ReorderPolicy::Off, ReorderPolicy::Packets(4)]
            [usize::from(flags) % 3];
        Self {
            ends: [
                End::new(Role::Client, reorder, 1, now),
                End::new(Role::Server, reorder, 2, now),
            ],
            now,
            flying: VecDeque::new(),
            recorded: VecDeque::new(),
            client_port: 40_000,
            processes: 2,
            next_id: 0,
            out: TransmitBuf::new(),
        }
    }

    fn operate(&mut self, input: &mut Input<'_>) {
        match input.below(16) {
            0..4 => self.send(input),
            4..7 => {
                let count = input.below(64);
                self.carry(count);
            }
            7 => {
                if let Some(late) = self.pick_flying(input) {
                    self.deliver(late);
                }
            }
            8 => drop(self.pick_flying(input)),
            9 | 10 => self.attack(input),
            11 | 12 => {
                let unit = [100, 1_000, 10_000, 100_000][input.below(4)];
                self.sleep(Duration::from_micros(unit * u64::from(input.byte())));
            }
            13 => self.wake_next(),
            14 => match input.below(8) {
                0 => self.restart(input),
                1..4 => self.client_port = 40_000 + input.word() % 8,
                _ => self.reopen(input),
            },
            _ => self.carry(usize::MAX),
        }
    }

    /// Gives an end packets for the other one.
    fn send(&mut self, input: &mut Input<'_>) {
        let end = input.below(2);
        let len = usize::from(input.word()) % usize::from(MTU) + 1;
        for _ in 0..=input.below(8) {
            let id = self.next_id;
            self.next_id += 1;
            self.ends[1 - end].expected.insert(id);
            self.ends[end].session.handle_ip_packet(&packet(id, len.max(28)), self.now);
        }
    }

    fn carry(&mut self, count: usize) {
        for _ in 0..count {
            let Some(next) = self.flying.pop_front() else { break };
            self.deliver(next);
        }
    }

    fn deliver(&mut self, mut datagram: Flying) {
        let end = &mut self.ends[datagram.to_end].session;
        end.handle_datagram(datagram.link, datagram.from, &mut datagram.bytes, self.now);
    }

    fn pick_flying(&mut self, input: &mut Input<'_>) -> Option<Flying> {
        let at = usize::from(input.word()) % self.flying.len().max(1);
        self.flying.remove(at)
    }

    /// Plays something that was recorded: again, elsewhere, to the other end, or changed.
    fn attack(&mut self, input: &mut Input<'_>) {
        let at = usize::from(input.word()) % self.recorded.len().max(1);
        let Some(mut datagram) = self.recorded.get(at).cloned() else { return };
        let how = input.byte();
        if how & 1 != 0 {
            datagram.from = SocketAddr::from(([203, 0, 113, 66], 666));
        }
        if how & 2 != 0 {
            datagram.link = LinkIndex(1 - datagram.link.0);
        }
        if how & 12 == 12 {
            datagram.to_end = 1 - datagram.to_end;
        }
        if how & 16 != 0 {
            // The header as well: it is not authenticated.
            for _ in 0..=input.below(3) {
                let at = usize::from(input.word()) % datagram.bytes.len();
                datagram.bytes[at] ^= input.byte();
            }
        }
        self.deliver(datagram);
    }

    fn restart(&mut self, input: &mut Input<'_>) {
        let end = input.below(2);
        self.processes += 1;
        self.ends[end].restart(self.next_id, self.processes, self.now);
    }

    fn reopen(&mut self, input: &mut Input<'_>) {
        let link = LinkIndex(input.below(LINKS) as u16);
        let session = &mut self.ends[input.below(2)].session;
        session.handle_link_change(link, LinkChange::Closed, self.now);
        session.handle_link_change(link, LinkChange::Opened, self.now);
    }

    fn sleep(&mut self, time: Duration) {
        self.now += time;
        for end in &mut self.ends {
            end.session.handle_timeout(self.now);
            let next = end.session.poll_timeout();
            assert!(next.is_none_or(|(at, _)| at > self.now), "{next:?} is past");
        }
    }

    fn wake_next(&mut self) {
        let next = self.ends.iter().filter_map(|end| end.session.poll_timeout()).map(|(at, _)| at);
        let wait = next.min().map_or(Duration::ZERO, |at| at.saturating_since(self.now));
        self.sleep(wait);
    }

    /// Takes out everything that came of an operation.
    fn drain(&mut self) {
        for at in [CLIENT, SERVER] {
            let end = &mut self.ends[at];
            while let Some(transmit) = end.session.poll_transmit(&mut self.out, self.now) {
                let is_lost = at == SERVER && transmit.to.port() != self.client_port;
                let port = if at == CLIENT { self.client_port } else { 5_080 };
                for bytes in self.out.datagrams().map(<[u8]>::to_vec) {
                    let from = SocketAddr::from(([192, 0, 2, 1 + at as u8], port));
                    let datagram = Flying { to_end: 1 - at, link: transmit.link, from, bytes };
                    if self.recorded.len() == RECORDED {
                        self.recorded.pop_front();
                    }
                    self.recorded.push_back(datagram.clone());
                    if !is_lost {
                        self.flying.push_back(datagram);
                    }
                }
            }
            while let Some(packet) = end.session.poll_ip_packet() {
                check(packet, &mut end.expected);
            }
            while end.session.poll_event().is_some() {}
        }
    }

    /// The attacker goes away and the network carries everything.
    fn heal(&mut self) {
        let end = self.now + HEALING;
        while self.now < end {
            self.drain();
            while !self.flying.is_empty() {
                self.carry(usize::MAX);
                self.drain();
            }
            self.wake_next();
        }
        for at in [CLIENT, SERVER] {
            let stats = self.ends[at].session.stats(self.now);
            assert!(stats.links.iter().all(|link| link.is_used), "end {at}: {stats:#?}");
            assert_eq!(stats.resequencer.held, 0, "end {at} still holds packets");
        }
    }
}

/// What came out went in, byte for byte, and has not come out before.
fn check(bytes: &[u8], expected: &mut BTreeSet<u32>) {
    let id = bytes.get(24..28).and_then(|field| field.try_into().ok()).map(u32::from_be_bytes);
    let Some(id) = id.filter(|&id| bytes == packet(id, bytes.len())) else {
        panic!("nobody sent {bytes:x?}");
    };
    assert!(expected.remove(&id), "packet {id} came out twice, or at the end that sent it");
}

/// A well-formed IPv4 packet of `len` bytes that carries `id`.
fn packet(id: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    bytes[6] = 0x40;
    bytes[8..10].copy_from_slice(&[64, 17]);
    bytes[12..20].copy_from_slice(&[10, 44, 43, 1, 10, 44, 43, 2]);
    bytes[24..28].copy_from_slice(&id.to_be_bytes());
    bytes
}

fn link_config(role: Role, slot: u16) -> LinkConfig {
    LinkConfig {
        name: format!("link{slot}"),
        weight: None,
        timeout: Duration::from_secs(5),
        loss_tolerance: None,
        latency_tolerance: None,
        fallback_only: false,
        terms: LinkTerms::default(),
        remote: (role == Role::Client).then(|| SocketAddr::from(([192, 0, 2, 2], 5_080))),
    }
}
