//! Tests of the snapshot and its two renderings, and that docs/status.md tells the same.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

/// A snapshot in which every field has a value of its own.
pub(crate) fn sample() -> StatusSnapshot {
    StatusSnapshot {
        name: "mlvpn".to_owned(),
        version: "3.0.0".to_owned(),
        pid: 4242,
        mode: Mode::Client,
        start_time_unix: 1_700_000_000,
        last_reload_unix: 1_700_000_100,
        uptime: Duration::from_millis(1_500),
        tuntap: TuntapStatus { kind: TuntapKind::Tap, name: "tap7".to_owned(), mtu: 1428 },
        protocol_version: Some(2),
        session: SessionCounters {
            packets_from_tun: 1,
            bytes_from_tun: 2,
            packets_to_tun: 3,
            bytes_to_tun: 4,
            drops: BTreeMap::from([("replayed".to_owned(), 5), ("too_big".to_owned(), 6)]),
        },
        rates: Some(Rates { sent: 39, received: 40 }),
        sandbox: SandboxStatus { landlock_abi: Some(7), has_seccomp: true },
        reorder: ReorderStatus {
            enabled: true,
            held_packets: 7,
            wait: Duration::from_micros(8_250),
            released_in_order: 9,
            released_by_proof: 10,
            released_by_deadline: 11,
            late: 12,
        },
        peers: vec![sample_peer(), PeerStatus::default()],
        links: vec![sample_link("dsl1"), server_link("dsl2")],
    }
}

fn sample_peer() -> PeerStatus {
    PeerStatus {
        name: Some("camper".to_owned()),
        public_key: Some("3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=".to_owned()),
        software: Some("mlvpn \\u{1b}".to_owned()),
        uptime: Duration::from_millis(19_500),
        queue: QueueStatus { packets: 20, bytes: 21, marked: 22 },
        recovery: RecoveryStatus { resent: 23, given_up: 24 },
        lanes: LaneStatus {
            held_packets: 25,
            held_bytes: 26,
            wait: Duration::from_micros(27_250),
            in_order: 28,
            proven_lost: 29,
            skipped: 30,
            deadline: 31,
            overflow: 32,
            late: 33,
            duplicates: 34,
        },
        striped_lanes: 35,
        policy: "redundant".to_owned(),
        copies: CopyStatus { sent: 46, withheld: 47 },
        feedback: FeedbackStatus { packets: 36, bytes: 37 },
    }
}

fn sample_path() -> PathStatus {
    PathStatus {
        id: 3,
        state: PathState::Suspect,
        capacity: 1_250_000,
        rate_state: RateState::NotLimited,
        queue_delay: Duration::from_micros(4_500),
        min_rtt: Some(Duration::from_micros(18_250)),
        loss_ratio: 0.015625,
        received_loss_ratio: 0.03125,
        delivery_rate: Some(1_125_000),
        in_flight_bytes: 36,
        resent_packets: 37,
        resent_bytes: 38,
        mtu: 1_472,
    }
}

pub(crate) fn sample_link(name: &str) -> LinkStatus {
    LinkStatus {
        name: name.to_owned(),
        mode: Mode::Client,
        attachment: Attachment {
            bind_host: Some("192.0.2.1".to_owned()),
            bind_port: Some(5080),
            bind_device: Some("ppp0".to_owned()),
            bind_fib: 3,
            remote_host: Some("vpn.example.net".to_owned()),
            remote_port: Some(5081),
        },
        remote: Some("198.51.100.7:5081".parse().unwrap()),
        state: LinkState::Connected,
        state_age: Duration::from_millis(2_500),
        last_down_reason: Some("timeout".to_owned()),
        disconnects: 13,
        traffic: LinkTraffic {
            sent_packets: 14,
            received_packets: 15,
            sent_bytes: 16,
            received_bytes: 17,
        },
        volume: Volume { sent: 41, received: 42 },
        rates: Some(Rates { sent: 43, received: 44 }),
        received_peak: Some(45),
        trouble: None,
        is_disabled: false,
        quality: LinkQuality {
            srtt: Some(Duration::from_micros(20_900)),
            rttvar: Some(Duration::from_micros(1_500)),
            relative_delay_ms: Some(4.5),
            loss_ratio: 3.0 / 64.0,
            usable: true,
            lossy: false,
            slow: false,
        },
        limits: LinkLimits {
            bandwidth: 1_468_006,
            timeout: Duration::from_secs(30),
            fallback_only: false,
            max_rate: None,
            cost_ms: 0,
            metered: false,
        },
        last_packet_unix: Some(1_700_000_200),
        socket_errors: 18,
        path: Some(sample_path()),
    }
}

/// A link about which nothing is known but its configuration.
fn server_link(name: &str) -> LinkStatus {
    LinkStatus {
        mode: Mode::Server,
        attachment: Attachment::default(),
        remote: None,
        state: LinkState::WaitingPeer,
        last_down_reason: None,
        quality: LinkQuality::default(),
        limits: LinkLimits {
            max_rate: Some(48),
            cost_ms: 49,
            metered: true,
            ..sample_link(name).limits
        },
        last_packet_unix: None,
        rates: None,
        trouble: Some("no such device".to_owned()),
        path: None,
        ..sample_link(name)
    }
}

fn parsed(status: &StatusSnapshot) -> Value {
    serde_json::from_str(&status.to_json()).unwrap()
}

#[test]
fn json_has_the_c_programs_fields_with_true_values() {
    let json = parsed(&sample());
    assert_eq!(json["name"], "mlvpn");
    assert_eq!(json["version"], "3.0.0");
    assert_eq!(json["uptime"], 1_700_000_000u64);
    assert_eq!(json["last_reload"], 1_700_000_100u64);
    assert_eq!(json["pid"], 4242);
    assert_eq!(json["tuntap"]["type"], "tap");
    assert_eq!(json["tuntap"]["name"], "tap7");
    let expected: Value = serde_json::from_str(
        r#"{"name": "dsl1", "mode": "client", "bindaddr": "192.0.2.1", "bindport": "5080",
            "destaddr": "vpn.example.net", "destport": "5081", "status": "connected",
            "sentpackets": 14, "recvpackets": 15, "sentbytes": 16, "recvbytes": 17,
            "bandwidth": 1468006, "srtt": 20, "loss": 4, "disconnects": 13,
            "last_packet": 1700000200, "timeout": 30}"#,
    )
    .unwrap();
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&json["tunnels"][0][field], value, "{field}");
    }
}

#[test]
fn fields_of_the_c_program_come_first_and_in_its_order() {
    let text = sample().to_json();
    let at = |field: &str| text.find(&format!("\"{field}\":")).unwrap();
    let order = ["version", "uptime", "last_reload", "pid", "tuntap", "tunnels", "uptime_seconds"];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{text}");
    let link = ["bindaddr", "bindport", "destaddr", "destport", "status", "sentpackets"];
    assert!(link.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{text}");
    assert!(at("timeout") < at("remote_address"));
}

#[test]
fn what_is_unset_is_said_as_the_c_program_says_it() {
    let mut status = sample();
    let json = parsed(&status);
    let link = &json["tunnels"][1];
    assert_eq!((&link["bindaddr"], &link["bindport"]), (&"any".into(), &"any".into()));
    assert_eq!((&link["destaddr"], &link["destport"]), (&"".into(), &"".into()));
    assert_eq!(link["status"], "waiting peer");
    assert_eq!(link["srtt"], 0);
    assert_eq!(link["srtt_ms"], Value::Null);
    status.links[1].remote = Some("[2001:db8::1]:99".parse().unwrap());
    let json = parsed(&status);
    assert_eq!(json["tunnels"][1]["destaddr"], "2001:db8::1");
    assert_eq!(json["tunnels"][1]["destport"], "99");
}

#[test]
fn a_loss_of_one_packet_in_64_or_of_all_is_told_in_whole_percent() {
    let mut link = sample_link("a");
    for (ratio, percent) in [(0.0, 0), (1.0 / 64.0, 1), (0.29, 29), (1.0, 100), (f64::NAN, 0)] {
        link.quality.loss_ratio = ratio;
        assert_eq!(link.loss_whole_percent(), percent, "{ratio}");
    }
}

#[test]
fn metrics_have_help_and_type_once_and_before_their_samples() {
    let page = sample().to_metrics();
    let mut announced = BTreeSet::new();
    let mut current = "";
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split(' ').next().unwrap();
            assert!(announced.insert(current), "{current} announced twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest.split(' ').next(), Some(current));
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(series.split('{').next(), Some(current), "{line}");
            value.parse::<f64>().unwrap();
        }
    }
    assert!(page.ends_with('\n'));
    assert!(page.contains("\nsentbytes{tunnel=\"dsl1\"} 16\nsentbytes{tunnel=\"dsl2\"} 16\n"));
    assert!(page.contains("\nconnected{tunnel=\"dsl1\"} 1\nconnected{tunnel=\"dsl2\"} 0\n"));
    assert!(page.contains("\nwaitingpeer{tunnel=\"dsl1\"} 0\nwaitingpeer{tunnel=\"dsl2\"} 1\n"));
    assert!(page.contains("\nmlvpn_drops_total{reason=\"too_big\"} 6\n"));
    assert!(page.contains("\nmlvpn_link_srtt_seconds{tunnel=\"dsl1\"} 0.0209\n"));
    assert!(!page.contains("mlvpn_link_srtt_seconds{tunnel=\"dsl2\"}"), "not measured there");
}

#[test]
fn names_with_quotes_backslashes_and_line_feeds_break_neither_format() {
    let mut status = sample();
    status.links[0].name = "a\"b\\c\nd".to_owned();
    assert!(status.to_metrics().contains("\nconnected{tunnel=\"a\\\"b\\\\c\\nd\"} 1\n"));
    assert_eq!(parsed(&status)["tunnels"][0]["name"], "a\"b\\c\nd");
}

#[test]
fn numbers_that_are_none_are_written_as_each_format_wants() {
    let mut status = sample();
    status.links[0].quality.relative_delay_ms = Some(f64::NEG_INFINITY);
    status.links[0].quality.loss_ratio = f64::NAN;
    let page = status.to_metrics();
    assert!(page.contains("mlvpn_link_relative_delay_seconds{tunnel=\"dsl1\"} -Inf\n"), "{page}");
    assert!(page.contains("mlvpn_link_loss_ratio{tunnel=\"dsl1\"} NaN\n"), "{page}");
    assert_eq!(parsed(&status)["tunnels"][0]["loss_ratio"], Value::Null);
}

#[test]
fn a_program_without_links_has_a_whole_document_too() {
    let status = StatusSnapshot::starting("mlvpn", Mode::Server, 1, 2);
    assert_eq!(parsed(&status)["tunnels"], Value::Array(Vec::new()));
    assert!(!status.to_metrics().contains("connected"));
}

#[test]
fn json_tells_what_version_2_knows() {
    let json = parsed(&sample());
    assert_eq!(json["protocol_version"], 2);
    insta::assert_snapshot!(serde_json::to_string(&json["peers"][0]).unwrap(), @r#"{"copies":{"sent":46,"withheld":47},"feedback":{"bytes":37,"packets":36},"lanes":{"deadline":31,"duplicates":34,"held_bytes":26,"held_packets":25,"in_order":28,"late":33,"overflow":32,"proven_lost":29,"skipped":30,"striped":35,"wait_ms":27.25},"name":"camper","policy":"redundant","public_key":"3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=","queue":{"bytes":21,"marked":22,"packets":20},"recovery":{"given_up":24,"resent":23},"software":"mlvpn \\u{1b}","uptime_seconds":19.5}"#);
    insta::assert_snapshot!(serde_json::to_string(&json["tunnels"][0]["path"]).unwrap(), @r#"{"capacity":1250000,"delivery_rate":1125000,"id":3,"in_flight_bytes":36,"loss_ratio":0.015625,"min_rtt_ms":18.25,"mtu":1472,"queue_delay_ms":4.5,"rate_state":"not_limited","received_loss_ratio":0.03125,"resent_bytes":38,"resent_packets":37,"state":"suspect"}"#);
    assert_eq!(json["tunnels"][1]["path"], Value::Null);
    assert_eq!(json["peers"][1]["name"], Value::Null);
}

#[test]
fn metrics_tell_what_version_2_knows() {
    let page = sample().to_metrics();
    let is_of_it = |line: &&str| line.contains("{peer=\"camper\"") || line.contains("_state{");
    let lines: Vec<_> = page.lines().filter(is_of_it).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    mlvpn_peer_info{peer="camper",public_key="3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",software="mlvpn \\u{1b}"} 1
    mlvpn_peer_uptime_seconds{peer="camper"} 19.5
    mlvpn_peer_queue_packets{peer="camper"} 20
    mlvpn_peer_queue_bytes{peer="camper"} 21
    mlvpn_peer_marked_total{peer="camper"} 22
    mlvpn_peer_resent_total{peer="camper"} 23
    mlvpn_peer_given_up_total{peer="camper"} 24
    mlvpn_peer_copies_total{peer="camper"} 46
    mlvpn_peer_copies_withheld_total{peer="camper"} 47
    mlvpn_peer_feedback_packets_total{peer="camper"} 36
    mlvpn_peer_feedback_bytes_total{peer="camper"} 37
    mlvpn_peer_striped_lanes{peer="camper"} 35
    mlvpn_peer_held_packets{peer="camper"} 25
    mlvpn_peer_held_bytes{peer="camper"} 26
    mlvpn_peer_wait_seconds{peer="camper"} 0.02725
    mlvpn_peer_in_order_total{peer="camper"} 28
    mlvpn_peer_proven_lost_total{peer="camper"} 29
    mlvpn_peer_skipped_total{peer="camper"} 30
    mlvpn_peer_deadline_total{peer="camper"} 31
    mlvpn_peer_overflow_total{peer="camper"} 32
    mlvpn_peer_late_total{peer="camper"} 33
    mlvpn_peer_duplicates_total{peer="camper"} 34
    mlvpn_link_rate_state{tunnel="dsl1",state="startup"} 0
    mlvpn_link_rate_state{tunnel="dsl1",state="cruise"} 0
    mlvpn_link_rate_state{tunnel="dsl1",state="hold"} 0
    mlvpn_link_rate_state{tunnel="dsl1",state="drain"} 0
    mlvpn_link_rate_state{tunnel="dsl1",state="not_limited"} 1
    mlvpn_link_rate_state{tunnel="dsl1",state="rebase"} 0
    "#);
    assert!(page.contains("\nmlvpn_link_capacity_bytes_per_second{tunnel=\"dsl1\"} 1250000\n"));
    assert!(page.contains("\nmlvpn_link_is_suspect{tunnel=\"dsl1\"} 1\n"));
    assert!(!page.contains("mlvpn_link_path_id{tunnel=\"dsl2\"}"), "it has no path");
    assert!(page.contains("\nmlvpn_peer_uptime_seconds{peer=\"\"} 0\n"), "it has no name");
}

#[test]
fn while_nothing_is_up_no_version_is_told() {
    let status = StatusSnapshot::starting("mlvpn", Mode::Server, 1, 2);
    let json = parsed(&status);
    assert_eq!(json["protocol_version"], Value::Null);
    assert_eq!(json["peers"], Value::Array(Vec::new()));
    let page = status.to_metrics();
    assert!(!page.contains("mlvpn_protocol_version") && !page.contains("mlvpn_peer_"), "{page}");
}

#[test]
fn a_snapshot_survives_serialisation() {
    let text = serde_json::to_string(&sample()).unwrap();
    assert_eq!(serde_json::from_str::<StatusSnapshot>(&text).unwrap(), sample());
}

#[test]
fn the_documentation_lists_every_json_field_and_no_other() {
    let mut fields = BTreeSet::new();
    collect_fields(&parsed(&sample()), "", &mut fields);
    assert_eq!(documented("## JSON").into_keys().collect::<BTreeSet<_>>(), fields);
}

#[test]
fn the_documentation_lists_every_metric_with_its_type_and_no_other() {
    let page = sample().to_metrics();
    let rendered: BTreeMap<String, String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    assert_eq!(documented("## Metrics"), rendered);
}

#[test]
fn the_documentation_lists_every_reason_for_a_drop() {
    let page = include_str!("../../../../docs/status.md");
    let section = page.split_once("## Drop reasons").expect("the heading is there").1;
    let items = section.lines().filter_map(|line| line.strip_prefix("- `")?.split_once("`: "));
    let listed: BTreeSet<_> = items.map(|(reason, _)| reason).collect();
    let of_kernel = ["socket_queue_full", "tun_write_failed", "tun_read_malformed"];
    let reasons = mlvpn_proto::drop::DropReason::ALL.iter().map(|reason| reason.as_str());
    assert_eq!(listed, reasons.chain(of_kernel).collect());
}

/// Dotted paths of the leaves; `[]` for any element, `*` for any drop reason.
fn collect_fields(value: &Value, path: &str, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(_) if path == "session.drops" => {
            fields.insert(format!("{path}.*"));
        }
        Value::Object(object) => {
            for (key, inner) in object {
                let dot = if path.is_empty() { "" } else { "." };
                collect_fields(inner, &format!("{path}{dot}{key}"), fields);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_fields(item, &format!("{path}[]"), fields);
            }
        }
        _ => {
            fields.insert(path.to_owned());
        }
    }
}

/// First and second column of the tables below `heading`.
fn documented(heading: &str) -> BTreeMap<String, String> {
    let page = include_str!("../../../../docs/status.md");
    let section = page.split_once(heading).expect("the heading is there").1;
    let section = section.split("\n## ").next().expect("split yields one piece at least");
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(name, rest)| {
            (name.to_owned(), rest.split(" |").next().unwrap_or_default().to_owned())
        })
        .collect()
}

/// The words of an expression for Prometheus that name metrics: all but functions, labels and spans of time.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    const NO_METRICS: [&str; 11] = [
        "rate",
        "increase",
        "sum",
        "by",
        "on",
        "and",
        "instance",
        "tunnel",
        "up",
        "job",
        "label_values",
    ];
    let mut depth = 0;
    let outside = expression.chars().map(|c| {
        depth += i32::from(matches!(c, '{' | '[')) - i32::from(matches!(c, '}' | ']'));
        if depth > 0 { ' ' } else { c }
    });
    let outside: String = outside.collect();
    let words = outside.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()));
    names.filter(|word| !NO_METRICS.contains(word)).map(str::to_owned).collect()
}

/// The values of all fields called `key`.
fn values_of<'a>(document: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match document {
        Value::Object(object) => {
            found.extend(object.get(key).and_then(Value::as_str));
            object.values().for_each(|inner| values_of(inner, key, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| values_of(inner, key, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_that_there_are() {
    let known = documented("## Metrics");
    let dashboard = include_str!("../../../../packaging/grafana/mlvpn.json");
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    let mut expressions = Vec::new();
    values_of(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() >= 15, "{expressions:?}");
    values_of(&dashboard, "query", &mut expressions);
    expressions.retain(|expression| *expression != "prometheus");
    let monitoring = include_str!("../../../../docs/monitoring.md");
    let alerts = monitoring.split_once("## Alerts").unwrap().1;
    let rows = alerts.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    expressions.extend(rows.map(|(expression, _)| expression));
    for expression in expressions {
        for metric in metrics_in(expression) {
            assert!(known.contains_key(&metric), "{metric} in {expression}");
        }
    }
}
