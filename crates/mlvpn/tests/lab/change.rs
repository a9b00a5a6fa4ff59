//! What is changed while traffic flows: the configuration, and the client's address.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mlvpn_io::netlink::Prefix;
use mlvpn_lab::Lab;
use mlvpn_lab::daemon::Signal;
use mlvpn_lab::workload::DatagramStream;

use crate::tunnel::{LINK, Place, Plan, SERVER_V4, Tunnel, lab, two_links};
use crate::wait::{PATIENCE, wait_for};

tests![
    a_reload_with_another_weight_disturbs_nothing,
    a_link_moves_to_another_port_while_the_other_loses_nothing,
    a_link_comes_and_goes_while_the_others_lose_nothing,
    a_broken_file_changes_nothing_and_the_log_says_why,
    a_reload_with_another_password_begins_a_new_session,
    keys_reach_a_worker_that_cannot_read_them_at_the_start_and_with_a_reload,
    a_download_goes_on_when_the_client_has_another_address,
];

/// Both ends, with datagrams bound to `dsl2` on the way to the server.
fn start_pinned(lab: &Lab) -> Tunnel {
    let plan = Plan::over(lab).both("filters", "dsl2", "udp");
    plan.start(lab)
}

/// Has a stream flow over `dsl2` during `change`, and sees that it neither loses anything nor goes
/// another way, and that `dsl2` stays what it was.
fn without_harm_to_dsl2(lab: &Lab, tunnel: &mut Tunnel, change: impl FnOnce(&mut Tunnel)) {
    let stream = DatagramStream::new(lab.client(), lab.server(), SERVER_V4);
    let stream = stream.size(500).duration(Duration::from_secs(4)).grace(PATIENCE);
    let arrived = |link: &str| lab.link(link).delivered_bytes().unwrap().1;
    let before = arrived("dsl2");
    let slowed = tunnel.client.slowed();
    let age = tunnel.client.link("dsl2")["state_age_seconds"].as_f64().unwrap();
    let report = std::thread::scope(|scope| {
        let running = scope.spawn(|| stream.run());
        wait_for("the stream", || arrived("dsl2") > before + 20_000);
        change(tunnel);
        running.join().unwrap().unwrap()
    });
    tunnel.client.assert_whole(&report, slowed);
    assert!(arrived("dsl2") - before > report.received * 500, "all of it went over dsl2");
    for end in [&tunnel.client, &tunnel.server] {
        assert_eq!(end.disconnects("dsl2"), 0);
        assert_eq!(end.link("dsl2")["status"], "connected");
    }
    assert!(tunnel.client.link("dsl2")["state_age_seconds"].as_f64().unwrap() > age);
}

fn a_reload_with_another_weight_disturbs_nothing() {
    let lab = two_links();
    let mut tunnel = start_pinned(&lab);
    assert_eq!(tunnel.client.link("dsl1")["bandwidth"], 0);
    without_harm_to_dsl2(&lab, &mut tunnel, |tunnel| {
        tunnel.client.reload(|conf| conf.set("dsl1", "bandwidth_upload", 250_000));
        tunnel.client.reload(|conf| conf.set("dsl1", "loss_tolerence", 40));
    });
    wait_for("the new weight", || tunnel.client.link("dsl1")["bandwidth"] == 250_000);
    assert_eq!((tunnel.client.disconnects("dsl1"), tunnel.server.disconnects("dsl1")), (0, 0));
}

fn a_link_moves_to_another_port_while_the_other_loses_nothing() {
    let lab = two_links();
    let mut tunnel = start_pinned(&lab);
    without_harm_to_dsl2(&lab, &mut tunnel, |tunnel| {
        tunnel.server.reload(|conf| conf.set("dsl1", "bindport", 6_080));
        tunnel.client.reload(|conf| conf.set("dsl1", "remoteport", 6_080));
        wait_for("dsl1 at its new port", || {
            let link = tunnel.client.link("dsl1");
            link["destport"] == "6080" && link["status"] == "connected"
        });
    });
    tunnel.wait_until_up();
    assert_eq!(tunnel.server.link("dsl1")["bindport"], "6080");
    tunnel.wait_for_echo(SERVER_V4);
}

fn a_link_comes_and_goes_while_the_others_lose_nothing() {
    let lab = lab(&[("dsl1", LINK), ("dsl2", LINK), ("lte1", LINK)]);
    let mut plan = Plan::over(&lab).both("filters", "dsl2", "udp");
    plan.client.remove("lte1");
    plan.server.remove("lte1");
    let mut tunnel = plan.start(&lab);
    let (client, server) = (lab.link("lte1").client_v4(), lab.server_v4());
    without_harm_to_dsl2(&lab, &mut tunnel, |tunnel| {
        tunnel.server.reload(|conf| {
            conf.set("lte1", "bindhost", server);
            conf.set("lte1", "bindport", 5_090);
        });
        tunnel.client.reload(|conf| {
            conf.set("lte1", "bindhost", client);
            conf.set("lte1", "remotehost", server);
            conf.set("lte1", "remoteport", 5_090);
        });
        tunnel.wait_until_up();
    });
    without_harm_to_dsl2(&lab, &mut tunnel, |tunnel| {
        tunnel.client.reload(|conf| conf.remove("lte1"));
        tunnel.server.wait_for_link_down("lte1");
        tunnel.server.reload(|conf| conf.remove("lte1"));
    });
    wait_for("lte1 forgotten", || tunnel.client.link("lte1").is_null());
    assert_eq!(tunnel.client.disconnects("dsl1"), 0);
    tunnel.wait_for_echo(SERVER_V4);
}

fn a_broken_file_changes_nothing_and_the_log_says_why() {
    let lab = two_links();
    let mut tunnel = start_pinned(&lab);
    let read_at = tunnel.client.status()["last_reload"].clone();
    without_harm_to_dsl2(&lab, &mut tunnel, |tunnel| {
        let client = &mut tunnel.client;
        let broken = client.conf.to_string().replace("5080", "508000");
        client.place.write("mlvpn.conf", &broken, 0o600);
        client.daemon.signal(Signal::SIGHUP).unwrap();
        client.wait_for_log("the configuration stays as it is");
        client.wait_for_log("508000");
        std::fs::remove_file(client.place.path("mlvpn.conf")).unwrap();
        client.daemon.signal(Signal::SIGHUP).unwrap();
        client.wait_for_log("cannot read the file");
    });
    assert_eq!(tunnel.client.disconnects("dsl1"), 0);
    assert_eq!(tunnel.client.status()["last_reload"], read_at);
    tunnel.client.reload(|conf| conf.set("dsl1", "bandwidth_upload", 1_000));
}

fn a_reload_with_another_password_begins_a_new_session() {
    let lab = lab(&[("dsl1", LINK)]);
    let mut tunnel = Plan::over(&lab).start(&lab);
    let other = "another-password-of-sufficient-length-4711";
    tunnel.server.reload(|conf| conf.set("general", "password", other));
    tunnel.client.wait_for_link_down("dsl1");
    tunnel.client.reload(|conf| conf.set("general", "password", other));
    tunnel.wait_until_up();
    tunnel.wait_for_echo(SERVER_V4);
}

fn keys_reach_a_worker_that_cannot_read_them_at_the_start_and_with_a_reload() {
    // The key pairs of RFC 7748 section 6.1: private and public.
    let client = [
        "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=",
        "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
    ];
    let server = [
        "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=",
        "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
    ];
    let (lab, place) = (lab(&[("dsl1", LINK)]), Place::new());
    let mut plan = Plan::over(&lab);
    let psk = place.write("psk", server[0], 0o600);
    for (conf, file, own, other) in [
        (&mut plan.client, "client.key", client, server),
        (&mut plan.server, "server.key", server, client),
    ] {
        conf.set("general", "private_key_file", place.write(file, own[0], 0o400).display());
        conf.set("peer other", "public_key", other[1]);
        conf.set("peer other", "preshared_key_file", psk.display());
    }
    let mut tunnel = plan.start(&lab);
    tunnel.wait_for_echo(SERVER_V4);
    tunnel.client.reload(|_| {});
    tunnel.client.wait_for_log("new_session=false");
    assert_eq!(tunnel.client.disconnects("dsl1"), 0);
    // The text of the configuration stays the same; what is in a file that it names does not.
    place.write("psk", client[0], 0o600);
    for end in [&mut tunnel.server, &mut tunnel.client] {
        end.reload(|_| {});
        end.wait_for_log("new_session=true");
    }
    tunnel.wait_until_up();
    tunnel.wait_for_echo(SERVER_V4);
    // A key that others may read is refused; what there is carries on.
    place.write("psk", client[0], 0o644);
    tunnel.client.daemon.signal(Signal::SIGHUP).unwrap();
    tunnel.client.wait_for_log("chmod 600");
    tunnel.wait_for_echo(SERVER_V4);
    for end in [&tunnel.client, &tunnel.server] {
        let log = end.daemon.stderr();
        assert!(!log.contains("dwdtCn") && !log.contains("XasIfm"), "{log}");
    }
}

fn a_download_goes_on_when_the_client_has_another_address() {
    let lab = lab(&[("dsl1", LINK)]);
    let mut plan = Plan::over(&lab);
    plan.client.remove("dsl1");
    plan.client.set("dsl1", "binddev", "dsl1");
    plan.client.set("dsl1", "remotehost", lab.server_v4());
    plan.client.set("dsl1", "remoteport", 5_080);
    let mut tunnel = plan.start(&lab);
    let transfer = tunnel.download().start().unwrap();
    wait_for("bytes from the first address", || transfer.bytes() > 100_000);
    let other = IpAddr::V4(Ipv4Addr::new(198, 18, 1, 77));
    lab.readdress("dsl1", Prefix::new(other, 24), lab.link("dsl1").server_end_v4()).unwrap();
    let at_change = transfer.bytes();
    wait_for("bytes to the other address", || transfer.bytes() > at_change + 2_000_000);
    assert_eq!(transfer.stop().unwrap().wrong_bytes(), 0);
    let remote = tunnel.server.link("dsl1")["remote_address"].clone();
    assert!(remote.as_str().unwrap().starts_with("198.18.1.77:"), "{remote}");
    tunnel.server.wait_for_log("the peer has another address");
    assert_eq!((tunnel.client.disconnects("dsl1"), tunnel.server.disconnects("dsl1")), (0, 0));
}
