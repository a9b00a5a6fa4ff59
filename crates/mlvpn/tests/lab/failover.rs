//! Links that die and come back, and who carries what.

use std::time::Duration;

use mlvpn_lab::Lab;
use mlvpn_lab::workload::{DatagramReport, DatagramStream};

use crate::tunnel::{Plan, SERVER_V4, Tunnel, two_links};
use crate::wait::{PATIENCE, wait_for};

tests![
    a_download_survives_the_death_of_a_link_and_uses_it_again_afterwards,
    filters_bind_packets_to_a_link_as_long_as_it_is_up,
    a_fallback_link_carries_nothing_until_the_other_one_dies,
    a_tunnel_without_any_link_recovers_with_the_first_one,
    a_link_with_a_port_of_its_own_is_opened_again_on_it,
];

/// Seconds until a cut link is down; a busy machine may hold the other one up for nearly as long.
const TIMEOUT_S: u64 = 8;

fn arrived_at_client(lab: &Lab, link: &str) -> u64 {
    lab.link(link).delivered_bytes().unwrap().0
}

fn arrived_at_server(lab: &Lab, link: &str) -> u64 {
    lab.link(link).delivered_bytes().unwrap().1
}

fn wait_until_down(tunnel: &Tunnel, link: &str) {
    tunnel.client.wait_for_link_down(link);
    tunnel.server.wait_for_link_down(link);
}

fn a_download_survives_the_death_of_a_link_and_uses_it_again_afterwards() {
    let lab = two_links();
    let tunnel = Plan::over(&lab).both("general", "timeout", TIMEOUT_S).start(&lab);
    let transfer = tunnel.download().start().unwrap();
    wait_for("both links used", || {
        ["dsl1", "dsl2"].iter().all(|link| arrived_at_client(&lab, link) > 300_000)
    });
    lab.link("dsl1").cut().unwrap();
    wait_until_down(&tunnel, "dsl1");
    let down = || lab.link("dsl1").traffic().unwrap().down;
    let moves = |bytes: u64| {
        let before = transfer.bytes();
        wait_for("bytes over the other link", || transfer.bytes() > before + bytes);
    };
    // What was sent before the decision may still be on its way to the link's end.
    moves(500_000);
    let offered = down().offered;
    moves(1_500_000);
    assert_eq!(down().offered, offered, "nothing is sent into a dead link");
    for end in [&tunnel.client, &tunnel.server] {
        assert_eq!(end.disconnects("dsl2"), 0);
        let reason = end.link("dsl1")["last_down_reason"].clone();
        assert_eq!(reason, "no keepalive from the peer within the timeout");
    }
    let before = arrived_at_client(&lab, "dsl1");
    lab.link("dsl1").restore().unwrap();
    tunnel.wait_until_up();
    wait_for("its share again", || arrived_at_client(&lab, "dsl1") > before + 1_000_000);
    assert_eq!(transfer.stop().unwrap().wrong_bytes(), 0);
}

/// Half a second of datagrams to the server, none of which may be lost without a reason.
fn send_datagrams(tunnel: &Tunnel) -> DatagramReport {
    let (client, slowed) = (&tunnel.client, tunnel.client.slowed());
    let stream = DatagramStream::new(&client.host, &tunnel.server.host, SERVER_V4).rate(4_000_000);
    let report = stream.duration(Duration::from_millis(500)).grace(PATIENCE).run().unwrap();
    client.assert_whole(&report, slowed);
    report
}

/// Bytes that a stream has added to a link on its way to the server.
fn added_by(lab: &Lab, link: &str, work: impl FnOnce()) -> u64 {
    let before = arrived_at_server(lab, link);
    work();
    arrived_at_server(lab, link) - before
}

/// What keepalives of a very slow test may amount to, and no stream here.
const KEEPALIVES: u64 = 40_000;

fn filters_bind_packets_to_a_link_as_long_as_it_is_up() {
    let lab = two_links();
    let plan = Plan::over(&lab).both("general", "timeout", TIMEOUT_S);
    let tunnel =
        plan.both("filters", "dsl2", "udp portrange 1024-65535 and greater 1000").start(&lab);
    let on_dsl1 = added_by(&lab, "dsl1", || drop(send_datagrams(&tunnel)));
    assert!(on_dsl1 < KEEPALIVES, "{on_dsl1} bytes went over dsl1");
    assert!(arrived_at_server(&lab, "dsl2") > 200_000);
    lab.link("dsl2").cut().unwrap();
    wait_until_down(&tunnel, "dsl2");
    let on_dsl1 = added_by(&lab, "dsl1", || drop(send_datagrams(&tunnel)));
    assert!(on_dsl1 > 200_000, "{on_dsl1} bytes went over dsl1");
    lab.link("dsl2").restore().unwrap();
    tunnel.wait_until_up();
    let on_dsl1 = added_by(&lab, "dsl1", || drop(send_datagrams(&tunnel)));
    assert!(on_dsl1 < KEEPALIVES, "{on_dsl1} bytes went over dsl1");
}

fn a_fallback_link_carries_nothing_until_the_other_one_dies() {
    let lab = two_links();
    let plan = Plan::over(&lab).both("general", "timeout", TIMEOUT_S);
    let tunnel = plan.both("dsl2", "fallback_only", 1).start(&lab);
    tunnel.move_bytes(2_000_000);
    let idle = lab.link("dsl2").delivered_bytes().unwrap();
    assert!(idle.0 < KEEPALIVES && idle.1 < KEEPALIVES, "{idle:?}");
    lab.link("dsl1").cut().unwrap();
    wait_until_down(&tunnel, "dsl1");
    tunnel.move_bytes(1_000_000);
    assert!(arrived_at_client(&lab, "dsl2") > 1_000_000);
    lab.link("dsl1").restore().unwrap();
    tunnel.wait_until_up();
    let before = arrived_at_client(&lab, "dsl2");
    tunnel.move_bytes(1_000_000);
    assert!(arrived_at_client(&lab, "dsl2") - before < KEEPALIVES);
}

fn a_tunnel_without_any_link_recovers_with_the_first_one() {
    let lab = two_links();
    let tunnel = Plan::over(&lab).both("general", "timeout", TIMEOUT_S).start(&lab);
    for link in ["dsl1", "dsl2"] {
        lab.link(link).cut().unwrap();
    }
    for link in ["dsl1", "dsl2"] {
        wait_until_down(&tunnel, link);
    }
    lab.link("dsl2").restore().unwrap();
    tunnel.client.wait_for_link("dsl2", "connected");
    tunnel.wait_for_echo(SERVER_V4);
    assert_ne!(tunnel.client.link("dsl1")["status"], "connected");
}

fn a_link_with_a_port_of_its_own_is_opened_again_on_it() {
    let lab = two_links();
    let mut plan = Plan::over(&lab).both("general", "timeout", TIMEOUT_S);
    plan.client.set("dsl1", "bindport", 5_099);
    let tunnel = plan.start(&lab);
    lab.link("dsl1").cut().unwrap();
    wait_until_down(&tunnel, "dsl1");
    // Time for the client to try another socket while the link is dead.
    tunnel.move_bytes(3_000_000);
    lab.link("dsl1").restore().unwrap();
    tunnel.wait_until_up();
    assert_eq!(tunnel.client.link("dsl1")["bindport"], "5099");
    tunnel.move_bytes(1_000_000);
    let disconnects = tunnel.client.disconnects("dsl1");
    tunnel.move_bytes(5_000_000);
    assert_eq!(tunnel.client.disconnects("dsl1"), disconnects, "no late attempt replaces it");
}
