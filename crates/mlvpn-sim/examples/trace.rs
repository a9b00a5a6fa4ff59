//! How one cell of the grid goes on, interval by interval:
//! `cargo run --release -p mlvpn-sim --example trace -- lossy down cubic-1`.
//!
//! ```text
//! trace [--seed=N] [--every=MS] [--until=S] [--back] WORD...
//! ```
//!
//! `--back` shows the paths, the queue and what is held of the other direction.
//!
//! In each line: the second, Mbit/s of payload, packets in the ingress queue, striped lanes, packets held by the
//! receiver, what came out of order, and what was dropped to slow a flow down; of the first TCP flow the window in
//! packets, the smoothed round trip in ms, and the recoveries; then for each path what it is thought to carry in
//! Mbit/s, the state of the rate controller, the queue in the network as it is thought to be and as it is, in ms, and
//! what is on its way, in KB. The last lines tell what the receiver and the sender did to keep the order.

use mlvpn_proto::drop::DropReason;
use mlvpn_proto::path::rate::State;
use mlvpn_proto::time::{Duration, Instant};
use mlvpn_sim::grid::{Cell, Running, all_cells};
use mlvpn_sim::link::Direction;
use mlvpn_sim::world::Endpoint as _;

fn main() {
    let (options, words): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let number = |name: &str, default: u64| {
        let text = options.iter().find_map(|option| option.strip_prefix(name));
        text.map_or(default, |text| text.parse().expect("a number"))
    };
    let cells: Vec<Cell> = all_cells().into_iter().filter(|cell| cell.is_called(&words)).collect();
    let [cell] = &cells[..] else {
        eprintln!("these words name {} cells, and must name one", cells.len());
        std::process::exit(2);
    };
    let cell = Cell { seed: number("--seed=", cell.seed), ..cell.clone() };
    let is_back = options.iter().any(|option| option == "--back");
    let every = Duration::from_millis(number("--every=", 500));
    let until = Instant::from_secs(1 + number("--until=", cell.seconds));
    let mut running = Running::start(&cell);
    while running.world.now() < until {
        let from = running.world.now();
        running.world.run_for(every);
        println!("{}", line(&cell, &running, (from, is_back)));
    }
    for side in [cell.from.other(), cell.from] {
        for peer in running.world.stats(side).peers {
            println!("{side:?}: {:?}", peer.lanes);
        }
    }
}

fn line(cell: &Cell, running: &Running, (from, is_back): (Instant, bool)) -> String {
    let (world, ahead) = (&running.world, cell.direction());
    let now = world.now();
    let way = match ahead {
        Direction::Up if is_back => Direction::Down,
        Direction::Down if is_back => Direction::Up,
        ahead => ahead,
    };
    let side = if is_back { cell.from.other() } else { cell.from };
    let stats = world.stats(side);
    let peer = &stats.peers[0];
    let mut text = format!(
        "{:7.3} {:6.1} | {:4} {} {:4} {:3} {:3}",
        now.as_micros() as f64 / 1e6,
        running.mbit(from, now),
        peer.queued.packets,
        peer.striped,
        world.endpoint(side.other()).held_packets(now),
        world.oracle().reordered(),
        stats.drops.of(DropReason::QueueDelay),
    );
    if let Some(sender) = running.first_sender() {
        text += &format!(
            " | {:5.0} {:4.0} {:2}",
            sender.congestion_window(),
            sender.smoothed_rtt().unwrap_or_default().as_secs_f64() * 1e3,
            sender.stats().recoveries,
        );
    }
    for (index, link) in stats.links.iter().enumerate() {
        let Some(path) = &link.path else {
            text += " | -";
            continue;
        };
        let rate = cell.lines[index].link.spec(way).rate.unwrap_or(1) as f64;
        let waiting = world.network().waiting_bytes(index, way) as f64 * 8e3 / rate;
        text += &format!(
            " | {:6.2} {} {:5.1} {waiting:5.1} {:4.0}",
            path.capacity as f64 * 8e-6,
            name(path.rate_state),
            path.queue_delay.as_secs_f64() * 1e3,
            path.in_flight as f64 / 1e3,
        );
    }
    text
}

fn name(state: State) -> String {
    format!("{state:?}").chars().take(5).collect::<String>()
}
