//! The status over the unix socket and over HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::tunnel::{End, LINK, Place, Plan, SERVER_V4, Tunnel, lab};
use crate::wait::{PATIENCE, wait_for};

tests![
    a_host_that_is_a_name_is_looked_up_without_roots_rights_and_served,
    the_status_is_json_whose_counters_move,
    the_metrics_are_prometheus_text,
    wrong_requests_are_answered_with_404_and_400,
    from_another_host_the_page_is_had_with_the_token_only,
    without_a_token_http_is_not_opened_to_others_and_the_tunnel_works,
    the_screen_shows_what_goes_over_the_links_now,
    a_silent_client_is_cut_off_while_others_are_served,
];

const PORT: u16 = 1_040;

fn start() -> (mlvpn_lab::Lab, Tunnel) {
    let lab = lab(&[("dsl1", LINK)]);
    let mut plan = Plan::over(&lab);
    plan.server.set("general", "control_bind_host", "127.0.0.1");
    plan.server.set("general", "control_bind_port", PORT);
    let tunnel = plan.start(&lab);
    (lab, tunnel)
}

fn a_host_that_is_a_name_is_looked_up_without_roots_rights_and_served() {
    let lab = lab(&[("dsl1", LINK)]);
    let mut plan = Plan::over(&lab);
    plan.server.set("general", "control_bind_host", "localhost");
    plan.server.set("general", "control_bind_port", PORT);
    plan.client.set("general", "control_bind_host", "localhost");
    plan.client.set("general", "control_bind_port", 81);
    let mut tunnel = plan.start(&lab);
    let host = &tunnel.server.host;
    let mut stream = host.run(|| TcpStream::connect(("localhost", PORT)).unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /status HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"mode\": \"server\""), "{answer}");
    tunnel.client.wait_for_log("control_bind_port 81: Permission denied");
}

fn connect(end: &End) -> TcpStream {
    let stream = end.host.run(|| TcpStream::connect(("127.0.0.1", PORT)).unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The head and the body of the answer.
fn http(end: &End, request: &str) -> (String, String) {
    let mut stream = connect(end);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn get(end: &End, path: &str) -> (String, String) {
    http(end, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

/// The answer to a command of the line protocol.
fn command(end: &End, line: &str) -> String {
    let answer = end.ask(&format!("{line}\nquit\n")).unwrap();
    answer.strip_suffix("bye.").unwrap().to_owned()
}

fn the_status_is_json_whose_counters_move() {
    let (_lab, tunnel) = start();
    let over_unix = || serde_json::from_str::<Value>(&command(&tunnel.server, "status")).unwrap();
    let over_http = || {
        let (head, body) = get(&tunnel.server, "/status");
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        serde_json::from_str::<Value>(&body).unwrap()
    };
    let before = over_unix();
    tunnel.move_bytes(300_000);
    for ask in [&over_unix as &dyn Fn() -> Value, &over_http] {
        let moved = |status: &Value, pointer: &str| {
            status.pointer(pointer).unwrap().as_u64() > before.pointer(pointer).unwrap().as_u64()
        };
        wait_for("the counters", || {
            let now = ask();
            ["sentpackets", "sentbytes", "recvpackets", "recvbytes"]
                .iter()
                .all(|field| moved(&now, &format!("/tunnels/0/{field}")))
                && moved(&now, "/session/bytes_from_tun")
                && moved(&now, "/session/packets_to_tun")
                && now["session"]["bytes_from_tun"].as_u64() > Some(300_000)
        });
        let now = ask();
        assert_eq!(now["tunnels"][0]["name"], "dsl1");
        assert_eq!(now["tunnels"][0]["status"], "connected");
        // Ten milliseconds both ways, at least.
        assert!(now["tunnels"][0]["srtt"].as_u64() >= Some(10), "{now}");
        assert_eq!((&now["mode"], &now["tuntap"]["name"]), (&"server".into(), &"tun0".into()));
    }
}

fn the_metrics_are_prometheus_text() {
    let (_lab, tunnel) = start();
    tunnel.wait_for_echo(SERVER_V4);
    let (head, over_http) = get(&tunnel.server, "/metrics");
    assert!(
        head.to_ascii_lowercase().contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    for page in [over_http, command(&tunnel.server, "metrics")] {
        let mut typed = std::collections::BTreeSet::new();
        let mut samples = 0;
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge"].contains(&kind), "{line}");
                assert!(typed.insert(name.to_owned()), "typed twice: {line}");
            } else if !line.starts_with("# HELP ") {
                assert!(is_sample(line, &typed), "{line}");
                samples += 1;
            }
        }
        assert!(samples > 20, "{page}");
        assert!(page.contains("{tunnel=\"dsl1\"}"), "{page}");
    }
}

/// Whether a line is `name{label="value",...} number`, of a metric whose type was told.
fn is_sample(line: &str, typed: &std::collections::BTreeSet<String>) -> bool {
    let Some((series, value)) = line.rsplit_once(' ') else { return false };
    let name = match series.split_once('{') {
        None => series,
        Some((name, labels)) => {
            let Some(labels) = labels.strip_suffix('}') else { return false };
            let is_label = |label: &str| {
                let value = label.split_once('=').map_or("", |(_, value)| value);
                value.len() >= 2 && value.starts_with('"') && value.ends_with('"')
            };
            if !labels.split(',').all(is_label) {
                return false;
            }
            name
        }
    };
    let is_name_byte = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    typed.contains(name) && name.chars().all(is_name_byte) && value.parse::<f64>().is_ok()
}

fn wrong_requests_are_answered_with_404_and_400() {
    let (_lab, tunnel) = start();
    let server = &tunnel.server;
    for (request, answer) in [
        ("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 "),
        ("BREW /status HTTP/9.9\r\n\r\n", "HTTP/1.1 400 "),
        ("GET /status HTTP/1.1\r\nnot a header\r\n\r\n", "HTTP/1.1 400 "),
        ("DELETE /status HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 "),
    ] {
        let (head, _) = http(server, request);
        assert!(head.starts_with(answer), "{request:?}: {head}");
        let over_unix = server.ask(request).unwrap();
        assert!(over_unix.starts_with(answer), "{request:?}: {over_unix}");
    }
    assert!(command(server, "nonsense").contains("unknown command"));
}

fn a_silent_client_is_cut_off_while_others_are_served() {
    let (_lab, tunnel) = start();
    let mut silent = connect(&tunnel.server);
    let mut slow = connect(&tunnel.server);
    slow.write_all(b"GET /status HT").unwrap();
    let mut at_socket = UnixStream::connect(tunnel.server.place.path("socket")).unwrap();
    at_socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(get(&tunnel.server, "/status").0.starts_with("HTTP/1.1 200 "));
    assert!(command(&tunnel.server, "status").contains("dsl1"));
    // The end of the stream comes; if it did not, reading would fail after the patience.
    let mut answer = Vec::new();
    silent.read_to_end(&mut answer).unwrap();
    slow.read_to_end(&mut answer).unwrap();
    at_socket.read_to_end(&mut answer).unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    assert!(get(&tunnel.server, "/status").0.starts_with("HTTP/1.1 200 "));
}

fn the_screen_shows_what_goes_over_the_links_now() {
    let (_lab, tunnel) = start();
    let screen = || {
        let output = tunnel.client.run(&["status"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let transfer = tunnel.download().start().unwrap();
    let mut shown = String::new();
    wait_for("a rate on the screen", || {
        shown = screen();
        let row = shown.lines().find(|line| line.starts_with("dsl1  up ")).unwrap_or_default();
        // The cells after the name and the state; megabits per second of a link that carries twenty.
        let cells: Vec<_> = row.split_whitespace().skip(2).map(str::parse::<f64>).collect();
        matches!(cells.as_slice(), [Ok(now), Ok(seen), Ok(_), Ok(_), Ok(can), Ok(_), Ok(rtt), ..]
            if (1.0..40.0).contains(now) && seen >= now && *can > 0.0 && *rtt >= 10.0)
    });
    assert!(!shown.contains('\u{1b}'), "this is no terminal");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let json = tunnel.client.run(&["status", "--json"]).stdout;
    let status: Value = serde_json::from_slice(&json).unwrap();
    assert!(status["tunnels"][0]["rate"]["received"].as_u64() > Some(100_000), "{status}");
    assert!(status["rate"]["received"].as_u64() > Some(100_000), "{status}");
    drop(transfer.stop());

    let history: Value = serde_json::from_str(&command(&tunnel.client, "history")).unwrap();
    let steps = history["at_seconds"].as_array().unwrap().len();
    let received = history["links"][0]["received"].as_array().unwrap();
    assert_eq!(received.len(), steps);
    assert!(received.iter().any(|rate| rate.as_u64() > Some(100_000)), "{history}");
    let kinds = history["events"].as_array().unwrap().iter().map(|event| &event["kind"]);
    let kinds: Vec<_> = kinds.filter_map(Value::as_str).collect();
    assert!(kinds.contains(&"link_up") && kinds.contains(&"session_up"), "{history}");
}

const TOKEN: &str = "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=";

/// A tunnel whose server offers HTTP to the client's host.
fn start_open_to_others(has_token: bool) -> (mlvpn_lab::Lab, Tunnel, Place) {
    let lab = lab(&[("dsl1", LINK)]);
    let place = Place::new();
    let mut plan = Plan::over(&lab);
    plan.server.set("general", "control_bind_host", lab.server_v4());
    plan.server.set("general", "control_bind_port", PORT);
    if has_token {
        let file = place.write("token", &format!("{TOKEN}\n"), 0o600);
        plan.server.set("general", "control_token_file", file.display());
    }
    let tunnel = plan.start(&lab);
    (lab, tunnel, place)
}

fn from_another_host_the_page_is_had_with_the_token_only() {
    let (lab, tunnel, _place) = start_open_to_others(true);
    let ask = |headers: &str| {
        let connect = || TcpStream::connect((lab.server_v4(), PORT)).unwrap();
        let mut stream = tunnel.client.host.run(connect).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let refused = ask("");
    assert!(refused.starts_with("HTTP/1.1 401 ") && !refused.contains("<html"), "{refused}");
    let page = ask(&format!("Authorization: Bearer {TOKEN}\r\n"));
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("<html"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    assert!(!tunnel.server.daemon.stderr().contains(TOKEN));
}

fn without_a_token_http_is_not_opened_to_others_and_the_tunnel_works() {
    let (lab, mut tunnel, _place) = start_open_to_others(false);
    tunnel.server.wait_for_log("there is no control_token_file, so that HTTP is not opened");
    let connect = || TcpStream::connect((lab.server_v4(), PORT)).map(drop);
    assert!(tunnel.client.host.run(connect).unwrap().is_err());
    tunnel.wait_for_echo(SERVER_V4);
}
