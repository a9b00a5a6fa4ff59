//! What the user wants of the links, said at the client.

use std::time::Duration;

use mlvpn_lab::Lab;
use mlvpn_lab::workload::{DatagramReport, DatagramStream};

use crate::tunnel::{End, Plan, SERVER_V4, Tunnel, two_links};
use crate::wait::{PATIENCE, wait_for};

tests![
    everything_is_sent_twice_and_arrives_once,
    a_metered_link_is_left_alone_until_the_other_one_dies,
    costs_are_changed_while_the_program_runs,
    a_reload_changes_the_policy_at_both_ends_and_closes_nothing,
];

/// What keepalives of a very slow test may amount to, and no stream here.
const KEEPALIVES: u64 = 40_000;

/// Half a second of datagrams to the server, none of which may come twice or be lost without a reason.
fn send_datagrams(tunnel: &Tunnel) -> DatagramReport {
    let (client, slowed) = (&tunnel.client, tunnel.client.slowed());
    let stream = DatagramStream::new(&client.host, &tunnel.server.host, SERVER_V4).rate(2_000_000);
    let report = stream.duration(Duration::from_millis(500)).grace(PATIENCE).run().unwrap();
    client.assert_whole(&report, slowed);
    report
}

/// Bytes that datagrams add to each of the two links on their way to the server.
fn spread(tunnel: &Tunnel, lab: &Lab) -> [u64; 2] {
    let arrived = || ["dsl1", "dsl2"].map(|link| lab.link(link).delivered_bytes().unwrap().1);
    let before = arrived();
    send_datagrams(tunnel);
    let after = arrived();
    [after[0] - before[0], after[1] - before[1]]
}

fn policy(end: &End) -> String {
    end.status()["peers"][0]["policy"].as_str().unwrap_or_default().to_owned()
}

fn switch_cost(end: &End, link: &str, millis: &str) -> String {
    let output = end.run(&["link", link, "cost", millis]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn everything_is_sent_twice_and_arrives_once() {
    let lab = two_links();
    let mut plan = Plan::over(&lab);
    plan.client.set("general", "policy", "redundant");
    let tunnel = plan.start(&lab);
    wait_for("the server to know", || policy(&tunnel.server) == "redundant");
    let copies = |end: &End| end.status()["peers"][0]["copies"]["sent"].as_u64().unwrap();
    // A busy machine may be too late for some.
    wait_for("copies of what the client sends", || {
        send_datagrams(&tunnel);
        copies(&tunnel.client) > 100
    });
    tunnel.move_bytes(100_000);
    wait_for("copies of what the server sends", || copies(&tunnel.server) > 0);
    let doubles = || tunnel.server.status()["peers"][0]["lanes"]["duplicates"].as_u64().unwrap();
    wait_for("the server to count them", || doubles() > 100);
    let screen = String::from_utf8(tunnel.client.run(&["status"]).stdout).unwrap();
    assert!(screen.contains(", policy redundant"), "{screen}");
}

fn a_metered_link_is_left_alone_until_the_other_one_dies() {
    let lab = two_links();
    let mut plan = Plan::over(&lab);
    plan.client.set("dsl2", "metered", "yes");
    let tunnel = plan.start(&lab);
    wait_for("the server to know", || tunnel.server.link("dsl2")["metered"] == true);
    assert_eq!(tunnel.server.link("dsl1")["metered"], false);
    let [_, paid] = spread(&tunnel, &lab);
    assert!(paid < KEEPALIVES, "{paid} bytes went over the metered link");
    lab.link("dsl1").cut().unwrap();
    tunnel.client.wait_for_link_down("dsl1");
    tunnel.server.wait_for_link_down("dsl1");
    tunnel.move_bytes(1_000_000);
    assert!(lab.link("dsl2").delivered_bytes().unwrap().0 > 1_000_000);
    lab.link("dsl1").restore().unwrap();
    tunnel.wait_until_up();
    let [_, paid] = spread(&tunnel, &lab);
    assert!(paid < KEEPALIVES, "{paid} bytes went over the metered link");
}

fn costs_are_changed_while_the_program_runs() {
    let lab = two_links();
    let mut tunnel = Plan::over(&lab).start(&lab);
    assert_eq!(switch_cost(&tunnel.client, "dsl1", "400"), "dsl1: costs 400 ms\n");
    let cost = |end: &End, link: &str| end.link(link)["cost_ms"].as_u64().unwrap();
    wait_for("the server to know", || cost(&tunnel.server, "dsl1") == 400);
    let [first, second] = spread(&tunnel, &lab);
    assert!(first < KEEPALIVES && second > 100_000, "{first} {second}");

    assert_eq!(switch_cost(&tunnel.client, "dsl1", "0"), "dsl1: costs nothing\n");
    switch_cost(&tunnel.client, "dsl2", "400");
    tunnel.client.reload(|conf| conf.set("dsl2", "timeout", 50));
    wait_for("the server to know", || {
        (cost(&tunnel.server, "dsl1"), cost(&tunnel.server, "dsl2")) == (0, 400)
    });
    let [first, second] = spread(&tunnel, &lab);
    assert!(second < KEEPALIVES && first > 100_000, "{first} {second}");
    let screen = String::from_utf8(tunnel.client.run(&["status"]).stdout).unwrap();
    assert!(screen.contains("\ndsl2: costs 400 ms"), "{screen}");
    let refused = tunnel.client.run(&["link", "dsl1", "cost", "10001"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

fn a_reload_changes_the_policy_at_both_ends_and_closes_nothing() {
    let lab = two_links();
    let mut tunnel = Plan::over(&lab).start(&lab);
    wait_for("the default", || policy(&tunnel.server) == "bond");
    tunnel.client.reload(|conf| {
        conf.set("general", "policy", "backup");
        conf.set("dsl1", "cost", 1);
        conf.set("dsl2", "max_rate", 1_000_000);
    });
    wait_for("both ends to know", || {
        [&tunnel.client, &tunnel.server].iter().all(|end| policy(end) == "backup")
    });
    wait_for("the limit", || tunnel.server.link("dsl2")["max_rate"] == 1_000_000);
    let [first, second] = spread(&tunnel, &lab);
    assert!(first < KEEPALIVES && second > 100_000, "{first} {second}");
    for (end, link) in [&tunnel.client, &tunnel.server].into_iter().zip(["dsl1", "dsl2"]) {
        assert_eq!(end.disconnects(link), 0);
    }
}
