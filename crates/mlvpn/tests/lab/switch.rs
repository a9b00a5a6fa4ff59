//! Links that are switched by hand.

use crate::tunnel::{End, Plan, SERVER_V4, two_links};
use crate::wait::wait_for;

tests![
    a_link_that_is_switched_off_stays_off_until_it_is_switched_on,
    a_server_can_switch_a_link_off_too,
    a_link_becomes_a_fallback_while_it_runs,
    a_link_that_is_not_there_is_told,
];

/// Switches a link, and returns what is said about it.
fn switch(end: &End, arguments: &[&str]) -> String {
    let output = end.run(&[&["link"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The texts of the latest events.
fn events(end: &End) -> Vec<String> {
    let answer = end.ask("history\nquit\n").unwrap();
    let history: serde_json::Value =
        serde_json::from_str(answer.strip_suffix("bye.").unwrap()).unwrap();
    let events = history["events"].as_array().unwrap();
    events.iter().map(|event| event["text"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the program has run for two seconds more: what it would do wrong, it has done then, and the
/// status tells it.
fn let_it_run(end: &End) {
    let uptime = || end.status()["uptime_seconds"].as_f64().unwrap();
    let until = uptime() + 2.0;
    wait_for("two seconds", || uptime() > until);
}

fn a_link_that_is_switched_off_stays_off_until_it_is_switched_on() {
    let lab = two_links();
    let mut tunnel = Plan::over(&lab).start(&lab);
    assert_eq!(switch(&tunnel.client, &["dsl1", "down"]), "dsl1: switched off\n");
    // The timeout of the links is a minute: the server was told.
    tunnel.server.wait_for_link_down("dsl1");
    tunnel.client.wait_for_link("dsl1", "disconnected");
    tunnel.wait_for_echo(SERVER_V4);
    let screen = String::from_utf8(tunnel.client.run(&["status"]).stdout).unwrap();
    assert!(screen.contains("\ndsl1: switched off by hand"), "{screen}");

    // Neither another key nor another socket changes it.
    tunnel.client.reload(|conf| conf.set("dsl1", "timeout", 50));
    tunnel.client.reload(|conf| conf.set("dsl1", "bindport", 6_001));
    let_it_run(&tunnel.client);
    tunnel.wait_for_echo(SERVER_V4);
    let link = tunnel.client.link("dsl1");
    assert_eq!((&link["disabled"], &link["status"]), (&true.into(), &"disconnected".into()));
    assert_eq!(switch(&tunnel.client, &["dsl1", "down"]), "dsl1: switched off already\n");

    assert_eq!(switch(&tunnel.client, &["dsl1", "up"]), "dsl1: switched on\n");
    tunnel.wait_until_up();
    assert_eq!(tunnel.client.link("dsl1")["disabled"], false);
    let texts = events(&tunnel.client);
    for text in ["link down: switched off by hand", "switched off", "switched on"] {
        assert!(texts.iter().any(|known| known == text), "{text}: {texts:?}");
    }
}

fn a_server_can_switch_a_link_off_too() {
    let lab = two_links();
    let tunnel = Plan::over(&lab).start(&lab);
    switch(&tunnel.server, &["dsl2", "down"]);
    tunnel.client.wait_for_link_down("dsl2");
    tunnel.wait_for_echo(SERVER_V4);
    switch(&tunnel.server, &["dsl2", "up"]);
    tunnel.wait_until_up();
}

fn a_link_becomes_a_fallback_while_it_runs() {
    let lab = two_links();
    let mut tunnel = Plan::over(&lab).start(&lab);
    let is_fallback = |end: &End| end.link("dsl2")["fallback_only"] == true;
    switch(&tunnel.client, &["dsl2", "fallback"]);
    wait_for("a fallback", || is_fallback(&tunnel.client));
    tunnel.client.reload(|conf| conf.set("dsl2", "timeout", 50));
    let_it_run(&tunnel.client);
    assert!(is_fallback(&tunnel.client), "a reload leaves it");
    let screen = String::from_utf8(tunnel.client.run(&["status"]).stdout).unwrap();
    assert!(screen.contains("dsl2  standby"), "{screen}");
    switch(&tunnel.client, &["dsl2", "fallback", "off"]);
    wait_for("no fallback", || !is_fallback(&tunnel.client));
    assert_eq!(tunnel.client.disconnects("dsl2"), 0);
}

fn a_link_that_is_not_there_is_told() {
    let lab = two_links();
    let tunnel = Plan::over(&lab).start(&lab);
    let output = tunnel.client.run(&["link", "dsl3", "down"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("dsl3: there is no link of this name; there are dsl1, dsl2"), "{error}");
}
