use mlvpn_io::netns::NetNs;

use super::*;
use crate::config;
use crate::network::numbers::LinkNumbers;

const PASSWORD: &str = "password = w3nMzb8eTqLfYc5hXs2uRj7d";

fn setup(text: &str) -> Setup {
    let config = config::parse("t", text.as_bytes()).unwrap().config;
    Setup::of(&config, &LinkNumbers::default())
}

fn client(keys: &str) -> Setup {
    setup(&format!(
        "[general]\nmode = client\n{PASSWORD}\nip4 = 10.9.0.1/30\nip6 = fd00::1/64\n{keys}\n\
         [a]\nremotehost = 192.0.2.1\nremoteport = 1\n\
         [b]\nremotehost = 192.0.2.1\nremoteport = 2\nbindfib = 77\n"
    ))
}

fn slot() -> Slot {
    Slot::all().nth(3).unwrap()
}

/// The tables that there are after the script was loaded twice: the second time replaces the first.
fn tables(script: &str) -> String {
    let namespace = NetNs::new().unwrap();
    for _ in 0..2 {
        let mut child = namespace.command("nft");
        let mut child =
            child.args(["-f", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{script}");
    }
    let output = namespace.command("nft").args(["list", "tables"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn nothing_wanted_is_no_table() {
    assert_eq!(script(&client(""), slot(), &Surroundings::default()), None);
}

#[test]
fn the_kill_switch_lets_out_the_links_neighbours_and_the_tunnel() {
    let around = Surroundings {
        local_networks: ["192.168.7.0/24", "192.168.7.128/25", "fd07::/64"]
            .map(|net| net.parse().unwrap())
            .to_vec(),
        strict_devices: Vec::new(),
    };
    let script = script(&client("kill_switch = yes"), slot(), &around).unwrap();
    assert_eq!(tables(&script), "table inet mlvpn_3\n");
    insta::assert_snapshot!(script);
}

#[test]
fn a_client_with_nat_hides_others_behind_its_own_addresses() {
    let around = Surroundings {
        strict_devices: vec!["eth1".to_owned(), "eth2".to_owned()],
        ..Surroundings::default()
    };
    let script = script(&client("nat = yes"), slot(), &around).unwrap();
    assert_eq!(tables(&script), "table inet mlvpn_3\n");
    insta::assert_snapshot!(script);
}

#[test]
fn a_server_with_nat_hides_the_networks_of_the_tunnel() {
    let server = setup(&format!(
        "[general]\nmode = server\n{PASSWORD}\nip4 = 10.9.0.2/24\nip6 = fd00::2/64\nnat = yes\n\
         ip4_routes = 10.9.0.0/25 192.168.7.0/24 default\n[a]\nbindport = 1\n"
    ));
    let script = script(&server, slot(), &Surroundings::default()).unwrap();
    assert_eq!(tables(&script), "table inet mlvpn_3\n");
    insta::assert_snapshot!(script);
}

#[test]
fn the_removal_works_with_and_without_a_table() {
    assert_eq!(tables(&removal(slot())), "");
}
