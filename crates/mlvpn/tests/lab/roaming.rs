//! Ends that move: translators that forget, addresses that change at either end, and somebody who only
//! pretends that one has changed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mlvpn_io::netlink::{Prefix, Route, Rule};
use mlvpn_lab::workload::{Copier, RunningTransfer, Transfer};
use mlvpn_lab::{Host, Lab};

use crate::tunnel::{End, LINK, Plan, SERVER_V4, SERVER_V6, Tunnel, lab, two_links};
use crate::wait::{PATIENCE, wait_for};

tests![
    a_download_goes_on_when_a_translator_forgets_the_only_link,
    an_upload_goes_on_when_a_translator_forgets_the_only_link,
    both_links_are_used_after_a_translator_has_forgotten_one,
    a_translator_in_another_network_is_followed,
    a_download_goes_on_when_the_only_link_gets_an_address_in_another_network,
    an_upload_goes_on_when_one_of_two_links_gets_an_address_in_another_network,
    a_server_that_answers_from_another_of_its_addresses_is_heard,
    a_server_whose_name_leads_elsewhere_is_found_again,
    a_server_that_has_moved_is_followed_whatever_its_name_says,
    a_link_by_ipv4_and_one_by_ipv6_carry_both_and_either_may_die,
    whoever_copies_datagrams_and_is_faster_gets_no_tunnel,
    an_address_that_sent_one_datagram_gets_three_times_its_bytes_at_most,
];

/// What goes over a link before and after what happens to it.
const SOME: u64 = 500_000;
const MORE: u64 = 1_500_000;

/// A transfer that has begun.
fn begin(transfer: &Transfer) -> RunningTransfer {
    let running = transfer.clone().duration(PATIENCE * 4).start().unwrap();
    wait_for("the transfer's beginning", || running.bytes() > SOME);
    running
}

fn upload(tunnel: &Tunnel) -> Transfer {
    Transfer::upload(&tunnel.client.host, &tunnel.server.host, SERVER_V4)
}

/// Waits until `more` bytes were moved from now on.
fn wait_for_more(running: &RunningTransfer, more: u64) {
    let before = running.bytes();
    wait_for("more of the transfer", || running.bytes() > before + more);
}

/// The connection inside did not break, and what it carried is right.
fn finish(running: RunningTransfer) {
    assert_eq!(running.stop().unwrap().wrong_bytes(), 0);
}

/// Where the server believes the client to be.
fn remote(end: &End, link: &str) -> Option<SocketAddr> {
    end.link(link)["remote_address"].as_str().map(|text| text.parse().unwrap())
}

/// Has something happen to `dsl1` under a transfer, after which the server has to speak to the client at
/// an address that `is_expected` accepts, over the same path of the same session.
fn move_under(
    tunnel: &mut Tunnel,
    transfer: &Transfer,
    happen: impl FnOnce(),
    is_expected: impl Fn(SocketAddr) -> bool,
) {
    let path = |tunnel: &Tunnel| tunnel.server.link("dsl1")["path"]["id"].clone();
    let (before, age) = (path(tunnel), session_age(&tunnel.server));
    assert!(!remote(&tunnel.server, "dsl1").is_some_and(&is_expected), "nothing has happened yet");
    let running = begin(transfer);
    happen();
    wait_for("the client's other address", || {
        remote(&tunnel.server, "dsl1").is_some_and(&is_expected)
    });
    wait_for_more(&running, MORE);
    finish(running);
    tunnel.server.wait_for_log("the peer has another address");
    assert_eq!(path(tunnel), before);
    assert!(session_age(&tunnel.server) > age, "another session");
    for end in [&tunnel.client, &tunnel.server] {
        let downs: Vec<_> = end.conf.links().map(|link| end.disconnects(link)).collect();
        assert!(downs.iter().all(|downs| *downs == 0), "{}: {downs:?}", end.host.name());
    }
}

/// How old the session is, in seconds; it is the only one.
fn session_age(end: &End) -> f64 {
    end.status()["peers"][0]["uptime_seconds"].as_f64().unwrap()
}

/// Ports that a translator gives out, before and after it has forgotten.
const EARLY_PORTS: &str = "20000-29999";
const LATE_PORTS: &str = "30000-39999";

/// A client at home, behind a router that translates addresses:
///
/// ```text
///  home  192.168.1.2 --- 192.168.1.1  router  198.18.1.2 --- dsl1 --- 198.19.0.1  server
///        192.168.2.2 --- 192.168.2.1          198.18.2.2 --- dsl2 ---/
/// ```
struct Home {
    lab: Lab,
    host: Host,
}

impl Home {
    fn new(lab: Lab) -> Self {
        let host = Host::new("home").unwrap();
        let router = lab.client();
        router.namespace().set_sysctl("net/ipv4/ip_forward", "1").unwrap();
        for (number, link) in (1_u8..).zip(lab.links()) {
            let [near, far] = [1, 2].map(|last| Ipv4Addr::new(192, 168, number, last));
            let cable = format!("home{number}");
            host.connect(link.name(), router, &cable).unwrap();
            host.configure(link.name(), None, &[Prefix::new(far, 24)]).unwrap();
            router.configure(&cable, None, &[Prefix::new(near, 24)]).unwrap();
            // What comes from this cable leaves by this link.
            let priority = 9_000 + u32::from(number);
            let rule = Rule::lookup(link.table(), false, priority).with_input(&cable);
            router.netlink().add_rule(&rule).unwrap();
            let mut netlink = host.netlink();
            let device = netlink.link_by_name(link.name()).unwrap().index;
            let route = Route::to(Prefix::ALL_V4).via(near).by_link(device).from_source(far);
            netlink.add_route(&route.clone().in_table(100 + u32::from(number))).unwrap();
            netlink.add_route(&route.with_metric(u32::from(number))).unwrap();
            let rule = Rule::lookup(100 + u32::from(number), false, priority);
            netlink.add_rule(&rule.with_output(link.name())).unwrap();
        }
        let home = Self { lab, host };
        home.translate(EARLY_PORTS);
        home
    }

    /// New mappings have these ports.
    fn translate(&self, ports: &str) {
        let rules = format!(
            "add table ip nat; flush table ip nat; \
             add chain ip nat post {{ type nat hook postrouting priority 100; }}; \
             add rule ip nat post oifname \"dsl*\" meta l4proto udp masquerade to :{ports}"
        );
        let output = self.lab.client().command("nft").arg(rules).output();
        let output = output.expect("nft has to be installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The router forgets the mappings of `dsl1`, as after a restart.
    fn forget(&self) {
        self.translate(LATE_PORTS);
        let link = self.lab.link("dsl1");
        let own = Prefix::new(link.client_v4(), 24);
        self.lab.readdress("dsl1", own, link.server_end_v4()).unwrap();
    }

    fn start(&self) -> Tunnel {
        let mut plan = Plan::over(&self.lab);
        for link in self.lab.links() {
            plan.client.unset(link.name(), "bindhost");
            plan.client.set(link.name(), "binddev", link.name());
        }
        let tunnel = plan.start_at(&self.host, &self.lab);
        let remote = remote(&tunnel.server, "dsl1").unwrap();
        assert_eq!(remote.ip(), self.lab.link("dsl1").client_v4(), "it is translated");
        assert!((20_000..30_000).contains(&remote.port()), "{remote}");
        tunnel
    }
}

fn is_late(address: SocketAddr) -> bool {
    (30_000..40_000).contains(&address.port())
}

fn a_download_goes_on_when_a_translator_forgets_the_only_link() {
    let home = Home::new(lab(&[("dsl1", LINK)]));
    let mut tunnel = home.start();
    let download = tunnel.download();
    move_under(&mut tunnel, &download, || home.forget(), is_late);
}

fn an_upload_goes_on_when_a_translator_forgets_the_only_link() {
    let home = Home::new(lab(&[("dsl1", LINK)]));
    let mut tunnel = home.start();
    let upload = upload(&tunnel);
    move_under(&mut tunnel, &upload, || home.forget(), is_late);
}

fn both_links_are_used_after_a_translator_has_forgotten_one() {
    let home = Home::new(two_links());
    let mut tunnel = home.start();
    let download = tunnel.download();
    move_under(&mut tunnel, &download, || home.forget(), is_late);
    let other = remote(&tunnel.server, "dsl2").unwrap();
    assert!((20_000..30_000).contains(&other.port()), "{other}");
    use_all(&tunnel, &home.lab, &download);
}

/// A transfer that goes over all links, towards the client.
fn use_all(tunnel: &Tunnel, lab: &Lab, transfer: &Transfer) {
    let arrived = |link: &str| lab.link(link).delivered_bytes().unwrap().0;
    let links: Vec<_> = tunnel.client.conf.links().collect();
    let before: Vec<_> = links.iter().map(|link| arrived(link)).collect();
    let running = begin(transfer);
    wait_for("all links used", || {
        links.iter().zip(&before).all(|(link, before)| arrived(link) > before + SOME)
    });
    finish(running);
}

/// An address in a network of its own, and the provider's gateway there.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 130));
const GATEWAY_ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 129));

fn go_elsewhere(lab: &Lab) {
    lab.readdress("dsl1", Prefix::new(ELSEWHERE, 25), GATEWAY_ELSEWHERE).unwrap();
}

fn is_elsewhere(address: SocketAddr) -> bool {
    address.ip() == ELSEWHERE
}

fn a_translator_in_another_network_is_followed() {
    let home = Home::new(two_links());
    let mut tunnel = home.start();
    let upload = upload(&tunnel);
    move_under(&mut tunnel, &upload, || go_elsewhere(&home.lab), is_elsewhere);
    use_all(&tunnel, &home.lab, &tunnel.download());
}

/// A tunnel whose client has `dsl1` by its device.
fn by_device(lab: &Lab) -> Tunnel {
    let mut plan = Plan::over(lab);
    plan.client.unset("dsl1", "bindhost");
    plan.client.set("dsl1", "binddev", "dsl1");
    plan.start(lab)
}

fn a_download_goes_on_when_the_only_link_gets_an_address_in_another_network() {
    let lab = lab(&[("dsl1", LINK)]);
    let mut tunnel = by_device(&lab);
    let download = tunnel.download();
    move_under(&mut tunnel, &download, || go_elsewhere(&lab), is_elsewhere);
}

fn an_upload_goes_on_when_one_of_two_links_gets_an_address_in_another_network() {
    let lab = two_links();
    let mut tunnel = by_device(&lab);
    let upload = upload(&tunnel);
    move_under(&mut tunnel, &upload, || go_elsewhere(&lab), is_elsewhere);
    use_all(&tunnel, &lab, &tunnel.download());
}

/// Where the server moves to.
const MOVED: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 19, 0, 7));

/// A tunnel to a server at any of its addresses, which the client knows by name.
fn by_name(lab: &Lab) -> Tunnel {
    let mut plan = Plan::over(lab);
    for link in lab.links() {
        plan.client.set(link.name(), "remotehost", "vpn.example");
        plan.server.unset(link.name(), "bindhost");
    }
    plan.names = format!("{} vpn.example\n", lab.server_v4());
    plan.start(lab)
}

/// Has the server speak from this address, over whatever link.
fn speak_from(lab: &Lab, address: IpAddr) {
    let mut netlink = lab.server().netlink();
    for link in lab.links() {
        let device = netlink.link_by_name(link.name()).unwrap().index;
        let IpAddr::V4(own) = link.server_end_v4() else { unreachable!("it is of IPv4") };
        let network = Prefix::new(Ipv4Addr::from_bits(own.to_bits() & !0xFF), 24);
        let route = Route::to(network).by_link(device).from_source(address);
        netlink.replace_route(&route).unwrap();
    }
}

/// Gives the server another address in place of the one that it has.
fn move_server(lab: &Lab) {
    let mut netlink = lab.server().netlink();
    let device = netlink.link_by_name("lo").unwrap().index;
    netlink.add_address(device, Prefix::host(MOVED)).unwrap();
    drop(netlink);
    speak_from(lab, MOVED);
    let mut netlink = lab.server().netlink();
    netlink.delete_address(device, Prefix::host(lab.server_v4())).unwrap();
}

fn a_server_that_answers_from_another_of_its_addresses_is_heard() {
    let lab = two_links();
    // The routing table has it speak from its end of each link.
    let tunnel = by_name(&lab);
    use_all(&tunnel, &lab, &tunnel.download());
    use_all(&tunnel, &lab, &tunnel.download());
    assert_eq!(remote(&tunnel.client, "dsl2"), Some(SocketAddr::new(lab.server_v4(), 5_081)));
    for end in [&tunnel.client, &tunnel.server] {
        assert_eq!(["dsl1", "dsl2"].map(|link| end.disconnects(link)), [0, 0]);
    }
}

fn a_server_whose_name_leads_elsewhere_is_found_again() {
    let lab = two_links();
    speak_from(&lab, lab.server_v4());
    let mut tunnel = by_name(&lab);
    tunnel.move_bytes(SOME);
    // A server that knows the client would be followed; one that starts anew has to be found.
    tunnel.server.kill();
    move_server(&lab);
    tunnel.server.start_again();
    // Names are changed last, when the server is missed already.
    for link in ["dsl1", "dsl2"] {
        tunnel.client.wait_for_link_down(link);
    }
    tunnel.client.rename(&format!("{MOVED} vpn.example\n"));
    tunnel.wait_until_up();
    tunnel.wait_for_echo(SERVER_V4);
    tunnel.move_bytes(SOME);
    for (link, port) in [("dsl1", 5080), ("dsl2", 5081)] {
        assert_eq!(remote(&tunnel.client, link), Some(SocketAddr::new(MOVED, port)));
    }
}

fn a_server_that_has_moved_is_followed_whatever_its_name_says() {
    let lab = two_links();
    speak_from(&lab, lab.server_v4());
    let mut tunnel = by_name(&lab);
    let age = session_age(&tunnel.client);
    let running = begin(&tunnel.download());
    move_server(&lab);
    for link in ["dsl1", "dsl2"] {
        wait_for("the server's other address", || {
            remote(&tunnel.client, link).is_some_and(|address| address.ip() == MOVED)
        });
    }
    tunnel.client.wait_for_log("the peer has another address");
    wait_for_more(&running, MORE);
    finish(running);
    assert!(session_age(&tunnel.client) > age, "another session");
}

fn a_link_by_ipv4_and_one_by_ipv6_carry_both_and_either_may_die() {
    let lab = lab(&[("dsl1", LINK), ("six", LINK)]);
    let mut plan = Plan::over(&lab);
    plan.join("six", lab.link("six").client_v6(), lab.server_v6(), 5_081);
    let tunnel = plan.start(&lab);
    for address in [SERVER_V4, SERVER_V6] {
        tunnel.wait_for_echo(address);
        let (client, server) = (&tunnel.client.host, &tunnel.server.host);
        use_all(&tunnel, &lab, &Transfer::download(client, server, address));
    }
    for end in [&tunnel.client, &tunnel.server] {
        let families = ["dsl1", "six"].map(|link| remote(end, link).unwrap().is_ipv6());
        assert_eq!(families, [false, true], "{}", end.host.name());
        // What both carry: the header of IPv6 is 20 bytes longer.
        wait_for("the MTU of both", || end.status()["tuntap"]["mtu"] == 1_420);
    }
    for link in ["dsl1", "six"] {
        let downloads = [SERVER_V4, SERVER_V6].map(|address| {
            let (client, server) = (&tunnel.client.host, &tunnel.server.host);
            begin(&Transfer::download(client, server, address))
        });
        lab.link(link).cut().unwrap();
        tunnel.client.wait_for_link_down(link);
        tunnel.server.wait_for_link_down(link);
        downloads.iter().for_each(|running| wait_for_more(running, SOME));
        lab.link(link).restore().unwrap();
        tunnel.wait_until_up();
        downloads.iter().for_each(|running| wait_for_more(running, SOME));
        downloads.into_iter().for_each(finish);
    }
}

/// A link that takes longer than somebody who copies what goes over it.
const SLOW_LINK: &str = "down=20,delay=25,queue=400";

fn target(lab: &Lab) -> SocketAddr {
    SocketAddr::new(lab.server_v4(), 5_080)
}

fn whoever_copies_datagrams_and_is_faster_gets_no_tunnel() {
    let lab = lab(&[("dsl1", SLOW_LINK)]);
    let tunnel = Plan::over(&lab).start(&lab);
    let stranger = lab.stranger().unwrap();
    let home = remote(&tunnel.server, "dsl1").unwrap();
    for transfer in [tunnel.download(), upload(&tunnel)] {
        let running = begin(&transfer);
        let copier = Copier::start(&stranger, lab.link("dsl1"), target(&lab), usize::MAX).unwrap();
        // Its copies are taken, and the originals are what comes again.
        let replayed = || tunnel.server.status()["session"]["drops"]["replayed"].as_u64().unwrap();
        let before = replayed();
        wait_for("originals that come second", || replayed() > before + 200);
        wait_for("a challenge", || copier.report().received > 0);
        wait_for_more(&running, 2 * MORE);
        assert_eq!(remote(&tunnel.server, "dsl1"), Some(home));
        let report = copier.stop().unwrap();
        // Nothing of the tunnel goes there: a challenge at a time, and no more of those for all that
        // it has sent.
        assert!(report.received < SOME / 10, "{report:?}");
        assert_eq!(report.excess, 0, "{report:?}");
        finish(running);
    }
    assert!(!tunnel.server.daemon.stderr().contains("the peer has another address"));
    assert_eq!((tunnel.client.disconnects("dsl1"), tunnel.server.disconnects("dsl1")), (0, 0));
}

fn an_address_that_sent_one_datagram_gets_three_times_its_bytes_at_most() {
    let lab = lab(&[("dsl1", SLOW_LINK)]);
    let tunnel = Plan::over(&lab).start(&lab);
    let stranger = lab.stranger().unwrap();
    let home = remote(&tunnel.server, "dsl1").unwrap();
    // Its acknowledgements are small.
    let running = begin(&tunnel.download());
    let mut copier = None;
    wait_for("a copy that came first", || {
        let one = Copier::start(&stranger, lab.link("dsl1"), target(&lab), 1).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        let is_challenged = one.report().received > 0;
        copier = Some(one).filter(|_| is_challenged);
        is_challenged
    });
    let copier = copier.expect("it was waited for");
    // More challenges than its bytes are worth would have been due in this time.
    wait_for_more(&running, 2 * MORE);
    assert_eq!(remote(&tunnel.server, "dsl1"), Some(home));
    let report = copier.stop().unwrap();
    assert!(report.sent < 1_200 && report.received <= 3 * report.sent, "{report:?}");
    finish(running);
}
