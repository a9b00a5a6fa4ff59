//! What each end tells of its links is what they are.

use mlvpn_proto::LinkStats;
use mlvpn_sim::link::{LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::world::{Tunnel, secs};

/// Rates of the links towards the client and from it, in Mbit/s, and their one-way delays, in ms.
const RATES: (f64, f64) = (20.0, 10.0);
const DELAYS: [u64; 2] = [10, 40];
/// Share of the packets that the second link loses towards the client.
const LOSS: f64 = 0.05;

/// Delays in ms, shares and rates in Mbit/s of both directions of one link as both ends have them: seen by the receiver and,
/// through feedback, by the sender.
fn links(side: &[LinkStats]) -> Vec<(f64, f64, f64, f64)> {
    let of_path = |link: &LinkStats| {
        let path = link.path.expect("a path of version 2");
        let min_rtt = path.min_rtt.expect("it was measured").as_secs_f64() * 1e3;
        let delivered = path.delivery_rate.expect("it was measured") as f64 * 8e-6;
        (min_rtt, path.loss, path.received_loss, delivered)
    };
    side.iter().map(of_path).collect()
}

#[test]
fn delays_losses_and_rates_of_each_direction_are_told_as_they_are() {
    let line = |delay: u64, loss: f64| {
        let (down, up) = (LinkSpec::new(RATES.0, delay), LinkSpec::new(RATES.1, delay));
        WanLink::new(down.with_loss(loss), up)
    };
    let tunnel = Tunnel::v2(vec![line(DELAYS[0], 0.0), line(DELAYS[1], LOSS)]);
    for seed in 0..5 {
        let mut world = tunnel.start_up(seed);
        // More than the links carry, both ways.
        world.udp(Side::Server, 1_200, 60.0);
        world.udp(Side::Client, 1_200, 30.0);
        world.run_for(secs(30));
        let [client, server] = [Side::Client, Side::Server].map(|side| world.stats(side).links);
        let near = |told: f64, is: f64| (is * 0.85..=is * 1.15).contains(&told);
        for (link, delay) in DELAYS.into_iter().enumerate() {
            let (
                (up_rtt, up_loss, seen_loss, up_rate),
                (down_rtt, down_loss, seen_up_loss, down_rate),
            ) = (links(&client)[link], links(&server)[link]);
            // There over the link, and back over the fastest one, which brings the feedback.
            let least = (delay + DELAYS[0]) as f64;
            for rtt in [up_rtt, down_rtt] {
                assert!((least..least + 12.0).contains(&rtt), "{seed}: {link}: {rtt} ms");
            }
            // Of the sent, 5 % do not arrive.
            let (share, arrives) = if link == 1 { (LOSS, 1.0 - LOSS) } else { (0.0, 1.0) };
            for told in [down_loss, seen_loss] {
                assert!(
                    (told - share).abs() < 0.02,
                    "{seed}: {link}: {told} of {share} lost downwards"
                );
            }
            for told in [up_loss, seen_up_loss] {
                assert!(told < 0.005, "{seed}: {link}: {told} lost upwards");
            }
            assert!(near(down_rate, RATES.0 * arrives), "{seed}: {link}: {down_rate} down");
            assert!(near(up_rate, RATES.1), "{seed}: {link}: {up_rate} up");
        }
        for side in [Side::Client, Side::Server] {
            let links = world.stats(side).links;
            let behind: Option<Vec<_>> =
                links.iter().map(|link| link.delay_behind_fastest_ms).collect();
            // The queues that stand on them are part of it.
            let is_told = |of: &[f64]| of[0].abs() < 1.0 && (of[1] - 30.0).abs() < 25.0;
            assert!(behind.as_deref().is_some_and(is_told), "{seed}: {side:?}: {behind:?}");
        }
    }
}
