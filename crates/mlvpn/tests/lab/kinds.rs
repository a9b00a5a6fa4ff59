//! Ethernet frames and IPv6, inside and outside.

use std::time::Duration;

use mlvpn_lab::workload::{Ping, Transfer};

use crate::tunnel::{CLIENT_V4, LINK, Plan, SERVER_V4, SERVER_V6, TUN, Tunnel, lab, two_links};
use crate::wait::wait_for;

tests![
    tap_carries_ethernet_frames_with_both_versions_of_ip,
    ipv6_goes_through_a_tunnel_over_ipv4,
    the_links_may_be_ipv6,
    a_server_bound_to_all_addresses_of_ipv6_answers,
    a_server_bound_to_all_addresses_of_ipv4_answers,
    an_interface_that_was_down_carries_packets_again,
];

/// Echoes and downloads over both versions of IP.
fn use_both_versions(tunnel: &Tunnel) {
    for address in [SERVER_V4, SERVER_V6] {
        tunnel.wait_for_echo(address);
        let transfer = Transfer::download(&tunnel.client.host, &tunnel.server.host, address);
        let running = transfer.start().unwrap();
        wait_for("a download", || running.bytes() > 200_000);
        assert_eq!(running.stop().unwrap().wrong_bytes(), 0);
    }
}

fn tap_carries_ethernet_frames_with_both_versions_of_ip() {
    let lab = two_links();
    let tunnel = Plan::over(&lab).both("general", "tuntap", "tap").start(&lab);
    use_both_versions(&tunnel);
    assert_eq!(tunnel.client.status()["tuntap"]["type"], "tap");
    // The frame's header is carried, too.
    wait_for("the MTU", || tunnel.client.status()["tuntap"]["mtu"] == 1_426);
}

fn ipv6_goes_through_a_tunnel_over_ipv4() {
    let lab = two_links();
    let tunnel = Plan::over(&lab).start(&lab);
    use_both_versions(&tunnel);
}

fn the_links_may_be_ipv6() {
    let lab = two_links();
    let mut plan = Plan::over(&lab);
    for (port, link) in (5_080..).zip(lab.links()) {
        plan.join(link.name(), link.client_v6(), lab.server_v6(), port);
    }
    let tunnel = plan.start(&lab);
    use_both_versions(&tunnel);
    // The header is 20 bytes longer than that of IPv4.
    for end in [&tunnel.client, &tunnel.server] {
        wait_for("the smaller MTU", || end.status()["tuntap"]["mtu"] == 1_420);
    }
}

fn a_server_bound_to_all_addresses_of_ipv6_answers() {
    let lab = lab(&[("dsl1", LINK)]);
    let mut plan = Plan::over(&lab);
    plan.join("dsl1", lab.link("dsl1").client_v6(), lab.link("dsl1").server_end_v6(), 5_080);
    plan.server.set("dsl1", "bindhost", "::");
    use_both_versions(&plan.start(&lab));
}

fn a_server_bound_to_all_addresses_of_ipv4_answers() {
    let lab = lab(&[("dsl1", LINK)]);
    let mut plan = Plan::over(&lab);
    plan.join("dsl1", lab.link("dsl1").client_v4(), lab.link("dsl1").server_end_v4(), 5_080);
    plan.server.set("dsl1", "bindhost", "0.0.0.0");
    use_both_versions(&plan.start(&lab));
}

fn an_interface_that_was_down_carries_packets_again() {
    let lab = lab(&[("dsl1", LINK)]);
    let tunnel = Plan::over(&lab).start(&lab);
    let set_up = |up| {
        let mut netlink = lab.server().netlink();
        let index = netlink.link_by_name(TUN).unwrap().index;
        netlink.set_link_up(index, up).unwrap();
    };
    set_up(false);
    let ping = Ping::to(SERVER_V4).count(3).timeout(Duration::from_millis(100));
    assert_eq!(ping.run(lab.client()).unwrap().answered(), 0);
    let ping = Ping::to(CLIENT_V4).count(1).timeout(Duration::from_millis(100));
    assert!(ping.run(lab.server()).map_or(0, |report| report.answered()) == 0);
    set_up(true);
    tunnel.wait_for_echo(SERVER_V4);
    assert_eq!((tunnel.client.disconnects("dsl1"), tunnel.server.disconnects("dsl1")), (0, 0));
}
