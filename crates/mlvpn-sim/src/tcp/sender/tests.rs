use core::time::Duration;

use crate::link::{LinkSpec, WanLink};
use crate::packet::Side;
use crate::tcp::TcpStats;
use crate::world::{PlainEndpoint, World, millis, secs};

const WIRE: f64 = 1_448.0 / 1_500.0;

fn world(links: &[LinkSpec], turns: &[usize]) -> World<PlainEndpoint> {
    let links = links.iter().copied().map(WanLink::symmetric).collect();
    let end = || PlainEndpoint::striped(turns);
    let mut world = World::new(1, links, end(), end());
    world.set_inner_mtu(1_500);
    world
}

/// Mbit/s of a download from second 5 to second 25, and what the sender did.
fn download(links: &[LinkSpec], turns: &[usize]) -> (f64, TcpStats) {
    let mut world = world(links, turns);
    let flow = world.download();
    world.run_for(secs(25));
    world.oracle().assert_clean();
    (world.goodput(flow, 5, 25), world.tcp(flow).stats())
}

#[test]
fn one_flow_fills_a_link_with_a_queue_of_one_bandwidth_delay_product() {
    for (mbit, delay_ms) in [(10.0, 20), (50.0, 20), (100.0, 5), (20.0, 100)] {
        let link = LinkSpec::new(mbit, delay_ms).with_queue_ms(2 * delay_ms);
        let (goodput, stats) = download(&[link], &[0]);
        let share = goodput / (mbit * WIRE);
        assert!(share > 0.95, "{mbit} Mbit/s, {delay_ms} ms: {share} {stats:?}");
        assert_eq!(stats.timeouts, 0, "{stats:?}");
    }
}

#[test]
fn an_upload_and_a_download_both_fill_their_direction() {
    let mut world = world(&[LinkSpec::new(20.0, 20)], &[0]);
    let (down, up) = (world.download(), world.upload());
    world.run_for(secs(20));
    let (down, up) = (world.goodput(down, 5, 20), world.goodput(up, 5, 20));
    assert!(down > 16.0 && up > 16.0, "{down} {up}");
}

#[test]
fn one_percent_of_loss_at_sixty_milliseconds_costs_most_of_the_link() {
    // Mathis et al., CCR 27(3), 1997: 1448 * 8 / 0.06 * 1.22 / sqrt(0.01) = 2.4 Mbit/s for Reno;
    // CUBIC in its Reno-friendly region is about as fast.
    let (goodput, stats) = download(&[LinkSpec::new(50.0, 30).with_loss(0.01)], &[0]);
    assert!((1.5..5.0).contains(&goodput), "{goodput} {stats:?}");
}

#[test]
fn striping_over_unequal_links_collapses_and_over_equal_ones_does_not() {
    let link = |delay_ms| LinkSpec::new(50.0, delay_ms).with_queue_ms(100);
    let (unequal, stats) = download(&[link(10), link(40)], &[0, 1]);
    assert!(unequal < 0.3 * 100.0 * WIRE, "{unequal} {stats:?}");
    let (equal, stats) = download(&[link(20), link(20)], &[0, 1]);
    assert!(equal > 0.95 * 100.0 * WIRE, "{equal} {stats:?}");
}

#[test]
fn two_flows_share() {
    let mut world = world(&[LinkSpec::new(40.0, 20)], &[0]);
    let (one, other) = (world.download(), world.download());
    world.run_for(secs(60));
    let (one, other) = (world.goodput(one, 20, 60), world.goodput(other, 20, 60));
    assert!(one + other > 0.95 * 40.0 * WIRE, "{one} {other}");
    assert!(one.min(other) / one.max(other) > 0.4, "{one} {other}");
}

#[test]
fn a_transfer_survives_a_long_cut() {
    let mut world = world(&[LinkSpec::new(10.0, 20)], &[0]);
    let flow = world.transfer(Side::Client, 3_000_000);
    world.run_for(secs(1));
    world.cut(0);
    world.run_for(secs(5));
    assert!(world.tcp(flow).stats().timeouts >= 3);
    world.restore(0);
    assert!(world.run_while_not(secs(10), |world| world.tcp(flow).finished_at().is_some()));
    world.run_for(secs(1));
    assert_eq!(world.tcp(flow).sender().acknowledged(), 3_000_000);
}

#[test]
fn a_lost_tail_is_repaired_by_a_probe_before_the_timeout() {
    let mut world = world(&[LinkSpec::new(10.0, 20)], &[0]);
    let flow = world.transfer(Side::Client, 14_480);
    // The last segments of the initial window are still being serialised.
    world.run_for(millis(8));
    world.cut(0);
    world.restore(0);
    let is_done = world.run_while_not(secs(5), |world| world.tcp(flow).finished_at().is_some());
    assert!(is_done);
    let stats = world.tcp(flow).stats();
    assert!(stats.timeouts == 0 && stats.retransmissions > 0, "{stats:?}");
    assert!(world.now().saturating_since(mlvpn_proto::Instant::ZERO) < Duration::from_millis(400));
}
