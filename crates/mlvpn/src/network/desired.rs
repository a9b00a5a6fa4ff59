//! What there should be, given what a configuration wants and what the host has.
//!
//! The main table is never touched. A packet of a link carries a mark, looks up a table with the
//! routes that the main table has for the link's device, and goes past the tunnel. Everything else
//! takes the longest prefix, be it of the main table or of a route into the tunnel: for each length,
//! the main table is asked for something longer first, then the table of that length.
//!
//! ```text
//!  21001  mark of link 1: table 27201           default via 192.0.2.1 dev ppp0
//!  21300  mark of any link: go to 21900
//!  21840  table main, if longer than /8
//!  21841  table 27008                           10.0.0.0/8 dev mlvpn0
//!  21856  table main, if longer than /0
//!  21857  table 27000                           default dev mlvpn0
//!  21900  go on, to rules and tables of others
//! ```

use mlvpn_io::netlink::{Link, Prefix, Route, Rule, RuleAction, TABLE_MAIN};

use super::numbers::{LinkNumber, MARK, MARK_MASK, PROTOCOL, Slot};
use super::present::Present;
use super::setup::{LinkSetup, Setup, TunnelRoute};

/// The metric that the kernel gives IPv6 routes without one; it is named when they are listed.
const IP6_METRIC: u32 = 1024;

/// What there should be of our own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// The tunnel's interface.
    pub interface: String,
    /// Whether it should be up; else it stays as it is.
    pub is_up: bool,
    /// Its addresses.
    pub addresses: Vec<Prefix>,
    /// Routes and rules.
    pub groups: Vec<Group>,
}

/// Routes and rules that make sense together only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What they are for, as a phrase.
    pub purpose: String,
    /// Routes, in the order in which they can be added.
    pub routes: Vec<Route>,
    /// Rules, in the order in which they are to be added.
    pub rules: Vec<Rule>,
    /// Whether they are how a link leaves.
    pub is_for_link: bool,
}

impl Desired {
    /// What `setup` wants, on a host that has what is `present`, while the tunnel is up or not.
    #[must_use]
    pub fn of(setup: &Setup, slot: Slot, present: &Present, is_tunnel_up: bool) -> Self {
        let mut groups: Vec<_> =
            setup.links.iter().filter_map(|link| link_group(link, setup, slot, present)).collect();
        if let Some(tunnel) = present.link(&setup.interface).filter(|_| is_tunnel_up) {
            groups.extend(tunnel_group(setup, slot, tunnel));
        }
        Self {
            interface: setup.interface.clone(),
            is_up: setup.is_managed,
            addresses: setup.addresses.clone(),
            groups,
        }
    }
}

/// The device that a link leaves by: the one it is bound to, or that which has its address.
#[must_use]
pub fn device<'a>(link: &LinkSetup, setup: &Setup, present: &'a Present) -> Option<&'a Link> {
    let device = match (&link.device, link.address) {
        (Some(name), _) => present.link(name),
        (None, Some(address)) => present.link_with(address),
        (None, None) => None,
    };
    device.filter(|device| device.name != setup.interface)
}

/// A link with a mark of its user's choice is led by the user's rules.
fn link_group(link: &LinkSetup, setup: &Setup, slot: Slot, present: &Present) -> Option<Group> {
    let number = link.number.filter(|_| link.user_mark.is_none())?;
    let device = device(link, setup, present)?;
    let routes = link_routes(slot, number, device, present);
    let rule = |is_ipv6| {
        Rule::lookup(slot.link_table(number), is_ipv6, slot.link_priority(number))
            .with_mark(slot.mark(Some(number)))
            .made_by(PROTOCOL)
    };
    let families = [false, true].into_iter();
    let used = families.filter(|six| routes.iter().any(|r| r.destination.is_ipv6() == *six));
    let rules: Vec<_> = used.map(rule).collect();
    let purpose = format!("have link {} leave by {}", link.name, device.name);
    (!routes.is_empty()).then_some(Group { purpose, routes, rules, is_for_link: true })
}

/// The main table's routes by the link's device, those without a gateway first, since the others'
/// gateways are reached by them.
fn link_routes(slot: Slot, number: LinkNumber, device: &Link, present: &Present) -> Vec<Route> {
    let table = slot.link_table(number);
    let copy = |route: &Route| {
        // A route with several next hops is one route by this device.
        Route { table, protocol: PROTOCOL, ..route.clone() }
    };
    let mut routes: Vec<Route> = Vec::new();
    for route in present.main_routes(device.index).map(copy) {
        if !routes.iter().any(|known| is_same_place(known, &route)) {
            routes.push(route);
        }
    }
    routes.sort_by_key(|route| {
        (route.destination.is_ipv6(), route.gateway.is_some(), route.destination, route.metric)
    });
    routes
}

/// Whether only one of two routes can be.
#[must_use]
pub fn is_same_place(a: &Route, b: &Route) -> bool {
    (a.table, a.destination, a.metric) == (b.table, b.destination, b.metric)
}

/// The routes into the tunnel, with the rules that lead to them.
fn tunnel_group(setup: &Setup, slot: Slot, tunnel: &Link) -> Option<Group> {
    if setup.routes.is_empty() {
        return None;
    }
    let mut rules = Vec::new();
    for is_ipv6 in [false, true] {
        let mut lengths: Vec<_> = setup
            .routes
            .iter()
            .filter(|route| route.destination.is_ipv6() == is_ipv6)
            .map(|route| route.destination.length)
            .collect();
        lengths.sort_unstable();
        lengths.dedup();
        if !lengths.is_empty() {
            rules.extend(exemptions(setup, slot, is_ipv6));
        }
        rules.extend(lengths.into_iter().rev().flat_map(|length| lookups(slot, is_ipv6, length)));
    }
    let routes = setup.routes.iter().map(|route| tunnel_route(route, slot, tunnel)).collect();
    let purpose = format!("lead into {}", setup.interface);
    Some(Group { purpose, routes, rules, is_for_link: false })
}

fn tunnel_route(route: &TunnelRoute, slot: Slot, tunnel: &Link) -> Route {
    let table = slot.tunnel_table(route.destination.length);
    Route {
        gateway: route.gateway,
        source: route.source,
        metric: route.destination.is_ipv6().then_some(IP6_METRIC),
        is_onlink: route.gateway.is_some(),
        ..Route::to(route.destination).by_link(tunnel.index).in_table(table).made_by(PROTOCOL)
    }
}

/// The rules by which packets of links go past the tunnel. To be there before any that leads into it.
fn exemptions(setup: &Setup, slot: Slot, is_ipv6: bool) -> Vec<Rule> {
    let end = slot.end_priority();
    let mut rules = vec![Rule::doing(RuleAction::Nothing, is_ipv6, end).made_by(PROTOCOL)];
    let mut marks = vec![(MARK, MARK_MASK)];
    marks.extend(setup.links.iter().filter_map(|link| Some((link.user_mark?, u32::MAX))));
    marks.dedup();
    rules.extend(marks.into_iter().enumerate().map(|(index, (mark, mask))| {
        Rule::doing(RuleAction::Goto(end), is_ipv6, slot.exemption_priority(index))
            .with_masked_mark(mark, mask)
            .made_by(PROTOCOL)
    }));
    rules
}

fn lookups(slot: Slot, is_ipv6: bool, length: u8) -> [Rule; 2] {
    let direct = Rule::lookup(TABLE_MAIN, is_ipv6, slot.direct_priority(length));
    let tunnel = Rule::lookup(slot.tunnel_table(length), is_ipv6, slot.tunnel_priority(length));
    [direct.suppressing(length).made_by(PROTOCOL), tunnel.made_by(PROTOCOL)]
}

#[cfg(test)]
mod tests;
