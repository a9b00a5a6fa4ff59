//! What a v2 tunnel is for, as scenarios: one behaviour each.

use mlvpn_sim::link::{LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::world::{Tunnel, secs};

fn links(specs: &[LinkSpec]) -> Vec<WanLink> {
    specs.iter().copied().map(WanLink::symmetric).collect()
}

#[test]
fn both_links_come_up_without_any_rate_configured() {
    let tunnel = Tunnel::v2(links(&[LinkSpec::new(50.0, 10), LinkSpec::new(50.0, 10)]));
    let mut world = tunnel.start_up(1);
    eprintln!("up at {:?}: {:?}", world.now(), world.events());
    let flow = world.download();
    for s in 0..20 {
        world.run_for(secs(1));
        let now = world.now().as_millis() / 1000;
        let st = world.endpoint(Side::Server).session().stats(world.now());
        let paths: Vec<_> = st
            .links
            .iter()
            .map(|l| {
                l.path.map(|p| {
                    (p.capacity * 8 / 1000, p.rate_state, p.queue_delay, p.loss, p.in_flight)
                })
            })
            .collect();
        let p = &st.peers[0];
        eprintln!(
            "{s}: {:.1} {paths:?} q {} striped {} {:?} held {} drops {}",
            world.goodput(flow, now - 1, now),
            p.queued.packets,
            p.striped,
            p.recovery,
            world.endpoint(Side::Client).session().stats(world.now()).peers[0].lanes.held_packets,
            st.drops.total()
        );
    }
    let st = world.endpoint(Side::Client).session().stats(world.now());
    eprintln!("{st:?}");
    world.oracle().assert_clean();
    world.oracle().assert_ordered();
}
