//! One session whose peer knows the key and means ill: any datagrams, sealed or not, from any
//! address, at any time, while the owner of the session changes what can be changed.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use mlvpn_proto::crypto::v1::{Key, TAG_LEN};
use mlvpn_proto::filter::Filter;
use mlvpn_proto::id::{DataSeq, FlowId, PacketNumber};
use mlvpn_proto::resequencer::MAX_PACKETS;
use mlvpn_proto::wire::v1::{Datagram, HEADER_LEN, Header, Kind, MAX_DATAGRAM};
use mlvpn_proto::{
    Duration, Endpoint, EndpointConfig, FilterRule, Instant, LinkChange, LinkConfig, LinkIndex,
    LinkTerms, PacketKind, ReorderPolicy, Role, TransmitBuf, Treatment, Versions,
};

use crate::events::EventOracle;
use crate::input::Input;

/// Most operations of one program.
const MAX_OPERATIONS: usize = 100;
/// Most links that a program adds.
const MAX_LINKS: usize = 6;
/// Most datagrams that may wait for one link: its data and its control queue.
const MAX_QUEUED: usize = 1_024 + 8;
const KINDS: [Kind; 5] = [Kind::Auth, Kind::AuthOk, Kind::Keepalive, Kind::Data, Kind::Disconnect];

/// Runs the target.
///
/// # Panics
/// When the session holds more than it may, says something that does not follow from what it said
/// before, sends what no peer could read, or waits for a time that is past.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut run = Run::new(&mut input);
    for _ in 0..MAX_OPERATIONS {
        if input.is_empty() {
            break;
        }
        run.operate(&mut input);
        run.drain();
    }
}

struct Run {
    session: Endpoint,
    key: Key,
    is_clear: bool,
    now: Instant,
    /// Links that exist, and whether their sockets are open.
    links: Vec<LinkIndex>,
    removed: BTreeSet<LinkIndex>,
    events: EventOracle,
    /// The last datagram that the session sent.
    last_sent: Vec<u8>,
    next_number: u64,
    out: TransmitBuf,
}

impl Run {
    fn new(input: &mut Input<'_>) -> Self {
        let flags = input.byte();
        let key = Key::from_password(b"fuzz");
        let is_clear = flags & 2 != 0;
        let role = if flags & 1 == 0 { Role::Client } else { Role::Server };
        let config = EndpointConfig {
            versions: Versions::V1,
            inner: if flags & 4 == 0 { PacketKind::Ip } else { PacketKind::Ethernet },
            v1_key: Some(key.clone()),
            cleartext_data: is_clear,
            reorder: reorder(flags >> 3),
            ..EndpointConfig::new(role, 1_400)
        };
        let now = Instant::from_secs(60);
        let mut run = Self {
            session: Endpoint::new(config, [flags; 32]),
            key,
            is_clear,
            now,
            links: Vec::new(),
            removed: BTreeSet::new(),
            events: EventOracle::default(),
            last_sent: Vec::new(),
            next_number: 0,
            out: TransmitBuf::new(),
        };
        run.add_link(input);
        run.add_link(input);
        run
    }

    fn operate(&mut self, input: &mut Input<'_>) {
        let now = self.now;
        match input.below(16) {
            0..4 => self.sealed_datagram(input),
            4 => {
                let len = usize::from(input.word()) % (MAX_DATAGRAM + 20);
                let mut bytes = input.bytes(len).to_vec();
                self.deliver(input, &mut bytes);
            }
            5 => {
                let mut bytes = self.last_sent.clone();
                if input.coin() && !bytes.is_empty() {
                    let at = usize::from(input.word()) % bytes.len();
                    bytes[at] ^= input.byte();
                }
                self.deliver(input, &mut bytes);
            }
            6..9 => self.ip_packet(input),
            9 => self.sleep(input),
            10 => {
                if let Some((at, _)) = self.session.poll_timeout() {
                    self.now = now.max(at);
                }
                self.wake();
            }
            11 | 12 => self.change_link(input),
            13 => self.reconfigure(input),
            14 => match input.below(8) {
                0 => self.session.close(now),
                1..3 => self.remove_link(input),
                _ => self.add_link(input),
            },
            _ => self.wake(),
        }
    }

    /// A datagram that opens, with any fields.
    fn sealed_datagram(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let number = match choice & 0x30 {
            0x00 => input.number(),
            0x10 => self.next_number.saturating_sub(u64::from(input.byte())),
            _ => self.next_number.saturating_add(u64::from(choice >> 6)),
        };
        self.next_number = number.saturating_add(1);
        let header = Header {
            kind: KINDS[usize::from(choice & 0xf) % KINDS.len()],
            reorder: choice & 0xc0 != 0xc0,
            timestamp: if input.coin() { input.word() } else { self.now.as_millis() as u16 },
            timestamp_reply: input.word(),
            flow_id: FlowId(input.below(24) as u32),
            packet_number: PacketNumber(number),
            data_seq: DataSeq(match input.below(4) {
                0 => input.number(),
                1 => u64::from(input.word()),
                _ => number,
            }),
        };
        let len = usize::from(input.word()) % (MAX_DATAGRAM - HEADER_LEN - TAG_LEN);
        let mut plain = vec![0x45; len];
        let genuine = input.bytes(len.min(16));
        plain[..genuine.len()].copy_from_slice(genuine);
        let is_sealed = !(self.is_clear && header.kind == Kind::Data);
        let payload = if is_sealed { seal(&self.key, &header, &plain) } else { plain };
        let mut bytes = header.encode(payload.len()).to_vec();
        bytes.extend_from_slice(&payload);
        self.deliver(input, &mut bytes);
    }

    fn deliver(&mut self, input: &mut Input<'_>, bytes: &mut [u8]) {
        let from = SocketAddr::from(([192, 0, 2, input.byte() & 3], 5080));
        let link = self.any_link(input);
        self.session.handle_datagram(link, from, bytes, self.now);
    }

    fn ip_packet(&mut self, input: &mut Input<'_>) {
        let len = usize::from(input.word()) % 3_000;
        let copies = if input.below(8) == 0 { 1_100 } else { 1 };
        let mut packet = vec![0; len];
        packet.iter_mut().take(1).for_each(|first| *first = 0x45);
        if let Some(field) = packet.get_mut(2..4) {
            field.copy_from_slice(&(len as u16).to_be_bytes());
        }
        let genuine = input.bytes(len.min(24));
        packet[..genuine.len()].copy_from_slice(genuine);
        for _ in 0..copies {
            self.session.handle_ip_packet(&packet, self.now);
        }
    }

    fn sleep(&mut self, input: &mut Input<'_>) {
        let unit = [10, 1_000, 1_000_000, 60_000_000][input.below(4)];
        self.now += Duration::from_micros(unit * u64::from(input.byte()));
        self.wake();
    }

    fn wake(&mut self) {
        self.session.handle_timeout(self.now);
        let next = self.session.poll_timeout();
        assert!(next.is_none_or(|(at, _)| at > self.now), "{next:?} is not after {:?}", self.now);
    }

    fn add_link(&mut self, input: &mut Input<'_>) {
        if self.links.len() >= MAX_LINKS {
            return;
        }
        let config = link_config(input);
        let link = self.session.add_link(config, self.now);
        assert!(!self.links.contains(&link) || self.removed.contains(&link), "{link} is in use");
        self.removed.remove(&link);
        self.links.retain(|&other| other != link);
        self.links.push(link);
        self.session.handle_link_change(link, LinkChange::Opened, self.now);
    }

    fn remove_link(&mut self, input: &mut Input<'_>) {
        let link = self.any_link(input);
        self.session.remove_link(link, self.now);
        self.removed.insert(link);
    }

    fn change_link(&mut self, input: &mut Input<'_>) {
        let link = self.any_link(input);
        let change =
            [LinkChange::Opened, LinkChange::Closed, LinkChange::Blocked, LinkChange::Unblocked]
                [input.below(4)];
        // The owner closed the socket of a link that it removed.
        if !self.removed.contains(&link) || change == LinkChange::Unblocked {
            self.session.handle_link_change(link, change, self.now);
        }
    }

    fn reconfigure(&mut self, input: &mut Input<'_>) {
        match input.below(4) {
            0 => self.session.set_mtu(input.word()),
            1 => self.session.set_reorder(reorder(input.byte())),
            2 => {
                let texts = ["udp", "tcp port 80", "len > 100", "ip[0] = 0x45"];
                let filter = Filter::parse(texts[input.below(4)]).expect("a valid filter");
                let link = name(input.byte());
                let treatment = Treatment::Link(link);
                self.session.set_filters(vec![FilterRule { filter, treatment }]);
            }
            _ => {
                let link = self.any_link(input);
                let config = link_config(input);
                self.session.reconfigure_link(link, config, self.now);
            }
        }
    }

    /// A link of the session, rarely one that there never was.
    fn any_link(&self, input: &mut Input<'_>) -> LinkIndex {
        let at = input.byte();
        if at == 0xff {
            return LinkIndex(u16::from(at));
        }
        self.links[usize::from(at) % self.links.len()]
    }

    /// Takes out everything that came of an operation, and looks at it.
    fn drain(&mut self) {
        let mut sent = 0;
        while let Some(transmit) = self.session.poll_transmit(&mut self.out, self.now) {
            assert_eq!(transmit.len, self.out.bytes().len());
            assert_eq!(transmit.segments(), self.out.datagrams().count());
            sent += transmit.segments();
            assert!(sent <= MAX_LINKS * MAX_QUEUED, "{sent} datagrams were waiting");
            for datagram in self.out.datagrams() {
                check_sent(&self.key, self.is_clear, datagram);
            }
            self.last_sent = self.out.datagrams().last().unwrap_or_default().to_vec();
        }
        while let Some(packet) = self.session.poll_ip_packet() {
            assert!(!packet.is_empty() && packet.len() <= MAX_DATAGRAM);
        }
        while let Some(event) = self.session.poll_event() {
            self.events.follow(event);
        }
        let stats = self.session.stats(self.now);
        assert!(stats.resequencer.held <= MAX_PACKETS + 1, "{:?}", stats.resequencer);
        if stats.resequencer.held > 0 {
            assert!(self.session.poll_timeout().is_some(), "packets are held for ever");
        }
    }
}

/// What the session sends is a datagram that its peer can read.
fn check_sent(key: &Key, is_clear: bool, bytes: &[u8]) {
    let datagram = Datagram::parse(bytes).expect("a session sends valid datagrams");
    let header = datagram.header();
    if is_clear && header.kind == Kind::Data {
        return;
    }
    let mut plain = Vec::new();
    key.open(header.flow_id, header.packet_number, datagram.payload(), &mut plain)
        .expect("a session seals with its key");
    let expected: &[u8] = match header.kind {
        Kind::Auth => b"AU",
        Kind::AuthOk => b"OK",
        Kind::Keepalive | Kind::Disconnect => b"",
        Kind::Data => return,
    };
    assert_eq!(plain, expected);
}

fn seal(key: &Key, header: &Header, plain: &[u8]) -> Vec<u8> {
    let mut sealed = vec![0; plain.len() + TAG_LEN];
    key.seal(header.flow_id, header.packet_number, plain, &mut sealed);
    sealed
}

fn reorder(choice: u8) -> ReorderPolicy {
    match choice & 3 {
        0 => ReorderPolicy::Off,
        1 => ReorderPolicy::Packets(u32::from(choice >> 2)),
        _ => ReorderPolicy::Adaptive,
    }
}

fn name(choice: u8) -> String {
    format!("link{}", choice & 3)
}

fn link_config(input: &mut Input<'_>) -> LinkConfig {
    let choice = input.byte();
    LinkConfig {
        name: name(choice),
        weight: (choice & 4 != 0).then(|| input.number()),
        timeout: Duration::from_secs(u64::from(choice >> 5)),
        loss_tolerance: (choice & 8 != 0).then_some(choice >> 4),
        latency_tolerance: (choice & 8 != 0).then(|| Duration::from_millis(200)),
        fallback_only: choice & 16 != 0,
        terms: LinkTerms { is_metered: choice & 32 != 0, ..LinkTerms::default() },
        remote: input.coin().then(|| SocketAddr::from(([192, 0, 2, choice & 3], 5080))),
    }
}
