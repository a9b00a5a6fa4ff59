//! Clocks that go on while a host sleeps for a moment, as virtual machines do.

use mlvpn_sim::link::{LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::world::{Tunnel, millis, secs};

#[test]
fn a_transfer_is_as_fast_after_a_clock_went_on() {
    for side in [Side::Client, Side::Server] {
        for jump in [60, 200, 500, 900] {
            let links = [WanLink::symmetric(LinkSpec::new(20.0, 10))];
            let mut world = Tunnel::v2(links.to_vec()).start_up(1);
            let flow = world.download();
            world.run_for(secs(10));
            world.jump_clock(side, millis(jump));
            world.run_for(secs(10));
            let begun = world.now() - secs(20);
            let second = |at| (begun + secs(at)).as_secs_f64() as u64;
            let before = world.goodput(flow, second(5), second(9));
            let after = world.goodput(flow, second(13), second(19));
            assert!(after > before * 0.95, "{side:?}, {jump} ms: {after} after {before} Mbit/s");
        }
    }
}
