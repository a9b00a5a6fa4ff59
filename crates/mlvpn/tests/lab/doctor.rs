//! `mlvpn doctor` in a world that `mlvpn setup` has set up: each fault that it knows is made, and named by it.

use std::net::UdpSocket;
use std::process::Output;

use mlvpn_lab::Host;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::network::world::World;
use crate::setup::{Installed, set_up};
use crate::wait::wait_for;

tests![
    a_tunnel_in_order_has_no_fault_at_either_end,
    each_fault_of_a_device_is_named,
    a_server_that_does_not_answer_is_told_from_a_port_that_is_shut,
    a_wrong_key_is_named_at_the_server,
    others_that_are_in_the_way_are_named,
    what_the_running_program_has_lost_is_named,
    what_the_host_lacks_is_named,
    mistakes_in_files_are_named,
];

/// What was found.
struct Found {
    json: Value,
    code: Option<i32>,
}

impl Found {
    fn by(end: &Installed) -> Self {
        Self::from(&end.run(&["doctor", "--json"]))
    }

    fn from(output: &Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let json =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {stderr}"));
        Self { json, code: output.status.code() }
    }

    fn all(&self) -> Vec<String> {
        let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("-").to_owned();
        let line = |finding: &Value| {
            let words = ["grade", "about", "check", "text", "remedy"].map(|key| word(finding, key));
            words.join("|")
        };
        self.json["findings"].as_array().unwrap().iter().map(line).collect()
    }

    /// That there is a finding of this grade about this, in whose text or remedy all these words are.
    #[track_caller]
    fn names(&self, grade: &str, about: &str, check: &str, words: &[&str]) {
        let start = format!("{grade}|{about}|{check}|");
        let all = self.all();
        let is_it = |line: &&String| {
            line.starts_with(&start) && words.iter().all(|word| line.contains(word))
        };
        assert!(all.iter().any(|line| is_it(&line)), "no {start}{words:?} in {all:#?}");
        if grade == "fault" {
            assert_eq!(self.code, Some(1));
        }
    }

    #[track_caller]
    fn has_no_fault(&self) {
        let faults: Vec<_> =
            self.all().into_iter().filter(|line| line.starts_with("fault")).collect();
        assert!(faults.is_empty() && self.code == Some(0), "{faults:#?}");
    }
}

/// Runs commands on a host, which must succeed.
fn on(world: &World, host: &Host, commands: &[&str]) {
    for command in commands {
        world.output(host, &["sh", "-c", command]);
    }
}

fn running() -> (World, Installed, Installed) {
    let world = World::new();
    let (mut server, mut client) = set_up(&world);
    server.start();
    client.start();
    for link in ["eth1", "eth2"] {
        client.wait_for_link(link, "connected");
    }
    (world, server, client)
}

fn a_tunnel_in_order_has_no_fault_at_either_end() {
    let (_world, server, client) = running();
    wait_for("the rules of both ends", || {
        [&server, &client].iter().all(|end| Found::by(end).code == Some(0))
    });
    let found = Found::by(&client);
    found.has_no_fault();
    for link in ["link eth1", "link eth2"] {
        found.names("ok", link, "device", &["is up"]);
        found.names("ok", link, "gateway", &["192.168."]);
        found.names("note", link, "nat", &["private"]);
        found.names("ok", link, "link", &["round trip", "203.0.113.2:508"]);
        found.names("ok", link, "path_mtu", &["bytes whole"]);
    }
    for check in ["tun", "clock", "routes", "nft", "forwarding"] {
        found.names("ok", "host", check, &[]);
    }
    found.names("ok", "session", "version", &["server runs mlvpn "]);
    let found = Found::by(&server);
    found.has_no_fault();
    found.names("ok", "session", "version", &["client runs mlvpn "]);
    let text = String::from_utf8(client.run(&["doctor", "--quiet"]).stdout).unwrap();
    assert!(text.contains("link eth1\n  note    its address 192.168.1.1"), "{text}");
    assert!(text.ends_with("0 faults, 0 warnings\n"), "{text}");
}

fn each_fault_of_a_device_is_named() {
    let (world, _server, client) = running();
    let (host, link) = (&world.client, "link eth2");
    // What breaks it, what mends it, and what is found.
    type Case =
        (&'static [&'static str], &'static [&'static str], &'static str, &'static [&'static str]);
    const BACK: &str = "ip route replace default via 192.168.2.2 dev eth2 metric 200";
    let table: [Case; 4] = [
        (
            &["ip link set eth2 down"],
            &["ip link set eth2 up", BACK],
            "device",
            &["is down", "ip link set eth2 up"],
        ),
        (
            &["ip route del default dev eth2"],
            &[BACK],
            "gateway",
            &["no route by eth2", "ip route add default"],
        ),
        (
            &["ip address del 192.168.2.1/24 dev eth2"],
            &["ip address add 192.168.2.1/24 dev eth2", BACK],
            "address",
            &["no IPv4 address"],
        ),
        (
            &["ip link set eth2 mtu 1200"],
            &["ip link set eth2 mtu 1500", BACK],
            "mtu",
            &["too small"],
        ),
    ];
    for (broken, mended, check, words) in table {
        on(&world, host, broken);
        Found::by(&client).names("fault", link, check, words);
        on(&world, host, mended);
    }
    on(&world, host, &["ip link set eth2 mtu 1300"]);
    Found::by(&client).names("warning", link, "mtu", &["full IPv6 packets do not fit"]);
    on(&world, host, &["ip link set eth2 mtu 1500"]);
    on(&world, world.router(1), &["ip link set lan down"]);
    Found::by(&client).names("fault", link, "carrier", &["nothing is at the other end"]);
    on(&world, world.router(1), &["ip link set lan up"]);
    world.unplug();
    Found::by(&client).names("fault", link, "device", &["no device eth2", "binddev"]);
    world.plug();

    // Who sets up the network by himself has to see to this.
    on(
        &world,
        host,
        &["for dev in eth1 eth2; do echo 1 > /proc/sys/net/ipv4/conf/$dev/rp_filter; done"],
    );
    Found::by(&client).names("ok", link, "rp_filter", &["takes into account"]);
    client.change_configuration(|text| {
        let own = ["nat =", "default_route =", "dns ="];
        let kept = text.lines().filter(|line| !own.iter().any(|key| line.starts_with(key)));
        let kept: String = kept.map(|line| format!("{line}\n")).collect();
        kept.replace("[general]\n", "[general]\nmanage_network = no\n")
    });
    Found::by(&client).names("fault", link, "rp_filter", &["net.ipv4.conf.eth2.rp_filter=2"]);
    client.change_configuration(|text| {
        let kept = text.lines().filter(|line| !line.starts_with("binddev"));
        kept.map(|line| format!("{line}\n")).collect()
    });
    Found::by(&client).names("warning", "host", "uplinks", &["eth1, eth2", "all leave by eth1"]);
}

fn a_server_that_does_not_answer_is_told_from_a_port_that_is_shut() {
    let (world, mut server, mut client) = running();
    // Without a program of its own, the doctor tries for itself.
    client.stop();
    let found = Found::by(&client);
    found.names("fault", "session", "program", &["does not run", "systemctl start mlvpn@mlvpn"]);
    for link in ["link eth1", "link eth2"] {
        found.names("ok", link, "reachable", &["answers with its key"]);
    }
    let shut = "nft 'table inet mine { chain guard { type filter hook input priority 0; udp dport 5081 drop; }; }'";
    on(&world, &world.server, &[shut]);
    let found = Found::by(&client);
    found.names("ok", "link eth1", "reachable", &[]);
    found.names("fault", "link eth2", "reachable", &["203.0.113.2:5081", "on other links"]);
    Found::by(&server).names("fault", "host", "firewall", &["5081", "inet mine guard"]);
    client.start();
    client.wait_for_link("eth1", "connected");
    Found::by(&client).names("fault", "link eth2", "reachable", &["on other links"]);
    client.stop();
    server.stop();
    on(&world, &world.server, &["nft delete table inet mine"]);
    let found = Found::by(&client);
    found.names("fault", "link eth1", "reachable", &["nobody listens there"]);
    // A program that has the port.
    let taken = world.server.run(|| UdpSocket::bind("0.0.0.0:5080")).unwrap().unwrap();
    Found::by(&server).names("fault", "link link1", "port", &["another program", "sport = :5080"]);
    drop(taken);
    let policy = "nft 'table inet filter { chain input { type filter hook input priority 0; policy drop; \
                  tcp dport 22 accept; }; }'";
    on(&world, &world.server, &[policy]);
    let found = Found::by(&server);
    found.names(
        "fault",
        "host",
        "firewall",
        &["5080", "policy drop", "nft insert rule inet filter input"],
    );
}

fn a_wrong_key_is_named_at_the_server() {
    let world = World::new();
    let (mut server, mut client) = set_up(&world);
    server.start();
    let other = client.succeed(&["genkey", "--out", "/etc/mlvpn/mlvpn.key", "--force"]).stdout;
    client.start();
    // A program that has just begun tells of no links yet.
    for (end, about) in [(&server, "session|credentials"), (&client, "link eth1|reachable")] {
        wait_for(about, || {
            let start = format!("fault|{about}|");
            Found::by(end).all().iter().any(|line| line.starts_with(&start))
        });
    }
    let found = Found::by(&server);
    found.names(
        "fault",
        "session",
        "credentials",
        &["keys that this end does not know", "mlvpn pubkey"],
    );
    found.names("warning", "session", "clients", &["no client has come"]);
    let found = Found::by(&client);
    found.names("fault", "link eth1", "reachable", &["no answer", other.trim()]);
}

fn others_that_are_in_the_way_are_named() {
    let (world, _server, mut client) = running();
    on(
        &world,
        &world.client,
        &[
            "ip tuntap add vpn7 mode tun",
            "ip link set vpn7 up",
            "ip route add 0.0.0.0/1 dev vpn7",
            "ip rule add pref 100 lookup 77",
            "nft 'table inet other { chain forward { type filter hook forward priority 0; policy drop; }; }'",
            "nft 'table inet shut { chain out { type filter hook output priority 0; udp dport 5080 drop; }; }'",
        ],
    );
    let found = Found::by(&client);
    found.names("warning", "host", "other_vpn", &["vpn7 (tun)"]);
    found.names("warning", "host", "rules", &["rule 100", "ip rule del pref 100"]);
    found.names("warning", "host", "forward_policy", &["inet other forward", "iifname mlvpn0"]);
    found.names("fault", "host", "firewall", &["5080 not out", "inet shut out"]);
    client.kill();
    let found = Found::by(&client);
    found.names("warning", "host", "leftovers", &["ip rule flush protocol 109"]);
    found.names("fault", "session", "program", &["does not run"]);
}

fn what_the_running_program_has_lost_is_named() {
    let (world, server, mut client) = running();
    // A program that goes on would put its rules back.
    client.signal(Signal::SIGSTOP);
    on(&world, &world.client, &["nft flush ruleset", "echo 0 > /proc/sys/net/ipv4/ip_forward"]);
    let found = Found::by(&client);
    client.signal(Signal::SIGCONT);
    found.names("fault", "host", "nft", &["is gone", "systemctl restart mlvpn@mlvpn"]);
    found.names("fault", "host", "forwarding", &["sysctl -w net.ipv4.ip_forward=1"]);
    client.succeed(&["link", "eth2", "down"]);
    wait_for("the link down", || {
        Found::by(&client).all().iter().any(|line| line.starts_with("note|link eth2|link|"))
    });
    Found::by(&client).names("note", "link eth2", "link", &["by hand", "mlvpn link eth2 up"]);
    drop(server);
}

fn what_the_host_lacks_is_named() {
    let world = World::new();
    let (_, mut client) = set_up(&world);
    let found = |client: &Installed| Found::by(client);
    client.before("for nft in /usr/sbin/nft /sbin/nft; do mount --bind /dev/null $nft; done");
    found(&client).names(
        "fault",
        "host",
        "nft",
        &["nat needs the program nft", "apt install nftables"],
    );
    client.before("mount -t tmpfs none /dev/net");
    found(&client).names("fault", "host", "tun", &["modprobe tun"]);
    client.before(
        "grep -v '^mlvpn:' /etc/passwd > /etc/passwd.new && cp /etc/passwd.new /etc/passwd",
    );
    found(&client).names("warning", "host", "user", &["useradd --system"]);
    client.before("true");
    let weak = client.run_by(
        "setpriv",
        &["--bounding-set=-net_admin", "--inh-caps=-net_admin"],
        &["doctor", "--json"],
    );
    Found::from(&weak).names("fault", "host", "rights", &["CAP_NET_ADMIN", "--cap-add"]);
    client.change_configuration(|text| {
        text.replace("remotehost = \"203.0.113.2\"", "remotehost = \"nowhere.invalid\"")
    });
    let found = found(&client);
    found.names("fault", "link eth1", "name", &["nowhere.invalid", "getent hosts"]);
}

fn mistakes_in_files_are_named() {
    let world = World::new();
    let (_server, client) = set_up(&world);
    client.change_configuration(|text| {
        text.replace("binddev = \"eth2\"", "binddev = eth2\nbindport = many")
    });
    Found::by(&client).names(
        "fault",
        "configuration",
        "file",
        &["`many` is not a whole number", "mlvpn check"],
    );
    client.change_configuration(|text| text.replace("bindport = many\n", "colour = red\n"));
    Found::by(&client).names("warning", "configuration", "file", &["colour"]);
    client.output("chmod", &["644", "/etc/mlvpn/mlvpn.key"]);
    Found::by(&client).names("fault", "configuration", "file", &["chmod 600 /etc/mlvpn/mlvpn.key"]);
    client.output("rm", &["/etc/mlvpn/mlvpn.key"]);
    Found::by(&client).names(
        "fault",
        "configuration",
        "file",
        &["mlvpn genkey --out /etc/mlvpn/mlvpn.key"],
    );
    client.output("chmod", &["640", "/etc/mlvpn/mlvpn.conf"]);
    Found::by(&client).names(
        "fault",
        "configuration",
        "file",
        &["chmod 600 /etc/mlvpn/mlvpn.conf"],
    );
}
