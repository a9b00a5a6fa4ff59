//! What feedback takes of the way back.

use mlvpn_proto::Instant;
use mlvpn_sim::link::{LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::world::{SessionEndpoint, Tunnel, World, secs};

type Run = World<SessionEndpoint>;

/// What a line of 100 Mbit/s and 1 Mbit/s carries back, in bytes per second.
const BACK: f64 = 125_000.0;
/// The share of it that feedback may take, while that is believed to be a quarter more than it is: acknowledgements
/// alone hardly tell.
const SHARE: f64 = 0.025;

/// A line that is a hundred times faster towards the client, and loses that share of the packets there.
fn line(delay: u64, loss: f64) -> WanLink {
    WanLink::new(LinkSpec::new(100.0, delay).with_loss(loss), LinkSpec::new(1.0, delay))
}

/// The most that the client's feedback takes in five seconds, as a share of what `lines` carry back.
fn highest_share(lines: &[WanLink], load: fn(&mut Run)) -> f64 {
    let mut world = Tunnel::v2(lines.to_vec()).start_up(1);
    load(&mut world);
    world.run_for(secs(5));
    let told = |world: &Run| world.stats(Side::Client).peers[0].feedback.bytes;
    let mut most = 0;
    for _ in 0..2 {
        let before = told(&world);
        world.run_for(secs(5));
        most = most.max(told(&world) - before);
    }
    most as f64 / 5.0 / (BACK * lines.len() as f64)
}

#[test]
fn feedback_takes_two_percent_of_a_slow_way_back() {
    let upload: fn(&mut Run) = |world| {
        world.udp(Side::Server, 1_200, 15.0);
        world.upload();
    };
    // The acknowledgements of a download load a line like that, too.
    let download: fn(&mut Run) = |world| {
        world.download();
    };
    for lines in [vec![line(10, 0.0)], vec![line(10, 0.01)], vec![line(10, 0.0), line(20, 0.0)]] {
        for load in [upload, download] {
            let share = highest_share(&lines, load);
            assert!(share <= SHARE, "{} lines: {share}", lines.len());
            assert!(share > 0.005, "{} lines: {share}", lines.len());
        }
    }
}

#[test]
fn an_upload_does_not_pay_for_telling_of_its_acknowledgements() {
    let lines = [line(10, 0.0), line(20, 0.0)];
    let upload: fn(&mut Run) = |world| {
        world.upload();
    };
    let little = highest_share(&lines, upload);
    assert!(little <= 0.013, "{little}");
    // What else comes is told of.
    let both: fn(&mut Run) = |world| {
        world.upload();
        world.udp(Side::Server, 1_200, 60.0);
    };
    let much = highest_share(&lines, both);
    assert!(much > 1.2 * little, "{much}, and {little}");
}

#[test]
fn feedback_is_bounded_also_where_nothing_else_goes_back() {
    let datagrams: fn(&mut Run) = |world| {
        world.udp(Side::Server, 1_200, 15.0);
    };
    for lines in [vec![line(10, 0.0)], vec![line(10, 0.01)]] {
        let share = highest_share(&lines, datagrams);
        assert!(share <= SHARE, "{share}");
        assert!(share > 0.005, "{share}");
    }
}

/// What `[F8]` lets a path carry in a second, in bytes, if that is more than the share of its capacity.
const LEAST: f64 = 2_000.0;
const SHARE_OF_CAPACITY: f64 = 0.02;
/// The capacity that a path is taken to have until probes have shown it, in bytes per second.
const UNKNOWN: f64 = 600_000.0;
/// The bytes of two rounds of probes.
const PROBES: f64 = 2.0 * 7_000.0;
/// What is saved up at first, and what may be as long as nothing has loaded the path, in bytes.
const SAVED: (f64, f64) = (30_000.0, 60_000.0);
/// A packet may be sent while any budget is left: with all headers, that with a full frame about each of four paths.
const LARGEST: f64 = 28.0 + 25.0 + 4.0 * 114.0;

/// Several lines with the same way back.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// What each carries back, in Mbit/s.
    back: f64,
    /// Their round trip in milliseconds.
    rtt: u64,
    /// Share of the packets that is lost on the way ahead.
    loss: f64,
    lines: usize,
    /// An upload loads the way back.
    is_loaded: bool,
    /// The queue before the way back, in milliseconds.
    queue: u64,
}

const fn case(back: f64, rtt: u64, loss: f64, lines: usize, is_loaded: bool) -> Case {
    // Before a line as thin as that stands a queue that holds the probes of a round.
    let queue = if back < 0.5 { 1_000 } else { 100 };
    Case { back, rtt, loss, lines, is_loaded, queue }
}

/// A queue that holds a few of the probes at the most.
const fn short(queue: u64, case: Case) -> Case {
    Case { queue, ..case }
}

/// Each way back with each round trip, each loss and each number of lines.
const CASES: [Case; 25] = [
    case(0.1, 10, 0.0, 1, false),
    case(0.1, 60, 0.01, 2, false),
    case(0.1, 300, 0.05, 4, false),
    case(0.1, 10, 0.05, 2, true),
    short(100, case(0.1, 10, 0.0, 1, false)),
    short(100, case(0.1, 300, 0.05, 1, false)),
    short(300, case(0.1, 10, 0.0, 1, false)),
    short(300, case(0.1, 300, 0.05, 1, false)),
    short(300, case(0.1, 60, 0.01, 1, true)),
    case(0.8, 10, 0.01, 4, false),
    case(0.8, 60, 0.05, 1, false),
    case(0.8, 300, 0.0, 2, false),
    case(0.8, 60, 0.0, 4, true),
    case(2.0, 10, 0.05, 2, false),
    case(2.0, 60, 0.0, 4, false),
    case(2.0, 300, 0.01, 1, false),
    case(2.0, 10, 0.01, 1, true),
    case(10.0, 10, 0.0, 4, false),
    case(10.0, 60, 0.01, 1, false),
    case(10.0, 300, 0.05, 2, false),
    case(10.0, 300, 0.0, 1, true),
    case(100.0, 10, 0.05, 1, false),
    case(100.0, 60, 0.0, 2, false),
    case(100.0, 300, 0.01, 4, false),
    case(100.0, 60, 0.05, 4, true),
];

impl Case {
    fn lines(self) -> Vec<WanLink> {
        let back = LinkSpec::new(self.back, self.rtt / 2).with_queue_ms(self.queue);
        let ahead = LinkSpec::new(20.0, self.rtt / 2).with_loss(self.loss);
        vec![WanLink::new(ahead, back); self.lines]
    }

    /// Bytes of feedback over each line in each second since the start.
    fn told(self, seconds: usize) -> Vec<Vec<f64>> {
        let mut world = Tunnel::v2(self.lines()).start(1);
        world.record();
        let is_up = |world: &Run| world.links_up(Side::Server) > 0;
        assert!(world.run_while_not(secs(3), is_up), "{self:?}");
        world.udp(Side::Server, 1_200, 15.0 * self.lines as f64);
        if self.is_loaded {
            world.upload();
        }
        world.run_until(Instant::from_secs(seconds as u64));
        let mut told = vec![vec![0.0; seconds + 1]; self.lines];
        for recording in world.network().recordings().iter().filter(|r| r.to == Side::Server) {
            let len = recording.payload.len();
            // What is shorter holds no report, and what is longer is data or probes.
            if recording.payload[0] & 0xC0 == 0x80 && (25 + 34..500).contains(&len) {
                let second = recording.at.as_millis() as usize / 1_000;
                told[recording.link][second] += (len + recording.overhead) as f64;
            }
        }
        let counted = world.stats(Side::Client).peers[0].feedback.bytes;
        assert_eq!(told.iter().flatten().sum::<f64>(), counted as f64, "{self:?}");
        told
    }

    /// What a path may take in that second, beside what was saved up.
    fn earned(self, second: usize) -> f64 {
        let known = self.back * 1e6 / 8.0;
        // The handshake and two rounds of probes, some of which are lost.
        let unknown_for = 0.1 + 5.0 * self.rtt as f64 / 1e3 + PROBES / known;
        let unknown = (unknown_for - second as f64).clamp(0.0, 1.0);
        let capacity = unknown * known.max(UNKNOWN) + (1.0 - unknown) * known;
        (capacity * SHARE_OF_CAPACITY).max(LEAST)
    }
}

#[test]
fn feedback_keeps_to_its_budget_over_every_way_back_from_the_first_second_on() {
    for case in CASES {
        for (line, told) in case.told(12).into_iter().enumerate() {
            let mut saved = SAVED.0;
            for (second, bytes) in told.into_iter().enumerate() {
                let most = saved + case.earned(second);
                assert!(
                    bytes <= most + LARGEST,
                    "{case:?}: {bytes} bytes in second {second} over line {line}, {most} at the most"
                );
                saved = (most - bytes).min(SAVED.1);
            }
        }
    }
}

#[test]
fn feedback_leaves_room_for_an_upload_over_the_thinnest_ways_back_with_short_queues() {
    // The shorter queue does not even hold a full packet.
    for (queue, rtt, lines, least) in [(100, 60, 1, 0.01), (300, 10, 1, 0.06), (300, 60, 2, 0.12)] {
        let case = short(queue, case(0.1, rtt, 0.0, lines, true));
        let mut world = Tunnel::v2(case.lines()).start_up(1);
        world.udp(Side::Server, 1_200, 15.0 * lines as f64);
        // What was saved up is used up by then.
        world.run_until(Instant::from_secs(10));
        let upload = world.upload();
        world.run_until(Instant::from_secs(30));
        let goodput = world.goodput(upload, 10, 30);
        assert!(goodput > least, "{case:?}: {goodput} Mbit/s");
    }
}
