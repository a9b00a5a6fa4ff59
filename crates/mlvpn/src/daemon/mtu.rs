//! The tunnel's MTU: the largest that no link fragments.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mlvpn_io::udp::route_mtu;
use mlvpn_proto::SessionConfig;
use tracing::{debug, warn};

use super::plan::packet_kind;
use crate::config::{Config, Link};

/// IPv6 needs this much (RFC 8200 section 5).
const SMALLEST: u32 = 1_280;

/// What is known about the links' MTUs.
#[derive(Debug, Default)]
pub(super) struct MtuPlan {
    /// Per link: the largest IP packet, and the length of its outer IP header.
    links: BTreeMap<String, (u32, u32)>,
}

impl MtuPlan {
    /// Learns what the routing table says about a link's peer.
    pub(super) fn on_remote(&mut self, link: &Link, local: SocketAddr, remote: SocketAddr) {
        let bind = Some(local).filter(|local| !local.ip().is_unspecified());
        match route_mtu(bind, link.bind_dev.as_deref(), link.bind_fib, remote) {
            Ok(mtu) => self.set(&link.name, mtu, remote),
            // Without the right to set a mark, say: the unmarked route's MTU is the best guess.
            Err(error) => match route_mtu(bind, None, None, remote) {
                Ok(mtu) => self.set(&link.name, mtu, remote),
                Err(_) => debug!(link = link.name, %error, "the link's MTU is not known"),
            },
        }
    }

    /// Learns what the network said about datagrams to a link's peer.
    pub(super) fn on_reported(&mut self, link: &str, mtu: u32) {
        if let Some((known, _)) = self.links.get_mut(link) {
            *known = mtu.min(*known);
        }
    }

    /// A link is gone.
    pub(super) fn forget(&mut self, link: &str) {
        self.links.remove(link);
    }

    /// The MTU for the tunnel interface.
    pub(super) fn tunnel_mtu(&self, config: &Config) -> u16 {
        let overhead = u32::from(config.overhead());
        let fits = |(mtu, ip_header): (u32, u32)| mtu.saturating_sub(ip_header + overhead);
        let unknown = u32::from(config.unfragmented_mtu());
        let smallest = self.links.values().copied().map(fits).min().unwrap_or(unknown);
        let limit = SessionConfig::max_mtu(packet_kind(config), config.general.cleartext_data);
        let largest = (smallest.min(u32::from(limit))) as u16;
        match config.general.interface.mtu {
            None if u32::from(largest) < SMALLEST => {
                warn!(mtu = largest, "a link is so small that IPv6 does not fit into the tunnel");
                largest
            }
            None => largest,
            Some(mtu) => {
                if mtu > largest {
                    warn!(
                        mtu,
                        largest,
                        "the configured mtu makes datagrams that the links fragment; remove the key"
                    );
                }
                mtu.min(limit)
            }
        }
    }

    fn set(&mut self, link: &str, mtu: u32, remote: SocketAddr) {
        let ip_header = if remote.is_ipv6() { 40 } else { 20 };
        self.links.insert(link.to_owned(), (mtu, ip_header));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(extra: &str) -> Config {
        let text = format!(
            "[general]\nmode = \"client\"\npassword = \"{}\"\n{extra}\n\
             [l]\nremotehost = \"192.0.2.1\"\nremoteport = 1\n",
            "x".repeat(40)
        );
        crate::config::parse("t", text.as_bytes()).unwrap().config
    }

    fn plan(links: &[(&str, u32, &str)]) -> MtuPlan {
        let mut plan = MtuPlan::default();
        for (name, mtu, remote) in links {
            plan.set(name, *mtu, remote.parse().unwrap());
        }
        plan
    }

    #[test]
    fn the_smallest_link_decides() {
        let v4 = "192.0.2.1:1";
        assert_eq!(plan(&[]).tunnel_mtu(&config("")), 1_428);
        assert_eq!(plan(&[("a", 1_500, v4), ("b", 1_492, v4)]).tunnel_mtu(&config("")), 1_420);
        assert_eq!(plan(&[("a", 1_500, "[2001:db8::1]:1")]).tunnel_mtu(&config("")), 1_408);
        assert_eq!(plan(&[("a", 1_500, v4)]).tunnel_mtu(&config("cleartext_data = 1")), 1_444);
        assert_eq!(plan(&[("a", 1_500, v4)]).tunnel_mtu(&config("tuntap = \"tap\"")), 1_414);
    }

    #[test]
    fn jumbo_links_do_not_exceed_what_the_peer_takes() {
        assert_eq!(plan(&[("a", 9_000, "192.0.2.1:1")]).tunnel_mtu(&config("")), 1_456);
    }

    #[test]
    fn a_configured_mtu_is_kept_as_far_as_the_wire_allows() {
        assert_eq!(plan(&[]).tunnel_mtu(&config("mtu = 1400")), 1_400);
        assert_eq!(plan(&[]).tunnel_mtu(&config("mtu = 1432")), 1_432);
    }
}
