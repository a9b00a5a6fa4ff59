//! Nothing is ever fragmented on a link, and whoever sends too much is told.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use mlvpn_lab::Host;
use mlvpn_lab::workload::Ping;
use nix::sys::socket::{getsockopt, sockopt};

use crate::tunnel::{LINK, Plan, SERVER_V4, SERVER_V6, TUN, Tunnel, lab, two_links};
use crate::wait::wait_for;

tests![
    full_packets_fill_the_links_without_a_fragment,
    the_smallest_link_decides_the_mtu,
    in_version_1_the_routing_table_tells_the_mtu,
    a_configured_mtu_is_set,
    senders_of_packets_that_are_too_big_are_told,
    connections_begin_with_segments_that_fit,
];

/// A counter of a host's network stack: `Ip FragCreates`, from its `/proc/net/snmp`.
fn counter(host: &Host, protocol: &str, name: &str) -> u64 {
    let snmp = host.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap()).unwrap();
    let prefix = format!("{protocol}: ");
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix(&prefix));
    let names = lines.next().unwrap().split(' ');
    let mut pairs = names.zip(lines.next().unwrap().split(' '));
    pairs.find(|(known, _)| *known == name).unwrap().1.parse().unwrap()
}

fn interface_mtu(host: &Host) -> u32 {
    host.netlink().link_by_name(TUN).unwrap().mtu
}

fn assert_mtu(tunnel: &Tunnel, mtu: u32) {
    for end in [&tunnel.client, &tunnel.server] {
        wait_for(&format!("an MTU of {mtu}"), || {
            interface_mtu(&end.host) == mtu && end.status()["tuntap"]["mtu"] == mtu
        });
    }
}

/// Moves full packets in both directions, and looks for fragments.
fn move_without_fragments(tunnel: &Tunnel) {
    tunnel.move_bytes(500_000);
    let mtu = interface_mtu(&tunnel.client.host) as usize;
    let largest = Ping::to(SERVER_V4).count(1).payload(mtu - 28).timeout(Duration::from_secs(1));
    wait_for("an echo of full size", || largest.run(&tunnel.client.host).unwrap().answered() == 1);
    for end in [&tunnel.client, &tunnel.server] {
        for name in ["FragCreates", "FragFails", "ReasmReqds"] {
            assert_eq!(counter(&end.host, "Ip", name), 0, "{name} of {}", end.host.name());
        }
    }
}

fn full_packets_fill_the_links_without_a_fragment() {
    let lab = two_links();
    let tunnel = Plan::over(&lab).start(&lab);
    assert_mtu(&tunnel, 1_440);
    move_without_fragments(&tunnel);
}

fn the_smallest_link_decides_the_mtu() {
    let lab = lab(&[("dsl1", LINK), ("small", "down=20,delay=5,mtu=1400")]);
    let tunnel = Plan::over(&lab).start(&lab);
    assert_mtu(&tunnel, 1_340);
    move_without_fragments(&tunnel);
}

fn in_version_1_the_routing_table_tells_the_mtu() {
    let lab = lab(&[("dsl1", LINK), ("small", "down=20,delay=5,mtu=1400")]);
    let mut tunnel = Plan::over(&lab).in_version_1().start(&lab);
    assert_mtu(&tunnel, 1_328);
    move_without_fragments(&tunnel);
    tunnel.client.reload(|conf| conf.remove("small"));
    tunnel.server.reload(|conf| conf.remove("small"));
    assert_mtu(&tunnel, 1_428);
}

fn a_configured_mtu_is_set() {
    let lab = lab(&[("dsl1", LINK)]);
    let tunnel = Plan::over(&lab).both("general", "mtu", 1_300).start(&lab);
    assert_mtu(&tunnel, 1_300);
    move_without_fragments(&tunnel);
}

fn senders_of_packets_that_are_too_big_are_told() {
    let lab = lab(&[("dsl1", LINK)]);
    let mut plan = Plan::over(&lab);
    plan.client.set("general", "ip4", "10.44.43.1/30");
    plan.client.set("general", "ip4_gateway", SERVER_V4);
    plan.client.set("general", "ip6", "fd44::1/64");
    plan.client.set("general", "ip6_gateway", SERVER_V6);
    let tunnel = plan.start(&lab);
    assert_mtu(&tunnel, 1_440);
    let client = &tunnel.client.host;
    // As a status command may do that does not know better.
    client.configure(TUN, Some(1_500), &[]).unwrap();
    let told = || counter(client, "Icmp", "InDestUnreachs");
    let before = told();
    let ping = |payload| {
        let ping = Ping::to(SERVER_V4).payload(payload).count(1);
        ping.timeout(Duration::from_millis(500)).run(client).unwrap().answered()
    };
    assert_eq!(ping(1_472), 0, "it does not fit and must not be fragmented");
    wait_for("the answer that it is too big", || told() > before);
    let too_big = || tunnel.client.status()["session"]["drops"]["too_big"].as_u64().unwrap();
    wait_for("its count", || too_big() >= 1);
    // The host knows by now, and cuts the rest to measure itself.
    wait_for("an echo in fragments", || ping(1_472) == 1);
    let ping = Ping::to(SERVER_V6).payload(1_452).count(1).timeout(Duration::from_millis(500));
    wait_for("an echo by IPv6", || ping.run(client).unwrap().answered() == 1);
    assert!(too_big() >= 2);
    tunnel.move_bytes(200_000);
}

fn connections_begin_with_segments_that_fit() {
    let lab = lab(&[("dsl1", LINK)]);
    let tunnel = Plan::over(&lab).start(&lab);
    assert_mtu(&tunnel, 1_440);
    let (client, server) = (&tunnel.client.host, &tunnel.server.host);
    // Now both hosts announce 1,460 bytes, as those of the networks behind them do.
    for host in [client, server] {
        host.configure(TUN, Some(1_500), &[]).unwrap();
    }
    let segment = |stream: &TcpStream| getsockopt(stream, sockopt::TcpMaxSeg).unwrap();
    for address in [SERVER_V4, SERVER_V6] {
        let listener = server.run(|| TcpListener::bind((address, 5_003)).unwrap()).unwrap();
        let connect = || TcpStream::connect((address, 5_003)).unwrap();
        let active = client.run(connect).unwrap();
        let (passive, _) = listener.accept().unwrap();
        // Less the headers of IP and TCP and the timestamps in every segment.
        let fits = if address.is_ipv4() { 1_440 - 20 - 20 - 12 } else { 1_440 - 40 - 20 - 12 };
        assert_eq!((segment(&active), segment(&passive)), (fits, fits), "{address}");
    }
}
