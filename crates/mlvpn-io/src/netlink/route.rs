//! Routes.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop,
    RouteNextHopFlags, RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netlink, NetlinkError, Prefix};

/// The routing table that is used when no rule says otherwise.
pub const TABLE_MAIN: u32 = 254;

/// The protocol number of what an administrator has set by hand (RTPROT_STATIC).
pub const PROTOCOL_STATIC: u8 = 4;
/// The protocol number of what the kernel has made itself (RTPROT_KERNEL): for an address.
pub const PROTOCOL_KERNEL: u8 = 2;

/// A unicast route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it leads; [`Prefix::ALL_V4`] or [`Prefix::ALL_V6`] for a default route.
    pub destination: Prefix,
    /// The next hop, if the destination is not on the interface's own network.
    pub gateway: Option<IpAddr>,
    /// The interface's number.
    pub link: Option<u32>,
    /// The source address that the kernel prefers for packets by this route.
    pub source: Option<IpAddr>,
    /// The routing table's number.
    pub table: u32,
    /// Among routes to the same destination the smallest wins. `None`: the kernel's default (0 in IPv4,
    /// 1024 in IPv6).
    pub metric: Option<u32>,
    /// Whether the gateway is taken to be on the interface's own network, whatever the addresses say.
    pub is_onlink: bool,
    /// Who made it: RTPROT_STATIC, RTPROT_KERNEL, or the number of a program.
    pub protocol: u8,
    /// What else connections by this route are told.
    pub metrics: RouteMetrics,
}

/// The MTU, the segment size, the hop limit and the like of a route (RTAX_), to be handed on as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteMetrics(Vec<RouteMetric>);

impl RouteMetrics {
    /// None at all.
    pub const NONE: Self = Self(Vec::new());

    /// The largest IP packet by this route, in bytes, and nothing else.
    #[must_use]
    pub fn mtu(bytes: u32) -> Self {
        Self(vec![RouteMetric::Mtu(bytes)])
    }
}

impl Route {
    /// A route in the main table; add an interface or a gateway.
    #[must_use]
    pub const fn to(destination: Prefix) -> Self {
        Self {
            destination,
            gateway: None,
            link: None,
            source: None,
            table: TABLE_MAIN,
            metric: None,
            is_onlink: false,
            protocol: PROTOCOL_STATIC,
            metrics: RouteMetrics::NONE,
        }
    }

    /// The same route by the interface numbered `link`.
    #[must_use]
    pub const fn by_link(mut self, link: u32) -> Self {
        self.link = Some(link);
        self
    }

    /// The same route by the next hop `gateway`.
    #[must_use]
    pub fn via(mut self, gateway: impl Into<IpAddr>) -> Self {
        self.gateway = Some(gateway.into());
        self
    }

    /// The same route with a preferred source address.
    #[must_use]
    pub fn from_source(mut self, source: impl Into<IpAddr>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same route in another table.
    #[must_use]
    pub const fn in_table(mut self, table: u32) -> Self {
        self.table = table;
        self
    }

    /// The same route with a metric.
    #[must_use]
    pub const fn with_metric(mut self, metric: u32) -> Self {
        self.metric = Some(metric);
        self
    }

    /// The same route, made by the program with this protocol number.
    #[must_use]
    pub const fn made_by(mut self, protocol: u8) -> Self {
        self.protocol = protocol;
        self
    }

    /// The same route with metrics.
    #[must_use]
    pub fn with_metrics(mut self, metrics: RouteMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    fn to_message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = self.destination.family();
        message.header.destination_prefix_length = self.destination.length;
        message.header.protocol = RouteProtocol::from(self.protocol);
        message.header.kind = RouteType::Unicast;
        message.header.scope = if self.gateway.is_none() && !self.destination.is_ipv6() {
            RouteScope::Link
        } else {
            RouteScope::Universe
        };
        if self.is_onlink {
            message.header.flags = RouteFlags::Onlink;
        }
        message.header.table = u8::try_from(self.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
        let attributes = &mut message.attributes;
        attributes.push(RouteAttribute::Table(self.table));
        if self.destination.length > 0 {
            attributes.push(RouteAttribute::Destination(self.destination.address.into()));
        }
        attributes.extend(self.gateway.map(|ip| match ip {
            // An IPv4 route by an IPv6 gateway (RFC 5549).
            IpAddr::V6(ip) if !self.destination.is_ipv6() => {
                RouteAttribute::Via(RouteVia::Inet6(ip))
            }
            ip => RouteAttribute::Gateway(ip.into()),
        }));
        attributes.extend(self.source.map(|ip| RouteAttribute::PrefSource(ip.into())));
        attributes.extend(self.link.map(RouteAttribute::Oif));
        attributes.extend(self.metric.map(RouteAttribute::Priority));
        if self.metrics != RouteMetrics::NONE {
            attributes.push(RouteAttribute::Metrics(self.metrics.0.clone()));
        }
        message
    }

    /// One for each next hop; none for what is no ordinary unicast route: the kernel's own local,
    /// multicast ones.
    fn from_message(message: &RouteMessage) -> Vec<Self> {
        let Some(mut route) = Self::without_next_hop(message) else { return Vec::new() };
        let mut hops: &[RouteNextHop] = &[];
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(link) => route.link = Some(*link),
                RouteAttribute::MultiPath(several) => hops = several,
                attribute => route.gateway = gateway(attribute).or(route.gateway),
            }
        }
        if hops.is_empty() {
            return vec![route];
        }
        let by_hop = |hop: &RouteNextHop| Self {
            link: Some(hop.interface_index),
            gateway: hop.attributes.iter().find_map(gateway),
            is_onlink: hop.flags.contains(RouteNextHopFlags::Onlink),
            ..route.clone()
        };
        hops.iter().map(by_hop).collect()
    }

    fn without_next_hop(message: &RouteMessage) -> Option<Self> {
        if message.header.kind != RouteType::Unicast {
            return None;
        }
        let all = match message.header.address_family {
            AddressFamily::Inet => Prefix::ALL_V4,
            AddressFamily::Inet6 => Prefix::ALL_V6,
            _ => return None,
        };
        let mut route = Self::to(all)
            .in_table(u32::from(message.header.table))
            .made_by(message.header.protocol.into());
        route.is_onlink = message.header.flags.contains(RouteFlags::Onlink);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => {
                    let length = message.header.destination_prefix_length;
                    route.destination = Prefix::new(ip(address)?, length);
                }
                RouteAttribute::PrefSource(address) => route.source = ip(address),
                RouteAttribute::Table(table) => route.table = *table,
                RouteAttribute::Priority(metric) => route.metric = Some(*metric),
                RouteAttribute::Metrics(metrics) => route.metrics = RouteMetrics(metrics.clone()),
                _ => {}
            }
        }
        Some(route)
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "route to {}", self.destination)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(link) = self.link {
            write!(f, " by interface {link}")?;
        }
        write!(f, " in table {}", self.table)
    }
}

impl Netlink {
    /// Adds a route.
    ///
    /// # Errors
    /// When there is one with the same destination, table and metric, or the gateway is not reachable.
    pub fn add_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        self.execute(
            &|| format!("add a {route}"),
            RouteNetlinkMessage::NewRoute(route.to_message()),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Adds a route or changes the one with the same destination, table and metric.
    ///
    /// # Errors
    /// When the gateway is not reachable or there is no such interface.
    pub fn replace_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        self.execute(
            &|| format!("replace the {route}"),
            RouteNetlinkMessage::NewRoute(route.to_message()),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    /// Deletes the first route that has all that `route` names, its protocol included.
    ///
    /// # Errors
    /// When there is none ([`NetlinkError::is_not_found`]).
    pub fn delete_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        let mut message = route.to_message();
        // The scope selects too: "nowhere" matches any.
        message.header.scope = RouteScope::NoWhere;
        self.execute(&|| format!("delete the {route}"), RouteNetlinkMessage::DelRoute(message), 0)
    }

    /// The unicast routes of all tables, both families; one with several next hops is several routes.
    ///
    /// # Errors
    /// When the kernel refuses the dump.
    pub fn routes(&mut self) -> Result<Vec<Route>, NetlinkError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let request = RouteNetlinkMessage::GetRoute(request);
            for answer in self.dump(&|| "list the routes".to_owned(), request)? {
                if let RouteNetlinkMessage::NewRoute(message) = answer {
                    routes.extend(Route::from_message(&message));
                }
            }
        }
        Ok(routes)
    }
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        _ => None,
    }
}

const fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}
