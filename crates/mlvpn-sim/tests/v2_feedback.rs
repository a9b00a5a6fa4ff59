//! What feedback takes of the way back.

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
