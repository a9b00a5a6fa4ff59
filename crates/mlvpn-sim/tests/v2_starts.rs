//! How soon a path is filled for the first time.

use mlvpn_sim::link::{LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::world::{Tunnel, millis, secs};

#[test]
fn a_fast_link_with_next_to_no_delay_is_filled_within_a_few_reports() {
    for (mbit, delay) in [(3_000.0, 0), (3_000.0, 1), (300.0, 0)] {
        let links = [WanLink::symmetric(LinkSpec::new(mbit, delay))];
        let mut world = Tunnel::v2(links.to_vec()).start_up(1);
        world.run_for(secs(3));
        world.download();
        world.run_for(millis(150));
        let from = world.stats(Side::Client).to_tun.bytes;
        world.run_for(millis(100));
        let arrived = world.stats(Side::Client).to_tun.bytes - from;
        let share = arrived as f64 * 80.0 / (mbit * 1e6);
        assert!(share > 0.85, "{mbit} Mbit/s, {delay} ms: {share}");
    }
}
