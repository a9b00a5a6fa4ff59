//! Compares the verdicts of filters with those that libpcap gave, recorded in `tests/data/filter` (see the
//! README there).

use mlvpn_proto::filter::Filter;
use mlvpn_proto::ip::PacketKind;

const PACKETS: &str = include_str!("data/filter/packets.txt");
const VERDICTS: &str = include_str!("data/filter/verdicts.txt");
const ETHERNET_PACKETS: &str = include_str!("data/filter/packets-ethernet.txt");
const ETHERNET_VERDICTS: &str = include_str!("data/filter/verdicts-ethernet.txt");

fn unhex(line: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        line.chars().map(|c| c.to_digit(16).expect("a hex digit") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Returns how many verdicts were compared; panics with all those that differ.
fn compare(packets: &str, verdicts: &str, kind: PacketKind) -> usize {
    let packets: Vec<_> = packets.lines().map(unhex).collect();
    let mut differences = Vec::new();
    let mut compared = 0;
    for line in verdicts.lines() {
        let (expected, expression) =
            line.split_once(' ').expect("verdicts, a space, an expression");
        assert_eq!(expected.len(), packets.len(), "one verdict for each packet: {line}");
        let filter = match Filter::parse(expression) {
            Ok(filter) => filter,
            Err(error) => {
                differences.push(format!("{expression}: {error}"));
                continue;
            }
        };
        for (index, (packet, verdict)) in packets.iter().zip(expected.bytes()).enumerate() {
            compared += 1;
            if filter.matches(packet, kind) != (verdict == b'1') {
                let says = verdict == b'1';
                differences.push(format!("{expression}: packet {index}: libpcap says {says}"));
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
    compared
}

#[test]
fn ip_packets_get_the_verdicts_of_libpcap() {
    assert!(compare(PACKETS, VERDICTS, PacketKind::Ip) >= 80 * 50);
}

#[test]
fn ethernet_frames_get_the_verdicts_of_libpcap() {
    assert!(compare(ETHERNET_PACKETS, ETHERNET_VERDICTS, PacketKind::Ethernet) >= 40 * 20);
}
