//! The configuration as a whole: good files, every mistake as it is shown, and anything at all.

use std::time::Duration;

use super::*;

mod anything;
mod credentials;
mod mistakes;

/// A client with one link, to be completed.
const CLIENT: &str = "[general]\nmode = \"client\"\npassword = \"w3nMzb8eTqLfYc5hXs2uRj7d\"\n";
const LINK: &str = "[dsl1]\nremotehost = 192.0.2.1\nremoteport = 5080\n";

/// Ends with a key pair, to be completed, and the peer of the client.
const CLIENT_KEYS: &str = "[general]\nmode = client\nprivate_key_file = own.key\n";
const SERVER_KEYS: &str =
    "[general]\nmode = server\nprivate_key_file = own.key\n[dsl1]\nbindport = 5080\n";
const PEER: &str = "[peer server]\npublic_key = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\n";

/// The key pairs of RFC 7748 section 6.1: ours, of which the private key is in `own.key`, and the
/// peer's public key; and the public key of somebody else.
const OWN_PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
const PUBLIC: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";
const THIRD_PUBLIC: &str = "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=";

/// The files that configurations of tests name.
fn key_files() -> KeyFiles {
    let own = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
    let text = format!(
        "{own} own.key\n{own} /etc/mlvpn/private.key\n{THIRD_PUBLIC} psk\n{} bad.key\n",
        "?".repeat(44)
    );
    KeyFiles::from_bytes(text.as_bytes()).unwrap()
}

/// The server of the how-to that many set-ups are copied from.
const SERVER_OF_THE_HOW_TO: &str = r#"[general]
statuscommand = "/etc/mlvpn/mlvpn_updown.sh"
protocol = "tcp"
loglevel = 4
mode = "server"
tuntap = "tun"
interface_name = "tun0"
cleartext_data = 0
ip4 = "10.44.43.2/30"
ip4_gateway = "10.44.43.1"
password = "apoziecxjvpoxkvpzeoirjdskpoezroizepzdlpojfoiezjrzanzaoinzoi"
[dsl1]
bindhost = "1.2.3.4"
bindport = 5080
bandwidth_upload = 1468006
bandwidth_download = 102400
[dsl2]
bindhost = "1.2.3.4"
bindport = 5081
bandwidth_upload = 1468006
bandwidth_download = 102400
"#;

fn good(text: &str) -> Config {
    match parse("mlvpn.conf", text.as_bytes()) {
        Ok(parsed) => parsed.config,
        Err(findings) => panic!("{findings}"),
    }
}

fn warnings(text: &str) -> Vec<String> {
    let parsed = parse("mlvpn.conf", text.as_bytes()).unwrap();
    parsed.warnings.log_lines().into_iter().map(|(_, line)| line).collect()
}

#[test]
fn the_server_of_the_how_to_is_read_with_warnings_about_retired_keys_and_its_password() {
    let config = good(SERVER_OF_THE_HOW_TO);
    let general = &config.general;
    assert_eq!(general.mode, Mode::Server);
    assert_eq!(general.interface.name, "tun0");
    assert_eq!(general.interface.mtu, None);
    assert_eq!(general.addresses.ip4.unwrap().to_string(), "10.44.43.2/30");
    assert_eq!(general.addresses.ip4_gateway.unwrap().to_string(), "10.44.43.1");
    assert_eq!(general.credentials.password.as_ref().unwrap().as_bytes().len(), 59);
    assert_eq!(config.unfragmented_mtu(), 1428);
    let ports: Vec<_> = config.links.iter().map(|l| (l.name.as_str(), l.bind_port)).collect();
    assert_eq!(ports, [("dsl1", Some(5080)), ("dsl2", Some(5081))]);
    assert_eq!(config.links[0].bandwidth_upload, Some(1_468_006));
    let warnings = warnings(SERVER_OF_THE_HOW_TO);
    assert_eq!(warnings.len(), 5, "{warnings:#?}");
    assert!(warnings.iter().any(|text| text.contains("published")), "{warnings:#?}");
    assert!(warnings[0].starts_with("mlvpn.conf:3: `protocol` is a key of mlvpn 1.x"));
}

#[test]
fn what_the_file_does_not_say_has_the_documented_default() {
    let config = good(&format!("{CLIENT}{LINK}"));
    let general = &config.general;
    assert_eq!(general.interface.name, "mlvpn0");
    assert_eq!(general.interface.kind, InterfaceKind::Tun);
    assert_eq!(general.reorder, Reorder::Adaptive);
    assert_eq!(general.addresses, Addresses::default());
    assert_eq!(general.control, Control::default());
    assert!(!general.cleartext_data);
    assert_eq!(general.status_command, None);
    let link = &config.links[0];
    assert_eq!(link.timeout, Duration::from_secs(60));
    assert_eq!((link.loss_tolerance, link.latency_tolerance), (None, None));
    assert_eq!((link.bind_port, link.bind_fib, link.bandwidth_upload), (None, None, None));
    assert!(!link.fallback_only);
    assert!(config.filters.is_empty());
}

#[test]
fn links_inherit_from_general_wherever_it_stands() {
    let shared = "timeout = 30\nloss_tolerence = 20\nlatency_tolerence = 300\n";
    let other = "[dsl2]\nremotehost = vpn.example.org\nremoteport = 5081\ntimeout = 5\n\
                 loss_tolerence = 100\nlatency_tolerence = 1000\n";
    let config = good(&format!("{LINK}{other}{CLIENT}{shared}"));
    let limits: Vec<_> = config
        .links
        .iter()
        .map(|l| (l.timeout.as_secs(), l.loss_tolerance, l.latency_tolerance))
        .collect();
    assert_eq!(limits, [(30, Some(20), Some(Duration::from_millis(300))), (5, None, None)]);
}

#[test]
fn numbers_beyond_their_limits_are_corrected_as_the_c_program_does() {
    let text =
        format!("{CLIENT}{LINK}timeout = 1\nloss_tolerence = 150\nlatency_tolerence = 5000\n");
    let link = good(&text).links[0].clone();
    assert_eq!(link.timeout, Duration::from_secs(2));
    assert_eq!((link.loss_tolerance, link.latency_tolerance), (None, None));
    assert_eq!(warnings(&text).len(), 3);
}

#[test]
fn all_keys_are_read() {
    let config = good(
        "[general]\nmode = client\npassword = w3nMzb8eTqLfYc5hXs2uRj7d\ncleartext_data = 1\n\
         statuscommand = /etc/mlvpn/updown\ntuntap = tap\ninterface_name = tap3\nmtu = 1400\n\
         ip4 = 10.42.43.1/30\nip4_gateway = 10.42.43.2\nip4_routes = \"10.0.0.0/8 192.0.2.0/24\"\n\
         ip6 = fd00::1/64\nip6_gateway = fd00::2\nip6_routes = 2001:db8::/32,default\n\
         reorder_buffer_size = 64\npolicy = redundant\ncontrol_unix_path = /run/mlvpn.sock\n\
         control_bind_host = ::1\ncontrol_bind_port = 1040\n\
         [lte]\nbindhost = 192.0.2.7\nbindport = 0\nbindfib = 3\nbinddev = wwan0\n\
         remotehost = vpn.example.org\nremoteport = 5080\nbandwidth_upload = 61440\n\
         fallback_only = 1\nmax_rate = 1250000\ncost = 20\nmetered = yes\n\
         [filters]\nlte = udp port 5060\nbackup = tcp port 873\n",
    );
    insta::assert_debug_snapshot!(config);
}

#[test]
fn a_link_differs_only_when_its_section_does() {
    let text = format!("{CLIENT}{LINK}[dsl2]\nremotehost = 192.0.2.1\nremoteport = 5081\n");
    let before = good(&text);
    let after = good(&format!("# new\n{}", text.replace("5081", "5082 # moved")));
    assert_eq!(before.links[0], after.links[0]);
    assert_ne!(before.links[1], after.links[1]);
    assert_eq!(before.general, after.general);
}

#[test]
fn the_debug_output_of_a_configuration_has_no_password() {
    assert!(!format!("{:?}", good(SERVER_OF_THE_HOW_TO)).contains("apozie"));
}

#[test]
fn an_unquoted_password_is_the_one_that_the_c_program_reads() {
    let text = format!("[general]\nmode=client\npassword = one two three four five # six\n{LINK}");
    assert_eq!(
        good(&text).general.credentials.password.as_ref().unwrap().as_bytes(),
        b"onetwothreefourfive"
    );
    assert!(warnings(&text)[0].contains("not read as it looks"));
}

#[test]
fn mtu_follows_from_encryption_addresses_and_kind() {
    let mtu = |general: &str, host: &str| {
        good(&format!("{CLIENT}{general}[a]\nremotehost = {host}\nremoteport = 1\n"))
            .unfragmented_mtu()
    };
    assert_eq!(mtu("", "192.0.2.1"), 1428);
    assert_eq!(mtu("cleartext_data = 1\n", "192.0.2.1"), 1444);
    assert_eq!(mtu("", "2001:db8::1"), 1408);
    assert_eq!(mtu("tuntap = tap\n", "192.0.2.1"), 1414);
}

#[test]
fn the_example_files_are_good() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/examples");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "conf") {
            // The placeholders are meant to be refused, so that nobody runs with a published secret.
            let mut text = std::fs::read_to_string(&path).unwrap();
            let name = path.display().to_string();
            let refused = parse_with_keys(&name, text.as_bytes(), &mut key_files()).unwrap_err();
            let is_placeholder = |line: &str| {
                line.contains("the password is empty") || line.contains("the public key of peer")
            };
            assert!(refused.log_lines().iter().all(|(_, line)| is_placeholder(line)), "{refused}");
            text = text.replace("password = \"\"", "password = \"w3nMzb8eTqLfYc5hXs2uRj7d\"");
            for key in [PUBLIC, THIRD_PUBLIC] {
                text = text.replacen("public_key = \"\"", &format!("public_key = \"{key}\""), 1);
            }
            let parsed = parse_with_keys(&name, text.as_bytes(), &mut key_files()).unwrap();
            assert_eq!(parsed.warnings.warnings(), 0, "{}", parsed.warnings);
            count += 1;
        }
    }
    assert!(count >= 5, "only {count} examples");
}

/// Keys documented under a heading of their own: "### `key`".
#[test]
fn the_documentation_has_every_key_and_no_other() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/config.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut documented: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    let mut known: Vec<_> = keys::KEYS.iter().map(|k| k.name).collect();
    known.extend(keys::RETIRED.iter().map(|k| k.name));
    documented.sort_unstable();
    known.sort_unstable();
    assert_eq!(documented, known);
}

#[test]
fn http_that_others_reach_without_a_token_is_warned_of() {
    let with = |host: &str, more: &str| {
        let text = format!(
            "[general]\nmode=client\npassword=w3nMzb8eTqLfYc5hXs2uRj7d\ncontrol_bind_host=\"{host}\"\n\
             control_bind_port=1040\n{more}{LINK}"
        );
        let mut keys =
            KeyFiles::from_bytes(b"XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os= t\n").unwrap();
        parse_with_keys("t", text.as_bytes(), &mut keys).unwrap()
    };
    for host in ["127.0.0.1", "::1", "localhost", "::ffff:127.0.0.1"] {
        assert_eq!(with(host, "").warnings.warnings(), 0, "{host}");
    }
    for host in ["192.0.2.1", "0.0.0.0", "::"] {
        let parsed = with(host, "");
        let text = parsed.warnings.to_string();
        assert!(text.contains("no control_token_file") && text.contains("mlvpn genpsk"), "{text}");
        let parsed = with(host, "control_token_file = t\n");
        assert_eq!(parsed.warnings.warnings(), 0, "{host}");
        let token = parsed.config.general.control.token.unwrap();
        assert!(token.is(b"XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os="));
    }
}
