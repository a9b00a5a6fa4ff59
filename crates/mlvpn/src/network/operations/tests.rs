use mlvpn_io::netlink::{Address, Link, LinkCounters};

use super::*;
use crate::network::numbers::PROTOCOL;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn slot() -> Slot {
    Slot::all().next().unwrap()
}

fn route(net: &str, gateway: Option<[u8; 4]>) -> Route {
    let route = Route::to(prefix(net)).by_link(2).in_table(27_201).made_by(PROTOCOL);
    match gateway {
        Some(gateway) => route.via(gateway),
        None => route,
    }
}

fn rule(priority: u32) -> Rule {
    Rule::lookup(27_201, false, priority).made_by(PROTOCOL)
}

fn desired(routes: Vec<Route>, rules: Vec<Rule>) -> Desired {
    let purpose = "test".to_owned();
    Desired {
        interface: "tun0".to_owned(),
        is_up: true,
        addresses: vec![prefix("10.9.0.1/30")],
        groups: vec![Group { purpose, routes, rules, is_for_link: true }],
    }
}

fn present(is_up: bool) -> Present {
    let (name, counters) = ("tun0".to_owned(), LinkCounters::default());
    let link = Link {
        index: 7,
        name,
        is_up,
        has_carrier: true,
        kind: None,
        controller: None,
        mtu: 1400,
        tx_queue_len: 0,
        counters,
    };
    Present { links: vec![link], ..Present::default() }
}

/// Does to `present` what the kernel would do.
fn after(mut present: Present, operation: &Operation) -> Present {
    match operation.clone() {
        Operation::AddAddress(link, prefix) => {
            present.addresses.push(Address { link, prefix, peer: None });
        }
        Operation::DeleteAddress(_, prefix) => present.addresses.retain(|a| a.prefix != prefix),
        Operation::SetUp(_) => present.links[0].is_up = true,
        Operation::SetDown(_) => present.links[0].is_up = false,
        Operation::AddRoute(route) => present.routes.push(route),
        Operation::ReplaceRoute { new, old } => {
            present.routes.retain(|route| *route != old);
            present.routes.push(new);
        }
        Operation::DeleteRoute(route) => present.routes.retain(|known| *known != route),
        Operation::AddRule(rule) => present.rules.push(rule),
        Operation::DeleteRule(rule) => present.rules.retain(|known| *known != rule),
    }
    present
}

fn operations(desired: &Desired, present: &Present, owned: &Owned) -> Vec<Operation> {
    let batches = difference(desired, present, owned, slot());
    batches.into_iter().flat_map(|batch| batch.operations).collect()
}

#[test]
fn the_steps_lead_to_what_is_wanted_and_then_there_are_none_and_back_again() {
    let wanted = desired(
        vec![route("192.168.1.0/24", None), route("0.0.0.0/0", Some([192, 168, 1, 1]))],
        vec![rule(21_001)],
    );
    let foreign = [rule(5), Rule::lookup(27_201, false, 21_001)];
    let mut before = present(false);
    before.rules = foreign.to_vec();
    before.routes = vec![Route::to(prefix("0.0.0.0/0")).by_link(2)];
    let mut now = before.clone();
    for operation in operations(&wanted, &now, &Owned::default()) {
        now = after(now, &operation);
    }
    let owned = Owned { addresses: wanted.addresses.clone(), is_up: true, was_up: true };
    assert_eq!(operations(&wanted, &now, &owned), [], "{now:?}");
    let nothing = Desired { interface: "tun0".to_owned(), ..Desired::default() };
    for operation in operations(&nothing, &now, &owned) {
        now = after(now, &operation);
    }
    assert_eq!(now, before, "what others made stays");
}

#[test]
fn every_step_can_be_taken_back() {
    let old = route("0.0.0.0/0", Some([192, 168, 1, 1]));
    let mut start = present(false);
    start.routes = vec![old.clone()];
    start.rules = vec![rule(21_002)];
    start.addresses = vec![Address { link: 7, prefix: prefix("10.9.0.9/30"), peer: None }];
    for operation in [
        Operation::AddAddress(7, prefix("10.9.0.1/30")),
        Operation::DeleteAddress(7, prefix("10.9.0.9/30")),
        Operation::SetUp(7),
        Operation::AddRoute(route("192.168.1.0/24", None)),
        Operation::ReplaceRoute {
            new: route("0.0.0.0/0", Some([192, 168, 1, 9])),
            old: old.clone(),
        },
        Operation::DeleteRoute(old),
        Operation::AddRule(rule(21_001)),
        Operation::DeleteRule(rule(21_002)),
    ] {
        let done = after(start.clone(), &operation);
        assert_ne!(done, start, "{operation}");
        assert_eq!(after(done, &operation.inverse()), start, "{operation}");
    }
}

#[test]
fn another_gateway_is_put_in_the_place_of_the_former() {
    let old = route("0.0.0.0/0", Some([192, 168, 1, 1]));
    let new = route("0.0.0.0/0", Some([192, 168, 1, 99]));
    let mut now = present(true);
    now.addresses = vec![Address { link: 7, prefix: prefix("10.9.0.1/30"), peer: None }];
    now.routes = vec![old.clone()];
    let steps = operations(&desired(vec![new.clone()], Vec::new()), &now, &Owned::default());
    assert_eq!(steps, [Operation::ReplaceRoute { new, old }], "never without a route between");
}

#[test]
fn what_leads_into_the_tunnel_goes_before_what_lets_links_past_it() {
    let mut now = present(true);
    now.rules = vec![rule(21_300), rule(21_001), rule(21_857), rule(21_856), rule(21_900)];
    let nothing = Desired { interface: "tun0".to_owned(), ..Desired::default() };
    let gone: Vec<_> = operations(&nothing, &now, &Owned::default())
        .into_iter()
        .map(|operation| match operation {
            Operation::DeleteRule(rule) => rule.priority,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(gone[..2], [21_857, 21_856]);
    assert_eq!(gone.len(), 5);
}

#[test]
fn an_interface_that_the_user_has_set_down_or_given_addresses_stays_so() {
    let wanted = desired(Vec::new(), Vec::new());
    let mut now = present(false);
    now.addresses = ["10.9.0.1/30", "10.77.0.1/30"]
        .map(|text| Address { link: 7, prefix: prefix(text), peer: None })
        .to_vec();
    let owned = Owned { is_up: true, ..Owned::default() };
    assert_eq!(operations(&wanted, &now, &owned), []);
    let set_up_by_another = Owned { was_up: true, ..Owned::default() };
    assert_eq!(operations(&wanted, &now, &set_up_by_another), []);
    let nothing = Desired { interface: "tun0".to_owned(), ..Desired::default() };
    assert_eq!(operations(&nothing, &now, &owned), []);
}
