//! Two sessions and what they say to each other, without a network between them.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::SocketAddr;

use mlvpn_proto::crypto::v1::Key;
use mlvpn_proto::drop::DropReason;
use mlvpn_proto::{
    DownReason, Duration, Endpoint, EndpointConfig, Event, Instant, LinkChange, LinkConfig,
    LinkIndex, LinkTerms, PacketKind, Quality, Role, TransmitBuf, Versions,
};

const DSL1: LinkIndex = LinkIndex(0);
const DSL2: LinkIndex = LinkIndex(1);

/// A client and a server with two links, joined by wires without delay.
struct Pair {
    client: Endpoint,
    server: Endpoint,
    now: Instant,
    /// Every datagram that the client sent, for attackers.
    recorded: Vec<(LinkIndex, Vec<u8>)>,
    /// The address that the client's datagrams come from, per link.
    client_addr: [SocketAddr; 2],
    /// Links that carry nothing.
    cut: [bool; 2],
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn config(role: Role) -> EndpointConfig {
    EndpointConfig {
        versions: Versions::V1,
        v1_key: Some(Key::from_password(b"a password")),
        local_ip4: Some("10.44.43.2".parse().unwrap()),
        ..EndpointConfig::new(role, 1428)
    }
}

fn link(name: &str, remote: Option<SocketAddr>) -> LinkConfig {
    LinkConfig {
        name: name.to_owned(),
        weight: None,
        timeout: Duration::from_secs(5),
        loss_tolerance: None,
        latency_tolerance: None,
        fallback_only: false,
        terms: LinkTerms::default(),
        remote,
    }
}

fn start(config: EndpointConfig, seed: u8, now: Instant) -> Endpoint {
    let remote =
        |port: u16| (config.role == Role::Client).then(|| SocketAddr::from(([192, 0, 2, 1], port)));
    let links = [link("dsl1", remote(5080)), link("dsl2", remote(5081))];
    let mut session = Endpoint::new(config, [seed; 32]);
    for link in links {
        let index = session.add_link(link, now);
        session.handle_link_change(index, LinkChange::Opened, now);
    }
    session
}

impl Pair {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl Fn(&mut EndpointConfig)) -> Self {
        let now = Instant::from_secs(100);
        let of = |role| {
            let mut config = config(role);
            change(&mut config);
            config
        };
        Self {
            client: start(of(Role::Client), 1, now),
            server: start(of(Role::Server), 2, now),
            now,
            recorded: Vec::new(),
            client_addr: [addr("198.51.100.1:1"), addr("198.51.100.2:2")],
            cut: [false; 2],
        }
    }

    fn up() -> Self {
        let mut pair = Self::new();
        pair.advance(Duration::from_millis(10));
        assert!(pair.server.stats(pair.now).links.iter().all(|link| link.is_used));
        assert!(pair.client.stats(pair.now).links.iter().all(|link| link.is_used));
        pair
    }

    /// Lets time pass, and everything that is due in it happen.
    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            self.exchange();
            let next = [&self.client, &self.server]
                .into_iter()
                .filter_map(|session| session.poll_timeout().map(|(at, _)| at))
                .min();
            match next.filter(|&at| at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// Carries datagrams to and fro until nobody has anything to say.
    fn exchange(&mut self) {
        let mut out = TransmitBuf::new();
        let mut is_busy = true;
        while is_busy {
            is_busy = false;
            while let Some(transmit) = self.client.poll_transmit(&mut out, self.now) {
                is_busy = true;
                for datagram in out.datagrams() {
                    self.recorded.push((transmit.link, datagram.to_vec()));
                    if !self.cut[transmit.link.slot()] {
                        let from = self.client_addr[transmit.link.slot()];
                        let mut bytes = datagram.to_vec();
                        self.server.handle_datagram(transmit.link, from, &mut bytes, self.now);
                    }
                }
            }
            while let Some(transmit) = self.server.poll_transmit(&mut out, self.now) {
                is_busy = true;
                let reaches = transmit.to == self.client_addr[transmit.link.slot()];
                for datagram in out.datagrams() {
                    if reaches && !self.cut[transmit.link.slot()] {
                        let from = addr("192.0.2.1:5080");
                        let mut bytes = datagram.to_vec();
                        self.client.handle_datagram(transmit.link, from, &mut bytes, self.now);
                    }
                }
            }
        }
    }

    fn send(&mut self, packets: impl IntoIterator<Item = Vec<u8>>) {
        for packet in packets {
            self.client.handle_ip_packet(&packet, self.now);
        }
        self.exchange();
    }
}

/// A well-formed IPv4 packet of `len` bytes that carries `id`.
fn packet(id: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    bytes[6] = 0x40;
    bytes[8] = 64;
    bytes[9] = 17;
    bytes[12..16].copy_from_slice(&[10, 44, 43, 1]);
    bytes[16..20].copy_from_slice(&[10, 44, 43, 2]);
    bytes[24..28].copy_from_slice(&id.to_be_bytes());
    bytes
}

fn received(session: &mut Endpoint) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| session.poll_ip_packet().map(<[u8]>::to_vec)).collect()
}

/// The ids of packets, which say more than their bytes when a test fails.
fn ids(packets: &[Vec<u8>]) -> Vec<u32> {
    packets.iter().map(|p| u32::from_be_bytes(p[24..28].try_into().unwrap())).collect()
}

/// Checks that exactly `sent` comes out of `session`, whole and in order.
#[track_caller]
fn assert_received(session: &mut Endpoint, sent: &[Vec<u8>]) {
    let received = received(session);
    assert_eq!(ids(&received), ids(sent));
    assert!(received == sent, "packets were changed");
}

fn events(session: &mut Endpoint) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

#[test]
fn both_links_come_up_and_say_so_in_order() {
    let mut pair = Pair::new();
    pair.advance(Duration::from_millis(10));
    for session in [&mut pair.client, &mut pair.server] {
        assert_eq!(
            events(session),
            [Event::LinkUp { link: DSL1 }, Event::SessionUp, Event::LinkUp { link: DSL2 }]
        );
    }
}

#[test]
fn packets_arrive_whole_and_in_order_over_both_links() {
    let mut pair = Pair::up();
    let sent: Vec<_> = (0..1_000).map(|id| packet(id, 28 + (id as usize * 37) % 1_400)).collect();
    pair.send(sent.clone());
    assert_received(&mut pair.server, &sent);
    let stats = pair.server.stats(pair.now);
    let bytes = [stats.links[0].received.bytes as f64, stats.links[1].received.bytes as f64];
    assert!((bytes[0] / bytes[1] - 1.0).abs() < 0.05, "{bytes:?}");
    assert_eq!(stats.drops.total(), 0);
}

#[test]
fn a_silent_link_goes_down_after_its_timeout_and_the_other_carries_everything() {
    let mut pair = Pair::up();
    events(&mut pair.client);
    pair.cut[0] = true;
    pair.advance(Duration::from_secs(7));
    let down = Event::LinkDown { link: DSL1, reason: DownReason::Timeout };
    assert_eq!(events(&mut pair.client), [down]);
    let sent: Vec<_> = (0..100).map(|id| packet(id, 500)).collect();
    pair.send(sent.clone());
    assert_received(&mut pair.server, &sent);

    pair.cut[0] = false;
    pair.advance(Duration::from_secs(2));
    assert_eq!(events(&mut pair.client), [Event::LinkUp { link: DSL1 }]);
}

#[test]
fn a_replayed_conversation_changes_nothing() {
    let mut pair = Pair::up();
    pair.send((0..50).map(|id| packet(id, 100)));
    received(&mut pair.server);
    events(&mut pair.server);
    let before = pair.server.stats(pair.now);
    let attacker = addr("203.0.113.66:666");
    for (link, mut bytes) in pair.recorded.clone() {
        pair.server.handle_datagram(link, attacker, &mut bytes, pair.now);
    }
    assert_eq!(received(&mut pair.server), Vec::<Vec<u8>>::new());
    assert_eq!(events(&mut pair.server), []);
    let after = pair.server.stats(pair.now);
    assert_eq!(after.links, before.links, "no address, counter or estimate moved");
    let replayed = after.drops.of(DropReason::Replayed) - before.drops.of(DropReason::Replayed);
    assert_eq!(replayed, pair.recorded.len() as u64);
}

#[test]
fn a_replay_from_before_the_restart_does_not_displace_a_living_client() {
    let mut pair = Pair::up();
    let recorded = pair.recorded.clone();
    let now = pair.now;
    // The server forgets everything; the client comes back to it.
    pair.server = start(config(Role::Server), 3, now);
    pair.advance(Duration::from_secs(10));
    // Another client process takes over, so that the recording is of a flow that is not known.
    pair.client = start(config(Role::Client), 4, pair.now);
    pair.advance(Duration::from_secs(5));
    pair.server = start(config(Role::Server), 5, pair.now);
    pair.advance(Duration::from_secs(5));
    events(&mut pair.server);
    let before = pair.server.stats(pair.now).links.iter().map(|l| l.remote).collect::<Vec<_>>();
    for (link, mut bytes) in recorded {
        pair.server.handle_datagram(link, addr("203.0.113.66:666"), &mut bytes, pair.now);
    }
    let after = pair.server.stats(pair.now).links.iter().map(|l| l.remote).collect::<Vec<_>>();
    assert_eq!(after, before);
    assert_eq!(events(&mut pair.server), []);
}

#[test]
fn a_client_that_roams_keeps_its_session() {
    let mut pair = Pair::up();
    events(&mut pair.server);
    let from = pair.client_addr[0];
    let to = addr("203.0.113.9:9");
    pair.client_addr[0] = to;
    pair.advance(Duration::from_secs(1));
    assert_eq!(events(&mut pair.server), [Event::PeerAddressChanged { link: DSL1, from, to }]);
    pair.server.handle_ip_packet(&packet(7, 100), pair.now);
    pair.server.handle_ip_packet(&packet(8, 100), pair.now);
    pair.exchange();
    assert_eq!(received(&mut pair.client).len(), 2);
}

#[test]
fn a_client_killed_and_restarted_is_back_within_seconds() {
    let mut pair = Pair::up();
    pair.send((0..2_000).map(|id| packet(id, 100)));
    received(&mut pair.server);
    pair.client = start(config(Role::Client), 9, pair.now);
    pair.advance(Duration::from_millis(4_000));
    let sent: Vec<_> = (0..100).map(|id| packet(id, 100)).collect();
    pair.send(sent.clone());
    assert_received(&mut pair.server, &sent);
    assert!(events(&mut pair.server).contains(&Event::PeerRestarted { link: DSL1 }));
}

#[test]
fn a_server_killed_and_restarted_is_back_within_seconds() {
    let mut pair = Pair::up();
    pair.send((0..2_000).map(|id| packet(id, 100)));
    pair.server = start(config(Role::Server), 9, pair.now);
    pair.advance(Duration::from_millis(7_000));
    let sent: Vec<_> = (0..100).map(|id| packet(id, 100)).collect();
    pair.send(sent.clone());
    pair.advance(Duration::from_millis(10));
    assert_received(&mut pair.server, &sent);
}

#[test]
fn closing_tells_the_peer() {
    let mut pair = Pair::up();
    events(&mut pair.server);
    pair.client.close(pair.now);
    pair.exchange();
    let down = |link| Event::LinkDown { link, reason: DownReason::PeerDisconnected };
    assert_eq!(events(&mut pair.server), [down(DSL1), down(DSL2), Event::SessionDown]);
}

#[test]
fn fallback_links_carry_data_only_when_no_other_does() {
    let mut pair = Pair::up();
    for session in [&mut pair.client, &mut pair.server] {
        let fallback = LinkConfig { fallback_only: true, ..link("dsl2", None) };
        session.reconfigure_link(DSL2, fallback, pair.now);
    }
    let of_dsl2 = |pair: &Pair| pair.client.stats(pair.now).links[1].sent.packets;
    let before = of_dsl2(&pair);
    pair.send((0..100).map(|id| packet(id, 100)));
    assert_eq!(of_dsl2(&pair), before);
    pair.cut[0] = true;
    pair.advance(Duration::from_secs(7));
    pair.send((0..100).map(|id| packet(id, 100)));
    assert!(of_dsl2(&pair) >= before + 100);
}

#[test]
fn a_lossy_link_is_taken_out_of_the_balancing_and_comes_back() {
    let mut pair = Pair::up();
    let tolerant = LinkConfig { loss_tolerance: Some(10), ..link("dsl1", None) };
    pair.server.reconfigure_link(DSL1, tolerant, pair.now);
    events(&mut pair.server);
    let mut out = TransmitBuf::new();
    for id in 0..400 {
        pair.client.handle_ip_packet(&packet(id, 100), pair.now);
        while let Some(transmit) = pair.client.poll_transmit(&mut out, pair.now) {
            for datagram in out.datagrams() {
                if transmit.link == DSL1 && id % 4 < 2 {
                    continue;
                }
                let from = pair.client_addr[transmit.link.slot()];
                pair.server.handle_datagram(transmit.link, from, &mut datagram.to_vec(), pair.now);
            }
        }
    }
    let lossy = Event::LinkQuality { link: DSL1, quality: Quality::Lossy };
    assert_eq!(events(&mut pair.server), [lossy]);
    assert!(!pair.server.stats(pair.now).links[0].is_used);
    pair.advance(Duration::from_secs(12));
    let good = Event::LinkQuality { link: DSL1, quality: Quality::Good };
    assert_eq!(events(&mut pair.server), [good]);
}

#[test]
fn clear_text_data_is_taken_from_the_peers_address_alone() {
    let mut pair = Pair::with(|config| config.cleartext_data = true);
    pair.advance(Duration::from_millis(10));
    let sent: Vec<_> = (0..100).map(|id| packet(id, 300)).collect();
    pair.send(sent.clone());
    assert_received(&mut pair.server, &sent);

    pair.recorded.clear();
    pair.cut = [true; 2];
    pair.send([packet(1, 300)]);
    let (link, mut bytes) = pair.recorded[0].clone();
    assert_eq!(&bytes[28..], packet(1, 300), "it is readable on the wire");
    pair.server.handle_datagram(link, addr("203.0.113.66:666"), &mut bytes, pair.now);
    assert_eq!(received(&mut pair.server).len(), 0);
    assert_eq!(pair.server.stats(pair.now).drops.of(DropReason::WrongAddress), 1);
}

#[test]
fn a_packet_that_is_too_big_is_answered_and_not_truncated() {
    let mut pair = Pair::up();
    pair.send([packet(1, 1_429), packet(2, 1_428)]);
    assert_eq!(received(&mut pair.server), [packet(2, 1_428)]);
    let replies = received(&mut pair.client);
    assert_eq!(replies.len(), 1);
    assert_eq!((replies[0][9], replies[0][20], replies[0][21]), (1, 3, 4), "ICMP 3, code 4");
    assert_eq!(replies[0][26..28], 1_428u16.to_be_bytes());
    assert_eq!(pair.client.stats(pair.now).drops.of(DropReason::TooBig), 1);
}

#[test]
fn without_a_link_packets_are_dropped_and_counted() {
    let mut pair = Pair::new();
    pair.client.handle_ip_packet(&packet(1, 100), pair.now);
    assert_eq!(pair.client.stats(pair.now).drops.of(DropReason::NoPath), 1);
}

#[test]
fn a_blocked_socket_keeps_its_packets_and_a_full_queue_drops_by_name() {
    let mut pair = Pair::up();
    for link in [DSL1, DSL2] {
        pair.client.handle_link_change(link, LinkChange::Blocked, pair.now);
    }
    let sent: Vec<_> = (0..3_000).map(|id| packet(id, 100)).collect();
    pair.send(sent.clone());
    assert_eq!(received(&mut pair.server).len(), 0);
    for link in [DSL1, DSL2] {
        pair.client.handle_link_change(link, LinkChange::Unblocked, pair.now);
    }
    pair.advance(Duration::from_millis(100));
    let delivered = received(&mut pair.server);
    let dropped = pair.client.stats(pair.now).drops.of(DropReason::TransmitQueueFull);
    assert_eq!(delivered.len() as u64 + dropped, 3_000);
    assert_eq!(pair.client.stats(pair.now).from_tun.packets, delivered.len() as u64);
    assert_eq!(ids(&delivered), ids(&sent[..delivered.len()]), "what was kept is in order");
}

#[test]
fn a_removed_link_says_goodbye_and_its_slot_is_used_again() {
    let mut pair = Pair::up();
    events(&mut pair.server);
    pair.client.remove_link(DSL1, pair.now);
    pair.exchange();
    let down = Event::LinkDown { link: DSL1, reason: DownReason::PeerDisconnected };
    assert_eq!(events(&mut pair.server), [down]);
    let again = link("dsl1", Some(addr("192.0.2.1:5080")));
    assert_eq!(pair.client.add_link(again, pair.now), DSL1);
    pair.client.handle_link_change(DSL1, LinkChange::Opened, pair.now);
    pair.advance(Duration::from_secs(3));
    assert!(events(&mut pair.server).contains(&Event::LinkUp { link: DSL1 }));
}

#[test]
fn full_batches_have_equal_segments() {
    let mut pair = Pair::up();
    pair.client.handle_link_change(DSL2, LinkChange::Closed, pair.now);
    for id in 0..100 {
        pair.client.handle_ip_packet(&packet(id, 1_000), pair.now);
    }
    let mut out = TransmitBuf::new();
    let transmit = pair.client.poll_transmit(&mut out, pair.now).unwrap();
    assert_eq!((transmit.segment_size, transmit.segments()), (1_044, 62));
}

#[test]
fn packets_redirected_to_another_link_are_replays() {
    let mut pair = Pair::new();
    pair.cut[1] = true;
    pair.advance(Duration::from_millis(10));
    pair.send([packet(1, 100)]);
    assert_eq!(received(&mut pair.server), [packet(1, 100)]);
    events(&mut pair.server);
    let of_dsl1 = |(link, _): &(LinkIndex, Vec<u8>)| *link == DSL1;
    for (_, mut bytes) in pair.recorded.clone().into_iter().filter(of_dsl1) {
        pair.server.handle_datagram(DSL2, pair.client_addr[0], &mut bytes, pair.now);
    }
    assert_eq!(events(&mut pair.server), [], "no link came up");
    assert_eq!(received(&mut pair.server), Vec::<Vec<u8>>::new());
}

#[test]
fn a_client_does_not_take_its_own_request_for_an_answer() {
    let mut pair = Pair::new();
    pair.cut = [true; 2];
    pair.advance(Duration::from_millis(10));
    assert_eq!(pair.recorded.len(), 2, "it has asked on both links");
    for (link, mut bytes) in pair.recorded.clone() {
        pair.client.handle_datagram(link, addr("192.0.2.1:5080"), &mut bytes, pair.now);
    }
    assert_eq!(events(&mut pair.client), []);
    assert_eq!(pair.client.stats(pair.now).drops.of(DropReason::Replayed), 2);
}

#[test]
fn a_request_whose_type_was_changed_to_data_is_no_packet() {
    let mut pair = Pair::up();
    pair.cut = [true; 2];
    for session in [&mut pair.client, &mut pair.server] {
        let patient = LinkConfig { timeout: Duration::from_secs(60), ..link("dsl1", None) };
        session.reconfigure_link(DSL1, patient, pair.now);
    }
    // A client that lost its server asks again: control packets that the server has not seen.
    pair.recorded.clear();
    pair.advance(Duration::from_secs(6));
    let asks = |bytes: &[u8]| bytes[2] >> 4 == 0;
    let (link, mut bytes) =
        pair.recorded.iter().find(|(link, bytes)| *link == DSL1 && asks(bytes)).unwrap().clone();
    bytes[2] |= 0x30;
    pair.server.handle_datagram(link, pair.client_addr[0], &mut bytes, pair.now);
    assert_eq!(received(&mut pair.server), Vec::<Vec<u8>>::new());
    assert_eq!(pair.server.stats(pair.now).drops.of(DropReason::NotAnIpPacket), 1);
}

#[test]
fn a_tagged_frame_that_no_datagram_holds_is_refused_and_not_cut() {
    let mut pair = Pair::with(|config| {
        config.inner = PacketKind::Ethernet;
        config.mtu = 1_442;
    });
    pair.advance(Duration::from_millis(10));
    let mut frame = vec![0; 18 + 1_442];
    frame[0..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    frame[12..18].copy_from_slice(&[0x81, 0x00, 0x00, 0x07, 0x08, 0x00]);
    frame[18..].copy_from_slice(&packet(1, 1_442));
    pair.send([frame]);
    assert_eq!(received(&mut pair.server).len(), 0);
    assert_eq!(pair.client.stats(pair.now).drops.of(DropReason::TooBig), 1);
}

#[test]
fn a_client_that_leaves_while_the_link_is_down_may_return_at_once() {
    let mut pair = Pair::up();
    let now = pair.now;
    for link in [DSL1, DSL2] {
        pair.server.handle_link_change(link, LinkChange::Closed, now);
        pair.server.handle_link_change(link, LinkChange::Opened, now);
    }
    pair.client.close(now);
    pair.exchange();
    pair.client = start(config(Role::Client), 7, now);
    pair.advance(Duration::from_millis(100));
    assert!(pair.server.stats(pair.now).links.iter().all(|link| link.is_used));
}
