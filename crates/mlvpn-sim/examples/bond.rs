//! What bonding reaches in the simulator, as a table: `cargo run --release -p mlvpn-sim --example bond`.
//!
//! An argument picks the scenarios whose name holds it. Shares are of what the headers leave of the
//! links' summed rate; delays are those of a packet of 100 bytes every 20 ms, above the idle ones.

use mlvpn_proto::time::Instant;
use mlvpn_sim::link::{Direction, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::world::{SessionEndpoint, Tunnel, World, millis, secs};

/// The tunnel's MTU over links of 1500 bytes, TCP's payload in it, and what that takes of a link.
const MTU: usize = 1_440;
const PAYLOAD: f64 = 1_388.0 / 1_500.0;

/// Name, and the links.
const SCENARIOS: &[(&str, &[&str])] = &[
    ("equal", &["down=50,up=50,delay=10,queue=100", "down=50,up=50,delay=10,queue=100"]),
    ("article", &["dsl", "dsl,delay=20"]),
    (
        "fibre+lte",
        &["down=100,up=50,delay=5,queue=60", "down=50,up=20,delay=40,jitter=8,queue=300"],
    ),
    (
        "lossy",
        &["down=50,up=20,delay=15,queue=100", "down=30,up=10,delay=35,jitter=5,loss=1,queue=200"],
    ),
    ("ten to one", &["down=100,up=20,delay=10,queue=60", "down=10,up=2,delay=25,queue=200"]),
    ("three", &["down=20,up=5,delay=8,queue=100", "lte", "starlink"]),
    ("far", &["down=50,up=20,delay=10,queue=100", "down=50,up=20,delay=90,queue=200"]),
];

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    println!(
        "{:<12}{:<6}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>9}{:>9}{:>8}{:>8}",
        "links",
        "",
        "settled",
        "start",
        "best",
        "ratio",
        "eight",
        "3 s",
        "ping p95",
        "ping p99",
        "cut",
        "resent"
    );
    for (name, links) in SCENARIOS.iter().filter(|(name, _)| name.contains(&wanted)) {
        let links: Vec<WanLink> = links.iter().map(|text| text.parse().expect("a link")).collect();
        for from in [Side::Server, Side::Client] {
            measure(name, &links, from);
        }
    }
}

fn measure(name: &str, links: &[WanLink], from: Side) {
    let direction = if from == Side::Server { Direction::Down } else { Direction::Up };
    let rate = |link: &WanLink| link.spec(direction).rate.map_or(0.0, |rate| rate as f64 / 1e6);
    let sum: f64 = links.iter().map(rate).sum::<f64>() * PAYLOAD;
    let alone = links.iter().map(|link| run(std::slice::from_ref(link), from, 1, 10).0);
    let best = alone.fold(0.0, f64::max);
    let (start, _) = run(links, from, 1, 10);
    let (settled, world) = run(links, from, 1, 60);
    let (eight, _) = run(links, from, 8, 10);
    let (p95, p99) = ping(links, from);
    let stats = world.endpoint(from).session().stats(world.now());
    let resent = stats.peers[0].recovery.resent as f64 / (stats.from_tun.packets.max(1) as f64);
    println!(
        "{name:<12}{:<6}{:>7.1}%{start:>8.1}{best:>8.1}{:>8.2}{:>7.1}%{:>7.1}%{p95:>9.1}{p99:>9.1}{:>7.0} {:>7.2}%",
        if from == Side::Server { "down" } else { "up" },
        100.0 * settled / sum,
        start / best,
        100.0 * eight / sum,
        100.0 * early(links, from) / sum,
        cut(links, from),
        100.0 * resent,
    );
}

fn world(links: &[WanLink]) -> World<SessionEndpoint> {
    let tunnel = Tunnel::v2(links.to_vec()).with(|config| config.mtu = MTU as u16);
    let mut world = tunnel.start_up(1);
    world.set_inner_mtu(MTU);
    world.run_for(millis(500));
    world
}

fn flows(
    world: &mut World<SessionEndpoint>,
    from: Side,
    count: usize,
) -> Vec<mlvpn_sim::traffic::FlowId> {
    (0..count)
        .map(|_| if from == Side::Server { world.download() } else { world.upload() })
        .collect()
}

/// Mbit/s of `count` flows: in the first 10 s of a short run, in the second half of a long one.
fn run(links: &[WanLink], from: Side, count: usize, seconds: u64) -> (f64, World<SessionEndpoint>) {
    let mut world = world(links);
    let flows = flows(&mut world, from, count);
    world.run_until(Instant::from_secs(1 + seconds));
    world.oracle().assert_clean();
    let (a, b) = if seconds > 10 { (seconds / 2, seconds) } else { (1, 1 + seconds) };
    (flows.iter().map(|flow| world.goodput(*flow, a, b)).sum(), world)
}

/// Mbit/s of eight flows in the fourth second of a cold start.
fn early(links: &[WanLink], from: Side) -> f64 {
    let mut world = world(links);
    let flows = flows(&mut world, from, 8);
    world.run_until(Instant::from_secs(6));
    flows.iter().map(|flow| world.goodput(*flow, 4, 5)).sum()
}

/// 95th and 99th percentile of the delay of sparse packets beside a transfer, in ms above idle.
fn ping(links: &[WanLink], from: Side) -> (f64, f64) {
    let delays = |count| {
        let mut world = world(links);
        flows(&mut world, from, count);
        world.run_for(secs(3));
        let probe = world.udp(from, 100, 0.04);
        world.run_for(secs(20));
        world.udp_flow(probe).report(world.now())
    };
    let (idle, loaded) = (delays(0), delays(1));
    let above =
        |delay: std::time::Duration| delay.saturating_sub(idle.delay_p50).as_secs_f64() * 1e3;
    (above(loaded.delay_p95), above(loaded.delay_p99))
}

/// The longest silence of 200 packets a second beside a transfer when the first link is cut, in ms.
fn cut(links: &[WanLink], from: Side) -> f64 {
    let mut world = world(links);
    flows(&mut world, from, 1);
    world.run_for(secs(5));
    let probe = world.udp(from, 200, 0.32);
    world.run_for(secs(3));
    let before = world.now();
    world.cut(0);
    world.run_for(secs(4));
    world.udp_flow(probe).longest_silence(before, world.now()).as_secs_f64() * 1e3
}
