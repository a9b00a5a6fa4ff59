//! The status command, and who runs as whom.

use std::fs;

use crate::tunnel::{End, Place, Plan, Tunnel, has_other_users, lab, two_links};
use crate::tunnel::{LINK, PROGRAM};
use crate::wait::{PATIENCE, wait_for};
use mlvpn_lab::{Daemon, Lab};

tests![
    the_status_command_is_told_of_the_first_link_and_then_of_the_tunnel,
    the_status_command_has_the_documented_environment_and_nothing_else,
    at_the_end_the_links_go_down_before_the_tunnel,
    the_worker_has_no_rights_and_the_status_command_has_all,
];

/// One call: its arguments, its environment, and lines of its `/proc/self/status`.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) arguments: String,
    environment: Vec<String>,
    status: Vec<String>,
}

/// Writes a status command that keeps a record of its calls.
pub(crate) fn recorder(place: &Place) -> std::path::PathBuf {
    let record = place.path("calls");
    let script = format!(
        "#!/bin/sh\n{{\n  echo \"call $*\"\n  tr '\\0' '\\n' < /proc/$$/environ\n  \
         grep -E '^(Uid|CapEff):' /proc/$$/status\n  echo end\n}} >> '{}'\n",
        record.display()
    );
    place.write("hook", &script, 0o700)
}

/// The calls so far that are complete.
pub(crate) fn calls(place: &Place) -> Vec<Call> {
    let text = fs::read_to_string(place.path("calls")).unwrap_or_default();
    let complete = text.rsplit_once("end\n").map_or("", |(complete, _)| complete);
    let calls = complete.split("end\n").filter(|call| !call.is_empty());
    calls
        .map(|call| {
            let mut lines = call.lines().map(str::to_owned);
            let arguments = lines.next().unwrap().trim_start_matches("call ").to_owned();
            let (mut environment, status): (Vec<_>, Vec<_>) = lines.partition(|l| l.contains('='));
            environment.sort();
            Call { arguments, environment, status }
        })
        .collect()
}

/// The arguments of the calls so far.
pub(crate) fn arguments(place: &Place) -> Vec<String> {
    calls(place).into_iter().map(|call| call.arguments).collect()
}

fn start_recorded(lab: &Lab, change: impl FnOnce(&mut Plan)) -> (Tunnel, Place) {
    let place = Place::new();
    let mut plan = Plan::over(lab);
    plan.server.set("general", "statuscommand", recorder(&place).display());
    change(&mut plan);
    (plan.start(lab), place)
}

fn the_status_command_is_told_of_the_first_link_and_then_of_the_tunnel() {
    let lab = two_links();
    let (_tunnel, place) = start_recorded(&lab, |_| {});
    wait_for("three calls", || calls(&place).len() == 3);
    let calls = arguments(&place);
    let order = if calls[0] == "tun0 rtun_up dsl1" { ["dsl1", "dsl2"] } else { ["dsl2", "dsl1"] };
    let [first, second] = order.map(|link| format!("tun0 rtun_up {link}"));
    assert_eq!(calls, [first.as_str(), "tun0 tuntap_up", &second]);
}

fn the_status_command_has_the_documented_environment_and_nothing_else() {
    let lab = lab(&[("dsl1", LINK)]);
    let (mut tunnel, place) = start_recorded(&lab, |plan| {
        plan.server.set("general", "ip4", "10.44.43.2/30");
        plan.server.set("general", "ip4_gateway", "10.44.43.1");
        plan.server.set("general", "ip4_routes", "10.1.0.0/16 10.2.0.0/16");
        plan.server.set("general", "ip6", "fd44::2/64");
    });
    wait_for("the measured MTU", || tunnel.server.status()["tuntap"]["mtu"] == 1_440);
    tunnel.server.stop();
    let calls = calls(&place);
    let told: Vec<_> = calls.iter().map(|call| call.arguments.as_str()).collect();
    assert_eq!(
        told,
        ["tun0 rtun_up dsl1", "tun0 tuntap_up", "tun0 rtun_down dsl1", "tun0 tuntap_down"]
    );
    for call in &calls {
        assert_eq!(
            call.environment[..7],
            [
                "DEVICE=tun0",
                "IP4=10.44.43.2/30",
                "IP4_GATEWAY=10.44.43.1",
                "IP4_ROUTES=10.1.0.0/16 10.2.0.0/16",
                "IP6=fd44::2/64",
                "IP6_GATEWAY=",
                "IP6_ROUTES=",
            ]
        );
    }
    let mtus: Vec<_> = calls.iter().map(|call| &call.environment[7..]).collect();
    assert!(mtus[..2].iter().all(|mtu| *mtu == ["MTU=1428"] || *mtu == ["MTU=1440"]), "{mtus:?}");
    assert_eq!(mtus[2..], [["MTU=1440"]; 2], "what was measured meanwhile");
}

fn at_the_end_the_links_go_down_before_the_tunnel() {
    let lab = two_links();
    let (mut tunnel, place) = start_recorded(&lab, |_| {});
    assert!(tunnel.server.stop().success());
    // The program has waited for its status command.
    let mut last = arguments(&place).split_off(3);
    last[..2].sort();
    assert_eq!(last, ["tun0 rtun_down dsl1", "tun0 rtun_down dsl2", "tun0 tuntap_down"]);
}

fn the_worker_has_no_rights_and_the_status_command_has_all() {
    let lab = lab(&[("dsl1", LINK)]);
    if !has_other_users() {
        let plan = Plan::over(&lab);
        let builder = Daemon::builder(lab.server(), PROGRAM).unwrap();
        let config = builder.write_file("mlvpn.conf", &plan.server.to_string()).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&config, private).unwrap();
        let arguments = ["-c", "mlvpn.conf", "--debug", "--user", "nobody"];
        let mut daemon = builder.args(arguments).start().unwrap();
        assert!(!daemon.wait(PATIENCE).unwrap().success());
        assert!(daemon.stderr().contains("cannot become user nobody"), "{}", daemon.stderr());
        return;
    }
    let (tunnel, place) = start_recorded(&lab, |_| {});
    wait_for("a call", || !calls(&place).is_empty());
    let hook = calls(&place).remove(0).status.join("\n");
    assert!(hook.contains("Uid:\t0\t0\t0\t0"), "{hook}");
    let privileged = proc_status(&tunnel.server, tunnel.server.daemon.pid());
    let effective = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("CapEff:"));
        line.map(str::to_owned)
    };
    assert_eq!(effective(&hook), effective(&privileged));
    let worker = proc_status(&tunnel.server, tunnel.server.worker());
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    for (name, id) in [("Uid", nobody.uid.as_raw()), ("Gid", nobody.gid.as_raw())] {
        assert!(worker.contains(&format!("{name}:\t{id}\t{id}\t{id}\t{id}\n")), "{worker}");
    }
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(worker.contains(&format!("{set}:\t0000000000000000\n")), "{worker}");
    }
    assert!(worker.contains("NoNewPrivs:\t1\n"), "{worker}");
    let groups = worker.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
    assert!(groups.split_whitespace().all(|group| group != "0"), "{worker}");
}

fn proc_status(end: &End, pid: impl std::fmt::Display) -> String {
    let path = format!("/proc/{pid}/status");
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", end.daemon.stderr()))
}
