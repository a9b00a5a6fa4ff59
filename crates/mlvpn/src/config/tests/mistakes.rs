//! Every mistake, as its author sees it.

use super::{
    CLIENT, CLIENT_KEYS, LINK, PEER, PUBLIC, SERVER_KEYS, Severity, THIRD_PUBLIC, key_files, parse,
    parse_with_keys,
};

/// What is shown for a file, with the number of errors and warnings it is expected to have.
fn shown(text: impl AsRef<str>, errors: usize, warnings: usize) -> String {
    let mut keys = key_files();
    let findings = match parse_with_keys("mlvpn.conf", text.as_ref().as_bytes(), &mut keys) {
        Ok(parsed) => parsed.warnings,
        Err(findings) => findings,
    };
    assert_eq!((findings.errors(), findings.warnings()), (errors, warnings), "{findings}");
    for (severity, line) in findings.log_lines() {
        assert!(line.contains("mlvpn.conf:"), "{severity:?} {line}");
    }
    findings.render(false)
}

/// One test per mistake: its name, the file, the errors and the warnings.
macro_rules! mistakes {
    ($($name:ident: $text:expr, $errors:expr, $warnings:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let report = shown($text, $errors, $warnings);
                insta::assert_snapshot!(report);
            }
        )*
    };
}

/// `[general]` of a client, with `more` below it, and its link.
fn with(more: &str) -> String {
    format!("{CLIENT}{more}{LINK}")
}

/// A client whose link section has `more`.
fn in_link(more: &str) -> String {
    format!("{CLIENT}{LINK}{more}")
}

/// A client with a key pair, its peer, and `more` in the section of that.
fn in_peer(more: &str) -> String {
    format!("{CLIENT_KEYS}{LINK}{PEER}{more}")
}

/// A server with a key pair and two peers that have these lines.
fn with_peers(a: &str, b: &str) -> String {
    format!("{SERVER_KEYS}[peer a]\n{a}[peer b]\n{b}")
}

/// A peer's public key and another line.
fn peer(public: &str, more: &str) -> String {
    format!("public_key = {public}\n{more}\n")
}

mistakes! {
    password_missing: format!("[general]\nmode = client\n{LINK}"), 1, 0;
    password_empty: format!("[general]\nmode = client\npassword = \"\"\n{LINK}"), 1, 0;
    password_weak: format!("[general]\nmode = client\npassword = \"pleasechangeme!\"\n{LINK}"), 0, 1;
    password_single_quotes:
        format!("[general]\nmode = client\npassword = 'w3nMzb8eTqLfYc5hXs2uRj7d'\n{LINK}"), 0, 1;
    password_on_the_next_line:
        format!("[general]\nmode = client\npassword =\n\"w3nMzb8eTqLfYc5hXs2uRj7d\"\n{LINK}"), 2, 0;
    bindhost_in_general: with("bindhost = \"192.0.2.7\"\n"), 1, 0;
    bindhost_before_any_section: format!("bindhost = \"192.0.2.7\"\n{CLIENT}{LINK}"), 1, 0;
    bindhost_in_filters: in_link("[filters]\nbindhost = \"192.0.2.7\"\n"), 1, 0;
    quoted_text_alone: with("\"10.44.43.2/30\"\n"), 1, 0;
    text_alone: with("cleartext_data\n"), 1, 0;
    port_out_of_range: in_link("bindport = 65536\n"), 1, 0;
    port_zero: format!("{CLIENT}[dsl1]\nremotehost = 192.0.2.1\nremoteport = 0\n"), 1, 0;
    not_a_number: in_link("bandwidth_upload = 1.4M\n"), 1, 0;
    number_with_unit: in_link("timeout = 30s\n"), 1, 0;
    neither_on_nor_off: in_link("fallback_only = yes\n"), 1, 0;
    policy_unknown: with("policy = \"lowest_latency\"\n"), 1, 0;
    cost_too_large: in_link("cost = 10001\n"), 1, 0;
    max_rate_too_small: in_link("max_rate = 10\nmetered = maybe\n"), 2, 0;
    link_called_like_a_policy:
        format!("{CLIENT}[backup]\nremotehost = 192.0.2.1\nremoteport = 5080\n[filters]\nbackup = udp\n"), 0, 1;
    policy_misspelt_in_filters: in_link("[filters]\nredundand = udp\n"), 1, 0;
    wishes_with_version_1:
        format!("{}cost = 5\nmetered = yes\n", with("protocol_version = 1\npolicy = backup\n")), 0, 2;
    duplicate_link: in_link("[dsl1]\nremotehost = 192.0.2.2\nremoteport = 5081\n"), 1, 0;
    duplicate_key: in_link("remoteport = 5081\n"), 1, 0;
    duplicate_key_same_value: in_link("remoteport = 5080\n"), 0, 1;
    second_general: in_link("[general]\ntimeout = 30\n"), 0, 1;
    filter_for_an_unknown_link: in_link("[filters]\nds1l = \"udp\"\n"), 1, 0;
    filter_with_a_mistake: in_link("[filters]\ndsl1 = \"udp prt 5060\" # telephony\n"), 1, 0;
    filter_cut_short: in_link("[filters]\ndsl1 = udp port\n"), 1, 0;
    filter_empty: in_link("[filters]\ndsl1 =\n"), 1, 0;
    remotehost_missing_in_client: format!("{CLIENT}[dsl1]\nremoteport = 5080\n"), 1, 0;
    bindport_missing_in_server:
        format!("{}[dsl1]\nbindhost = 192.0.2.1\n", CLIENT.replace("client", "server")), 1, 0;
    bad_address: with("ip4_gateway = \"10.44.43.256\"\n"), 1, 0;
    bad_prefix: with("ip4 = \"10.44.43.2/33\"\n"), 1, 0;
    no_prefix: with("ip4 = \"10.44.43.2\"\n"), 0, 1;
    bad_route: with("ip6_routes = \"2001:db8::/32 2001:db8::/129\"\n"), 1, 0;
    bad_host: format!("{CLIENT}[dsl1]\nremotehost = vpn.example.org:5080\nremoteport = 5080\n"), 1, 0;
    bad_interface_name: with("interface_name = \"a-very-long-name\"\n"), 1, 0;
    bad_tuntap: with("tuntap = \"bridge\"\n"), 1, 0;
    network_and_status_command:
        with("manage_network = yes\nstatuscommand = /etc/mlvpn/updown.sh\n"), 1, 0;
    network_left_to_the_status_command: with(
        "statuscommand = /etc/mlvpn/updown.sh\nip4 = 10.9.0.1/30\ndefault_route = yes\ndns = 9.9.9.9\n"
    ), 2, 0;
    network_left_to_nobody: with("manage_network = no\nnat = yes\nkill_switch = yes\n"), 2, 0;
    network_neither_yes_nor_no: with("manage_network = maybe\n"), 1, 0;
    default_route_without_address: with("default_route = yes\nnat = yes\n"), 2, 0;
    default_route_without_gateway:
        with("tuntap = tap\ndefault_route = yes\nip4 = 10.9.0.1/24\n"), 1, 0;
    dns_by_name: with("dns = 192.0.2.53, ns.example.org\n"), 1, 0;
    kill_switch_of_a_server: format!(
        "{}kill_switch = yes\n[a]\nbindport = 5080\n", CLIENT.replace("client", "server")
    ), 1, 0;
    kill_switch_with_a_name: format!(
        "{CLIENT}kill_switch = yes\n[a]\nremotehost = vpn.example.org\nremoteport = 5080\n"
    ), 0, 1;
    mtu_too_small_for_ip6: with("mtu = 1200\nip6 = fd00::1/64\n"), 1, 0;
    relative_status_command: with("statuscommand = \"updown.sh\"\n"), 1, 0;
    no_links: CLIENT, 1, 0;
    no_general: LINK, 1, 0;
    empty_file: "", 2, 0;
    mode_missing: format!("[general]\npassword = \"w3nMzb8eTqLfYc5hXs2uRj7d\"\n{LINK}"), 1, 0;
    mode_invalid: format!("{}{LINK}", CLIENT.replace("client", "Client")), 1, 0;
    unknown_key: with("interfacename = \"tun0\"\n"), 0, 1;
    unknown_key_unlike_any: in_link("colour = blue\n"), 0, 1;
    key_of_general_in_a_link: in_link("mtu = 1400\n"), 0, 1;
    retired_keys: format!("{}bandwidth_download = 1\n", with("protocol = \"tcp\"\nloglevel = 4\n")), 0, 3;
    mtu_too_large: with("mtu = 1444\n"), 0, 1;
    control_port_alone: with("control_bind_port = 1040\n"), 0, 1;
    bandwidth_on_some_links:
        in_link("bandwidth_upload = 1000\n[dsl2]\nremotehost = 192.0.2.1\nremoteport = 5081\n"), 0, 1;
    same_socket: format!(
        "{}[a]\nbindport = 5080\n[b]\nbindport = 5080\n",
        CLIENT.replace("client", "server")
    ), 1, 0;
    all_links_fallback: in_link("fallback_only = 1\n"), 0, 1;
    section_unclosed: in_link("[dsl2\n"), 1, 0;
    section_with_text: in_link("[filters] first\n"), 0, 1;
    quote_unclosed: with("interface_name = \"tun0\n"), 0, 1;
    typographic_quotes: with("interface_name = \u{201c}tun0\u{201d}\n"), 1, 0;
    no_key: with("= 5\n"), 1, 0;
    protocol_version_unknown: with("protocol_version = 3\n"), 1, 0;
    protocol_version_2_without_credentials:
        format!("[general]\nmode = client\nprotocol_version = 2\n{LINK}"), 1, 0;
    password_weak_for_version_2:
        format!("[general]\nmode = client\nprotocol_version = 2\npassword = w3nMzb8eTq\n{LINK}"), 0, 1;
    password_beside_keys_in_version_2:
        format!("{CLIENT_KEYS}password = w3nMzb8eTqLfYc5hXs2uRj7d\nprotocol_version = 2\n{LINK}{PEER}"), 0, 1;
    keys_in_version_1: format!("{CLIENT_KEYS}protocol_version = \"1\"\n{LINK}{PEER}"), 1, 0;
    peers_in_version_1: with(&format!("protocol_version = 1\n{PEER}")), 1, 0;
    key_without_peer: format!("{CLIENT_KEYS}{LINK}"), 1, 0;
    peer_without_key: format!("[general]\nmode = client\n{LINK}{PEER}"), 1, 0;
    key_file_missing: in_peer("").replace("own.key", "other.key"), 1, 0;
    key_file_that_is_a_key:
        in_peer("").replace("own.key", "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="), 1, 0;
    key_file_without_a_key: in_peer("").replace("own.key", "bad.key"), 1, 0;
    key_in_the_configuration:
        with("private_key = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n"), 0, 1;
    public_key_missing: in_peer("").replace(&format!("public_key = {PUBLIC}\n"), ""), 1, 0;
    public_key_empty: in_peer("").replace(PUBLIC, "\"\""), 1, 0;
    public_key_cut_short: in_peer("").replace(PUBLIC, &PUBLIC[1..]), 1, 0;
    public_key_of_nobody: in_peer("").replace(PUBLIC, &format!("{}=", "A".repeat(43))), 1, 0;
    public_key_is_our_own:
        in_peer("").replace(PUBLIC, "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="), 1, 0;
    public_key_outside_a_peer: in_link(&format!("public_key = {PUBLIC}\n")), 1, 0;
    preshared_key_cut_short: in_peer("preshared_key = XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ\n"), 1, 0;
    preshared_key_twice: in_peer(
        "preshared_key = XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=\npreshared_key_file = psk\n"
    ), 1, 0;
    key_of_another_program: in_peer("AllowedIPs = 10.0.0.0/8\nEndpoint = 192.0.2.1:5080\n"), 0, 2;
    key_of_a_link_in_a_peer: in_peer("remotehost = 192.0.2.1\nmtu = 1400\n"), 0, 2;
    unknown_key_in_a_peer: in_peer("publickey = x\ncolour = blue\n"), 0, 2;
    networks_of_a_client: in_peer("ip4 = default\n"), 0, 1;
    second_peer_of_a_client: in_peer("[peer b]\n") + &peer(THIRD_PUBLIC, ""), 1, 0;
    peer_twice: in_peer("[peer  server]\n"), 1, 0;
    peer_with_quotes: in_peer("").replace("[peer server]", "[peer \"server\"]"), 1, 0;
    peer_misspelt: format!("{CLIENT}{LINK}[Peer a]\nremotehost = x\nremoteport = 1\n"), 0, 1;
    same_public_key:
        with_peers(&peer(PUBLIC, "ip4 = 10.0.0.1"), &peer(PUBLIC, "ip4 = 10.0.0.2")), 1, 0;
    networks_missing: with_peers(&peer(PUBLIC, "ip6 = fd00::/64"), &peer(THIRD_PUBLIC, "")), 1, 0;
    networks_empty: with_peers(&peer(PUBLIC, "ip6 = fd00::/64"), &peer(THIRD_PUBLIC, "ip4 =")), 1, 0;
    networks_overlap: with_peers(
        &peer(PUBLIC, "ip4 = 10.1.0.0/16, 10.1.2.0/24\nip6 = fd00::2"),
        &peer(THIRD_PUBLIC, "ip4 = 192.0.2.0/24, 10.1.3.0/24\nip6 = fd00::/64"),
    ), 2, 0;
    network_with_a_host: with_peers(
        &peer(PUBLIC, "ip4 = 10.0.0.1/24"),
        &peer(THIRD_PUBLIC, "ip6 = fd00::1/64"),
    ), 2, 0;
    several_peers_for_ethernet: with_peers(
        &peer(PUBLIC, "ip4 = 10.0.0.1"),
        &peer(THIRD_PUBLIC, "ip4 = 10.0.0.2"),
    ).replace("[general]", "[general]\ntuntap = tap"), 1, 0;
    several_at_once: "[general]\nmode = both\npassword =\nip4 = 10.0.0.1/40\n[dsl1]\nremoteport = x\n", 4, 0;
}

#[test]
fn bytes_that_are_not_utf_8_are_pointed_at() {
    let mut bytes = with("interface_name = \"").into_bytes();
    bytes.extend([0xe9, b'"', b'\n']);
    let findings = parse("mlvpn.conf", &bytes).unwrap_err();
    assert!(findings.to_string().contains("not UTF-8"), "{findings}");
}

#[test]
fn control_characters_are_refused() {
    let findings = parse("mlvpn.conf", with("interface_name = tun\0\n").as_bytes()).unwrap_err();
    assert!(findings.to_string().contains("control character"), "{findings}");
}

#[test]
fn there_is_a_limit_to_peers() {
    let mut text = SERVER_KEYS.to_owned();
    for number in 0..=super::MAX_PEERS {
        let mut public = [7; 32];
        public[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let public = mlvpn_proto::crypto::keypair::PublicKey::from_bytes(public);
        text.push_str(&format!(
            "[peer p{number}]\npublic_key = {public}\nip6 = fd00::{number:x}\n"
        ));
    }
    let mut keys = key_files();
    let findings = parse_with_keys("mlvpn.conf", text.as_bytes(), &mut keys).unwrap_err();
    assert_eq!(findings.errors(), 1, "{findings}");
    assert!(findings.to_string().contains("more than 1000 peers"), "{findings}");
    let text = text.rsplit_once("[peer").unwrap().0;
    let parsed = parse_with_keys("mlvpn.conf", text.as_bytes(), &mut keys).unwrap();
    assert_eq!(parsed.config.peers.len(), super::MAX_PEERS);
}

#[test]
fn a_flood_of_mistakes_is_counted_but_not_printed() {
    let text = format!("{CLIENT}{LINK}{}", "nonsense\n".repeat(5000));
    let findings = parse("mlvpn.conf", text.as_bytes()).unwrap_err();
    assert_eq!(findings.errors(), 5000);
    assert!(findings.to_string().ends_with("and 4900 more\n"));
    assert!(findings.log_lines().iter().all(|(s, _)| *s == Severity::Error));
}

#[test]
fn version_2_has_room_for_so_many_links() {
    let mut text = CLIENT.to_owned();
    for number in 1..=17 {
        text.push_str(&LINK.replace("dsl1", &format!("dsl{number}")));
    }
    let parsed = parse("mlvpn.conf", text.as_bytes()).unwrap();
    assert!(parsed.warnings.to_string().contains("room for 16 links"), "{}", parsed.warnings);
    let version_1 = text.replace("[dsl1]", "protocol_version = 1\n[dsl1]");
    let fewer = text.split("[dsl17]").next().unwrap();
    for text in [&version_1, fewer] {
        let parsed = parse("mlvpn.conf", text.as_bytes()).unwrap();
        assert!(!parsed.warnings.to_string().contains("room for"), "{}", parsed.warnings);
    }
}
