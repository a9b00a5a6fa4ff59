//! The server with a client that is another implementation of version 2: the one in Python, which shares no code with
//! this one.

use mlvpn_io::netlink::Prefix;
use mlvpn_lab::Lab;

use crate::tunnel::{CLIENT_V4, End, LINK, PASSWORD, Place, Plan, SERVER_V4, lab};

tests![
    another_implementation_pings_through_the_server,
    another_implementation_pings_in_clear_over_any_path_with_the_other_cipher,
    another_implementation_gets_another_port_and_goes_on,
];

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../mlvpn-proto/tests/reference/peer.py");

fn server(lab: &Lab, change: impl FnOnce(&mut Plan)) -> End {
    let mut plan = Plan::over(lab);
    change(&mut plan);
    End::start(lab.server(), plan.server, &[Prefix::new(SERVER_V4, 30)])
}

/// Pings through the server; all is answered.
fn ping(lab: &Lab, place: &Place, arguments: &[&str]) {
    let password = place.write("password", PASSWORD, 0o600);
    let output = lab
        .client()
        .command("/usr/bin/python3")
        .args(["-B", PEER, "--server", &format!("{}:5080", lab.server_v4()), "--password-file"])
        .arg(password)
        .args(["--from", &CLIENT_V4.to_string(), "--to", &SERVER_V4.to_string()])
        .args(["--count", "10", "--patience", "30"])
        .args(arguments)
        .output()
        .expect("python3, python3-cryptography and python3-argon2 are needed");
    let [said, trouble] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{said}{trouble}");
    assert!(said.contains("10 of 10 answered"), "{said}{trouble}");
}

fn another_implementation_pings_through_the_server() {
    let (lab, place) = (lab(&[("dsl1", LINK)]), Place::new());
    let server = server(&lab, |_| ());
    for _ in 0..2 {
        ping(&lab, &place, &[]);
    }
    let drops = server.status()["session"]["drops"].clone();
    for reason in ["malformed", "not_authentic", "replayed", "handshake", "not_an_ip_packet"] {
        assert_eq!(drops[reason], 0, "{drops}");
    }
}

fn another_implementation_pings_in_clear_over_any_path_with_the_other_cipher() {
    let (lab, place) = (lab(&[("dsl1", LINK)]), Place::new());
    let _server = server(&lab, |plan| plan.server.set("general", "cleartext_data", 1));
    ping(&lab, &place, &["--clear", "--ciphers", "2", "--path", "15", "--size", "1100"]);
}

fn another_implementation_gets_another_port_and_goes_on() {
    let (lab, place) = (lab(&[("dsl1", LINK)]), Place::new());
    let _server = server(&lab, |_| ());
    ping(&lab, &place, &["--move"]);
}
