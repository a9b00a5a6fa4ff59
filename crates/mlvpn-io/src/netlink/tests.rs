use std::os::fd::AsFd;

use super::*;
use crate::netns::NetNs;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// Two namespaces joined by a veth pair, `left` and `right`, both up.
fn pair() -> (NetNs, Netlink, u32, NetNs, Netlink, u32) {
    let (here, there) = (NetNs::new().unwrap(), NetNs::new().unwrap());
    let (mut left, mut right) = (here.netlink().unwrap(), there.netlink().unwrap());
    left.create_veth("left", "right", Some(there.as_fd())).unwrap();
    let left_index = left.link_by_name("left").unwrap().index;
    let right_index = right.link_by_name("right").unwrap().index;
    left.set_link_up(left_index, true).unwrap();
    right.set_link_up(right_index, true).unwrap();
    (here, left, left_index, there, right, right_index)
}

#[test]
fn links_are_created_changed_moved_and_deleted() {
    let (_here, mut left, index, there, mut right, _) = pair();
    left.set_link_mtu(index, 1400).unwrap();
    left.set_link_tx_queue_len(index, 77).unwrap();
    let link = left.link_by_name("left").unwrap();
    assert_eq!((link.mtu, link.tx_queue_len, link.is_up), (1400, 77, true));
    assert_eq!(
        (link.kind.as_deref(), link.controller, link.has_carrier),
        (Some("veth"), None, true)
    );
    assert_eq!(left.link_by_name("lo").unwrap().kind, None);

    left.create_veth("a", "b", None).unwrap();
    let moved = left.link_by_name("b").unwrap();
    left.move_link(moved.index, there.as_fd()).unwrap();
    assert!(left.link_by_name("b").unwrap_err().is_not_found());
    assert!(right.link_by_name("b").is_ok());

    left.set_link_up(index, false).unwrap();
    assert!(!left.link_by_name("left").unwrap().is_up);
    assert!(!right.link_by_name("right").unwrap().has_carrier, "nobody at the other end");
    left.delete_link(index).unwrap();
    assert!(left.link_by_name("left").is_err());
    assert!(right.link_by_name("right").is_err(), "its peer goes with it");
}

#[test]
fn addresses_of_both_families_are_added_listed_and_deleted() {
    let (_here, mut left, index, _there, mut right, peer) = pair();
    for (own, other) in [("192.0.2.1/24", "192.0.2.2/24"), ("2001:db8::1/64", "2001:db8::2/64")] {
        left.add_address(index, prefix(own)).unwrap();
        right.add_address(peer, prefix(other)).unwrap();
        let listed = left.addresses().unwrap();
        let wanted = Address { link: index, prefix: prefix(own), peer: None };
        assert!(listed.contains(&wanted), "{listed:?}");
        assert!(left.add_address(index, prefix(own)).unwrap_err().is_already_there());
        left.delete_address(index, prefix(own)).unwrap();
        let error = left.delete_address(index, prefix(own)).unwrap_err();
        assert!(error.is_not_found(), "{error}");
        assert!(error.to_string().contains(own), "{error}");
    }
}

#[test]
fn routes_of_both_families_are_added_replaced_listed_and_deleted() {
    let (_here, mut left, index, _there, _right, _) = pair();
    for (own, gateway, all) in [
        ("192.0.2.1/24", "192.0.2.2", Prefix::ALL_V4),
        ("2001:db8::1/64", "2001:db8::2", Prefix::ALL_V6),
    ] {
        left.add_address(index, prefix(own)).unwrap();
        let gateway: std::net::IpAddr = gateway.parse().unwrap();
        let route = Route::to(all)
            .via(gateway)
            .by_link(index)
            .from_source(prefix(own).address)
            .in_table(1234)
            .with_metric(7);
        left.add_route(&route).unwrap();
        assert!(left.routes().unwrap().contains(&route), "{:?}", left.routes());
        assert!(left.add_route(&route).unwrap_err().is_already_there());

        let changed = Route { source: None, ..route.clone() };
        left.replace_route(&changed).unwrap();
        let routes = left.routes().unwrap();
        assert!(routes.contains(&changed) && !routes.contains(&route), "{routes:?}");

        left.delete_route(&changed).unwrap();
        assert!(left.delete_route(&changed).unwrap_err().is_not_found());
        let unreachable = Route::to(prefix("198.51.100.0/24"))
            .via("203.0.113.1".parse::<std::net::IpAddr>().unwrap());
        let error = left.add_route(&unreachable).unwrap_err();
        assert!(error.to_string().contains("198.51.100.0/24 via 203.0.113.1"), "{error}");
    }
}

#[test]
fn rules_of_both_families_are_added_listed_and_deleted() {
    let namespace = NetNs::new().unwrap();
    let mut netlink = namespace.netlink().unwrap();
    for (is_ipv6, from) in [(false, "192.0.2.0/24"), (true, "2001:db8::/64")] {
        for rule in [
            Rule::lookup(100, is_ipv6, 10).with_mark(0xbeef),
            Rule::lookup(1001, is_ipv6, 11).with_source(prefix(from)),
            Rule::lookup(102, is_ipv6, 12).with_input("lo"),
            Rule::lookup(103, is_ipv6, 13).with_output("lo"),
            Rule::lookup(TABLE_MAIN, is_ipv6, 14).suppressing(0).made_by(109),
            Rule::doing(RuleAction::Nothing, is_ipv6, 16),
            Rule::doing(RuleAction::Goto(32_766), is_ipv6, 15).with_masked_mark(0xab00, 0xff00),
        ] {
            netlink.add_rule(&rule).unwrap();
            assert!(netlink.rules().unwrap().contains(&rule), "{:?}", netlink.rules());
            assert!(netlink.add_rule(&rule).unwrap_err().is_already_there());
            netlink.delete_rule(&rule).unwrap();
            assert!(netlink.delete_rule(&rule).unwrap_err().is_not_found());
        }
    }
}

#[test]
fn what_the_kernel_refuses_is_named() {
    let mut netlink = NetNs::new().unwrap().netlink().unwrap();
    let error = netlink.set_link_mtu(4711, 1400).unwrap_err();
    assert!(error.to_string().contains("mtu of interface 4711 to 1400"), "{error}");
    assert!(error.is_not_found());
}

#[test]
fn routes_keep_who_made_them_and_how_the_gateway_is_reached() {
    let (_here, mut left, index, _there, _right, _) = pair();
    left.add_address(index, prefix("192.0.2.1/24")).unwrap();
    let own = Route::to(prefix("198.51.100.0/24")).via(std::net::Ipv4Addr::new(203, 0, 113, 1));
    let own = Route { is_onlink: true, ..own.by_link(index).made_by(109) };
    let by_ip6 = Route::to(prefix("203.0.113.0/24")).by_link(index).made_by(110);
    let by_ip6 = by_ip6.via("fe80::1".parse::<std::net::Ipv6Addr>().unwrap());
    for route in [&own, &by_ip6] {
        left.add_route(route).unwrap();
        assert!(left.routes().unwrap().contains(route), "{:?}", left.routes());
    }
    let not_ours = Route { protocol: PROTOCOL_STATIC, ..own.clone() };
    assert!(left.delete_route(&not_ours).unwrap_err().is_not_found());
    left.delete_route(&own).unwrap();
    let is_connected = |route: &Route| {
        route.protocol == PROTOCOL_KERNEL && route.destination == prefix("192.0.2.0/24")
    };
    assert!(left.routes().unwrap().iter().any(is_connected));
}

#[test]
fn a_route_with_several_next_hops_is_one_for_each() {
    let (here, mut left, index, _there, _right, _) = pair();
    left.add_address(index, prefix("192.0.2.1/24")).unwrap();
    let mut ip = here.command("ip");
    ip.args(["route", "add", "198.51.100.0/24"]);
    ip.args(["nexthop", "via", "192.0.2.7", "nexthop", "via", "192.0.2.8"]);
    assert!(ip.status().unwrap().success());
    let routes = left.routes().unwrap();
    let hops = routes.iter().filter(|route| route.destination == prefix("198.51.100.0/24"));
    let hops: Vec<_> = hops.map(|hop| (hop.gateway.unwrap().to_string(), hop.link)).collect();
    let wanted = ["192.0.2.7", "192.0.2.8"].map(|hop| (hop.to_owned(), Some(index)));
    assert_eq!(hops, wanted);
}

#[test]
fn a_monitor_tells_of_changes_and_of_nothing_else() {
    let (here, mut left, index, _there, _right, _) = pair();
    let mut monitor = here.run(Monitor::open).unwrap().unwrap();
    // What the kernel still has to tell about the new interfaces.
    std::thread::sleep(std::time::Duration::from_millis(50));
    monitor.drain().unwrap();
    left.add_route(&Route::to(prefix("198.51.100.0/24")).by_link(index).in_table(77)).unwrap();
    assert!(monitor.drain().unwrap());
    left.add_rule(&Rule::lookup(77, true, 5)).unwrap();
    assert!(monitor.drain().unwrap());
    left.routes().unwrap();
    assert!(!monitor.drain().unwrap());
}

#[test]
fn routes_keep_their_metrics() {
    let (here, mut left, index, _there, _right, _) = pair();
    for (own, to) in [("192.0.2.1/24", "198.51.100.0/24"), ("2001:db8::1/64", "2001:db8:9::/64")] {
        left.add_address(index, prefix(own)).unwrap();
        let mut ip = here.command("ip");
        ip.args(["route", "add", to, "dev", "left", "metric", "7"]);
        ip.args(["mtu", "1400", "advmss", "1300", "initcwnd", "20"]);
        assert!(ip.status().unwrap().success());
        let routes = left.routes().unwrap();
        let route = routes.iter().find(|route| route.destination == prefix(to)).unwrap();
        assert_ne!(route.metrics, RouteMetrics::NONE);
        let copy = route.clone().in_table(77);
        left.add_route(&copy).unwrap();
        assert!(left.routes().unwrap().contains(&copy), "{:?}", left.routes());
        let other = copy.clone().with_metrics(RouteMetrics::mtu(1_300));
        left.replace_route(&other).unwrap();
        let routes = left.routes().unwrap();
        assert!(routes.contains(&other) && !routes.contains(&copy), "{routes:?}");
    }
}

#[test]
fn a_monitor_of_a_table_hears_what_is_done_to_that_table() {
    let here = NetNs::new().unwrap();
    let nft = |script: &str| {
        assert!(here.command("nft").arg(script).status().unwrap().success(), "{script}");
    };
    let mut monitor = here.run(|| TableMonitor::open("ours")).unwrap().unwrap();
    let mut heard = move || {
        let news = monitor.drain().unwrap();
        (news.is_touched, news.is_there)
    };
    nft("table inet other { chain c { counter accept; }; }");
    assert_eq!(heard(), (false, None));
    nft("table inet ours { chain c { counter accept; }; chain d { }; }");
    assert_eq!(heard(), (true, Some(true)));
    nft("flush chain inet ours c");
    assert_eq!(heard(), (true, None));
    nft("delete table inet ours; table inet ours { }");
    assert_eq!(heard(), (true, Some(true)), "replaced");
    nft("flush ruleset");
    assert_eq!(heard(), (true, Some(false)));
    assert_eq!(heard(), (false, None));
}
