//! Beginning and end: what is missing is said, and nothing is left behind.

use std::path::Path;

use caps::{CapSet, Capability};
use mlvpn_lab::{Daemon, Host};

use crate::hook::{arguments, recorder};
use crate::tunnel::{LINK, PROGRAM, Place, Plan, SERVER_V4, TUN, is_running, lab, user_arguments};
use crate::wait::{PATIENCE, wait_for};

tests![
    without_the_right_to_administer_the_network_it_says_so,
    an_unknown_user_is_refused,
    a_configuration_that_is_missing_exposed_or_wrong_is_refused,
    a_taken_interface_is_refused,
    an_interface_that_is_removed_ends_the_program_cleanly,
    after_the_end_nothing_is_left_and_the_peer_knows,
    a_socket_left_by_a_killed_program_is_replaced,
];

/// Starts the program on a host of its own, sees that it fails, and returns what it said.
fn failure(config: &Path, further: &[&str]) -> String {
    let host = Host::new("alone").unwrap();
    let mut daemon = start_on(&host, config, further);
    let status = daemon.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(1), "{}", daemon.stderr());
    assert!(host.counters(TUN).is_err(), "the interface is gone");
    let log = daemon.stderr();
    assert!(!log.contains("panicked"), "{log}");
    log
}

fn start_on(host: &Host, config: &Path, further: &[&str]) -> Daemon {
    let builder = Daemon::builder(host, PROGRAM).unwrap();
    builder.arg("-c").arg(config).arg("--debug").args(further).start().unwrap()
}

/// A configuration without fault.
fn valid_config(place: &Place) -> std::path::PathBuf {
    let lab = lab(&[("dsl1", LINK)]);
    place.write("mlvpn.conf", &Plan::over(&lab).client.to_string(), 0o600)
}

fn without_the_right_to_administer_the_network_it_says_so() {
    let place = Place::new();
    let config = valid_config(&place);
    let log = std::thread::scope(|scope| {
        let without = scope.spawn(|| {
            // What this thread gives up, its children cannot get.
            caps::drop(None, CapSet::Bounding, Capability::CAP_NET_ADMIN).unwrap();
            let host = Host::new("alone").unwrap();
            let mut daemon = start_on(&host, &config, user_arguments());
            assert_eq!(daemon.wait(PATIENCE).unwrap().code(), Some(1));
            daemon.stderr()
        });
        without.join().unwrap()
    });
    assert!(log.contains("CAP_NET_ADMIN") && log.contains("start mlvpn as root"), "{log}");
}

fn an_unknown_user_is_refused() {
    let place = Place::new();
    let log = failure(&valid_config(&place), &["--user", "no-such-user"]);
    assert!(log.contains("there is no user no-such-user"), "{log}");
    assert!(log.contains("useradd") && log.contains("--yes-run-as-root"), "{log}");
}

fn a_configuration_that_is_missing_exposed_or_wrong_is_refused() {
    let place = Place::new();
    let log = failure(&place.path("none.conf"), user_arguments());
    assert!(log.contains("none.conf") && log.contains("No such file"), "{log}");
    let config = valid_config(&place);
    let text = std::fs::read_to_string(&config).unwrap();
    let log = failure(&place.write("open.conf", &text, 0o644), user_arguments());
    assert!(log.contains("chmod 600"), "{log}");
    let log = failure(&place.write("bad.conf", "[general]\nmode = \"boss\"\n", 0o600), &[]);
    assert!(log.contains("bad.conf") && log.contains("boss"), "{log}");
}

fn a_taken_interface_is_refused() {
    let lab = lab(&[("dsl1", LINK)]);
    let tunnel = Plan::over(&lab).start(&lab);
    let config = tunnel.client.place.path("mlvpn.conf");
    let mut second = start_on(lab.client(), &config, user_arguments());
    assert_eq!(second.wait(PATIENCE).unwrap().code(), Some(1));
    let log = second.stderr();
    assert!(log.contains("cannot open the interface tun0"), "{log}");
    tunnel.wait_for_echo(SERVER_V4);
    assert_eq!(tunnel.client.link("dsl1")["status"], "connected");
}

fn an_interface_that_is_removed_ends_the_program_cleanly() {
    let lab = lab(&[("dsl1", LINK)]);
    let place = Place::new();
    let mut plan = Plan::over(&lab);
    plan.client.set("general", "statuscommand", recorder(&place).display());
    let mut tunnel = plan.start(&lab);
    let worker = tunnel.client.worker();
    {
        let mut netlink = lab.client().netlink();
        let index = netlink.link_by_name(TUN).unwrap().index;
        netlink.delete_link(index).unwrap();
    }
    let status = tunnel.client.daemon.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(1));
    let log = tunnel.client.daemon.stderr();
    assert!(log.contains("tun0") && log.contains("removed"), "{log}");
    assert!(!is_running(worker));
    assert_eq!(
        arguments(&place),
        ["tun0 rtun_up dsl1", "tun0 tuntap_up", "tun0 rtun_down dsl1", "tun0 tuntap_down"]
    );
    tunnel.server.wait_for_link_down("dsl1");
}

fn after_the_end_nothing_is_left_and_the_peer_knows() {
    let lab = lab(&[("dsl1", LINK)]);
    let mut tunnel = Plan::over(&lab).start(&lab);
    let worker = tunnel.client.worker();
    assert!(tunnel.client.stop().success(), "{}", tunnel.client.daemon.stderr());
    assert!(!is_running(worker));
    assert!(lab.client().counters(TUN).is_err(), "the interface is gone");
    assert!(!tunnel.client.place.path("socket").exists());
    tunnel.server.wait_for_link_down("dsl1");
    assert_eq!(tunnel.server.link("dsl1")["last_down_reason"], "the peer disconnected");
    let names = lab.client().netlink().links().unwrap().into_iter().map(|link| link.name);
    assert_eq!(names.collect::<Vec<_>>(), ["lo", "dsl1"]);
    tunnel.client.start_again();
    tunnel.wait_for_echo(SERVER_V4);
}

fn a_socket_left_by_a_killed_program_is_replaced() {
    let lab = lab(&[("dsl1", LINK)]);
    let mut tunnel = Plan::over(&lab).start(&lab);
    tunnel.client.kill();
    assert!(tunnel.client.place.path("socket").exists(), "nobody was left to remove it");
    tunnel.client.start_again();
    wait_for("an answer", || tunnel.client.ask("status\nquit\n").is_ok());
    tunnel.wait_until_up();
}
