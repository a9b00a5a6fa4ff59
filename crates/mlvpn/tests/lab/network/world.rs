//! A small internet: a LAN behind the client, a router with NAT on each of its two uplinks, and a
//! server elsewhere.
//!
//! ```text
//!                          eth1 -- .1.0/24 -- router1 --\
//!  lan --- 192.168.7.0/24 client                         internet --- server
//!                          eth2 -- .2.0/24 -- router2 --/   |
//!                                                          web, 192.0.2.80
//! ```
//!
//! In IPv6 the routers have networks of their own and translate nothing; the LAN has private
//! addresses (fd07::/64).

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use mlvpn_io::netlink::{Prefix, Route};
use mlvpn_lab::daemon::Signal;
use mlvpn_lab::{Daemon, Host};

use crate::conf::Conf;
use crate::tunnel::{PASSWORD, PROGRAM, Place, TUN, is_running, user_arguments};
use crate::wait::{PATIENCE, wait_for};

/// The web server, which is the host "internet" itself.
pub(crate) const WEB_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 80));
pub(crate) const WEB_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0, 0x80));
/// The server as the internet knows it.
pub(crate) const SERVER_PUBLIC_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2));
pub(crate) const SERVER_PUBLIC_V6: IpAddr =
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 2));
/// The first router as the internet knows it.
pub(crate) const ROUTER_PUBLIC_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 101, 2));
/// The LAN's host, and the client there.
pub(crate) const LAN_HOST_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 7, 2));
pub(crate) const LAN_CLIENT_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 7, 1));
/// The client's file before anything happens.
pub(crate) const RESOLV_CONF: &str = "search lan\nnameserver 192.168.7.1\n";

/// Where the web server listens.
const PORT: u16 = 8080;
/// How long a connection that will not come about is waited for.
const BRIEF: Duration = Duration::from_millis(1500);
/// How often, and so many times, the server looks for a connection that the other end has made.
const LOOK: Duration = Duration::from_millis(20);
const ACCEPT_LOOKS: u32 = 250;
/// Settings whose values are changed by the kernel itself, or cannot be read.
const VOLATILE: [&str; 2] = ["/neigh/", "stable_secret"];

pub(crate) struct World {
    pub(crate) lan: Host,
    pub(crate) client: Host,
    pub(crate) server: Host,
    pub(crate) internet: Host,
    routers: [Host; 2],
}

impl World {
    pub(crate) fn new() -> Self {
        let host = |name| Host::new(name).expect("hosts need namespaces");
        let world = Self {
            lan: host("lan"),
            client: host("client"),
            server: host("server"),
            internet: host("internet"),
            routers: [host("router1"), host("router2")],
        };
        world.connect((&world.lan, "eth0"), (&world.client, "lan0"), ["192.168.7", "fd07:"]);
        route(&world.lan, "eth0", ["192.168.7.2", "fd07::2"], None);
        for (number, router) in (1u32..).zip(&world.routers) {
            let (device, wan) = (format!("eth{number}"), format!("isp{number}"));
            let inside = [format!("192.168.{number}"), format!("2001:db8:1{number}:")];
            let outside = [format!("198.51.{}", 100 + number), format!("2001:db8:2{number}:")];
            let [inside4, inside6] = inside.each_ref().map(String::as_str);
            let [outside4, outside6] = outside.each_ref().map(String::as_str);
            world.connect((&world.client, &device), (router, "lan"), [inside4, inside6]);
            world.connect((router, "wan"), (&world.internet, &wan), [outside4, outside6]);
            let gateways = [format!("{inside4}.2"), format!("{inside6}:2")];
            let gateways = gateways.each_ref().map(String::as_str);
            route(&world.client, &device, gateways, Some(100 * number));
            let gateways = [format!("{outside4}.1"), format!("{outside6}:1")];
            route(router, "wan", gateways.each_ref().map(String::as_str), None);
            let to_client = Route::to(format!("{inside6}:/64").parse().unwrap());
            let via: IpAddr = format!("{outside6}:2").parse().unwrap();
            world.internet.netlink().add_route(&to_client.via(via)).unwrap();
            forward(router);
            world.nat(router);
        }
        world.connect(
            (&world.server, "eth0"),
            (&world.internet, "dc"),
            ["203.0.113", "2001:db8:3:"],
        );
        route(&world.server, "eth0", ["203.0.113.1", "2001:db8:3::1"], None);
        forward(&world.internet);
        world
            .internet
            .configure("lo", None, &[Prefix::host(WEB_V4), Prefix::host(WEB_V6)])
            .unwrap();
        world
    }

    /// Joins two hosts: the first is host 2 of the networks, the other host 1; except that the
    /// client is host 1 of its LAN and host 1 of its uplinks, whose routers are host 2.
    fn connect(&self, a: (&Host, &str), b: (&Host, &str), [v4, v6]: [&str; 2]) {
        a.0.connect(a.1, b.0, b.1).unwrap();
        let is_client_first = a.0.name() == "client";
        let (first, second) = if is_client_first { (1, 2) } else { (2, 1) };
        for ((host, device), number) in [(a, first), (b, second)] {
            let addresses = [format!("{v4}.{number}/24"), format!("{v6}:{number}/64")];
            let addresses = addresses.map(|text| text.parse::<Prefix>().unwrap());
            host.configure(device, None, &addresses).unwrap();
        }
    }

    /// The router of the uplink with this number, from 0.
    pub(crate) fn router(&self, number: usize) -> &Host {
        &self.routers[number]
    }

    fn nat(&self, router: &Host) {
        let rule = "table ip nat { chain post { type nat hook postrouting priority 100; \
                    oifname \"wan\" masquerade; }; }";
        self.output(router, &["nft", rule]);
    }

    /// The first uplink's router is at another address, and the client's route is another.
    pub(crate) fn move_gateway(&self) {
        self.readdress("192.168.1.2", "192.168.1.99");
    }

    pub(crate) fn move_gateway_back(&self) {
        self.readdress("192.168.1.99", "192.168.1.2");
    }

    fn readdress(&self, old: &str, new: &str) {
        let [old, new]: [IpAddr; 2] = [old, new].map(|text| text.parse().unwrap());
        let router = &self.routers[0];
        let index = router.netlink().link_by_name("lan").unwrap().index;
        router.netlink().delete_address(index, Prefix::new(old, 24)).unwrap();
        router.configure("lan", None, &[Prefix::new(new, 24)]).unwrap();
        let mut client = self.client.netlink();
        let index = client.link_by_name("eth1").unwrap().index;
        let route = Route::to(Prefix::ALL_V4).by_link(index).with_metric(100);
        client.replace_route(&route.via(new)).unwrap();
    }

    /// Has the internet know the way back to the LAN, so that what leaks from there is answered.
    pub(crate) fn lead_answers_to_the_lan(&self) {
        for (number, router) in (1..).zip(&self.routers) {
            let steps = [
                (router, format!("-4 route add 192.168.7.0/24 via 192.168.{number}.1")),
                (router, format!("-6 route add fd07::/64 via 2001:db8:1{number}::1")),
                (
                    &self.internet,
                    format!("-6 route add fd07::/64 via 2001:db8:2{number}::2 metric {number}"),
                ),
            ];
            for (host, step) in steps {
                let words: Vec<_> = std::iter::once("ip").chain(step.split(' ')).collect();
                self.output(host, &words);
            }
        }
    }

    /// Takes the second uplink's device away.
    pub(crate) fn unplug(&self) {
        let mut netlink = self.client.netlink();
        let index = netlink.link_by_name("eth2").unwrap().index;
        netlink.delete_link(index).unwrap();
    }

    /// Plugs it in again, as it was, and configures it.
    pub(crate) fn plug(&self) {
        let networks = ["192.168.2", "2001:db8:12:"];
        self.connect((&self.client, "eth2"), (&self.routers[1], "lan"), networks);
        route(&self.client, "eth2", ["192.168.2.2", "2001:db8:12::2"], Some(200));
    }

    /// Bytes that the client has received by each uplink.
    pub(crate) fn received(&self) -> [u64; 2] {
        ["eth1", "eth2"].map(|device| self.client.counters(device).map_or(0, |c| c.rx_bytes))
    }

    /// From which address `host` seems to come when it connects to the web server; `None` when it
    /// does not get there. When routes change while it connects the server may never hear of it again: the
    /// unspecified address then, which is neither.
    pub(crate) fn seen_from(&self, host: &Host, web: IpAddr) -> Option<IpAddr> {
        self.seen_from_in(host, &self.internet, web)
    }

    /// The same for a server at `address` of the host `to`.
    pub(crate) fn seen_from_in(&self, from: &Host, to: &Host, address: IpAddr) -> Option<IpAddr> {
        let at = SocketAddr::new(address, PORT);
        // A child that another test is just starting may still hold the former one.
        let mut listener = None;
        wait_for("a place to listen", || {
            listener = to.run(|| TcpListener::bind(at)).unwrap().ok();
            listener.is_some()
        });
        let listener = listener.expect("it was waited for");
        let connect = || TcpStream::connect_timeout(&at, BRIEF);
        let _connection = from.run(connect).unwrap().ok()?;
        listener.set_nonblocking(true).unwrap();
        for _ in 0..ACCEPT_LOOKS {
            match listener.accept() {
                Ok((_, peer)) => return Some(peer.ip()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK),
                Err(error) => panic!("{error}"),
            }
        }
        Some(match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        })
    }

    /// Everything of the client's and the server's network that a program could change.
    pub(crate) fn states(&self) -> [String; 2] {
        [&self.client, &self.server].map(|host| {
            let mut text = String::new();
            for command in [
                "ip -4 rule",
                "ip -6 rule",
                "ip -4 route show table all",
                "ip -6 route show table all",
                "ip -o address",
                "nft list ruleset",
            ] {
                let words: Vec<_> = command.split(' ').collect();
                text += &format!("{command}\n{}", sorted(&self.output(host, &words)));
            }
            text + &host.run(settings).unwrap()
        })
    }

    /// What a program prints that runs on `host`.
    pub(crate) fn output(&self, host: &Host, words: &[&str]) -> String {
        let output = host.command(words[0]).args(&words[1..]).output();
        let output = output.unwrap_or_else(|e| panic!("{} has to be installed: {e}", words[0]));
        // A table that does not exist is empty.
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || stderr.contains("FIB table does not exist"), "{stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts both ends, as changed, and waits until both links and the tunnel's routes are there.
    pub(crate) fn start(
        &self,
        change_server: impl FnOnce(&mut Conf),
        change_client: impl FnOnce(&mut Conf),
    ) -> (End, End) {
        let server = self.server(change_server);
        let client = self.client(change_client);
        for link in ["one", "two"] {
            client.wait_for_link(link, "connected");
        }
        (server, client)
    }

    pub(crate) fn server(&self, change: impl FnOnce(&mut Conf)) -> End {
        let mut conf = general("server", ["10.44.43.2/30", "fd44::2/64"]);
        conf.set("general", "nat", "yes");
        for (link, port) in [("one", 5080), ("two", 5081)] {
            conf.set(link, "bindport", port);
        }
        change(&mut conf);
        End::start(&self.server, conf)
    }

    pub(crate) fn client(&self, change: impl FnOnce(&mut Conf)) -> End {
        End::start(&self.client, client_conf(change))
    }

    /// The client on a host that asks systemd-resolved, in whose place a script notes how it is called.
    pub(crate) fn client_with_resolved(&self, change: impl FnOnce(&mut Conf)) -> End {
        End::start_on(&self.client, client_conf(change), |place| {
            fs::create_dir(place.path("bin")).unwrap();
            let script = format!("#!/bin/sh\necho \"$@\" >>'{}'\n", place.path("calls").display());
            place.write("bin/resolvectl", &script, 0o755);
            fs::remove_file(place.path("etc/resolv.conf")).unwrap();
            std::os::unix::fs::symlink(STUB, place.path("etc/resolv.conf")).unwrap();
        })
    }
}

/// As Debian and Ubuntu have it.
const STUB: &str = "../run/systemd/resolve/stub-resolv.conf";

fn client_conf(change: impl FnOnce(&mut Conf)) -> Conf {
    let mut conf = general("client", ["10.44.43.1/30", "fd44::1/64"]);
    for key in ["nat", "default_route"] {
        conf.set("general", key, "yes");
    }
    conf.set("general", "dns", "9.9.9.9");
    for (link, device, port) in [("one", "eth1", 5080), ("two", "eth2", 5081)] {
        conf.set(link, "binddev", device);
        conf.set(link, "remotehost", SERVER_PUBLIC_V4);
        conf.set(link, "remoteport", port);
    }
    change(&mut conf);
    conf
}

fn general(mode: &str, [ip4, ip6]: [&str; 2]) -> Conf {
    let mut conf = Conf::default();
    let pairs = [("mode", mode), ("password", PASSWORD), ("interface_name", TUN)];
    for (key, value) in pairs.into_iter().chain([("ip4", ip4), ("ip6", ip6), ("timeout", "5")]) {
        conf.set("general", key, value);
    }
    conf
}

fn route(host: &Host, device: &str, gateways: [&str; 2], metric: Option<u32>) {
    let gateways = gateways.map(|text| text.parse::<IpAddr>().unwrap());
    let gateways = gateways.map(|ip| if host.name() == "lan" { lan_gateway(ip) } else { ip });
    let mut netlink = host.netlink();
    let index = netlink.link_by_name(device).unwrap().index;
    for gateway in gateways {
        let mut route = Route::to(Prefix::all_of(gateway)).via(gateway).by_link(index);
        route.metric = metric;
        netlink.add_route(&route).unwrap();
    }
}

/// The client in the LAN.
fn lan_gateway(own: IpAddr) -> IpAddr {
    if own.is_ipv4() { LAN_CLIENT_V4 } else { "fd07::1".parse().unwrap() }
}

fn forward(host: &Host) {
    for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        host.namespace().set_sysctl(key, "1").unwrap();
    }
}

fn sorted(text: &str) -> String {
    // The kernel lists devices and tables in an order of its own.
    // A device that was away has another number.
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let unnumbered = |line| match str::split_once(line, ": ") {
        Some((number, rest)) if is_number(number) && rest.contains(" scope ") => rest,
        _ => line,
    };
    let mut lines: Vec<_> = text.lines().map(unnumbered).collect();
    if text.contains("proto") || text.contains("valid_lft") {
        lines.sort_unstable();
    }
    lines.join("\n") + "\n"
}

/// All settings of the calling thread's network.
fn settings() -> String {
    fn walk(path: &Path, text: &mut String) {
        let shown = path.display().to_string();
        if VOLATILE.iter().any(|word| shown.contains(word)) {
            return;
        }
        if path.is_dir() {
            let mut entries: Vec<_> = fs::read_dir(path).unwrap().flatten().collect();
            entries.sort_by_key(fs::DirEntry::file_name);
            entries.iter().for_each(|entry| walk(&entry.path(), text));
        } else if let Ok(value) = fs::read_to_string(path) {
            *text += &format!("{shown} = {}\n", value.trim_end());
        }
    }
    let mut text = String::new();
    for family in ["ipv4", "ipv6"] {
        walk(&Path::new("/proc/sys/net").join(family), &mut text);
    }
    text
}

/// The program at one end, with an `/etc` of its own.
pub(crate) struct End {
    host: Host,
    pub(crate) daemon: Daemon,
    pub(crate) conf: Conf,
    place: Place,
}

impl End {
    fn start(host: &Host, conf: Conf) -> Self {
        Self::start_on(host, conf, |_| {})
    }

    /// Starts it on a host whose files were prepared.
    fn start_on(host: &Host, mut conf: Conf, prepare: impl FnOnce(&Place)) -> Self {
        let place = Place::new();
        conf.set("general", "control_unix_path", place.path("socket").display());
        place.write("mlvpn.conf", &conf.to_string(), 0o600);
        fs::create_dir(place.path("etc")).unwrap();
        for file in ["passwd", "group", "nsswitch.conf", "ld.so.cache"] {
            // Not every system has all of them.
            let _ = fs::copy(Path::new("/etc").join(file), place.path("etc").join(file));
        }
        place.write("etc/resolv.conf", RESOLV_CONF, 0o644);
        prepare(&place);
        let daemon = start_daemon(host, &place);
        Self { host: host.clone(), daemon, conf, place }
    }

    /// Starts the program again, with what is in `conf` now.
    pub(crate) fn start_again(&mut self) {
        self.place.write("mlvpn.conf", &self.conf.to_string(), 0o600);
        self.daemon = start_daemon(&self.host, &self.place);
    }

    /// Kills both processes at once, as a power failure would.
    pub(crate) fn kill(&mut self) {
        let worker = nix::unistd::Pid::from_raw(
            i32::try_from(self.status()["pid"].as_i64().unwrap()).unwrap(),
        );
        self.daemon.signal(Signal::SIGKILL).unwrap();
        let _ = nix::sys::signal::kill(worker, Signal::SIGKILL);
        self.daemon.wait(PATIENCE).unwrap();
        wait_for("the worker's end", || !is_running(worker));
        wait_for("its interface's end", || self.host.counters(TUN).is_err());
    }

    /// Kills the program at whatever it is doing; its worker ends by itself.
    pub(crate) fn kill_half_way(&mut self) {
        // It may have ended.
        let _ = self.daemon.signal(Signal::SIGKILL);
        self.daemon.wait(PATIENCE).unwrap();
        wait_for("its interface's end", || self.host.counters(TUN).is_err());
    }

    /// Waits until it tells its status.
    pub(crate) fn wait_for_status(&self) {
        wait_for("a status", || self.status()["pid"].is_number());
    }

    /// How `resolvectl` was called, line by line.
    pub(crate) fn resolvectl_calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.place.path("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Whether `resolv.conf` leads to where it has led.
    pub(crate) fn has_stub(&self) -> bool {
        fs::read_link(self.place.path("etc/resolv.conf")).is_ok_and(|to| to == Path::new(STUB))
    }

    pub(crate) fn stop(&mut self) {
        assert!(self.daemon.terminate(PATIENCE).unwrap().success(), "{}", self.daemon.stderr());
        assert!(!self.daemon.stderr().contains("panicked"), "{}", self.daemon.stderr());
    }

    pub(crate) fn reload(&mut self, change: impl FnOnce(&mut Conf)) {
        change(&mut self.conf);
        self.place.write("mlvpn.conf", &self.conf.to_string(), 0o600);
        let count = |daemon: &Daemon| daemon.stderr().matches("configuration reloaded").count();
        let before = count(&self.daemon);
        self.daemon.signal(Signal::SIGHUP).unwrap();
        self.daemon.wait_until("reloaded", PATIENCE, |d| count(d) > before).unwrap();
    }

    pub(crate) fn resolv_conf(&self) -> String {
        fs::read_to_string(self.place.path("etc/resolv.conf")).unwrap()
    }

    /// Files of ours that were left in `/etc`.
    pub(crate) fn left_in_etc(&self) -> Vec<String> {
        let entries = fs::read_dir(self.place.path("etc")).unwrap().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.contains("mlvpn")).collect()
    }

    pub(crate) fn wait_for_link(&self, name: &str, status: &str) {
        let what = format!("{name} of {} {status}", self.host.name());
        wait_for(&what, || self.link(name) == status);
    }

    pub(crate) fn wait_for_link_down(&self, name: &str) {
        wait_for(&format!("{name} down"), || {
            ["disconnected", "waiting peer"].contains(&self.link(name).as_str())
        });
    }

    fn link(&self, name: &str) -> String {
        let status = self.status();
        let links = status["tunnels"].as_array().cloned().unwrap_or_default();
        let link = links.into_iter().find(|link| link["name"] == name).unwrap_or_default();
        link["status"].as_str().unwrap_or_default().to_owned()
    }

    fn status(&self) -> serde_json::Value {
        use std::io::{Read as _, Write as _};
        let ask = || {
            let mut stream = std::os::unix::net::UnixStream::connect(self.place.path("socket"))?;
            stream.write_all(b"GET /status HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        let answer = ask().unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_default()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of {}:\n{}---", self.host.name(), self.daemon.stderr());
        }
    }
}

/// In a mount namespace in which `/etc` is a folder of the test; and `/run`, where systemd-resolved runs.
fn start_daemon(host: &Host, place: &Place) -> Daemon {
    let mut script = format!("set -e; mount --bind '{}' /etc; ", place.path("etc").display());
    if place.path("bin").exists() {
        let bin = place.path("bin");
        script += "mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/resolve; ";
        script += &format!("mount --bind '{}' /usr/local/bin; ", bin.display());
        script += "if [ -e /usr/bin/resolvectl ]; then ";
        script += &format!("mount --bind '{}/resolvectl' /usr/bin/resolvectl; fi; ", bin.display());
        script += "echo nameserver 127.0.0.53 >/run/systemd/resolve/stub-resolv.conf; ";
    }
    script += &format!("exec '{PROGRAM}' \"$@\"");
    let builder = Daemon::builder(host, "unshare").unwrap();
    let builder = builder.env("RUNTIME_DIRECTORY", place.path("run"));
    let builder = builder.args(["--mount", "sh", "-c", &script, "mlvpn", "-c"]);
    let builder = builder.arg(place.path("mlvpn.conf")).arg("--debug").arg("-v");
    builder.args(user_arguments()).start().unwrap()
}
