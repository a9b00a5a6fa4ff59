//! The usual topology: a client with several links to one server.
//!
//! ```text
//!            198.18.1.2/24   dsl1 ------ link 1 ------ dsl1  198.18.1.1/24
//!  client    198.18.2.2/24   lte1 ------ link 2 ------ lte1  198.18.2.1/24    server
//!            2001:2:0:N::2/64           ...                  2001:2:0:N::1/64
//!                                                       lo   198.19.0.1, 2001:2:0:ffff::1
//! ```
//!
//! Link N uses networks from the ranges for benchmarks (RFC 2544, RFC 5180); both ends are devices
//! named as the link. The client reaches the server's address by every link: a socket bound to a
//! link's address or device uses that link, any other socket the first link.

mod link;
mod observer;
mod routes;
mod stranger;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};
use mlvpn_io::netlink::Prefix;
use mlvpn_sim::link::WanLink;

use crate::host::Host;

pub use link::LabLink;
pub use observer::{LinkSample, Observation, Observer, Sample};
pub use stranger::Stranger;

/// Where the server can be reached, by any link.
const SERVER_V4: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
/// The same in IPv6.
const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0xffff, 0, 0, 0, 1);

/// A client and a server, joined by links. Dropping it, also in a panic, removes everything.
#[derive(Debug)]
pub struct Lab {
    // First, so that the links stop before their hosts disappear.
    links: Vec<LabLink>,
    client: Host,
    server: Host,
}

/// Collects what a [`Lab`] shall have.
#[derive(Debug, Clone)]
pub struct LabBuilder {
    links: Vec<LinkPlan>,
    seed: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct LinkPlan {
    pub(crate) name: String,
    /// `None`: a cable without limits.
    pub(crate) spec: Option<WanLink>,
    /// Of the devices; `None`: that of the link.
    pub(crate) device_mtu: Option<u32>,
}

impl LabBuilder {
    /// Adds an emulated link. `name` is also the name of its devices: up to 15 bytes.
    ///
    /// The devices have the smaller MTU of the link's two directions, 1500 if there is no limit.
    #[must_use]
    pub fn link(mut self, name: &str, link: WanLink) -> Self {
        self.links.push(LinkPlan { name: name.to_owned(), spec: Some(link), device_mtu: None });
        self
    }

    /// Adds a link without delay or limits: an ethernet cable.
    #[must_use]
    pub fn direct_link(mut self, name: &str) -> Self {
        self.links.push(LinkPlan { name: name.to_owned(), spec: None, device_mtu: None });
        self
    }

    /// Gives the devices of the link added last another MTU than the link has: when it is larger, the
    /// link is a black hole for large packets, which vanish without an ICMP message. With the MTU of a
    /// link as `mtu=1400/1500` (down/up) the directions differ. [`LabLink::set_spec`] makes a black hole
    /// of a link that was none.
    #[must_use]
    pub fn device_mtu(mut self, mtu: u32) -> Self {
        if let Some(link) = self.links.last_mut() {
            link.device_mtu = Some(mtu);
        }
        self
    }

    /// Decides which packets are lost and late; 1 unless set.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Builds the hosts and starts the links.
    ///
    /// # Errors
    /// Without root or `CAP_NET_ADMIN`, without `/dev/net/tun`, or with a name that is no interface
    /// name or is used twice.
    pub fn build(self) -> Result<Lab> {
        ensure!(self.links.len() <= 250, "a lab has at most 250 links");
        let (client, server) = (Host::new("client")?, Host::new("server")?);
        server.configure("lo", None, &[Prefix::host(SERVER_V4), Prefix::host(SERVER_V6)])?;
        let mut lab = Lab { links: Vec::new(), client, server };
        for (number, plan) in (1..).zip(&self.links) {
            ensure!(lab.find(&plan.name).is_none(), "two links are called {}", plan.name);
            let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(u64::from(number));
            let link = LabLink::create(plan, number, &lab.client, &lab.server, seed)
                .with_context(|| format!("link {}", plan.name))?;
            lab.links.push(link);
            lab.add_routes().with_context(|| format!("routes of link {}", plan.name))?;
        }
        Ok(lab)
    }
}

impl Lab {
    /// A lab that has no links yet.
    #[must_use]
    pub fn builder() -> LabBuilder {
        LabBuilder { links: Vec::new(), seed: 1 }
    }

    /// The host with the many links.
    #[must_use]
    pub fn client(&self) -> &Host {
        &self.client
    }

    /// The host that they all lead to.
    #[must_use]
    pub fn server(&self) -> &Host {
        &self.server
    }

    /// All links, in the order in which they were added.
    #[must_use]
    pub fn links(&self) -> &[LabLink] {
        &self.links
    }

    /// The link called `name`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn link(&self, name: &str) -> &LabLink {
        self.find(name).unwrap_or_else(|| panic!("the lab has no link called {name}"))
    }

    /// The link called `name`, if there is one.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&LabLink> {
        self.links.iter().find(|link| link.name() == name)
    }

    /// The server's IPv4 address, reachable by all links.
    #[must_use]
    pub fn server_v4(&self) -> IpAddr {
        SERVER_V4.into()
    }

    /// The server's IPv6 address, reachable by all links.
    #[must_use]
    pub fn server_v6(&self) -> IpAddr {
        SERVER_V6.into()
    }
}
