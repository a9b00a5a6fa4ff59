//! What each end tells of its links is what they are.

use mlvpn_proto::stats::PathStats;
use mlvpn_sim::link::{LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::world::{SessionEndpoint, Tunnel, World, secs};

const SIDES: [Side; 2] = [Side::Client, Side::Server];
/// Rates of the links towards the client and from it, in Mbit/s, and their one-way delays, in ms.
const RATES: (f64, f64) = (20.0, 10.0);
const DELAYS: [u64; 2] = [10, 40];
/// Share of the packets that the second link loses towards the client.
const LOSS: f64 = 0.05;

fn line(delay: u64, loss: f64) -> WanLink {
    let (down, up) = (LinkSpec::new(RATES.0, delay), LinkSpec::new(RATES.1, delay));
    WanLink::new(down.with_loss(loss), up)
}

/// A link as the client and as the server has it.
fn both(world: &World<SessionEndpoint>, link: usize) -> [PathStats; 2] {
    SIDES.map(|side| world.stats(side).links[link].path.expect("a path of version 2"))
}

fn mbit(path: &PathStats) -> f64 {
    path.delivery_rate.expect("it was measured") as f64 * 8e-6
}

#[test]
fn delays_losses_and_rates_of_each_direction_are_told_as_they_are() {
    let tunnel = Tunnel::v2(vec![line(DELAYS[0], 0.0), line(DELAYS[1], LOSS)]);
    for seed in 0..5 {
        let mut world = tunnel.start_up(seed);
        // More than the links carry, both ways.
        world.udp(Side::Server, 1_200, 60.0);
        world.udp(Side::Client, 1_200, 30.0);
        world.run_for(secs(30));
        for (link, lost) in [0.0, LOSS].into_iter().enumerate() {
            let [client, server] = both(&world, link);
            // There over the link, and back over the fastest one, which brings the feedback.
            let least = (DELAYS[link] + DELAYS[0]) as f64;
            for path in [&client, &server] {
                let rtt = path.min_rtt.expect("it was measured").as_secs_f64() * 1e3;
                assert!((least..least + 12.0).contains(&rtt), "{seed}: {link}: {rtt} ms");
            }
            // Downwards the server is told by feedback, and the client sees it; upwards the other way round.
            for (told, is) in [
                (server.loss, lost),
                (client.received_loss, lost),
                (client.loss, 0.0),
                (server.received_loss, 0.0),
            ] {
                assert!((told - is).abs() < 0.02, "{seed}: {link}: {told} of {is} lost");
            }
            for (told, is) in [(mbit(&server), RATES.0 * (1.0 - lost)), (mbit(&client), RATES.1)] {
                assert!((told / is - 1.0).abs() < 0.15, "{seed}: {link}: {told} of {is} Mbit/s");
            }
        }
        for side in SIDES {
            let links = world.stats(side).links;
            let behind: Option<Vec<_>> =
                links.iter().map(|link| link.delay_behind_fastest_ms).collect();
            // 30 ms, and the queues that stand on both are part of it.
            let is_told = |of: &[f64]| of[0].abs() < 1.0 && (15.0..55.0).contains(&of[1]);
            assert!(behind.as_deref().is_some_and(is_told), "{seed}: {side:?}: {behind:?}");
        }
    }
}
