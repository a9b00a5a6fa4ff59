//! Which version of the protocol is spoken, with whom, and what the status says of it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mlvpn_io::netlink::Prefix;
use mlvpn_lab::workload::{Ping, Transfer};
use mlvpn_lab::{Host, Lab};
use mlvpn_proto::crypto::keypair::PrivateKey;
use serde_json::Value;

use crate::conf::Conf;
use crate::tunnel::{End, LINK, Place, Plan, SERVER_V4, TUN, Tunnel, lab, two_links};
use crate::wait::wait_for;

tests![
    two_lines_with_a_password_speak_version_2_and_the_status_says_so,
    files_as_they_are_written_for_mlvpn_2_speak_version_2,
    two_lines_with_version_1_at_the_client_speak_it,
    two_lines_with_version_1_at_the_server_speak_it,
    ends_with_key_pairs_speak_version_2_and_know_each_other_by_name,
    two_clients_with_keys_of_their_own_share_a_server,
];

/// What one end says of the version that is spoken.
fn version(end: &End) -> Value {
    end.status()["protocol_version"].clone()
}

/// Two lines as the example has them: a password, each line with its upload rate.
fn two_lines() -> (Lab, Plan) {
    let lab = lab(&[("dsl1", "down=20,delay=10"), ("dsl2", "down=20,delay=15")]);
    let mut plan = Plan::over(&lab).both("general", "timeout", 30);
    for link in ["dsl1", "dsl2"] {
        plan.client.set(link, "bandwidth_upload", 2_500_000);
        plan.server.set(link, "bandwidth_upload", 2_500_000);
    }
    (lab, plan)
}

fn two_lines_with_a_password_speak_version_2_and_the_status_says_so() {
    let (lab, plan) = two_lines();
    let tunnel = plan.start(&lab);
    tunnel.move_bytes(5_000_000);
    for end in [&tunnel.client, &tunnel.server] {
        assert_eq!(version(end), 2);
        let peers = end.status()["peers"].clone();
        assert_eq!(peers.as_array().unwrap().len(), 1);
        assert_eq!((&peers[0]["name"], &peers[0]["public_key"]), (&Value::Null, &Value::Null));
        let software = peers[0]["software"].as_str().unwrap();
        assert!(software.starts_with("mlvpn "), "{software}");
        let lanes = &peers[0]["lanes"];
        wait_for("its packets in order", || {
            end.status()["peers"][0]["lanes"]["in_order"].as_u64() > Some(500)
        });
        assert_eq!(lanes["overflow"], 0, "{lanes}");
        let paths = ["dsl1", "dsl2"].map(|link| end.link(link)["path"].clone());
        assert_ne!(paths[0]["id"], paths[1]["id"]);
        for path in paths {
            assert_eq!((&path["state"], &path["mtu"]), (&"up".into(), &1_472.into()), "{path}");
            assert!(path["min_rtt_ms"].as_f64() >= Some(10.0), "{path}");
        }
    }
    let capacity = |link| tunnel.server.link(link)["path"]["capacity"].as_u64().unwrap();
    for link in ["dsl1", "dsl2"] {
        // 20 Mbit/s are 2.5 MB/s; a busy machine may not have filled them.
        let found = capacity(link);
        assert!((100_000..4_000_000).contains(&found), "{link}: {found} bytes/s");
    }
    let page = tunnel.server.ask("metrics\nquit\n").unwrap();
    for line in [
        "mlvpn_protocol_version 2\n",
        "mlvpn_link_is_suspect{tunnel=\"dsl2\"} 0\n",
        "mlvpn_peer_info{peer=\"\",public_key=\"\",software=\"mlvpn ",
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
}

/// Files as people have them for mlvpn 2.x, whose author never heard of version 2.
const OLD_SERVER: &str = r#"
# The server: both lines end here.
[general]
    tuntap = "tun"
    interface_name = "tun0"
    mode = "server"
    mtu = 1400
    timeout = 30
    reorder_buffer_size = 128
    loss_tolerence = 50
    cleartext_data = 0
    password = "apoziecxjvpoxkvpzeoirjdskpoezroizepzdlpojfoiezjrzanzaoinzoi"
    ip4 = "10.44.43.2/30"
    ip4_gateway = "10.44.43.1"
    control_unix_path = "SOCKET"

[dsl1]
    bindport = 5080
    bandwidth_upload = 1400000

[dsl2]
    bindport = 5081
    bandwidth_upload = 1400000
"#;

const OLD_CLIENT: &str = r#"
[general]
    tuntap = "tun"
    interface_name = "tun0"
    mode = "client"
    mtu = 1400
    timeout = 30
    reorder_buffer_size = 128
    loss_tolerence = 50
    cleartext_data = 0
    password = "apoziecxjvpoxkvpzeoirjdskpoezroizepzdlpojfoiezjrzanzaoinzoi"
    ip4 = "10.44.43.1/30"
    ip4_gateway = "10.44.43.2"
    control_unix_path = "SOCKET"

[dsl1]
    bindhost = "CLIENT1"
    remotehost = "SERVER"
    remoteport = 5080
    bandwidth_upload = 100000

[dsl2]
    bindhost = "CLIENT2"
    remotehost = "SERVER"
    remoteport = 5081
    bandwidth_upload = 100000
"#;

fn files_as_they_are_written_for_mlvpn_2_speak_version_2() {
    let line = "down=11.2,up=0.8,delay=10,queue=400";
    let lab = lab(&[("dsl1", line), ("dsl2", line)]);
    let client = OLD_CLIENT
        .replace("CLIENT1", &lab.link("dsl1").client_v4().to_string())
        .replace("CLIENT2", &lab.link("dsl2").client_v4().to_string())
        .replace("SERVER", &lab.server_v4().to_string());
    let server = End::start_as_written(lab.server(), OLD_SERVER);
    let client = End::start_as_written(lab.client(), &client);
    let tunnel = Tunnel { client, server };
    for link in ["dsl1", "dsl2"] {
        tunnel.client.wait_for_link(link, "connected");
    }
    tunnel.wait_for_echo(SERVER_V4);
    tunnel.move_bytes(2_000_000);
    for end in [&tunnel.client, &tunnel.server] {
        wait_for("version 2", || version(end) == 2);
        for link in ["dsl1", "dsl2"] {
            assert_eq!(end.link(link)["path"]["state"], "up");
            assert!(end.link(link)["recvbytes"].as_u64() > Some(10_000), "both lines are used");
        }
    }
}

/// With version 1 at one end, whose configuration `choose` picks, it is what both speak.
fn version_1_is_spoken(choose: fn(&mut Plan) -> &mut Conf) {
    let (lab, mut plan) = two_lines();
    choose(&mut plan).set("general", "protocol_version", 1);
    let tunnel = plan.start(&lab);
    tunnel.move_bytes(500_000);
    for end in [&tunnel.client, &tunnel.server] {
        wait_for("version 1", || version(end) == 1);
        assert_eq!(end.status()["peers"], Value::Array(Vec::new()));
        for link in ["dsl1", "dsl2"] {
            assert_eq!(end.link(link)["path"], Value::Null);
            assert_eq!(end.disconnects(link), 0);
        }
    }
}

fn two_lines_with_version_1_at_the_client_speak_it() {
    version_1_is_spoken(|plan| &mut plan.client);
}

fn two_lines_with_version_1_at_the_server_speak_it() {
    version_1_is_spoken(|plan| &mut plan.server);
}

/// Private keys: of the server, and of two clients.
const SERVER: &str = "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=";
const CAMPER: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
const OFFICE: &str = "kPlSRQ7HuSxW4gD+PLM8vMUDCsIOw7FyYkYGuJWw6VQ=";

fn public(private: &str) -> String {
    PrivateKey::from_base64(private).unwrap().public_key().to_string()
}

/// Gives an end a private key in place of its password, and a peer.
fn know(conf: &mut Conf, place: &Place, own: &str, peer: (&str, &str)) {
    let file = place.write(&format!("{}.key", public(own).replace('/', "-")), own, 0o600);
    conf.unset("general", "password");
    conf.set("general", "private_key_file", file.display());
    conf.set(&format!("peer {}", peer.0), "public_key", public(peer.1));
}

fn ends_with_key_pairs_speak_version_2_and_know_each_other_by_name() {
    let (lab, place) = (two_links(), Place::new());
    let mut plan = Plan::over(&lab);
    know(&mut plan.client, &place, CAMPER, ("home", SERVER));
    know(&mut plan.server, &place, SERVER, ("camper", CAMPER));
    let tunnel = plan.start(&lab);
    tunnel.wait_for_echo(SERVER_V4);
    tunnel.move_bytes(300_000);
    for (end, name, key) in [(&tunnel.client, "home", SERVER), (&tunnel.server, "camper", CAMPER)] {
        let status = end.status();
        assert_eq!(status["protocol_version"], 2);
        assert_eq!(status["peers"].as_array().unwrap().len(), 1);
        let peer = &status["peers"][0];
        assert_eq!((&peer["name"], &peer["public_key"]), (&name.into(), &public(key).into()));
    }
}

const fn in_tunnel(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 44, 44, host))
}

/// A server with two clients, each on a host of its own.
///
/// ```text
///  client  198.18.1.2 --- dsl1 --- 198.18.1.1  server
///  office  198.18.9.2 --- cable -- 198.18.9.1    |
/// ```
fn two_clients(lab: &Lab, place: &Place) -> (Tunnel, End) {
    let office = Host::new("office").unwrap();
    office.connect("cable", lab.server(), "cable").unwrap();
    let [near, far] = [1, 2].map(|host| IpAddr::V4(Ipv4Addr::new(198, 18, 9, host)));
    office.configure("cable", None, &[Prefix::new(far, 24)]).unwrap();
    lab.server().configure("cable", None, &[Prefix::new(near, 24)]).unwrap();

    let mut plan = Plan::over(lab);
    plan.server.set("dsl1", "bindhost", "0.0.0.0");
    plan.client.set("dsl1", "remotehost", lab.link("dsl1").server_end_v4());
    know(&mut plan.client, place, CAMPER, ("home", SERVER));
    know(&mut plan.server, place, SERVER, ("camper", CAMPER));
    know(&mut plan.server, place, SERVER, ("office", OFFICE));
    plan.server.set("peer camper", "ip4", in_tunnel(2));
    plan.server.set("peer office", "ip4", "10.44.44.3, 192.0.2.0/24");
    let mut second = plan.client.clone();
    know(&mut second, place, OFFICE, ("home", SERVER));
    second.set("dsl1", "bindhost", far);
    second.set("dsl1", "remotehost", near);

    let with = |host| [Prefix::new(in_tunnel(host), 24)];
    let server = End::start(lab.server(), plan.server, &with(1));
    let client = End::start(lab.client(), plan.client, &with(2));
    let office = End::start(&office, second, &with(3));
    (Tunnel { client, server }, office)
}

fn two_clients_with_keys_of_their_own_share_a_server() {
    let (lab, place) = (lab(&[("dsl1", LINK)]), Place::new());
    let (tunnel, office) = two_clients(&lab, &place);
    let Tunnel { client, server } = &tunnel;
    tunnel.wait_until_up();
    office.wait_for_link("dsl1", "connected");
    let is_answered = |host: &Host, to| {
        let ping = Ping::to(in_tunnel(to)).count(1).timeout(Duration::from_millis(500));
        ping.run(host).is_ok_and(|report| report.answered() == 1)
    };
    for (host, to) in [(&client.host, 1), (&office.host, 1), (&server.host, 2), (&server.host, 3)] {
        wait_for(&format!("an echo from {}", in_tunnel(to)), || is_answered(host, to));
    }
    let download =
        |end: &End| Transfer::download(&end.host, &server.host, in_tunnel(1)).start().unwrap();
    let transfers = [download(client), download(&office)];
    wait_for("both downloads", || transfers.iter().all(|transfer| transfer.bytes() > 500_000));
    for transfer in transfers {
        assert_eq!(transfer.stop().unwrap().wrong_bytes(), 0);
    }
    let status = server.status();
    assert_eq!(status["protocol_version"], 2);
    let mut names: Vec<_> = status["peers"].as_array().unwrap().iter().collect();
    names.sort_by_key(|peer| peer["name"].to_string());
    assert_eq!(names.len(), 2);
    assert_eq!((&names[0]["name"], &names[1]["name"]), (&"camper".into(), &"office".into()));
    // What comes from an address of the other one is not passed on.
    let foreign = || server.status()["session"]["drops"]["foreign_source"].as_u64().unwrap();
    let before = foreign();
    let other = in_tunnel(77);
    client.host.configure(TUN, None, &[Prefix::host(other)]).unwrap();
    let ping = Ping::to(in_tunnel(1)).from_address(other).count(1);
    let ping = ping.timeout(Duration::from_millis(300));
    wait_for("a packet with a foreign source", || {
        assert_eq!(ping.run(&client.host).map_or(0, |report| report.answered()), 0);
        foreign() > before
    });
}
