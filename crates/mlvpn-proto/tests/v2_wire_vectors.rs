//! Version 2's test vectors, `data/v2-packets.json`: packets that are sealed, and one or more frames
//! of every type. They are for whoever writes another implementation, and keep this one from
//! changing its bytes.
//!
//! `BLESS=1 cargo test -p mlvpn-proto --test v2_wire_vectors` writes the file anew.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "v2_wire_vectors/cases.rs"]
mod cases;

use std::fmt::Write as _;
use std::sync::LazyLock;

use mlvpn_proto::crypto::v2::{Cipher, OpeningKey, PacketCounter, SealingKey};
use mlvpn_proto::id::{PacketNumber, PathId, SessionIndex};
use mlvpn_proto::time::Instant;
use mlvpn_proto::wire::v2::{Frame, Frames, HEADER_LEN, SealedHeader, TAG_LEN, TruncatedNumber};
use serde::{Deserialize, Serialize};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/v2-packets.json");

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Vectors {
    about: String,
    packets: Vec<PacketVector>,
    frames: Vec<FrameVector>,
    bodies: Vec<BodyVector>,
    numbers: Vec<NumberVector>,
}

/// A packet; byte strings are in hexadecimal.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct PacketVector {
    cipher: String,
    secret: String,
    receiver: u32,
    path: u8,
    number: u64,
    clear: bool,
    header: String,
    body: String,
    datagram: String,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct FrameVector {
    frame: String,
    fields: cases::Fields,
    encoded: String,
}

/// Which frames of a body are read, without those that are skipped, and whether reading goes on to its end.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct BodyVector {
    what: String,
    body: String,
    frames: Vec<String>,
    whole: bool,
}

/// The number that 32 bits on the wire stand for.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct NumberVector {
    /// The largest number that was authenticated before; null when none was.
    largest: Option<u64>,
    low_bits: u32,
    number: u64,
}

impl PacketVector {
    fn cipher(&self) -> Cipher {
        match self.cipher.as_str() {
            "AES-256-GCM" => Cipher::Aes256Gcm,
            "ChaCha20-Poly1305" => Cipher::ChaCha20Poly1305,
            other => panic!("unknown cipher {other}"),
        }
    }

    fn secret(&self) -> [u8; 32] {
        unhex(&self.secret).try_into().unwrap()
    }

    /// Fills in the header and the datagram.
    fn sealed(mut self) -> Self {
        let receiver = SessionIndex(self.receiver);
        let key = SealingKey::new(self.cipher(), &self.secret(), receiver, Instant::ZERO);
        let mut numbers = PacketCounter::new(PathId::new(self.path).unwrap());
        numbers.advance_to(PacketNumber(self.number));
        let mut datagram = [&[0; HEADER_LEN], &unhex(&self.body)[..], &[0; TAG_LEN]].concat();
        key.seal(numbers.draw().unwrap(), self.clear, &mut datagram).unwrap();
        self.header = hex(&datagram[..HEADER_LEN]);
        self.datagram = hex(&datagram);
        self
    }

    fn check_opening(&self) {
        let mut datagram = unhex(&self.datagram);
        let header = SealedHeader::parse(&datagram).unwrap();
        assert_eq!(hex(&header.encode()), self.header);
        assert_eq!(header.path.number(), self.path);
        assert_eq!(header.receiver, SessionIndex(self.receiver));
        assert_eq!(header.is_clear, self.clear);
        let number = header.number.near(PacketNumber(self.number));
        assert_eq!(number, PacketNumber(self.number));
        let key = OpeningKey::new(self.cipher(), &self.secret());
        assert_eq!(hex(key.open(number, &mut datagram).unwrap()), self.body);
    }
}

fn packets() -> Vec<PacketVector> {
    let secret: Vec<u8> = (0..32).collect();
    let other_secret: Vec<u8> = (0..32).map(|byte| 0xFF - byte).collect();
    let mut packets = Vec::new();
    for cipher in ["AES-256-GCM", "ChaCha20-Poly1305"] {
        for (secret, receiver, path, number, clear, body) in [
            (&secret, 0x0102_0304, 0, 0, false, "02"),
            (&secret, 0x0102_0304, 0, 1, false, cases::DATA),
            (&secret, 0x0102_0304, 0, 2, true, cases::DATA),
            (&secret, 0x0102_0304, 1, 1, false, cases::DATA),
            (&other_secret, 0xFFFF_FFFE, 3, 0x1_0000_0002, false, cases::PING_AND_PADDING),
            (&other_secret, 0xFFFF_FFFE, 15, (1 << 62) - 1, true, cases::DATA),
        ] {
            let packet = PacketVector {
                cipher: cipher.to_owned(),
                secret: hex(secret),
                receiver,
                path,
                number,
                clear,
                header: String::new(),
                body: body.to_owned(),
                datagram: String::new(),
            };
            packets.push(packet.sealed());
        }
    }
    packets
}

fn frames() -> Vec<FrameVector> {
    let of_case = |frame: Frame<'_>| {
        let mut encoded = Vec::new();
        frame.encode(&mut encoded);
        let (name, fields) = cases::describe(&frame);
        FrameVector { frame: name.to_owned(), fields, encoded: hex(&encoded) }
    };
    cases::frames().into_iter().map(of_case).collect()
}

fn bodies() -> Vec<BodyVector> {
    let of_case = |(what, body): (&str, String)| {
        let bytes = unhex(&body);
        let mut read = Frames::new(&bytes);
        let names = read.by_ref().map(|frame| cases::describe(&frame).0.to_owned());
        let names = names.filter(|name| name != "skippable").collect();
        let whole = !read.is_stopped();
        BodyVector { what: what.to_owned(), body, frames: names, whole }
    };
    cases::bodies().into_iter().map(of_case).collect()
}

fn numbers() -> Vec<NumberVector> {
    const HALF: u64 = 1 << 31;
    const WHOLE: u64 = 1 << 32;
    [
        (None, 0),
        (None, u32::MAX),
        (Some(0), 1),
        (Some(0), u32::MAX),
        (Some(9), 3),
        (Some(HALF), 0),
        (Some(HALF + 1), 0),
        (Some(WHOLE - 1), 0),
        (Some(WHOLE + 5), u32::MAX),
        (Some(WHOLE + HALF - 2), 0),
        (Some(WHOLE + HALF), 0),
        (Some(PacketCounter::LIMIT - 2), u32::MAX),
        (Some(PacketCounter::LIMIT - 2), 0),
    ]
    .map(|(largest, low_bits)| {
        let number = TruncatedNumber(low_bits).after(largest.map(PacketNumber)).0;
        NumberVector { largest, low_bits, number }
    })
    .into()
}

fn text() -> String {
    let about = "Test vectors of docs/protocol-v2.md, sections 3 and 4. Byte strings are hexadecimal; what is \
                 not there is null. Of FEEDBACK, received_runs are the lowest and highest numbers, their low 32 bits.";
    let vectors = Vectors {
        about: about.to_owned(),
        packets: packets(),
        frames: frames(),
        bodies: bodies(),
        numbers: numbers(),
    };
    serde_json::to_string_pretty(&vectors).unwrap() + "\n"
}

/// The file, which is written first when that was asked for.
static WRITTEN: LazyLock<String> = LazyLock::new(|| {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(FILE, text()).unwrap();
    }
    std::fs::read_to_string(FILE).unwrap()
});

fn vectors() -> Vectors {
    serde_json::from_str(&WRITTEN).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

#[test]
fn the_file_is_what_this_implementation_writes() {
    assert_eq!(*WRITTEN, text());
}

#[test]
fn every_packet_of_the_file_opens() {
    let vectors = vectors();
    assert_eq!(vectors.packets.len(), 12);
    vectors.packets.iter().for_each(PacketVector::check_opening);
}

#[test]
fn every_body_and_number_of_the_file_is_read_as_it_says() {
    let vectors = vectors();
    assert_eq!((vectors.bodies, vectors.numbers), (bodies(), numbers()));
}

#[test]
fn every_frame_of_the_file_is_decoded() {
    let (vectors, cases) = (vectors(), cases::frames());
    assert_eq!(vectors.frames.len(), cases.len());
    for (vector, case) in vectors.frames.iter().zip(cases) {
        let encoded = unhex(&vector.encoded);
        let mut frames = Frames::new(&encoded);
        let frame = frames.next().unwrap();
        assert_eq!(frame, case);
        let (name, fields) = cases::describe(&frame);
        assert_eq!((name, &fields), (vector.frame.as_str(), &vector.fields));
        assert_eq!(frames.next(), None);
        assert!(!frames.is_stopped());
    }
}
