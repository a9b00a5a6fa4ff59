//! The frames of the test vectors, and their fields by name.

use std::collections::BTreeMap;

use mlvpn_proto::id::{PacketNumber, PathId};
use mlvpn_proto::wire::v2::{
    AckedNumbers, CloseReason, DataHeader, Feedback, Frame, Held, Lane, LaneSeq, PathStatus,
    ReceivedRuns, SendTime, Settings, Skippable, SoftwareName, Terms, TermsList, Transit,
    TruncatedNumber,
};
use mlvpn_proto::{Duration, LinkTerms, Policy};
use serde_json::{Value, json};

/// A DATA frame with an IPv4 packet that has no payload: lane 1, number 2, time 3.
pub(crate) const DATA: &str = "0100400002000345000014000000004011a3dc0a0000010a000002";
/// A PING and three bytes of PADDING.
pub(crate) const PING_AND_PADDING: &str = "02000000";

/// The fields of a frame by name, in alphabetical order.
pub(crate) type Fields = BTreeMap<String, Value>;

const IP_PACKET: [u8; 20] =
    [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0xa3, 0xdc, 10, 0, 0, 1, 10, 0, 0, 2];
const NUMBERS: [TruncatedNumber; 3] =
    [TruncatedNumber(0), TruncatedNumber(0x0102_0304), TruncatedNumber(u32::MAX)];
/// Two gaps before the largest packet.
fn runs() -> ReceivedRuns {
    let mut runs = ReceivedRuns::new(0x9192);
    runs.push(0x9394, 0x9596);
    runs.push(1, 0x0708);
    runs
}

/// As many gaps as a frame can tell of.
fn most_runs() -> ReceivedRuns {
    let mut runs = ReceivedRuns::new(2);
    for gap in 1..=ReceivedRuns::MAX_GAPS as u64 {
        runs.push(gap, 2 * gap);
    }
    runs
}

/// A run of that many or more, with which the list ends.
fn endless_run() -> ReceivedRuns {
    let mut runs = ReceivedRuns::new(3);
    runs.push(2, 0x1_0000);
    runs
}

fn feedback() -> Feedback {
    Feedback {
        path: path(3),
        is_silent: false,
        largest: TruncatedNumber(0x1112_1314),
        received_at: 0x2122_2324,
        largest_sent: TruncatedNumber(0x3132_3334),
        packets: 0x4142_4344,
        bytes: 0x5152_5354_5556,
        lowest_transit: Some(Transit(0x6162)),
        congestion_marks: 0x71_7273,
        held: Held(0x8182),
        received: runs(),
    }
}

const fn path(number: u8) -> PathId {
    PathId::new(number).expect("the cases name paths that exist")
}

fn lane(number: u16) -> Lane {
    Lane::new(number).unwrap()
}

/// A path that is metered and limited, one that is to be spared, and one of which nothing is wanted.
fn terms() -> TermsList<'static> {
    let metered =
        LinkTerms { max_rate: Some(0x0102_0304_0506), cost: Duration::ZERO, is_metered: true };
    let spared = LinkTerms { cost: Duration::from_millis(0x0102), ..LinkTerms::default() };
    let all = [(path(0), metered), (path(3), spared), (path(15), LinkTerms::default())];
    TermsList::write(all.into_iter(), Box::leak(Box::default()))
}

/// Every type of frame, and the ends of its ranges.
pub(crate) fn frames() -> Vec<Frame<'static>> {
    let token = [0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7];
    let data = |number, seq, sent| DataHeader {
        lane: lane(number),
        seq: LaneSeq::of(seq),
        sent: SendTime(sent),
    };
    let status =
        |number, sequence, status| Frame::PathStatus { path: path(number), sequence, status };
    let (all, _) = AckedNumbers::split(&NUMBERS);
    let (none, _) = AckedNumbers::split(&[]);
    vec![
        Frame::Padding(1),
        Frame::Padding(5),
        Frame::Data(data(1, 2, 3), &IP_PACKET),
        Frame::Data(data(1023, (1 << 22) - 1, 0xFFFF), &[]),
        Frame::Ping,
        Frame::Feedback(feedback()),
        Frame::Feedback(Feedback {
            is_silent: true,
            lowest_transit: None,
            held: Held::LONGER,
            received: ReceivedRuns::new(1),
            ..feedback()
        }),
        Frame::Feedback(Feedback { received: most_runs(), ..feedback() }),
        Frame::Feedback(Feedback { received: endless_run(), ..feedback() }),
        Frame::PathChallenge { path: path(0), token },
        Frame::PathResponse { path: path(15), token },
        status(1, 1, PathStatus::Available),
        status(2, 0x0102, PathStatus::Backup),
        status(15, 0xFFFF, PathStatus::Gone),
        Frame::MtuProbe { probe: 0x0102 },
        Frame::MtuAck { path: path(4), probe: 0x0102, size: 1452 },
        Frame::Skip { lane: lane(0), first: LaneSeq::of(1), count: 1 },
        Frame::Skip { lane: lane(1023), first: LaneSeq::of((1 << 22) - 1), count: 0xFFFF },
        Frame::Settings(Settings::default()),
        Frame::Settings(Settings {
            max_ip_packet: Some(1500),
            resequencer_bytes: Some(4 << 20),
            software: SoftwareName::new("mlvpn 3.0.0"),
        }),
        Frame::Ack { path: path(2), numbers: none },
        Frame::Ack { path: path(2), numbers: all },
        Frame::Close(CloseReason::ShuttingDown),
        Frame::Close(CloseReason::ConfigurationChanged),
        Frame::Close(CloseReason::OutOfPacketNumbers),
        Frame::Close(CloseReason::Replaced),
        Frame::Close(CloseReason::Other(0xFF)),
        Frame::Terms(Terms { sequence: 1, policy: None, paths: TermsList::default() }),
        Frame::Terms(Terms { sequence: 0x0102, policy: Some(Policy::Bond), paths: terms() }),
        Frame::Terms(Terms { sequence: 2, policy: Some(Policy::LowestLatency), paths: terms() }),
        Frame::Terms(Terms { sequence: 3, policy: Some(Policy::Redundant), paths: terms() }),
        Frame::Terms(Terms { sequence: 0xFFFF, policy: Some(Policy::Backup), paths: terms() }),
        Frame::Skippable(Skippable::new(0x40, &[]).unwrap()),
        Frame::Skippable(Skippable::new(0x7F, &[1, 2, 3]).unwrap()),
    ]
}

/// Bodies that hold what a receiver skips, ignores or does not read on behind, each between two PINGs.
pub(crate) fn bodies() -> Vec<(&'static str, String)> {
    let feedback = |first_run: u16, gaps: u8, listed: &[(u16, u16)]| {
        let mut frame = [&[0x03, 0x03, 0, 0, 0, 9][..], &[0; 25]].concat();
        frame.extend_from_slice(&first_run.to_be_bytes());
        frame.push(gaps);
        for (missing, received) in listed {
            frame.extend_from_slice(&missing.to_be_bytes());
            frame.extend_from_slice(&received.to_be_bytes());
        }
        super::hex(&frame)
    };
    let bare = |hex: &str| hex.to_owned();
    let cases = [
        ("a frame of a reserved type", bare("0d")),
        ("a frame of a reserved type above the skippable ones", bare("80")),
        ("an unknown skippable frame", bare("420003010203")),
        ("a skippable frame that is longer than the body", bare("42ffff")),
        ("a challenge of path 16", bare("0410a0a1a2a3a4a5a6a7")),
        ("PATH_STATUS of path 16", bare("0610000101")),
        ("an unknown status", bare("0601000103")),
        ("MTU_ACK of path 16", bare("0810000105b0")),
        ("ACK of path 16", bare("0b1000")),
        ("ACK with fewer numbers than it says", bare("0b0002000000")),
        ("an unknown reason to close", bare("0c63")),
        ("FEEDBACK without gaps", feedback(1, 0, &[])),
        ("FEEDBACK whose first run is empty", feedback(0, 0, &[])),
        ("FEEDBACK with a gap that misses nothing", feedback(1, 1, &[(0, 1)])),
        ("FEEDBACK with a run of none behind a gap", feedback(1, 1, &[(1, 0)])),
        ("FEEDBACK with 21 gaps", feedback(1, 21, &[(1, 1); 21])),
        ("FEEDBACK with a run that begins below number 0", feedback(100, 0, &[])),
        ("FEEDBACK with a gap behind a count of 65,535", feedback(0xFFFF, 1, &[(1, 1)])),
        ("SETTINGS with an unknown key", bare("0a0003630100")),
        ("SETTINGS with an entry that ends beyond them", bare("0a0004630900ff")),
        ("SETTINGS that take packets which every path carries", bare("0a000401020001")),
        ("TERMS of two bytes", bare("41000200ff")),
        ("TERMS with bytes that are no whole entry", bare("410005000100ffff")),
        ("TERMS with a cost above 10,000 ms", bare("41000c00010003ffff000000000000")),
    ];
    cases.map(|(what, frame)| (what, format!("02{frame}02"))).into()
}

/// The name of `frame` in the specification, and its fields.
pub(crate) fn describe(frame: &Frame<'_>) -> (&'static str, Fields) {
    let (name, fields) = match *frame {
        Frame::Padding(bytes) => ("PADDING", json!({ "bytes": bytes })),
        Frame::Data(header, packet) => (
            "DATA",
            json!({
                "lane": header.lane.slot(), "sequence": header.seq.low_bits(),
                "send_time": header.sent.0, "packet": super::hex(packet),
            }),
        ),
        Frame::Ping => ("PING", json!({})),
        Frame::Feedback(ref feedback) => ("FEEDBACK", describe_feedback(feedback)),
        Frame::PathChallenge { path, token } => ("PATH_CHALLENGE", describe_token(path, token)),
        Frame::PathResponse { path, token } => ("PATH_RESPONSE", describe_token(path, token)),
        Frame::PathStatus { path, sequence, status } => (
            "PATH_STATUS",
            json!({ "path": path.number(), "sequence": sequence, "status": status as u8 }),
        ),
        Frame::MtuProbe { probe } => ("MTU_PROBE", json!({ "probe": probe })),
        Frame::MtuAck { path, probe, size } => {
            ("MTU_ACK", json!({ "path": path.number(), "probe": probe, "size": size }))
        }
        Frame::Skip { lane, first, count } => {
            ("SKIP", json!({ "lane": lane.slot(), "first": first.low_bits(), "count": count }))
        }
        Frame::Settings(settings) => (
            "SETTINGS",
            json!({
                "max_ip_packet": settings.max_ip_packet,
                "resequencer_bytes": settings.resequencer_bytes,
                "software": settings.software.map(SoftwareName::as_str),
            }),
        ),
        Frame::Ack { path, numbers } => {
            let numbers: Vec<_> = numbers.iter().map(|number| number.0).collect();
            ("ACK", json!({ "path": path.number(), "numbers": numbers }))
        }
        Frame::Close(reason) => ("CLOSE", json!({ "reason": describe_reason(reason) })),
        Frame::Terms(terms) => ("TERMS", describe_terms(&terms)),
        Frame::Skippable(frame) => {
            ("skippable", json!({ "type": frame.kind(), "content": super::hex(frame.content()) }))
        }
    };
    (name, serde_json::from_value(fields).unwrap())
}

fn describe_feedback(feedback: &Feedback) -> Value {
    json!({
        "path": feedback.path.number(),
        "silent": feedback.is_silent,
        "largest": feedback.largest.0,
        "received_at": feedback.received_at,
        "largest_sent": feedback.largest_sent.0,
        "packets": feedback.packets,
        "bytes": feedback.bytes,
        "lowest_difference": feedback.lowest_transit.map(|transit| transit.0),
        "ecn_ce": feedback.congestion_marks,
        "held": feedback.held.0,
        "received_runs": feedback
            .received
            .runs(PacketNumber(u64::from(feedback.largest.0)))
            .map(|(first, last)| [first.0, last.0])
            .collect::<Vec<_>>(),
    })
}

fn describe_terms(terms: &Terms<'_>) -> Value {
    let paths: Vec<_> = terms
        .paths
        .iter()
        .map(|(path, terms)| {
            json!({
                "path": path.number(), "metered": terms.is_metered,
                "cost_ms": terms.cost.as_millis() as u64, "max_rate": terms.max_rate,
            })
        })
        .collect();
    let policy = terms.policy.map(Policy::as_str);
    json!({ "sequence": terms.sequence, "policy": policy, "paths": paths })
}

fn describe_token(path: PathId, token: [u8; 8]) -> Value {
    json!({ "path": path.number(), "token": super::hex(&token) })
}

fn describe_reason(reason: CloseReason) -> u8 {
    match reason {
        CloseReason::ShuttingDown => 0,
        CloseReason::ConfigurationChanged => 1,
        CloseReason::OutOfPacketNumbers => 2,
        CloseReason::Replaced => 3,
        CloseReason::Other(code) => code,
    }
}
