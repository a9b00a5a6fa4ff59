use mlvpn_io::netlink::{Address, LinkCounters, PROTOCOL_KERNEL, RouteMetrics};

use super::*;
use crate::config;
use crate::network::numbers::LinkNumbers;

const PASSWORD: &str = "password = w3nMzb8eTqLfYc5hXs2uRj7d";

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn setup(general: &str, link: &str) -> Setup {
    let text = format!(
        "[general]\nmode = client\n{PASSWORD}\nip4 = 10.9.0.1/30\nip6 = fd00::1/64\n{general}\n\
         [a]\nremotehost = 192.0.2.1\nremoteport = 1\n{link}\n"
    );
    let config = config::parse("t", text.as_bytes()).unwrap().config;
    let mut numbers = LinkNumbers::default();
    numbers.assign(["a"].into_iter());
    Setup::of(&config, &numbers)
}

fn link(index: u32, name: &str) -> Link {
    let (name, counters) = (name.to_owned(), LinkCounters::default());
    Link {
        index,
        name,
        is_up: true,
        has_carrier: true,
        kind: None,
        controller: None,
        mtu: 1500,
        tx_queue_len: 0,
        counters,
    }
}

/// Two uplinks and the tunnel.
fn host() -> Present {
    let connected =
        |net: &str, index| Route::to(prefix(net)).by_link(index).made_by(PROTOCOL_KERNEL);
    let via = |gateway: [u8; 4], index| Route::to(Prefix::ALL_V4).via(gateway).by_link(index);
    Present {
        links: vec![link(1, "lo"), link(2, "eth1"), link(3, "ppp0"), link(4, "mlvpn0")],
        addresses: vec![
            Address { link: 2, prefix: prefix("192.168.1.5/24"), peer: None },
            Address { link: 3, prefix: prefix("100.64.0.9/32"), peer: None },
        ],
        routes: vec![
            via([192, 168, 1, 1], 2).with_metric(100).with_metrics(RouteMetrics::mtu(1_400)),
            connected("192.168.1.0/24", 2),
            Route { is_onlink: true, ..via([203, 0, 113, 1], 2).with_metric(200) },
            Route::to(Prefix::ALL_V4).by_link(3).with_metric(300),
            Route::to(Prefix::ALL_V6)
                .via("fe80::1".parse::<std::net::Ipv6Addr>().unwrap())
                .by_link(2)
                .with_metric(1024),
            connected("fe80::/64", 2),
            // Of somebody else's table.
            Route::to(prefix("198.51.100.0/24")).by_link(2).in_table(77),
        ],
        rules: Vec::new(),
    }
}

fn slot() -> Slot {
    Slot::all().next().unwrap()
}

fn desired(setup: &Setup, is_up: bool) -> Desired {
    Desired::of(setup, slot(), &host(), is_up)
}

#[test]
fn a_links_table_has_all_that_the_main_table_has_for_its_device() {
    let desired = desired(&setup("", "binddev = eth1"), false);
    let [group] = desired.groups.as_slice() else { panic!("{desired:?}") };
    let main: Vec<_> = host().main_routes(2).cloned().collect();
    assert_eq!(group.routes.len(), main.len());
    for route in &main {
        let copy = route.clone().in_table(27_201).made_by(PROTOCOL);
        assert!(group.routes.contains(&copy), "{copy:?}: gateway, onlink and metrics as they are");
    }
    let has_gateway: Vec<_> = group.routes.iter().map(|route| route.gateway.is_some()).collect();
    assert_eq!(
        has_gateway,
        [false, true, true, false, true],
        "what a gateway is reached by comes first"
    );
    let families: Vec<_> = group.rules.iter().map(|rule| rule.is_ipv6).collect();
    assert_eq!(families, [false, true]);
    assert!(group.is_for_link);
}

#[test]
fn a_point_to_point_device_needs_no_gateway_and_an_address_tells_the_device() {
    for attachment in ["binddev = ppp0", "bindhost = 100.64.0.9"] {
        let desired = desired(&setup("", attachment), false);
        let [group] = desired.groups.as_slice() else { panic!("{desired:?}") };
        let [route] = group.routes.as_slice() else { panic!("{group:?}") };
        assert_eq!((route.gateway, route.link, route.table), (None, Some(3), 27_201));
        assert_eq!(group.rules.len(), 1, "no IPv6 without a route");
    }
}

#[test]
fn a_link_without_device_or_with_a_mark_of_the_user_has_no_table() {
    for attachment in ["", "binddev = eth9", "bindhost = 192.0.2.77", "binddev = eth1\nbindfib = 5"]
    {
        assert!(desired(&setup("", attachment), false).groups.is_empty(), "{attachment}");
    }
    assert!(desired(&setup("", "binddev = mlvpn0"), false).groups.is_empty(), "not by itself");
}

#[test]
fn longer_prefixes_of_the_main_table_count_and_links_go_past() {
    let setup = setup("default_route = yes\nip4_routes = 10.0.0.0/8 172.16.0.0/12", "bindfib = 5");
    assert!(desired(&setup, false).groups.is_empty(), "nothing while the tunnel is down");
    let desired = desired(&setup, true);
    let [group] = desired.groups.as_slice() else { panic!("{desired:?}") };
    let mut rules: Vec<_> = group.rules.iter().filter(|rule| !rule.is_ipv6).collect();
    rules.sort_by_key(|rule| rule.priority);
    let shown: Vec<_> = rules.iter().map(|rule| format!("{} {rule}", rule.priority)).collect();
    insta::assert_snapshot!(shown.join("\n"));
    let first = &group.rules[0];
    assert_eq!(
        (first.priority, first.action),
        (21_900, RuleAction::Nothing),
        "goto needs its target"
    );
    assert!(group.routes.iter().all(|route| route.link == Some(4) && route.source.is_some()));
}
