use super::*;
use crate::status::tests::sample;

fn shown(json: &str) -> Status {
    serde_json::from_str(json).unwrap()
}

/// A client with links in every condition.
fn client() -> Status {
    let up = r#""srtt_ms":21.44,"loss_ratio":0,"rate":{"sent":400000,"received":5000000},
        "received_peak":6000000,"path":{"state":"up","capacity":1500000,"loss_ratio":0.004,"received_loss_ratio":0.02,"mtu":1472}"#;
    shown(&format!(
        r#"{{"name":"mlvpn","version":"3.0.0","mode":"client","uptime_seconds":8040,"protocol_version":2,
        "tuntap":{{"name":"mlvpn0","mtu":1440}},"rate":{{"sent":500000,"received":6000000}},
        "session":{{"bytes_from_tun":4200000,"bytes_to_tun":12300000000,"drops":{{"replayed":2,"no_path":3}}}},
        "peers":[{{"name":"office","software":"mlvpn 3.0.0","uptime_seconds":192}}],
        "tunnels":[
          {{"name":"adsl","condition":"up",{up}}},
          {{"name":"a-link-with-a-very-long-name","condition":"standby","remark":"used only while no other link is usable",{up}}},
          {{"name":"old","condition":"lossy","remark":"loses too much for 1 min 10 s; used only while no better one is up",
            "srtt_ms":340.2,"loss_ratio":0.12,"bandwidth":250000,"rate":{{"sent":100000,"received":1000000}}}},
          {{"name":"lte","condition":"waiting","remark":"no answer from 192.0.2.1:5081 for 3 min 12 s (went down: no keepalive from the peer within the timeout); see whether the server runs there, and UDP passes"}},
          {{"name":"usb","condition":"down","remark":"no socket: usb0: no such device"}},
          {{"name":"sat","condition":"silent","remark":"nothing arrives at present","path":{{"mtu":1200}}}},
          {{"name":"off","condition":"off","remark":"switched off by hand"}}
        ]}}"#
    ))
}

#[test]
fn a_client_is_shown_on_one_screen() {
    insta::assert_snapshot!(render(&client(), Colour::Off), @r#"
    mlvpn 3.0.0, client, protocol version 2, up 2 h 14 min
    mlvpn0, MTU 1440, now 48.0 down and 4.00 up Mbit/s
    12.3 GB received and 4.2 MB sent since the start, 5 packets dropped
    peer office (mlvpn 3.0.0): session since 3 min 12 s

                              down Mbit/s          up Mbit/s
    link            state       now  seen loss%    now   can loss% RTT ms share  MTU
    adsl            up         40.0  48.0   2.0   3.20  12.0   0.4   21.4   45% 1472
    a-link-with-a…  standby    40.0  48.0   2.0   3.20  12.0   0.4   21.4   45% 1472
    old             lossy      8.00     -    12   0.80  2.00     -    340    9%    -
    lte             waiting       -     -     -      -     -     -      -     -    -
    usb             down          -     -     -      -     -     -      -     -    -
    sat             silent        -     -     -      -     0     -      -     - 1200
    off             off           -     -     -      -     -     -      -     -    -

    a-link-with-a…: used only while no other link is usable
    old: loses too much for 1 min 10 s; used only while no better one is up
    lte: no answer from 192.0.2.1:5081 for 3 min 12 s (went down: no keepalive from
        the peer within the timeout); see whether the server runs there, and UDP
        passes
    usb: no socket: usb0: no such device
    sat: nothing arrives at present
    off: switched off by hand
    "#);
}

#[test]
fn a_server_lists_its_peers_and_who_is_missing() {
    let status = shown(
        r#"{"name":"vpn","version":"3.0.0","mode":"server","uptime_seconds":5,
        "tuntap":{"name":"tun0","mtu":1400},
        "peers":[{"name":"camper","uptime_seconds":442800},{"public_key":"3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="}],
        "tunnels":[{"name":"dsl1","condition":"waiting","remark":"nobody has come to any address, port 5080, for 5 s"}]}"#,
    );
    insta::assert_snapshot!(render(&status, Colour::Off), @r#"
    vpn 3.0.0, server, no link is up, up 5 s
    tun0, MTU 1400
    0 B received and 0 B sent since the start, 0 packets dropped
    peer camper: session since 5 d 3 h
    peer 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=: session since 0 s

                    down Mbit/s          up Mbit/s
    link  state       now  seen loss%    now   can loss% RTT ms share  MTU
    dsl1  waiting       -     -     -      -     -     -      -     -    -

    dsl1: nobody has come to any address, port 5080, for 5 s
    "#);
}

#[test]
fn what_the_daemon_tells_can_be_shown() {
    let text = render(&shown(&sample().to_json()), Colour::Off);
    assert!(text.contains("dsl1") && text.contains("peer camper"), "{text}");
    assert!(text.contains("dsl2: no socket: no such device"), "{text}");
}

#[test]
fn nothing_is_wider_than_80_columns_and_nothing_drives_the_terminal() {
    let mut status = client();
    let long = "\u{1b}[31m".repeat(40);
    status.name.clone_from(&long);
    status.peers = (0..40).map(|_| Peer { name: Some(long.clone()), ..Peer::default() }).collect();
    for link in &mut status.tunnels {
        link.name.clone_from(&long);
        link.remark = Some("words ".repeat(60));
        link.condition.clone_from(&long);
        link.rate = link.rate.map(|_| super::super::document::Rate {
            sent: 12_500_000_000,
            received: 12_500_000_000,
        });
    }
    let text = render(&status, Colour::Off);
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "{line}");
    }
    assert!(!text.contains('\u{1b}'));
    assert!(text.contains("and 28 more peers"));
}

#[test]
fn only_the_state_is_coloured() {
    let (plain, coloured) = (render(&client(), Colour::Off), render(&client(), Colour::On));
    assert!(coloured.contains("\u{1b}[32mup      \u{1b}[0m"), "{coloured}");
    assert!(coloured.contains("\u{1b}[31mdown    \u{1b}[0m"), "{coloured}");
    let mut stripped = coloured;
    for code in ["[32m", "[36m", "[33m", "[31m", "[90m", "[0m"] {
        stripped = stripped.replace(&format!("\u{1b}{code}"), "");
    }
    assert_eq!(stripped, plain);
}
