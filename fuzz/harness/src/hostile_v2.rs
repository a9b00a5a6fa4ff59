//! An endpoint of version 2 whose peer has the keys and means ill: sealed packets with any frames,
//! handshakes, and bytes of any kind, from any address, at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use mlvpn_proto::crypto::keypair::PrivateKey;
use mlvpn_proto::crypto::password::PasswordKey;
use mlvpn_proto::crypto::v2::{Cipher, PacketCounter};
use mlvpn_proto::epochs::Epoch;
use mlvpn_proto::handshake::v2::{
    Answer, Credentials, ExpectResponse, Initiation, LatestTimes, Offer, PeerKeys, Response,
    SessionId,
};
use mlvpn_proto::id::{PacketNumber, PathId, SessionIndex};
use mlvpn_proto::lanes::{MAX_BYTES, MAX_PACKETS};
use mlvpn_proto::stats::Footprint;
use mlvpn_proto::wire::v2::{DatagramKind, HEADER_LEN, TAG_LEN};
use mlvpn_proto::{
    Duration, Endpoint, EndpointConfig, Instant, LinkChange, LinkConfig, LinkIndex, LinkTerms,
    PacketKind, Policy, Role, TransmitBuf, Versions,
};
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::events::EventOracle;
use crate::input::Input;

/// Most operations of one program.
const MAX_OPERATIONS: usize = 60;
const LINKS: u16 = 3;
/// Most datagrams that one operation brings about: what waits in queues.
const MAX_SENT: usize = 20_000;
/// Timers may bring about others that are due at once, but not for ever.
const MAX_ROUNDS: usize = 100;
/// Types of frames, and one that there is not.
const TYPES: [u8; 16] = [0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x40, 0x0C, TERMS];
const TERMS: u8 = 0x41;
/// What the endpoint keeps at the most: each operation may bring about a handshake.
const MOST: Footprint =
    Footprint { indices: 4 * MAX_OPERATIONS, epochs: MAX_OPERATIONS + 5, ..Endpoint::MOST_KEPT };

/// Runs the target.
///
/// # Panics
/// When the endpoint holds or sends more than it may, is due in the past for ever, or says what does
/// not follow from what it said before.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut run = Run::new(input.byte());
    run.wake();
    for _ in 0..MAX_OPERATIONS {
        if input.is_empty() {
            break;
        }
        run.operate(&mut input);
        run.drain();
    }
}

struct Run {
    endpoint: Endpoint,
    role: Role,
    /// Those of the peer.
    credentials: Credentials,
    now: Instant,
    rng: ChaCha12Rng,
    /// What the peer has: keys, and numbers for its packets.
    epoch: Option<Epoch>,
    numbers: BTreeMap<PathId, PacketCounter>,
    expect: Option<ExpectResponse>,
    /// What the endpoint sent last of each kind that begins with this byte.
    sent: BTreeMap<u8, Vec<u8>>,
    removed: BTreeSet<LinkIndex>,
    events: EventOracle,
    /// Bytes from and to each address, and where handshakes came from.
    traffic: BTreeMap<SocketAddr, (usize, usize)>,
    greeted: BTreeSet<SocketAddr>,
    out: TransmitBuf,
}

impl Run {
    fn new(flags: u8) -> Self {
        let role = if flags & 1 == 0 { Role::Client } else { Role::Server };
        let (ours, credentials) = if flags & 8 == 0 { passwords() } else { key_pairs() };
        let config = EndpointConfig {
            versions: Versions::V2,
            inner: if flags & 2 == 0 { PacketKind::Ip } else { PacketKind::Ethernet },
            credentials: Some(ours),
            cleartext_data: flags & 4 != 0,
            policy: Policy::ALL.get(usize::from(flags >> 4 & 7)).copied(),
            unix_micros: 1,
            software: "fuzzed".to_owned(),
            ..EndpointConfig::new(role, 1_400)
        };
        let now = Instant::from_secs(60);
        let mut endpoint = Endpoint::new(config, [flags; 32]);
        for slot in 0..LINKS {
            let link = endpoint.add_link(link_config(role, slot, flags), now);
            endpoint.handle_link_change(link, LinkChange::Opened, now);
        }
        Self {
            endpoint,
            role,
            credentials,
            now,
            rng: ChaCha12Rng::from_seed([9; 32]),
            epoch: None,
            numbers: BTreeMap::new(),
            expect: None,
            sent: BTreeMap::new(),
            removed: BTreeSet::new(),
            events: EventOracle::default(),
            traffic: BTreeMap::new(),
            greeted: BTreeSet::new(),
            out: TransmitBuf::new(),
        }
    }

    fn operate(&mut self, input: &mut Input<'_>) {
        match input.below(16) {
            0..6 => self.sealed_packet(input),
            6 | 7 => self.shake_hands(input),
            8 => {
                let len = usize::from(input.word()) % 1_600;
                let bytes = input.bytes(len).to_vec();
                self.deliver(input, bytes);
            }
            9 => self.repeat(input),
            10 => self.ip_packets(input),
            11 => {
                let unit = [10, 1_000, 1_000_000, 60_000_000][input.below(4)];
                self.now += Duration::from_micros(unit * u64::from(input.byte()));
                self.wake();
            }
            12 | 13 => {
                if let Some((at, _)) = self.endpoint.poll_timeout() {
                    self.now = self.now.max(at);
                }
                self.wake();
            }
            14 => self.change_link(input),
            _ => match input.below(16) {
                0 => self.endpoint.close(self.now),
                _ => self.wake(),
            },
        }
    }

    /// Begins a session or an epoch of it, as the other end does.
    fn shake_hands(&mut self, input: &mut Input<'_>) {
        match self.role {
            Role::Server => self.initiate(input),
            Role::Client => self.respond(input),
        }
    }

    fn initiate(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let offer = Offer {
            index: SessionIndex(self.rng.next_u32() | 1),
            path: PathId::from_low_bits(choice),
            session_id: SessionId([choice >> 6; 8]),
            ciphers: Cipher::ALL.to_vec(),
            wants_cleartext: choice & 0x10 != 0,
            ethernet: choice & 0x20 != 0,
            time_micros: self.now.as_micros(),
        };
        let started = ExpectResponse::start(&self.credentials, offer, &mut self.rng);
        let (expect, initiation) = started.expect("the credentials are good for initiations");
        self.expect = Some(expect);
        let from = self.deliver(input, initiation);
        self.greeted.insert(from);
        self.drain();
        let response = self.sent.get(&0xC2).and_then(|bytes| Response::parse(bytes).ok());
        let agreed = self.expect.as_mut().zip(response);
        if let Some(Ok(established)) = agreed.map(|(expect, response)| expect.handle(&response)) {
            self.begin_epoch(Epoch::new(&established, self.now), established.is_resumed);
        }
    }

    fn respond(&mut self, input: &mut Input<'_>) {
        let Some(bytes) = self.sent.get(&0xC1).cloned() else { return };
        let Ok(initiation) = Initiation::parse(&bytes, &self.credentials) else { return };
        let opened = initiation.open(&self.credentials, &mut LatestTimes::new(), &mut self.rng);
        let accepted = opened.expect("the endpoint has the credentials");
        let choice = input.byte();
        let answer = Answer {
            index: SessionIndex(self.rng.next_u32() | 1),
            is_resumed: choice & 1 != 0,
            wants_cleartext: choice & 2 != 0,
            ethernet: accepted.session_id().0[0] & 1 == choice & 1,
            has_fast_aes: choice & 4 != 0,
        };
        let Ok((response, established)) = accepted.respond(&answer) else { return };
        self.deliver(input, response);
        self.begin_epoch(Epoch::new(&established, self.now), answer.is_resumed);
    }

    fn begin_epoch(&mut self, epoch: Epoch, is_resumed: bool) {
        self.epoch = Some(epoch);
        if !is_resumed {
            self.numbers.clear();
        }
    }

    /// A packet that opens, with any frames.
    fn sealed_packet(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let path = PathId::from_low_bits(choice);
        let numbers = self.numbers.entry(path).or_insert_with(|| PacketCounter::new(path));
        let next = numbers.largest().map_or(0, |number| number.0 + 1);
        if choice & 0xE0 == 0xE0 {
            numbers.advance_to(PacketNumber(next + u64::from(input.word())));
        }
        let mut body = Vec::new();
        for _ in 0..=input.below(4) {
            push_frame(input, &mut body);
        }
        let Some((unused, epoch)) = numbers.draw().zip(self.epoch.as_ref()) else { return };
        let mut datagram = vec![0; HEADER_LEN];
        datagram.extend_from_slice(&body);
        datagram.resize(datagram.len() + TAG_LEN, 0);
        if epoch.seal(unused, choice & 0x10 != 0, &mut datagram).is_ok() {
            self.deliver(input, datagram);
        }
    }

    /// Something that the endpoint sent comes back, changed or not.
    fn repeat(&mut self, input: &mut Input<'_>) {
        let at = input.below(self.sent.len());
        let Some(mut bytes) = self.sent.values().nth(at).cloned() else { return };
        if input.coin() {
            let at = usize::from(input.word()) % bytes.len();
            bytes[at] ^= input.byte();
        }
        self.deliver(input, bytes);
    }

    fn deliver(&mut self, input: &mut Input<'_>, mut bytes: Vec<u8>) -> SocketAddr {
        let choice = input.byte();
        let from = SocketAddr::from(([192, 0, 2, choice & 3], 5_080));
        let link = LinkIndex(u16::from(choice >> 2) % (LINKS + 1));
        self.traffic.entry(from).or_default().0 += bytes.len();
        self.endpoint.handle_datagram(link, from, &mut bytes, self.now);
        from
    }

    fn ip_packets(&mut self, input: &mut Input<'_>) {
        let len = usize::from(input.word()) % 1_600;
        let copies = if input.below(8) == 0 { 300 } else { 1 };
        let mut packet = ip_packet(len.max(20));
        let genuine = input.bytes(len.min(28));
        packet[20..].iter_mut().zip(genuine).for_each(|(to, from)| *to = *from);
        (0..copies).for_each(|_| self.endpoint.handle_ip_packet(&packet, self.now));
    }

    fn change_link(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let link = LinkIndex(u16::from(choice) % LINKS);
        let is_there = !self.removed.contains(&link);
        match choice >> 5 {
            0 if is_there => {
                self.endpoint.remove_link(link, self.now);
                self.removed.insert(link);
            }
            0 | 1 => {
                if let Some(&slot) = self.removed.iter().next() {
                    let config = link_config(self.role, slot.0, choice);
                    let link = self.endpoint.add_link(config, self.now);
                    assert!(self.removed.remove(&link), "{link} is in use");
                    self.endpoint.handle_link_change(link, LinkChange::Opened, self.now);
                }
            }
            2 if is_there => {
                let config = link_config(self.role, link.0, choice);
                self.endpoint.reconfigure_link(link, config, self.now);
            }
            other if is_there => {
                use LinkChange::{Blocked, Closed, Opened, Unblocked};
                let change = [Opened, Closed, Blocked, Unblocked][usize::from(other) % 4];
                self.endpoint.handle_link_change(link, change, self.now);
            }
            _ => {}
        }
    }

    /// Everything that is due is done, and then nothing is.
    fn wake(&mut self) {
        for _ in 0..MAX_ROUNDS {
            self.endpoint.handle_timeout(self.now);
            self.drain();
            if self.endpoint.poll_timeout().is_none_or(|(at, _)| at > self.now) {
                return;
            }
        }
        panic!("{:?} is due at {:?} for ever", self.endpoint.poll_timeout(), self.now);
    }

    /// Takes out everything that came of an operation, and looks at it.
    fn drain(&mut self) {
        let mut sent = 0;
        while let Some(transmit) = self.endpoint.poll_transmit(&mut self.out, self.now) {
            assert_eq!(transmit.len, self.out.bytes().len());
            sent += transmit.segments();
            assert!(sent <= MAX_SENT, "{sent} datagrams were waiting");
            for datagram in self.out.datagrams() {
                let kind = DatagramKind::of(datagram);
                assert!(
                    !matches!(kind, DatagramKind::Reserved | DatagramKind::V1),
                    "{datagram:x?}"
                );
                self.sent.insert(datagram[0], datagram.to_vec());
            }
            self.traffic.entry(transmit.to).or_default().1 += transmit.len;
            self.check_amplification(transmit.to);
        }
        while let Some(packet) = self.endpoint.poll_ip_packet() {
            assert!(!packet.is_empty());
        }
        while let Some(event) = self.endpoint.poll_event() {
            self.events.follow(event);
        }
        self.check_memory();
    }

    /// Nobody gets more than three times what came from there before it is known that he wants it. The
    /// peer does not answer challenges, so that only handshakes tell.
    fn check_amplification(&self, to: SocketAddr) {
        let (received, sent) = self.traffic[&to];
        let is_limited = self.role == Role::Server && !self.greeted.contains(&to);
        assert!(!is_limited || sent <= 3 * received, "{sent} bytes for {received} to {to}");
    }

    fn check_memory(&self) {
        let stats = self.endpoint.stats(self.now);
        let held: usize = stats.peers.iter().map(|peer| peer.lanes.held_packets).sum();
        let bytes = stats.peers.iter().map(|peer| peer.lanes.held_bytes).sum::<usize>();
        assert!(stats.peers.len() <= 1, "one peer has one session");
        assert!(held <= MAX_PACKETS && bytes <= MAX_BYTES, "{:?}", stats.peers);
        assert!(held == 0 || self.endpoint.poll_timeout().is_some(), "held for ever");
        assert!(self.endpoint.pending_handshakes() <= 4_096);
        let footprint = self.endpoint.footprint();
        assert_eq!(footprint.beyond(&MOST), None, "{footprint:?}");
    }
}

/// Appends a frame of some type, whose fields are whatever comes.
fn push_frame(input: &mut Input<'_>, body: &mut Vec<u8>) {
    let choice = input.byte();
    let kind = TYPES[usize::from(choice & 0x0F) % TYPES.len()];
    body.push(kind);
    let fields = input.bytes(usize::from(choice >> 4) * 4);
    body.extend_from_slice(fields);
    match kind {
        0 => body.resize(body.len() + usize::from(input.byte()) * 4, 0),
        1 => {
            body.resize(body.len() - fields.len() + 6, 0);
            body.extend_from_slice(&ip_packet(20 + input.below(200)));
        }
        TERMS => {
            let at = body.len() - fields.len();
            body.splice(at..at, (fields.len() as u16).to_be_bytes());
        }
        _ => {}
    }
}

fn ip_packet(len: usize) -> Vec<u8> {
    let mut packet = vec![0; len];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    packet
}

/// Those of the endpoint, and of its peer.
fn passwords() -> (Credentials, Credentials) {
    let password = || Credentials::Password(PasswordKey::take(&mut [7; 32]));
    (password(), password())
}

fn key_pairs() -> (Credentials, Credentials) {
    let key = |byte| PrivateKey::take(&mut [byte; 32]);
    let credentials = |own, other| {
        let public = key(other).public_key();
        let peer = PeerKeys { name: "peer".into(), public, preshared: None };
        Credentials::Keys { private: key(own), peers: vec![peer] }
    };
    (credentials(3, 4), credentials(4, 3))
}

fn link_config(role: Role, slot: u16, choice: u8) -> LinkConfig {
    LinkConfig {
        name: format!("link{slot}"),
        weight: None,
        timeout: Duration::from_secs(5),
        loss_tolerance: None,
        latency_tolerance: None,
        fallback_only: choice & 0x80 != 0,
        terms: LinkTerms {
            max_rate: (choice & 0x20 != 0).then_some(1_000_000),
            cost: Duration::from_millis(u64::from(choice & 0x10)),
            is_metered: choice & 0x40 != 0 && slot == 0,
        },
        remote: (role == Role::Client).then(|| SocketAddr::from(([192, 0, 2, 1], 5_080))),
    }
}
