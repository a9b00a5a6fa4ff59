//! One end is killed, and starts again.

use mlvpn_lab::daemon::Signal;

use crate::tunnel::{LINK, Plan, SERVER_V4, Tunnel, is_running, lab, two_links};
use crate::wait::{PATIENCE, wait_for};

tests![
    a_killed_client_starts_again_and_traffic_flows_long_before_the_timeout,
    a_killed_server_starts_again_and_traffic_flows_long_before_the_timeout,
    when_the_worker_is_killed_the_program_ends_with_an_error,
    when_the_privileged_process_is_killed_the_worker_takes_leave,
    a_worker_that_hangs_does_not_keep_the_program_from_ending,
];

fn start() -> (mlvpn_lab::Lab, Tunnel) {
    let lab = two_links();
    // Recovery within the patience is then no matter of the timeout.
    let tunnel = Plan::over(&lab).both("general", "timeout", 600).start(&lab);
    tunnel.move_bytes(200_000);
    (lab, tunnel)
}

fn recovers(tunnel: &Tunnel) {
    tunnel.wait_for_echo(SERVER_V4);
    tunnel.wait_until_up();
    tunnel.move_bytes(500_000);
}

fn a_killed_client_starts_again_and_traffic_flows_long_before_the_timeout() {
    let (_lab, mut tunnel) = start();
    for _ in 0..2 {
        tunnel.client.kill();
        tunnel.client.start_again();
        recovers(&tunnel);
    }
}

fn a_killed_server_starts_again_and_traffic_flows_long_before_the_timeout() {
    let (_lab, mut tunnel) = start();
    for _ in 0..2 {
        tunnel.server.kill();
        tunnel.server.start_again();
        recovers(&tunnel);
    }
}

fn when_the_worker_is_killed_the_program_ends_with_an_error() {
    let lab = lab(&[("dsl1", LINK)]);
    let mut tunnel = Plan::over(&lab).start(&lab);
    nix::sys::signal::kill(tunnel.client.worker(), Signal::SIGKILL).unwrap();
    let status = tunnel.client.daemon.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(tunnel.client.daemon.stderr().contains("the worker ended"));
    assert!(!tunnel.client.place.path("socket").exists());
    tunnel.client.start_again();
    tunnel.wait_for_echo(SERVER_V4);
}

fn when_the_privileged_process_is_killed_the_worker_takes_leave() {
    let lab = lab(&[("dsl1", LINK)]);
    let mut tunnel = Plan::over(&lab).start(&lab);
    let worker = tunnel.client.worker();
    tunnel.client.daemon.signal(Signal::SIGKILL).unwrap();
    wait_for("the worker's end", || !is_running(worker));
    tunnel.server.wait_for_link_down("dsl1");
    assert_eq!(tunnel.server.link("dsl1")["last_down_reason"], "the peer disconnected");
}

fn a_worker_that_hangs_does_not_keep_the_program_from_ending() {
    let lab = lab(&[("dsl1", LINK)]);
    let mut tunnel = Plan::over(&lab).start(&lab);
    let worker = tunnel.client.worker();
    nix::sys::signal::kill(worker, Signal::SIGSTOP).unwrap();
    assert_eq!(tunnel.client.stop().code(), Some(1));
    assert!(!is_running(worker));
    assert!(!tunnel.client.place.path("socket").exists());
    tunnel.client.start_again();
    tunnel.wait_for_echo(SERVER_V4);
}
