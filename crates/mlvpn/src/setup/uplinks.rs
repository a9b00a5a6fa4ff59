//! By which devices this host reaches the internet.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use mlvpn_io::netlink::{Link, Route, TABLE_MAIN};

use crate::network::present::Present;

/// Kinds of virtual interfaces that are no uplinks but go over one, or nowhere.
const TUNNELS: [&str; 13] = [
    "tun",
    "wireguard",
    "ipip",
    "sit",
    "gre",
    "gretap",
    "ip6tnl",
    "ip6gre",
    "vti",
    "vti6",
    "xfrm",
    "dummy",
    "ifb",
];
/// How the bridges and cables of containers and virtual machines are called.
const CONTAINERS: [&str; 7] = ["docker", "br-", "virbr", "lxcbr", "lxdbr", "podman", "cni"];

/// A device by which the internet is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Uplink {
    /// What the link is called.
    pub(super) name: String,
    /// The device.
    pub(super) device: String,
    /// Whether it has an IPv4 address and default route.
    pub(super) has_v4: bool,
    /// The same for IPv6.
    pub(super) has_v6: bool,
    /// The routers of its default routes.
    pub(super) gateways: Vec<IpAddr>,
}

/// A device that the user has chosen, with the name of its link if he has said one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    name: Option<String>,
    device: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// The best first.
    pub(super) uplinks: Vec<Uplink>,
    /// Devices with a default route that are no uplinks, and why.
    pub(super) ignored: Vec<(String, String)>,
    /// What the user should know of the uplinks.
    pub(super) remarks: Vec<String>,
}

/// What a device's driver is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    /// Wi-Fi.
    Wifi,
    /// A modem for mobile networks.
    Mobile,
    /// Anything else.
    Other,
}

impl Medium {
    /// Of a device of this network namespace, as far as sysfs and its name tell.
    pub(super) fn of(device: &str) -> Self {
        let folder = Path::new("/sys/class/net").join(device);
        let uevent = std::fs::read_to_string(folder.join("uevent")).unwrap_or_default();
        let has = |kind: &str| uevent.lines().any(|line| line == format!("DEVTYPE={kind}"));
        if has("wwan") || device.starts_with("ww") {
            Self::Mobile
        } else if has("wlan") || folder.join("phy80211").exists() || device.starts_with("wl") {
            Self::Wifi
        } else {
            Self::Other
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, device) = match text.split_once('=') {
            Some((name, device)) => (Some(name), device),
            None => (None, text),
        };
        let is_name = |name: &str| !name.is_empty() && section(name) == name;
        if device.is_empty() || device.len() > 15 || !name.is_none_or(is_name) {
            return Err("write DEVICE or LINK=DEVICE, such as eth1 or lte=wwan0".to_owned());
        }
        Ok(Self { name: name.map(str::to_owned), device: device.to_owned() })
    }
}

/// Finds all uplinks. The interface called `own` is the tunnel itself.
pub(super) fn find(present: &Present, own: &str, medium: impl Fn(&str) -> Medium) -> Survey {
    let mut survey = Survey::default();
    for (device, routes) in devices(present) {
        if device.name == own {
            continue;
        }
        match hindrance(device, present) {
            Some(why) => survey.ignored.push((device.name.clone(), why)),
            None => {
                let uplink = uplink(device, &routes, present);
                if uplink.has_v4 || uplink.has_v6 {
                    survey.remarks.extend(remark(&uplink));
                    survey.uplinks.push(uplink);
                } else {
                    let why = "it has no address".to_owned();
                    survey.ignored.push((device.name.clone(), why));
                }
            }
        }
    }
    name_all(&mut survey.uplinks, medium);
    survey
}

/// The uplinks that the user has chosen.
///
/// # Errors
/// When a device does not exist, or has no default route.
pub(super) fn choose(present: &Present, choices: &[Choice]) -> anyhow::Result<Survey> {
    let mut survey = Survey::default();
    for choice in choices {
        let name = &choice.device;
        let device = present.link(name).ok_or_else(|| {
            anyhow::anyhow!("there is no device {name} on this host; `ip link` shows what there is")
        })?;
        let routes = default_routes(present).filter(|route| route.link == Some(device.index));
        let routes: Vec<_> = routes.collect();
        if routes.is_empty() {
            anyhow::bail!(
                "{name} has no default route, so that nothing is reached by it: configure it first, with a \
                 metric of its own, such as `ip route add default via GATEWAY dev {name} metric 200`"
            );
        }
        let mut uplink = uplink(device, &routes, present);
        uplink.name = choice.name.clone().unwrap_or_else(|| section(name));
        survey.remarks.extend(remark(&uplink));
        survey.uplinks.push(uplink);
    }
    Ok(survey)
}

/// The default routes of the main table: others are those of somebody's rules, and mlvpn does not copy
/// them.
fn default_routes(present: &Present) -> impl Iterator<Item = &Route> {
    present.routes.iter().filter(|route| route.table == TABLE_MAIN && route.destination.length == 0)
}

/// Devices with default routes, the one with the smallest metric first.
fn devices(present: &Present) -> Vec<(&Link, Vec<&Route>)> {
    let mut routes: Vec<_> = default_routes(present).collect();
    routes.sort_by_key(|route| (route.metric.unwrap_or(0), route.destination.is_ipv6()));
    let mut devices: Vec<(&Link, Vec<&Route>)> = Vec::new();
    for route in routes {
        let known = devices.iter_mut().find(|(device, _)| Some(device.index) == route.link);
        if let Some((_, routes)) = known {
            routes.push(route);
        } else if let Some(device) =
            present.links.iter().find(|link| Some(link.index) == route.link)
        {
            devices.push((device, vec![route]));
        }
    }
    devices
}

/// Why a device with a default route is no uplink.
fn hindrance(device: &Link, present: &Present) -> Option<String> {
    let kind = device.kind.as_deref().unwrap_or_default();
    let controller =
        device.controller.and_then(|index| present.links.iter().find(|link| link.index == index));
    if !device.is_up {
        return Some("it is down".to_owned());
    }
    if TUNNELS.contains(&kind) {
        return Some(format!("it is a tunnel ({kind})"));
    }
    if CONTAINERS.iter().any(|name| device.name.starts_with(name)) {
        return Some("it is a bridge of containers or virtual machines".to_owned());
    }
    controller
        .filter(|controller| {
            ["bridge", "bond", "team"].contains(&controller.kind.as_deref().unwrap_or(""))
        })
        .map(|controller| format!("it is a member of {}", controller.name))
}

fn uplink(device: &Link, routes: &[&Route], present: &Present) -> Uplink {
    let has = |is_ipv6: bool| {
        routes.iter().any(|route| route.destination.is_ipv6() == is_ipv6)
            && present.addresses.iter().any(|address| {
                address.link == device.index
                    && address.prefix.is_ipv6() == is_ipv6
                    && !is_link_local(address.prefix.address)
            })
    };
    let mut gateways: Vec<_> = routes.iter().filter_map(|route| route.gateway).collect();
    gateways.sort();
    gateways.dedup();
    Uplink {
        name: section(&device.name),
        device: device.name.clone(),
        has_v4: has(false),
        has_v6: has(true),
        gateways,
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn remark(uplink: &Uplink) -> Option<String> {
    let v4: Vec<_> = uplink.gateways.iter().filter(|gateway| gateway.is_ipv4()).collect();
    let [first, second, ..] = v4.as_slice() else { return None };
    Some(format!(
        "{} has several routers ({first}, {second}): it is one link by the first; for a link by each, give each \
         router a device of its own, such as a VLAN",
        uplink.device
    ))
}

/// Wi-Fi and modems are called by what they are, with a number from the second on; others by their device.
fn name_all(uplinks: &mut [Uplink], medium: impl Fn(&str) -> Medium) {
    let mut taken: Vec<String> = Vec::new();
    for uplink in uplinks {
        let base = match medium(&uplink.device) {
            Medium::Wifi => "wifi".to_owned(),
            Medium::Mobile => "lte".to_owned(),
            Medium::Other => section(&uplink.device),
        };
        let numbered = (2..).map(|number| format!("{base}{number}"));
        let mut names = std::iter::once(base.clone()).chain(numbered);
        let name = names.find(|name| !taken.contains(name)).expect("there are names without end");
        taken.push(name.clone());
        uplink.name = name;
    }
}

/// A device's name as that of a section.
fn section(device: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = device.chars().map(|c| if is_part(c) { c } else { '_' }).collect();
    let is_reserved = name == "general" || name.starts_with("filters");
    if is_reserved { format!("link-{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use mlvpn_io::netlink::{Address, LinkCounters, Prefix};

    use super::*;

    fn device(index: u32, name: &str, kind: Option<&str>) -> Link {
        Link {
            index,
            name: name.to_owned(),
            is_up: true,
            has_carrier: true,
            kind: kind.map(str::to_owned),
            controller: None,
            mtu: 1500,
            tx_queue_len: 1000,
            counters: LinkCounters::default(),
        }
    }

    fn default_by(present: &mut Present, index: u32, gateway: &str, metric: u32) {
        let gateway: IpAddr = gateway.parse().unwrap();
        let route = Route::to(Prefix::all_of(gateway)).via(gateway).by_link(index);
        present.routes.push(route.with_metric(metric));
        let own = if gateway.is_ipv4() { "192.0.2.7/24" } else { "2001:db8::7/64" };
        present.addresses.push(Address { link: index, prefix: own.parse().unwrap(), peer: None });
    }

    fn medium(device: &str) -> Medium {
        match device {
            "wlan0" | "wlan1" => Medium::Wifi,
            "wwan0" => Medium::Mobile,
            _ => Medium::Other,
        }
    }

    #[test]
    fn uplinks_are_the_devices_with_default_routes_in_the_order_of_their_metrics() {
        let mut present = Present::default();
        let names = ["wwan0", "eth1", "wlan1", "wlan0", "lan0"];
        present.links = (1..).zip(names).map(|(n, name)| device(n, name, None)).collect();
        default_by(&mut present, 1, "10.64.0.1", 700);
        default_by(&mut present, 2, "192.168.1.1", 100);
        default_by(&mut present, 2, "fe80::1", 100);
        default_by(&mut present, 3, "192.168.3.1", 600);
        default_by(&mut present, 4, "192.168.4.1", 601);
        let survey = find(&present, "mlvpn0", medium);
        let shown: Vec<_> = survey
            .uplinks
            .iter()
            .map(|u| format!("{}={} {}", u.name, u.device, u.has_v6))
            .collect();
        assert_eq!(
            shown,
            ["eth1=eth1 true", "wifi=wlan1 false", "wifi2=wlan0 false", "lte=wwan0 false"]
        );
        assert_eq!((survey.ignored, survey.remarks), (vec![], vec![]));
    }

    #[test]
    fn tunnels_containers_members_and_what_is_down_are_no_uplinks() {
        let mut present = Present::default();
        let links = [
            ("wg0", Some("wireguard")),
            ("tun3", Some("tun")),
            ("docker0", Some("bridge")),
            ("eth0", None),
            ("br0", Some("bridge")),
            ("eth9", None),
            ("mlvpn0", Some("tun")),
            ("eth7", None),
        ];
        present.links = (1..).zip(links).map(|(n, (name, kind))| device(n, name, kind)).collect();
        present.links[3].controller = Some(5);
        present.links[5].is_up = false;
        for index in 1..=7 {
            default_by(&mut present, index, "192.168.1.1", index);
        }
        let route = Route::to(Prefix::ALL_V4).via([192, 168, 7, 1]).by_link(8);
        present.routes.push(route.clone().with_metric(8));
        // What a table of somebody else's rules says does not count.
        present.routes.push(Route { table: 77, ..route });
        let survey = find(&present, "mlvpn0", medium);
        let names: Vec<_> = survey.uplinks.iter().map(|uplink| uplink.device.as_str()).collect();
        assert_eq!(names, ["br0"]);
        let why: Vec<_> =
            survey.ignored.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        insta::assert_snapshot!(why.join("\n"), @r"
        wg0: it is a tunnel (wireguard)
        tun3: it is a tunnel (tun)
        docker0: it is a bridge of containers or virtual machines
        eth0: it is a member of br0
        eth9: it is down
        eth7: it has no address
        ");
    }

    #[test]
    fn two_routers_on_one_device_are_one_link_and_that_is_told() {
        let mut present = Present { links: vec![device(1, "eth0", None)], ..Present::default() };
        default_by(&mut present, 1, "192.168.1.1", 100);
        default_by(&mut present, 1, "192.168.1.2", 200);
        let survey = find(&present, "mlvpn0", medium);
        assert_eq!(survey.uplinks.len(), 1);
        assert!(survey.remarks[0].contains("192.168.1.2"), "{:?}", survey.remarks);
    }

    #[test]
    fn chosen_devices_are_named_and_must_lead_somewhere() {
        let links = vec![device(1, "eth0", None), device(2, "eth1", None)];
        let mut present = Present { links, ..Present::default() };
        default_by(&mut present, 1, "192.168.1.1", 100);
        let choose = |text: &str| choose(&present, &[text.parse().unwrap()]);
        assert_eq!(choose("dsl=eth0").unwrap().uplinks[0].name, "dsl");
        assert_eq!(choose("eth0").unwrap().uplinks[0].name, "eth0");
        assert!(choose("eth1").unwrap_err().to_string().contains("no default route"));
        assert!(choose("eth5").unwrap_err().to_string().contains("no device eth5"));
        for bad in ["", "=eth0", "a b=eth0", "general=eth0", "x=", "sixteencharacters"] {
            assert!(bad.parse::<Choice>().is_err(), "{bad}");
        }
    }
}
