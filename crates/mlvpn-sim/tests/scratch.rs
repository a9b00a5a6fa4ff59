use mlvpn_sim::link::{LinkSpec, WanLink};
use mlvpn_sim::packet::Side;
use mlvpn_sim::world::{Tunnel, millis, secs};
fn links(specs: &[LinkSpec]) -> Vec<WanLink> {
    specs.iter().copied().map(WanLink::symmetric).collect()
}
#[test]
fn idle() {
    for specs in
        [vec![LinkSpec::new(20.0, 5)], vec![LinkSpec::new(20.0, 1), LinkSpec::new(20.0, 1)]]
    {
        let mut world = Tunnel::v2(links(&specs)).start_up(1);
        let flow = world.udp(Side::Client, 200, 0.02);
        world.run_for(millis(2700));
        world.stop_udp(flow);
        world.run_for(secs(70));
        eprintln!("{:?}", world.events());
        eprintln!("{:?}", world.udp_flow(flow).report(world.now()));
    }
}
