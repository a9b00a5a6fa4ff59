//! A host that has no part in the tunnel.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use mlvpn_io::netlink::{LinkCounters, Prefix, Route};

use super::Lab;
use crate::host::Host;

/// Device of the cable, at both ends.
const DEVICE: &str = "stranger";
/// Both ends of the cable: a network that no link has, since there are at most 250 of them.
const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 18, 251, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 251, 1);
/// What the server takes to be behind the stranger: the addresses for carriers' own networks (RFC 6598).
const BEHIND: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
const BEHIND_LEN: u8 = 10;

/// A host with a cable of its own to the server, whose addresses it all reaches. It may also send from
/// any address of [`Self::spoofed`]: the answers come back to it, and nobody takes them.
#[derive(Debug, Clone)]
pub struct Stranger {
    host: Host,
}

impl Lab {
    /// Adds a stranger. A lab has room for one at a time.
    ///
    /// # Errors
    /// When there is one already.
    pub fn stranger(&self) -> Result<Stranger> {
        let host = Host::new("stranger")?;
        host.connect(DEVICE, self.server(), DEVICE)?;
        host.configure(DEVICE, None, &[Prefix::new(STRANGER, 24)])?;
        self.server().configure(DEVICE, None, &[Prefix::new(SERVER, 24)])?;
        let anywhere = Prefix::new(Ipv4Addr::UNSPECIFIED, 0);
        for (end, to, via) in
            [(&host, anywhere, SERVER), (self.server(), Prefix::new(BEHIND, BEHIND_LEN), STRANGER)]
        {
            let mut netlink = end.netlink();
            let device = netlink.link_by_name(DEVICE)?.index;
            let route = Route::to(to).via(via).by_link(device);
            netlink.add_route(&route).context("routes of the stranger")?;
        }
        Ok(Stranger { host })
    }
}

impl Stranger {
    /// The host itself.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its own address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        STRANGER.into()
    }

    /// One of the addresses behind it, another for each `number` below 2²².
    #[must_use]
    pub fn spoofed(number: u32) -> Ipv4Addr {
        let host_bits = u32::MAX >> BEHIND_LEN;
        Ipv4Addr::from_bits(BEHIND.to_bits() | (number & host_bits))
    }

    /// What its cable has carried, seen from the stranger.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn counters(&self) -> Result<LinkCounters> {
        self.host.counters(DEVICE)
    }
}
