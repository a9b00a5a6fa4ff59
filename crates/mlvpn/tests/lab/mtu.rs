//! Nothing is ever fragmented on a link, and whoever sends too much is told.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::Duration;

use mlvpn_lab::workload::{DatagramStream, Ping, RunningTransfer, Transfer};
use mlvpn_lab::{Host, Lab, LabBuilder};
use mlvpn_sim::link::WanLink;
use nix::sys::socket::{getsockopt, sockopt};

use crate::tunnel::{
    CLIENT_V6, End, LINK, Plan, SERVER_V4, SERVER_V6, TUN, Tunnel, lab, two_links,
};
use crate::wait::{PATIENCE, wait_for};

tests![
    full_packets_fill_the_links_without_a_fragment,
    the_smallest_link_decides_the_mtu,
    links_of_four_sizes_carry_full_packets,
    links_of_four_sizes_carry_full_packets_over_ipv6,
    ipv6_in_the_tunnel_keeps_its_least_though_a_link_carries_less,
    ipv6_in_the_tunnel_gives_way_to_a_small_link_with_a_peer_of_version_1,
    a_smaller_mtu_that_nobody_tells_is_found_in_each_direction,
    a_transfer_goes_on_when_one_of_two_links_becomes_smaller,
    a_transfer_goes_on_when_the_only_link_becomes_smaller,
    in_version_1_the_routing_table_tells_the_mtu,
    a_configured_mtu_is_set,
    senders_of_packets_that_are_too_big_are_told,
    connections_begin_with_segments_that_fit,
];

/// What a link's devices and routers say about its size unless they are asked to say something else.
const ETHERNET: u32 = 1_500;
/// Two of the links that carry less than the tests send at once: whoever is to send it needs them all.
const NARROW: &str = "down=5,delay=5,queue=400";

/// A counter of a host's network stack: `Ip FragCreates`, from its `/proc/net/snmp`.
fn counter(host: &Host, protocol: &str, name: &str) -> u64 {
    let snmp = host.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap()).unwrap();
    let prefix = format!("{protocol}: ");
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix(&prefix));
    let names = lines.next().unwrap().split(' ');
    let mut pairs = names.zip(lines.next().unwrap().split(' '));
    pairs.find(|(known, _)| *known == name).unwrap().1.parse().unwrap()
}

/// The same in IPv6: `Ip6FragCreates`, from `/proc/net/snmp6`.
fn counter6(host: &Host, name: &str) -> u64 {
    let snmp =
        host.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap()).unwrap();
    let mut pairs =
        snmp.lines().filter_map(|line| line.strip_prefix("Ip6")?.split_once(char::is_whitespace));
    pairs.find(|(known, _)| *known == name).unwrap().1.trim().parse().unwrap()
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

/// Waits until an end knows that UDP payloads of up to `size` bytes arrive over a link.
fn wait_for_path_mtu(end: &End, link: &str, size: u16) {
    let what = format!("{size} bytes known to fit {link} of {}", end.host.name());
    wait_for(&what, || end.link(link)["path"]["mtu"] == size);
}

/// How many packets an end refused since no link carries them.
fn too_big(end: &End) -> u64 {
    end.status()["session"]["drops"]["too_big"].as_u64().unwrap_or(0)
}

fn wait_for_full_echo(tunnel: &Tunnel, address: IpAddr, mtu: usize) {
    let headers = if address.is_ipv4() { 20 } else { 40 } + 8;
    let ping = Ping::to(address).count(1).payload(mtu - headers).timeout(Duration::from_secs(1));
    let is_answered = || ping.run(&tunnel.client.host).unwrap().answered() == 1;
    wait_for(&format!("an echo of full size from {address}"), is_answered);
}

fn assert_no_fragment(tunnel: &Tunnel) {
    for end in [&tunnel.client, &tunnel.server] {
        for name in ["FragCreates", "FragFails", "ReasmReqds"] {
            assert_eq!(counter(&end.host, "Ip", name), 0, "{name} of {}", end.host.name());
            assert_eq!(counter6(&end.host, name), 0, "{name} of {} in IPv6", end.host.name());
        }
    }
}

/// Connects to `address`, and sees that neither end is to send more than fits in packets of `mtu` bytes.
fn assert_segments_fit(tunnel: &Tunnel, address: IpAddr, mtu: u32) {
    let segment = |stream: &TcpStream| getsockopt(stream, sockopt::TcpMaxSeg).unwrap();
    let (client, server) = (&tunnel.client.host, &tunnel.server.host);
    let listener = server.run(|| TcpListener::bind((address, 5_003)).unwrap()).unwrap();
    let active = client.run(|| TcpStream::connect((address, 5_003)).unwrap()).unwrap();
    let (passive, _) = listener.accept().unwrap();
    // Less the headers of IP and TCP and the timestamps in every segment.
    let fits = mtu - if address.is_ipv4() { 20 } else { 40 } - 20 - 12;
    assert_eq!((segment(&active), segment(&passive)), (fits, fits), "{address}");
}

/// Moves full packets in both directions, and looks for fragments.
fn move_without_fragments(tunnel: &Tunnel) {
    tunnel.move_bytes(500_000);
    wait_for_full_echo(tunnel, SERVER_V4, interface_mtu(&tunnel.client.host) as usize);
    assert_no_fragment(tunnel);
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

/// Links of all common sizes.
const SIZES: [(&str, u16); 4] =
    [("ethernet", 1_500), ("pppoe", 1_492), ("tunnelled", 1_400), ("least", 1_280)];

/// A lab with [`SIZES`].
fn links_of_four_sizes() -> Lab {
    let add = |lab: LabBuilder, (name, mtu): &(&str, u16)| {
        lab.link(name, format!("{NARROW},mtu={mtu}").parse().unwrap())
    };
    SIZES.iter().fold(Lab::builder(), add).build().unwrap()
}

/// Waits until both ends know what each of [`SIZES`] carries: all but the headers of IP and UDP.
fn wait_for_sizes(tunnel: &Tunnel, headers: u16) {
    for end in [&tunnel.client, &tunnel.server] {
        SIZES.iter().for_each(|(link, mtu)| wait_for_path_mtu(end, link, mtu - headers));
    }
}

fn assert_nothing_too_big(tunnel: &Tunnel) {
    assert_eq!((too_big(&tunnel.client), too_big(&tunnel.server)), (0, 0));
}

/// Downloads from `address` until every link has brought data.
fn download_over_all(lab: &Lab, tunnel: &Tunnel, address: IpAddr) {
    let arrived = || lab.links().iter().map(|link| link.delivered_bytes().unwrap().0);
    let before: Vec<u64> = arrived().collect();
    let transfer = Transfer::download(&tunnel.client.host, &tunnel.server.host, address).flows(8);
    let transfer = transfer.duration(PATIENCE * 4).start().unwrap();
    wait_for("data over every link", || {
        arrived().zip(&before).all(|(now, before)| now > before + 200_000)
    });
    assert_eq!(transfer.stop().unwrap().wrong_bytes(), 0);
}

/// Fills links of [`SIZES`] that need `headers` bytes for IP and UDP.
fn fill_four_sizes(lab: &Lab, plan: Plan, headers: u16) {
    let tunnel = plan.start(lab);
    // What the smallest carries, less the header and tag of a packet with data.
    let mtu = 1_280 - headers - 32;
    assert_mtu(&tunnel, u32::from(mtu));
    wait_for_sizes(&tunnel, headers);
    wait_for_full_echo(&tunnel, SERVER_V4, usize::from(mtu));
    download_over_all(lab, &tunnel, SERVER_V4);
    assert_no_fragment(&tunnel);
    assert_nothing_too_big(&tunnel);
}

fn links_of_four_sizes_carry_full_packets() {
    let lab = links_of_four_sizes();
    fill_four_sizes(&lab, Plan::over(&lab), 20 + 8);
}

fn links_of_four_sizes_carry_full_packets_over_ipv6() {
    let lab = links_of_four_sizes();
    let mut plan = Plan::over(&lab);
    for (number, link) in (0..).zip(lab.links()) {
        plan.join(link.name(), link.client_v6(), lab.server_v6(), 5_080 + number);
    }
    fill_four_sizes(&lab, plan, 40 + 8);
}

/// Cuts all other links under a download by IPv6, which needs segments that fit the smallest.
fn go_on_over_the_smallest(lab: &Lab, tunnel: &Tunnel) {
    let transfer = Transfer::download(&tunnel.client.host, &tunnel.server.host, SERVER_V6);
    let transfer = transfer.duration(PATIENCE * 4).start().unwrap();
    wait_for("bytes over all links", || transfer.bytes() > 200_000);
    let (smallest, _) = SIZES[3];
    let others = lab.links().iter().filter(|link| link.name() != smallest);
    others.for_each(|link| link.cut().unwrap());
    let before = transfer.bytes();
    wait_for("bytes over the smallest link", || transfer.bytes() > before + 1_000_000);
    assert_eq!(transfer.stop().unwrap().wrong_bytes(), 0);
}

fn ipv6_in_the_tunnel_keeps_its_least_though_a_link_carries_less() {
    let lab = links_of_four_sizes();
    let mut plan = Plan::over(&lab);
    plan.client.set("general", "ip6", format!("{CLIENT_V6}/64"));
    plan.server.set("general", "ip6", format!("{SERVER_V6}/64"));
    let tunnel = plan.start(&lab);
    wait_for_sizes(&tunnel, 20 + 8);
    assert_mtu(&tunnel, 1_280);
    for address in [SERVER_V6, SERVER_V4] {
        // The smallest link does not carry this, but it carries the segments of TCP.
        wait_for_full_echo(&tunnel, address, 1_280);
        assert_segments_fit(&tunnel, address, 1_220);
        download_over_all(&lab, &tunnel, address);
    }
    go_on_over_the_smallest(&lab, &tunnel);
    assert_no_fragment(&tunnel);
    assert_nothing_too_big(&tunnel);
}

fn ipv6_in_the_tunnel_gives_way_to_a_small_link_with_a_peer_of_version_1() {
    let lab = lab(&[("dsl1", LINK), ("least", "down=20,delay=5,mtu=1280")]);
    let mut plan = Plan::over(&lab);
    plan.client.set("general", "protocol_version", 1);
    plan.server.set("general", "ip6", format!("{SERVER_V6}/64"));
    let tunnel = plan.start(&lab);
    // Version 1 gives any packet to any link.
    assert_mtu(&tunnel, 1_208);
    move_without_fragments(&tunnel);
}

/// Adds a link that nobody says to be smaller than Ethernet: what it does not carry vanishes.
fn with_silent_link(lab: LabBuilder, name: &str, properties: &str) -> LabBuilder {
    lab.link(name, properties.parse().unwrap()).device_mtu(ETHERNET)
}

fn a_smaller_mtu_that_nobody_tells_is_found_in_each_direction() {
    let lab = Lab::builder().link("dsl1", LINK.parse().unwrap());
    let lab = with_silent_link(lab, "dark", "down=20,delay=5,queue=400,mtu=1400/1500");
    let lab = lab.build().unwrap();
    let tunnel = Plan::over(&lab).start(&lab);
    let (client, server) = (&tunnel.client, &tunnel.server);
    wait_for("an MTU upwards of 1440", || interface_mtu(&client.host) == 1_440);
    wait_for("an MTU downwards of 1340", || interface_mtu(&server.host) == 1_340);
    wait_for_path_mtu(client, "dark", 1_472);
    wait_for_path_mtu(server, "dark", 1_372);
    let dark = || lab.link("dark").traffic().unwrap();
    assert!(dark().down.too_big >= 3, "nothing but lost probes can have told: {:?}", dark());
    let vanished = (dark().down.too_big, dark().up.too_big);

    let (before, stream) = (dark(), DatagramStream::new(&client.host, &server.host, SERVER_V4));
    let stream = stream.size(1_440 - 28).duration(Duration::from_secs(2)).grace(PATIENCE);
    let report = stream.run().unwrap();
    assert_eq!((report.lost(), report.refused, report.corrupt), (0, 0, 0), "{report:?}");
    tunnel.move_bytes(500_000);
    assert!(dark().up.delivered_bytes > before.up.delivered_bytes);
    wait_for_full_echo(&tunnel, SERVER_V4, 1_340);
    assert_no_fragment(&tunnel);
    assert_eq!((dark().down.too_big, dark().up.too_big), vanished, "no data was too big");
}

/// Has a link of 1500 bytes carry 1400 only while bytes go up and down, and waits until both ends have
/// noticed that by themselves.
fn shrink_under_transfers(lab: &Lab, tunnel: &Tunnel, link: &str) {
    assert_mtu(tunnel, 1_440);
    let upload = Transfer::upload(&tunnel.client.host, &tunnel.server.host, SERVER_V4);
    let transfers = [tunnel.download(), upload.duration(PATIENCE * 4)];
    let transfers = transfers.map(|transfer| transfer.start().unwrap());
    let wait_for_bytes = |what: &str| {
        let before = transfers.each_ref().map(RunningTransfer::bytes);
        for (transfer, before) in transfers.iter().zip(before) {
            wait_for(what, || transfer.bytes() > before + 1_000_000);
        }
    };
    wait_for_bytes("bytes in full packets");
    let smaller: WanLink = format!("{LINK},mtu=1400").parse().unwrap();
    lab.link(link).set_spec(&smaller).unwrap();
    assert_mtu(tunnel, 1_340);
    let arrived = || lab.link(link).delivered_bytes().unwrap();
    let before = arrived();
    wait_for_bytes("bytes in smaller packets");
    wait_for("data over the smaller link", || {
        arrived().0 > before.0 + 200_000 && arrived().1 > before.1 + 200_000
    });
    for transfer in transfers {
        assert_eq!(transfer.stop().unwrap().wrong_bytes(), 0);
    }
    for end in [&tunnel.client, &tunnel.server] {
        wait_for_path_mtu(end, link, 1_372);
        assert_eq!(end.disconnects(link), 0);
    }
}

fn a_transfer_goes_on_when_one_of_two_links_becomes_smaller() {
    let lab = two_links();
    let tunnel = Plan::over(&lab).start(&lab);
    shrink_under_transfers(&lab, &tunnel, "dsl1");
    for end in [&tunnel.client, &tunnel.server] {
        wait_for_path_mtu(end, "dsl2", 1_472);
    }
}

fn a_transfer_goes_on_when_the_only_link_becomes_smaller() {
    let lab = lab(&[("dsl1", LINK)]);
    let tunnel = Plan::over(&lab).start(&lab);
    shrink_under_transfers(&lab, &tunnel, "dsl1");
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
    wait_for("its count", || too_big(&tunnel.client) >= 1);
    // The host knows by now, and cuts the rest to measure itself.
    wait_for("an echo in fragments", || ping(1_472) == 1);
    let ping = Ping::to(SERVER_V6).payload(1_452).count(1).timeout(Duration::from_millis(500));
    wait_for("an echo by IPv6", || ping.run(client).unwrap().answered() == 1);
    assert!(too_big(&tunnel.client) >= 2);
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
    for address in [SERVER_V4, SERVER_V6] {
        assert_segments_fit(&tunnel, address, 1_440);
    }
}
