//! The tunnel's MTU: the largest that no link fragments.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use mlvpn_io::udp::route_mtu;
use mlvpn_proto::EndpointConfig;
use mlvpn_proto::stats::Version;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::plan::packet_kind;
use crate::config::{Config, Link};

/// IPv6 needs this much (RFC 8200 section 5).
const SMALLEST: u32 = 1_280;
/// Every IPv4 host takes packets this large (RFC 791 section 3.1). A smaller MTU in a report is
/// more likely forged than true, and would make the tunnel useless.
const SMALLEST_IP4: u32 = 576;
/// How long a report counts: RFC 1191 section 6.3 has the larger MTU tried again after ten minutes.
const REPORT_TIME: Duration = Duration::from_secs(600);

/// What is known about the links' MTUs.
#[derive(Debug, Default)]
pub(super) struct MtuPlan {
    links: BTreeMap<String, LinkMtu>,
    /// The largest packet of the tunnel that version 2 found to arrive over all paths.
    measured: Option<u16>,
    /// The version that is spoken, once there is one.
    version: Option<Version>,
}

/// What is known about one link, in bytes.
#[derive(Clone, Copy, Debug)]
struct LinkMtu {
    remote: SocketAddr,
    /// The largest IP packet, as the routing table has it.
    route: u32,
    /// The largest IP packet, as somebody on the way said, and until when that counts.
    reported: Option<(u32, Instant)>,
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

    /// Learns what version 2 found. It counts until another value is found.
    pub(super) fn on_measured(&mut self, mtu: u16) {
        self.measured = Some(mtu);
    }

    /// A new session measures anew, and may speak another version.
    pub(super) fn forget_measured(&mut self) {
        (self.measured, self.version) = (None, None);
    }

    /// Learns which version is spoken; whether that is news.
    pub(super) fn on_version(&mut self, version: Option<Version>) -> bool {
        let is_news = version.is_some() && version != self.version;
        self.version = version.or(self.version);
        is_news
    }

    /// Learns what the network said about datagrams to a link's peer.
    pub(super) fn on_reported(&mut self, link: &str, mtu: u32, now: Instant) {
        let Some(known) = self.links.get_mut(link) else { return };
        if mtu < known.smallest() {
            debug!(link, mtu, "a report of an MTU that cannot be is not believed");
        } else if known.reported.is_none_or(|(reported, _)| mtu <= reported) {
            known.reported = Some((mtu, now + REPORT_TIME));
        }
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.links.values().filter_map(|link| Some(link.reported?.1)).min()
    }

    /// Forgets reports that are too old. Returns the links and their peers that they were about.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(String, SocketAddr)> {
        let mut expired = Vec::new();
        for (name, link) in &mut self.links {
            if link.reported.take_if(|(_, until)| *until <= now).is_some() {
                expired.push((name.clone(), link.remote));
            }
        }
        expired
    }

    /// A link is gone.
    pub(super) fn forget(&mut self, link: &str) {
        self.links.remove(link);
    }

    /// The MTU for the tunnel interface.
    pub(super) fn tunnel_mtu(&self, config: &Config) -> u16 {
        if let Some(measured) = self.measured.filter(|_| config.general.speaks_v2()) {
            return measured_mtu(measured, config);
        }
        let overhead = u32::from(config.overhead());
        let fits = |link: &LinkMtu| link.packet().saturating_sub(link.ip_header() + overhead);
        let unknown = u32::from(config.unfragmented_mtu());
        let smallest = self.links.values().map(fits).min().unwrap_or(unknown);
        let limit = EndpointConfig::max_mtu_v1(packet_kind(config), config.general.cleartext_data);
        let largest = (smallest.min(u32::from(limit))) as u16;
        match config.general.interface.mtu {
            None if u32::from(largest) < SMALLEST && self.keeps_ip6(config) => SMALLEST as u16,
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

    /// Whether the interface keeps what IPv6 needs, since version 2 sends what one link does not carry
    /// over the others. A system takes the IPv6 addresses of an interface with less away, and they do
    /// not come back by themselves.
    fn keeps_ip6(&self, config: &Config) -> bool {
        has_ip6(config) && config.general.speaks_v2() && self.version != Some(Version::V1)
    }

    fn set(&mut self, link: &str, mtu: u32, remote: SocketAddr) {
        let former = self.links.get(link).filter(|known| known.remote == remote);
        let reported = former.and_then(|known| known.reported);
        self.links.insert(link.to_owned(), LinkMtu { remote, route: mtu, reported });
    }
}

/// What is measured counts, but a tunnel with an IPv6 address needs the least MTU of IPv6 (RFC 8200 section 5).
fn measured_mtu(measured: u16, config: &Config) -> u16 {
    let largest = measured.saturating_sub(config.ethernet_header());
    let largest = if has_ip6(config) { largest.max(SMALLEST as u16) } else { largest };
    config.general.interface.mtu.map_or(largest, |mtu| mtu.min(largest))
}

fn has_ip6(config: &Config) -> bool {
    config.general.addresses.ip6.is_some()
}

impl LinkMtu {
    /// The largest IP packet.
    fn packet(&self) -> u32 {
        self.reported.map_or(self.route, |(mtu, _)| mtu.min(self.route))
    }

    /// Length of the outer IP header.
    fn ip_header(&self) -> u32 {
        if self.remote.is_ipv6() { 40 } else { 20 }
    }

    /// What every network of the family carries.
    fn smallest(&self) -> u32 {
        if self.remote.is_ipv6() { SMALLEST } else { SMALLEST_IP4 }
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
    fn what_was_measured_counts_until_there_is_a_new_session() {
        let mut plan = plan(&[("a", 1_500, "192.0.2.1:1")]);
        plan.on_measured(1_440);
        assert_eq!(plan.tunnel_mtu(&config("")), 1_440);
        assert_eq!(plan.tunnel_mtu(&config("mtu = 1400")), 1_400);
        assert_eq!(plan.tunnel_mtu(&config("protocol_version = 1")), 1_428);
        plan.forget_measured();
        assert_eq!(plan.tunnel_mtu(&config("")), 1_428);
    }

    #[test]
    fn ipv6_keeps_its_least_before_and_after_it_is_measured_unless_version_1_is_spoken() {
        let mut plan = plan(&[("a", 1_500, "192.0.2.1:1"), ("b", 1_280, "192.0.2.1:2")]);
        let ip6 = config("ip6 = \"fd00::1/64\"");
        assert_eq!((plan.tunnel_mtu(&ip6), plan.tunnel_mtu(&config(""))), (1_280, 1_208));
        assert!(plan.on_version(Some(Version::V1)));
        assert_eq!(plan.tunnel_mtu(&ip6), 1_208, "its packets go over every link");
        assert!(plan.on_version(Some(Version::V2)));
        assert!(!plan.on_version(Some(Version::V2)) && !plan.on_version(None), "no news");
        assert_eq!(plan.tunnel_mtu(&ip6), 1_280);
        plan.on_measured(1_220);
        assert_eq!((plan.tunnel_mtu(&ip6), plan.tunnel_mtu(&config(""))), (1_280, 1_220));
    }

    #[test]
    fn a_report_counts_for_ten_minutes() {
        let (config, now) = (config(""), Instant::now());
        let mut plan = plan(&[("a", 1_500, "192.0.2.1:1")]);
        plan.on_reported("a", 1_400, now);
        assert_eq!(plan.tunnel_mtu(&config), 1_328);
        // A larger one neither takes its place nor prolongs it.
        plan.on_reported("a", 1_450, now + Duration::from_secs(300));
        assert_eq!(plan.deadline(), Some(now + REPORT_TIME));
        assert!(plan.expire(now).is_empty());
        assert_eq!(plan.tunnel_mtu(&config), 1_328);
        let expired = plan.expire(now + REPORT_TIME);
        assert_eq!(expired, [("a".to_owned(), "192.0.2.1:1".parse().unwrap())]);
        assert_eq!((plan.tunnel_mtu(&config), plan.deadline()), (1_428, None));
    }

    #[test]
    fn a_report_that_cannot_be_true_is_not_believed() {
        let now = Instant::now();
        for (remote, smallest) in [("192.0.2.1:1", 576), ("[2001:db8::1]:1", 1_280)] {
            let mut plan = plan(&[("a", 1_500, remote)]);
            plan.on_reported("a", smallest - 1, now);
            plan.on_reported("unknown", 1_400, now);
            assert_eq!(plan.deadline(), None);
            plan.on_reported("a", smallest, now);
            assert_eq!(plan.links["a"].packet(), smallest);
        }
    }

    #[test]
    fn a_report_is_about_one_peer() {
        let now = Instant::now();
        let mut plan = plan(&[("a", 1_500, "192.0.2.1:1")]);
        plan.on_reported("a", 1_400, now);
        plan.set("a", 1_500, "192.0.2.1:1".parse().unwrap());
        assert_eq!(plan.links["a"].packet(), 1_400);
        plan.set("a", 1_500, "192.0.2.7:1".parse().unwrap());
        assert_eq!(plan.links["a"].packet(), 1_500);
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
