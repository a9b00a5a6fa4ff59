//! What a tunnel adds to packets and sends beside them: the sums of docs/performance.md, section Overhead.

use mlvpn_proto::Versions;
use mlvpn_sim::link::{LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::world::{Recording, SessionEndpoint, Tunnel, World, secs};

type Run = World<SessionEndpoint>;

const SIDES: [Side; 2] = [Side::Client, Side::Server];
/// An IP packet that is larger than anything else that is sent beside the search for the size.
const INNER: usize = 1_300;
/// IPv4 and UDP.
const HEADERS: usize = 28;
/// The header of a packet, a frame of one byte, and the tag.
const PING: usize = 9 + 1 + 16;
/// As long as the name that a program of this version gives itself.
const NAME: &str = "mlvpn 3.0.0-alpha.1";

/// Lines of 50 Mbit/s whose round trip is `rtt` milliseconds.
fn lines(count: usize, rtt: u64) -> Vec<WanLink> {
    vec![WanLink::symmetric(LinkSpec::new(50.0, rtt / 2)); count]
}

/// Bytes on the line, all headers included.
fn bytes(recordings: &[Recording]) -> u64 {
    recordings.iter().map(|r| (r.payload.len() + r.overhead) as u64).sum()
}

/// What was sent to each side in `seconds` from now on.
fn sent_within(world: &mut Run, seconds: u64) -> [Vec<Recording>; 2] {
    world.record();
    let before = world.network().recordings().len();
    world.run_for(secs(seconds));
    let sent = &world.network().recordings()[before..];
    SIDES.map(|side| sent.iter().filter(|r| r.to == side).cloned().collect())
}

#[test]
fn a_packet_of_data_is_longer_than_what_it_carries_by_what_the_formats_say() {
    let plain = |versions| Tunnel::new(lines(2, 20), versions);
    let in_clear = |versions| plain(versions).with(|config| config.cleartext_data = true);
    let [v1, v2] = [Versions::V1, Versions::V2];
    for (tunnel, added) in
        [(plain(v2), 32), (in_clear(v2), 32), (plain(v1), 44), (in_clear(v1), 28)]
    {
        let mut world = tunnel.start_up(1);
        world.run_for(secs(5));
        world.record();
        let flow = world.udp(Side::Server, INNER, 5.0);
        world.run_for(secs(10));
        let report = world.finish_udp(flow);
        assert_eq!(report.lost(), 0, "{report:?}");
        let is_data = |r: &&Recording| r.to == Side::Client && r.payload.len() >= INNER;
        let data: Vec<_> = world.network().recordings().iter().filter(is_data).collect();
        assert_eq!(data.len() as u64, report.sent, "each packet once");
        for recording in data {
            let len = recording.payload.len();
            assert_eq!((len - INNER, recording.overhead), (added, HEADERS), "{tunnel:?}");
        }
    }
}

/// The keys that are two minutes old are replaced within the time that counts.
#[test]
fn an_idle_tunnel_of_version_2_sends_no_more_than_pings_feedback_and_a_handshake() {
    for (paths, most) in [(1, 412), (2, 872)] {
        let plain = Tunnel::v2(lines(paths, 30)).with(|config| config.software = NAME.to_owned());
        for tunnel in [plain.clone(), plain.with_key_pairs()] {
            let mut world = tunnel.start_up(1);
            // The search for the sizes is over by then.
            world.run_for(secs(20));
            let sent: u64 = sent_within(&mut world, 120).map(|r| bytes(&r)).iter().sum();
            let is_initiation = |r: &&Recording| r.payload[0] == 0xC1;
            assert_eq!(world.network().recordings().iter().filter(is_initiation).count(), 1);
            let in_10_s = sent as f64 / 12.0;
            assert!(in_10_s <= f64::from(most), "{paths} paths: {in_10_s}");
            assert!(in_10_s > 0.9 * f64::from(most), "{paths} paths: {in_10_s}");
        }
    }
}

#[test]
fn an_idle_link_of_version_1_costs_a_keepalive_and_its_answer_each_way_every_second() {
    for links in [1, 2] {
        let mut world = Tunnel::v1(lines(links, 30)).start_up(1);
        world.run_for(secs(5));
        let sent: u64 = sent_within(&mut world, 120).map(|r| bytes(&r)).iter().sum();
        assert_eq!(sent, 120 * 4 * 72 * links as u64, "{links} links");
    }
}

#[test]
fn feedback_about_a_flow_takes_no_more_than_a_packet_in_a_third_of_a_round_trip() {
    // Of two paths both are told of when the flow needs both.
    let cases = [(1, 30, 5.0, 69.6), (1, 60, 5.0, 34.8), (2, 30, 75.0, 145.2), (2, 60, 75.0, 72.6)];
    for (paths, rtt, mbit, most) in cases {
        let mut world = Tunnel::v2(lines(paths, rtt)).start_up(1);
        world.udp(Side::Server, 1_200, mbit);
        world.run_for(secs(5));
        let told = |world: &Run| world.stats(Side::Client).peers[0].feedback.bytes;
        let before = told(&world);
        let seconds = 10;
        let [_, back] = sent_within(&mut world, seconds);
        let (pings, feedback): (Vec<_>, Vec<_>) =
            back.into_iter().partition(|r| r.payload.len() == PING);
        // The paths carry nothing else that way, and each has a keepalive a second.
        assert!(pings.len() as u64 <= paths as u64 * seconds, "{} of {paths}", pings.len());
        assert_eq!(bytes(&feedback), told(&world) - before, "all of it is counted");
        let kbit = bytes(&feedback) as f64 * 8.0 / 1e3 / seconds as f64;
        assert!(kbit <= most, "{paths} paths, {rtt} ms: {kbit} kbit/s");
        assert!(kbit > 0.95 * most, "{paths} paths, {rtt} ms: {kbit} kbit/s");
    }
}
