//! Handshakes that are worth nothing, in large numbers.

use std::net::SocketAddr;

use mlvpn_lab::workload::{Flood, FloodReport, Forger};
use mlvpn_lab::{Lab, Stranger};

use crate::tunnel::{End, LINK, PASSWORD, Plan, Tunnel, lab};
use crate::wait::wait_for;

tests![
    a_transfer_goes_on_while_strangers_ask_for_sessions_and_none_of_them_is_answered,
    those_who_know_the_password_get_less_than_they_send_and_disturb_no_session,
];

/// A few thousand a second: the tests are about what is done with each.
const PER_SECOND: u64 = 3_000;
/// How many at least.
const MANY: u64 = 6_000;
const DIFFERENT: usize = 500;
/// Bytes of an initiation and of a cookie reply (docs/protocol-v2.md).
const INITIATION: usize = 1_200;
const COOKIE_REPLY: usize = 64;

fn start() -> (Lab, Stranger, Tunnel) {
    let lab = lab(&[("dsl1", LINK)]);
    let stranger = lab.stranger().unwrap();
    let tunnel = Plan::over(&lab).start(&lab);
    tunnel.move_bytes(200_000);
    (lab, stranger, tunnel)
}

/// Floods the server while a transfer goes on, which has to arrive intact and in the same session.
fn flood(lab: &Lab, stranger: &Stranger, tunnel: &Tunnel, forger: &Forger) -> FloodReport {
    let ends = [&tunnel.client, &tunnel.server];
    let ages = ends.map(session_age);
    let transfer = tunnel.download().start().unwrap();
    wait_for("the transfer's beginning", || transfer.bytes() > 200_000);
    let target = SocketAddr::new(lab.server_v4(), 5080);
    let junk = forger.forge(DIFFERENT, 1);
    let flood = Flood::new(stranger, target, junk, PER_SECOND).start().unwrap();
    wait_for("some of the flood", || flood.sent() > MANY / 2);
    let (amid, sent) = (transfer.bytes(), flood.sent());
    wait_for("more of the transfer", || transfer.bytes() > amid + 500_000);
    wait_for("more of the flood", || flood.sent() > sent + MANY / 2);
    assert_eq!(transfer.stop().unwrap().wrong_bytes(), 0);
    // Each end has dropped what it wants to drop before it is asked.
    wait_for("everything being counted", || {
        refused(&tunnel.server, "handshake") + refused(&tunnel.server, "no_cookie") >= MANY
    });
    let report = flood.stop().unwrap();
    tunnel.move_bytes(200_000);
    for (end, age) in ends.into_iter().zip(ages) {
        assert!(session_age(end) > age, "another session at the {}", end.host.name());
        assert_eq!(end.disconnects("dsl1"), 0);
    }
    assert_eq!(tunnel.server.status()["peers"].as_array().unwrap().len(), 1);
    report
}

/// How old the session is, in seconds; it is the only one.
fn session_age(end: &End) -> f64 {
    end.status()["peers"][0]["uptime_seconds"].as_f64().unwrap()
}

/// How many datagrams were dropped for this reason.
fn refused(end: &End, reason: &str) -> u64 {
    end.status()["session"]["drops"][reason].as_u64().unwrap()
}

fn a_transfer_goes_on_while_strangers_ask_for_sessions_and_none_of_them_is_answered() {
    let (lab, stranger, tunnel) = start();
    let report = flood(&lab, &stranger, &tunnel, &Forger::insider(PASSWORD).stranger());
    assert_eq!((report.answers, report.longest_answer), (0, 0));
    assert!(refused(&tunnel.server, "handshake") >= MANY);
    assert_eq!(refused(&tunnel.server, "no_cookie"), 0);
}

fn those_who_know_the_password_get_less_than_they_send_and_disturb_no_session() {
    let (lab, stranger, tunnel) = start();
    let report = flood(&lab, &stranger, &tunnel, &Forger::insider(PASSWORD));
    assert!(report.answers > 0, "nobody is told how to come back");
    assert!(report.answers <= report.sent);
    assert!(report.longest_answer <= COOKIE_REPLY.min(INITIATION), "{report:?}");
    assert!(refused(&tunnel.server, "no_cookie") > 0);
}
